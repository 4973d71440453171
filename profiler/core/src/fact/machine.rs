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

/// Shortest time between two readings that says how busy the CPUs were: they are in ticks of 10 ms.
const BUSY_MIN_NS: u64 = 500_000_000;

impl MachineCpu {
    /// Share of all CPUs that was not idle since an earlier reading, without what the profiler took; `None`:
    /// too little time is between them.
    pub fn busy_ratio(&self, earlier: &Self) -> Option<f64> {
        let passed_ns = self.read_ns.saturating_sub(earlier.read_ns);
        let all_ns = passed_ns.saturating_mul(u64::from(self.cpus));
        let MachineCpu { idle_ns, profiler_ns, .. } = self.since(earlier);
        let idle_ns = idle_ns.saturating_add(profiler_ns);
        let is_enough = passed_ns >= BUSY_MIN_NS && all_ns > 0;
        is_enough.then(|| 1.0 - (idle_ns as f64 / all_ns as f64).min(1.0))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_is_as_busy_as_it_was_not_idle() {
        let at = |read_ns, idle_ns| MachineCpu { read_ns, idle_ns, cpus: 2, ..MachineCpu::default() };
        let second = 1_000_000_000;
        let first = at(second, 7 * second);
        assert_eq!(at(3 * second, 8 * second).busy_ratio(&first), Some(0.75));
        assert_eq!(at(3 * second, 20 * second).busy_ratio(&first), Some(0.0));
        assert_eq!(at(second + 1, 7 * second).busy_ratio(&first), None, "a tick is no measure");
        assert_eq!(MachineCpu { cpus: 0, ..at(3 * second, 8 * second) }.busy_ratio(&first), None);
    }
}
