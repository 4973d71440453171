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
    let profile = if debug.is_empty() { "release" } else { "debug" };
    let mut build = command::cargo(&["build", "--locked"]);
    build.args([
        "--package",
        "wsgi-trace",
        "--bin",
        "wsgi-trace",
        "--package",
        "wsgi-trace-tests",
        "--bin",
        "lab",
    ]);
    if debug.is_empty() {
        build.arg("--release");
    }
    command::run(&mut build)?;
    let built = command::root().join("target").join(profile);
    let mut lab = Command::new(built.join("lab"));
    command::run(
        lab.args(rest).env("WSGI_TRACE_BINARY", built.join("wsgi-trace")).current_dir(command::root()),
    )
}
