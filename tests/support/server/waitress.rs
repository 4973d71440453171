//! Waitress: one process, a main thread that reads and a pool that runs the application.
//!
//! In: the number of threads. Out: a recipe.

use std::process::Command;

use super::{Place, Recipe};
use crate::trace::TracedRequest;

/// `waitress-serve` with so many threads.
#[derive(Clone, Copy, Debug)]
pub struct Waitress {
    /// Pool threads.
    pub threads: u32,
}

impl Recipe for Waitress {
    fn name(&self) -> &'static str {
        "waitress"
    }

    fn about(&self) -> String {
        format!("waitress, {} threads", self.threads)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let mut command = Command::new(Place::servers_program("python"));
        command.args(["-m", "waitress", "--listen", &place.address.to_string()]);
        command.args(["--threads", &self.threads.to_string(), "witnessed:app"]);
        Ok(vec![command])
    }

    fn slots(&self) -> Option<u64> {
        Some(u64::from(self.threads))
    }

    /// The application is called when the whole request has been read and a thread is free.
    fn logged_ns(&self, request: &TracedRequest) -> Option<u64> {
        after_the_pool(request)
    }
}

/// What is left of a request when it has been read and a thread of the pool has taken it.
fn after_the_pool(request: &TracedRequest) -> Option<u64> {
    let before = ["accept_queue", "loop_wait", "pool_wait", "read_head", "read_body", "client_read_stall"];
    let before_ns: u64 = before.iter().map(|phase| request.phase_ns(phase)).sum();
    request.service_ns.map(|_| request.total_ns.saturating_sub(before_ns))
}
