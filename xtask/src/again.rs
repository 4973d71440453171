//! Live tests that failed while a hypervisor took the CPUs: what they measured is no measurement, and is made
//! again once it does not.
//!
//! In: names of failed tests, and the log to which tests note what was taken during them (`/proc/stat`'s
//! steal). Out: which failures stand, and which tests could not be judged here.
//!
//! A test that failed while the machine had its CPUs is not run again. One that is disturbed again fails the
//! run: nobody knows whether it would pass.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::{command, watched};

/// How long calm is waited for, for all tests of a run together and with their second runs.
const PATIENCE: Duration = Duration::from_secs(900);
/// How long the host is looked at, while all CPUs are used: of one that is idle nothing is taken.
const LOOK: Duration = Duration::from_secs(2);
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(5);
/// Most that is taken on a calm host.
const CALM_RATIO: f64 = 0.02;

/// A test during which much was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disturbed {
    program: String,
    /// Of the time of all CPUs.
    percent: String,
}

/// `program<TAB>name<TAB>percent` lines, by name of the test. A name that two programs have names no test.
fn disturbed(log: &str) -> BTreeMap<&str, Disturbed> {
    let mut all: BTreeMap<&str, Disturbed> = BTreeMap::new();
    let mut doubtful = Vec::new();
    for line in log.lines() {
        let mut parts = line.split('\t');
        let (Some(program), Some(name), Some(percent)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let test = Disturbed { program: program.to_owned(), percent: percent.to_owned() };
        if all.insert(name, test).is_some_and(|before| before.program != program) {
            doubtful.push(name);
        }
    }
    all.retain(|name, _| !doubtful.contains(name));
    all
}

/// What became of the failures.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// Passed when they were made again: names with what disturbed them before.
    pub(crate) passed: Vec<String>,
    /// The test programs of those.
    pub(crate) programs: Vec<String>,
    /// Failed with the CPUs at hand.
    pub(crate) failed: Vec<String>,
    /// Disturbed twice, or the host never became calm: names with the reason.
    pub(crate) not_judged: Vec<String>,
}

/// Measures again what was disturbed.
pub(crate) fn judge(failures: &[String], log: &Path) -> anyhow::Result<Judged> {
    let deadline = Instant::now() + PATIENCE;
    let noted = std::fs::read_to_string(log).unwrap_or_default();
    judge_by(failures, &disturbed(&noted), |name, before| {
        if !is_calm(deadline)? {
            return Ok(Outcome::Disturbed("the host never gave them back".to_owned()));
        }
        println!("\nMeasured again, for {} % of the CPUs were stolen: {name}", before.percent);
        std::fs::write(log, "").with_context(|| format!("{} is not writable", log.display()))?;
        let mut test = command::cargo(&command::TEST);
        test.args(["--test", &before.program, "--", "--include-ignored", "--exact", name]);
        test.env("WSGI_TRACE_REQUIRE_ROOT", "1").env("WSGI_TRACE_DISTURBED_LOG", log);
        let mut passed = false;
        let ended = watched::run(&mut test, watched::SILENCE_OF_LONG_TESTS, |line| {
            println!("{line}");
            passed |= line.starts_with("test result: ok. 1 passed");
        })?;
        if passed && ended.check().is_ok() {
            return Ok(Outcome::Passed);
        }
        let noted = std::fs::read_to_string(log).unwrap_or_default();
        Ok(match disturbed(&noted).remove(name) {
            Some(again) => Outcome::Disturbed(format!("and {} % again", again.percent)),
            None => Outcome::Failed,
        })
    })
}

/// How a test went that was made again.
enum Outcome {
    Passed,
    Failed,
    /// The test was disturbed once more, in what way.
    Disturbed(String),
}

