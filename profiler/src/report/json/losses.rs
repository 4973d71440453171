//! `losses`: everything that did not reach the numbers, and how well the conservation laws held.
//!
//! In: losses and conservation of a snapshot. Out: serialisable views of them.

use profiler_core::model::losses::LossCount;
use profiler_core::model::{self, Snapshot};
use serde::{Serialize, Serializer};

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
        #[serde(flatten)]
        #[cfg_attr(test, schemars(schema_with = "super::schema::losses_of_the_run"))]
        of_the_run: Counts<'a> = Counts(losses, LossCount::OF_THE_RUN),
        /// Transitions that should be impossible, by name.
        impossible: Vec<NamedCount<'a>> = named(&losses.impossible),
        #[serde(flatten)]
        #[cfg_attr(test, schemars(schema_with = "super::schema::losses_of_the_recording"))]
        of_the_recording: Counts<'a> = Counts(losses, LossCount::OF_THE_RECORDING),
        /// The recording ended before the window did.
        is_recording_truncated: bool = losses.recording_truncated,
        /// How well the conservation laws held.
        conservation: Conservation<'a> = Conservation::new(laws, &losses.kernel.emitted),
    }
}

/// Some of the counts, each by its key.
struct Counts<'a>(&'a model::Losses, &'static [LossCount]);

impl Serialize for Counts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(losses, counts) = self;
        serializer.collect_map(counts.iter().map(|count| (count.key, (count.of)(losses))))
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
