//! Everything particular to one WSGI server: how to recognise it, its roles, its slots, its settings, its
//! advice.
//!
//! In: facts ([`ProcessSeen`], [`ListenerSeen`]) and what was observed. Out: [`Recognised`], the [`Server`]
//! of the snapshot, advice for findings. One kind of server is one [`ServerKind`] in [`KINDS`]; nothing
//! outside this module asks for a server by name.

pub mod advice;
pub mod backlog;
pub mod cheroot;
mod command_line;
pub mod daphne;
pub mod development;
pub mod gevent;
pub mod gunicorn;
pub mod hypercorn;
mod loops;
pub mod mod_wsgi;
mod pool;
pub mod program;
pub(crate) mod queueing;
pub mod redact;
mod setting;
pub mod site;
pub mod twisted;
pub mod unknown;
pub mod uvicorn;
pub mod uwsgi;
pub mod waitress;

use rustc_hash::FxHashSet;

use crate::fact::{ListenerSeen, ProcessSeen};
use crate::model::Server;
use crate::model::dropped::{Asked, Cause};
use backlog::Backlog;
use site::Site;

/// All kinds, asked in this order; the last one recognises everything.
pub static KINDS: &[&dyn ServerKind] = &[
    &gunicorn::Gunicorn,
    &mod_wsgi::ModWsgi,
    &uwsgi::Uwsgi,
    &waitress::Waitress,
    &cheroot::Cheroot,
    &cheroot::CherryPy,
    &uvicorn::Uvicorn,
    &hypercorn::Hypercorn,
    &daphne::Daphne,
    &twisted::Twisted,
    &gevent::Gevent,
    &development::WERKZEUG,
    &development::DJANGO,
    &development::WSGIREF,
    &unknown::Unknown,
];

/// Of the servers' packages, those that applications also use as clients.
pub const ALSO_CLIENTS: &[&str] = &["eventlet", "gevent", "tornado", "twisted"];

/// Which of several processes that wait at one listener takes the next connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptOrder {
    /// No order shows.
    Any,
    /// Of two processes with several threads each, mostly the first.
    FirstOfTwo,
    /// The one that has waited longest: they take turns.
    InTurn,
}

/// One kind of WSGI server.
pub trait ServerKind: Sync {
    /// Name in reports (`gunicorn`).
    fn name(&self) -> &'static str;

    /// The server that these processes are, if they are of this kind.
    fn recognise(&self, processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Option<Recognised>;

    /// What each process is for; a process that appears later is judged with all those known by then.
    fn roles(&self, processes: &[ProcessSeen]) -> Vec<(u32, Role)>;

    /// Role of a process of which only the fork was seen, from its parent's role.
    fn role_of_child(&self, parent: Role) -> Role {
        match parent {
            Role::Master => Role::Worker,
            Role::Worker | Role::FrontEnd | Role::Unknown => Role::Unknown,
        }
    }

    /// How a request passes between processes of this server.
    fn inside(&self, _server: &Server) -> Inside {
        Inside::Nothing
    }

    /// Which process takes the next connection, where those that serve also accept and several have a free
    /// slot.
    fn accept_order(&self, _server: &Server) -> AcceptOrder {
        AcceptOrder::Any
    }

    /// Whether a client that sends or reads slowly may hold a thread of the pool behind the server's event
    /// loop.
    fn clients_hold_pool(&self) -> bool {
        false
    }

    /// Requests that the server can serve at once by its settings; `None`: no limit, or not known.
    fn configured_slots(&self, server: &Server) -> Option<u32>;

    /// What one slot is: `worker`, `thread`, or `slot` where nothing better is known.
    fn slot_noun(&self, _server: &Server) -> &'static str {
        "slot"
    }

    /// Whether each request has a thread of its own from its first read to its answer, as far as the worker
    /// class tells.
    fn has_thread_per_request(&self, _server: &Server) -> bool {
        false
    }

    /// Whether one thread reads a request and another answers it, so that nothing but system calls shows
    /// which of them a request holds.
    fn passes_requests_on(&self) -> bool {
        false
    }

