//! From which length on each wait is looked at: so many looks a second come of it as are cheap.
//!
//! In: samples of waits, the map that the kernel side reads. Out: the step in it. Sums are right on average
//! whatever it is; a longer step makes shares of short waits rougher, not wrong.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aya::maps::{Array, MapData};
use profiler_common::stack::StackSample;
use zerocopy::FromBytes as _;

use crate::fact::Proc;
use crate::fact::schedule::process_cpu_ns;

/// The shortest step.
const SHORTEST_NS: u64 = 10_000_000;
/// The longest step.
const LONGEST_NS: u64 = 1_280_000_000;
/// Looks a second, for each process, at most and at least: fewer would tell nothing of a server with little
/// to do, and cost nobody anything.
const RATE: f64 = 200.0;
const LEAST_RATE: f64 = 40.0;
/// Looks a second for all.
const MOST_RATE: f64 = 1000.0;
/// What part of a process's CPU time its looks may take.
const PART: f64 = 0.004;
/// How often it is set.
const EVERY: Duration = Duration::from_secs(1);

/// The step, and what came of it.
pub(super) struct WaitStep {
    map: Array<MapData, u64>,
    step_ns: u64,
    since: Instant,
    looks: u64,
    cost_ns: u64,
    /// Processes that were looked at, each with its CPU time as it was known last.
    processes: BTreeMap<u32, Option<u64>>,
}

impl WaitStep {
    /// Begins with the shortest.
    pub(super) fn new(mut map: Array<MapData, u64>) -> Self {
        let _ = map.set(0, &SHORTEST_NS, 0);
        let (since, processes) = (Instant::now(), BTreeMap::new());
        Self { map, step_ns: SHORTEST_NS, since, looks: 0, cost_ns: 0, processes }
    }

    /// A look came.
    pub(super) fn note(&mut self, record: &[u8]) {
        let Ok((StackSample { tgid, slept_ns, cost_ns, .. }, _)) = StackSample::read_from_prefix(record)
        else {
            return;
        };
        if slept_ns > 0 {
            self.looks += 1;
            self.cost_ns = self.cost_ns.saturating_add(cost_ns.into());
            self.processes.entry(tgid).or_default();
        }
    }

    /// Sets it, if it is time.
    pub(super) fn adapt(&mut self, proc: &Proc) {
        let elapsed = self.since.elapsed();
        if elapsed < EVERY {
            return;
        }
        let seconds = elapsed.as_secs_f64();
        let look_ns = self.cost_ns as f64 / self.looks.max(1) as f64;
        let mut budget = 0.0;
        self.processes.retain(|tgid, known_ns| {
            let Ok(cpu_ns) = process_cpu_ns(proc, *tgid) else { return false };
            let spent_ns = known_ns.replace(cpu_ns).map(|known_ns| cpu_ns.saturating_sub(known_ns));
            budget += spent_ns.map_or(RATE, |spent_ns| allowed(spent_ns as f64 / seconds, look_ns));
            true
        });
        let budget = budget.clamp(LEAST_RATE, MOST_RATE);
        let step_ns = next(self.step_ns, self.looks as f64 / seconds, budget);
        if step_ns != self.step_ns && self.map.set(0, &step_ns, 0).is_ok() {
            self.step_ns = step_ns;
        }
        (self.since, self.looks, self.cost_ns) = (Instant::now(), 0, 0);
    }
}

/// Looks a second at a process that takes so much CPU time a second.
fn allowed(cpu_ns: f64, look_ns: f64) -> f64 {
    (PART * cpu_ns / look_ns.max(1.0)).clamp(LEAST_RATE, RATE)
}

/// The next step, after so many looks a second.
fn next(step_ns: u64, rate: f64, budget: f64) -> u64 {
    // As long as it comes near, it stays: loads are never quite the same.
    if rate <= budget && rate > budget * 0.7 {
        return step_ns;
    }
    // A bit longer than it takes: the budget is a bound.
    let times = (rate / budget / 0.85).max(0.5);
    ((step_ns as f64 * times) as u64).clamp(SHORTEST_NS, LONGEST_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_follows_the_load_within_its_bounds() {
        let ms = 1_000_000;
        assert_eq!(next(10 * ms, 150.0, 200.0), 10 * ms);
        assert_eq!(next(10 * ms, 680.0, 200.0), 40 * ms);
        assert_eq!(next(40 * ms, 150.0, 200.0), 40 * ms, "it does not swing");
        assert_eq!(next(40 * ms, 10.0, 200.0), 20 * ms);
        assert_eq!(next(10 * ms, 0.0, 200.0), 10 * ms);
        assert_eq!(next(1000 * ms, 1e9, 200.0), LONGEST_NS);
    }

    #[test]
    fn a_process_with_little_to_do_is_looked_at_less() {
        assert_eq!(allowed(1e9, 5000.0).to_bits(), RATE.to_bits());
        assert_eq!(allowed(1e8, 4000.0).to_bits(), 100_f64.to_bits());
        assert_eq!(allowed(0.0, 0.0).to_bits(), LEAST_RATE.to_bits());
    }
}
