//! `back_end_round_trips`: what an endpoint or a request had to do with back ends.
//!
//! In: round trips, waits and connections of the core. Out: a serialisable view of them.

use profiler_core::model::round_trips::{self, ToPort};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct RoundTrips {
    total: u64,
    by_port: Vec<OfPort>,
}

view! {
    struct OfPort(to: &ToPort) {
        port: Option<u16> = (to.port > 0).then_some(to.port),
        count: u64 = to.count,
        waited_ns: u64 = to.waited_ns,
        connections: u64 = to.connections,
        connecting_ns: u64 = to.connecting_ns,
        first_answers_ns: u64 = to.first_answers_ns,
    }
}

impl RoundTrips {
    /// Nothing where none were seen: on event loops they are not counted.
    pub(super) fn new(trips: &round_trips::RoundTrips) -> Option<Self> {
        let total = trips.total();
        let has_answered = |to: &&ToPort| to.count > 0;
        (total > 0).then(|| Self {
            total,
            by_port: trips.by_port().iter().filter(has_answered).map(OfPort::new).collect(),
        })
    }
}
