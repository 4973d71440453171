//! What is asked of the servers: mixes of requests, and how much of them.
//!
//! In: nothing. Out: [`WORKLOADS`], [`LOADS`].

use std::time::Duration;
use wsgi_trace_tests::open_load::Due;

/// A mix of requests.
#[derive(Debug)]
pub(crate) struct Workload {
    /// Name in tables.
    pub(crate) name: &'static str,
    /// Paths of `apps/demo_app.py`, with the weight of each.
    pub(crate) mix: &'static [(&'static str, f64)],
    /// CPU time of a request in the mean, in ms: that of its steps and about a millisecond of the server.
    pub(crate) cpu_ms: f64,
    /// The parameters of the model were fixed on these; the others judge it.
    pub(crate) is_for_fixing: bool,
}

/// All.
pub(crate) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "cpu",
        mix: &[("/steps/c2", 0.8), ("/steps/c4", 0.15), ("/steps/c40", 0.05)],
        cpu_ms: 5.2,
        is_for_fixing: true,
    },
    Workload { name: "back-end", mix: &[("/steps/c1b8c1", 1.0)], cpu_ms: 3.5, is_for_fixing: true },
    Workload {
        name: "mixed",
        mix: &[("/steps/c2", 0.6), ("/steps/c1b15c2", 0.35), ("/steps/b60c20", 0.05)],
        cpu_ms: 4.5,
        is_for_fixing: false,
    },
    Workload {
        name: "asleep",
        mix: &[("/steps/c3", 0.5), ("/steps/c1s20", 0.5)],
        cpu_ms: 3.0,
        is_for_fixing: false,
    },
];

/// Load in percent of one core, at which requests come.
pub(crate) const LOADS: &[u32] = &[40, 60, 85];

impl Workload {
    /// Arrivals at such a load for so long.
    pub(crate) fn arrivals(&self, percent: u32, length: Duration, seed: u64) -> Vec<Due> {
        let rate_per_s = f64::from(percent) / 100.0 * 1000.0 / self.cpu_ms;
        wsgi_trace_tests::open_load::poisson(seed, rate_per_s, length, self.mix)
    }
}
