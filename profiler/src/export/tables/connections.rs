//! `connections`: those that ended badly.
//!
//! In: connections as they come to their end, the counts of a snapshot. Out: one row each; those that were
//! only counted share a row.

use profiler_core::model::Snapshot;
use profiler_core::model::dropped::{Asked, Cause, Counted, Example};

use super::{Of, Row, shared};
use crate::export::column::{Cell, Column, Kind};

/// Name of the table.
pub(in crate::export) const NAME: &str = "connections";
/// What it holds.
pub(in crate::export) const MEANING: &str = "One row a connection that was not served, by its cause (`docs/dropped-connections.md`). \
     Those that are only counted, as attempts that a full accept queue refused, share a row: add up `connections`.";

/// A connection, or several of one cause.
#[derive(Clone, Debug)]
pub(in crate::export) struct ConnectionRow {
    of: Of,
    cause: Cause,
    /// `None`: these were only counted.
    example: Option<Box<Example>>,
    route: String,
    count: u64,
    time_ns: u64,
    waited_ns: Option<u64>,
}

impl Row for ConnectionRow {
    fn of(&self) -> &Of {
        &self.of
    }
}

impl ConnectionRow {
    /// One connection; `route` is of the request at hand.
    pub(in crate::export) fn new(of: Of, cause: Cause, example: Box<Example>, route: String) -> Self {
        let (time_ns, waited_ns) = (example.time_ns, example.waited_ns);
        Self { of, cause, example: Some(example), route, count: 1, time_ns, waited_ns }
    }

    /// When it was over.
    pub(in crate::export) const fn time_ns(&self) -> u64 {
        self.time_ns
    }

    fn asked(&self) -> Option<&Asked> {
        self.example.as_ref()?.asked.as_ref()
    }
}

/// What a window counts beyond the rows that it has already, `listed` by cause.
pub(in crate::export) fn rest(
    of: &Of,
    snapshot: &Snapshot,
    listed: &dyn Fn(Cause) -> (u64, u64),
) -> Vec<ConnectionRow> {
    let row = |counted: &Counted| {
        let (count, waited_ns) = listed(counted.cause);
        let count = counted.count.checked_sub(count).filter(|count| *count > 0)?;
        let waited_ns = counted.waited_ns.checked_sub(waited_ns).filter(|waited_ns| *waited_ns > 0);
        let time_ns = snapshot.window.end_ns;
        Some(ConnectionRow {
            of: of.clone(),
            cause: counted.cause,
            example: None,
            route: String::new(),
            count,
            time_ns,
            waited_ns,
        })
    };
    snapshot.dropped.causes.iter().filter_map(row).collect()
}

/// The columns.
pub(in crate::export) fn columns() -> Vec<Column<ConnectionRow>> {
    type R = ConnectionRow;
    let mut columns = shared();
    columns.extend([
        Column::new("process.pid", Kind::Code, "Process that had it.", |row: &R| {
            row.example.as_ref().map_or(Cell::Null, |example| Cell::unless_zero(example.tgid))
        })
        .null("none had it, or not known"),
        Column::new("connection_id", Kind::Id, "Its number in the recording.", |row: &R| {
            Cell::maybe(row.example.as_ref().and_then(|example| example.connection))
        })
        .null("it was never accepted"),
        Column::new("request_id", Kind::Id, "The request at hand.", |row: &R| {
            Cell::maybe(row.asked().and_then(|asked| asked.request))
        })
        .null("none was, or the server had not read it"),
        Column::new(
            "end_time",
            Kind::Moment,
            "When it was over; of those only counted, the end of the window.",
            |row: &R| Cell::Number(row.of.context.unix_us(row.time_ns)),
        ),
        Column::new("cause", Kind::Text, "Why it was not served.", |row: &R| Cell::Text(row.cause.name())),
        Column::new("is_clients_doing", Kind::Flag, "The client left by itself.", |row: &R| {
            Cell::Flag(row.cause.is_client_s())
        }),
        Column::new("connections", Kind::Count, "Connections that the row stands for.", |row: &R| {
            Cell::number(row.count)
        }),
        Column::new(
            "waited_ns",
            Kind::Nanoseconds,
            "How long the clients had waited by then, in all.",
            |row: &R| Cell::maybe(row.waited_ns),
        )
        .null("not known"),
    ]);
    columns.extend(asked());
    columns
}

fn asked() -> Vec<Column<ConnectionRow>> {
    type R = ConnectionRow;
    vec![
        Column::new("http.request.method", Kind::Text, "Method of the request at hand.", |row: &R| {
            Cell::maybe_text(row.asked().map(|asked| asked.method.as_str()))
        })
        .null("no head was read"),
        Column::new("http.route", Kind::Text, "Shape of its path. Hostile input.", |row: &R| {
            Cell::text(&row.route)
        })
        .null("no head was read"),
        Column::new("url.path", Kind::Text, "Path as the client sent it. Hostile input.", |row: &R| {
            let path = row.asked().map(|asked| asked.path.as_str());
            Cell::maybe_text(path.filter(|_| row.of.context.raw_paths))
        })
        .null("without `--raw-paths`, or no head was read"),
        Column::new("http.response.status_code", Kind::Code, "Status of the response.", |row: &R| {
            row.asked().map_or(Cell::Null, |asked| Cell::unless_zero(asked.status))
        })
        .null("none was seen"),
        Column::new(
            "evidence",
            Kind::Text,
            "What shows the cause, as a clause. Hostile input.",
            |row: &R| Cell::maybe_text(row.example.as_ref().map(|example| example.evidence.as_str())),
        )
        .null("only counted"),
    ]
}
