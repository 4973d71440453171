//! A server of any kind with the application whose routes are composed of hops and a leaf.
//!
//! In: a recipe, the application's plan, a directory for its notes. Out: the same recipe with `composed:app`,
//! where it names the application.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use super::{Place, Recipe, copy_environment};

/// Applications that recipes name, and what takes their place.
const APPLICATIONS: [(&str, &str); 4] = [
    ("demo_app:app", "composed:app"),
    ("witnessed:app", "composed:app"),
    ("reactor_pool_app.app", "composed.app"),
    ("a2wsgi_app:application", "composed_asgi:application"),
];

/// The server with `tests/apps/composed.py`.
pub struct Composed<'a> {
    /// The server.
    pub server: &'a dyn Recipe,
    /// What its routes do, as JSON.
    pub plan: String,
    /// Where its processes map their notes.
    pub notes: PathBuf,
}

impl Recipe for Composed<'_> {
    fn name(&self) -> &'static str {
        self.server.name()
    }

    fn about(&self) -> String {
        self.server.about()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let mut commands = self.server.commands(place)?;
        let first = commands.first_mut().context("no command")?;
        let mut command = Command::new(first.get_program());
        for argument in first.get_args() {
            let application = APPLICATIONS.iter().find(|(application, _)| argument == *application);
            command.arg(application.map_or(argument, |(_, composed)| composed.as_ref()));
        }
        copy_environment(first, &mut command);
        command.env("COMPOSED", &self.plan).env("NOTES_DIRECTORY", &self.notes);
        command.env("SELF_ADDRESS", place.address.to_string());
        *first = command;
        Ok(commands)
    }

    fn inner(&self) -> Option<&dyn Recipe> {
        Some(self.server)
    }

    fn slots(&self) -> Option<u64> {
        self.server.slots()
    }
}
