//! `leaves`: what requests waited for, in the end.
//!
//! In: the chains of a snapshot. Out: one row a leaf and way, and one for all that are not listed.

use profiler_core::model::Snapshot;
use profiler_core::model::chain::{LeafTime, NotFollowed};

use super::{Of, Row, shared};
use crate::export::column::{Cell, Column, Kind};
use crate::report::chain_words;

/// Name of the table.
pub(in crate::export) const NAME: &str = "leaves";
/// What it holds.
pub(in crate::export) const MEANING: &str = "One row a window, leaf and way: what requests waited for in the end, and their own work. \
     One row of kind `others` has what is not listed. The rows of a window add up to its request time.";

/// One leaf by one way, in one window.
#[derive(Clone, Debug)]
pub(in crate::export) struct LeafRow {
    of: Of,
    /// `None`: all leaves that are not listed.
    time: Option<LeafTime>,
    held_ns: u64,
    object: String,
    /// Method and path shape; empty: for none, or not known.
    endpoint: String,
    hops: String,
}

impl Row for LeafRow {
    fn of(&self) -> &Of {
        &self.of
    }
}

impl LeafRow {
    /// A number that only a listed leaf has.
    fn of_listed(&self, number: impl Fn(&LeafTime) -> u64) -> Cell<'_> {
        Cell::maybe(self.time.as_ref().map(number))
    }
}

/// The rows of a window.
pub(in crate::export) fn rows(of: &Of, snapshot: &Snapshot) -> Vec<LeafRow> {
    let chains = &snapshot.chains;
    let row = |time: &LeafTime| LeafRow {
        of: of.clone(),
        time: Some(LeafTime { example: None, ..time.clone() }),
        held_ns: time.held_ns,
        object: chain_words::object(chains, time).unwrap_or_default(),
        endpoint: chains.endpoint(time.leaf.endpoint).unwrap_or_default().to_owned(),
        hops: chain_words::way(&time.hops),
    };
    let others = (chains.other_ns > 0).then(|| LeafRow {
        of: of.clone(),
        time: None,
        held_ns: chains.other_ns,
        object: String::new(),
        endpoint: String::new(),
        hops: String::new(),
    });
    chains.leaves.iter().map(row).chain(others).collect()
}

/// The columns.
pub(in crate::export) fn columns() -> Vec<Column<LeafRow>> {
    let mut columns = shared();
    columns.extend(what());
    columns.extend(times());
    columns
}

fn what() -> Vec<Column<LeafRow>> {
    type R = LeafRow;
    vec![
        Column::new(
            "kind",
            Kind::Text,
            "What stands at the end: `wsgi-trace explain KIND`, or `others`.",
            |row: &R| Cell::Text(row.time.as_ref().map_or("others", |time| time.leaf.kind.name())),
        ),
        Column::new("object", Kind::Text, "What was waited for, such as `port 5432`.", |row: &R| {
            Cell::text(&row.object)
        })
        .null("not known, or there is nothing"),
        Column::new("system_call", Kind::Text, "System call of the wait.", |row: &R| {
            Cell::maybe_text(row.time.as_ref().and_then(|time| chain_words::system_call(&time.leaf)))
        })
        .null("none, or not known"),
        Column::new(
            "endpoint",
            Kind::Text,
            "For which request the thread at the end worked: method and shape of the path. Hostile input.",
            |row: &R| Cell::text(&row.endpoint),
        )
        .null("for none, or not known"),
        Column::new("reason", Kind::Text, "Why the chain was not followed to its end.", |row: &R| {
            let reason = row.time.as_ref().and_then(|time| time.leaf.reason);
            Cell::maybe_text(reason.map(NotFollowed::name))
        })
        .null("it was followed"),
        Column::new(
            "hops",
            Kind::Text,
            "The way there: phases of the waits, the request's own first, with ` > ` between them.",
            |row: &R| Cell::text(&row.hops),
        )
        .null("the request was there itself, or `others`"),
    ]
}

fn times() -> Vec<Column<LeafRow>> {
    type R = LeafRow;
    const NOT_LISTED: &str = "leaves that are not listed";
    vec![
        Column::new("held_ns", Kind::Nanoseconds, "Request time at it.", |row: &R| Cell::number(row.held_ns)),
        Column::new(
            "unusual_ns",
            Kind::Nanoseconds,
            "The part that exceeds what is usual at the endpoints concerned.",
            |row: &R| row.of_listed(|time| time.unusual_ns),
        )
        .null(NOT_LISTED),
        Column::new(
            "prevented_ns",
            Kind::Nanoseconds,
            "Request time that would not have been without it, by a replay. It does not add up.",
            |row: &R| Cell::maybe(row.time.as_ref().and_then(|time| time.prevented_ns)),
        )
        .null("not replayed"),
        Column::new("requests", Kind::Count, "Requests concerned.", |row: &R| {
            row.of_listed(|time| time.requests)
        })
        .null(NOT_LISTED),
        Column::new("longest_ns", Kind::Nanoseconds, "The most that one request has at it.", |row: &R| {
            row.of_listed(|time| time.longest_ns)
        })
        .null(NOT_LISTED),
        Column::new(
            "is_serial",
            Kind::Flag,
            "The way or the leaf is one object, where only one at a time gets on.",
            |row: &R| row.time.as_ref().map_or(Cell::Null, |time| Cell::Flag(time.is_serial())),
        )
        .null(NOT_LISTED),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::export::context::Context;
    use crate::report::fixture;

    /// The cells of a column by its name.
    fn cells<'a>(rows: &'a [LeafRow], columns: &'a [Column<LeafRow>], name: &str) -> Vec<Cell<'a>> {
        let column = columns.iter().find(|column| column.said.name == name).unwrap();
        rows.iter().map(|row| column.cell(row)).collect()
    }

    #[test]
    fn the_rows_of_a_window_add_up_to_its_request_time_and_others_have_what_is_not_listed() {
        let (snapshot, _) = fixture::exhausted();
        let of = Of { context: Arc::new(Context::default()), window: 3 };
        let (rows, columns) = (rows(&of, &snapshot), columns());
        let held: i64 = cells(&rows, &columns, "held_ns")
            .into_iter()
            .map(|cell| if let Cell::Number(number) = cell { number } else { 0 })
            .sum();
        assert_eq!(u64::try_from(held), Ok(snapshot.chains.request_ns));
        assert_eq!(cells(&rows, &columns, "kind").last(), Some(&Cell::Text("others")));
        assert_eq!(cells(&rows, &columns, "requests").last(), Some(&Cell::Null));
        let at = cells(&rows, &columns, "kind").iter().position(|kind| *kind == Cell::Text("not_released"));
        let cell = |name| cells(&rows, &columns, name)[at.unwrap()];
        assert_eq!(cell("hops"), Cell::Text("pool_wait > lock_wait"));
        assert_eq!(cell("object"), Cell::Text("futex 0x7f3a10c0"));
        assert_eq!((cell("system_call"), cell("is_serial")), (Cell::Text("futex"), Cell::Flag(true)));
        assert_eq!((cell("endpoint"), cell("reason")), (Cell::Null, Cell::Null));
    }

    #[test]
    fn a_window_without_chains_has_no_rows() {
        let of = Of { context: Arc::new(Context::default()), window: 0 };
        assert!(rows(&of, &Snapshot::default()).is_empty());
    }
}
