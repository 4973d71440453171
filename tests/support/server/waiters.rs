//! A server whose workers wait for their listener in a given way (`apps/waiters.py`).
//!
//! In: the way, how many workers, where it listens. Out: a recipe.

use std::process::Command;

use super::{Listen, Place, Recipe};

/// `apps/waiters.py`.
#[derive(Clone, Copy, Debug)]
pub struct Waiters {
    /// The way, as the script names it.
    pub mode: &'static str,
    /// Worker processes.
    pub workers: u32,
    /// Where they listen.
    pub listen: Listen,
}

impl Recipe for Waiters {
    fn name(&self) -> &'static str {
        "unknown"
    }

    fn about(&self) -> String {
        format!("{} workers, {}, {:?}", self.workers, self.mode, self.listen)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let mut command = Command::new("python3");
        command.arg(Place::apps().join("waiters.py"));
        command.args([self.mode, &self.workers.to_string(), &host, &port]);
        Ok(vec![command])
    }

    fn loads(&self) -> usize {
        self.workers as usize
    }

    fn slots(&self) -> Option<u64> {
        None
    }

    fn listen(&self) -> Listen {
        self.listen
    }
}
