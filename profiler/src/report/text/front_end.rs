//! The front end: time in it, between, and in the server; where it stamps requests, how long these were on their way.
//!
//! In: the front end of a snapshot, and what its requests say. Out: a section, where there is either.

use profiler_core::model::Snapshot;
use profiler_core::model::front_end::FrontEnd;
use profiler_core::model::request_start::RequestStarts;

use super::page::Page;
use super::table::{Column, Table};
use super::unit;
use crate::report::escape::Charset;
use crate::report::style::Role;
use crate::report::summary;

const COLUMNS: [Column; 4] = [
    Column::Shrinking("where"),
    Column::Right("of the time"),
    Column::Right("a request"),
    Column::Right("in all"),
];

/// What the three stretches are.
pub(in crate::report) const WHAT_IS_WHERE: &str = "In the front end: its accept queue and its clients' stalls \
    included. Between: sent by the one and not yet there for the other. In the server: from the first byte at its socket \
    to its last write.";

/// Its three stretches, by name.
pub(in crate::report) const fn stretches(front_end: &FrontEnd) -> [(&'static str, u64); 3] {
    [
        ("in the front end", front_end.front_end_ns),
        ("between", front_end.between_ns),
        ("in the server", front_end.server_ns),
    ]
}

/// How its requests were joined with the server's.
pub(in crate::report) fn joined(front_end: &FrontEnd) -> String {
    let FrontEnd { joined, ambiguous, unpaired, .. } = front_end;
    let mut text =
        format!("{} joined with the server's by their connection", unit::counted(*joined, "request"));
    if *ambiguous > 0 {
        text.push_str(&format!(", {} of them by order alone", unit::count(*ambiguous)));
    }
    if *unpaired > 0 {
        text.push_str(&format!("; of {} only one half is known", unit::count(*unpaired)));
    }
    text.push('.');
    text
}

/// How long requests were on their way, by their `X-Request-Start`.
pub(in crate::report) fn stamped(starts: &RequestStarts, charset: Charset) -> String {
    let before = &starts.before;
    let at = |quantile| unit::duration(before.quantile_ns(quantile), charset);
    let mut text = format!("X-Request-Start of {}", unit::counted(before.count(), "request"));
    if before.count() > 0 {
        text.push_str(&format!(
            ": {} at the median, {} for 99 %, {} at most from the stamp to the first byte at the server's socket, stamps \
             going by {}",
            at(0.5),
            at(0.99),
            unit::duration(before.max_ns(), charset),
            unit::duration(starts.unit_ns, charset)
        ));
    }
    let refused = [
        (starts.not_a_time, "not a time"),
        (starts.ahead, "later than the request's first byte"),
        (starts.too_old, "more than 10 minutes before it"),
    ];
    let refused: Vec<String> = refused
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, why)| format!("{} {why}", unit::count(*count)))
        .collect();
    if !refused.is_empty() {
        text.push_str(&format!("; refused: {}", refused.join(", ")));
    }
    text.push('.');
    text
}

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    let starts = &snapshot.requests.request_starts;
    let charset = page.style.charset;
    if snapshot.front_end.is_none() && !starts.is_empty() {
        page.heading("Front end", "not traced");
    }
    traced(page, snapshot);
    if !starts.is_empty() {
        page.paragraph((Role::Quiet, "  "), (None, &stamped(starts, charset)));
    }
}

fn traced(page: &mut Page, snapshot: &Snapshot) {
    let Some(front_end) = &snapshot.front_end else { return };
    let charset = page.style.charset;
    let processes = u64::try_from(front_end.tgids.len()).unwrap_or(u64::MAX);
    page.heading("Front end", &format!("{}, {}", front_end.name, unit::counted(processes, "process")));
    page.paragraph((Role::Quiet, "  "), (None, &joined(front_end)));
    if front_end.crossed == 0 {
        return;
    }
    let mut table = Table::new(&COLUMNS);
    for (name, sum_ns) in stretches(front_end) {
        table.row([
            name.to_owned(),
            unit::percent(summary::ratio(sum_ns, front_end.whole_ns())),
            unit::duration(front_end.a_request_ns(sum_ns), charset),
            unit::duration(sum_ns, charset),
        ]);
    }
    table.write(page);
    page.paragraph((Role::Quiet, "  "), (None, WHAT_IS_WHERE));
}
