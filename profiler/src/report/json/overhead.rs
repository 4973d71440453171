//! `overhead`: what the profiler itself cost.
//!
//! In: the account of it. Out: a serialisable view; nothing where the stream holds no account.

use profiler_core::fact;
use profiler_core::model::Snapshot;

use super::{rounded, summary};

view! {
    pub(super) struct Overhead(overhead: &fact::Overhead, cost: summary::Cost) {
        /// CPU of the profiler's process in the window, in ns.
        profiler_cpu_ns: u64 = overhead.profiler_cpu_ns,
        /// CPU of the target's threads in the window, in ns.
        target_cpu_ns: u64 = overhead.target_cpu_ns,
        /// Run time of the kernel programs in the sampled part, in ns, machine-wide.
        bpf_run_ns: u64 = overhead.bpf_run_ns,
        /// Runs of the kernel programs in the sampled part.
        bpf_runs: u64 = overhead.bpf_runs,
        /// Length of the sampled part in ns; 0: not sampled.
        bpf_sampled_ns: u64 = overhead.bpf_sampled_ns,
        /// bpf_run_ns scaled to the whole window, in ns; null: not sampled.
        bpf_window_ns: Option<u64> = cost.bpf_window_ns,
        /// profiler_cpu_ns and bpf_window_ns together.
        total_ns: u64 = cost.total_ns,
        /// total_ns per completed request; null if there was none.
        per_request_ns: Option<u64> = cost.per_request_ns,
        /// total_ns by target_cpu_ns; null if that is 0.
        share_of_target_cpu_ratio: Option<f64> = cost.share_of_target.and_then(rounded),
    }
}

/// Nothing where the stream holds no account.
pub(super) fn of(snapshot: &Snapshot) -> Option<Overhead> {
    Some(Overhead::new(snapshot.coverage.overhead.as_ref()?, summary::cost(snapshot)?))
}
