//! `fuzz`: runs every fuzz target for a minute each.
//!
//! In: target names, or none for all. Out: success if none of them found anything. cargo-fuzz is built into `.tools`
//! the first time.

use anyhow::Context as _;

use crate::command;

/// Pinned like every tool.
const CARGO_FUZZ: &str = "cargo-fuzz@0.13.2";
/// Targets, as `fuzz/Cargo.toml` names them.
const TARGETS: [&str; 6] = ["decode", "redact", "packet", "recording_reader", "pipeline", "interpreter"];
/// How long each runs, in seconds.
const SECONDS: u32 = 60;

/// Each target starts from what earlier runs of it kept in `fuzz/corpus`.
pub(crate) fn run(names: &[String]) -> anyhow::Result<()> {
    let root = command::root();
    let tools = root.join(".tools");
    if !tools.join("bin/cargo-fuzz").exists() {
        let mut install = command::cargo(&["install", CARGO_FUZZ, "--locked", "--root"]);
        command::run(install.arg(&tools))?;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(tools.join("bin")).chain(std::env::split_paths(&path)))
        .context("a directory of PATH has a colon in its name")?;
    let chosen =
        TARGETS.into_iter().filter(|target| names.is_empty() || names.iter().any(|name| name == target));
    for target in chosen {
        println!("fuzzing {target} for {SECONDS} s");
        let limit = format!("-max_total_time={SECONDS}");
        // The sanitizer is a nightly option; the pinned compiler takes it so.
        command::run(
            command::cargo(&["fuzz", "run", target, "--", &limit, "-rss_limit_mb=4096"])
                .env("PATH", &path)
                .env("RUSTC_BOOTSTRAP", "1"),
        )?;
    }
    Ok(())
}
