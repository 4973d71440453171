//! `test`: all tests of the workspace, and a plain summary at the end.
//!
//! In: arguments for `cargo test`. Out: success when every test passed. Where root and BPF are there, a live test that
//! skips is a failure; where not, each skip is listed with its reason.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use crate::summary::Summary;
use crate::{command, watched};

/// Where test programs lie that trace nothing. The others take turns, and wait for servers and clients most of their time.
const PURE: [&str; 2] = ["tests/replay", "tests/fleet"];

/// Builds the program first, so that live tests run what the tree says, then runs the tests.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    command::run(&mut command::cargo(&["build", "--workspace", "--exclude", "profiler-ebpf", "--locked"]))?;
    // Compiling is silent for minutes, which no test may be.
    command::run(&mut command::cargo(&["test", "--workspace", "--locked", "--no-run"]))?;
    let (live, others) = if arguments.is_empty() { split()? } else { (Vec::new(), Vec::new()) };
    let mut tests = command::cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    tests.args(arguments).args(named(&live));
    let mut beside = [in_the_background(&["--doc"]), in_the_background(&["--lib", "--bins"])];
    if let [_, programs] = &mut beside {
        programs.args(named(&others));
    }
    let mut summary = Summary::of(&mut tests)?;
    for command in &mut beside {
        summary.log_of(command);
    }
    if can_bpf() {
        for command in beside.iter_mut().chain([&mut tests]) {
            command.env("WSGI_TRACE_REQUIRE_ROOT", "1");
        }
    }
    let mut commands = vec![&mut tests];
    if arguments.is_empty() {
        commands.extend(&mut beside);
    }
    let mut held_back = vec![Vec::new(); commands.len()];
    let ended = watched::run_beside(&mut commands, watched::SILENCE, |number, line| {
        if number == 0 {
            println!("{line}");
            summary.take(line);
        } else if let Some(lines) = held_back.get_mut(number) {
            lines.push(line.to_owned());
        }
    })?;
    // Each command's lines in one piece: what a failed test says is many of them.
    for line in held_back.iter().flatten() {
        println!("{line}");
        summary.take(line);
    }
    // With other arguments it may be another build.
    summary.conclude(&ended, arguments.is_empty())
}

/// What needs nothing but a CPU, behind everything else that wants one: live tests hold beside that.
fn in_the_background(what: &[&str]) -> Command {
    let cargo = command::cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    let mut nice = Command::new("nice");
    nice.args(["-n", "19"]).arg(cargo.get_program()).args(cargo.get_args()).args(what);
    nice.current_dir(command::root());
    for (name, value) in cargo.get_envs() {
        match value {
            Some(value) => nice.env(name, value),
            None => nice.env_remove(name),
        };
    }
    nice
}

/// Names of the test programs of the workspace: those with live tests, and the others.
fn split() -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let mut metadata = command::cargo(&["metadata", "--no-deps", "--format-version=1", "--locked"]);
    let metadata: Value = serde_json::from_str(&command::output(&mut metadata)?)?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("cargo names no packages")?;
    let targets = packages.iter().filter_map(|package| package.get("targets")?.as_array()).flatten();
    let tests = targets.filter(|target| target.pointer("/kind/0") == Some(&Value::from("test")));
    let pure = PURE.map(|folder| command::root().join(folder));
    let is_pure = |target: &&Value| {
        let path = target.get("src_path").and_then(Value::as_str).unwrap_or_default();
        pure.iter().any(|folder| Path::new(path).starts_with(folder))
    };
    let (others, live): (Vec<&Value>, Vec<&Value>) = tests.partition(is_pure);
    let names = |targets: &[&Value]| {
        targets.iter().filter_map(|target| target.get("name")?.as_str()).map(str::to_owned).collect()
    };
    Ok((names(&live), names(&others)))
}

/// As arguments for cargo.
fn named(tests: &[String]) -> impl Iterator<Item = &str> {
    tests.iter().flat_map(|test| ["--test", test])
}

/// `CAP_SYS_ADMIN`, or `CAP_BPF` and `CAP_PERFMON`: what the live tests need.
fn can_bpf() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    let has = |bit: u32| capabilities >> bit & 1 == 1;
    has(21) || (has(38) && has(39))
}
