//! What may change under an agent that runs for weeks: the host's name, the wall clock.
//!
//! In: the host. Out: both as they are now.

use crate::fact::Proc;
use crate::fact::session::{host_name, machine_id, wall_clock_offset_ns};

/// The host, as it is now.
pub(super) trait Surroundings: Send {
    /// Its name.
    fn host_name(&self) -> String;

    /// What to add to the kernel's clock for nanoseconds since 1970.
    fn wall_clock_offset_ns(&self) -> i64;

    /// What stays the same when its name changes.
    fn machine(&self) -> String;
}

/// The host that this runs on.
pub(super) struct Here;

impl Surroundings for Here {
    fn host_name(&self) -> String {
        host_name(&Proc::default())
    }

    fn wall_clock_offset_ns(&self) -> i64 {
        wall_clock_offset_ns()
    }

    fn machine(&self) -> String {
        machine_id().unwrap_or_else(|| self.host_name())
    }
}