    /// Python packages whose code is the server's own, by their first names.
    fn packages(&self) -> &'static [&'static str] {
        &[]
    }

    /// Name of the Python distribution whose version is the server's, as its `dist-info` directory begins,
    /// where this command line starts the server.
    fn distribution(&self, _command_line: &[String]) -> Option<&'static str> {
        None
    }

    /// How it shows where a program of one's own starts it (`waitress.serve(app)`); `None`: it does not.
    fn in_program(&self) -> Option<&'static program::InProgram> {
        None
    }

    /// The server with what behaviour showed: values that are not known are filled in, values that behaviour
    /// contradicts are replaced, both with origin `Inferred`.
    fn refine(&self, server: &Server, observed: &Observed) -> Server;

    /// The setting to change for a finding, with its present value, or the next step; `None`: nothing to
    /// change. It names no option that does nothing, or harm, at this site.
    fn advice(&self, finding_id: &str, server: &Server, site: &Site) -> Option<advice::Advice>;

    /// The option that sets how many connections may wait to be accepted, on TCP or UNIX sockets; `None`: not
    /// known.
    fn backlog(&self, _is_unix: bool) -> Option<Backlog> {
        None
    }

    /// Why a response was the server's own and not the application's: what it means for the connection;
    /// `None`: it was the application's, or that is not known.
    fn own_answer(&self, _answer: &Answer) -> Option<Cause> {
        None
    }

    /// After how long a process ends because of its requests, by a signal that asks it to; `None`: no such
    /// setting, or not known.
    fn own_limit(&self, _server: &Server) -> Option<OwnLimit> {
        None
    }

    /// What the request time in the server's access log measures; `None`: not known.
    fn log_interval(&self, server: &Server) -> Option<LogInterval>;
}

/// Slots of each worker process by its settings; `None`: not known, or no limit.
pub fn slots_of_one_worker(kind: &dyn ServerKind, server: &Server) -> Option<u32> {
    let workers = server.number("workers").or_else(|| server.number("processes"))?;
    kind.configured_slots(server)?.checked_div(u32::try_from(workers).ok()?)
}

/// After how long a process of the server ends because of its requests, by a signal that asks it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnLimit {
    /// The option that sets it.
    pub option: &'static str,
    /// The limit.
    pub limit_ns: u64,
    /// Who looks, and what is held against the limit.
    pub ender: Ender,
}

/// Who ends a process because of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ender {
    /// The process itself, by the mean of its requests over so many threads.
    Itself {
        /// Threads over which the time of requests is averaged.
        threads: u64,
    },
    /// Its master, by the longest of its requests.
    Master {
        /// The signal that it sends first.
        signal: u32,
        /// The master's clock counts whole seconds: it may send it so much too early.
        early_ns: u64,
    },
}

impl OwnLimit {
    /// How long the requests had run, if that was beyond the limit: these, `ago_ns` before they ended.
    pub fn exceeded(&self, held: &[(Asked, u64)], ago_ns: u64) -> Option<u64> {
        let ran_ns = held.iter().map(|(_, ran_ns)| ran_ns.saturating_sub(ago_ns));
        match self.ender {
            Ender::Itself { threads } => {
                let mean_ns = ran_ns.fold(0_u64, u64::saturating_add).checked_div(threads)?;
                (mean_ns >= self.limit_ns).then_some(mean_ns)
            }
            Ender::Master { early_ns, .. } => {
                let is_beyond = |ran_ns: &u64| ran_ns.saturating_add(early_ns) >= self.limit_ns;
                ran_ns.max().filter(is_beyond)
            }
        }
    }
}

/// What is seen of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Its first header is `Connection`.
    pub connection_first: bool,
    /// A front end of the server wrote it.
    pub front: bool,
}

/// A server that was recognised.
#[derive(Clone)]
pub struct Recognised {
    /// Its kind.
    pub kind: &'static dyn ServerKind,
    /// Name, version, worker class, settings.
    pub server: Server,
    /// Role of each process.
    pub roles: Vec<(u32, Role)>,
}

