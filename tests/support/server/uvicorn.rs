//! uvicorn: an ASGI application of few lines on its loop, one of a framework, and the WSGI demo application
//! in a2wsgi's threads.
//!
//! In: which of them, worker processes, threads. Out: a recipe. uvicorn's log has no times. The witness sits
//! between it and the application: from the application's call, some turns of the loop after the head was
//! read, to the last byte that it hands over. Where threads take the interpreter lock from the loop meanwhile
//! (a2wsgi) it sits at the loop's sockets.

use std::process::Command;

use super::{Clients, Place, Recipe};

/// What uvicorn runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Application {
    /// `asgi_app`, a coroutine.
    Asgi,
    /// The same on uvloop.
    AsgiOnUvloop,
    /// `starlette_app`: coroutines, and plain functions in threads.
    Starlette,
    /// One of the two under `asgi_steps`, which sees when the loop runs which request.
    Steps {
        /// `starlette_app`.
        is_starlette: bool,
    },
    /// `own_thread_app`: a thread of its own for each request, as Django has for its views.
    OwnThreads,
    /// `demo_app`, by a2wsgi in so many threads.
    A2wsgi {
        /// Threads of its pool.
        threads: u32,
    },
}

/// uvicorn, with one process or several.
#[derive(Clone, Copy, Debug)]
pub struct Uvicorn {
    /// What it runs.
    pub application: Application,
    /// Processes.
    pub workers: usize,
}

impl Recipe for Uvicorn {
    fn name(&self) -> &'static str {
        "uvicorn"
    }

    fn about(&self) -> String {
        format!("uvicorn, {:?}, {} workers", self.application, self.workers)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let on_uvloop = self.application == Application::AsgiOnUvloop;
        let python = if on_uvloop { Place::asgi_program("python") } else { Place::servers_program("python") };
        let mut command = Command::new(python);
        command.args(["-m", "uvicorn", "--host", &host, "--port", &port, "--no-access-log"]);
        command.args(["--workers", &self.workers.to_string()]);
        match self.application {
            Application::Asgi => command.arg("asgi_app:application"),
            Application::AsgiOnUvloop => {
                command.args(["--loop", "uvloop", "--http", "h11", "asgi_app:application"])
            }
            Application::Starlette => command.arg("starlette_app:application"),
            Application::Steps { is_starlette } => {
                let watched = if is_starlette { "starlette_app" } else { "asgi_app" };
                command.env("STEPS_OF", watched).arg("asgi_steps:application")
            }
            Application::OwnThreads => command.arg("own_thread_app:application"),
            Application::A2wsgi { threads } => {
                command.env("WSGI_THREADS", threads.to_string()).arg("a2wsgi_app:application")
            }
        };
        Ok(vec![command])
    }

    fn loads(&self) -> usize {
        self.workers
    }

    fn knows_its_work(&self) -> bool {
        matches!(self.application, Application::A2wsgi { .. })
    }

    fn slots(&self) -> Option<u64> {
        None
    }

    fn clients(&self) -> Clients {
        Clients { keep_alive: "5", kinds: "get=6,head,sized,chunked" }
    }

    /// Where coroutines interleave, no descriptor tells which of two runs. Behind a2wsgi other tasks send
    /// what threads give, so that tasks do not tell either: 6.7 to 9.0 % in five runs, 10.6 % in one
    /// while the host stole CPUs (docs/limits-loops.md).
    fn unexplained(&self) -> f64 {
        if matches!(self.application, Application::A2wsgi { .. }) { 0.15 } else { 0.10 }
    }
}
