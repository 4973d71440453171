//! What the clock saw: a thread of the target that computed.
//!
//! In: nothing (`fact::sample` of `profiler` makes them). Out: [`SampleSeen`].

use serde::{Deserialize, Serialize};

/// A thread was on a CPU as the clock ticked there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleSeen {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// `CLOCK_MONOTONIC` of the tick, before the time of the fact.
    pub at_ns: u64,
    /// Where in Python it was, by the number of a [`PlaceSeen`](super::place::PlaceSeen) before; `None`: in
    /// none, or that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u32>,
}
