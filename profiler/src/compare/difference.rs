//! What two runs differ in: the whole, phase by phase, endpoint by endpoint, finding by finding, setting by
//! setting.
//!
//! In: what [`judge`](super::judge) found. Out: a [`Difference`], which can be written as JSON.

use serde::Serialize;

use super::capacity::CapacityChange;
use super::comparable::Doubt;
use super::statistics::Change;

/// What two runs differ in.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Version of this document.
    pub diff_schema_version: &'static str,
    /// What is to be said first.
    pub verdict: String,
    /// The runs can be compared as a whole.
    pub comparable: bool,
    /// Why not, or not quite.
    pub doubts: Vec<Doubt>,
    /// Confidence of the intervals of a family together.
    pub confidence_ratio: f64,
    /// Settings of the server that differ.
    pub settings: Vec<SettingChange>,
    /// What there was of capacity, and what was used.
    pub capacity: CapacityChange,
    /// Completed requests and their rate.
    pub requests: Counts,
    /// Mean length of a request in ns.
    pub total_ns: Change,
    /// Mean time of a request in each phase in ns, the largest change first. Only phases that both measured.
    pub phases_ns: Vec<PhaseChange>,
    /// Phases that only one of the runs measured.
    pub phases_not_compared: Vec<String>,
    /// Endpoints of both, by what their change costs.
    pub endpoints: Vec<EndpointChange>,
    /// Endpoints that only one of the runs has.
    pub endpoints_of_one: Vec<EndpointOfOne>,
    /// Findings whose answer or cost differs.
    pub findings: Vec<FindingChange>,
}

/// Numbers of requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Counts {
    /// Completed in A and B.
    pub completed: [u64; 2],
    /// Per second.
    pub rate_per_second: [Option<f64>; 2],
    /// Longest usual: 99th percentile of the length in ns (no confidence is given for it).
    pub p99_ns: [Option<u64>; 2],
    /// From a front end's stamp (`X-Request-Start`) to the first byte at the server's socket, in ns: the
    /// median. No part of the length.
    pub before_p50_ns: [Option<u64>; 2],
    /// From a front end's stamp to the first byte at the server's socket, in ns: the 99th percentile.
    pub before_p99_ns: [Option<u64>; 2],
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingChange {
    /// Name.
    pub name: String,
    /// Value in A; `None`: not known.
    pub a: Option<String>,
    /// Value in B.
    pub b: Option<String>,
}

/// A phase.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseChange {
    /// Name.
    pub phase: String,
    /// Mean per request in ns.
    #[serde(flatten)]
    pub change: Change,
}

/// An endpoint of both runs.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointChange {
    /// `GET /a 200`. Hostile input.
    pub endpoint: String,
    /// Requests in A and B.
    pub count: [u64; 2],
    /// Mean length in ns.
    pub total_ns: Change,
    /// Medians in ns (no confidence is given for them).
    pub p50_ns: [Option<u64>; 2],
    /// 99th percentiles in ns (no confidence is given for them).
    pub p99_ns: [Option<u64>; 2],
    /// The phase that changed most, and by how much in ns per request.
    pub mostly: Option<(String, f64)>,
    /// Difference × requests of B: what the change cost, or saved, in request-seconds of B.
    pub cost_request_seconds: f64,
}

/// An endpoint of one run only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointOfOne {
    /// `GET /a 200`. Hostile input.
    pub endpoint: String,
    /// `A` or `B`.
    pub run: &'static str,
    /// Requests there.
    pub count: u64,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FindingChange {
    /// Its id.
    pub id: String,
    /// `new`, `gone`, `still`, `undecided`.
    pub what: &'static str,
    /// Answers in A and B.
    pub answers: [String; 2],
    /// Cost in request-seconds for each second of the window, in A and B.
    pub cost_rate: [f64; 2],
    /// What B says of it (A, where it is gone).
    pub sentence: String,
}
