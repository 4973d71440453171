//! Where a thread of the target computed as the clock ticked, or had slept as its call ended.
//!
//! In: nothing (`fact::sample` of `profiler` makes them). Out: [`SampleSeen`].

use serde::{Deserialize, Serialize};

/// A sleep in a system call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slept {
    /// Number of the call.
    pub system_call: u32,
    /// How long it was, or what it stands for.
    pub ns: u64,
    /// It was shorter, and drawn by lot with the probability of its part of that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_drawn: bool,
}

/// A thread was on a CPU as the clock ticked there, or a sleep of it has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleSeen {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// `CLOCK_MONOTONIC` of the tick, or of a moment in the sleep, before the time of the fact.
    pub at_ns: u64,
    /// Where in Python it was, by the number of a [`PlaceSeen`](super::place::PlaceSeen) before; `None`: in
    /// none, or that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u32>,
    /// Of a sleep; `None`: it computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slept: Option<Slept>,
    /// It collected garbage; `None`: not known, or it slept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_collecting: Option<bool>,
}
