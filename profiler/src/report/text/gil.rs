//! The interpreter lock: whether anybody waited for it, for how long, in which endpoints and threads.
//!
//! In: the lock's part of a snapshot, the phases of its endpoints. Out: a section; nothing where it was not measured
//! (then "Not seen" says why).

use std::cmp::Reverse;
use std::collections::BTreeSet;

use profiler_core::model::gil::Gil;
use profiler_core::model::{Endpoint, Snapshot};
use profiler_core::phase::Phase;

use super::endpoints::status;
use super::page::Page;
use super::table::{Column, Table};
use super::{gil_place, gil_words, unit};
use crate::report::style::Role;
use crate::report::summary;

/// Endpoints and threads shown.
const SHOWN: usize = 5;

const ENDPOINTS: [Column; 5] = [
    Column::Shrinking("endpoint"),
    Column::Right("status"),
    Column::Right("requests"),
    Column::Right("gil_wait"),
    Column::Right("of its time"),
];

/// Pairs of waiter and holder shown.
const EDGES_SHOWN: usize = 8;

const EDGES: [Column; 4] = [
    Column::Shrinking("who waited"),
    Column::Shrinking("because of"),
    Column::Right("waited"),
    Column::Right("of all waits"),
];

const THREAD_EDGES: [Column; 5] = [
    Column::Right("pid"),
    Column::Shrinking("thread that waited"),
    Column::Shrinking("because of thread"),
    Column::Right("waited"),
    Column::Right("stretches"),
];

const THREADS: [Column; 6] = [
    Column::Right("pid"),
    Column::Right("thread"),
    Column::Shrinking("name"),
    Column::Right("waits"),
    Column::Right("waited"),
    Column::Right("longest"),
];

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    let gil = &snapshot.gil;
    if gil.not_measured.is_some() || gil.interpreters.is_empty() {
        return;
    }
    page.heading("Global interpreter lock (GIL)", &interpreters(gil));
    page.paragraph((Role::Quiet, "  "), (None, &waits(page, gil)));
    if gil.waits.count() > 0 {
        endpoints(page, snapshot);
        threads(page, gil);
        edges(page, gil);
        thread_edges(page, gil);
        gil_place::section(page, gil);
    }
    locks(page, snapshot);
    for (name, text) in method(gil) {
        page.entry(&name, &text);
    }
    for interpreter in &gil.interpreters {
        if let Some(reason) = &interpreter.refused {
            page.entry(&format!("process {}", interpreter.tgid), &format!("not measured: {reason}"));
        }
    }
}

/// How waits were seen, what that misses, and why it was chosen where that was not asked for.
pub(in crate::report) fn method(gil: &Gil) -> Vec<(String, String)> {
    let method = &gil.method;
    let mut entries = vec![("method".to_owned(), format!("{}; {}", method.method(), method.known_error()))];
    if method.files.iter().any(|file| file.probes > 0) {
        let hits = unit::counted(method.probe_hits, "hit");
        let attempts = match method.attempts {
            0 => String::new(),
            count => format!(", {} to take the lock", unit::counted(count, "attempt")),
        };
        entries.push(("probes".to_owned(), format!("{hits}{attempts}")));
    }
    // What `auto` comes to by itself needs no explanation.
    let told = method.reasons().filter(|file| method.wanted != "auto" || file.method != "syscalls");
    entries.extend(told.map(|file| (file.file.clone(), format!("{}: {}", file.method, file.reason))));
    entries
}

/// Versions, and how many locks there are.
pub(in crate::report) fn interpreters(gil: &Gil) -> String {
    let versions: BTreeSet<&str> =
        gil.interpreters.iter().filter_map(|seen| seen.version.as_deref()).collect();
    let versions: Vec<&str> = versions.into_iter().take(4).collect();
    let locks = gil.interpreters.iter().map(|seen| seen.locks.len()).sum::<usize>();
    let locks = unit::counted(u64::try_from(locks).unwrap_or(u64::MAX), "lock");
    format!("Python {}, {locks}", versions.join(" and "))
}

