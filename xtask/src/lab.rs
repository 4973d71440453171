//! `lab`: what limits each server on each kind of work; `advice`: what becomes of a finding whose advice is
//! applied; `mixes`: the same under random servers, settings and loads; `whatif`: forecasts beside the real
//! change.
//!
//! In: `--debug` for a debug build, and the options of `tests/lab/main.rs`, `tests/advice/main.rs`,
//! `tests/mixes/main.rs` or `tests/whatif/main.rs`. Out: `docs/lab.{md,json}`, or a part of it under
//! `target/lab`; `docs/advice.md`; what is known so far under `target/mixes`; `docs/whatif-judged.md`, or a
//! part of it under `target/whatif`.

use std::process::Command;

use crate::command;

/// All in release, as what users run; the program is named, so that it is not looked for anywhere else.
pub(crate) fn run(name: &str, arguments: &[String]) -> anyhow::Result<()> {
    let (debug, rest): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| *argument == "--debug");
    let (profile, directory) = if debug.is_empty() { ("release", "release") } else { ("dev", "debug") };
    command::build_with(name, profile)?;
    let built = command::root().join("target").join(directory);
    let mut program = Command::new(built.join(name));
    command::run(
        program.args(rest).env("WSGI_TRACE_BINARY", built.join("wsgi-trace")).current_dir(command::root()),
    )
}
