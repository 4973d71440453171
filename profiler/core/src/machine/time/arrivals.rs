//! How many slots were busy when each request arrived.
//!
//! In: the number of busy slots as it becomes certain; arrivals, known when the request ends, before or after
//! their moment has been settled. Out: arrivals by the number of slots busy then.

use std::cmp::Reverse;
use std::collections::VecDeque;

use crate::bounded::push_newest;

/// Changes of the number of busy slots that are remembered; an arrival before the oldest cannot be placed.
const MAX_CHANGES: usize = 4_096;
/// Arrivals that wait until their moment is settled.
const MAX_WAITING: usize = 65_536;
/// Largest number of slots distinguished.
const MAX_LEVEL: usize = 65_536;

/// Arrivals by the number of busy slots.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    /// Time of each change and the number from then on, oldest first.
    changes: VecDeque<(u64, u32)>,
    /// Changes were dropped: nothing is known of the time before the first.
    is_cut: bool,
    /// Arrivals whose moment is not settled: when, and how many. The earliest is the last, if they are in
    /// order.
    waiting: Vec<(u64, u64)>,
    is_in_order: bool,
    at_level: Vec<u64>,
    /// Arrivals of which the number is not known any more.
    pub unplaced: u64,
}

impl Arrivals {
    /// A request arrived at `time_ns`; everything before `settled_ns` is certain.
    pub fn add(&mut self, time_ns: u64, settled_ns: u64) {
        if time_ns >= settled_ns {
            return self.wait(time_ns);
        }
        let after = self.changes.partition_point(|(change_ns, _)| *change_ns <= time_ns);
        match after.checked_sub(1).and_then(|place| self.changes.get(place)) {
            Some((_, level)) => self.count(*level, 1),
            None if self.is_cut => self.unplaced = self.unplaced.saturating_add(1),
            None => self.count(0, 1),
        }
    }

    fn wait(&mut self, time_ns: u64) {
        if self.waiting.len() >= MAX_WAITING {
            self.put_in_order();
        }
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push((time_ns, 1));
            self.is_in_order = false;
            return;
        }
        let place = self.waiting.binary_search_by_key(&Reverse(time_ns), |(known_ns, _)| Reverse(*known_ns));
        match place.ok().and_then(|place| self.waiting.get_mut(place)) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.unplaced = self.unplaced.saturating_add(1),
        }
    }

    /// Sorts what waits, each moment once.
    fn put_in_order(&mut self) {
        if std::mem::replace(&mut self.is_in_order, true) {
            return;
        }
        // Requests end nearly in the order of their arrivals: long runs are in order already.
        self.waiting.sort_by_key(|(time_ns, _)| Reverse(*time_ns));
        self.waiting.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            kept.1 = kept.1.saturating_add(if is_same { next.1 } else { 0 });
            is_same
        });
    }

    /// The number of busy slots was `level` up to `until_ns`.
    pub fn pass(&mut self, until_ns: u64, level: u32) {
        self.put_in_order();
        while let Some((_, count)) = self.waiting.pop_if(|(time_ns, _)| *time_ns < until_ns) {
            self.count(level, count);
        }
    }

    /// So many slots are busy from `time_ns` on.
    pub fn change(&mut self, time_ns: u64, level: u32) {
        self.is_cut |= push_newest(&mut self.changes, MAX_CHANGES, (time_ns, level)).is_some();
    }

    /// The window is over: what arrived at its very end counts now.
    pub fn finish(&mut self, level: u32) {
        self.pass(u64::MAX, level);
    }

    /// Arrivals while at least `count` slots were busy.
    pub fn at_least(&self, count: u32) -> u64 {
        self.at_level.iter().skip(count as usize).fold(0, |sum, at_level| sum.saturating_add(*at_level))
    }

    fn count(&mut self, level: u32, count: u64) {
        let level = (level as usize).min(MAX_LEVEL);
        if self.at_level.len() <= level {
            self.at_level.resize(level + 1, 0);
        }
        if let Some(sum) = self.at_level.get_mut(level) {
            *sum = sum.saturating_add(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ```text
    ///        1     2     1     0
    ///  100 |--| 110 |-| 120 |-| 130
    /// ```
    fn passed(arrivals: &mut Arrivals) {
        for (time_ns, before, level) in [(100, 0, 1), (110, 1, 2), (120, 2, 1), (130, 1, 0)] {
            arrivals.pass(time_ns, before);
            arrivals.change(time_ns, level);
        }
    }

    #[test]
    fn an_arrival_counts_the_same_whether_it_is_learned_of_early_or_late() {
        for (time_ns, level) in [(99, 0), (100, 1), (109, 1), (110, 2), (119, 2), (120, 1), (130, 0)] {
            let (mut early, mut late) = (Arrivals::default(), Arrivals::default());
            early.add(time_ns, 0);
            passed(&mut early);
            early.finish(0);
            passed(&mut late);
            late.add(time_ns, 131);
            for arrivals in [early, late] {
                assert_eq!((arrivals.at_least(level), arrivals.at_least(level + 1)), (1, 0), "{time_ns}");
                assert_eq!(arrivals.unplaced, 0);
            }
        }
    }

    #[test]
    fn beyond_the_bound_only_moments_that_are_known_find_room() {
        let bound = MAX_WAITING as u64;
        // Each moment twice, then as many as there is room for.
        for times in [2, 1] {
            let mut arrivals = Arrivals::default();
            (0..bound).for_each(|number| arrivals.add(number / times, 0));
            arrivals.add(7, 0);
            arrivals.add(bound, 0);
            arrivals.finish(1);
            let unplaced = u64::from(times == 1);
            assert_eq!((arrivals.unplaced, arrivals.at_least(1)), (unplaced, bound + 2 - unplaced));
        }
    }

    #[test]
    fn an_arrival_before_what_is_remembered_is_counted_as_unplaced() {
        let mut arrivals = Arrivals::default();
        for time_ns in 1..=(MAX_CHANGES as u64 + 10) {
            arrivals.change(time_ns * 10, 1);
        }
        arrivals.add(15, u64::MAX);
        arrivals.add(u64::MAX - 1, u64::MAX);
        assert_eq!((arrivals.unplaced, arrivals.at_least(1)), (1, 1));
    }
}
