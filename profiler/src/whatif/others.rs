//! How much of the cores other programs took, second by second.
//!
//! In: readings of the machine's CPU time, and what the target's threads and the profiler used. Out:
//! [`Competition`] for the simulation. What no reading accounts for is theirs: all CPU time, less idle time,
//! less ours.

use profiler_core::fact::machine::MachineCpu;
use profiler_core::model::Snapshot;
use profiler_forecast::competition::Competition;

use super::trace::Trace;

/// Shortest and longest burst that is believed: a switch takes a microsecond or two, and a core looks at its
/// queue every few milliseconds.
const BURST_NS: std::ops::RangeInclusive<u64> = 20_000..=4_000_000;

/// With less idle time than this share, and most of the time theirs, others want more than there is: they
/// compute without end.
const IDLE_RATIO: f64 = 0.02;
/// From this share of all CPU time on, it was theirs.
const MOST_RATIO: f64 = 0.5;
/// How long they then run, if nobody else wants a core: many turns of the scheduler.
const ENDLESS_NS: u64 = 100_000_000;
/// They then want so many times the cores that there are: somebody always waits.
const ENDLESS_TIMES: u64 = 2;

/// What others did while a recording was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Others {
    /// For the simulation.
    pub(super) competition: Vec<Competition>,
    /// How many cores they kept busy, in the mean; `None`: that was not recorded.
    pub(super) cores: Option<f64>,
    /// They took more than half of the CPU time, and left nothing idle: the server had what its scheduler
    /// gave it among them.
    pub(super) took_all: bool,
}

impl Others {
    /// Of a replay; the load's clock began at `zero_ns`.
    pub(super) fn of(snapshot: &Snapshot, trace: &Trace, zero_ns: u64) -> Self {
        let readings = &trace.machine;
        let edges_ns: Vec<u64> = readings.iter().map(|reading| reading.read_ns).collect();
        let activity = trace.activity(&edges_ns);
        let threads = snapshot.processes.iter().flat_map(|process| &process.threads);
        let cpu_ns = threads.fold(0_u64, |sum, thread| sum.saturating_add(thread.cpu_ns));
        let running_ns = activity.iter().fold(0_u64, |sum, of| sum.saturating_add(of.running_ns));
        // What runs waits for a CPU now and then: in all it had one for this share of the time.
        let on_cpu = ratio(cpu_ns, running_ns);
        let between = readings.windows(2).zip(activity).filter_map(|(pair, activity)| {
            let &[first, last] = pair else { return None };
            let target_ns = (activity.running_ns as f64 * on_cpu) as u64;
            let between = Between { readings: (first, last), target_ns, target_sleeps: activity.sleeps };
            // What was before the window is that of another.
            (last.read_ns > snapshot.window.start_ns).then_some(between)
        });
        let between: Vec<Between> = between.collect();
        let length_ns = between.iter().fold(0, |sum, one| one.length_ns().saturating_add(sum));
        let others_ns = between.iter().fold(0, |sum, one| one.others_ns().saturating_add(sum));
        let all_ns = between.iter().fold(0, |sum, one| one.all_ns().saturating_add(sum));
        let idle_ns = between.iter().fold(0, |sum, one| one.idle_ns().saturating_add(sum));
        Self {
            took_all: is_taken(others_ns, idle_ns, all_ns),
            competition: with_what_follows(between.iter().map(|one| one.competition(zero_ns)).collect()),
            cores: (length_ns > 0).then(|| ratio(others_ns, length_ns)),
        }
    }
}

/// A changed server may take longer than the recording: then they go on as they were in the mean.
fn with_what_follows(mut all: Vec<Competition>) -> Vec<Competition> {
    let from_ns = all.last().map_or(0, |last| last.until_ns);
    all.extend(Competition::mean(&all).map(|mean| Competition { from_ns, ..mean }));
    all
}

