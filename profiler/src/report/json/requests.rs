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

#[derive(Serialize)]
pub(super) struct Requests<'a> {
    completed: u64,
    open: u64,
    truncated: u64,
    framing: Framing,
    rate_per_second: Option<f64>,
    peak_in_flight: u32,
    connections: u64,
    bytes_in: u64,
    bytes_out: u64,
    time_in_requests_ns: u64,
    total: Latency,
    service: Latency,
    request_start: Option<RequestStarts>,
    standard_error: StandardError<'a>,
    by_status: Vec<StatusCount>,
    slowest: Vec<Request<'a>>,
}

#[derive(Serialize)]
struct Framing {
    exact: u64,
    inferred: u64,
    not_http: u64,
}

#[derive(Serialize)]
struct StatusCount {
    status: Option<u16>,
    count: u64,
}

impl<'a> Requests<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let requests = &snapshot.requests;
        let all = requests.completed.saturating_add(requests.open);
        let not_exact = requests.inferred_framing.saturating_add(requests.not_http);
        let rate = summary::per_second(requests.completed, snapshot.window.length_ns());
        let unmeasured = Unmeasured::of_snapshot(snapshot);
        let mut by_status: Vec<StatusCount> = requests
            .by_status
            .iter()
            .map(|(status, count)| StatusCount { status: (*status > 0).then_some(*status), count: *count })
            .collect();
        by_status.sort_by_key(|entry| entry.status);
        Self {
            completed: requests.completed,
            open: requests.open,
            truncated: requests.truncated,
            framing: Framing {
                exact: all.saturating_sub(not_exact),
                inferred: requests.inferred_framing,
                not_http: requests.not_http,
            },
            rate_per_second: rate.and_then(rounded),
            peak_in_flight: requests.peak_in_flight,
            connections: requests.connections,
            bytes_in: requests.bytes_in,
            bytes_out: requests.bytes_out,
            time_in_requests_ns: requests.phases.total_ns(),
            total: Latency::new(&requests.total),
            service: Latency::new(&requests.service),
            request_start: RequestStarts::new(&requests.request_starts),
            standard_error: StandardError::new(&requests.spread),
            by_status,
            slowest: summary::slowest(snapshot)
                .into_iter()
                .map(|request| Request::new(request, unmeasured))
                .collect(),
        }
    }
}
