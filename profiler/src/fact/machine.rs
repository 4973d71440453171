//! CPU time of the whole machine.
//!
//! In: `/proc/stat`. Out: [`MachineCpu`]. A reading costs some 60 µs on two CPUs: the kernel adds up every
//! CPU and interrupt for it.

use procfs::{CpuTime, CurrentSI as _, KernelStats};
use profiler_core::fact::machine::MachineCpu;

/// CPU time of the machine since boot, read at this moment; `profiler_ns`: what our own process has used.
/// `None` where it cannot be read.
pub fn machine_cpu(read_ns: u64, profiler_ns: u64) -> Option<MachineCpu> {
    KernelStats::current().ok().map(|stats| of(&stats, read_ns, profiler_ns))
}

fn of(stats: &KernelStats, read_ns: u64, profiler_ns: u64) -> MachineCpu {
    let tick_ns = 1_000_000_000 / procfs::ticks_per_second().max(1);
    let ns = |ticks: u64| ticks.saturating_mul(tick_ns);
    let CpuTime { idle, iowait, steal, .. } = stats.total;
    MachineCpu {
        read_ns,
        cpus: u32::try_from(stats.cpu_time.len()).unwrap_or(u32::MAX),
        idle_ns: ns(idle.saturating_add(iowait.unwrap_or(0))),
        stolen_ns: ns(steal.unwrap_or(0)),
        switches: stats.ctxt,
        profiler_ns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_all_cpus_in_nanoseconds() {
        let mut stats = KernelStats::current().expect("/proc/stat");
        let total = &mut stats.total;
        (total.idle, total.iowait, total.steal) = (5, Some(6), Some(7));
        stats.ctxt = 8;
        let tick_ns = 1_000_000_000 / procfs::ticks_per_second();
        let expected = MachineCpu {
            read_ns: 1,
            cpus: u32::try_from(stats.cpu_time.len()).unwrap(),
            idle_ns: 11 * tick_ns,
            stolen_ns: 7 * tick_ns,
            switches: 8,
            profiler_ns: 9,
        };
        assert_eq!(of(&stats, 1, 9), expected);
    }

    #[test]
    fn readings_of_this_machine_go_on() {
        let (first, second) = (machine_cpu(0, 0).unwrap(), machine_cpu(1, 0).unwrap());
        assert!(first.cpus > 0 && second.switches >= first.switches, "{first:?} {second:?}");
    }
}
