//! `gil_waits`: who waited for the interpreter lock, and who had it.
//!
//! In: the edges of a snapshot. Out: one row a pair, and one for all pairs that are not listed.

use profiler_core::model::Snapshot;
use profiler_core::model::gil::{Contender, Edge};

use super::{Of, Row, shared};
use crate::export::column::{Cell, Column, Kind};

/// Name of the table.
pub(in crate::export) const NAME: &str = "gil_waits";
/// What it holds.
pub(in crate::export) const MEANING: &str = "One row a window and a pair: who waited for the interpreter lock (GIL), and who \
     had it when the waiter went to sleep. One row of kind `others` adds up the pairs beyond the bound.";

/// One pair in one window.
#[derive(Clone, Debug)]
pub(in crate::export) struct GilWaitRow {
    of: Of,
    /// `None`: all pairs that are not listed.
    edge: Option<Edge>,
    wait_ns: u64,
}

impl Row for GilWaitRow {
    fn of(&self) -> &Of {
        &self.of
    }
}

/// The rows of a window.
pub(in crate::export) fn rows(of: &Of, snapshot: &Snapshot) -> Vec<GilWaitRow> {
    let gil = &snapshot.gil;
    if gil.not_measured.is_some() {
        return Vec::new();
    }
    let row = |edge: &Edge| GilWaitRow { of: of.clone(), edge: Some(edge.clone()), wait_ns: edge.total_ns };
    let others = (gil.other_edges_ns > 0).then(|| GilWaitRow {
        of: of.clone(),
        edge: None,
        wait_ns: gil.other_edges_ns,
    });
    gil.edges.iter().map(row).chain(others).collect()
}

/// Which of the two.
type Side = fn(&Edge) -> &Contender;

/// The columns.
pub(in crate::export) fn columns() -> Vec<Column<GilWaitRow>> {
    type R = GilWaitRow;
    let mut columns = shared();
    columns.extend(contender("waiter", |edge| &edge.waiter));
    columns.extend(contender("holder", |edge| &edge.holder));
    columns.extend([
        Column::new("wait_ns", Kind::Nanoseconds, "Time waited, run queue included.", |row: &R| {
            Cell::number(row.wait_ns)
        }),
        Column::new("waits", Kind::Count, "Stretches of waiting.", |row: &R| {
            Cell::maybe(row.edge.as_ref().map(|edge| edge.waits))
        })
        .null("pairs that are not listed"),
        Column::new(
            "drop_not_honoured_ns",
            Kind::Nanoseconds,
            "The part in which the holder had been asked to give the lock up, for longer than the switch interval.",
            |row: &R| Cell::maybe(row.edge.as_ref().map(|edge| edge.not_honoured_ns)),
        )
        .null("pairs that are not listed"),
    ]);
    columns
}

fn contender(who: &'static str, side: Side) -> Vec<Column<GilWaitRow>> {
    type R = GilWaitRow;
    let of = move |row: &'_ R| -> Option<&'static str> {
        Some(match row.edge.as_ref().map(side)? {
            Contender::Endpoint(_) => "endpoint",
            Contender::Thread { .. } => "thread",
            Contender::Unknown => "unknown",
        })
    };
    let kind = format!(
        "What the {who} was: serving an `endpoint`, a `thread` without a request, `unknown`, or `others`."
    );
    vec![
        Column::new(format!("{who}_kind"), Kind::Text, kind, move |row: &R| {
            Cell::Text(of(row).unwrap_or("others"))
        }),
        Column::new(
            format!("{who}_endpoint"),
            Kind::Text,
            "Method and shape of the path. Hostile input.",
            move |row: &R| match row.edge.as_ref().map(side) {
                Some(Contender::Endpoint(endpoint)) => Cell::text(endpoint),
                _ => Cell::Null,
            },
        )
        .null("no request, or its head was not read"),
        Column::new(
            format!("{who}_thread"),
            Kind::Text,
            "Name of the thread. Hostile input.",
            move |row: &R| match row.edge.as_ref().map(side) {
                Some(Contender::Thread { comm, .. }) => Cell::text(comm),
                _ => Cell::Null,
            },
        )
        .null("it served a request, or is not known"),
    ]
}
