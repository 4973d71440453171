//! `requests`: all of them in numbers, the slowest in full.
//!
//! In: the requests of a snapshot. Out: a serialisable view of them.

use profiler_core::model::Snapshot;
use serde::Serialize;

use super::latency::Latency;
use super::request::{Request, Unmeasured};
use super::request_start::RequestStarts;
use super::spread::StandardError;
use super::{rounded, summary};

view! {
    pub(super) struct Requests<'a>(snapshot: &'a Snapshot) with {
        let requests = &snapshot.requests;
        let all = requests.completed.saturating_add(requests.open.count);
        let not_exact = requests.inferred_framing.saturating_add(requests.not_http);
        let is_line_measured = summary::is_line_measured(snapshot);
        let in_line = summary::in_line(snapshot);
        let rate = summary::per_second(requests.completed, snapshot.window.length_ns());
        let unmeasured = Unmeasured::of_snapshot(snapshot);
        let mut by_status: Vec<StatusCount> = requests
            .by_status
            .iter()
            .map(|(status, count)| StatusCount { status: (*status > 0).then_some(*status), count: *count })
            .collect();
        by_status.sort_by_key(|entry| entry.status);
    } {
        /// Requests that ended inside the window.
        completed: u64 = requests.completed,
        /// Requests still open at its end.
        open: u64 = requests.open.count,
        /// For how long the longest of these had been open, in ns; null: there is none.
        open_longest_ns: Option<u64> = (requests.open.count > 0).then_some(requests.open.longest_ns),
        /// Those of them that nobody served yet; null: not measured.
        in_line: Option<u64> = is_line_measured.then_some(in_line),
        /// For how long the first of those had waited, in ns; null: there is none, or not known.
        in_line_longest_ns: Option<u64> =
            (is_line_measured && in_line > 0).then_some(requests.open.in_line.longest_ns),
        /// For how long the longest of those that were served had been open, in ns; null: as above.
        served_longest_ns: Option<u64> =
            (is_line_measured && requests.open.served_longest_ns > 0).then_some(requests.open.served_longest_ns),
        /// Of all: those whose beginning was not seen.
        truncated: u64 = requests.truncated,
        /// Requests by how their limits were found.
        framing: Framing = Framing {
            exact: all.saturating_sub(not_exact),
            inferred: requests.inferred_framing,
            not_http: requests.not_http,
        },
        /// Completed requests per second of the window; null if it has no length.
        rate_per_second: Option<f64> = rate.and_then(rounded),
        /// Largest number of requests in flight at one moment.
        peak_in_flight: u32 = requests.peak_in_flight,
        /// Client connections seen.
        connections: u64 = requests.connections,
        /// Bytes received, heads and bodies.
        received_bytes: u64 = requests.bytes_in,
        /// Bytes sent.
        sent_bytes: u64 = requests.bytes_out,
        /// Time of all requests, open ones included: the sum of all phases, in ns.
        time_in_requests_ns: u64 = requests.phases.total_ns(),
        /// Total time of completed requests whose beginning was seen.
        total: Latency = Latency::new(&requests.total),
        /// Service time of the same requests.
        service: Latency = Latency::new(&requests.service),
        /// How long requests were on their way before the server, by their X-Request-Start; null where none
        /// has one.
        request_start: Option<RequestStarts> = RequestStarts::new(&requests.request_starts),
        /// How far the means over these requests can be trusted.
        standard_error: StandardError<'a> = StandardError::new(&requests.spread),
        /// Completed requests by status code.
        by_status: Vec<StatusCount> = by_status,
        /// The slowest requests, slowest first.
        slowest: Vec<Request<'a>> = summary::slowest(snapshot)
            .into_iter()
            .map(|request| Request::new(request, unmeasured))
            .collect(),
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Framing {
    /// By RFC 9112.
    exact: u64,
    /// From the turns of traffic.
    inferred: u64,
    /// What is exchanged is not HTTP.
    not_http: u64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct StatusCount {
    /// Status code; null: none was seen.
    status: Option<u16>,
    /// Requests.
    count: u64,
}
