//! The interpreter lock: whether anybody waited for it, for how long, in which endpoints and threads, and
//! because of whom.
//!
//! In: the lock's part of a snapshot, the phases of its endpoints. Out: a section; on the page alone where it
//! was not measured ("Not seen" says why).

use std::cmp::Reverse;
use std::collections::BTreeSet;

use profiler_core::model::gil::Gil;
use profiler_core::model::{Endpoint, Snapshot};
use profiler_core::phase::Phase;

use super::block::{Block, Blocks, Folded, Section};
use super::cell::{count, duration, id, share, words};
use super::endpoints::{name, status};
use super::table::{On, Rows, listed};
use super::{gil_matrix, gil_place, gil_words, shown};
use crate::report::{summary, unit};

/// Endpoints and threads in the text report.
const SHOWN: usize = 5;

pub(super) fn section(snapshot: &Snapshot) -> Section<'_> {
    let gil = &snapshot.gil;
    let mut body = Blocks::default();
    let section = |body| Section::new("gil", "Global interpreter lock (GIL)", body).short("GIL");
    if let Some(reason) = &gil.not_measured {
        body.say(format!("Not measured: {reason}."));
        return section(body).only(On::PAGE);
    }
    if gil.interpreters.is_empty() {
        body.say("No interpreter was seen.");
        return section(body).only(On::PAGE);
    }
    body.say(waits(gil));
    body.push(On::PAGE, Block::Histogram(&gil.waits, "wait"));
    if gil.waits.count() > 0 {
        endpoints(&mut body, snapshot);
        threads(&mut body, gil);
        gil_matrix::edges(&mut body, gil);
        gil_place::places(&mut body, gil);
    }
    locks(&mut body, snapshot);
    method(&mut body, gil);
    for interpreter in &gil.interpreters {
        if let Some(reason) = &interpreter.refused {
            body.entry(format!("process {}", interpreter.tgid), format!("not measured: {reason}"));
        }
    }
    section(body).note(interpreters(gil))
}

/// How waits were seen, what that misses, and why it was chosen where that was not asked for.
fn method(body: &mut Blocks<'_>, gil: &Gil) {
    let method = &gil.method;
    body.entry("method", format!("{}; {}", method.method(), method.known_error()));
    if method.files.iter().any(|file| file.probes > 0) {
        let hits = unit::counted(method.probe_hits, "hit");
        let attempts = match method.attempts {
            0 => String::new(),
            count => format!(", {} to take the lock", unit::counted(count, "attempt")),
        };
        body.entry("probes", format!("{hits}{attempts}"));
    }
    // What `auto` comes to by itself needs no explanation.
    for file in method.reasons().filter(|file| method.wanted != "auto" || file.method != "syscalls") {
        body.entry(&file.file, format!("{}: {}", file.method, file.reason));
    }
}

/// Versions, and how many locks there are.
fn interpreters(gil: &Gil) -> String {
    let versions: BTreeSet<&str> =
        gil.interpreters.iter().filter_map(|seen| seen.version.as_deref()).collect();
    let versions: Vec<&str> = versions.into_iter().take(4).collect();
    let locks = unit::number(gil.interpreters.iter().map(|seen| seen.locks.len()).sum());
    let locks = unit::counted(locks, "lock");
    format!("Python {}, {locks}", versions.join(" and "))
}

/// How often and how long threads waited, in a sentence.
fn waits(gil: &Gil) -> String {
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

fn endpoints(body: &mut Blocks<'_>, snapshot: &Snapshot) {
    let waited = |endpoint: &Endpoint| endpoint.phases.get(Phase::GilWait);
    let ordered = summary::endpoints_by_time(snapshot).into_iter().enumerate();
    let mut rows: Vec<(String, &Endpoint)> = ordered
        .filter(|(_, endpoint)| waited(endpoint) > 0)
        .map(|(place, endpoint)| (format!("/endpoints/{place}"), endpoint))
        .collect();
    rows.sort_by_key(|(_, endpoint)| Reverse(waited(endpoint)));
    if rows.is_empty() {
        return;
    }
    body.gap();
    let table = Rows::of("Endpoints whose requests waited for the lock", rows)
        .shrinking("endpoint", |endpoint| words(name(snapshot, endpoint)))
        .right("status", |endpoint| words(status(endpoint.status)))
        .right("requests", |endpoint| count(endpoint.count).at("count"))
        .right("gil_wait", |endpoint| duration(waited(endpoint)).at("phases/gil_wait_ns"))
        .right("of its time", |endpoint| share(waited(endpoint), endpoint.phases.total_ns()))
        .table();
    body.table(table.first(SHOWN));
}

fn threads(body: &mut Blocks<'_>, gil: &Gil) {
    body.gap();
    let table = Rows::of("Threads that waited longest for the lock", listed("/gil/threads", &gil.threads))
        .right("pid", |waiter| id(waiter.tgid))
        .right("thread", |waiter| id(waiter.tid))
        .shrinking("name", |waiter| words(&waiter.comm))
        .right("waits", |waiter| count(waiter.waits).at("waits"))
        .right("waited", |waiter| duration(waiter.total_ns).at("total_ns"))
        .right("ready, without a CPU", |waiter| duration(waiter.run_queue_ns).at("run_queue_ns"))
        .only(On::PAGE)
        .right("longest", |waiter| duration(waiter.longest_ns).at("longest_ns"))
        .table();
    let mut folded = Blocks::default();
    folded.table(table.first(SHOWN));
    body.push(On::BOTH, Block::Folded(Folded::new("Threads that waited longest", folded)));
}

/// How long each lock was held, and how threads came to it.
fn locks(body: &mut Blocks<'_>, snapshot: &Snapshot) {
    for (number, lock) in snapshot.gil.locks.iter().enumerate() {
        let held = gil_words::held(lock, snapshot.window.length_ns());
        let course = gil_words::course(lock).join("; ");
        let several = snapshot.gil.locks.iter().filter(|other| other.tgid == lock.tgid).count() > 1;
        let name = match several {
            true => format!("lock of {}, interpreter {}", lock.tgid, lock.interpreter),
            false => format!("lock of {}", lock.tgid),
        };
        let waits = unit::counted(lock.waits, "wait");
        let text =
            if course.is_empty() { format!("{held}; {waits}") } else { format!("{held}; {waits}: {course}") };
        body.entry_on(if number < SHOWN { On::BOTH } else { On::PAGE }, name, text);
    }
}
