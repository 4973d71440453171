//! CPU time of the whole machine: what the target's threads do not account for, others took.
//!
//! In: nothing (`session` reads it when a window begins, every second, and when it ends). Out:
//! [`MachineCpu`].

use serde::{Deserialize, Serialize};

/// CPU time of all CPUs together, cumulative since boot, by `/proc/stat` (proc_stat(5)) in ticks of 10 ms;
/// and what the profiler itself has used of it. Where the kernel stops the tick of idle CPUs, `idle_ns` is by
/// the clock; the other times are samples of the tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineCpu {
    /// When it was read.
    pub read_ns: u64,
    /// CPUs online.
    pub cpus: u32,
    /// No task ran, also where one waited for a disk.
    pub idle_ns: u64,
    /// A hypervisor took it.
    pub stolen_ns: u64,
    /// Context switches.
    pub switches: u64,
    /// CPU time of the profiler's own process, by the clock.
    pub profiler_ns: u64,
}

impl MachineCpu {
    /// What was added since an earlier reading; how many CPUs there are is that of the later one.
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            read_ns: self.read_ns,
            cpus: self.cpus,
            idle_ns: self.idle_ns.saturating_sub(earlier.idle_ns),
            stolen_ns: self.stolen_ns.saturating_sub(earlier.stolen_ns),
            switches: self.switches.saturating_sub(earlier.switches),
            profiler_ns: self.profiler_ns.saturating_sub(earlier.profiler_ns),
        }
    }
}
