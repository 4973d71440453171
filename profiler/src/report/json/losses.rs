//! `losses`: everything that did not reach the numbers, and how well the conservation laws held.
//!
//! In: losses and conservation of a snapshot. Out: serialisable views of them.

use profiler_core::model::{self, Snapshot};
use serde::Serialize;

view! {
    pub(super) struct Losses<'a>(snapshot: &'a Snapshot) with {
        let losses = &snapshot.coverage.losses;
        let laws = &snapshot.coverage.conservation;
    } {
        /// Nothing was lost: false means that figures below may be too small.
        is_complete: bool = !losses.any(),
        /// Losses of the kernel programs, by cause.
        kernel_lost: Vec<NamedCount<'a>> = named(&losses.kernel.lost),
        /// Runs that the kernel skipped because a program was running on that CPU already, by program.
        recursion_misses: Vec<NamedCount<'a>> = named(&losses.kernel.recursion_misses),
        /// Waits whose end was not seen: how much of each was sleep and how much run queue is undecided.
        /// Nothing is lost by them.
        undecided_waits: u64 = losses.undecided_waits,
        /// Records that could not be decoded.
        malformed: u64 = losses.malformed,
        /// Records that came too late to be ordered and were left out.
        late: u64 = losses.late,
        /// Events missing by their sequence numbers.
        sequence_holes: u64 = losses.sequence_holes,
        /// How often something was not kept because its table was full. Each table holds something else: it
        /// says that something is missing, not how much.
        evicted: u64 = losses.evicted,
        /// How often an event loop was about more requests than are remembered. Nothing is lost by that, more
        /// time is unexplained.
        crowded: u64 = losses.crowded,
        /// Transitions that should be impossible, by name.
        impossible: Vec<NamedCount<'a>> = named(&losses.impossible),
        /// Bytes of the recording that could not be read.
        unreadable_bytes: u64 = losses.unreadable_bytes,
        /// Records and facts in readable parts of the recording that could not be read.
        unreadable_items: u64 = losses.unreadable_items,
        /// Records and facts that the recording's end counts and that were not read, whatever the reason; 0
        /// where it has no end.
        missing_items: u64 = losses.missing_items,
        /// The recording ended before the window did.
        is_recording_truncated: bool = losses.recording_truncated,
        /// How well the conservation laws held.
        conservation: Conservation<'a> = Conservation::new(laws, &losses.kernel.emitted),
    }
}

/// A count with a name.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct NamedCount<'a> {
    /// What was counted.
    name: &'a str,
    /// How many.
    count: u64,
}

view! {
    struct Conservation<'a>(laws: &model::Conservation, emitted: &'a [(String, u64)]) {
        /// Events (a thread from one system call to the next) whose account was checked.
        slices: u64 = laws.slices,
        /// Of them: those whose parts did not add up.
        slices_broken: u64 = laws.slices_broken,
        /// Requests whose phases did not add up.
        requests_broken: u64 = laws.requests_broken,
        /// Threads compared with the kernel's own account.
        threads_compared: u64 = laws.threads_compared,
        /// On-CPU time of those threads by our account, in ns.
        cpu_ns: u64 = laws.cpu_ns,
        /// The same by schedstat, in ns.
        kernel_cpu_ns: u64 = laws.kernel_cpu_ns,
        /// Run-queue time of those threads by our account, in ns.
        run_queue_ns: u64 = laws.run_queue_ns,
        /// The same by schedstat, in ns.
        kernel_run_queue_ns: u64 = laws.kernel_run_queue_ns,
        /// Sleeps by our account, in ns, whose end was not seen: some part of each may have been run queue or
        /// time on a CPU.
        undecided_ns: u64 = laws.undecided_ns,
        /// CPU time in ns that a hypervisor took meanwhile (in ticks of 10 ms): schedstat may count that much
        /// less CPU than we do.
        stolen_ns: u64 = laws.stolen_ns,
        /// Time in ns of interrupts meanwhile, where the kernel takes it out of its tasks' CPU time (in ticks
        /// of 10 ms): as stolen_ns.
        interrupt_ns: u64 = laws.interrupt_ns,
        /// Records handed to the ring by the kernel side; 0: the stream holds no counters.
        emitted: u64 = laws.emitted,
        /// Records received.
        received: u64 = laws.received,
        /// Records handed to the ring, by kind.
        emitted_by_kind: Vec<NamedCount<'a>> = named(emitted),
    }
}

fn named(counts: &[(String, u64)]) -> Vec<NamedCount<'_>> {
    counts.iter().map(|(name, count)| NamedCount { name, count: *count }).collect()
}
