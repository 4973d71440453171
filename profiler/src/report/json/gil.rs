//! `gil`: who waited for the interpreter lock.
//!
//! In: the lock's part of a snapshot. Out: its numbers, or the reason why there are none.

use profiler_core::fact::{GilFile, InterpreterSeen};
use profiler_core::model::Snapshot;
use profiler_core::model::gil::{self, Waiter};
use serde::Serialize;

use super::gil_party::{Party, known};
use super::gil_place::Places;
use super::latency::Latency;
use super::non_empty;

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Gil<'a> {
    Measured(Box<Measured<'a>>),
    NotMeasured { not_measured: &'a str },
}

#[derive(Serialize)]
pub(super) struct Measured<'a> {
    wanted: &'a str,
    method: &'static str,
    known_error: &'static str,
    files: Vec<File<'a>>,
    probe_hits: u64,
    attempts: u64,
    interpreters: Vec<Interpreter<'a>>,
    waits: Latency,
    run_queue_ns: u64,
    past_interval: u64,
    sleeps: u64,
    waiting_threads: u64,
    threads: Vec<Thread<'a>>,
    holders_known: bool,
    edges: Vec<Edge<'a>>,
    other_edges_ns: u64,
    thread_edges: Vec<ThreadEdge<'a>>,
    other_thread_edges_ns: u64,
    locks: Vec<Lock>,
    places: Option<Places<'a>>,
}

#[derive(Serialize)]
struct ThreadEdge<'a> {
    pid: u32,
    waiter: Named<'a>,
    holder: Named<'a>,
    total_ns: u64,
    waits: u64,
}

#[derive(Serialize)]
struct Named<'a> {
    tid: Option<u32>,
    name: Option<&'a str>,
}

impl<'a> ThreadEdge<'a> {
    fn new(edge: &'a gil::ThreadEdge) -> Self {
        let named = |(tid, name): &'a (u32, String)| Named { tid: known(*tid), name: non_empty(name) };
        Self {
            pid: edge.tgid,
            waiter: named(&edge.waiter),
            holder: named(&edge.holder),
            total_ns: edge.total_ns,
            waits: edge.waits,
        }
    }
}

#[derive(Serialize)]
struct Lock {
    pid: u32,
    interpreter: u64,
    switch_interval_ns: u64,
    waits: u64,
    wait_ns: u64,
    run_queue_ns: u64,
    held_at_least_ns: u64,
    held_at_most_ns: Option<u64>,
    after_forced_release: u64,
    after_voluntary_release: u64,
    timed_out: u64,
    drop_not_honoured: Option<u64>,
    drop_not_honoured_ns: Option<u64>,
    woken: u64,
    missed: u64,
    missed_ns: u64,
    missed_in_a_row: [u64; gil::DEPTHS],
    missed_in_a_row_max: u32,
    cycles: [u64; 5],
    convoy: Option<Convoy>,
}

#[derive(Serialize)]
struct Convoy {
    q: f64,
    r2: f64,
    waits: u64,
}

impl Lock {
    fn new(lock: &gil::Lock) -> Self {
        Self {
            pid: lock.tgid,
            interpreter: lock.interpreter,
            switch_interval_ns: lock.interval_us.saturating_mul(1000),
            waits: lock.waits,
            wait_ns: lock.wait_ns,
            run_queue_ns: lock.run_queue_ns,
            held_at_least_ns: lock.held_at_least_ns,
            held_at_most_ns: lock.held_at_most_ns,
            after_forced_release: lock.after_forced,
            after_voluntary_release: lock.after_voluntary,
            timed_out: lock.asked.timed_out,
            drop_not_honoured: lock.asked.switches_known.then_some(lock.asked.not_honoured),
            drop_not_honoured_ns: lock.asked.switches_known.then_some(lock.asked.not_honoured_ns),
            woken: lock.overtaken.woken,
            missed: lock.overtaken.missed,
            missed_ns: lock.overtaken.missed_ns,
            missed_in_a_row: lock.overtaken.depths,
            missed_in_a_row_max: lock.overtaken.deepest,
            cycles: lock.cycles,
            convoy: lock.convoy.map(|convoy| Convoy { q: convoy.q, r2: convoy.r2, waits: convoy.waits }),
        }
    }
}

