//! `test`: all tests of the workspace, and a plain summary at the end.
//!
//! In: arguments for `cargo test`. Out: success when every test passed. Where root and BPF are there, a live test that
//! skips is a failure; where not, each skip is listed with its reason.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context as _;

use crate::{command, watched};

/// Builds the program first, so that live tests run what the tree says, then runs the tests.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let start = Instant::now();
    command::run(&mut command::cargo(&["build", "--workspace", "--exclude", "profiler-ebpf", "--locked"]))?;
    let skips = command::root().join("target/test-skips.log");
    std::fs::write(&skips, "").with_context(|| format!("{} is not writable", skips.display()))?;

    // Compiling is silent for minutes, which no test may be.
    command::run(&mut command::cargo(&["test", "--workspace", "--locked", "--no-run"]))?;
    let mut tests = command::cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    tests.args(arguments).env("WSGI_TRACE_SKIP_LOG", &skips);
    if can_bpf() {
        tests.env("WSGI_TRACE_REQUIRE_ROOT", "1");
    }
    let mut totals = Totals::default();
    let ended = watched::run(&mut tests, watched::SILENCE, |line| {
        println!("{line}");
        totals.take(line);
    })?;

    println!(
        "\nSummary: {} passed, {} failed, {} ignored in {} s",
        totals.passed,
        totals.failed,
        totals.ignored,
        start.elapsed().as_secs()
    );
    for (reason, names) in skipped(&std::fs::read_to_string(&skips)?) {
        println!("Skipped, {reason}: {} ({})", names.len(), names.join(", "));
    }
    for name in &totals.failures {
        println!("Failed: {name}");
    }
    ended.check()
}

/// What the test programs reported, added up.
#[derive(Default)]
struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
    failures: Vec<String>,
}

impl Totals {
    fn take(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            let count = |unit: &str| -> u64 {
                let part = result.split([';', '.']).find_map(|part| part.trim().strip_suffix(unit));
                part.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
            };
            self.passed += count("passed");
            self.failed += count("failed");
            self.ignored += count("ignored");
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
    }
}

/// `name<TAB>reason` lines, grouped by reason.
fn skipped(log: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, reason) in log.lines().filter_map(|line| line.split_once('\t')) {
        reasons.entry(reason).or_default().push(name);
    }
    reasons
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_test_programs_add_up() {
        let mut totals = Totals::default();
        totals.take(
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        );
        totals.take("test order::late ... FAILED");
        totals.take(
            "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s",
        );
        assert_eq!((totals.passed, totals.failed, totals.ignored), (15, 1, 1));
        assert_eq!(totals.failures, ["order::late"]);
    }

    #[test]
    fn skips_are_grouped_by_reason() {
        let reasons = skipped("a\tneeds root\nb\tneeds disk\nc\tneeds root\n");
        assert_eq!(reasons.get("needs root"), Some(&vec!["a", "c"]));
        assert_eq!(reasons.len(), 2);
    }
}
