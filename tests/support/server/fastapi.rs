//! FastAPI under uvicorn, on asyncio's loop or uvloop: coroutines, and plain functions in the framework's
//! threads.
//!
//! In: the loop. Out: a recipe. The witness sits between uvicorn and the framework, and in each route.

use std::process::Command;

use super::{Clients, Place, Recipe};

/// One process of uvicorn that serves `fastapi_app`.
#[derive(Clone, Copy, Debug)]
pub struct FastApi {
    /// uvicorn's `--loop`: `asyncio` or `uvloop`.
    pub event_loop: &'static str,
    /// uvicorn's `--http`: `h11` or `httptools`.
    pub http: &'static str,
}

impl Recipe for FastApi {
    fn name(&self) -> &'static str {
        "uvicorn"
    }

    fn about(&self) -> String {
        format!("FastAPI, {}, {}", self.event_loop, self.http)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let mut command = Command::new(Place::asgi_program("python"));
        command.args(["-m", "uvicorn", "--host", &host, "--port", &port, "--no-access-log"]);
        command.args(["--loop", self.event_loop, "--http", self.http, "fastapi_app:application"]);
        Ok(vec![command])
    }

    fn knows_its_work(&self) -> bool {
        false
    }

    fn slots(&self) -> Option<u64> {
        None
    }

    fn clients(&self) -> Clients {
        Clients { keep_alive: "5", kinds: "get" }
    }

    /// Where coroutines interleave, no descriptor tells which of two runs.
    fn unexplained(&self) -> f64 {
        0.10
    }
}
