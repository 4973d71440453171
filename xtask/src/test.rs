//! `test`: all tests of the workspace, and a plain summary at the end.
//!
//! In: arguments for `cargo test`. Out: success when every test passed. Where root and BPF are there, a live test that
//! skips is a failure; where not, each skip is listed with its reason.

use crate::summary::Summary;
use crate::{command, watched};

/// Builds the program first, so that live tests run what the tree says, then runs the tests.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    command::run(&mut command::cargo(&["build", "--workspace", "--exclude", "profiler-ebpf", "--locked"]))?;
    // Compiling is silent for minutes, which no test may be.
    command::run(&mut command::cargo(&["test", "--workspace", "--locked", "--no-run"]))?;
    let mut tests = command::cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    tests.args(arguments);
    if can_bpf() {
        tests.env("WSGI_TRACE_REQUIRE_ROOT", "1");
    }
    let mut summary = Summary::of(&mut tests)?;
    let ended = watched::run(&mut tests, watched::SILENCE, |line| {
        println!("{line}");
        summary.take(line);
    })?;
    // With other arguments it may be another build.
    summary.conclude(&ended, arguments.is_empty())
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
