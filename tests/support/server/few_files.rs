//! A server of any kind that may have only so many files open.
//!
//! In: a recipe, a limit. Out: the same recipe; each process is started under the limit.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::{Clients, Listen, Log, Place, Recipe};
use crate::trace::TracedRequest;

/// The server with its limit of open files.
pub struct FewFiles<'a> {
    /// The server.
    pub server: &'a dyn Recipe,
    /// `RLIMIT_NOFILE`, soft and hard.
    pub limit: u64,
}

impl Recipe for FewFiles<'_> {
    fn name(&self) -> &'static str {
        self.server.name()
    }

    fn about(&self) -> String {
        format!("{}, {} open files", self.server.about(), self.limit)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let mut commands = self.server.commands(place)?;
        let limit = libc::rlimit { rlim_cur: self.limit, rlim_max: self.limit };
        for command in &mut commands {
            // SAFETY: between fork and exec only `setrlimit` runs, which is async-signal-safe; the pointer is to a whole
            // structure that the closure owns.
            unsafe {
                command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                });
            }
        }
        Ok(commands)
    }

    fn loads(&self) -> usize {
        self.server.loads()
    }

    fn knows_its_work(&self) -> bool {
        self.server.knows_its_work()
    }

    fn shares_gil(&self) -> bool {
        self.server.shares_gil()
    }

    fn slots(&self) -> Option<u64> {
        self.server.slots()
    }

    fn listen(&self) -> Listen {
        self.server.listen()
    }

    fn log(&self) -> Log {
        self.server.log()
    }

    fn logged_ns(&self, request: &TracedRequest) -> Option<u64> {
        self.server.logged_ns(request)
    }

    fn clients(&self) -> Clients {
        self.server.clients()
    }
}