#[derive(Serialize)]
struct File<'a> {
    file: &'a str,
    method: &'a str,
    reason: &'a str,
    probes: u32,
    stepped: u32,
}

#[derive(Serialize)]
struct Edge<'a> {
    waiter: Party<'a>,
    holder: Party<'a>,
    total_ns: u64,
    waits: u64,
    drop_not_honoured_ns: u64,
}

#[derive(Serialize)]
struct Interpreter<'a> {
    pid: u32,
    version: Option<&'a str>,
    file: Option<&'a str>,
    locks: usize,
    switch_interval_ns: Option<u64>,
    free_threaded: bool,
    not_measured: Option<&'a str>,
}

#[derive(Serialize)]
struct Thread<'a> {
    pid: u32,
    tid: u32,
    name: Option<&'a str>,
    waits: u64,
    total_ns: u64,
    run_queue_ns: u64,
    longest_ns: u64,
}

impl<'a> Gil<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let gil = &snapshot.gil;
        if let Some(reason) = &gil.not_measured {
            return Self::NotMeasured { not_measured: reason };
        }
        Self::Measured(Box::new(Measured {
            wanted: &gil.method.wanted,
            method: gil.method.method(),
            known_error: gil.method.known_error(),
            files: gil.method.files.iter().map(File::new).collect(),
            probe_hits: gil.method.probe_hits,
            attempts: gil.method.attempts,
            interpreters: gil.interpreters.iter().map(Interpreter::new).collect(),
            waits: Latency::new(&gil.waits),
            run_queue_ns: gil.run_queue_ns,
            past_interval: gil.past_interval,
            sleeps: gil.sleeps,
            waiting_threads: gil.thread_count,
            threads: gil.threads.iter().map(Thread::new).collect(),
            holders_known: gil.holders_known,
            edges: gil.edges.iter().map(Edge::new).collect(),
            other_edges_ns: gil.other_edges_ns,
            thread_edges: gil.thread_edges.iter().map(ThreadEdge::new).collect(),
            other_thread_edges_ns: gil.other_thread_edges_ns,
            locks: gil.locks.iter().map(Lock::new).collect(),
            places: gil.places.as_ref().map(Places::new),
        }))
    }
}

impl<'a> File<'a> {
    fn new(file: &'a GilFile) -> Self {
        Self {
            file: &file.file,
            method: &file.method,
            reason: &file.reason,
            probes: file.probes,
            stepped: file.stepped,
        }
    }
}

impl<'a> Interpreter<'a> {
    fn new(seen: &'a InterpreterSeen) -> Self {
        Self {
            pid: seen.tgid,
            version: seen.version.as_deref(),
            file: non_empty(&seen.file),
            locks: seen.locks.len(),
            switch_interval_ns: seen.locks.first().map(|lock| lock.interval_us.saturating_mul(1000)),
            free_threaded: seen.free_threaded,
            not_measured: seen.refused.as_deref(),
        }
    }
}

impl<'a> Edge<'a> {
    fn new(edge: &'a gil::Edge) -> Self {
        Self {
            waiter: Party::new(&edge.waiter),
            holder: Party::new(&edge.holder),
            total_ns: edge.total_ns,
            waits: edge.waits,
            drop_not_honoured_ns: edge.not_honoured_ns,
        }
    }
}

impl<'a> Thread<'a> {
    fn new(waiter: &'a Waiter) -> Self {
        Self {
            pid: waiter.tgid,
            tid: waiter.tid,
            name: non_empty(&waiter.comm),
            waits: waiter.waits,
            total_ns: waiter.total_ns,
            run_queue_ns: waiter.run_queue_ns,
            longest_ns: waiter.longest_ns,
        }
    }
}
