//! The state of this stage.
//!
//! In: nothing by itself; the machines change it. Out: tables that they share, each bounded, and sums.

use crate::bounded::BoundedMap;
use crate::event::Tid;
use crate::machine::world::back_end::UnattributedTrips;
use crate::machine::world::descriptor::Descriptors;
use crate::machine::world::process::Processes;
use crate::machine::world::stops::Stops;

/// Listeners, each in a process, whose accepts are counted apart.
pub(in crate::machine) const MAX_LISTENERS: usize = 65_536;

/// What exists, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Descriptors of all processes.
    pub descriptors: Descriptors,
    /// Processes and listeners.
    pub processes: Processes,
    /// Who stopped processes.
    pub stops: Stops,
    /// Accepts per (process, listener): successful, empty, failed.
    pub accepts: BoundedMap<(Tid, i32), [u64; 3], MAX_LISTENERS>,
    /// Arrival is measured on this kernel.
    pub arrival_measured: bool,
    /// `CLOCK_REALTIME` minus `CLOCK_MONOTONIC`, once it is known.
    pub wall_clock_offset_ns: Option<i64>,
    /// How workers wait for a listener, as seen last: in epoll, or in select or poll.
    pub listener_in_epoll: Option<bool>,
    /// Reads and writes on descriptors whose origin was not seen.
    pub foreign_descriptor_calls: u64,
    /// What was done with back ends that counts for no request.
    pub unattributed: UnattributedTrips,
    /// Somebody in the target uses io_uring: what goes through it is not seen.
    pub uses_io_uring: bool,
}

impl World {
    /// The next window begins at `time_ns`: sums start at zero.
    pub fn roll(&mut self, time_ns: u64) {
        self.processes.roll(time_ns);
        self.accepts.clear();
        self.foreign_descriptor_calls = 0;
        self.unattributed.roll();
    }

    /// An accept ended: successful (0), empty (1) or failed (2).
    pub fn count_accept(&mut self, listener: (Tid, i32), outcome: usize) {
        let counts = self.accepts.get_or_default(listener);
        if let Some(count) = counts.and_then(|counts| counts.get_mut(outcome)) {
            *count = count.saturating_add(1);
        }
    }

    /// What found no place.
    pub const fn evicted(&self) -> u64 {
        self.accepts.evicted() + self.descriptors.evicted + self.processes.evicted() + self.stops.evicted()
    }
}
