//! A server of any kind with the application that asks its own server (`tests/apps/asks_itself.py`).
//!
//! In: a recipe. Out: the same recipe with `asks_itself:app`.

use std::process::Command;

use anyhow::Context as _;

use super::{Place, Recipe, copy_environment};

/// Applications that recipes name.
const APPLICATIONS: [&str; 2] = ["demo_app:app", "witnessed:app"];

/// The server with `tests/apps/asks_itself.py`.
pub struct AsksItself<'a>(pub &'a dyn Recipe);

impl Recipe for AsksItself<'_> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn about(&self) -> String {
        format!("{}, asks itself", self.0.about())
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let mut commands = self.0.commands(place)?;
        let first = commands.first_mut().context("no command")?;
        let mut command = Command::new(first.get_program());
        for argument in first.get_args() {
            let is_application = APPLICATIONS.iter().any(|application| argument == *application);
            command.arg(if is_application { "asks_itself:app".as_ref() } else { argument });
        }
        copy_environment(first, &mut command);
        command.env("SELF_ADDRESS", place.address.to_string());
        *first = command;
        Ok(commands)
    }

    fn inner(&self) -> Option<&dyn Recipe> {
        Some(self.0)
    }

    fn slots(&self) -> Option<u64> {
        self.0.slots()
    }
}
