//! `endpoints`: by the time spent in them, the remainder last.
//!
//! In: endpoints of a snapshot. Out: serialisable views of them.

use profiler_core::model::{self, Snapshot};
use serde::Serialize;

use super::by_worker::ByWorker;
use super::latency::Latency;
use super::phases::{PhaseTimes, Unmeasured};
use super::round_trips::RoundTrips;
use super::spread::StandardError;
use super::{non_empty, rounded, summary};

#[derive(Serialize)]
pub(super) struct Endpoint<'a> {
    other: bool,
    method: Option<&'a str>,
    path_shape: Option<&'a str>,
    status: Option<u16>,
    count: u64,
    rate_per_second: Option<f64>,
    bytes_in: u64,
    bytes_out: u64,
    time_in_requests_ns: u64,
    total: Latency,
    service: Latency,
    standard_error: StandardError<'a>,
    phases: PhaseTimes<'a>,
    back_end_round_trips: Option<RoundTrips>,
    by_worker: ByWorker,
}

/// All endpoints, and what lies beyond the bound of their number as one more that says `other`.
pub(super) fn list(snapshot: &Snapshot) -> Vec<Endpoint<'_>> {
    let unmeasured = Unmeasured::of_snapshot(snapshot);
    let window_ns = snapshot.window.length_ns();
    let listed = summary::endpoints_by_time(snapshot).into_iter().map(|endpoint| (endpoint, false));
    let other = snapshot.by_endpoint.others.iter().map(|endpoint| (endpoint, true));
    listed.chain(other).map(|(endpoint, other)| view(endpoint, other, window_ns, unmeasured)).collect()
}

fn view(endpoint: &model::Endpoint, other: bool, window_ns: u64, unmeasured: Unmeasured) -> Endpoint<'_> {
    Endpoint {
        other,
        method: non_empty(&endpoint.method).filter(|_| !other),
        path_shape: non_empty(&endpoint.path_shape).filter(|_| !other),
        status: (endpoint.status > 0 && !other).then_some(endpoint.status),
        count: endpoint.count,
        rate_per_second: summary::per_second(endpoint.count, window_ns).and_then(rounded),
        bytes_in: endpoint.bytes_in,
        bytes_out: endpoint.bytes_out,
        time_in_requests_ns: endpoint.phases.total_ns(),
        total: Latency::new(&endpoint.total),
        service: Latency::new(&endpoint.service),
        standard_error: StandardError::new(&endpoint.spread),
        phases: PhaseTimes::new(&endpoint.phases, unmeasured),
        back_end_round_trips: RoundTrips::new(&endpoint.round_trips),
        by_worker: ByWorker::new(&endpoint.by_worker),
    }
}
