//! Memory of the target's processes.
//!
//! In: nothing by itself (`fact/memory` of `profiler` fills it). Out: [`ProcessMemory`].

use serde::{Deserialize, Serialize};

/// Memory of one process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessMemory {
    /// Process.
    pub tgid: u32,
    /// Resident bytes (RSS): what it shares with others is counted in each of them.
    pub resident_bytes: u64,
    /// Its proportional share (PSS): what several processes share is divided among them; `None`: not read.
    pub proportional_bytes: Option<u64>,
}
