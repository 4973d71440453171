//! `bench`: what wsgi-trace costs. Installs the tools that it is compared with, builds, and runs
//! `lab/bench`.
//!
//! In: names of parts, and the options of `lab/bench/main.rs`. Out: tables on standard output,
//! `target/bench/*.json`, after a full run `lab/results/what-it-costs.{json,md}`.

use std::process::Command;

use crate::command;

/// Where the build with empty programs is kept, apart from the real one.
const EMPTY_TARGET: &str = "target/empty";

/// The tools first, then both builds in release: that is what users run.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let instructions = arguments.iter().any(|argument| argument.ends_with("-instructions"));
    if !instructions {
        // A tool that is missing costs its rows, not the run.
        command::run(&mut Command::new(command::root().join("xtask/bench-tools.sh")))?;
        let features = ["--features", "empty-programs", "--target-dir", EMPTY_TARGET];
        command::run(
            command::cargo(&[
                "build",
                "--release",
                "--locked",
                "--package",
                "wsgi-trace",
                "--bin",
                "wsgi-trace",
            ])
            .args(features),
        )?;
    }
    command::build_with(command::LAB, "bench", "release")?;
    command::run(Command::new(command::root().join("target/release/bench")).args(arguments))
}

/// `check-bench`: the instructions of the hot path against their baseline.
pub(crate) fn check() -> anyhow::Result<()> {
    command::build_with(command::LAB, "bench", "release")?;
    command::run(Command::new(command::root().join("target/release/bench")).arg("--check-instructions"))
}
