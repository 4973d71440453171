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
        is_complete: bool = !losses.any(),
        kernel_lost: Vec<Named<'a>> = named(&losses.kernel.lost),
        recursion_misses: Vec<Named<'a>> = named(&losses.kernel.recursion_misses),
        undecided_waits: u64 = losses.undecided_waits,
        malformed: u64 = losses.malformed,
        late: u64 = losses.late,
        sequence_holes: u64 = losses.sequence_holes,
        evicted: u64 = losses.evicted,
        crowded: u64 = losses.crowded,
        impossible: Vec<Named<'a>> = named(&losses.impossible),
        unreadable_bytes: u64 = losses.unreadable_bytes,
        unreadable_items: u64 = losses.unreadable_items,
        missing_items: u64 = losses.missing_items,
        is_recording_truncated: bool = losses.recording_truncated,
        conservation: Conservation<'a> = Conservation::new(laws, &losses.kernel.emitted),
    }
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    count: u64,
}

view! {
    struct Conservation<'a>(laws: &model::Conservation, emitted: &'a [(String, u64)]) {
        slices: u64 = laws.slices,
        slices_broken: u64 = laws.slices_broken,
        requests_broken: u64 = laws.requests_broken,
        threads_compared: u64 = laws.threads_compared,
        cpu_ns: u64 = laws.cpu_ns,
        kernel_cpu_ns: u64 = laws.kernel_cpu_ns,
        run_queue_ns: u64 = laws.run_queue_ns,
        kernel_run_queue_ns: u64 = laws.kernel_run_queue_ns,
        undecided_ns: u64 = laws.undecided_ns,
        stolen_ns: u64 = laws.stolen_ns,
        interrupt_ns: u64 = laws.interrupt_ns,
        emitted: u64 = laws.emitted,
        received: u64 = laws.received,
        emitted_by_kind: Vec<Named<'a>> = named(emitted),
    }
}

fn named(counts: &[(String, u64)]) -> Vec<Named<'_>> {
    counts.iter().map(|(name, count)| Named { name, count: *count }).collect()
}
