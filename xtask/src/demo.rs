//! `demo`: builds the program and the demonstration, and becomes the latter.
//!
//! In: the tree. Out: what `tests/demo` shows.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;

use crate::command;

/// Program and demo in one profile, so that they share what they are built from.
pub(crate) fn run() -> anyhow::Result<()> {
    command::build_with(command::TESTS, "demo", "demo")?;
    // In this process's place: a signal for this one is then a signal for the demonstration.
    let error = Command::new(command::root().join("target/demo/demo")).current_dir(command::root()).exec();
    Err(error).context("the demonstration could not be started")
}
