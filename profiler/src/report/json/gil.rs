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
        /// How waits were to be seen, as --gil has it: auto, syscalls, uprobes, full or off; in light mode
        /// sleeps.
        wanted: &'a str = &gil.method.wanted,
        /// How waits are seen.
        method: &'static str = gil.method.method(),
        /// What the method is known to miss.
        known_error: &'static str = gil.method.known_error(),
        /// How it is done in each file with an interpreter.
        files: Vec<File<'a>> = gil.method.files.iter().map(File::new).collect(),
        /// How often traced threads hit these probes in the window; 0 without probes.
        probe_hits: u64 = gil.method.probe_hits,
        /// How often threads began to take the lock, whether they had to wait or not; null unless --gil=full.
        attempts: Option<u64> = attempts(&gil.method),
        /// The interpreter of each process, by process.
        interpreters: Vec<Interpreter<'a>> = gil.interpreters.iter().map(Interpreter::new).collect(),
        /// Waits, each from its first sleep's start to its last sleep's end.
        waits: Latency = Latency::new(&gil.waits),
        /// The part of the waits in which the waiter was ready but had no CPU, in ns.
        run_queue_ns: u64 = gil.run_queue_ns,
        /// Waits longer than the switch interval.
        past_interval: u64 = gil.past_interval,
        /// Sleeps that the waits consisted of.
        sleeps: u64 = gil.sleeps,
        /// Threads that waited at all.
        waiting_threads: u64 = gil.thread_count,
        /// The threads that waited longest, longest first.
        threads: Vec<Thread<'a>> = gil.threads.iter().map(Thread::new).collect(),
        /// Whether the holder of the lock was read at each wait, in one process at least.
        has_holders: bool = gil.holders_known,
        /// Who made whom wait, costliest first, bounded.
        edges: Vec<Edge<'a>> = gil.edges.iter().map(Edge::new).collect(),
        /// Time of the pairs that are not listed, in ns.
        other_edges_ns: u64 = gil.other_edges_ns,
        /// The same by threads, costliest first, bounded.
        thread_edges: Vec<ThreadEdge<'a>> = gil.thread_edges.iter().map(ThreadEdge::new).collect(),
        /// Time of the pairs of threads that are not listed, in ns.
        other_thread_edges_ns: u64 = gil.other_thread_edges_ns,
        /// Each lock that was waited for, the one that was waited for longest first, bounded.
        locks: Vec<Lock> = gil.locks.iter().map(Lock::new).collect(),
        /// Where in Python the holders were while others waited (--stacks); null: nobody asked. Samples taken
        /// as waits begin, weighed with their length.
        places: Option<Places<'a>> = gil.places.as_ref().map(Places::new),
    }
}

view! {
    struct ThreadEdge<'a>(edge: &'a gil::ThreadEdge) with {
        let named = |(tid, name): &'a (u32, String)| NamedThread { tid: known(*tid), name: non_empty(name) };
    } {
        /// Process.
        pid: u32 = edge.tgid,
        /// Who waited.
        waiter: NamedThread<'a> = named(&edge.waiter),
        /// Who had the lock when the waiter went to sleep.
        holder: NamedThread<'a> = named(&edge.holder),
        /// Time waited, run queue included, in ns.
        total_ns: u64 = edge.total_ns,
        /// Stretches of waiting that it consists of.
        waits: u64 = edge.waits,
    }
}

/// A thread; null: not known.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct NamedThread<'a> {
    /// Thread; null: not known.
    tid: Option<u32>,
    /// Name; null: not known.
    name: Option<&'a str>,
}

