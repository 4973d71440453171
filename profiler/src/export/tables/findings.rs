//! `findings`: what every rule says of every window.
//!
//! In: findings. Out: one row each, with the first setting to change.

use profiler_core::finding::{Answer, Finding};
use profiler_core::server::advice::Change;

use super::{Of, Row, shared};
use crate::export::column::{Cell, Column, Kind};

/// Name of the table.
pub(in crate::export) const NAME: &str = "findings";
/// What it holds.
pub(in crate::export) const MEANING: &str =
    "One row a rule and window, whatever it says: `undecided` is no `absent`.";

/// One finding in one window.
#[derive(Clone, Debug)]
pub(in crate::export) struct FindingRow {
    of: Of,
    finding: Finding,
    end_ns: u64,
    /// The change that its advice begins with.
    change: Option<Change>,
}

impl Row for FindingRow {
    fn of(&self) -> &Of {
        &self.of
    }
}

impl FindingRow {
    /// Of a window that ended at `end_ns`.
    pub(in crate::export) fn new(of: Of, end_ns: u64, finding: Finding) -> Self {
        let change = finding.steps.changes().first().map(|change| (*change).clone());
        Self { of, finding, end_ns, change }
    }
}

/// The columns.
pub(in crate::export) fn columns() -> Vec<Column<FindingRow>> {
    type R = FindingRow;
    let mut columns = shared();
    columns.extend([
        Column::new("end_time", Kind::Moment, "End of the window.", |row: &R| {
            Cell::Number(row.of.context.unix_us(row.end_ns))
        }),
        Column::new("id", Kind::Text, "The rule: `wsgi-trace explain ID`.", |row: &R| {
            Cell::Text(row.finding.id)
        }),
        Column::new("answer", Kind::Text, "`present`, `usual`, `absent` or `undecided`.", |row: &R| {
            Cell::Text(match row.finding.answer {
                Answer::Present => "present",
                Answer::Usual => "usual",
                Answer::Absent => "absent",
                Answer::Undecided { .. } => "undecided",
            })
        }),
        Column::new("reason", Kind::Text, "Why it is undecided, as a clause.", |row: &R| {
            match &row.finding.answer {
                Answer::Undecided { reason } => Cell::Text(reason),
                _ => Cell::Null,
            }
        })
        .null("it is decided"),
        Column::new("sentence", Kind::Text, "What was found, for a person. Hostile input.", |row: &R| {
            Cell::text(&row.finding.sentence)
        })
        .null("nothing to say"),
        Column::new("cost_ns", Kind::Nanoseconds, "Request time that it cost.", |row: &R| {
            Cell::number(row.finding.cost_ns)
        }),
        Column::new("count", Kind::Count, "Requests counted for it.", |row: &R| {
            Cell::number(row.finding.count)
        }),
        Column::new("advice", Kind::Text, "What to change. Hostile input.", |row: &R| {
            Cell::text(&row.finding.advice)
        })
        .null("there is none"),
    ]);
    columns.extend(setting());
    columns
}

fn setting() -> Vec<Column<FindingRow>> {
    type R = FindingRow;
    vec![
        Column::new("setting_option", Kind::Text, "The option that the advice changes first.", |row: &R| {
            Cell::maybe_text(row.change.as_ref().map(|change| change.setting.name.as_str()))
        })
        .null("it changes none"),
        Column::new(
            "setting_direction",
            Kind::Text,
            "What to do with it: `raise`, `lower` or `set`.",
            |row: &R| Cell::maybe_text(row.change.as_ref().map(|change| change.direction.name())),
        )
        .null("it changes none"),
        Column::new("setting_present", Kind::Text, "Its value now.", |row: &R| {
            Cell::maybe_text(row.change.as_ref().and_then(|change| change.setting.present.as_deref()))
        })
        .null("not known"),
        Column::new("setting_proposed", Kind::Text, "The value to try.", |row: &R| {
            Cell::maybe_text(row.change.as_ref().and_then(|change| change.proposed.as_deref()))
        })
        .null("the advice names none"),
    ]
}
