//! Adds finished requests up.
//!
//! In: finished requests. Out: the request part of the snapshot; bounded, whatever the length of the run.

use std::collections::BTreeMap;

use crate::machine::product::endpoint::Endpoints;
use crate::machine::time::load::Load;
use crate::model::Requests;
use crate::model::request::{Framing, Request};
use crate::model::round_trips::RoundTrips;

/// Requests kept whole for the report, the slowest.
const MAX_SLOWEST: usize = 20;

/// Running sums over requests.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    requests: Requests,
    by_status: BTreeMap<u16, u64>,
    load: Load,
    /// Endpoints.
    pub endpoints: Endpoints,
    /// Requests whose phases did not add up.
    pub broken: u64,
    /// Requests begun and not finished now.
    pub in_flight: u32,
    /// Transitions that should be impossible.
    pub impossible: BTreeMap<&'static str, u64>,
}

impl Summary {
    /// A request begins.
    pub fn begin(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
        self.requests.peak_in_flight = self.requests.peak_in_flight.max(self.in_flight);
    }

    /// The next window begins: what is in flight stays.
    pub fn roll(&mut self) {
        let in_flight = self.in_flight;
        let requests = Requests { peak_in_flight: in_flight, ..Requests::default() };
        *self = Self { requests, in_flight, ..Self::default() };
    }

    /// A request comes to its end, though its account may not be whole yet.
    pub const fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Requests completed so far.
    #[must_use]
    pub const fn completed(&self) -> u64 {
        self.requests.completed
    }

    /// Requests waited for threads that they had started themselves.
    pub const fn waited_for_helpers(&mut self, wait_ns: u64) {
        self.requests.helper_wait_ns = self.requests.helper_wait_ns.saturating_add(wait_ns);
    }

    /// Something that should not happen did, so many times.
    pub fn impossible(&mut self, name: &'static str, times: u64) {
        if times > 0 {
            let count = self.impossible.entry(name).or_default();
            *count = count.saturating_add(times);
        }
    }

    /// A request's account is whole, or cut off by the end of the window.
    pub fn add(&mut self, request: &Request) {
        let sums = &mut self.requests;
        if request.phases.total_ns() != request.total_ns() {
            self.broken = self.broken.saturating_add(1);
        }
        self.load.add(request.times.start_ns, request.times.end_ns);
        sums.truncated += u64::from(request.seen.truncated);
        sums.inferred_framing += u64::from(request.http.framing == Framing::Inferred);
        sums.not_http += u64::from(request.http.framing == Framing::NotHttp);
        sums.phases.add_all(&request.phases);
        sums.request_starts.add(request.http.request_start);
        sums.bytes_in = sums.bytes_in.saturating_add(request.http.bytes_in);
        sums.bytes_out = sums.bytes_out.saturating_add(request.http.bytes_out);
        if request.seen.open {
            sums.open += 1;
        } else {
            sums.completed += 1;
            *self.by_status.entry(request.http.status).or_default() += 1;
            self.endpoints.add(request);
            sums.spread.add(&request.phases);
            if !request.seen.truncated {
                sums.total.record(request.total_ns());
                if let Some(service_ns) = request.service_ns() {
                    sums.service.record(service_ns);
                }
            }
        }
        self.keep_if_slow(request);
    }

    fn keep_if_slow(&mut self, request: &Request) {
        let slowest = &mut self.requests.slowest;
        let full = slowest.len() >= MAX_SLOWEST;
        if full && slowest.last().is_some_and(|fastest| fastest.total_ns() >= request.total_ns()) {
            return;
        }
        let place = slowest.partition_point(|other| other.total_ns() >= request.total_ns());
        slowest.insert(place, request.clone());
        slowest.truncate(MAX_SLOWEST);
    }

    /// The request part of the snapshot of this window, and the endpoints. `unattributed`: what was done with back ends for nobody who is known.
    #[must_use]
    pub fn finish(
        mut self,
        connections: u64,
        unattributed: RoundTrips,
        (start_ns, end_ns): (u64, u64),
    ) -> (Requests, Endpoints) {
        self.requests.load_ns = self.load.within(start_ns, end_ns);
        self.requests.by_status = self.by_status.into_iter().collect();
        self.requests.connections = connections;
        self.requests.unattributed = unattributed;
        (self.requests, self.endpoints)
    }
}