impl Recognised {
    /// Role of a process.
    pub fn role(&self, tgid: u32) -> Role {
        self.roles.iter().find(|(process, _)| *process == tgid).map_or(Role::Unknown, |(_, role)| *role)
    }
}

impl std::fmt::Debug for Recognised {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Recognised")
            .field("kind", &self.kind.name())
            .field("server", &self.server)
            .field("roles", &self.roles)
            .finish()
    }
}

/// What a process of a server is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Keeps workers running, serves nothing.
    Master,
    /// Serves requests.
    Worker,
    /// Takes requests from clients and passes them on to workers; runs no Python.
    FrontEnd,
    /// Neither serves nor stands in front, or not known: a helper that the application started, a manager.
    #[default]
    Unknown,
}

impl Role {
    /// Name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Worker => "worker",
            Self::FrontEnd => "front_end",
            Self::Unknown => "unknown",
        }
    }
}

/// How a request passes between processes of one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inside {
    /// Not at all: who accepts a connection serves it.
    #[default]
    Nothing,
    /// From processes with the role of a front end, in HTTP or another protocol that is framed.
    FrontEnds,
    /// Over UNIX sockets, in a protocol of the server's own, one request a connection; the public listeners
    /// are TCP.
    PrivateOverUnix,
}

/// What behaviour showed of a server; zero and `None` mean "not seen".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Worker processes alive at one moment, the most seen.
    pub worker_processes: u32,
    /// Threads that served requests, of the worker that had most.
    pub serving_threads: u32,
    /// Workers wait for the listener in epoll (`false`: in select or poll).
    pub listener_in_epoll: Option<bool>,
    /// Main threads, and no others, served requests.
    pub main_threads_serve: bool,
}

/// The stretch of a request's life that an access log's request time covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogInterval {
    /// Where it begins.
    pub from: LogStart,
    /// Where it ends.
    pub to: LogEnd,
}

/// Where an access log's request time begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// The head is read and parsed, the application not yet called: `service_ns`'s start plus the CPU time of
    /// parsing. A pipelined request whose head came with an earlier read starts when the request before
    /// it has been logged.
    HeadParsed,
    /// The connection was accepted; later requests of it: the wait for their first byte has begun.
    Accepted,
}

/// Where an access log's request time ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// The last write of the response has returned; writing the log line, the iterable's `close()`, closing
    /// the connection and any lingering come after.
    ResponseWritten,
}

