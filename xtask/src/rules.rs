//! `rules`: what each rule that infers brings.
//!
//! In: the options of `lab/rules/main.rs`; root. Out: `lab/results/rules.md`.

use std::process::Command;

use crate::command;

/// A build of its own: no other lets rules be dropped.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let target = command::root().join("target/rules");
    let mut build =
        command::cargo(&["build", "--locked", "--release", "--features", "wsgi-trace/without-rules"]);
    build.args([
        "--package",
        "wsgi-trace",
        "--bin",
        "wsgi-trace",
        "--package",
        command::LAB,
        "--bin",
        "rules",
    ]);
    command::run(build.arg("--target-dir").arg(&target))?;
    let built = target.join("release");
    let mut rules = Command::new(built.join("rules"));
    command::run(
        rules.args(arguments).env("WSGI_TRACE_BINARY", built.join("wsgi-trace")).current_dir(command::root()),
    )
}
