//! `back_end_round_trips`: what an endpoint or a request had to do with back ends.
//!
//! In: round trips, waits and connections of the core. Out: a serialisable view of them.

use profiler_core::model::round_trips::{self, ToPort};
use serde::Serialize;

/// How often back ends were asked and answered: something was read from a connection to them after something
/// was sent. null: none were seen; on event loops they are not counted. Light mode sees the waits alone.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct RoundTrips {
    /// Round trips in all. null: not measured (light mode).
    #[cfg_attr(test, schemars(range(min = 1)))]
    total: Option<u64>,
    /// The same by the peer's port, most first (in light mode the longest waits). A port that never answered
    /// is left out. Of more than eight ports the rest is in the total alone.
    by_port: Vec<OfPort>,
}

view! {
    struct OfPort(to: &ToPort, is_counted: bool) {
        /// Port; null: a UNIX socket, or not known.
        #[cfg_attr(test, schemars(range(min = 1)))]
        port: Option<u16> = (to.port > 0).then_some(to.port),
        /// Round trips. null: not measured (light mode).
        #[cfg_attr(test, schemars(range(min = 1)))]
        count: Option<u64> = is_counted.then_some(to.count),
        /// Waits on sockets to this port, in ns.
        waited_ns: u64 = to.waited_ns,
        /// Connections to it that were set up and used within one request. null: not measured (light mode).
        connections: Option<u64> = is_counted.then_some(to.connections),
        /// The part of the waits until these connections were ready, in ns. They are for handshakes, for a
        /// server that greets first, for PostgreSQL's answer of one byte. null: not measured (light mode).
        connecting_ns: Option<u64> = is_counted.then_some(to.connecting_ns),
        /// The part of the waits from then on up to the first answer on each of them, in ns. That is a login,
        /// or what was asked for. null: not measured (light mode).
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
