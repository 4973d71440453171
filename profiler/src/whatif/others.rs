//! How much of the cores other programs took, second by second.
//!
//! In: readings of the machine's CPU time, and what the target's threads and the profiler used. Out: [`Competition`] for the simulation. What no
//! reading accounts for is theirs: all CPU time, less idle time, less ours.

use profiler_core::fact::machine::MachineCpu;
use profiler_forecast::competition::Competition;

/// Shortest and longest burst that is believed: a switch takes a microsecond or two, and a core looks at its queue every few milliseconds.
const BURST_NS: std::ops::RangeInclusive<u64> = 20_000..=4_000_000;

/// What others did between two readings. `target_ns`: CPU time of the target's threads; `target_switches`: how often these went to sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Between {
    /// Earlier and later reading.
    pub(super) readings: (MachineCpu, MachineCpu),
    /// CPU time of the target's threads.
    pub(super) target_ns: u64,
    /// How often they went to sleep.
    pub(super) target_sleeps: u64,
}

impl Between {
    /// What others took; the load's clock began at `zero_ns`.
    pub(super) fn competition(&self, zero_ns: u64) -> Competition {
        let (first, last) = &self.readings;
        let added = last.since(first);
        let all_ns = u64::from(last.cpus).saturating_mul(last.read_ns.saturating_sub(first.read_ns));
        let cpu_ns = all_ns.saturating_sub(added.idle_ns).saturating_sub(self.target_ns);
        // Who takes a core gives it back: two switches. A switch from one task to another counts for both.
        let bursts = (added.switches / 2).saturating_sub(self.target_sleeps).max(1);
        Competition {
            from_ns: first.read_ns.saturating_sub(zero_ns),
            until_ns: last.read_ns.saturating_sub(zero_ns),
            cpu_ns,
            burst_ns: (cpu_ns / bursts).clamp(*BURST_NS.start(), *BURST_NS.end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_nobody_else_accounts_for_is_that_of_others() {
        let first = MachineCpu { read_ns: 1000 * MS, cpus: 2, idle_ns: 7 * MS, ..MachineCpu::default() };
        let last = MachineCpu {
            read_ns: 2000 * MS,
            idle_ns: 1207 * MS,
            switches: 1400,
            profiler_ns: 100 * MS,
            ..first
        };
        let between = Between { readings: (first, last), target_ns: 300 * MS, target_sleeps: 200 };
        // Two cores for a second, 1200 ms idle, 300 of the target: 500 of others, the profiler among them, in 500 bursts.
        let expected = Competition { from_ns: 500 * MS, until_ns: 1500 * MS, cpu_ns: 500 * MS, burst_ns: MS };
        assert_eq!(between.competition(500 * MS), expected);
    }

    #[test]
    fn what_cannot_be_is_nothing() {
        let reading = MachineCpu { read_ns: 5, cpus: 2, ..MachineCpu::default() };
        let none = Between { readings: (reading, reading), target_ns: 9, target_sleeps: 9 };
        let competition = none.competition(10);
        assert_eq!((competition.cpu_ns, competition.gap_ns()), (0, None));
    }
}
