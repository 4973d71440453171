//! What stands at the end of every run of tests: how many passed, what was skipped and why, which live tests
//! took longest, what failed.
//!
//! In: lines of test programs, and the logs to which tests note that they are skipped, how long they had
//! their turn, or were disturbed. Out: lines for people, and whether the run passed.

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
    turns: PathBuf,
    totals: Totals,
}

impl Summary {
    /// Begins with nothing skipped; tests of the commands note here what they skip.
    pub(crate) fn of(commands: &mut [Command]) -> anyhow::Result<Self> {
        let empty = |name: &str| {
            let log = command::root().join("target").join(name);
            std::fs::write(&log, "").with_context(|| format!("{} is not writable", log.display()))?;
            anyhow::Ok(log)
        };
        let skips = empty("test-skips.log")?;
        let disturbed = empty("test-disturbed.log")?;
        let turns = empty("test-turns.log")?;
        for tests in commands {
            tests.env("WSGI_TRACE_SKIP_LOG", &skips).env("WSGI_TRACE_DISTURBED_LOG", &disturbed);
            tests.env("WSGI_TRACE_TURNS_LOG", &turns);
        }
        Ok(Self { start: Instant::now(), skips, disturbed, turns, totals: Totals::default() })
    }

    /// Takes a line of a test program.
    pub(crate) fn take(&mut self, line: &str) {
        self.totals.take(line);
    }

    /// Says it all, and fails if a failure stands. `can_repeat`: a failed test can be run again by its name
    /// alone.
    pub(crate) fn conclude(&self, ended: &Ended, can_repeat: bool) -> anyhow::Result<()> {
        let Totals { passed, failed, ignored, failures, .. } = &self.totals;
        let seconds = self.start.elapsed().as_secs();
        println!("\nSummary: {passed} passed, {failed} failed, {ignored} ignored in {seconds} s");
        self.print_skips()?;
        if let Some(longest) = longest(&std::fs::read_to_string(&self.turns)?) {
            println!("{longest}");
        }
        for name in failures {
            println!("Failed: {name}");
            // What stands above may be far away, or cut off.
            self.totals.reasons.get(name).into_iter().flatten().for_each(|line| println!("  {line}"));
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
    /// Why, by test: the first lines of its error.
    reasons: BTreeMap<String, Vec<String>>,
    /// The failed test whose output comes, and whether its error does.
    shown: Option<(String, bool)>,
}

/// Lines of an error, and characters of each, that stand at the end: the first say what is wrong.
const REASON_LINES: usize = 8;
const REASON_CHARACTERS: usize = 600;

impl Totals {
    /// A line that may be of the output of a failed test.
    fn take_output(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.shown = Some((name.to_owned(), false));
            return;
        }
        let Some((name, is_error)) = &mut self.shown else { return };
        if line == "failures:" || *is_error && (line.is_empty() || line.starts_with("stack backtrace:")) {
            self.shown = None;
            return;
        }
        *is_error |=
            line.starts_with("Error: ") || line.starts_with("thread '") && line.contains(" panicked at ");
        let lines = self.reasons.entry(name.clone()).or_default();
        if *is_error && lines.len() < REASON_LINES {
            lines.push(line.chars().take(REASON_CHARACTERS).collect());
        }
    }

    /// Whether all that failed is known by name and passed when it was made again, and every test program
    /// that began has said how it ended.
    fn are_explained(&self, judged: &Judged) -> bool {
        judged.failed.is_empty()
            && judged.not_judged.is_empty()
            && self.failures.len() as u64 == self.failed
            && self.begun == self.ended
    }

    fn take(&mut self, line: &str) {
        self.take_output(line);
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

/// Live tests that are named with their time: they take most of a run, and a slow one shows nowhere else.
const LONGEST: usize = 10;

/// What `program<TAB>name<TAB>milliseconds<TAB>kind` lines say of the time of live tests; `None`: nothing.
/// The run lasts at least as long as all turns that a test had `alone`.
fn longest(log: &str) -> Option<String> {
    let turn = |line: &str| {
        let (rest, kind) = line.rsplit_once('\t')?;
        let (name, milliseconds) = rest.rsplit_once('\t')?;
        Some((milliseconds.parse::<u64>().ok()?, kind == "alone", name.replace('\t', " ")))
    };
    let mut turns: Vec<(u64, bool, String)> = log.lines().filter_map(turn).collect();
    turns.sort_unstable_by(|a, b| b.cmp(a));
    let seconds = |milliseconds: u64| milliseconds as f64 / 1000.0;
    let all = seconds(turns.iter().map(|(milliseconds, ..)| milliseconds).sum());
    let alone = seconds(
        turns.iter().filter(|(_, is_alone, _)| *is_alone).map(|(milliseconds, ..)| milliseconds).sum(),
    );
    let named: Vec<String> =
        turns.iter().take(LONGEST).map(|(ms, _, name)| format!("{name} {:.1} s", seconds(*ms))).collect();
    let (count, named) = (turns.len(), named.join(", "));
    (count > 0).then(|| {
        format!("Live tests: {count}, {all:.0} s in turns, {alone:.0} s of these alone; the longest: {named}")
    })
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
    fn the_first_lines_of_an_error_stand_at_the_end_without_what_the_test_said_before() {
        let mut totals = Totals::default();
        let output = "---- a::one stdout ----\n  a figure\nError: 499 of 500\nand a sleep\n\nStack backtrace:\n   0: main\n\n\
            ---- b::two stdout ----\n\nthread 'b::two' (7) panicked at tests/b.rs:1:2:\nleft: 1\nstack backtrace:\n   0: main\n\n\
            failures:\n    a::one\n";
        output.lines().for_each(|line| totals.take(line));
        let reason = |name: &str| totals.reasons.get(name).map(|lines| lines.join("|"));
        assert_eq!(reason("a::one").as_deref(), Some("Error: 499 of 500|and a sleep"));
        let panicked = "thread 'b::two' (7) panicked at tests/b.rs:1:2:|left: 1";
        assert_eq!(reason("b::two").as_deref(), Some(panicked));
        totals.take("---- c::three stdout ----");
        (0..99).for_each(|_| totals.take(&format!("Error: {}", "x".repeat(5000))));
        let lines = totals.reasons.get("c::three").expect("lines");
        assert!(lines.len() == REASON_LINES && lines.iter().all(|line| line.len() == REASON_CHARACTERS));
    }

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
    fn live_tests_that_took_longest_are_named_with_their_seconds() {
        let said = longest("truth\ta::one\t1200\talone\nserve\tb::two\t30400\tshared\ntruth\tnot a number\n");
        let expected = "Live tests: 2, 32 s in turns, 1 s of these alone; the longest: serve b::two 30.4 s, truth a::one 1.2 s";
        assert_eq!(said.as_deref(), Some(expected));
        assert_eq!(longest(""), None);
    }

    #[test]
    fn skips_are_grouped_by_reason() {
        let reasons = skipped("a\tneeds root\nb\tneeds disk\nc\tneeds root\n");
        assert_eq!(reasons.get("needs root"), Some(&vec!["a", "c"]));
        assert_eq!(reasons.len(), 2);
    }
}
