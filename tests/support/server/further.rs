//! A server of any kind with further arguments.
//!
//! In: a recipe whose last argument names the application, options to stand before it. Out: the same recipe
//! with these.

use std::process::Command;

use anyhow::Context as _;

use super::{Place, Recipe, copy_environment};

/// The server with its options.
#[derive(Clone, Copy, Debug)]
pub struct Further<R> {
    /// The server.
    pub server: R,
    /// Its options.
    pub arguments: &'static [&'static str],
}

impl<R: Recipe> Recipe for Further<R> {
    fn name(&self) -> &'static str {
        self.server.name()
    }

    fn about(&self) -> String {
        format!("{}, {:?}", self.server.about(), self.arguments)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let mut commands = self.server.commands(place)?;
        let first = commands.first_mut().context("no command")?;
        let arguments: Vec<_> = first.get_args().collect();
        let (application, options) = arguments.split_last().context("no application")?;
        let mut command = Command::new(first.get_program());
        command.args(options).args(self.arguments).arg(application);
        copy_environment(first, &mut command);
        *first = command;
        Ok(commands)
    }

    fn inner(&self) -> Option<&dyn Recipe> {
        Some(&self.server)
    }

    fn slots(&self) -> Option<u64> {
        self.server.slots()
    }
}
