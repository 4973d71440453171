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
    } {
        completed: u64 = requests.completed,
        open: u64 = requests.open,
        truncated: u64 = requests.truncated,
        framing: Framing = Framing {
            exact: all.saturating_sub(not_exact),
            inferred: requests.inferred_framing,
            not_http: requests.not_http,
        },
        rate_per_second: Option<f64> = rate.and_then(rounded),
        peak_in_flight: u32 = requests.peak_in_flight,
        connections: u64 = requests.connections,
        received_bytes: u64 = requests.bytes_in,
        sent_bytes: u64 = requests.bytes_out,
        time_in_requests_ns: u64 = requests.phases.total_ns(),
        total: Latency = Latency::new(&requests.total),
        service: Latency = Latency::new(&requests.service),
        request_start: Option<RequestStarts> = RequestStarts::new(&requests.request_starts),
        standard_error: StandardError<'a> = StandardError::new(&requests.spread),
        by_status: Vec<StatusCount> = by_status,
        slowest: Vec<Request<'a>> = summary::slowest(snapshot)
            .into_iter()
            .map(|request| Request::new(request, unmeasured))
            .collect(),
    }
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