view! {
    struct Lock(lock: &gil::Lock) with {
        let is_seen = !lock.is_between_unseen;
        let is_asked_known = lock.asked.switches_known && lock.asked.ends_unknown == 0;
    } {
        /// Process.
        pid: u32 = lock.tgid,
        /// Number of the interpreter, 0: the main one.
        interpreter: u64 = lock.interpreter,
        /// Switch interval, as read from the interpreter, in ns.
        switch_interval_ns: u64 = lock.interval_us.saturating_mul(1000),
        /// Waits that ended in the window.
        waits: u64 = lock.waits,
        /// Their sum, run queue included, in ns.
        wait_ns: u64 = lock.wait_ns,
        /// The part of it in which the waiter was ready but had no CPU, in ns.
        run_queue_ns: u64 = lock.run_queue_ns,
        /// Time in which somebody waited, so that another held the lock, in ns.
        held_at_least_ns: u64 = lock.held_at_least_ns,
        /// Time in which threads of the process had or wanted a CPU for anything but this wait, in ns. The
        /// lock was held no longer, unless by a thread that slept. Not above the window; null where the
        /// process has several locks.
        held_at_most_ns: Option<u64> = lock.held_at_most_ns,
        /// Waits of threads that had been made to give the lock up because others asked for it; null: not
        /// known, as in light mode.
        after_forced_release: Option<u64> = is_seen.then_some(lock.after_forced),
        /// Waits of threads that had given it up by themselves, for a call that blocks; null: not known, as
        /// in light mode.
        after_voluntary_release: Option<u64> = is_seen.then_some(lock.after_voluntary),
        /// Sleeps that the switch interval ended; the waiter then asks the holder to give the lock up.
        timed_out: u64 = lock.asked.timed_out,
        /// Requests to give the lock up after which the holder kept it for longer than another switch
        /// interval; null: not known.
        drop_not_honoured: Option<u64> = is_asked_known.then_some(lock.asked.not_honoured),
        /// For how long it kept it since, in all, in ns; null: not known.
        drop_not_honoured_ns: Option<u64> = is_asked_known.then_some(lock.asked.not_honoured_ns),
        /// Sleeps that a release ended.
        woken: u64 = lock.overtaken.woken,
        /// Of those: another thread had the lock before the woken one came to it; null: not known, as in
        /// light mode.
        missed: Option<u64> = is_seen.then_some(lock.overtaken.missed),
        /// Time waited after that, in ns; null: not known, as in light mode.
        missed_ns: Option<u64> = is_seen.then_some(lock.overtaken.missed_ns),
        /// Waits by how often they were passed over like that, from 0. The last counts all that were more
        /// often. null: not known, as in light mode.
        missed_in_a_row: Option<[u64; gil::DEPTHS]> = is_seen.then_some(lock.overtaken.depths),
        /// The most often that one wait was passed over; null: not known, as in light mode.
        missed_in_a_row_max: Option<u32> = is_seen.then_some(lock.overtaken.deepest),
        /// Waits by how many switch intervals they took, in the bands of mod_wsgi-telemetry: below 0.8, to
        /// 1.8, to 2.8, to 3.8, more.
        cycles: [u64; 5] = lock.cycles,
        /// The contention coefficient by mod_wsgi-telemetry's definition; null: too few waits, or they do not
        /// fall as it supposes.
        convoy: Option<Convoy> = lock.convoy.map(Convoy::new),
    }
}

view! {
    struct Convoy(convoy: gil::Convoy) {
        /// How probable it is that a waiter gets the lock within one more switch interval (q).
        #[cfg_attr(test, schemars(range(max = 1)))]
        per_interval_ratio: f64 = convoy.q,
        /// How well the waits fit (r²), at most 1; below 0 they do not.
        fit_ratio: f64 = convoy.r2,
        /// Waits that it rests on.
        waits: u64 = convoy.waits,
    }
}

view! {
    struct File<'a>(file: &'a GilFile) {
        /// Base name of the file.
        file: &'a str = &file.file,
        /// syscalls, uprobes or full.
        method: &'a str = &file.method,
        /// Why, as a clause.
        reason: &'a str = &file.reason,
        /// Probes attached to it.
        probes: u32 = file.probes,
        /// Those of them that the kernel must single-step.
        stepped: u32 = file.stepped,
    }
}

view! {
    struct Edge<'a>(edge: &'a gil::Edge) {
        /// Who waited.
        waiter: Contender<'a> = Contender::new(&edge.waiter),
        /// Who had the lock when the waiter went to sleep.
        holder: Contender<'a> = Contender::new(&edge.holder),
        /// Time waited, run queue included, in ns.
        total_ns: u64 = edge.total_ns,
        /// Stretches of waiting that it consists of.
        waits: u64 = edge.waits,
        /// The part of it in which the holder had been asked to give the lock up, for longer than the switch
        /// interval, in ns.
        drop_not_honoured_ns: u64 = edge.not_honoured_ns,
    }
}

view! {
    struct Interpreter<'a>(seen: &'a InterpreterSeen) {
        /// Process.
        pid: u32 = seen.tgid,
        /// Version of Python; null: not known, or no Python.
        version: Option<&'a str> = seen.version.as_deref(),
        /// Base name of the mapped file that holds the interpreter; null: none does.
        file: Option<&'a str> = non_empty(&seen.file),
        /// Interpreter locks that are watched.
        locks: usize = seen.locks.len(),
        /// Switch interval of the first of them, in ns; null where there is none.
        switch_interval_ns: Option<u64> = seen.locks.first().map(|lock| lock.interval_us.saturating_mul(1000)),
        /// A build that can run without interpreter lock.
        is_free_threaded: bool = seen.free_threaded,
    }
}

view! {
    struct Thread<'a>(waiter: &'a Waiter) {
        /// Process.
        pid: u32 = waiter.tgid,
        /// Thread.
        tid: u32 = waiter.tid,
        /// Name; null: not known.
        name: Option<&'a str> = non_empty(&waiter.comm),
        /// Waits.
        waits: u64 = waiter.waits,
        /// Their sum in ns.
        total_ns: u64 = waiter.total_ns,
        /// The part of it in which the thread was ready but had no CPU, in ns.
        run_queue_ns: u64 = waiter.run_queue_ns,
        /// The longest in ns.
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
