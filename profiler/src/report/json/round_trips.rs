//! `back_end_round_trips`: what an endpoint or a request had to do with back ends.
//!
//! In: round trips, waits and connections of the core. Out: a serialisable view of them.

use profiler_core::model::round_trips::{self, ToPort};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct RoundTrips {
    total: Option<u64>,
    by_port: Vec<OfPort>,
}

view! {
    struct OfPort(to: &ToPort, is_counted: bool) {
        port: Option<u16> = (to.port > 0).then_some(to.port),
        count: Option<u64> = is_counted.then_some(to.count),
        waited_ns: u64 = to.waited_ns,
        connections: Option<u64> = is_counted.then_some(to.connections),
        connecting_ns: Option<u64> = is_counted.then_some(to.connecting_ns),
        first_answers_ns: Option<u64> = is_counted.then_some(to.first_answers_ns),
    }
}

impl RoundTrips {
    /// Nothing where none were seen: on event loops they are not counted. In light mode there are waits
    /// alone.
    pub(super) fn new(trips: &round_trips::RoundTrips) -> Option<Self> {
        let is_counted = !trips.has_waits_alone();
        let total = trips.total();
        let has_answered = |to: &&ToPort| to.count > 0 || !is_counted;
        (total > 0 || !is_counted).then(|| Self {
            total: is_counted.then_some(total),
            by_port: trips
                .by_port()
                .iter()
                .filter(has_answered)
                .map(|to| OfPort::new(to, is_counted))
                .collect(),
        })
    }
}
