//! What stands at the end of every run of tests: how many passed, what was skipped and why, what failed.
//!
//! In: lines of test programs, and the log to which tests note that they are skipped. Out: lines for people.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::Context as _;

use crate::command;

/// One run.
pub(crate) struct Summary {
    start: Instant,
    skips: PathBuf,
    totals: Totals,
}

impl Summary {
    /// Begins with nothing skipped; tests of the command note here what they skip.
    pub(crate) fn of(tests: &mut Command) -> anyhow::Result<Self> {
        let skips = command::root().join("target/test-skips.log");
        std::fs::write(&skips, "").with_context(|| format!("{} is not writable", skips.display()))?;
        tests.env("WSGI_TRACE_SKIP_LOG", &skips);
        Ok(Self { start: Instant::now(), skips, totals: Totals::default() })
    }

    /// Takes a line of a test program.
    pub(crate) fn take(&mut self, line: &str) {
        self.totals.take(line);
    }

    /// Says it all.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        let Totals { passed, failed, ignored, failures } = &self.totals;
        let seconds = self.start.elapsed().as_secs();
        println!("\nSummary: {passed} passed, {failed} failed, {ignored} ignored in {seconds} s");
        self.print_skips()?;
        for name in failures {
            println!("Failed: {name}");
        }
        Ok(())
    }

    /// Says what was skipped, where the lines of the tests are not seen.
    pub(crate) fn print_skips(&self) -> anyhow::Result<()> {
        let log = std::fs::read_to_string(&self.skips)?;
        let skipped = skipped(&log);
        println!("Skipped: {}", skipped.values().map(Vec::len).sum::<usize>());
        for (reason, names) in skipped {
            println!("Skipped, {reason}: {} ({})", names.len(), names.join(", "));
        }
        Ok(())
    }
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
