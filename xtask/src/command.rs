//! Child processes of the chores.
//!
//! In: a program and its arguments. Out: its success, or an error that names the command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// The workspace's root: the parent of this crate.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// A `cargo` command in the workspace's root, with the toolchain that runs this chore.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    cargo_by(Command::new(cargo_program()), arguments)
}

/// A `cargo` command in the workspace's root, behind everything else that wants a CPU.
pub(crate) fn cargo_behind(arguments: &[&str]) -> Command {
    let mut nice = Command::new("nice");
    nice.args(["-n", "19"]).arg(cargo_program());
    cargo_by(nice, arguments)
}

fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn cargo_by(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments).current_dir(root()).env("RUST_BACKTRACE", "0");
    // What `cargo run` says of this crate must not look like a change to the build scripts of others.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// The package of what protects.
pub(crate) const TESTS: &str = "wsgi-trace-tests";
/// The package of what measures.
pub(crate) const LAB: &str = "wsgi-trace-lab";

/// What runs of live tests begin with, so that all find the same build: of one package alone cargo would make
/// another, with other features.
pub(crate) const TEST: [&str; 6] = ["test", "--workspace", "--exclude", LAB, "--locked", "--no-fail-fast"];
/// What runs of the lab's test programs begin with.
pub(crate) const TEST_LAB: [&str; 4] = ["test", "--workspace", "--locked", "--no-fail-fast"];

/// Builds the program and, beside it, the program `bin` of `package`, in `profile` (`release` or `dev`).
pub(crate) fn build_with(package: &str, bin: &str, profile: &str) -> anyhow::Result<()> {
    let program = ["--package", "wsgi-trace", "--bin", "wsgi-trace"];
    let beside = ["--package", package, "--bin", bin];
    run(cargo(&["build", "--locked", "--profile", profile]).args(program).args(beside))
}

/// Runs a command to its end; a failure names it.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let line = line(command);
    let status = command.status().with_context(|| format!("`{line}` could not be started"))?;
    if !status.success() {
        bail!("`{line}` failed");
    }
    Ok(())
}

/// Standard output of a command that succeeds.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let line = line(command);
    let output = command.output().with_context(|| format!("`{line}` could not be started"))?;
    if !output.status.success() {
        bail!("`{line}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as a person would type it, without its path.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}
