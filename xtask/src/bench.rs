//! `bench`: builds the program and the replay benchmark, and runs the latter.
//!
//! In: the tree. Out: a table, and `target/bench/replay.json`.

use std::process::Command;

use crate::command;

/// Both in release: that is what users run.
pub(crate) fn run() -> anyhow::Result<()> {
    let packages = [
        "--package",
        "wsgi-trace",
        "--bin",
        "wsgi-trace",
        "--package",
        "wsgi-trace-tests",
        "--bin",
        "bench-replay",
    ];
    command::run(command::cargo(&["build", "--release", "--locked"]).args(packages))?;
    command::run(&mut Command::new(command::root().join("target/release/bench-replay")))
}
