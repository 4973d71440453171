//! `endpoints`: by the time spent in them, the remainder last.
//!
//! In: endpoints of a snapshot. Out: serialisable views of them.

use profiler_core::model::{self, Snapshot};

use super::by_worker::ByWorker;
use super::latency::Latency;
use super::phases::{PhaseTimes, Unmeasured};
use super::round_trips::RoundTrips;
use super::spread::StandardError;
use super::{non_empty, rounded, summary};

view! {
    pub(super) struct Endpoint<'a>(endpoint: &'a model::Endpoint, is_remainder: bool, window_ns: u64, unmeasured: Unmeasured) {
        is_remainder: bool = is_remainder,
        method: Option<&'a str> = non_empty(&endpoint.method).filter(|_| !is_remainder),
        path_shape: Option<&'a str> = non_empty(&endpoint.path_shape).filter(|_| !is_remainder),
        status: Option<u16> = (endpoint.status > 0 && !is_remainder).then_some(endpoint.status),
        count: u64 = endpoint.count,
        rate_per_second: Option<f64> = summary::per_second(endpoint.count, window_ns).and_then(rounded),
        received_bytes: u64 = endpoint.bytes_in,
        sent_bytes: u64 = endpoint.bytes_out,
        time_in_requests_ns: u64 = endpoint.phases.total_ns(),
        total: Latency = Latency::new(&endpoint.total),
        service: Latency = Latency::new(&endpoint.service),
        standard_error: StandardError<'a> = StandardError::new(&endpoint.spread),
        phases: PhaseTimes<'a> = PhaseTimes::new(&endpoint.phases, unmeasured),
        back_end_round_trips: Option<RoundTrips> = RoundTrips::new(&endpoint.round_trips),
        by_worker: ByWorker = ByWorker::new(&endpoint.by_worker),
    }
}

/// All endpoints, and what lies beyond the bound of their number as one more that says `is_remainder`.
pub(super) fn list(snapshot: &Snapshot) -> Vec<Endpoint<'_>> {
    let unmeasured = Unmeasured::of_snapshot(snapshot);
    let window_ns = snapshot.window.length_ns();
    let listed = summary::endpoints_by_time(snapshot).into_iter().map(|endpoint| (endpoint, false));
    let other = snapshot.by_endpoint.others.iter().map(|endpoint| (endpoint, true));
    listed
        .chain(other)
        .map(|(endpoint, is_remainder)| Endpoint::new(endpoint, is_remainder, window_ns, unmeasured))
        .collect()
}
