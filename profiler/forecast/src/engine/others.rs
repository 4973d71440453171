//! Other programs of the machine: bursts of CPU time that compete for the cores.
//!
//! In: the setting's [`Competition`]. Out: threads that are no slot's and have no interpreter lock. Bursts
//! come at random, their lengths are exponential: of other programs no more is known than how much they ran,
//! and how often the cores changed hands. No more of them are there at once than twice the cores: who
//! computes without end takes what is left, it does not queue up.

use profiler_core::phase::Phase;

use super::Engine;
use super::agenda::Event;
use super::thread::{Job, Thread};
use crate::competition::Competition;
use crate::load::Work;

/// Bursts of a simulation at most: after that the cores are the server's. An hour has some 36 million where
/// others keep two cores busy.
const MAX_BURSTS: u64 = 50_000_000;

/// Shortest time between two of them in the mean: a core cannot switch faster.
const LEAST_GAP_NS: f64 = 1000.0;

impl Engine<'_> {
    /// Plans the first burst of each stretch.
    pub(super) fn plan_others(&mut self) {
        for number in 0..self.setting.competition.len() {
            self.plan_burst(number, None);
        }
    }

    fn plan_burst(&mut self, stretch: usize, after_ns: Option<u64>) {
        let Some(of) = self.setting.competition.get(stretch).copied() else { return };
        let Some(gap_ns) = of.gap_ns() else { return };
        // More than this would be dropped, or no time would pass.
        let gap_ns = gap_ns.max(of.burst_ns as f64 / self.most_others() as f64).max(LEAST_GAP_NS);
        let at_ns = after_ns.unwrap_or(of.from_ns).saturating_add(self.exponential(gap_ns));
        if at_ns < of.until_ns {
            self.agenda.plan(at_ns, Event::Burst(stretch));
        }
    }

    /// Another program wants a core.
    pub(super) fn burst(&mut self, stretch: usize) {
        if self.unserved == 0 || self.bursts >= MAX_BURSTS {
            return;
        }
        self.bursts += 1;
        self.plan_burst(stretch, Some(self.now_ns));
        let Some(Competition { burst_ns, .. }) = self.setting.competition.get(stretch).copied() else {
            return;
        };
        let length_ns = self.exponential(burst_ns as f64).max(1);
        let number = match self.idle_others.pop() {
            Some(number) => number,
            None if self.others < self.most_others() => {
                self.others += 1;
                let core = self.others % self.setting.cores.max(1) as usize;
                self.threads.push(Thread { job: Job::Other, ..Thread::new(usize::MAX, core) });
                self.threads.len() - 1
            }
            None => return,
        };
        if let Some(thread) = self.threads.get_mut(number) {
            (thread.work, thread.left_ns) = (Work::Free(Phase::Unexplained), length_ns);
        }
        self.ready(number, None);
    }

    const fn most_others(&self) -> usize {
        (self.setting.cores as usize).saturating_mul(2)
    }

    fn exponential(&mut self, mean_ns: f64) -> u64 {
        // A float becomes an integer within its range, whatever it is.
        (-(1.0 - self.random.f64()).ln() * mean_ns) as u64
    }
}
