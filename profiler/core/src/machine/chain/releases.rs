//! Who released each lock, and when.
//!
//! In: waits in futexes that a thread of the target ended. Out: who had a lock at each moment of a wait: who
//! released it next. It may have been taken out of turn, by one that did not wait.

use std::collections::VecDeque;

use crate::bounded::{BoundedMap, push_newest};
use crate::event::Tid;

/// Locks that are kept.
const MAX_LOCKS: usize = 8192;
/// Releases kept of one lock, the newest.
const MAX_RELEASES: usize = 256;

/// A lock: its process, and its address there.
pub(in crate::machine) type LockAddress = (Tid, u64);

/// The locks' releases.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Releases {
    locks: BoundedMap<LockAddress, VecDeque<(u64, Tid)>, MAX_LOCKS>,
}

impl Releases {
    /// A thread released a lock at this moment: it woke one that waited.
    pub(in crate::machine) fn released(&mut self, lock: LockAddress, at_ns: u64, by: Tid) {
        if let Some(releases) = self.locks.get_or_default(lock) {
            push_newest(releases, MAX_RELEASES, (at_ns, by));
            // Waits become known as they end, which is nearly the order in which they were ended.
            let mut place = releases.len().saturating_sub(1);
            while let Some(before) = place.checked_sub(1)
                && releases.get(before).is_some_and(|(known_ns, _)| *known_ns > at_ns)
            {
                releases.swap(before, place);
                place = before;
            }
        }
    }

    /// Who had a lock in an interval at whose end this thread released it: stretches in order, each with its
    /// holder.
    pub(super) fn holders(
        &self,
        lock: LockAddress,
        (from_ns, until_ns): (u64, u64),
        last: Tid,
    ) -> Vec<((u64, u64), Tid)> {
        let mut stretches = Vec::new();
        let mut at_ns = from_ns;
        let releases = self.locks.get(&lock);
        let first = releases.map_or(0, |all| all.partition_point(|(released_ns, _)| *released_ns <= from_ns));
        for (released_ns, by) in releases.into_iter().flat_map(|all| all.range(first.min(all.len())..)) {
            if *released_ns >= until_ns {
                break;
            }
            stretches.push(((at_ns, *released_ns), *by));
            at_ns = *released_ns;
        }
        stretches.push(((at_ns, until_ns), last));
        stretches
    }

    /// The next window begins: locks that nobody waited for since the one before are forgotten.
    pub(super) fn roll(&mut self, before_ns: u64) {
        self.locks.retain(|_, releases| releases.back().is_some_and(|(at_ns, _)| *at_ns >= before_ns));
    }

    /// Locks that found no place.
    pub(super) const fn evicted(&self) -> u64 {
        self.locks.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_each_moment_of_a_wait_whoever_releases_next_has_the_lock() {
        let mut releases = Releases::default();
        for (at_ns, by) in [(10, 1), (30, 3), (20, 2), (50, 5)] {
            releases.released((7, 100), at_ns, by);
        }
        releases.released((8, 100), 25, 9);
        let holders = |interval, last| releases.holders((7, 100), interval, last);
        assert_eq!(holders((15, 40), 4), [((15, 20), 2), ((20, 30), 3), ((30, 40), 4)]);
        assert_eq!(holders((10, 20), 2), [((10, 20), 2)], "a release ends what was before it");
        assert_eq!(releases.holders((7, 200), (0, 9), 4), [((0, 9), 4)], "another lock");
    }
}
