//! Which mode suits a server: light, or full.
//!
//! In: a recognised server. Out: a [`Mode`], which `doctor`, `list` and `serve` say.

use profiler_core::model::Server;
use profiler_core::server::{ServerKind, recognise};

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

    /// The mode for the server that runs as these processes; `None`: it is not known well enough.
    pub(super) fn of_tree(tree: &Tree) -> Option<Self> {
        let facts = server_facts(&Proc::default(), &tree.tgids);
        let recognised = recognise(&facts.processes, &facts.listeners);
        let server = recognised.kind.refine(&recognised.server, &facts.observed(&recognised.roles));
        Self::of(recognised.kind, &server).filter(|_| server.name != "unknown")
    }

    /// What `serve` says as it begins in light mode or in full, where this mode suits the server.
    pub(super) const fn of_serve(suits: Option<Self>, is_light: bool) -> &'static str {
        match (is_light, suits) {
            (true, Some(Self::Full)) => {
                "light mode, though an event loop serves many requests at once here: it shows little of what they wait for; --full shows it"
            }
            (true, _) => "light mode; POST /full?seconds=60 traces in full for a minute",
            (false, Some(Self::Light)) => {
                "everything is traced; --light costs this server less, and traces in full for a while on request"
            }
            (false, _) => "everything is traced",
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
        }
    }
}
