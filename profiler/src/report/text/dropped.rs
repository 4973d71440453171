//! Connections that were not served, each by its cause.
//!
//! In: what became of a snapshot's connections. Out: a section: how many were served, how many not and why, with an example
//! of each cause; failing accepts; workers that were killed.

use profiler_core::model::Snapshot;
use profiler_core::model::dropped::{Asked, Cause, Counted, Dropped, Example, WorkerEnd};

use super::page::Page;
use super::table::{Column, Table};
use super::unit;
use crate::report::escape::Charset;
use crate::report::style::Role;
use crate::report::summary;

/// Ends of workers shown.
const WORKER_ENDS: usize = 5;

const COLUMNS: [Column; 4] = [
    Column::Left("cause"),
    Column::Right("connections"),
    Column::Right("of ended"),
    Column::Shrinking("what happened"),
];

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    let dropped = &snapshot.dropped;
    if dropped.ended() == 0
        && dropped.causes.is_empty()
        && dropped.accept_failures.is_empty()
        && dropped.worker_ends.is_empty()
    {
        return;
    }
    page.heading("Dropped connections", &note(dropped));
    page.paragraph((Role::Quiet, "  "), (None, &account(dropped)));
    if !dropped.causes.is_empty() {
        page.line("");
        let mut table = Table::new(&COLUMNS);
        for counted in &dropped.causes {
            table.row([
                counted.cause.name().to_owned(),
                unit::count(counted.count),
                share(counted, dropped),
                counted.cause.words().to_owned(),
            ]);
        }
        table.write(page);
        page.line("");
        for counted in &dropped.causes {
            if let Some(first) = counted.examples.first() {
                page.entry(counted.cause.name(), &example(page, first, snapshot.window.start_ns));
            }
        }
    }
    for failure in failures(dropped) {
        page.entry("accept failed", &failure);
    }
    for end in dropped.worker_ends.iter().take(WORKER_ENDS) {
        page.entry(&format!("process {}", end.tgid), &worker_end(end, page.style.charset));
    }
}

/// Part of the connections that ended; attempts are no part of them.
pub(in crate::report) fn share(counted: &Counted, dropped: &Dropped) -> String {
    match counted.cause {
        Cause::AcceptQueueOverflow => "attempts".to_owned(),
        _ => unit::percent(summary::ratio(counted.count, dropped.ended())),
    }
}

fn note(dropped: &Dropped) -> String {
    match dropped.total() {
        0 => "none".to_owned(),
        total => format!(
            "{} of {} that ended ({})",
            unit::count(total),
            unit::count(dropped.ended()),
            unit::percent(summary::ratio(total, dropped.ended()))
        ),
    }
}

/// What became of all connections, in one sentence.
pub(in crate::report) fn account(dropped: &Dropped) -> String {
    let mut parts = vec![format!("{} served", unit::counted(dropped.served, "connection"))];
    parts.push(format!("{} not", unit::count(dropped.total())));
    if dropped.nothing_asked > 0 {
        parts.push(format!("{} ended without a request", unit::count(dropped.nothing_asked)));
    }
    if dropped.undecided > 0 {
        parts.push(format!("{} undecided (records were lost)", unit::count(dropped.undecided)));
    }
    if dropped.open > 0 {
        parts.push(format!("{} still open at the end", unit::count(dropped.open)));
    }
    format!("{}.", parts.join(", "))
}

fn asked(asked: &Asked) -> String {
    let name = match asked.method.as_str() {
        "" => "a request whose head was not read".to_owned(),
        method => format!("{method} {}", asked.path),
    };
    match (asked.request, asked.status) {
        (Some(id), 0) => format!("{name} (#{id})"),
        (Some(id), status) => format!("{name} (#{id}, {status})"),
        (None, _) => name,
    }
}

/// One dropped connection in words. Hostile input.
fn example(page: &Page, example: &Example, window_start_ns: u64) -> String {
    let shown = |duration_ns| unit::duration(duration_ns, page.style.charset);
    if example.time_ns == 0 {
        return example.evidence.clone();
    }
    let mut parts = vec![format!("at {}", shown(example.time_ns.saturating_sub(window_start_ns)))];
    if let Some(connection) = example.connection {
        parts.push(format!("connection {connection} of process {}", example.tgid));
    }
    parts.extend(example.asked.as_ref().map(asked));
    if let Some(waited_ns) = example.waited_ns {
        parts.push(format!("after {}", shown(waited_ns)));
    }
    format!("{}: {}", parts.join(", "), example.evidence)
}

/// Failing accepts, one sentence each.
pub(in crate::report) fn failures(dropped: &Dropped) -> Vec<String> {
    let in_words = |failure: &profiler_core::model::dropped::AcceptFailure| {
        let limit = failure
            .open_files_limit
            .filter(|_| failure.error == "EMFILE")
            .map_or_else(String::new, |limit| format!(" of its {limit} file descriptors"));
        let open = failure.open_files.map_or_else(String::new, |open| {
            format!("; {} were open", unit::counted(open, "file descriptor"))
        });
        format!(
            "process {}: {} with {}; {}{limit} were clients' connections when it began{open}",
            failure.tgid,
            unit::counted(failure.count, "call"),
            failure.error,
            unit::count(failure.clients),
        )
    };
    dropped.accept_failures.iter().map(in_words).collect()
}

/// How a process ended, in words. Hostile input.
pub(in crate::report) fn worker_end(end: &WorkerEnd, charset: Charset) -> String {
    let mut text = format!("{}: {}", end.cause.words(), end.evidence);
    if end.connections > 0 {
        text.push_str(&format!("; it was serving {}", unit::counted(end.connections, "connection")));
    }
    if let Some(request) = &end.asked {
        text.push_str(&format!(
            ", the longest {} for {}",
            asked(request),
            unit::duration(end.ran_ns, charset)
        ));
    }
    text
}
