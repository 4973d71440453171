//! How often something may be done that takes long: so that it costs a hundredth of a core in the long run.
//!
//! In: what it took, by this thread's own CPU clock. Out: when it may be done again.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What took so long is paid for by a hundred times as long.
const PAUSE: u32 = 100;

/// When something may be done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    next: Option<Instant>,
    /// CPU time that may be saved up while nothing is done.
    savings: Duration,
}

/// What is being done.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    from: Duration,
}

impl Spent {
    /// Begins.
    pub fn begin() -> Self {
        Self { from: cpu() }
    }

    /// CPU time that it took so far.
    pub fn so_far(self) -> Duration {
        cpu().saturating_sub(self.from)
    }
}

impl Budget {
    /// One that has saved up so much CPU time, and may do so again.
    pub const fn with_savings(savings: Duration) -> Self {
        Self { next: None, savings }
    }

    /// How long not; `None`: it may be done now.
    pub fn pause(self) -> Option<Duration> {
        self.next?.checked_duration_since(Instant::now()).filter(|pause| !pause.is_zero())
    }

    /// It was done.
    pub fn spend(&mut self, spent: Spent) {
        self.spend_cpu(spent.so_far(), Instant::now());
    }

    fn spend_cpu(&mut self, spent: Duration, now: Instant) {
        let saved_since = now.checked_sub(self.savings * PAUSE);
        let from = self.next.max(saved_since).unwrap_or(now);
        self.next = Some(from + spent * PAUSE);
    }

    /// It may not be done for an hour, however slow the machine is.
    #[cfg(test)]
    pub fn exhaust(&mut self) {
        self.next = Instant::now().checked_add(Duration::from_hours(1));
    }

    /// It may be done at once, whatever it took.
    #[cfg(test)]
    pub const fn renew(&mut self) {
        self.next = None;
    }
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_long_is_not_done_again_at_once() {
        let mut budget = Budget::default();
        assert_eq!(budget.pause(), None);
        let spent = Spent::begin();
        while spent.so_far() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        budget.spend(spent);
        assert!(budget.pause().is_some_and(|pause| pause > Duration::from_millis(100)));
        budget.renew();
        assert_eq!(budget.pause(), None);
    }

    #[test]
    fn what_was_saved_is_spent_first_and_a_hundredth_is_kept_in_the_long_run() {
        let now = Instant::now() + Duration::from_hours(1);
        let next_after = |budget: &Budget| budget.next.unwrap().saturating_duration_since(now);
        let mut budget = Budget::with_savings(Duration::from_millis(20));
        budget.spend_cpu(Duration::from_millis(15), now);
        assert_eq!(next_after(&budget), Duration::ZERO);
        budget.spend_cpu(Duration::from_millis(15), now);
        assert_eq!(next_after(&budget), Duration::from_secs(1));
        let mut spent = Duration::ZERO;
        for tick in 0..10_000 {
            let at = now + Duration::from_millis(100) * tick;
            if budget.next.unwrap() <= at {
                budget.spend_cpu(Duration::from_micros(1_600), at);
                spent += Duration::from_micros(1_600);
            }
        }
        assert!((9_900..=10_020).contains(&spent.as_millis()), "{spent:?}");
    }
}
