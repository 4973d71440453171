//! gunicorn with a worker that runs an event loop: uvicorn's, or the one that it has itself from version 25
//! on.
//!
//! In: the class of the workers. Out: a recipe. The witness sits between the worker and the application, as
//! under uvicorn alone.

use std::process::Command;

use super::uvicorn::{Application, Uvicorn};
use super::{Clients, Place, Recipe};

/// One worker, which serves `asgi_app`.
#[derive(Clone, Copy, Debug)]
pub struct GunicornAsgi {
    /// As gunicorn's `--worker-class` takes it.
    pub worker_class: &'static str,
}

impl GunicornAsgi {
    const ALONE: Uvicorn = Uvicorn { application: Application::Asgi, workers: 1 };
}

impl Recipe for GunicornAsgi {
    fn name(&self) -> &'static str {
        "gunicorn"
    }

    fn about(&self) -> String {
        format!("gunicorn, {}", self.worker_class)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let mut command = Command::new(Place::servers_program("gunicorn"));
        command.args(["--worker-class", self.worker_class, "--workers", "1", "--no-control-socket"]);
        command.args(["--bind", &format!("{host}:{port}"), "asgi_app:application"]);
        Ok(vec![command])
    }

    fn knows_its_work(&self) -> bool {
        Self::ALONE.knows_its_work()
    }

    fn slots(&self) -> Option<u64> {
        None
    }

    fn clients(&self) -> Clients {
        Self::ALONE.clients()
    }

    fn unexplained(&self) -> f64 {
        Self::ALONE.unexplained()
    }
}
