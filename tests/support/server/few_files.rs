//! A server of any kind that may have only so many files open.
//!
//! In: a recipe, a limit. Out: the same recipe; each process is started under the limit.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::{Place, Recipe};

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
            // SAFETY: between fork and exec only `setrlimit` runs, which is async-signal-safe; the pointer is
            // to a whole structure that the closure owns.
            unsafe {
                command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                });
            }
        }
        Ok(commands)
    }

    fn inner(&self) -> Option<&dyn Recipe> {
        Some(self.server)
    }

    fn slots(&self) -> Option<u64> {
        self.server.slots()
    }
}
