//! `losses`: everything that did not reach the numbers, and how well the conservation laws held.
//!
//! In: losses and conservation of a snapshot. Out: serialisable views of them.

use profiler_core::model::Snapshot;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Losses<'a> {
    complete: bool,
    kernel_lost: Vec<Named<'a>>,
    recursion_misses: Vec<Named<'a>>,
    undecided_waits: u64,
    malformed: u64,
    late: u64,
    sequence_holes: u64,
    evicted: u64,
    impossible: Vec<Named<'a>>,
    unreadable_bytes: u64,
    recording_truncated: bool,
    conservation: Conservation<'a>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    count: u64,
}

#[derive(Serialize)]
struct Conservation<'a> {
    slices: u64,
    slices_broken: u64,
    requests_broken: u64,
    threads_compared: u64,
    cpu_ns: u64,
    kernel_cpu_ns: u64,
    run_queue_ns: u64,
    kernel_run_queue_ns: u64,
    undecided_ns: u64,
    stolen_ns: u64,
    interrupt_ns: u64,
    emitted: u64,
    received: u64,
    emitted_by_kind: Vec<Named<'a>>,
}

fn named(counts: &[(String, u64)]) -> Vec<Named<'_>> {
    counts.iter().map(|(name, count)| Named { name, count: *count }).collect()
}

impl<'a> Losses<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let losses = &snapshot.coverage.losses;
        let laws = &snapshot.coverage.conservation;
        Self {
            complete: !losses.any(),
            kernel_lost: named(&losses.kernel.lost),
            recursion_misses: named(&losses.kernel.recursion_misses),
            undecided_waits: losses.undecided_waits,
            malformed: losses.malformed,
            late: losses.late,
            sequence_holes: losses.sequence_holes,
            evicted: losses.evicted,
            impossible: named(&losses.impossible),
            unreadable_bytes: losses.unreadable_bytes,
            recording_truncated: losses.recording_truncated,
            conservation: Conservation {
                slices: laws.slices,
                slices_broken: laws.slices_broken,
                requests_broken: laws.requests_broken,
                threads_compared: laws.threads_compared,
                cpu_ns: laws.cpu_ns,
                kernel_cpu_ns: laws.kernel_cpu_ns,
                run_queue_ns: laws.run_queue_ns,
                kernel_run_queue_ns: laws.kernel_run_queue_ns,
                undecided_ns: laws.undecided_ns,
                stolen_ns: laws.stolen_ns,
                interrupt_ns: laws.interrupt_ns,
                emitted: laws.emitted,
                received: laws.received,
                emitted_by_kind: named(&losses.kernel.emitted),
            },
        }
    }
}
