//! The state of this stage.
//!
//! In: nothing by itself; the machines change it. Out: tables that they share, each bounded, and sums.

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::machine::world::back_end::UnattributedTrips;
use crate::machine::world::descriptor::Descriptors;
use crate::machine::world::process::Processes;

/// What exists, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Descriptors of all processes.
    pub descriptors: Descriptors,
    /// Processes and listeners.
    pub processes: Processes,
    /// Accepts per (process, listener): successful, empty, failed.
    pub accepts: FxHashMap<(Tid, i32), [u64; 3]>,
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
