//! `lab`: what limits each server on each kind of work.
//!
//! In: `--debug` for a debug build, and the options of `tests/lab/main.rs`. Out: `docs/lab.{md,json}`, or a part of it under
//! `target/lab`.

use std::process::Command;

use crate::command;

/// Both in release, as what users run; the program is named, so that it is not looked for anywhere else.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let (debug, rest): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| *argument == "--debug");
    let (profile, directory) = if debug.is_empty() { ("release", "release") } else { ("dev", "debug") };
    command::build_with("lab", profile)?;
    let built = command::root().join("target").join(directory);
    let mut lab = Command::new(built.join("lab"));
    command::run(
        lab.args(rest).env("WSGI_TRACE_BINARY", built.join("wsgi-trace")).current_dir(command::root()),
    )
}
