//! The front end: time in it, between, and in the server.
//!
//! In: the front end of a snapshot. Out: a section, where one is traced.

use profiler_core::model::Snapshot;
use profiler_core::model::front_end::FrontEnd;

use super::page::Page;
use super::style::Role;
use super::table::{Column, Table};
use super::unit;
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

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
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
