//! Small servers with event loops of their own, of kinds that nobody built wsgi-trace against: scripts of the
//! tests.
//!
//! In: which. Out: a recipe.

use std::process::Command;

use super::{Clients, Place, Recipe};

/// One of them.
#[derive(Clone, Copy, Debug)]
pub enum OwnLoop {
    /// asyncio: the application runs within its request's task, which then wakes the loop by its own wakeup
    /// descriptor.
    TaskThatWakes,
    /// epoll: the application runs between the read and the write of its connection, while others may be
    /// ready too.
    ByReadiness,
}

impl Recipe for OwnLoop {
    fn name(&self) -> &'static str {
        "unknown"
    }

    fn about(&self) -> String {
        format!("a loop of its own, {self:?}")
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let script = match self {
            Self::TaskThatWakes => "serve_task_that_wakes.py",
            Self::ByReadiness => "serve_by_readiness.py",
        };
        let mut command = Command::new(Place::servers_program("python"));
        command.arg(Place::apps().join(script)).args([&host, &port]);
        Ok(vec![command])
    }

    /// Nothing shows what it is.
    fn slots(&self) -> Option<u64> {
        None
    }

    /// Bodies of a length that is said.
    fn clients(&self) -> Clients {
        Clients { keep_alive: "5", kinds: "get=6,head,sized" }
    }
}
