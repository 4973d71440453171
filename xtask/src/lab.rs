//! `bottlenecks`: what limits each server on each kind of work; `advice`: what becomes of a finding whose
//! advice is applied; `mixes`: the same under random servers, settings and loads; `incidents`: what stands
//! behind composed waits; `whatif`: forecasts beside the real change; `test-lab`: the unit tests of the lab
//! itself.
//!
//! In: `--debug` for a debug build, and the options of the program, `lab/NAME/main.rs`. Out: its page under
//! `lab/results`, or a part of it under `target/NAME`.

use std::process::Command;

use crate::command;

/// `make test` leaves them out with all of the lab.
pub(crate) fn test() -> anyhow::Result<()> {
    command::run(&mut command::cargo(&["test", "--locked", "--package", command::LAB, "--lib", "--bins"]))
}

/// All in release, as what users run; the program is named, so that it is not looked for anywhere else.
pub(crate) fn run(name: &str, arguments: &[String]) -> anyhow::Result<()> {
    let (debug, rest): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| *argument == "--debug");
    let (profile, directory) = if debug.is_empty() { ("release", "release") } else { ("dev", "debug") };
    command::build_with(command::LAB, name, profile)?;
    let built = command::root().join("target").join(directory);
    let mut program = Command::new(built.join(name));
    command::run(
        program.args(rest).env("WSGI_TRACE_BINARY", built.join("wsgi-trace")).current_dir(command::root()),
    )
}
