//! How often something may be done that takes long: so that it costs a hundredth of a core.
//!
//! In: what it took, by this thread's own CPU clock. Out: when it may be done again.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// After what took so long, it is done again after a hundred times as long.
const PAUSE: u32 = 100;

/// When something may be done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Budget {
    next: Option<Instant>,
}

/// What is being done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    from: Duration,
}

impl Spent {
    /// Begins.
    pub(super) fn begin() -> Self {
        Self { from: cpu() }
    }

    /// CPU time that it took so far.
    pub(super) fn so_far(self) -> Duration {
        cpu().saturating_sub(self.from)
    }
}

impl Budget {
    /// How long not; `None`: it may be done now.
    pub(super) fn pause(self) -> Option<Duration> {
        self.next?.checked_duration_since(Instant::now()).filter(|pause| !pause.is_zero())
    }

    /// It was done.
    pub(super) fn spend(&mut self, spent: Spent) {
        self.next = Some(Instant::now() + spent.so_far() * PAUSE);
    }

    /// It may be done at once, whatever it took.
    #[cfg(test)]
    pub(super) const fn renew(&mut self) {
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
}
