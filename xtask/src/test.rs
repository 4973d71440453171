//! `test`: all tests of the workspace but those of the lab, and a plain summary at the end.
//!
//! In: arguments for `cargo test`. Out: success when every test passed. Where root and BPF are there, a live
//! test that skips is a failure; where not, each skip is listed with its reason.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::summary::Summary;
use crate::{command, watched};

/// Where test programs lie that trace nothing. The others take turns, and wait for servers and clients most
/// of their time.
const PURE: &str = "tests/replay";

/// Live test programs that need not be alone most of their time. They run beside the other live ones; what
/// must be alone waits for its turn.
const SOCIABLE: [&str; 6] = ["this_kernel", "docs", "serve", "dropped", "packages", "robustness"];

/// Tests that a live test program begins at once. Most of them wait for a turn (`tests/support/gate.rs`).
/// What can share turns does so side by side as long as any such test waits; then what must be alone goes on,
/// one after the other.
pub(crate) const WAITING: &str = "64";

/// Builds the program first, so that live tests run what the tree says, then runs the tests.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    // Servers come over the network, mostly, while all is compiled.
    let mut setup = Command::new("xtask/setup.sh").current_dir(command::root()).spawn()?;
    let compiled = compile();
    anyhow::ensure!(setup.wait()?.success(), "xtask/setup.sh failed");
    compiled?;
    let mut commands = if arguments.is_empty() { parts()? } else { vec![whole(arguments)] };
    if can_bpf() {
        for tests in &mut commands {
            tests.env("WSGI_TRACE_REQUIRE_ROOT", "1");
        }
    }
    let mut summary = Summary::of(&mut commands)?;
    let mut held_back = vec![Vec::new(); commands.len()];
    let ended = watched::run_beside(&mut commands, watched::SILENCE, |number, line| {
        // Of one command they are shown as they come.
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
    summary.conclude(&ended)
}

/// The program first, and every test program.
fn compile() -> anyhow::Result<()> {
    command::run(&mut command::cargo(&[
        "build",
        "--workspace",
        "--exclude",
        "profiler-ebpf",
        "--exclude",
        command::LAB,
        "--locked",
    ]))?;
    // Compiling is silent for minutes, which no test may be.
    command::run(command::cargo(&command::TEST).arg("--no-run"))
}

/// One command, with these arguments.
fn whole(arguments: &[String]) -> Command {
    let mut tests = command::cargo(&command::TEST);
    tests.args(arguments);
    tests
}

/// All tests, as commands to run beside each other: two with live tests, and two with what needs nothing but
/// a CPU. Those run behind everything else that wants one: live tests hold beside that.
fn parts() -> anyhow::Result<Vec<Command>> {
    let (mut live, mut sociable) = (command::cargo(&command::TEST), command::cargo(&command::TEST));
    let (mut others, mut of_docs) =
        (command::cargo_behind(&command::TEST), command::cargo_behind(&command::TEST));
    others.arg("--lib");
    of_docs.arg("--doc");
    let mut metadata = command::cargo(&["metadata", "--no-deps", "--format-version=1", "--locked"]);
    let metadata: Metadata = serde_json::from_str(&command::output(&mut metadata)?)?;
    // Each test program would ask cargo for it.
    let program = metadata.target_directory.join("debug/wsgi-trace");
    let pure = command::root().join(PURE);
    let tested = metadata.packages.into_iter().filter(|package| package.name != command::LAB);
    let targets = tested.flat_map(|package| package.targets);
    for target in targets.filter(|target| target.test) {
        let Some(kind @ ("test" | "bin")) = target.kind.first().map(String::as_str) else { continue };
        let is_pure = kind == "bin" || target.src_path.starts_with(&pure);
        let is_sociable = SOCIABLE.contains(&target.name.as_str());
        let part = if is_pure {
            &mut others
        } else if is_sociable {
            &mut sociable
        } else {
            &mut live
        };
        part.arg(format!("--{kind}={}", target.name));
    }
    for part in [&mut live, &mut sociable] {
        part.env("RUST_TEST_THREADS", WAITING);
    }
    let mut parts = vec![live, sociable, others, of_docs];
    if std::env::var_os("WSGI_TRACE_BINARY").is_none() {
        parts.iter_mut().for_each(|part| _ = part.env("WSGI_TRACE_BINARY", &program));
    }
    Ok(parts)
}

/// What `cargo metadata` says.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
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
