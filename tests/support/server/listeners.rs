//! A server that changes its listener while it serves (`apps/listeners.py`).
//!
//! In: where it listens. Out: a recipe.

use std::process::Command;

use super::{Place, Recipe};

/// `apps/listeners.py`.
#[derive(Clone, Copy, Debug)]
pub struct Listeners {
    /// A process that is no descendant of the server holds its listener too.
    pub shared: bool,
}

impl Recipe for Listeners {
    fn name(&self) -> &'static str {
        "unknown"
    }

    fn about(&self) -> String {
        "a server that changes its listener".to_owned()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let mut command = Command::new("python3");
        command.arg(Place::apps().join("listeners.py")).args([&host, &port]);
        command.args(self.shared.then_some("shared"));
        Ok(vec![command])
    }

    fn slots(&self) -> Option<u64> {
        None
    }
}
