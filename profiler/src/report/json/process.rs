//! `listeners` and `processes`.
//!
//! In: listeners, processes and threads of a snapshot. Out: serialisable views of them.

use profiler_core::model;
use serde::Serialize;

use super::latency::Latency;
use super::queue::Queue;
use super::waiting::{AcceptedBy, BesideFree, ForeignHolder, Waiters};
use crate::report::summary::Exit;

#[derive(Serialize)]
pub(super) struct Listener<'a> {
    address: &'a str,
    family: &'a str,
    port: Option<u16>,
    inode: u64,
    backlog: Option<u32>,
    holders: &'a [u32],
    foreign_holders: Vec<ForeignHolder<'a>>,
    is_closed: bool,
    accepted: u64,
    accepts_empty: u64,
    accepts_failed: u64,
    accept_wait: Latency,
    empty_returns: u64,
    empty_returns_cpu_ns: u64,
    wakes: Option<Wakes>,
    queue: Option<Queue>,
    is_deferred: bool,
    woken: Option<Woken>,
    waiters: Vec<Waiters>,
    accepted_by: Vec<AcceptedBy>,
    beside_free: Option<BesideFree>,
    siblings: u32,
}

/// What arrivals set in motion.
#[derive(Serialize)]
struct Wakes {
    arrivals: u64,
    woken: u64,
    woken_per_connection: Option<f64>,
    slept_again: u64,
    slept_again_cpu_ns: u64,
    slept_again_run_queue_ns: u64,
}

/// What became of the threads that they woke.
#[derive(Serialize)]
struct Woken {
    accepted: u64,
    slept_again: u64,
    found_nothing: u64,
    did_not_accept: u64,
    in_vain: u64,
    in_vain_cpu_ns: u64,
    in_vain_run_queue_ns: u64,
    in_vain_switches: u64,
    until_running: Latency,
}

impl Woken {
    fn new(woken: &model::wake::Woken) -> Self {
        Self {
            accepted: woken.accepted,
            slept_again: woken.slept_again,
            found_nothing: woken.found_nothing,
            did_not_accept: woken.did_not_accept,
            in_vain: woken.in_vain(),
            in_vain_cpu_ns: woken.losers.cpu_ns,
            in_vain_run_queue_ns: woken.losers.run_queue_ns,
            in_vain_switches: woken.losers_switches,
            until_running: Latency::new(&woken.until_running),
        }
    }
}

impl<'a> Listener<'a> {
    pub(super) fn new(listener: &'a model::Listener) -> Self {
        let seen = &listener.seen;
        Self {
            address: &seen.address,
            family: &seen.family,
            port: (seen.port > 0).then_some(seen.port),
            inode: seen.inode,
            backlog: (seen.backlog > 0).then_some(seen.backlog),
            holders: &listener.holders,
            foreign_holders: listener
                .foreign
                .iter()
                .map(|(pid, comm)| ForeignHolder { pid: *pid, comm })
                .collect(),
            is_closed: listener.is_closed,
            accepted: listener.accepted,
            accepts_empty: listener.accepts_empty,
            accepts_failed: listener.accepts_failed,
            accept_wait: Latency::new(&listener.accept_wait),
            empty_returns: listener.empty_returns,
            empty_returns_cpu_ns: listener.empty_returns_cpu_ns,
            wakes: listener.wakes.map(|wakes| Wakes {
                arrivals: wakes.arrivals,
                woken: wakes.woken,
                woken_per_connection: listener.woken_per_connection(),
                slept_again: wakes.slept_again,
                slept_again_cpu_ns: wakes.slept_again_cpu_ns,
                slept_again_run_queue_ns: wakes.slept_again_run_queue_ns,
            }),
            queue: listener.queue.as_ref().map(Queue::new),
            is_deferred: listener.is_deferred,
            woken: listener.woken.as_ref().map(Woken::new),
            waiters: listener.waiters.iter().map(Waiters::new).collect(),
            beside_free: listener.beside_free.as_ref().map(BesideFree::new),
            siblings: listener.siblings,
            accepted_by: listener
                .accepted_by
                .iter()
                .map(|&(pid, accepted)| AcceptedBy { pid, accepted })
                .collect(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Process<'a> {
    pid: u32,
    parent_pid: u32,
    comm: &'a str,
    role: &'a str,
    exit: Option<ExitView>,
    requests: u64,
    cpu_ns: u64,
    run_queue_ns: u64,
    blocked_ns: u64,
    threads: Vec<Thread<'a>>,
}

#[derive(Serialize)]
struct ExitView {
    status: Option<i64>,
    signal: Option<i64>,
}

#[derive(Serialize)]
struct Thread<'a> {
    tid: u32,
    comm: &'a str,
    slices: u64,
    requests: u64,
    cpu_ns: u64,
    run_queue_ns: u64,
    blocked_ns: u64,
}

impl<'a> Process<'a> {
    pub(super) fn new(process: &'a model::Process) -> Self {
        let exit = process.exit_code.map(|code| match Exit::from_kernel(code) {
            Exit::Status(status) => ExitView { status: Some(status), signal: None },
            Exit::Signal(signal) => ExitView { status: None, signal: Some(signal) },
        });
        let sum = |value: fn(&model::Thread) -> u64| process.threads.iter().map(value).sum();
        Self {
            pid: process.tgid,
            parent_pid: process.parent_tgid,
            comm: &process.comm,
            role: &process.role,
            exit,
            requests: process.requests,
            cpu_ns: sum(|thread| thread.cpu_ns),
            run_queue_ns: sum(|thread| thread.run_queue_ns),
            blocked_ns: sum(|thread| thread.blocked_ns),
            threads: process.threads.iter().map(view).collect(),
        }
    }
}

fn view(thread: &model::Thread) -> Thread<'_> {
    Thread {
        tid: thread.tid,
        comm: &thread.comm,
        slices: thread.slices,
        requests: thread.requests,
        cpu_ns: thread.cpu_ns,
        run_queue_ns: thread.run_queue_ns,
        blocked_ns: thread.blocked_ns,
    }
}
