//! Event loops: threads that serve many requests at once, and what made what was ready wait for them.
//!
//! In: the loop machine. Out: [`EventLoop`].

use super::latency::Latency;
use crate::phase::Phases;

/// From this length on, a request's uninterrupted hold of a loop is distinguished (see [`Holder::long`]).
pub const LONG_HOLD_NS: u64 = 10_000_000;

/// One thread that runs an event loop.
#[derive(Clone, Debug, Default)]
pub struct EventLoop {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// Times it looked for what is ready.
    pub turns: u64,
    /// Time between its waits: everything that became ready meanwhile waited.
    pub busy_ns: u64,
    /// Time in its waits.
    pub waiting_ns: u64,
    /// Longest time without a look for what is ready.
    pub longest_turn_ns: u64,
    /// From the arrival of each request's first bytes to the loop's next look at them.
    pub lag: Latency,
    /// Arrivals that came too long before their read to be placed: their lag is not known.
    pub lag_unknown: u64,
    /// Times a thread of a pool was found to have worked for a request of this loop.
    pub pooled: u64,
    /// Back ends' sockets, and work of a pool's threads, that were attributed to a request by order alone.
    /// That request was the first of several that they may have belonged to, or the only one that is known.
    pub paired_by_order: u64,
    /// Times that a back end was asked for one of several requests, and nothing told for which: in its
    /// request that time is unexplained.
    pub back_ends_unknown: u64,
    /// Who kept the loop, by endpoint, most time waited for first (bounded; the rest is counted as unnamed).
    pub holders: Vec<Holder>,
}

/// What one endpoint did to a loop.
#[derive(Clone, Debug, Default)]
pub struct Holder {
    /// Method; empty: no request, or many short ones.
    pub method: String,
    /// Path with its variable segments folded. Hostile input.
    pub path_shape: String,
    /// Iterations of the loop in which one of its requests had the largest part.
    pub turns: u64,
    /// Time that these requests had in them.
    pub held_ns: u64,
    /// Longest part of one request in one iteration.
    pub longest_ns: u64,
    /// The request that held the loop for longest.
    pub longest_request: Option<u64>,
    /// Arrivals in these iterations: they waited for its end.
    pub waited: u64,
    /// How long they waited.
    pub waited_ns: u64,
    /// Of all this: what was at least [`LONG_HOLD_NS`] long.
    pub long: LongHolds,
}

/// Holds of at least [`LONG_HOLD_NS`].
#[derive(Clone, Debug, Default)]
pub struct LongHolds {
    /// How many.
    pub count: u64,
    /// Their length.
    pub held_ns: u64,
    /// What they were spent on.
    pub phases: Phases,
    /// Arrivals that waited for their end.
    pub waited: u64,
    /// How long they waited.
    pub waited_ns: u64,
}