/// Whether others took most of the CPU time and left none.
fn is_taken(others_ns: u64, idle_ns: u64, all_ns: u64) -> bool {
    ratio(idle_ns, all_ns) < IDLE_RATIO && ratio(others_ns, all_ns) > MOST_RATIO
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// What others did between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Between {
    /// Earlier and later reading.
    readings: (MachineCpu, MachineCpu),
    /// CPU time of the target's threads.
    target_ns: u64,
    /// How often they went to sleep.
    target_sleeps: u64,
}

impl Between {
    const fn length_ns(&self) -> u64 {
        self.readings.1.read_ns.saturating_sub(self.readings.0.read_ns)
    }

    fn all_ns(&self) -> u64 {
        u64::from(self.readings.1.cpus).saturating_mul(self.length_ns())
    }

    const fn idle_ns(&self) -> u64 {
        self.readings.1.since(&self.readings.0).idle_ns
    }

    /// CPU time of others.
    fn others_ns(&self) -> u64 {
        self.all_ns().saturating_sub(self.idle_ns()).saturating_sub(self.target_ns)
    }

    /// For the simulation; the load's clock began at `zero_ns`.
    fn competition(&self, zero_ns: u64) -> Competition {
        let (first, last) = &self.readings;
        let added = last.since(first);
        let (all_ns, cpu_ns) = (self.all_ns(), self.others_ns());
        // Who takes a core gives it back: two switches. A switch from one task to another counts for both.
        let bursts = (added.switches / 2).saturating_sub(self.target_sleeps).max(1);
        let is_endless = is_taken(cpu_ns, added.idle_ns, all_ns);
        let burst_ns = (cpu_ns / bursts).clamp(*BURST_NS.start(), *BURST_NS.end());
        let from_ns = first.read_ns.saturating_sub(zero_ns);
        let until_ns = last.read_ns.saturating_sub(zero_ns);
        // What was before the load began is no part of it.
        let part = ratio(until_ns.saturating_sub(from_ns), self.length_ns());
        let cpu_ns = if is_endless { all_ns.saturating_mul(ENDLESS_TIMES) } else { cpu_ns };
        Competition {
            from_ns,
            until_ns,
            cpu_ns: (cpu_ns as f64 * part) as u64,
            burst_ns: if is_endless { ENDLESS_NS } else { burst_ns },
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
        // Two cores for a second, 1200 ms idle, 300 of the target: 500 of others, the profiler among them, in
        // 500 bursts.
        let expected = Competition { from_ns: 500 * MS, until_ns: 1500 * MS, cpu_ns: 500 * MS, burst_ns: MS };
        assert_eq!(between.competition(500 * MS), expected);
        // The load began in the middle: half of it is no part of it.
        let half = between.competition(1500 * MS);
        assert_eq!((half.from_ns, half.until_ns, half.cpu_ns), (0, 500 * MS, 250 * MS));
        // Nothing was idle, and the server took most of it: others do not want more than they had.
        let busy = MachineCpu { idle_ns: first.idle_ns, ..last };
        let own = Between { readings: (first, busy), target_ns: 1500 * MS, target_sleeps: 200 };
        assert_eq!(own.competition(0).cpu_ns, 500 * MS);
        // Nothing was idle: they take all that the server leaves, as long as it leaves it.
        let last = MachineCpu { idle_ns: first.idle_ns, ..last };
        let endless = Between { readings: (first, last), ..between }.competition(500 * MS);
        assert_eq!((endless.cpu_ns, endless.burst_ns), (4000 * MS, ENDLESS_NS));
    }

    #[test]
    fn what_cannot_be_is_nothing() {
        let reading = MachineCpu { read_ns: 5, cpus: 2, ..MachineCpu::default() };
        let none = Between { readings: (reading, reading), target_ns: 9, target_sleeps: 9 };
        let competition = none.competition(10);
        assert_eq!((competition.cpu_ns, competition.gap_ns()), (0, None));
    }
}
