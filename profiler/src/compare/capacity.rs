//! What two runs had of capacity, and used of it.
//!
//! In: slots and workers of two [`Side`]s. Out: [`CapacityChange`]. One number a run: no confidence can be
//! given.

use serde::Serialize;

use super::side::{Side, Worker};

/// Capacity in A and B.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CapacityChange {
    /// Slots.
    pub slots: [u64; 2],
    /// Worker processes.
    pub workers: [u64; 2],
    /// Busy slot-time as a share of all.
    pub used_ratio: [Option<f64>; 2],
    /// Share of the window with all slots busy at once.
    pub exhausted_ratio: [Option<f64>; 2],
    /// Requests that arrived then, and had to wait.
    pub arrived_full: [Option<u64>; 2],
    /// Memory of all workers, what they share counted once, in bytes.
    pub own_bytes: [Option<u64>; 2],
}

impl CapacityChange {
    pub(super) fn of(a: &Side, b: &Side) -> Self {
        let both = [a, b];
        let own = |side: &Side| {
            // Where it is not known of one, it is not known of all.
            let (first, others) = side.capacity.workers.split_first()?;
            let add = |sum: u64, worker: &Worker| Some(sum.saturating_add(worker.proportional_bytes?));
            others.iter().try_fold(first.proportional_bytes?, add)
        };
        Self {
            slots: both.map(|side| side.slots.counted),
            workers: both.map(|side| u64::try_from(side.capacity.workers.len()).unwrap_or(u64::MAX)),
            used_ratio: both.map(|side| side.slots.capacity_used_ratio),
            exhausted_ratio: both.map(|side| side.slots.exhausted_ratio),
            arrived_full: both.map(|side| side.capacity.arrived_full),
            own_bytes: both.map(own),
        }
    }
}
