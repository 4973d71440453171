//! Finished requests, counted since the agent began.
//!
//! In: requests as they come to their end, each once. Out: counts, durations and phases by endpoint; a
//! bounded number of endpoints, the rest together.

use profiler_core::model::request::Request;
use std::collections::BTreeMap;

use profiler_core::model::path_shape::path_shape;
use profiler_core::model::request_start::RequestStart;
use profiler_core::phase::Phases;

use super::buckets::Buckets;
use super::newest::Newest;
use crate::report::escape::{self, Charset};

/// Endpoints distinguished; what comes later is `other`.
pub const MAX_ENDPOINTS: usize = 100;
/// Status codes distinguished for one endpoint; what comes later is `other`.
const MAX_STATUSES: usize = 16;
/// Longest label, in columns.
const LONGEST_LABEL: usize = 120;
/// Label of what is beyond a bound.
pub const OTHER: &str = "other";

/// Requests of one endpoint.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    /// By status: as text, empty where no status was seen.
    pub by_status: BTreeMap<String, u64>,
    /// From arrival to last byte, where the arrival was seen.
    pub duration: Buckets,
    /// Where their time went.
    pub phases: Phases,
}

/// Counts of all requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By method and path shape, as labels: safe to show.
    pub endpoints: BTreeMap<(String, String), Endpoint>,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// From a front end's stamp to the first byte, where a request has one that is believed.
    pub since_request_start: Buckets,
    /// Stamps that are not, by reason: `not_a_time`, `ahead`, `too_old`.
    pub refused_request_starts: BTreeMap<&'static str, u64>,
    /// For the page.
    pub newest: Newest,
}

impl Tally {
    /// Counts a request that is finished.
    pub fn add(&mut self, request: &Request) {
        self.newest.add(request);
        self.bytes_in = self.bytes_in.saturating_add(request.http.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(request.http.bytes_out);
        self.add_request_start(request.http.request_start);

        let mut key = (label(&request.http.method), label(&path_shape(&request.http.path)));
        if self.endpoints.len() >= MAX_ENDPOINTS && !self.endpoints.contains_key(&key) {
            key = (OTHER.to_owned(), OTHER.to_owned());
        }
        let endpoint = self.endpoints.entry(key).or_default();
        let mut status =
            if request.http.status == 0 { String::new() } else { request.http.status.to_string() };
        if endpoint.by_status.len() >= MAX_STATUSES && !endpoint.by_status.contains_key(&status) {
            OTHER.clone_into(&mut status);
        }
        let count = endpoint.by_status.entry(status).or_default();
        *count = count.saturating_add(1);
        endpoint.phases.add_all(&request.phases);
        if !request.seen.truncated {
            endpoint.duration.record(request.total_ns());
        }
    }

    fn add_request_start(&mut self, start: RequestStart) {
        let reason = match start {
            RequestStart::Unknown => return,
            RequestStart::Passed { before_ns, .. } => return self.since_request_start.record(before_ns),
            RequestStart::NotATime => "not_a_time",
            RequestStart::Ahead => "ahead",
            RequestStart::TooOld => "too_old",
        };
        let count = self.refused_request_starts.entry(reason).or_default();
        *count = count.saturating_add(1);
    }
}

/// Hostile text as a label: one line, of bounded width, with everything that is not plain made visible.
pub fn label(text: &str) -> String {
    escape::line(text, LONGEST_LABEL, Charset::Unicode)
}

#[cfg(test)]
mod tests {
    use profiler_core::model::request::{Http, OnGil, Seen, Times};

    use super::*;
    use crate::agent::newest::MAX_NEWEST;

    fn request(method: &str, path: &str, status: u16) -> Request {
        Request {
            id: 0,
            connection: 0,
            index_on_connection: 0,
            tgid: 1,
            tid: 1,
            slot: None,
            phases: Phases::default(),
            stretches: Vec::new(),
            round_trips: profiler_core::model::round_trips::RoundTrips::default(),
            times: Times { start_ns: 1, start_is_arrival: true, end_ns: 2, ..Times::default() },
            http: Http {
                method: method.to_owned(),
                path: path.to_owned(),
                status,
                bytes_in: 1,
                bytes_out: 2,
                ..Http::default()
            },
            gil: OnGil::default(),
            seen: Seen::default(),
        }
    }

    #[test]
    fn million_shapes_and_all_status_codes_make_no_more_series_than_are_allowed() {
        let mut tally = Tally::default();
        for index in 0..1_000_000_u32 {
            let status = u16::try_from(index % 700).unwrap();
            tally.add(&request("GET", &format!("/p{index}x"), status));
        }
        assert_eq!(tally.endpoints.len(), MAX_ENDPOINTS + 1);
        assert!(tally.endpoints.values().all(|endpoint| endpoint.by_status.len() <= MAX_STATUSES + 1));
        let all = |endpoint: &Endpoint| endpoint.by_status.values().sum::<u64>();
        assert_eq!(tally.endpoints.values().map(all).sum::<u64>(), 1_000_000);
        assert_eq!(tally.newest.since(0).len(), MAX_NEWEST);
    }

    #[test]
    fn hostile_names_that_look_the_same_are_one_series() {
        let mut tally = Tally::default();
        tally.add(&request("GET", "/a\n\u{1b}[2J", 200));
        tally.add(&request("GET", r"/a\n\u{1b}[2J", 200));
        for (_, shape) in tally.endpoints.keys() {
            assert!(shape.chars().all(|letter| !letter.is_control()), "{shape:?}");
        }
    }
}
