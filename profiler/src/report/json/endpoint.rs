//! `endpoints`: by the time spent in them, the remainder last.
//!
//! In: endpoints of a snapshot. Out: serialisable views of them.

use profiler_core::model::{self, Snapshot};

use super::by_worker::ByWorker;
use super::lasting::Open;
use super::latency::Latency;
use super::phases::{PhaseTimes, Unmeasured};
use super::round_trips::RoundTrips;
use super::spread::StandardError;
use super::{non_empty, rounded, summary};

view! {
    pub(super) struct Endpoint<'a>(endpoint: &'a model::Endpoint, is_remainder: bool, window_ns: u64, unmeasured: Unmeasured) {
        /// This is the remainder: the endpoints beyond the bound, added up.
        is_remainder: bool = is_remainder,
        /// Method; null for what is not HTTP and for the remainder.
        method: Option<&'a str> = non_empty(&endpoint.method).filter(|_| !is_remainder),
        /// Path with numeric and UUID segments folded; null as for method.
        path_shape: Option<&'a str> = non_empty(&endpoint.path_shape).filter(|_| !is_remainder),
        /// Status code; null: none seen, or the remainder.
        status: Option<u16> = (endpoint.status > 0 && !is_remainder).then_some(endpoint.status),
        /// Requests that ended in the window.
        count: u64 = endpoint.count,
        /// Further ones, which had not ended with it.
        open: Open = Open::new(&endpoint.open),
        /// Requests per second of the window.
        rate_per_second: Option<f64> = summary::per_second(endpoint.count, window_ns).and_then(rounded),
        /// Bytes received.
        received_bytes: u64 = endpoint.bytes_in,
        /// Bytes sent.
        sent_bytes: u64 = endpoint.bytes_out,
        /// Time of its requests that ended: the sum of its phases, in ns.
        time_in_requests_ns: u64 = endpoint.phases.total_ns(),
        /// Total time.
        total: Latency = Latency::new(&endpoint.total),
        /// Service time.
        service: Latency = Latency::new(&endpoint.service),
        /// How far the means over these requests can be trusted.
        standard_error: StandardError<'a> = StandardError::new(&endpoint.spread),
        /// Where its time went.
        phases: PhaseTimes<'a> = PhaseTimes::new(&endpoint.phases, unmeasured),
        /// Round trips of its requests to back ends.
        back_end_round_trips: Option<RoundTrips> = RoundTrips::new(&endpoint.round_trips),
        /// The processes that served it, by requests that were seen from their beginning.
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
