//! Servers for development: werkzeug's (Flask's) and Django's `runserver`. A program starts them; there is no
//! option that makes them fit for load.
//!
//! In: facts of their processes. Out: their role, advice: another server. Read off and run with werkzeug
//! 3.1.3 and Django 5.2.

use super::advice::common::{faster_back_end, raise_cpu_limit};
use super::advice::{Advice, act, say};
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
        pool: &[],
        distribution: Some("django"),
        backlog: None,
    },
};

impl ServerKind for Development {
    fn name(&self) -> &'static str {
        self.name
    }

    fn recognise(&self, processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Option<Recognised> {
        let kind = if self.name == DJANGO.name { &DJANGO } else { &WERKZEUG };
        program::recognise(kind, "development", processes, listeners)
    }

    fn roles(&self, processes: &[ProcessSeen]) -> Vec<(u32, Role)> {
        pool::roles(processes, |one| program::is_run_by(one, self))
    }

    fn configured_slots(&self, _server: &Server) -> Option<u32> {
        None
    }

    fn in_program(&self) -> Option<&'static InProgram> {
        Some(if self.name == DJANGO.name { &DJANGO.shown } else { &WERKZEUG.shown })
    }

    fn refine(&self, server: &Server, _observed: &Observed) -> Server {
        server.clone()
    }

    fn advice(&self, finding_id: &str, _server: &Server, _site: &Site) -> Option<Advice> {
        Some(match finding_id {
            "slow-clients" | "idle-connections" => Advice::first(act(
                "put a reverse proxy that buffers requests and responses (nginx does) before this server",
            )),
            "back-end" => {
                Advice::first(faster_back_end()).then(say("a timeout on its calls bounds the harm"))
            }
            "cpu-throttled" => Advice::first(raise_cpu_limit()),
            "slots-exhausted"
            | "slots-exhausted/waiting"
            | "slots-exhausted/computing"
            | "slots-exhausted/one-worker"
            | "cpu-bound"
            | "cpu-bound/turns"
            | "gil-contention"
            | "gil-convoy"
            | "gil-threads"
            | "keep-alive-race"
            | "short-behind-long" => Advice::first(
                act("serve the application with a server that is made for load \
                     (gunicorn --worker-class gthread --threads 8, or waitress.serve)")
                .because(format!("the one of {} is for development", self.name)),
            ),
            _ => return None,
        })
    }

    fn log_interval(&self, _server: &Server) -> Option<LogInterval> {
        None
    }
}
