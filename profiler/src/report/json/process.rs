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
        /// 127.0.0.1:8000, [::]:8000 or a path.
        address: &'a str = &seen.address,
        /// tcp, tcp6 or unix.
        family: &'a str = &seen.family,
        /// Port; null for UNIX sockets.
        port: Option<u16> = (seen.port > 0).then_some(seen.port),
        /// Inode: the same in all processes that inherited it.
        inode: u64 = seen.inode,
        /// Limit of the accept queue in connections; null: not known.
        backlog: Option<u32> = (seen.backlog > 0).then_some(seen.backlog),
        /// Processes that hold it.
        holders: &'a [u32] = &listener.holders,
        /// Processes that are not traced and hold it too, as far as this user may look. What they accept, and
        /// who of them is woken, is not in these numbers.
        foreign_holders: Vec<ForeignHolder<'a>> = listener
            .foreign
            .iter()
            .map(|(pid, comm)| ForeignHolder { pid: *pid, comm })
            .collect(),
        /// No process of the target held it any more when the window ended.
        is_closed: bool = listener.is_closed,
        /// Connections accepted in the window; null: not measured.
        accepted: Option<u64> = seen_calls.then_some(listener.accepted),
        /// Accept calls that found nothing; null: not measured.
        accepts_empty: Option<u64> = seen_calls.then_some(listener.accepts_empty),
        /// Accept calls that failed otherwise; null: not measured.
        accepts_failed: Option<u64> = seen_calls.then_some(listener.accepts_failed),
        /// From the end of the handshake (with deferred accept: from the first data) to the return of accept,
        /// of connections whose handshake was seen; null: not measured.
        accept_wait: Option<Latency> = seen_calls.then(|| Latency::new(&listener.accept_wait)),
        /// Waits that returned for nothing: the first accept after them found nothing; null: not measured.
        empty_returns: Option<u64> = seen_calls.then_some(listener.empty_returns),
        /// On-CPU time of these from the wait's return to the next wait, in ns; null: not measured.
        empty_returns_cpu_ns: Option<u64> = seen_calls.then_some(listener.empty_returns_cpu_ns),
        /// What arriving connections set in motion; null: not measured.
        wakes: Option<Wakes> = listener
            .wakes
            .map(|wakes| Wakes::new(wakes, listener.woken_per_connection())),
        /// Accept queue over the window; null: the kernel does not tell.
        queue: Option<Queue> = listener.queue.as_ref().map(|queue| Queue::new(queue, seen_calls)),
        /// It holds connections back until their first data come (TCP_DEFER_ACCEPT): their wait for accept
        /// begins only then.
        is_deferred: bool = listener.is_deferred,
        /// Threads of the server that connections woke, by what they got; outcomes that became known in the
        /// window. Null: nobody was woken, or it is not known.
        woken: Option<Woken> = listener.woken.as_ref().map(Woken::new),
        /// Who waits for it; empty: nobody was seen to.
        waiters: Vec<Waiters> = listener.waiters.iter().map(Waiters::new).collect(),
        /// Connections by process, of those that accepted or wait.
        accepted_by: Vec<AcceptedBy> = listener
            .accepted_by
            .iter()
            .map(|&(pid, accepted)| AcceptedBy { pid, accepted })
            .collect(),
        /// Connections whose first request ended in the window and had waited for a slot of the process that
        /// accepted them. All of its slots were busy, although another process at this listener had a free
        /// one. null: no two processes accept here.
        beside_free: Option<BesideFree> = listener.beside_free.as_ref().map(BesideFree::new),
        /// Further listeners on the same address (SO_REUSEPORT), each with a queue of its own.
        siblings: u32 = listener.siblings,
    }
}

view! {
    /// What arrivals set in motion.
    struct Wakes(wakes: ListenerWakes, woken_per_connection: Option<f64>) {
        /// Connections that the kernel announced to this listener in the window.
        arrivals: u64 = wakes.arrivals,
        /// Threads of the server that these announcements woke, in accept, poll, select or epoll.
        woken: u64 = wakes.woken,
        /// woken by arrivals; null: no connection arrived.
        woken_per_connection: Option<f64> = woken_per_connection,
        /// Of those woken: found nothing and went back to sleep without leaving the kernel.
        slept_again: u64 = wakes.slept_again,
        /// On-CPU time of these, from wake-up to sleep, in ns.
        slept_again_cpu_ns: u64 = wakes.slept_again_cpu_ns,
        /// Run-queue time of these, from wake-up to sleep, in ns.
        slept_again_run_queue_ns: u64 = wakes.slept_again_run_queue_ns,
    }
}

view! {
    /// What became of the threads that they woke.
    struct Woken(woken: &model::wake::Woken) {
        /// They accepted a connection.
        accepted: u64 = woken.accepted,
        /// They slept again inside the call, without leaving the kernel.
        slept_again: u64 = woken.slept_again,
        /// Their wait returned, and their first accept found nothing.
        found_nothing: u64 = woken.found_nothing,
        /// Their wait returned, and they slept again without having called accept, or accept failed
        /// otherwise.
        did_not_accept: u64 = woken.did_not_accept,
        /// slept_again, found_nothing and did_not_accept together.
        wasted: u64 = woken.in_vain(),
        /// On-CPU time of these from wake-up to sleep, or to the wait's return, in ns.
        wasted_cpu_ns: u64 = woken.losers.cpu_ns,
        /// Run-queue time of these over the same stretch, in ns.
        wasted_run_queue_ns: u64 = woken.losers.run_queue_ns,
        /// Context switches: how often one of these got a CPU.
        wasted_switches: u64 = woken.losers_switches,
        /// From wake-up to running, of those that accepted; one that was not asleep yet or lost its CPU on
        /// the way is left out.
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
        /// Process.
        pid: u32 = process.tgid,
        /// Its parent.
        parent_pid: u32 = process.parent_tgid,
        /// Its name.
        comm: &'a str = &process.comm,
        /// master, worker or unknown.
        role: &'a str = &process.role,
        /// How it ended within the window; null: it did not.
        exit: Option<ExitView> = exit,
        /// Requests served.
        requests: u64 = process.requests,
        /// On-CPU time of its threads in the window, in ns.
        cpu_ns: u64 = sum(|thread| thread.cpu_ns),
        /// Run-queue time of its threads, in ns.
        run_queue_ns: u64 = sum(|thread| thread.run_queue_ns),
        /// Sleep of its threads, in ns.
        blocked_ns: u64 = sum(|thread| thread.blocked_ns),
        /// Its threads.
        threads: Vec<Thread<'a>> = process.threads.iter().map(Thread::new).collect(),
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ExitView {
    /// Exit status; null if a signal ended it.
    #[cfg_attr(test, schemars(range(min = 0)))]
    status: Option<i64>,
    /// Signal that ended it; null if it ended by itself.
    #[cfg_attr(test, schemars(range(min = 0)))]
    signal: Option<i64>,
}

view! {
    struct Thread<'a>(thread: &'a model::Thread) {
        /// Thread.
        tid: u32 = thread.tid,
        /// Its name.
        comm: &'a str = &thread.comm,
        /// Events seen: from one system call to the next.
        slices: u64 = thread.slices,
        /// Requests served.
        requests: u64 = thread.requests,
        /// On-CPU time in the window, in ns.
        cpu_ns: u64 = thread.cpu_ns,
        /// Run-queue time, in ns.
        run_queue_ns: u64 = thread.run_queue_ns,
        /// Sleep, in ns.
        blocked_ns: u64 = thread.blocked_ns,
    }
}
