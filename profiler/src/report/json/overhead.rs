//! `overhead`: what the profiler itself cost.
//!
//! In: the account of it, if the stream holds one. Out: a serialisable view, with the reason where there is none.

use profiler_core::model::Snapshot;
use serde::Serialize;

use super::{rounded, summary};

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Overhead {
    NotMeasured {
        not_measured: &'static str,
    },
    Measured {
        profiler_cpu_ns: u64,
        target_cpu_ns: u64,
        bpf_run_ns: u64,
        bpf_runs: u64,
        bpf_sampled_ns: u64,
        bpf_window_ns: Option<u64>,
        total_ns: u64,
        per_request_ns: Option<u64>,
        share_of_target_cpu_ratio: Option<f64>,
    },
}

impl Overhead {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let (Some(overhead), Some(cost)) = (&snapshot.coverage.overhead, summary::cost(snapshot)) else {
            return Self::NotMeasured { not_measured: summary::OVERHEAD_NOT_MEASURED };
        };
        Self::Measured {
            profiler_cpu_ns: overhead.profiler_cpu_ns,
            target_cpu_ns: overhead.target_cpu_ns,
            bpf_run_ns: overhead.bpf_run_ns,
            bpf_runs: overhead.bpf_runs,
            bpf_sampled_ns: overhead.bpf_sampled_ns,
            bpf_window_ns: cost.bpf_window_ns,
            total_ns: cost.total_ns,
            per_request_ns: cost.per_request_ns,
            share_of_target_cpu_ratio: cost.share_of_target.and_then(rounded),
        }
    }
}
