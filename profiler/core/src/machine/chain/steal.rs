//! How much of the time that the scheduler did not count a hypervisor may have taken.
//!
//! In: readings of the time that hypervisors took of all CPUs; stints, each with what the scheduler did not
//! count of it, which interrupts may have had as well. Out: what of a stint is the hypervisor's, at most.

use std::collections::VecDeque;

use crate::fact::machine::MachineCpu;
use crate::machine::time::capacity::Span;

/// Readings kept.
const MAX_READINGS: usize = 4096;

/// A stretch that begins with a reading.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from_ns: u64,
    /// Taken of all CPUs since boot, up to its start.
    stolen_ns: u64,
    /// Not counted in the stints that began in it.
    uncounted_ns: u64,
}

/// What is known of the time that hypervisors took.
#[derive(Clone, Debug, Default)]
pub(super) struct Steal {
    stretches: VecDeque<Stretch>,
}

impl Steal {
    /// The machine's time was read.
    pub(super) fn read(&mut self, reading: &MachineCpu) {
        let MachineCpu { read_ns: from_ns, stolen_ns, .. } = *reading;
        if self.stretches.back().is_some_and(|last| last.from_ns >= from_ns) {
            return;
        }
        if self.stretches.len() >= MAX_READINGS {
            self.stretches.pop_front();
        }
        self.stretches.push_back(Stretch { from_ns, stolen_ns, uncounted_ns: 0 });
    }

    /// The scheduler did not count so much of a stint that began at this moment.
    pub(super) fn note(&mut self, from_ns: u64, uncounted_ns: u64) {
        let place = self.stretches.partition_point(|stretch| stretch.from_ns <= from_ns);
        if let Some(stretch) = place.checked_sub(1).and_then(|place| self.stretches.get_mut(place)) {
            stretch.uncounted_ns = stretch.uncounted_ns.saturating_add(uncounted_ns);
        }
    }

    /// How much the hypervisor took of what the scheduler did not count of a stint: of all such time between
    /// two readings no more than it took in all. Without a reading before and after it, that is not known.
    pub(super) fn of(&self, (from_ns, until_ns): Span, uncounted_ns: u64) -> u64 {
        let first = self.stretches.partition_point(|stretch| stretch.from_ns <= from_ns);
        let after = self.stretches.partition_point(|stretch| stretch.from_ns < until_ns);
        let Some(first) = first.checked_sub(1) else { return 0 };
        let (Some(before), Some(end)) = (self.stretches.get(first), self.stretches.get(after)) else {
            return 0;
        };
        let stretches = self.stretches.range(first..after);
        let all_ns = stretches.fold(0_u64, |sum, stretch| sum.saturating_add(stretch.uncounted_ns));
        let stolen_ns = end.stolen_ns.saturating_sub(before.stolen_ns);
        if all_ns <= stolen_ns {
            return uncounted_ns;
        }
        let part = u128::from(uncounted_ns) * u128::from(stolen_ns) / u128::from(all_ns);
        u64::try_from(part).unwrap_or(0).min(uncounted_ns)
    }

    /// What ended before `before_ns` is forgotten.
    pub(super) fn roll(&mut self, before_ns: u64) {
        while self.stretches.get(1).is_some_and(|next| next.from_ns < before_ns) {
            self.stretches.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steal(readings: &[(u64, u64)]) -> Steal {
        let mut steal = Steal::default();
        for (read_ns, stolen_ns) in readings {
            steal.read(&MachineCpu { read_ns: *read_ns, stolen_ns: *stolen_ns, ..MachineCpu::default() });
        }
        steal
    }

    #[test]
    fn between_two_readings_no_more_is_the_hypervisors_than_it_took() {
        let mut steal = steal(&[(100, 50), (200, 80), (300, 80), (400, 500)]);
        for (from_ns, uncounted_ns) in [(110, 40), (150, 20), (210, 70), (310, 9)] {
            steal.note(from_ns, uncounted_ns);
        }
        assert_eq!(steal.of((110, 160), 40), 20);
        assert_eq!(steal.of((150, 190), 20), 10);
        assert_eq!(steal.of((210, 290), 70), 0, "it took nothing");
        assert_eq!(steal.of((310, 390), 9), 9);
        assert_eq!(steal.of((150, 250), 20), 20 * 30 / 130, "of both stretches together");
    }

    #[test]
    fn what_lies_before_the_first_reading_or_behind_the_last_is_nobodys() {
        let mut steal = steal(&[(100, 50), (200, 80), (90, 10)]);
        steal.note(90, 5);
        steal.note(250, 5);
        assert_eq!((steal.of((90, 150), 5), steal.of((150, 250), 5)), (0, 0));
        assert_eq!(steal.of((150, 200), 5), 5);
        steal.roll(150);
        assert_eq!(steal.of((150, 200), 5), 5, "it began before");
        steal.roll(201);
        assert_eq!(steal.of((150, 200), 5), 0);
    }
}
