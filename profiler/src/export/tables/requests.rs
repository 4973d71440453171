//! `requests`: one row a request.
//!
//! In: requests as they come to their end. Out: the columns; a phase each has its own.

use profiler_core::model::request::Request;
use profiler_core::phase::Phase;

use super::{Of, Row, shared};
use crate::export::column::{Cell, Column, Kind};
use crate::report::vocabulary::of_phase;

/// Name of the table.
pub(in crate::export) const NAME: &str = "requests";
/// What it holds.
pub(in crate::export) const MEANING: &str = "One row a request. Its phases add up to `total_ns`, to the nanosecond. \
     Leave out `is_open` and `is_truncated` for percentiles, as the report does: the window cut them off.";

/// One request.
#[derive(Clone, Debug)]
pub(in crate::export) struct RequestRow {
    pub(in crate::export) of: Of,
    pub(in crate::export) request: Box<Request>,
    /// Shape of its path.
    pub(in crate::export) route: String,
}

impl Row for RequestRow {
    fn of(&self) -> &Of {
        &self.of
    }
}

impl RequestRow {
    fn moment(&self, monotonic_ns: u64) -> Cell<'_> {
        Cell::Number(self.of.context.unix_us(monotonic_ns))
    }

    /// Time in a phase. A phase that has time was measured, whatever else is said.
    fn phase(&self, phase: Phase) -> Cell<'_> {
        let duration_ns = self.request.phases.get(phase);
        let is_measured = duration_ns > 0 || !self.of.context.not_measured.contains(&phase);
        if is_measured { Cell::number(duration_ns) } else { Cell::Null }
    }
}

/// The columns.
pub(in crate::export) fn columns() -> Vec<Column<RequestRow>> {
    let mut columns = shared();
    columns.extend(whose());
    columns.extend(when());
    columns.extend(http());
    columns.extend(how_seen());
    let phases = Phase::ALL.into_iter().map(|phase| {
        let name = format!("{}_ns", phase.name());
        let meaning = format!("Time in this phase: {}.", of_phase(phase).meaning);
        Column::new(name, Kind::Nanoseconds, meaning, move |row: &RequestRow| row.phase(phase))
            .null("not measured")
    });
    columns.extend(phases);
    columns
}

fn whose() -> Vec<Column<RequestRow>> {
    type R = RequestRow;
    vec![
        Column::new(
            "process.pid",
            Kind::Code,
            "Process that served it, as the host numbers it; 0: nobody had accepted its connection as the window ended.",
            |row: &R| Cell::number(row.request.tgid.into()),
        ),
        Column::new(
            "thread.id",
            Kind::Code,
            "Thread that served it; 0: none had read it as the window ended.",
            |row: &R| Cell::number(row.request.tid.into()),
        ),
        Column::new("server.port", Kind::Code, "Port of the server.", |row: &R| {
            Cell::maybe(row.of.context.server_port.map(u64::from))
        })
        .null("the server has several, or only a UNIX socket")
        .of_the_set(),
        Column::new("request_id", Kind::Id, "Number of the request in the recording.", |row: &R| {
            Cell::number(row.request.id)
        }),
        Column::new("connection_id", Kind::Id, "Number of its connection in the recording.", |row: &R| {
            Cell::number(row.request.connection)
        }),
        Column::new("slot", Kind::Code, "Number of the slot that it held.", |row: &R| {
            Cell::maybe(row.request.slot.map(u64::from))
        })
        .null("no thread took it, or slots were not measured"),
        Column::new("trace_id", Kind::Binary, "Its trace, 16 bytes: `hex(trace_id)`.", |row: &R| {
            row.request.http.trace_context.as_ref().map_or(Cell::Null, |trace| Cell::Binary(&trace.trace_id))
        })
        .null("its head had no traceparent"),
    ]
}

fn when() -> Vec<Column<RequestRow>> {
    type R = RequestRow;
    vec![
        Column::new(
            "start_time",
            Kind::Moment,
            "Arrival of its first byte, by the wall clock.",
            |row: &R| row.moment(row.request.times.start_ns),
        ),
        Column::new("total_ns", Kind::Nanoseconds, "From there to the end of its last write.", |row: &R| {
            Cell::number(row.request.total_ns())
        }),
        Column::new("service_ns", Kind::Nanoseconds, "From the read of its head to the same.", |row: &R| {
            Cell::maybe(row.request.service_ns())
        })
        .null("the head was not completed"),
        Column::new("sending_ns", Kind::Nanoseconds, "From its first write to its last.", |row: &R| {
            let times = &row.request.times;
            Cell::maybe(times.first_write_ns.map(|write_ns| times.end_ns.saturating_sub(write_ns)))
        })
        .null("nothing was written"),
        Column::new(
            "since_request_start_ns",
            Kind::Nanoseconds,
            "How long it was on its way before, by the `X-Request-Start` of a front end.",
            |row: &R| Cell::maybe(row.request.http.request_start.before_ns()),
        )
        .null("no front end said"),
    ]
}

fn http() -> Vec<Column<RequestRow>> {
    type R = RequestRow;
    vec![
        Column::new("http.request.method", Kind::Text, "Method of the request.", |row: &R| {
            Cell::text(&row.request.http.method)
        })
        .null("no head was read"),
        Column::new(
            "http.route",
            Kind::Text,
            "Shape of the path: numbers, UUIDs and long hexadecimal names folded. Hostile input.",
            |row: &R| Cell::text(&row.route),
        )
        .null("no head was read"),
        Column::new(
            "url.path",
            Kind::Text,
            "Path as the client sent it, without its query. Hostile input.",
            |row: &R| {
                if row.of.context.raw_paths { Cell::text(&row.request.http.path) } else { Cell::Null }
            },
        )
        .null("without `--raw-paths`, or no head was read"),
        Column::new("http.response.status_code", Kind::Code, "Status of the response.", |row: &R| {
            Cell::unless_zero(row.request.http.status)
        })
        .null("none was seen"),
        Column::new("http.request.size", Kind::Bytes, "Bytes received, head and body.", |row: &R| {
            Cell::number(row.request.http.bytes_in)
        }),
        Column::new("http.response.size", Kind::Bytes, "Bytes sent, head and body.", |row: &R| {
            Cell::number(row.request.http.bytes_out)
        }),
        Column::new("back_end_round_trips", Kind::Count, "Answers of back ends that it read.", |row: &R| {
            Cell::unless_zero(row.request.round_trips.total())
        })
        .null("none were seen; on event loops they are not counted"),
    ]
}

fn how_seen() -> Vec<Column<RequestRow>> {
    type R = RequestRow;
    vec![
        Column::new(
            "framing",
            Kind::Text,
            "How its limits were found: `exact`, `inferred` or `not_http`.",
            |row: &R| Cell::Text(row.request.http.framing.name()),
        ),
        Column::new("is_open", Kind::Flag, "It ran still when the window ended.", |row: &R| {
            Cell::Flag(row.request.seen.open)
        }),
        Column::new("is_truncated", Kind::Flag, "Its beginning was not seen.", |row: &R| {
            Cell::Flag(row.request.seen.truncated)
        }),
        Column::new(
            "is_lossy",
            Kind::Flag,
            "Records were lost while it ran: a part of it is unexplained.",
            |row: &R| Cell::Flag(row.request.seen.lossy),
        ),
        Column::new(
            "has_arrival",
            Kind::Flag,
            "Its start is the arrival at the socket, not the first sight of it.",
            |row: &R| Cell::Flag(row.request.times.start_is_arrival),
        ),
    ]
}
