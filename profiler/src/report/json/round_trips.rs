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

#[derive(Serialize)]
struct OfPort {
    port: Option<u16>,
    count: u64,
    waited_ns: u64,
    connections: u64,
    connecting_ns: u64,
    first_answers_ns: u64,
}

impl OfPort {
    fn new(to: &ToPort) -> Self {
        Self {
            port: (to.port > 0).then_some(to.port),
            count: to.count,
            waited_ns: to.waited_ns,
            connections: to.connections,
            connecting_ns: to.connecting_ns,
            first_answers_ns: to.first_answers_ns,
        }
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
