//! `back_end_round_trips`: how often back ends were asked, of an endpoint or a request.
//!
//! In: round trips of the core. Out: a serialisable view of them.

use profiler_core::model::round_trips;
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
}

impl RoundTrips {
    /// Nothing where none were seen: on event loops they are not counted.
    pub(super) fn new(trips: &round_trips::RoundTrips) -> Option<Self> {
        let of_port = |(port, count): (u16, u64)| OfPort { port: (port > 0).then_some(port), count };
        let total = trips.total();
        (total > 0).then(|| Self { total, by_port: trips.by_port().into_iter().map(of_port).collect() })
    }
}