/// The server that these processes are; the kind `unknown` when no other recognises it.
pub fn recognise(processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Recognised {
    let in_front: Vec<u32> =
        processes.iter().filter(|process| process.front_end).map(|process| process.tgid).collect();
    if in_front.is_empty() {
        return of_one_server(processes, listeners);
    }
    // What stands before the server says nothing of it.
    let others: FxHashSet<u32> = in_front.iter().copied().collect();
    let own = |tgid: u32| !others.contains(&tgid);
    let processes: Vec<_> = processes.iter().filter(|process| own(process.tgid)).cloned().collect();
    let listeners: Vec<_> = listeners.iter().filter(|listener| own(listener.tgid)).cloned().collect();
    let mut recognised = of_one_server(&processes, &listeners);
    recognised.roles.extend(in_front.into_iter().map(|tgid| (tgid, Role::FrontEnd)));
    recognised
}

fn of_one_server(processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Recognised {
    KINDS
        .iter()
        .find_map(|kind| kind.recognise(processes, listeners))
        .unwrap_or_else(|| unknown::as_unknown(processes, listeners))
}

/// The first process of a server that no other of its processes has started.
fn topmost(processes: &[ProcessSeen], is_own: impl Fn(&ProcessSeen) -> bool) -> Option<&ProcessSeen> {
    let own: FxHashSet<u32> =
        processes.iter().filter(|process| is_own(process)).map(|process| process.tgid).collect();
    processes.iter().find(|process| is_own(process) && !own.contains(&process.parent_tgid))
}

/// Whether a front end is among these processes: the server's own, or one that is traced with it.
pub fn has_front_end(processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> bool {
    let recognised = recognise(processes, listeners);
    let inside = recognised.kind.inside(&recognised.server);
    recognised.roles.iter().any(|(_, role)| *role == Role::FrontEnd) || inside == Inside::PrivateOverUnix
}

/// The kind with this name, for a [`Server`] whose kind is no longer at hand.
pub fn kind_named(name: &str) -> &'static dyn ServerKind {
    KINDS.iter().copied().find(|kind| kind.name() == name).unwrap_or(&unknown::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Findings and their cases that servers have advice on.
    const ASKED: [&str; 15] = [
        "more-slots",
        "more-slots/one-worker",
        "more-slots/pool",
        "slow-clients",
        "slow-file/heartbeat",
        "idle-connections",
        "idle-connections/acceptor",
        "loop-blocked",
        "loop-blocked/computing",
        "cpu-bound",
        "cpu-throttled",
        "gil-contention",
        "full-beside-free",
        "herd",
        "keep-alive-race",
    ];

    fn all_advice(site: &Site) -> Vec<String> {
        let classes =
            ["sync", "gthread", "gevent", "eventlet", "asgi", "tornado", "daemon", "embedded", "unknown"];
        let versions = [None, Some("23.0.0"), Some("27.0.1")];
        let mut said = Vec::new();
        for kind in KINDS {
            for (class, version) in classes.iter().flat_map(|class| versions.map(|version| (class, version)))
            {
                let server = Server {
                    name: kind.name().to_owned(),
                    worker_class: (*class).to_owned(),
                    version: version.map(str::to_owned),
                    ..Server::default()
                };
                said.extend(ASKED.iter().filter_map(|id| Some(kind.advice(id, &server, site)?.to_string())));
            }
        }
        said
    }

    #[test]
    fn socket_that_cannot_be_split_is_never_to_be_split() {
        let elsewhere = all_advice(&Site::default());
        assert!(!elsewhere.iter().any(|text| text.contains("Use --reuse-port")));
        let own = all_advice(&Site { own_tcp: true, ..Site::default() });
        assert!(own.iter().any(|text| text.contains("Use --reuse-port")));
    }

    #[test]
    fn nobody_is_told_to_lower_a_limit_that_silent_connections_fill() {
        for text in all_advice(&Site::default()) {
            let names_limit = text.contains("--worker-connections") || text.contains("--connection-limit");
            assert!(!names_limit || text.starts_with("Raise "), "{text}");
        }
    }

    #[test]
    fn a_process_that_no_kind_knows_is_reported_as_unknown_not_dropped() {
        let process = ProcessSeen { tgid: 7, command_line: vec!["nginx".into()], ..ProcessSeen::default() };
        let recognised = recognise(&[process], &[]);
        assert_eq!(recognised.server.name, "unknown");
        assert_eq!(recognised.server.worker_class, "unknown");
        assert_eq!(recognised.role(7), Role::Unknown);
    }

    #[test]
    fn requests_that_ran_for_ever_are_beyond_the_limit_on_average() {
        let ender = Ender::Itself { threads: 2 };
        let limit = OwnLimit { option: "request-timeout", limit_ns: 10, ender };
        for (ran_ns, mean_ns) in
            [(&[9_u64, 10][..], None), (&[10, 11], Some(10)), (&[u64::MAX, 7], Some(u64::MAX / 2))]
        {
            let held: Vec<(Asked, u64)> = ran_ns.iter().map(|ran_ns| (Asked::default(), *ran_ns)).collect();
            assert_eq!(limit.exceeded(&held, 0), mean_ns, "{ran_ns:?}");
        }
    }

    #[test]
    fn names_of_kinds_are_unique_and_find_their_kind() {
        for kind in KINDS {
            assert_eq!(kind_named(kind.name()).name(), kind.name());
            assert_eq!(KINDS.iter().filter(|other| other.name() == kind.name()).count(), 1);
        }
        assert_eq!(kind_named("no such server").name(), "unknown");
    }
}
