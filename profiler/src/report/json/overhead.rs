//! `overhead`: what the profiler itself cost.
//!
//! In: the account of it. Out: a serialisable view; nothing where the stream holds no account.

use profiler_core::fact;
use profiler_core::model::Snapshot;

use super::{rounded, summary};

view! {
    pub(super) struct Overhead(overhead: &fact::Overhead, cost: summary::Cost) {
        profiler_cpu_ns: u64 = overhead.profiler_cpu_ns,
        target_cpu_ns: u64 = overhead.target_cpu_ns,
        bpf_run_ns: u64 = overhead.bpf_run_ns,
        bpf_runs: u64 = overhead.bpf_runs,
        bpf_sampled_ns: u64 = overhead.bpf_sampled_ns,
        bpf_window_ns: Option<u64> = cost.bpf_window_ns,
        total_ns: u64 = cost.total_ns,
        per_request_ns: Option<u64> = cost.per_request_ns,
        share_of_target_cpu_ratio: Option<f64> = cost.share_of_target.and_then(rounded),
    }
}

/// Nothing where the stream holds no account.
pub(super) fn of(snapshot: &Snapshot) -> Option<Overhead> {
    Some(Overhead::new(snapshot.coverage.overhead.as_ref()?, summary::cost(snapshot)?))
}
