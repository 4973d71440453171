//! Granian, whose runtime is native (Rust, tokio): one of its threads reads and writes, others take the
//! interpreter lock for each request.
//!
//! In: the number of these others. Out: a recipe.

use std::process::Command;

use super::{Clients, Place, Recipe};

/// One worker with so many threads for applications.
#[derive(Clone, Copy, Debug)]
pub struct Granian {
    /// Threads that run the application.
    pub blocking_threads: u32,
}

impl Recipe for Granian {
    fn name(&self) -> &'static str {
        "unknown"
    }

    fn about(&self) -> String {
        format!("Granian, {} blocking threads", self.blocking_threads)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let mut command = Command::new(Place::servers_program("granian"));
        command.args(["--interface", "wsgi", "--host", &host, "--port", &port, "--no-ws"]);
        command.args(["--blocking-threads", &self.blocking_threads.to_string(), "witnessed:app"]);
        Ok(vec![command])
    }

    /// Nothing shows how many it has.
    fn slots(&self) -> Option<u64> {
        None
    }

    fn clients(&self) -> Clients {
        Clients { keep_alive: "5", kinds: "get=6,head,sized" }
    }
}
