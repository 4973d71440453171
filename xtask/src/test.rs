//! `test`: all tests of the workspace, and a plain summary at the end.
//!
//! In: arguments for `cargo test`. Out: success when every test passed. Where root and BPF are there, a live test that
//! skips is a failure; where not, each skip is listed with its reason.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::summary::Summary;
use crate::{command, watched};

/// Where test programs lie that trace nothing. The others take turns, and wait for servers and clients most of their time.
const PURE: [&str; 2] = ["tests/replay", "tests/fleet"];

/// Live test programs that need not be alone most of their time. They run beside the other live ones; what must be alone waits for its turn.
const SOCIABLE: [&str; 5] = ["this_kernel", "docs", "serve", "dropped", "packages"];

/// Builds the program first, so that live tests run what the tree says, then runs the tests.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    // Servers come over the network, mostly, while all is compiled.
    let mut setup = Command::new("xtask/setup.sh").current_dir(command::root()).spawn()?;
    let compiled = compile();
    anyhow::ensure!(setup.wait()?.success(), "xtask/setup.sh failed");
    compiled?;
    let (live, others) = if arguments.is_empty() { split()? } else { Default::default() };
    let mut tests = command::cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    tests.args(arguments);
    let (sociable, live): (Vec<String>, Vec<String>) =
        live.into_iter().partition(|test| SOCIABLE.iter().any(|name| test.ends_with(&format!("={name}"))));
    let mut second = command::cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    second.args(sociable);
    let mut libraries = in_the_background(&["--lib"]);
    libraries.args(others);
    let mut beside = [second, libraries, in_the_background(&["--doc"])];
    tests.args(live);
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

/// The program first, and every test program.
fn compile() -> anyhow::Result<()> {
    command::run(&mut command::cargo(&["build", "--workspace", "--exclude", "profiler-ebpf", "--locked"]))?;
    // Compiling is silent for minutes, which no test may be.
    command::run(&mut command::cargo(&["test", "--workspace", "--locked", "--no-run"]))
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

/// Kinds and names of the test programs of the workspace: those with live tests, and the others.
fn split() -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let mut metadata = command::cargo(&["metadata", "--no-deps", "--format-version=1", "--locked"]);
    let metadata: Metadata = serde_json::from_str(&command::output(&mut metadata)?)?;
    let pure = PURE.map(|folder| command::root().join(folder));
    let (mut live, mut others) = (Vec::new(), Vec::new());
    for target in metadata.packages.into_iter().flat_map(|package| package.targets) {
        match target.kind.first().map(String::as_str) {
            Some("test") if !pure.iter().any(|folder| target.src_path.starts_with(folder)) => {
                live.push(format!("--test={}", target.name));
            }
            Some(kind @ ("test" | "bin")) if target.test => others.push(format!("--{kind}={}", target.name)),
            // Libraries are asked for all at once.
            _ => {}
        }
    }
    Ok((live, others))
}

/// What `cargo metadata` says.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    src_path: PathBuf,
    /// `cargo test` runs it.
    test: bool,
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
