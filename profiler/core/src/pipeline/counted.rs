//! What was counted on the way to the machines.
//!
//! In: counters of the kernel side and of the stages before the machines. Out: their values over one window.

use crate::fact::Counters;
use crate::order::OrderCounts;

/// What came in, for law 4.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    /// Records that could not be decoded.
    pub malformed: u64,
    /// What sorting cost.
    pub order: OrderCounts,
}

/// What was counted in the window.
#[derive(Debug)]
pub(super) struct Counted {
    /// By the kernel side.
    pub counters: Counters,
    /// Waits whose end was not seen.
    pub undecided_waits: u64,
    /// By the stages before the machines.
    pub received: Received,
}
