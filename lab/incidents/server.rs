//! The servers of incidents, and how each is set up.
//!
//! In: a source of random numbers. Out: [`Setup`].

use fastrand::Rng;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::Recipe;
use wsgi_trace_test_support::server::cheroot::Cheroot;
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
}

/// All of them.
pub(crate) const SERVERS: &[ServerKind] = &[
    ServerKind::GunicornSync,
    ServerKind::GunicornGthread,
    ServerKind::Waitress,
    ServerKind::Uwsgi,
    ServerKind::Cheroot,
];

impl ServerKind {
    /// Whether its main thread, which accepts, can be made to run something of the application's.
    pub(crate) const fn runs_hooks(self) -> bool {
        matches!(self, Self::GunicornSync | Self::GunicornGthread | Self::Cheroot)
    }
}

/// A server as it is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) kind: ServerKind,
    processes: u32,
    /// Of each process.
    pub(crate) threads: u32,
}

impl Setup {
    pub(crate) fn new(rng: &mut Rng, kind: ServerKind) -> Self {
        let (processes, threads) = match kind {
            ServerKind::GunicornSync => (rng.u32(2..=3), 1),
            ServerKind::GunicornGthread | ServerKind::Uwsgi => (rng.u32(1..=2), rng.u32(3..=4)),
            ServerKind::Waitress | ServerKind::Cheroot => (1, rng.u32(3..=5)),
        };
        Self { kind, processes, threads }
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
        matches!(self.kind, ServerKind::GunicornSync | ServerKind::Uwsgi)
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
        }
    }
}
