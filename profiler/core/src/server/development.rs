//! Servers for development: werkzeug's (Flask's), Django's `runserver`, wsgiref. A program starts them; there
//! is no option that makes them fit for load.
//!
//! In: facts of their processes. Out: their role, advice: another server. Read off and run with werkzeug
//! 3.1.3, Django 5.2 and CPython 3.11.

use super::advice::common::raise_cpu_limit;
use super::advice::{Advice, Sizes, act};
use super::program::{self, InProgram};
use super::site::Site;
use super::{LogInterval, Observed, Recognised, Role, ServerKind, pool};
use crate::fact::{ListenerSeen, ProcessSeen};
use crate::model::Server;

/// A server for development.
#[derive(Debug)]
pub struct Development {
    name: &'static str,
    shown: InProgram,
}

/// `Flask.run`, `flask run`, `werkzeug.serving.run_simple`.
pub static WERKZEUG: Development = Development {
    name: "werkzeug",
    shown: InProgram {
        serves: &[("werkzeug/serving.py", "serve_forever")],
        class: None,
        pool: &[],
        distribution: Some("werkzeug"),
        backlog: None,
    },
};

/// `manage.py runserver`.
pub static DJANGO: Development = Development {
    name: "django",
    shown: InProgram {
        serves: &[("django/core/servers/basehttp.py", "run")],
        class: None,
        pool: &[],
        distribution: Some("django"),
        backlog: None,
    },
};

/// `wsgiref.simple_server.make_server(…).serve_forever()`.
pub static WSGIREF: Development = Development {
    name: "wsgiref",
    shown: InProgram {
        serves: &[("socketserver.py", "serve_forever")],
        class: Some("WSGIServer"),
        pool: &[],
        distribution: None,
        backlog: None,
    },
};

/// Of them the one with this name.
fn named(name: &str) -> &'static Development {
    [&DJANGO, &WSGIREF].into_iter().find(|one| one.name == name).unwrap_or(&WERKZEUG)
}

impl ServerKind for Development {
    fn name(&self) -> &'static str {
        self.name
    }

    fn recognise(&self, processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Option<Recognised> {
        program::recognise(named(self.name), "development", processes, listeners)
    }

    fn roles(&self, processes: &[ProcessSeen]) -> Vec<(u32, Role)> {
        pool::roles(processes, |one| program::is_run_by(one, self))
    }

    fn configured_slots(&self, _server: &Server) -> Option<u32> {
        None
    }

    /// A thread for each connection, or the main thread for all, one after the other.
    fn has_thread_per_request(&self, _server: &Server) -> bool {
        true
    }

    fn slot_noun(&self, _server: &Server) -> &'static str {
        "thread"
    }

    fn in_program(&self) -> Option<&'static InProgram> {
        Some(&named(self.name).shown)
    }

    fn refine(&self, server: &Server, _observed: &Observed) -> Server {
        server.clone()
    }

    fn advice(&self, finding_id: &str, _server: &Server, _site: &Site) -> Option<Advice> {
        Some(match finding_id {
            "slow-clients" | "idle-connections" => Advice::first(act(
                "put a reverse proxy that buffers requests and responses (nginx does) before this server",
            )),
            "cpu-throttled" => Advice::first(raise_cpu_limit()),
            "more-slots" | "cpu-bound" | "gil-contention" | "keep-alive-race" => Advice::first(
                act("serve the application with a server that is made for load \
                     (gunicorn --worker-class gthread --threads 8, or waitress.serve)")
                .more(Sizes::Threads)
                .because(format!("the one of {} is for development", self.name)),
            ),
            _ => return None,
        })
    }

    fn log_interval(&self, _server: &Server) -> Option<LogInterval> {
        None
    }
}
