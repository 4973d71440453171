//! `listeners` and `processes`.
//!
//! In: listeners, processes and threads of a snapshot. Out: serialisable views of them.

use profiler_core::fact::ListenerWakes;
use profiler_core::model;
use serde::Serialize;

use super::latency::Latency;
use super::queue::Queue;
use super::waiting::{AcceptedBy, BesideFree, ForeignHolder, Waiters};
use crate::report::summary::Exit;

view! {
    pub(super) struct Listener<'a>(listener: &'a model::Listener) with {
        let seen = &listener.seen;
        let seen_calls = !listener.is_queue_alone;
    } {
        address: &'a str = &seen.address,
        family: &'a str = &seen.family,
        port: Option<u16> = (seen.port > 0).then_some(seen.port),
        inode: u64 = seen.inode,
        backlog: Option<u32> = (seen.backlog > 0).then_some(seen.backlog),
        holders: &'a [u32] = &listener.holders,
        foreign_holders: Vec<ForeignHolder<'a>> = listener
            .foreign
            .iter()
            .map(|(pid, comm)| ForeignHolder { pid: *pid, comm })
            .collect(),
        is_closed: bool = listener.is_closed,
        accepted: Option<u64> = seen_calls.then_some(listener.accepted),
        accepts_empty: Option<u64> = seen_calls.then_some(listener.accepts_empty),
        accepts_failed: Option<u64> = seen_calls.then_some(listener.accepts_failed),
        accept_wait: Option<Latency> = seen_calls.then(|| Latency::new(&listener.accept_wait)),
        empty_returns: Option<u64> = seen_calls.then_some(listener.empty_returns),
        empty_returns_cpu_ns: Option<u64> = seen_calls.then_some(listener.empty_returns_cpu_ns),
        wakes: Option<Wakes> = listener
            .wakes
            .map(|wakes| Wakes::new(wakes, listener.woken_per_connection())),
        queue: Option<Queue> = listener.queue.as_ref().map(|queue| Queue::new(queue, seen_calls)),
        is_deferred: bool = listener.is_deferred,
        woken: Option<Woken> = listener.woken.as_ref().map(Woken::new),
        waiters: Vec<Waiters> = listener.waiters.iter().map(Waiters::new).collect(),
        accepted_by: Vec<AcceptedBy> = listener
            .accepted_by
            .iter()
            .map(|&(pid, accepted)| AcceptedBy { pid, accepted })
            .collect(),
        beside_free: Option<BesideFree> = listener.beside_free.as_ref().map(BesideFree::new),
        siblings: u32 = listener.siblings,
    }
}

view! {
    /// What arrivals set in motion.
    struct Wakes(wakes: ListenerWakes, woken_per_connection: Option<f64>) {
        arrivals: u64 = wakes.arrivals,
        woken: u64 = wakes.woken,
        woken_per_connection: Option<f64> = woken_per_connection,
        slept_again: u64 = wakes.slept_again,
        slept_again_cpu_ns: u64 = wakes.slept_again_cpu_ns,
        slept_again_run_queue_ns: u64 = wakes.slept_again_run_queue_ns,
    }
}

view! {
    /// What became of the threads that they woke.
    struct Woken(woken: &model::wake::Woken) {
        accepted: u64 = woken.accepted,
        slept_again: u64 = woken.slept_again,
        found_nothing: u64 = woken.found_nothing,
        did_not_accept: u64 = woken.did_not_accept,
        wasted: u64 = woken.in_vain(),
        wasted_cpu_ns: u64 = woken.losers.cpu_ns,
        wasted_run_queue_ns: u64 = woken.losers.run_queue_ns,
        wasted_switches: u64 = woken.losers_switches,
        until_running: Latency = Latency::new(&woken.until_running),
    }
}

view! {
    pub(super) struct Process<'a>(process: &'a model::Process) with {
        let exit = process.exit_code.map(|code| match Exit::from_kernel(code) {
            Exit::Status(status) => ExitView { status: Some(status), signal: None },
            Exit::Signal(signal) => ExitView { status: None, signal: Some(signal) },
        });
        let sum = |value: fn(&model::Thread) -> u64| {
            process.threads.iter().map(value).fold(0, u64::saturating_add)
        };
    } {
        pid: u32 = process.tgid,
        parent_pid: u32 = process.parent_tgid,
        comm: &'a str = &process.comm,
        role: &'a str = &process.role,
        exit: Option<ExitView> = exit,
        requests: u64 = process.requests,
        cpu_ns: u64 = sum(|thread| thread.cpu_ns),
        run_queue_ns: u64 = sum(|thread| thread.run_queue_ns),
        blocked_ns: u64 = sum(|thread| thread.blocked_ns),
        threads: Vec<Thread<'a>> = process.threads.iter().map(Thread::new).collect(),
    }
}

#[derive(Serialize)]
struct ExitView {
    status: Option<i64>,
    signal: Option<i64>,
}

view! {
    struct Thread<'a>(thread: &'a model::Thread) {
        tid: u32 = thread.tid,
        comm: &'a str = &thread.comm,
        slices: u64 = thread.slices,
        requests: u64 = thread.requests,
        cpu_ns: u64 = thread.cpu_ns,
        run_queue_ns: u64 = thread.run_queue_ns,
        blocked_ns: u64 = thread.blocked_ns,
    }
}
