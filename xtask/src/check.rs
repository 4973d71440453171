//! `check`: everything that judges the source without running the program.
//!
//! In: the tree. Out: success, or the first step that failed. Every warning is an error.

use std::process::Command;

use crate::{command, pins, tidy};

/// Runs all steps, cheapest first.
pub(crate) fn run() -> anyhow::Result<()> {
    step("tidy");
    tidy::run()?;
    step("format");
    command::run(&mut command::cargo(&["fmt", "--all", "--check"]))?;
    step("lints of user space");
    let user_space = ["clippy", "--workspace", "--exclude", "profiler-ebpf", "--all-targets", "--locked"];
    command::run(command::cargo(&user_space).args(["--", "-D", "warnings"]))?;
    step("lints of the BPF programs");
    command::run(&mut bpf_lints("x86_64", "target/bpf"))?;
    command::run(&mut bpf_lints("aarch64", "target/bpf-aarch64"))?;
    step("lints of the fuzz targets");
    command::run(&mut fuzz_lints())?;
    step("licences and origins of dependencies");
    command::run(
        Command::new(pins::tool("cargo-deny")?)
            .current_dir(command::root())
            .args(["check", "bans", "licenses", "sources"]),
    )?;
    step("documentation");
    command::run(
        command::cargo(&["doc", "--workspace", "--exclude", "profiler-ebpf", "--no-deps", "--locked"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    eprintln!("check: all good");
    Ok(())
}

fn step(name: &str) {
    eprintln!("[check] {name}");
}

/// The BPF crate builds for its own target alone, with the pinned stable compiler's `-Z build-std`, once for
/// each architecture of the machine. The target directory is the one that `profiler/build.rs` uses.
fn bpf_lints(architecture: &str, directory: &str) -> Command {
    let machine = format!("--cfg=bpf_target_arch=\"{architecture}\"");
    let mut clippy =
        command::cargo(&["clippy", "--package", "profiler-ebpf", "--bins", "--release", "--locked"]);
    let flags = [machine.as_str(), "-Cdebuginfo=2", "-Clink-arg=--btf"];
    clippy
        .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core", "--target-dir", directory])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "false")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .args(["--", "-D", "warnings"]);
    clippy
}

/// The fuzz targets are a workspace of their own; without the fuzzer they compile like everything else.
fn fuzz_lints() -> Command {
    let mut clippy =
        command::cargo(&["clippy", "--manifest-path", "fuzz/Cargo.toml", "--all-targets", "--locked"]);
    // A workspace of its own would build all that the two have in common a second time.
    clippy.args(["--no-default-features", "--target-dir"]);
    clippy.arg(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
    clippy.args(["--", "-D", "warnings"]);
    clippy
}
