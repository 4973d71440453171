//! What a cgroup allows and has used.
//!
//! In: nothing by itself (`fact/cgroup` of `profiler` fills these). Out: [`CgroupCpu`], [`CgroupMemory`].

use serde::{Deserialize, Serialize};

/// CPU quota of a cgroup; cumulative values as in `cpu.stat`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupCpu {
    /// Path of the cgroup.
    pub cgroup: String,
    /// Quota per period in µs; `None`: no limit.
    pub quota_us: Option<u64>,
    /// Length of a period in µs.
    pub period_us: u64,
    /// Periods in which the group was throttled.
    pub throttled_periods: u64,
    /// Time throttled (summed over CPUs).
    pub throttled_ns: u64,
}

/// Limit of memory of a cgroup, and what is in use of it at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupMemory {
    /// Path of the cgroup.
    pub cgroup: String,
    /// Limit in bytes; `None`: no limit.
    pub limit_bytes: Option<u64>,
    /// In use, with what files are cached; `None`: not known.
    pub used_bytes: Option<u64>,
}