/// How often and how long threads waited, in a sentence.
pub(in crate::report) fn waits(page: &Page, gil: &Gil) -> String {
    let shown = |duration_ns| unit::duration(duration_ns, page.style.charset);
    let count = gil.waits.count();
    if count == 0 {
        return "0 waits: no thread ever slept for it.".to_owned();
    }
    format!(
        "{} in {}, {} in all (median {}, 99 % within {}, longest {}); {} ({}) longer than the switch interval; {} of \
         the time the waiter was ready, but had no CPU.",
        unit::counted(count, "wait"),
        unit::counted(gil.thread_count, "thread"),
        shown(gil.waits.sum_ns()),
        shown(gil.waits.quantile_ns(0.5)),
        shown(gil.waits.quantile_ns(0.99)),
        shown(gil.waits.max_ns()),
        unit::count(gil.past_interval),
        unit::percent(summary::ratio(gil.past_interval, count)),
        unit::percent(summary::ratio(gil.run_queue_ns, gil.waits.sum_ns())),
    )
}

fn endpoints(page: &mut Page, snapshot: &Snapshot) {
    let waited = |endpoint: &Endpoint| endpoint.phases.get(Phase::GilWait);
    let mut rows: Vec<&Endpoint> =
        summary::endpoints_by_time(snapshot).into_iter().filter(|endpoint| waited(endpoint) > 0).collect();
    rows.sort_by_key(|endpoint| Reverse(waited(endpoint)));
    if rows.is_empty() {
        return;
    }
    page.blank();
    let mut table = Table::new(&ENDPOINTS);
    for endpoint in rows.into_iter().take(SHOWN) {
        let name = match endpoint.method.as_str() {
            "" => "head not read".to_owned(),
            method => format!("{method} {}", endpoint.path_shape),
        };
        let share = summary::ratio(waited(endpoint), endpoint.phases.total_ns());
        table.row([
            name,
            status(endpoint.status),
            unit::count(endpoint.count),
            unit::duration(waited(endpoint), page.style.charset),
            unit::percent(share),
        ]);
    }
    table.write(page);
}

fn threads(page: &mut Page, gil: &Gil) {
    page.blank();
    let mut table = Table::new(&THREADS);
    for waiter in gil.threads.iter().take(SHOWN) {
        table.row([
            waiter.tgid.to_string(),
            waiter.tid.to_string(),
            waiter.comm.clone(),
            unit::count(waiter.waits),
            unit::duration(waiter.total_ns, page.style.charset),
            unit::duration(waiter.longest_ns, page.style.charset),
        ]);
    }
    table.write(page);
}

/// Who made whom wait.
fn edges(page: &mut Page, gil: &Gil) {
    if !gil.holders_known || gil.edges.is_empty() {
        return;
    }
    page.blank();
    let mut table = Table::new(&EDGES);
    for edge in gil.edges.iter().take(EDGES_SHOWN) {
        table.row([
            gil_words::party(&edge.waiter),
            gil_words::party(&edge.holder),
            unit::duration(edge.total_ns, page.style.charset),
            unit::percent(summary::ratio(edge.total_ns, gil.waits.sum_ns())),
        ]);
    }
    table.write(page);
}

/// The same by threads.
fn thread_edges(page: &mut Page, gil: &Gil) {
    if !gil.holders_known || gil.thread_edges.is_empty() {
        return;
    }
    page.blank();
    let mut table = Table::new(&THREAD_EDGES);
    for edge in gil.thread_edges.iter().take(SHOWN) {
        table.row([
            edge.tgid.to_string(),
            thread(&edge.waiter),
            thread(&edge.holder),
            unit::duration(edge.total_ns, page.style.charset),
            unit::count(edge.waits),
        ]);
    }
    table.write(page);
}

/// What a thread is called. Hostile input.
pub(in crate::report) fn thread((tid, name): &(u32, String)) -> String {
    match (tid, name.as_str()) {
        (0, _) => "not known".to_owned(),
        (tid, "") => tid.to_string(),
        (tid, name) => format!("{tid} ({name})"),
    }
}

/// How long each lock was held, and how threads came to it.
fn locks(page: &mut Page, snapshot: &Snapshot) {
    for lock in snapshot.gil.locks.iter().take(SHOWN) {
        let held = gil_words::held(lock, snapshot.window.length_ns());
        let course = gil_words::course(lock, page.style.charset).join("; ");
        let several = snapshot.gil.locks.iter().filter(|other| other.tgid == lock.tgid).count() > 1;
        let name = match several {
            true => format!("lock of {}, interpreter {}", lock.tgid, lock.interpreter),
            false => format!("lock of {}", lock.tgid),
        };
        page.entry(&name, &format!("{held}; {}: {course}", unit::counted(lock.waits, "wait")));
    }
}
