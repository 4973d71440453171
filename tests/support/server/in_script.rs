//! Servers that a program of the user's starts: `python app.py` that calls `waitress.serve` or makes a
//! `cheroot.wsgi.Server`.
//!
//! In: which, the number of threads. Out: a recipe of `apps/serve_composed.py`.

use std::process::Command;

use super::{Place, Recipe};

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct InScript {
    /// `waitress` or `cheroot`.
    pub which: &'static str,
    /// Threads of its pool.
    pub threads: u32,
}

impl Recipe for InScript {
    fn name(&self) -> &'static str {
        self.which
    }

    fn about(&self) -> String {
        format!("{} in a script, {} threads", self.which, self.threads)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let mut command = Command::new(Place::servers_program("python"));
        command.arg(Place::apps().join("serve_composed.py"));
        command.args([self.which, &host, &port, &self.threads.to_string()]);
        Ok(vec![command])
    }

    fn slots(&self) -> Option<u64> {
        Some(u64::from(self.threads))
    }
}