fn judge_by(
    failures: &[String],
    disturbed: &BTreeMap<&str, Disturbed>,
    mut again: impl FnMut(&str, &Disturbed) -> anyhow::Result<Outcome>,
) -> anyhow::Result<Judged> {
    let mut judged = Judged::default();
    for name in failures {
        let is_one = failures.iter().filter(|other| *other == name).count() == 1;
        let outcome = match disturbed.get(name.as_str()).filter(|_| is_one) {
            Some(before) => (again(name, before)?, before.percent.as_str()),
            None => (Outcome::Failed, ""),
        };
        match outcome {
            (Outcome::Passed, percent) => {
                judged.passed.push(format!("{name}, before {percent} % of the CPUs were stolen"));
                judged.programs.extend(disturbed.get(name.as_str()).map(|before| before.program.clone()));
            }
            (Outcome::Failed, _) => judged.failed.push(name.clone()),
            (Outcome::Disturbed(how), percent) => {
                judged.not_judged.push(format!("{name}, {percent} % of the CPUs were stolen, {how}"));
            }
        }
    }
    Ok(judged)
}

/// Waits until the host leaves the CPUs alone; false: it did not until `deadline`.
fn is_calm(deadline: Instant) -> anyhow::Result<bool> {
    loop {
        let ratio = stolen_ratio_of_busy_cpus()?;
        if ratio <= CALM_RATIO {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        println!("{:.0} % of the CPUs are stolen; waiting for {} s more", ratio * 100.0, left.as_secs());
        std::thread::sleep(PAUSE);
    }
}

/// The share of all CPUs' time that a hypervisor takes while all are used.
fn stolen_ratio_of_busy_cpus() -> anyhow::Result<f64> {
    let (before_ns, cpus) = stolen()?;
    let until = Instant::now() + LOOK;
    std::thread::scope(|scope| {
        for _ in 0..cpus {
            scope.spawn(|| while Instant::now() < until {});
        }
    });
    let (after_ns, _) = stolen()?;
    Ok(after_ns.saturating_sub(before_ns) as f64 / (LOOK.as_nanos() as f64 * cpus as f64))
}

/// What a hypervisor has taken of all CPUs since boot, in ns, and how many CPUs there are.
fn stolen() -> anyhow::Result<(u64, usize)> {
    use procfs::CurrentSI as _;
    let all = procfs::KernelStats::current()?;
    let ticks = all.total.steal.unwrap_or(0);
    Ok((ticks * (1_000_000_000 / procfs::ticks_per_second()), all.cpu_time.len().max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_test_that_failed_with_the_cpus_at_hand_stands_and_is_not_made_again() {
        let judged = judge_by(&names(&["quiet"]), &disturbed("truth\tother\t37\n"), |_, _| {
            panic!("it was made again")
        });
        assert_eq!(judged.unwrap(), Judged { failed: names(&["quiet"]), ..Judged::default() });
    }

    #[test]
    fn what_was_disturbed_is_made_again_and_fails_or_is_not_judged_by_that() {
        let log = "truth\tpasses\t37\ntruth\tfails\t9\nservers\tis::disturbed\t40\n";
        let mut made = Vec::new();
        let judged =
            judge_by(&names(&["passes", "fails", "is::disturbed"]), &disturbed(log), |name, before| {
                made.push(format!("{} {name} {}", before.program, before.percent));
                Ok(match name {
                    "passes" => Outcome::Passed,
                    "fails" => Outcome::Failed,
                    _ => Outcome::Disturbed("and 12 % again".to_owned()),
                })
            });
        assert_eq!(made, ["truth passes 37", "truth fails 9", "servers is::disturbed 40"]);
        assert_eq!(
            judged.unwrap(),
            Judged {
                passed: names(&["passes, before 37 % of the CPUs were stolen"]),
                programs: names(&["truth"]),
                failed: names(&["fails"]),
                not_judged: names(&["is::disturbed, 40 % of the CPUs were stolen, and 12 % again"]),
            }
        );
    }

    #[test]
    fn lines_that_are_cut_name_no_test() {
        assert!(disturbed("truth\nservers\tname\n\n").is_empty());
    }

    #[test]
    fn a_name_that_two_tests_have_stands() {
        assert!(disturbed("truth\tone\t9\nservers\tone\t9\n").is_empty());
        let judged =
            judge_by(&names(&["two", "two"]), &disturbed("truth\ttwo\t9\n"), |_, _| panic!("run again"));
        assert_eq!(judged.unwrap().failed, names(&["two", "two"]));
    }
}
