//! `gil`: who waited for the interpreter lock.
//!
//! In: the lock's part of a snapshot. Out: its numbers, or the reason why there are none.

use profiler_core::fact::InterpreterSeen;
use profiler_core::model::Snapshot;
use profiler_core::model::gil::{self, KNOWN_ERROR, METHOD, Waiter};
use serde::Serialize;

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
    method: &'static str,
    known_error: &'static str,
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
}

#[derive(Serialize)]
struct Edge<'a> {
    waiter: Party<'a>,
    holder: Party<'a>,
    total_ns: u64,
    waits: u64,
}

#[derive(Default, Serialize)]
struct Party<'a> {
    endpoint: Option<&'a str>,
    pid: Option<u32>,
    tid: Option<u32>,
    name: Option<&'a str>,
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
            method: METHOD,
            known_error: KNOWN_ERROR,
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
        }))
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
        }
    }
}

impl<'a> Party<'a> {
    fn new(party: &'a gil::Party) -> Self {
        match party {
            gil::Party::Endpoint(name) => Self { endpoint: Some(name), ..Self::default() },
            gil::Party::Thread { tgid, tid, comm } => {
                Self { endpoint: None, pid: Some(*tgid), tid: Some(*tid), name: non_empty(comm) }
            }
            gil::Party::Unknown => Self::default(),
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
