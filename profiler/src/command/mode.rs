//! Which mode suits a server: light, or full.
//!
//! In: a recognised server, or its processes. Out: a [`Mode`], which `doctor` and `list` say, and `serve` chooses.

use profiler_core::fact::ListenerSeen;
use profiler_core::model::Server;
use profiler_core::server::{Inside, Role, ServerKind, recognise};

use crate::fact::{Proc, Tree, server_facts};

/// How a server is best watched for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// `--light`: each request has a thread of its own.
    Light,
    /// Without it: an event loop serves many at once.
    Full,
}

impl Mode {
    /// The mode for a server of this kind; `None`: its worker class is not known.
    pub(super) fn of(kind: &dyn ServerKind, server: &Server) -> Option<Self> {
        let mode = if kind.has_thread_per_request(server) { Self::Light } else { Self::Full };
        (server.worker_class != "unknown").then_some(mode)
    }

    /// What `serve` does where this mode was asked for (`None`: none), and what it says as it begins. `lack`: what light mode would lack here.
    pub(super) const fn of_serve(asked: Option<Self>, lack: Option<Lack>) -> (Self, &'static str) {
        match (asked, lack) {
            (Some(Self::Light), Some(Lack::Loop)) => (
                Self::Light,
                "light mode, though an event loop serves many requests at once here: it shows little of what they wait for; --full shows it",
            ),
            (Some(Self::Light), _) | (None, None) => {
                (Self::Light, "light mode; POST /full?seconds=60 traces in full for a minute")
            }
            (Some(Self::Full), None) => (
                Self::Full,
                "everything is traced; without --full light mode costs this server less, and traces in full for a while on request",
            ),
            (Some(Self::Full), Some(_)) => (Self::Full, "everything is traced"),
            (None, Some(lack)) => (Self::Full, lack.sentence()),
        }
    }

    /// In one word.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Full => "full",
        }
    }

    /// What to do, and why.
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::Light => {
                "leave `--light` on: it sees each request and what its thread waits for; trace without it for causes that only system calls show"
            }
            Self::Full => {
                "trace without `--light`: which of several requests a loop works for only system calls show"
            }
        }
    }
}

/// What light mode would lack of a server that is watched for long: an alert would be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// An event loop serves many requests at once.
    Loop,
    /// It is not known how the server works.
    Unknown,
    /// One thread reads a request and another answers it.
    PassedOn,
    /// Two processes serve one request.
    Halves,
    /// It listens on a UNIX socket.
    UnixSocket,
}

impl Lack {
    /// What light mode would lack of the server that runs as these processes, alone or (`with_front_end`) behind one that is traced with it.
    pub(super) fn of_tree(tree: &Tree, with_front_end: bool) -> Option<Self> {
        let facts = server_facts(&Proc::default(), &tree.tgids);
        let recognised = recognise(&facts.processes, &facts.listeners);
        let server = recognised.kind.refine(&recognised.server, &facts.observed(&recognised.roles));
        if with_front_end || recognised.roles.iter().any(|(_, role)| *role == Role::FrontEnd) {
            return Some(Self::Halves);
        }
        let lack = Self::of(recognised.kind, &server);
        lack.or(takes_unix(&facts.listeners, &recognised.roles).then_some(Self::UnixSocket))
    }

    /// What it would lack of a server of this kind.
    fn of(kind: &dyn ServerKind, server: &Server) -> Option<Self> {
        match Mode::of(kind, server).filter(|_| server.name != "unknown") {
            None => Some(Self::Unknown),
            Some(Mode::Full) => Some(Self::Loop),
            Some(Mode::Light) if kind.inside(server) == Inside::PrivateOverUnix => Some(Self::Halves),
            Some(Mode::Light) => kind.passes_requests_on().then_some(Self::PassedOn),
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::Loop => {
                "everything is traced: an event loop serves many requests at once here, and light mode shows little of what they wait for"
            }
            Self::Unknown => {
                "everything is traced: it is not known how this server works, and light mode takes a thread for each request"
            }
            Self::PassedOn => {
                "everything is traced: threads of this server pass requests on, and light mode does not see then how busy they are"
            }
            Self::Halves => {
                "everything is traced: two processes serve each request here, and light mode does not see that"
            }
            Self::UnixSocket => {
                "everything is traced: light mode does not see how connections over UNIX sockets end"
            }
        }
    }
}

