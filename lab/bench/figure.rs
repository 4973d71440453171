//! What the benchmark gives: figures with their intervals and aims, and what could not be measured.
//!
//! In: rounds. Out: [`PartResult`], one JSON file a part under `target/bench`, all of them in
//! `lab/results/what-it-costs.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::statistics::{Interval, SURE_ROUNDS};

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Of the same quantity without anything attached, in the same round.
    Ratio,
    /// Nanoseconds.
    Nanoseconds,
    /// Bytes.
    Bytes,
    /// A plain number.
    Count,
    /// Events in a second.
    PerSecond,
    /// Of one core.
    Share,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Aim {
    /// The figure should be this or more; otherwise this or less.
    pub(crate) at_least: bool,
    /// In the figure's unit.
    pub(crate) limit: f64,
}

/// Whether an aim is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// The whole interval is on the right side.
    Met,
    /// The whole interval is on the wrong side.
    Missed,
    /// The interval holds the limit, or is of too few rounds.
    Undecided,
}

impl Aim {
    pub(crate) const fn at_least(limit: f64) -> Self {
        Self { at_least: true, limit }
    }

    pub(crate) const fn at_most(limit: f64) -> Self {
        Self { at_least: false, limit }
    }

    pub(crate) fn verdict(self, interval: &Interval) -> Verdict {
        let right = |value: f64| if self.at_least { value >= self.limit } else { value <= self.limit };
        match (right(interval.low), right(interval.high)) {
            _ if interval.rounds < SURE_ROUNDS => Verdict::Undecided,
            (true, true) => Verdict::Met,
            (false, false) => Verdict::Missed,
            _ => Verdict::Undecided,
        }
    }
}

/// One number: a cell of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// The table: what was run.
    pub(crate) table: String,
    /// The row: who was attached.
    pub(crate) row: String,
    /// The column: what was measured.
    pub(crate) column: String,
    /// Its unit.
    pub(crate) unit: Unit,
    /// Its value.
    #[serde(flatten)]
    pub(crate) interval: Interval,
    /// What it should be, where something is promised.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) aim: Option<Aim>,
    /// Whether it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) verdict: Option<Verdict>,
}

/// Something that was not measured, with the reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Absent {
    /// The table it is missing from.
    pub(crate) table: String,
    /// The row.
    pub(crate) row: String,
    /// Why.
    pub(crate) reason: String,
}

/// What one part of the benchmark gave.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PartResult {
    /// Name of the part.
    pub(crate) part: String,
    /// Short rounds: not for publication.
    pub(crate) quick: bool,
    /// UTC, to the minute; sorts by time.
    pub(crate) date: String,
    /// The commit that was measured; empty where that is not known.
    #[serde(default)]
    pub(crate) commit: String,
    /// How long it took.
    pub(crate) seconds: u64,
    /// Where it ran.
    pub(crate) machine: Machine,
    /// Versions of what was used.
    pub(crate) versions: BTreeMap<String, String>,
    /// The numbers, in the order of the tables.
    pub(crate) figures: Vec<Figure>,
    /// What is missing.
    pub(crate) absent: Vec<Absent>,
}

impl PartResult {
    /// Adds a figure, unless there are no samples.
    pub(crate) fn add(
        &mut self,
        place: (&str, &str, &str),
        unit: Unit,
        interval: Option<Interval>,
        aim: Option<Aim>,
    ) {
        let (table, row, column) = place;
        if let Some(interval) = interval {
            let verdict = aim.map(|aim| aim.verdict(&interval));
            self.figures.push(Figure {
                table: table.to_owned(),
                row: row.to_owned(),
                column: column.to_owned(),
                unit,
                interval,
                aim,
                verdict,
            });
        }
    }

    /// Notes what is missing, and says so at once.
    pub(crate) fn miss(&mut self, table: &str, row: &str, reason: &str) {
        eprintln!("[bench] {table}: without {row}: {reason}");
        let absent = Absent { table: table.to_owned(), row: row.to_owned(), reason: reason.to_owned() };
        self.absent.push(absent);
    }

    /// The file of a part under `target/bench`; what was run for a short look stands apart.
    fn path(part: &str, quick: bool) -> PathBuf {
        let short = if quick { "quick-" } else { "" };
        wsgi_trace_test_support::root().join(format!("target/bench/{short}{part}.json"))
    }

    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let path = Self::path(&self.part, self.quick);
        std::fs::create_dir_all(path.parent().context("no directory")?)?;
        std::fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }

    /// What the last full run of a part on this tree left, if there was one.
    pub(crate) fn read(part: &str) -> anyhow::Result<Option<Self>> {
        let path = Self::path(part, false);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path)?;
        let result: Self =
            serde_json::from_str(&text).with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(Some(result).filter(|result| !result.quick))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_that_holds_the_limit_is_undecided() {
        let interval = |low, high| Interval { low, high, rounds: 6, ..Interval::default() };
        assert_eq!(Aim::at_least(0.95).verdict(&interval(0.96, 0.99)), Verdict::Met);
        assert_eq!(Aim::at_least(0.95).verdict(&interval(0.94, 0.99)), Verdict::Undecided);
        assert_eq!(Aim::at_most(1.3).verdict(&interval(1.31, 1.5)), Verdict::Missed);
        let few = Interval { rounds: 5, ..interval(1.31, 1.5) };
        assert_eq!(Aim::at_most(1.3).verdict(&few), Verdict::Undecided, "too few to be sure");
    }
}
