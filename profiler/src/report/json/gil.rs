//! `gil`: who waited for the interpreter lock.
//!
//! In: the lock's part of a snapshot. Out: its numbers; nothing where it was not measured.

use profiler_core::fact::{GilFile, InterpreterSeen};
use profiler_core::model::Snapshot;
use profiler_core::model::gil::{self, Waiter};
use profiler_core::model::gil_method::GilMethodUsed;
use serde::Serialize;

use super::gil_contender::{Contender, known};
use super::gil_place::Places;
use super::latency::Latency;
use super::non_empty;

view! {
    pub(super) struct Gil<'a>(gil: &'a gil::Gil) {
        wanted: &'a str = &gil.method.wanted,
        method: &'static str = gil.method.method(),
        known_error: &'static str = gil.method.known_error(),
        files: Vec<File<'a>> = gil.method.files.iter().map(File::new).collect(),
        probe_hits: u64 = gil.method.probe_hits,
        attempts: Option<u64> = attempts(&gil.method),
        interpreters: Vec<Interpreter<'a>> = gil.interpreters.iter().map(Interpreter::new).collect(),
        waits: Latency = Latency::new(&gil.waits),
        run_queue_ns: u64 = gil.run_queue_ns,
        past_interval: u64 = gil.past_interval,
        sleeps: u64 = gil.sleeps,
        waiting_threads: u64 = gil.thread_count,
        threads: Vec<Thread<'a>> = gil.threads.iter().map(Thread::new).collect(),
        has_holders: bool = gil.holders_known,
        edges: Vec<Edge<'a>> = gil.edges.iter().map(Edge::new).collect(),
        other_edges_ns: u64 = gil.other_edges_ns,
        thread_edges: Vec<ThreadEdge<'a>> = gil.thread_edges.iter().map(ThreadEdge::new).collect(),
        other_thread_edges_ns: u64 = gil.other_thread_edges_ns,
        locks: Vec<Lock> = gil.locks.iter().map(Lock::new).collect(),
        places: Option<Places<'a>> = gil.places.as_ref().map(Places::new),
    }
}

view! {
    struct ThreadEdge<'a>(edge: &'a gil::ThreadEdge) with {
        let named = |(tid, name): &'a (u32, String)| Named { tid: known(*tid), name: non_empty(name) };
    } {
        pid: u32 = edge.tgid,
        waiter: Named<'a> = named(&edge.waiter),
        holder: Named<'a> = named(&edge.holder),
        total_ns: u64 = edge.total_ns,
        waits: u64 = edge.waits,
    }
}

#[derive(Serialize)]
struct Named<'a> {
    tid: Option<u32>,
    name: Option<&'a str>,
}

view! {
    struct Lock(lock: &gil::Lock) with {
        let is_seen = !lock.is_between_unseen;
        let is_asked_known = lock.asked.switches_known && lock.asked.ends_unknown == 0;
    } {
        pid: u32 = lock.tgid,
        interpreter: u64 = lock.interpreter,
        switch_interval_ns: u64 = lock.interval_us.saturating_mul(1000),
        waits: u64 = lock.waits,
        wait_ns: u64 = lock.wait_ns,
        run_queue_ns: u64 = lock.run_queue_ns,
        held_at_least_ns: u64 = lock.held_at_least_ns,
        held_at_most_ns: Option<u64> = lock.held_at_most_ns,
        after_forced_release: Option<u64> = is_seen.then_some(lock.after_forced),
        after_voluntary_release: Option<u64> = is_seen.then_some(lock.after_voluntary),
        timed_out: u64 = lock.asked.timed_out,
        drop_not_honoured: Option<u64> = is_asked_known.then_some(lock.asked.not_honoured),
        drop_not_honoured_ns: Option<u64> = is_asked_known.then_some(lock.asked.not_honoured_ns),
        woken: u64 = lock.overtaken.woken,
        missed: Option<u64> = is_seen.then_some(lock.overtaken.missed),
        missed_ns: Option<u64> = is_seen.then_some(lock.overtaken.missed_ns),
        missed_in_a_row: Option<[u64; gil::DEPTHS]> = is_seen.then_some(lock.overtaken.depths),
        missed_in_a_row_max: Option<u32> = is_seen.then_some(lock.overtaken.deepest),
        cycles: [u64; 5] = lock.cycles,
        convoy: Option<Convoy> = lock.convoy.map(Convoy::new),
    }
}

view! {
    struct Convoy(convoy: gil::Convoy) {
        per_interval_ratio: f64 = convoy.q,
        fit_ratio: f64 = convoy.r2,
        waits: u64 = convoy.waits,
    }
}

view! {
    struct File<'a>(file: &'a GilFile) {
        file: &'a str = &file.file,
        method: &'a str = &file.method,
        reason: &'a str = &file.reason,
        probes: u32 = file.probes,
        stepped: u32 = file.stepped,
    }
}

view! {
    struct Edge<'a>(edge: &'a gil::Edge) {
        waiter: Contender<'a> = Contender::new(&edge.waiter),
        holder: Contender<'a> = Contender::new(&edge.holder),
        total_ns: u64 = edge.total_ns,
        waits: u64 = edge.waits,
        drop_not_honoured_ns: u64 = edge.not_honoured_ns,
    }
}

view! {
    struct Interpreter<'a>(seen: &'a InterpreterSeen) {
        pid: u32 = seen.tgid,
        version: Option<&'a str> = seen.version.as_deref(),
        file: Option<&'a str> = non_empty(&seen.file),
        locks: usize = seen.locks.len(),
        switch_interval_ns: Option<u64> = seen.locks.first().map(|lock| lock.interval_us.saturating_mul(1000)),
        is_free_threaded: bool = seen.free_threaded,
    }
}

view! {
    struct Thread<'a>(waiter: &'a Waiter) {
        pid: u32 = waiter.tgid,
        tid: u32 = waiter.tid,
        name: Option<&'a str> = non_empty(&waiter.comm),
        waits: u64 = waiter.waits,
        total_ns: u64 = waiter.total_ns,
        run_queue_ns: u64 = waiter.run_queue_ns,
        longest_ns: u64 = waiter.longest_ns,
    }
}

/// Begun attempts to take the lock; nothing unless they are counted, which is done for the method `full`
/// alone.
fn attempts(method: &GilMethodUsed) -> Option<u64> {
    let is_counted = method.attempts > 0 || method.files.iter().any(|file| file.method == "full");
    is_counted.then_some(method.attempts)
}

/// Nothing where the lock was not measured.
pub(super) fn of(snapshot: &Snapshot) -> Option<Box<Gil<'_>>> {
    let gil = &snapshot.gil;
    gil.not_measured.is_none().then(|| Box::new(Gil::new(gil)))
}
