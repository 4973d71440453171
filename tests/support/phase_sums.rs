//! Phases of many requests together.
//!
//! In: requests of one kind. Out: sums in ns, shares, and means for people.

use std::collections::BTreeMap;

use crate::trace::TracedRequest;

/// Sums over requests, in ns.
#[derive(Debug, Default)]
pub struct PhaseSums {
    /// How many.
    pub requests: u64,
    /// Their durations.
    pub total_ns: u64,
    phases: BTreeMap<String, u64>,
}

impl PhaseSums {
    /// Adds one.
    pub fn add(&mut self, request: &TracedRequest) {
        self.requests += 1;
        self.total_ns += request.total_ns;
        for (phase, ns) in &request.phases {
            *self.phases.entry(phase.clone()).or_default() += ns.unwrap_or(0);
        }
    }

    /// One phase; 0 where it was not measured.
    pub fn phase_ns(&self, phase: &str) -> u64 {
        self.phases.get(phase).copied().unwrap_or(0)
    }

    /// Its share of the durations, 0 to 1.
    pub fn share(&self, phase: &str) -> f64 {
        self.phase_ns(phase) as f64 / self.total_ns.max(1) as f64
    }

    /// A sum as the mean of a request, in ms.
    pub fn mean_ms(&self, sum_ns: u64) -> f64 {
        sum_ns as f64 / 1e6 / self.requests.max(1) as f64
    }

    /// The phases worth half a percent or more, with their means in ms.
    pub fn means(&self) -> String {
        let worth = self.phases.iter().filter(|(phase, _)| self.share(phase) > 0.005);
        let each: Vec<String> =
            worth.map(|(phase, ns)| format!("{phase} {:.1}", self.mean_ms(*ns))).collect();
        each.join(", ")
    }
}
