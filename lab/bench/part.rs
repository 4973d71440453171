//! The parts of the benchmark, one file each, and what all of them are given.
//!
//! In: how short the rounds are to be, which tables are wanted. Out: a [`PartResult`] a part, written as soon
//! as it is there.

pub(crate) mod attach;
pub(crate) mod bystander;
pub(crate) mod event;
pub(crate) mod growth;
pub(crate) mod load;
pub(crate) mod user;

use std::process::Command;
use std::time::{Duration, Instant};

use crate::figure::PartResult;
use crate::machine::{Machine, commit, output, version};
use crate::rounds::Limit;

/// One part.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// What its heading in the table says.
    pub(crate) title: &'static str,
    pub(crate) run: fn(&Bench) -> anyhow::Result<PartResult>,
}

/// The machine rests so long before each sample. Attaching takes a while in which the server has nothing to
/// do. Without the same rest the server alone ran straight on after a sample, and was 4 to 7 % *slower* than
/// with anything attached.
const PAUSE: Duration = Duration::from_millis(300);

/// All of them, in the order in which they run and stand in the table.
pub(crate) const PARTS: &[Part] = &[
    Part { name: "load", title: "A server under load", run: load::run },
    Part { name: "half-busy", title: "A server that is half busy", run: load::run_half_busy },
    Part { name: "bystander", title: "Bystanders: processes that are not traced", run: bystander::run },
    Part { name: "event", title: "One event", run: event::run },
    Part { name: "growth", title: "More threads, more connections", run: growth::run },
    Part { name: "user", title: "The user side", run: user::run },
    Part { name: "attach", title: "Attaching and detaching", run: attach::run },
];

/// One table or more of a part.
pub(crate) type Tables = fn(&Bench, &mut PartResult) -> anyhow::Result<()>;

/// How to measure.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    pub(crate) quick: bool,
    /// Only tables whose title holds this.
    pub(crate) only: Option<String>,
    pub(crate) started: Instant,
}

impl Bench {
    /// Rounds to take where `full` are wanted.
    pub(crate) fn rounds(&self, full: usize) -> usize {
        if self.quick { 2 } else { full }
    }

    /// Rounds of a comparison that may take so many `seconds`, whatever its rounds are worth: the whole
    /// benchmark is to end when it says.
    pub(crate) fn limit(&self, full: usize, seconds: u64) -> Limit {
        Limit { rounds: self.rounds(full), until: Instant::now() + Duration::from_secs(seconds) }
    }

    /// Waits until the rest is over that began with a sample, before its subject was attached.
    pub(crate) fn rest(begun: Instant) {
        std::thread::sleep(PAUSE.saturating_sub(begun.elapsed()));
    }

    /// Whether a table is wanted.
    pub(crate) fn wants(&self, title: &str) -> bool {
        self.only.as_ref().is_none_or(|only| title.contains(only.as_str()))
    }

    /// A line of progress.
    pub(crate) fn say(&self, text: &str) {
        let seconds = self.started.elapsed().as_secs();
        eprintln!("[bench] {:>2}:{:02}  {text}", seconds / 60, seconds % 60);
    }

    /// Measures what is wanted of `tables`; one that fails is missing, and the others go on.
    pub(crate) fn measure(&self, tables: &[(&str, Tables)], result: &mut PartResult) {
        for (title, measure) in tables.iter().filter(|(title, _)| self.wants(title)) {
            self.say(title);
            if let Err(error) = measure(self, result) {
                result.miss(title, "all", &format!("{error:#}"));
            }
        }
    }

    pub(crate) fn begin(&self, part: &str) -> PartResult {
        let date = output(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M"]), "date");
        let mut result = PartResult {
            part: part.to_owned(),
            quick: self.quick || self.only.is_some(),
            date: date.unwrap_or_default().trim().to_owned(),
            commit: commit(),
            seconds: self.started.elapsed().as_secs(),
            machine: Machine::describe(),
            ..PartResult::default()
        };
        if let Some(version) = version(std::path::Path::new("wrk"), &["--version"]) {
            result.versions.insert("wrk".to_owned(), version);
        }
        result
    }

    pub(crate) fn finish(&self, mut result: PartResult) -> anyhow::Result<PartResult> {
        result.seconds = self.started.elapsed().as_secs().saturating_sub(result.seconds);
        result.write()?;
        Ok(result)
    }
}
