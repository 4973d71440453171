//! What stands at the end of every run of tests: how many passed, what was skipped and why, what failed.
//!
//! In: lines of test programs, and the logs to which tests note that they are skipped, or were disturbed. Out: lines for people, and whether the run passed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::Context as _;

use crate::again::{self, Judged};
use crate::command;
use crate::watched::Ended;

/// One run.
pub(crate) struct Summary {
    start: Instant,
    skips: PathBuf,
    disturbed: PathBuf,
    totals: Totals,
}

impl Summary {
    /// Begins with nothing skipped; tests of the command note here what they skip.
    pub(crate) fn of(tests: &mut Command) -> anyhow::Result<Self> {
        let skips = command::root().join("target/test-skips.log");
        std::fs::write(&skips, "").with_context(|| format!("{} is not writable", skips.display()))?;
        let disturbed = command::root().join("target/test-disturbed.log");
        std::fs::write(&disturbed, "").with_context(|| format!("{} is not writable", disturbed.display()))?;
        tests.env("WSGI_TRACE_SKIP_LOG", &skips).env("WSGI_TRACE_DISTURBED_LOG", &disturbed);
        Ok(Self { start: Instant::now(), skips, disturbed, totals: Totals::default() })
    }

    /// Takes a line of a test program.
    pub(crate) fn take(&mut self, line: &str) {
        self.totals.take(line);
    }

    /// Says it all, and fails if a failure stands. `can_repeat`: a failed test can be run again by its name alone.
    pub(crate) fn conclude(&self, ended: &Ended, can_repeat: bool) -> anyhow::Result<()> {
        let Totals { passed, failed, ignored, failures, .. } = &self.totals;
        let seconds = self.start.elapsed().as_secs();
        println!("\nSummary: {passed} passed, {failed} failed, {ignored} ignored in {seconds} s");
        self.print_skips()?;
        for name in failures {
            println!("Failed: {name}");
        }
        if failures.is_empty() || !can_repeat {
            return ended.check();
        }
        let judged = again::judge(failures, &self.disturbed)?;
        for name in &judged.passed {
            println!("Passed when measured again: {name}");
        }
        for name in &judged.not_judged {
            println!("Not judged: {name}");
        }
        if self.totals.are_explained(&judged) && ended.is_only(&judged.programs) {
            return ended.check_beside_tests();
        }
        ended.check()
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
    /// Test programs.
    begun: u64,
    ended: u64,
    failures: Vec<String>,
}

impl Totals {
    /// Whether all that failed is known by name and passed when it was made again, and every test program that began has said how it ended.
    fn are_explained(&self, judged: &Judged) -> bool {
        judged.failed.is_empty()
            && judged.not_judged.is_empty()
            && self.failures.len() as u64 == self.failed
            && self.begun == self.ended
    }

    fn take(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            let count = |unit: &str| -> u64 {
                let part = result.split([';', '.']).find_map(|part| part.trim().strip_suffix(unit));
                part.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
            };
            self.ended += 1;
            self.passed += count("passed");
            self.failed += count("failed");
            self.ignored += count("ignored");
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        } else if line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")) {
            self.begun += 1;
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
        totals.take("running 4 tests");
        totals.take("test order::late ... FAILED");
        totals.take(
            "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s",
        );
        assert_eq!((totals.passed, totals.failed, totals.ignored), (15, 1, 1));
        assert_eq!((totals.begun, totals.ended), (1, 2));
        assert_eq!(totals.failures, ["order::late"]);
    }

    #[test]
    fn only_failures_that_all_passed_when_made_again_are_explained() {
        let mut totals = Totals::default();
        for line in [
            "running 1 test",
            "test order::late ... FAILED",
            "test result: FAILED. 0 passed; 1 failed; 0 ignored",
        ] {
            totals.take(line);
        }
        let judged = || Judged { passed: vec!["order::late".to_owned()], ..Judged::default() };
        assert!(totals.are_explained(&judged()));
        assert!(
            !totals.are_explained(&Judged { failed: vec!["order::late".to_owned()], ..Judged::default() })
        );
        assert!(!totals.are_explained(&Judged { not_judged: vec!["order::late".to_owned()], ..judged() }));
        // Another program died before it could say how it ended; or one failed whose name was not read.
        totals.take("running 3 tests");
        assert!(!totals.are_explained(&judged()));
        totals.take("test result: FAILED. 2 passed; 1 failed; 0 ignored");
        assert!(!totals.are_explained(&judged()));
    }

    #[test]
    fn skips_are_grouped_by_reason() {
        let reasons = skipped("a\tneeds root\nb\tneeds disk\nc\tneeds root\n");
        assert_eq!(reasons.get("needs root"), Some(&vec!["a", "c"]));
        assert_eq!(reasons.len(), 2);
    }
}
