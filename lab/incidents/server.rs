//! The servers of incidents, and how each is set up.
//!
//! In: a source of random numbers. Out: [`Setup`].

use fastrand::Rng;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::Recipe;
use wsgi_trace_test_support::server::cheroot::Cheroot;
use wsgi_trace_test_support::server::gevent::GunicornGevent;
use wsgi_trace_test_support::server::in_script::InScript;
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;
use wsgi_trace_test_support::server::twisted::Twisted;
use wsgi_trace_test_support::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waitress::Waitress;

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerKind {
    GunicornSync,
    GunicornGthread,
    Waitress,
    Uwsgi,
    Cheroot,
    Gevent,
    Twisted,
    ModWsgi,
    A2wsgi,
    WaitressInScript,
    CherootInScript,
}

/// All of them.
pub(crate) const SERVERS: &[ServerKind] = &[
    ServerKind::GunicornSync,
    ServerKind::GunicornGthread,
    ServerKind::Waitress,
    ServerKind::Uwsgi,
    ServerKind::Cheroot,
    ServerKind::Gevent,
    ServerKind::Twisted,
    ServerKind::ModWsgi,
    ServerKind::A2wsgi,
    ServerKind::WaitressInScript,
    ServerKind::CherootInScript,
];

impl ServerKind {
    /// Whether its main thread, which accepts, can be made to run something of the application's.
    pub(crate) const fn runs_hooks(self) -> bool {
        matches!(self, Self::GunicornSync | Self::GunicornGthread | Self::Cheroot | Self::CherootInScript)
    }

    /// Whether one request after another runs in one thread, in turns.
    pub(crate) fn takes_turns(self) -> bool {
        self == Self::Gevent
    }

    /// Whether its slots are threads of a number that is set.
    pub(crate) fn has_slots(self) -> bool {
        !matches!(self, Self::Gevent | Self::Twisted)
    }

    /// Whether it may not write where incidents have their files.
    pub(crate) fn has_no_files(self) -> bool {
        self == Self::ModWsgi
    }
}

/// A server as it is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) kind: ServerKind,
    pub(crate) processes: u32,
    /// Of each process.
    pub(crate) threads: u32,
}

impl Setup {
    pub(crate) fn new(rng: &mut Rng, kind: ServerKind) -> Self {
        let (processes, threads) = match kind {
            ServerKind::GunicornSync => (rng.u32(2..=3), 1),
            ServerKind::GunicornGthread | ServerKind::Uwsgi => (rng.u32(1..=2), rng.u32(3..=4)),
            ServerKind::Gevent => (rng.u32(1..=2), 1),
            // By default.
            ServerKind::Twisted => (1, 10),
            ServerKind::ModWsgi => (rng.u32(1..=2), rng.u32(3..=4)),
            ServerKind::Waitress
            | ServerKind::Cheroot
            | ServerKind::A2wsgi
            | ServerKind::WaitressInScript
            | ServerKind::CherootInScript => (1, rng.u32(3..=5)),
        };
        Self { kind, processes, threads }
    }

    /// The same with one process.
    pub(crate) const fn of_one_process(mut self) -> Self {
        self.processes = 1;
        self
    }

    /// Requests that it serves at once.
    pub(crate) const fn slots(&self) -> u32 {
        self.processes * self.threads
    }

    /// Whether it closes each connection after one response.
    pub(crate) const fn closes(&self) -> bool {
        matches!(self.kind, ServerKind::GunicornSync | ServerKind::Uwsgi)
    }

    /// Whether any of its processes may take a request that waits.
    pub(crate) const fn has_shared_queue(&self) -> bool {
        matches!(
            self.kind,
            ServerKind::GunicornSync | ServerKind::Uwsgi | ServerKind::ModWsgi | ServerKind::Gevent
        )
    }

    /// How it is started.
    pub(crate) fn recipe(&self) -> Box<dyn Recipe> {
        let (processes, threads) = (self.processes as usize, self.threads as usize);
        match self.kind {
            ServerKind::GunicornSync => Box::new(Settings::sync(Version::V27, processes)),
            ServerKind::GunicornGthread => Box::new(Settings::gthread(Version::V27, processes, threads)),
            ServerKind::Waitress => Box::new(Waitress { threads: self.threads }),
            ServerKind::Uwsgi => Box::new(Uwsgi::new(self.processes, self.threads)),
            ServerKind::Cheroot => Box::new(Cheroot { threads: self.threads }),
            ServerKind::Gevent => Box::new(GunicornGevent { workers: processes }),
            ServerKind::Twisted => Box::new(Twisted),
            ServerKind::ModWsgi => Box::new(ModWsgi::daemon(self.processes, self.threads).composed()),
            ServerKind::A2wsgi => {
                Box::new(Uvicorn { application: Application::A2wsgi { threads: self.threads }, workers: 1 })
            }
            ServerKind::WaitressInScript => Box::new(InScript { which: "waitress", threads: self.threads }),
            ServerKind::CherootInScript => Box::new(InScript { which: "cheroot", threads: self.threads }),
        }
    }

    /// In tables.
    pub(crate) fn title(&self) -> String {
        let Self { processes, threads, .. } = self;
        match self.kind {
            ServerKind::GunicornSync => format!("gunicorn sync {processes}"),
            ServerKind::GunicornGthread => format!("gunicorn gthread {processes} × {threads}"),
            ServerKind::Waitress => format!("Waitress {threads}"),
            ServerKind::Uwsgi => format!("uWSGI {processes} × {threads}"),
            ServerKind::Cheroot => format!("cheroot {threads}"),
            ServerKind::Gevent => format!("gunicorn gevent {processes}"),
            ServerKind::Twisted => format!("Twisted Web {threads}"),
            ServerKind::ModWsgi => format!("mod_wsgi {processes} × {threads}"),
            ServerKind::A2wsgi => format!("uvicorn with a2wsgi {threads}"),
            ServerKind::WaitressInScript => format!("Waitress in a script {threads}"),
            ServerKind::CherootInScript => format!("cheroot in a script {threads}"),
        }
    }
}
