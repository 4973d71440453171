//! What a slice is in its thread's wait, and how much of its time counts as waiting.
//!
//! In: a slice and its part in a wait. Out: how much of it is a wait.

use super::episode::begin_ns;
use crate::event::Slice;
use crate::machine::lock::gil_waits::EndedAttempt;

/// What a slice is in its thread's wait, and what it shows of the wait before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The slice itself.
    pub part: Part,
    /// How long the wait before it continued after its last sleep, within the window.
    pub tail_ns: u64,
    /// That wait, if it ended with this slice and each one is asked for.
    pub ended: Option<Box<EndedAttempt>>,
}

/// What a slice is in its thread's wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// No wait for the lock.
    None,
    /// The call is a wait; the gap before it is not.
    First,
    /// The call continues the wait of the slice before. The gap belongs to that wait.
    Again,
    /// The call waits on the lock's memory, but not to take the lock: to give it up, or until another thread has taken it.
    Handover,
}

impl Part {
    /// How much of a slice that ended at `exit_ns` is a wait within the window; `None`: it is no wait.
    #[must_use]
    pub const fn wait_ns(self, slice: &Slice, exit_ns: u64, window_start_ns: u64) -> Option<u64> {
        let start_ns = match self {
            Self::First => begin_ns(slice),
            Self::Again => slice.gap_start_ns(),
            Self::None | Self::Handover => return None,
        };
        let start_ns = if start_ns > window_start_ns { start_ns } else { window_start_ns };
        if exit_ns > start_ns { Some(exit_ns - start_ns) } else { None }
    }
}
