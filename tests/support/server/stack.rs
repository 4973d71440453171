//! Whole stacks: Django and Flask with pools of connections to PostgreSQL and Redis, on several servers.
//!
//! In: the application, the size of its pools, the server. Out: a recipe.

use std::process::Command;

use super::{Clients, Place, Recipe};
use crate::stores;

/// The application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Application {
    /// `apps/stack_django.py`: Django, psycopg's pool.
    Django,
    /// `apps/stack_flask.py`: Flask, SQLAlchemy, redis-py.
    Flask,
}

/// The server, and its processes and threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// gunicorn's gthread worker: one process, so many threads.
    Gthread(u32),
    /// uWSGI: so many processes, and threads of each.
    Uwsgi(u32, u32),
    /// Waitress: so many threads.
    Waitress(u32),
    /// cheroot: so many threads.
    Cheroot(u32),
}

/// An application on a server.
#[derive(Clone, Copy, Debug)]
pub struct Stack {
    /// The application.
    pub application: Application,
    /// The server.
    pub on: On,
    /// Connections of each pool of a process.
    pub pool: u32,
    /// PostgreSQL is reached by its UNIX socket.
    pub by_socket: bool,
}

impl Stack {
    /// An application on a server that reaches its stores over TCP.
    pub const fn new(application: Application, on: On, pool: u32) -> Self {
        Self { application, on, pool, by_socket: false }
    }

    /// This stack with PostgreSQL at its UNIX socket.
    pub const fn by_socket(mut self) -> Self {
        self.by_socket = true;
        self
    }
}

impl Recipe for Stack {
    fn name(&self) -> &'static str {
        match self.on {
            On::Gthread(_) => "gunicorn",
            On::Uwsgi(..) => "uwsgi",
            On::Waitress(_) => "waitress",
            On::Cheroot(_) => "cheroot",
        }
    }

    fn about(&self) -> String {
        let Self { application, on, pool, .. } = self;
        format!("{application:?} on {on:?}, pools of {pool}")
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let module = match self.application {
            Application::Django => "stack_django:app",
            Application::Flask => "stack_flask:app",
        };
        let address = place.address.to_string();
        let mut command = Command::new(stores::program("python"));
        match self.on {
            On::Gthread(threads) => {
                command.args(["-m", "gunicorn", "--worker-class", "gthread", "--no-control-socket"]);
                command.args(["--threads", &threads.to_string(), "--bind", &address, module]);
            }
            On::Uwsgi(processes, threads) => {
                command = Command::new(stores::program("uwsgi"));
                command.args(["--master", "--die-on-term", "--need-app", "--lazy-apps", "--virtualenv"]);
                command.arg(crate::root().join(".tools/venv-stacks")).args(["--http-socket", &address]);
                command.args(["--processes", &processes.to_string(), "--threads", &threads.to_string()]);
                command.args(["--module", module]);
            }
            On::Waitress(threads) => {
                command.args(["-m", "waitress", "--listen", &address, "--threads", &threads.to_string()]);
                command.arg(module);
            }
            On::Cheroot(threads) => {
                command.args(["-m", "cheroot", "--bind", &address, "--threads", &threads.to_string()]);
                command.arg(module);
            }
        }
        command.env("POOL", self.pool.to_string());
        command.env("DATABASE_IS", if self.by_socket { "DATABASE_SOCKET" } else { "DATABASE" });
        Ok(vec![command])
    }

    fn has_stores(&self) -> bool {
        true
    }

    fn loads(&self) -> usize {
        if let On::Uwsgi(processes, _) = self.on { processes as usize } else { 1 }
    }

    fn slots(&self) -> Option<u64> {
        Some(u64::from(match self.on {
            On::Gthread(threads) | On::Waitress(threads) | On::Cheroot(threads) => threads,
            On::Uwsgi(processes, threads) => processes * threads,
        }))
    }

    fn knows_its_work(&self) -> bool {
        false
    }

    fn clients(&self) -> Clients {
        let keep_alive = if matches!(self.on, On::Uwsgi(..)) { "1" } else { "5" };
        Clients { keep_alive, kinds: "get" }
    }
}
