//! Connections that waited in a full worker while another had a free slot.
//!
//! In: decisions of `machine::time::capacity`. Out: [`BesideFree`], for each listener at which several
//! processes accept.

use super::latency::Latency;

/// Connections of one listener whose first request ended in the window, and which had waited for a slot of
/// the process that accepted them. Another process at the listener had a free one.
#[derive(Clone, Debug, Default)]
pub struct BesideFree {
    /// Time (ns) that each waited so; what is shorter than a millisecond is left out.
    pub waits: Latency,
    /// Connections beyond a bound, of which it was not decided.
    pub undecided: u64,
}
