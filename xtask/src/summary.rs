//! What stands at the end of every run of tests: how many passed, what was skipped and why, which live tests
//! took longest, what failed.
//!
//! In: lines of test programs, and the logs to which tests note that they are skipped, and how long they had
//! their turn. Out: lines for people, and whether the run passed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::Context as _;

use crate::command;
use crate::watched::Ended;

/// One run.
pub(crate) struct Summary {
    start: Instant,
    skips: PathBuf,
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
        let turns = empty("test-turns.log")?;
        for tests in commands {
            tests.env("WSGI_TRACE_SKIP_LOG", &skips).env("WSGI_TRACE_TURNS_LOG", &turns);
        }
        Ok(Self { start: Instant::now(), skips, turns, totals: Totals::default() })
    }

    /// Takes a line of a test program.
    pub(crate) fn take(&mut self, line: &str) {
        self.totals.take(line);
    }

    /// Says it all, and fails where a test did.
    pub(crate) fn conclude(&self, ended: &Ended) -> anyhow::Result<()> {
        let Totals { passed, failed, ignored, failures, .. } = &self.totals;
        let seconds = self.start.elapsed().as_secs();
        println!("\nSummary: {passed} passed, {failed} failed, {ignored} ignored in {seconds} s");
        self.print_skips()?;
        let turns = std::fs::read_to_string(&self.turns)?;
        let turns: Vec<Turn<'_>> = turns.lines().filter_map(Turn::read).collect();
        if let Some(longest) = longest(&turns) {
            println!("{longest}");
        }
        for name in failures {
            println!("Failed: {name}{}", stolen(name, &turns));
            // What stands above may be far away, or cut off.
            self.totals.reasons.get(name).into_iter().flatten().for_each(|line| println!("  {line}"));
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

    fn take(&mut self, line: &str) {
        self.take_output(line);
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

/// Live tests that are named with their time: they take most of a run, and a slow one shows nowhere else.
const LONGEST: usize = 10;

/// Of the CPUs' time; less is not worth a word.
const STOLEN_PERCENT: f64 = 1.0;

/// The turn of a live test.
struct Turn<'a> {
    program: &'a str,
    test: &'a str,
    milliseconds: u64,
    is_alone: bool,
    /// What a hypervisor took of the CPUs' time meanwhile.
    stolen_percent: f64,
}

impl<'a> Turn<'a> {
    /// From a line of the log: its fields with tabs in between.
    fn read(line: &'a str) -> Option<Self> {
        let mut fields = line.split('\t');
        let mut field = || fields.next();
        Some(Self {
            program: field()?,
            test: field()?,
            milliseconds: field()?.parse().ok()?,
            is_alone: field()? == "alone",
            stolen_percent: field()?.parse().ok()?,
        })
    }
}

/// What a reader of a failure should know of the CPUs.
fn stolen(test: &str, turns: &[Turn<'_>]) -> String {
    let of_test = turns.iter().filter(|turn| turn.test == test).map(|turn| turn.stolen_percent);
    let percent = of_test.fold(0.0, f64::max);
    if percent < STOLEN_PERCENT {
        return String::new();
    }
    format!(" (a hypervisor took {percent:.0} % of the CPUs meanwhile)")
}

/// How long live tests took; `None`: there were none. The run lasts at least as long as all turns that a test
/// had alone.
fn longest(turns: &[Turn<'_>]) -> Option<String> {
    let seconds = |turns: &mut dyn Iterator<Item = &Turn<'_>>| {
        turns.map(|turn| turn.milliseconds).sum::<u64>() as f64 / 1000.0
    };
    let (all, alone) = (seconds(&mut turns.iter()), seconds(&mut turns.iter().filter(|turn| turn.is_alone)));
    let mut sorted: Vec<&Turn<'_>> = turns.iter().collect();
    sorted.sort_by_key(|turn| std::cmp::Reverse(turn.milliseconds));
    let named: Vec<String> = sorted
        .iter()
        .take(LONGEST)
        .map(|turn| format!("{} {} {:.1} s", turn.program, turn.test, turn.milliseconds as f64 / 1000.0))
        .collect();
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
        totals.take("test order::late ... FAILED");
        totals.take(
            "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s",
        );
        assert_eq!((totals.passed, totals.failed, totals.ignored), (15, 1, 1));
        assert_eq!(totals.failures, ["order::late"]);
    }

    #[test]
    fn live_tests_that_took_longest_are_named_with_their_seconds() {
        let log = "truth\ta::one\t1200\talone\t0\nserve\tb::two\t30400\tshared\t31.4\ntruth\tnot a number\n";
        let turns: Vec<Turn<'_>> = log.lines().filter_map(Turn::read).collect();
        let expected = "Live tests: 2, 32 s in turns, 1 s of these alone; the longest: serve b::two 30.4 s, truth a::one 1.2 s";
        assert_eq!(longest(&turns).as_deref(), Some(expected));
        assert_eq!(longest(&[]), None);
        assert_eq!(stolen("a::one", &turns), "");
        assert_eq!(stolen("b::two", &turns), " (a hypervisor took 31 % of the CPUs meanwhile)");
    }

    #[test]
    fn skips_are_grouped_by_reason() {
        let reasons = skipped("a\tneeds root\nb\tneeds disk\nc\tneeds root\n");
        assert_eq!(reasons.get("needs root"), Some(&vec!["a", "c"]));
        assert_eq!(reasons.len(), 2);
    }
}
