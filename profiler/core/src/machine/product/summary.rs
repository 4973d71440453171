//! Adds finished requests up.
//!
//! In: finished requests. Out: the request part of the snapshot; bounded, whatever the length of the run.

use std::collections::BTreeMap;

use crate::machine::product::endpoint::Endpoints;
use crate::machine::product::lasting::Lastings;
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
    /// Connections that became something else.
    pub(in crate::machine) lasting: Lastings,
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

    /// A request's account is whole, or cut off by the end of the window. Returns the number of its endpoint;
    /// `None`: it is open, or its endpoint is beyond the bound.
    pub fn add(&mut self, request: &Request) -> Option<usize> {
        let mut endpoint = None;
        let sums = &mut self.requests;
        if request.phases.total_ns() != request.total_ns() {
            self.broken = self.broken.saturating_add(1);
        }
        self.load.add(request.times.start_ns, request.times.end_ns);
        sums.truncated += u64::from(request.seen.truncated);
        sums.inferred_framing += u64::from(request.http.framing.is_inferred());
        sums.not_http += u64::from(request.http.framing == Framing::NotHttp);
        sums.phases.add_all(&request.phases);
        sums.request_starts.add(request.http.request_start);
        sums.bytes_in = sums.bytes_in.saturating_add(request.http.bytes_in);
        sums.bytes_out = sums.bytes_out.saturating_add(request.http.bytes_out);
        if request.seen.open {
            sums.open.add(request.total_ns(), &request.phases, request.standing());
            self.endpoints.add_open(request);
        } else {
            sums.completed += 1;
            *self.by_status.entry(request.http.status).or_default() += 1;
            endpoint = self.endpoints.add(request);
            sums.spread.add(&request.phases);
            if !request.seen.truncated && request.http.became.is_none() {
                sums.total.record(request.total_ns());
                if let Some(service_ns) = request.service_ns() {
                    sums.service.record(service_ns);
                }
            }
        }
        self.keep_if_slow(request);
        endpoint
    }

    /// Numbers of the slowest requests.
    pub fn slowest(&self) -> impl Iterator<Item = u64> {
        self.requests.slowest.iter().map(|request| request.id)
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

    /// The request part of the snapshot of this window, and the endpoints. `unattributed`: what was done with
    /// back ends for nobody who is known.
    pub fn finish(
        mut self,
        connections: u64,
        unattributed: RoundTrips,
        (start_ns, end_ns): (u64, u64),
    ) -> (Requests, Endpoints) {
        self.requests.load_ns = self.load.within(start_ns, end_ns);
        self.requests.by_status = self.by_status.into_iter().collect();
        self.requests.lasting = self.lasting.finish();
        self.requests.connections = connections;
        self.requests.unattributed = unattributed;
        (self.requests, self.endpoints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::wire::request::{Active, Beginning};
    use crate::phase::Phase;

    /// A request from 100 on whose time went to this phase.
    fn request(id: u64, total_ns: u64) -> Request {
        let mut request = Active::new(&Beginning::at(id, 100), 1, 1).request;
        request.times.end_ns = 100 + total_ns;
        request.phases.add(Phase::Cpu, total_ns);
        *request
    }

    fn requests(summary: &Summary) -> Requests {
        summary.clone().finish(0, RoundTrips::default(), (0, 1_000)).0
    }

    #[test]
    fn what_is_in_flight_at_once_counts_from_window_to_window() {
        let mut summary = Summary::default();
        (0..3).for_each(|_| summary.begin());
        summary.end();
        summary.begin();
        assert_eq!((summary.in_flight, requests(&summary).peak_in_flight), (3, 3));
        summary.end();
        summary.add(&request(1, 10));
        summary.roll();
        assert_eq!((summary.in_flight, requests(&summary).peak_in_flight, summary.completed()), (2, 2, 0));
        (0..3).for_each(|_| summary.end());
        summary.begin();
        assert_eq!(
            (summary.in_flight, requests(&summary).peak_in_flight),
            (1, 2),
            "it never falls below none"
        );
    }

    #[test]
    fn an_open_request_has_phases_and_neither_a_length_nor_a_status() {
        let mut summary = Summary::default();
        let (mut open, mut cut) = (request(1, 10), request(2, 20));
        open.seen.open = true;
        (cut.seen.truncated, cut.http.status) = (true, 200);
        let mut whole = request(3, 40);
        (whole.http.status, whole.times.service_start_ns) = (200, Some(110));
        let places = [&open, &cut, &whole].map(|request| summary.add(request));
        assert_eq!(places, [None, Some(1), Some(1)]);
        let told = requests(&summary);
        assert_eq!((told.open.count, told.completed, told.truncated), (1, 2, 1));
        assert_eq!((told.open.longest_ns, told.open.phases.get(Phase::Cpu)), (10, 10));
        assert_eq!(told.phases.get(Phase::Cpu), 70, "of all of them");
        assert_eq!(told.by_status, [(200, 2)]);
        assert_eq!(
            (told.total.count(), told.total.sum_ns()),
            (1, 40),
            "the beginning of the other was not seen"
        );
        assert_eq!((told.service.count(), told.service.sum_ns()), (1, 30));
    }

    #[test]
    fn what_is_not_framed_exactly_is_counted_by_its_kind() {
        let mut summary = Summary::default();
        for framing in [Framing::Exact, Framing::Inferred, Framing::Inferred, Framing::NotHttp] {
            let mut one = request(1, 10);
            (one.http.framing, one.http.bytes_in, one.http.bytes_out) = (framing, 3, 5);
            summary.add(&one);
        }
        let told = requests(&summary);
        assert_eq!((told.inferred_framing, told.not_http), (2, 1));
        assert_eq!((told.bytes_in, told.bytes_out), (12, 20));
    }

    #[test]
    fn phases_that_do_not_add_up_are_counted() {
        let mut summary = Summary::default();
        for (unaccounted_ns, broken) in [(0, 0), (1, 1), (0, 1)] {
            let mut one = request(1, 10);
            one.phases.add(Phase::Sleep, unaccounted_ns);
            summary.add(&one);
            assert_eq!(summary.broken, broken);
        }
    }

    #[test]
    fn the_slowest_are_kept_the_slowest_first_and_of_equals_the_first() {
        let mut summary = Summary::default();
        for (id, total_ns) in (0..30).zip([5, 9, 7].into_iter().cycle()) {
            summary.add(&request(id, total_ns));
        }
        let slowest = requests(&summary).slowest;
        assert_eq!(slowest.len(), MAX_SLOWEST);
        let told: Vec<(u64, u64)> = slowest.iter().map(|one| (one.total_ns(), one.id)).collect();
        let nines = (0..10).map(|turn| (9, turn * 3 + 1));
        assert_eq!(told, nines.chain((0..10).map(|turn| (7, turn * 3 + 2))).collect::<Vec<_>>());
    }

    #[test]
    fn what_should_be_impossible_is_counted_by_name_and_only_where_it_occurred() {
        let mut summary = Summary::default();
        for (name, times) in [("one", 2), ("none", 0), ("one", 3)] {
            summary.impossible(name, times);
        }
        assert_eq!(summary.impossible.into_iter().collect::<Vec<_>>(), [("one", 5)]);
    }
}