/// Whether requests come over a UNIX socket. What no worker holds is not for them, as the control socket of gunicorn 27.
fn takes_unix(listeners: &[ListenerSeen], roles: &[(u32, Role)]) -> bool {
    let works = |tgid: u32| roles.contains(&(tgid, Role::Worker));
    let has_workers = roles.iter().any(|(_, role)| *role == Role::Worker);
    listeners.iter().any(|seen| seen.family == "unix" && (!has_workers || works(seen.tgid)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_core::fact::ProcessSeen;

    #[test]
    fn threads_are_watched_light_and_event_loops_in_full() {
        for (line, expected) in [
            ("/usr/bin/gunicorn --threads 4 app:app", Some(Mode::Light)),
            ("/usr/bin/gunicorn -k sync app:app", Some(Mode::Light)),
            // A configuration file may name another class.
            ("/usr/bin/gunicorn app:app", None),
            ("/usr/bin/gunicorn -k gevent app:app", Some(Mode::Full)),
            ("/usr/bin/uwsgi --http :8000 --wsgi-file app.py", Some(Mode::Light)),
            ("/usr/bin/waitress-serve app:app", Some(Mode::Light)),
            ("/usr/bin/uwsgi --http :8000 --gevent 100", Some(Mode::Full)),
            ("/usr/bin/uvicorn app:app", Some(Mode::Full)),
        ] {
            let command_line = ["python3"].into_iter().chain(line.split(' ')).map(str::to_owned).collect();
            let process =
                ProcessSeen { tgid: 1, comm: "python3".into(), command_line, ..ProcessSeen::default() };
            let recognised = recognise(&[process], &[]);
            assert_ne!(recognised.server.name, "unknown", "{line}");
            assert_eq!(Mode::of(recognised.kind, &recognised.server), expected, "{line}");
            let is_whole = Lack::of(recognised.kind, &recognised.server).is_none();
            // Waitress has threads, and passes requests on.
            assert_eq!(is_whole, expected == Some(Mode::Light) && !line.contains("waitress"), "{line}");
        }
    }

    #[test]
    fn a_unix_socket_that_only_the_master_holds_is_none_of_requests() {
        let seen = |tgid| ListenerSeen { tgid, family: "unix".to_owned(), ..ListenerSeen::default() };
        let (master, worker) = ((1, Role::Master), (2, Role::Worker));
        for (holders, roles, expected) in [
            (&[1][..], &[master, worker][..], false),
            (&[1, 2], &[master, worker], true),
            (&[1], &[(1, Role::Unknown)], true),
            (&[], &[master, worker], false),
        ] {
            let listeners: Vec<_> = holders.iter().copied().map(seen).collect();
            assert_eq!(takes_unix(&listeners, roles), expected, "{holders:?} {roles:?}");
        }
    }

    #[test]
    fn serve_is_light_unless_that_would_lack_something_or_another_mode_is_asked_for() {
        const LACKS: [Lack; 5] = [Lack::Loop, Lack::Unknown, Lack::PassedOn, Lack::Halves, Lack::UnixSocket];
        assert_eq!(Mode::of_serve(None, None).0, Mode::Light);
        let mut said: Vec<&str> = Vec::new();
        for lack in LACKS {
            let (mode, sentence) = Mode::of_serve(None, Some(lack));
            assert!(mode == Mode::Full && sentence.contains("light mode"), "{sentence}");
            said.push(sentence);
        }
        said.dedup();
        assert_eq!(said.len(), LACKS.len(), "each has a sentence of its own");
        for lack in LACKS.map(Some).into_iter().chain([None]) {
            for asked in [Mode::Light, Mode::Full] {
                assert_eq!(Mode::of_serve(Some(asked), lack).0, asked, "{lack:?}");
            }
        }
    }
}
