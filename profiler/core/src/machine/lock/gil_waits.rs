//! Waits for an interpreter lock one by one, until it is known for which request they were.
//!
//! In: the sleeps of each attempt to take the lock, with what was found of its holder; ends of attempts
//! (`--stacks`); the time that requests take of their threads. Out: the longest waits of each stretch of
//! time. The others are only counted.

use std::cmp::Reverse;

use super::gil_holder::HeldBy;
use super::gil_stack::Stack;
use crate::model::gil_waits::MAX_LISTED;

/// Holders and places distinguished in one attempt; time beyond that is attributed to nobody.
const MAX_PARTS: usize = 16;

/// Sleeps of one attempt that found the same holder in the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    by: HeldBy,
    found: Option<Stack>,
    wait_ns: u64,
}

/// An attempt under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::machine) struct Parts(Vec<Part>);

impl Parts {
    /// The attempt's next sleep, `wait_ns` long, found this.
    pub(in crate::machine) fn add(&mut self, by: HeldBy, found: Option<Stack>, wait_ns: u64) {
        if let Some(known) = self.0.iter_mut().find(|known| known.by == by && known.found == found) {
            known.wait_ns = known.wait_ns.saturating_add(wait_ns);
        } else if self.0.len() < MAX_PARTS {
            self.0.push(Part { by, found, wait_ns });
        }
    }

    /// The attempt has ended; its thread was at `stood`.
    pub(in crate::machine) fn end(
        self,
        (start_ns, end_ns): (u64, u64),
        stood: Option<Stack>,
    ) -> EndedAttempt {
        let mut holders: Vec<(HeldBy, u64)> = Vec::new();
        for part in &self.0 {
            match holders.iter_mut().find(|(by, _)| *by == part.by) {
                Some((_, sum_ns)) => *sum_ns = sum_ns.saturating_add(part.wait_ns),
                None => holders.push((part.by, part.wait_ns)),
            }
        }
        let holder = holders.into_iter().max_by_key(|(by, wait_ns)| (*wait_ns, Reverse(by.tid)));
        let (by, held_ns) = holder.unwrap_or((HeldBy::UNKNOWN, 0));
        let found = self.0.into_iter().filter(|part| part.by == by);
        let found = found.filter_map(|part| Some((part.found?, part.wait_ns)));
        let found = found.max_by_key(|(_, wait_ns)| *wait_ns);
        EndedAttempt { start_ns, end_ns, by, held_ns, found, stood }
    }
}

/// One attempt that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedAttempt {
    /// Start and end.
    pub(in crate::machine) start_ns: u64,
    pub(in crate::machine) end_ns: u64,
    /// Who had the lock for the longest part of it, and how long that was.
    pub(in crate::machine) by: HeldBy,
    pub(in crate::machine) held_ns: u64,
    /// Where that holder was found for longest, and how long that was.
    pub(in crate::machine) found: Option<(Stack, u64)>,
    /// Where the waiter stood.
    pub(in crate::machine) stood: Option<Stack>,
}

impl EndedAttempt {
    /// How long it took, run queue included.
    pub(in crate::machine) const fn length_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }

    /// The part of it from `from_ns` on; `None`: there is none.
    fn from(mut self, from_ns: u64) -> Option<Self> {
        if from_ns > self.start_ns {
            self.start_ns = from_ns;
            let most_ns = self.length_ns();
            self.held_ns = self.held_ns.min(most_ns);
            if let Some((_, found_ns)) = &mut self.found {
                *found_ns = (*found_ns).min(most_ns);
            }
        }
        (self.length_ns() > 0).then_some(self)
    }
}

/// Waits that are not kept one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Others {
    count: u64,
    wait_ns: u64,
    /// When the first began and the last ended.
    start_ns: u64,
    end_ns: u64,
}

impl Others {
    fn add(&mut self, other: Self) {
        if other.count == 0 {
            return;
        }
        self.start_ns = if self.count == 0 { other.start_ns } else { self.start_ns.min(other.start_ns) };
        self.end_ns = self.end_ns.max(other.end_ns);
        self.count = self.count.saturating_add(other.count);
        self.wait_ns = self.wait_ns.saturating_add(other.wait_ns);
    }
}

/// Attempts that ended in a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndedAttempts {
    /// The longest, longest first.
    longest: Vec<EndedAttempt>,
    others: Others,
}

impl EndedAttempts {
    /// Adds one that has ended.
    pub fn add(&mut self, wait: EndedAttempt) {
        let place = self.longest.partition_point(|other| other.length_ns() >= wait.length_ns());
        if place < MAX_LISTED {
            self.longest.insert(place, wait);
        } else {
            self.leave_out(&wait);
        }
        if self.longest.len() > MAX_LISTED
            && let Some(shortest) = self.longest.pop()
        {
            self.leave_out(&shortest);
        }
    }

    fn leave_out(&mut self, wait: &EndedAttempt) {
        let EndedAttempt { start_ns, end_ns, .. } = *wait;
        self.others.add(Others { count: 1, wait_ns: wait.length_ns(), start_ns, end_ns });
    }

    /// Adds all of `other`.
    pub fn add_all(&mut self, other: Self) {
        for wait in other.longest {
            self.add(wait);
        }
        self.others.add(other.others);
    }

    /// Takes the waits that ended at `until_ns` or before, and of these the part from `from_ns` on. Waits
    /// that are only counted are taken if all of them surely lie there.
    pub fn take(&mut self, from_ns: u64, until_ns: u64) -> Self {
        if self.is_empty() {
            return Self::default();
        }
        let (taken, left) =
            std::mem::take(&mut self.longest).into_iter().partition(|wait| wait.end_ns <= until_ns);
        self.longest = left;
        let mut within = Self::default();
        let taken: Vec<EndedAttempt> = taken;
        for wait in taken.into_iter().filter_map(|wait| wait.from(from_ns)) {
            within.add(wait);
        }
        if self.others.end_ns <= until_ns {
            let others = std::mem::take(&mut self.others);
            if others.start_ns >= from_ns {
                within.others.add(others);
            }
        }
        within
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.longest.is_empty() && self.others.count == 0
    }

    /// The longest, longest first.
    pub(in crate::machine) fn longest(&self) -> impl Iterator<Item = &EndedAttempt> {
        self.longest.iter()
    }

    /// How many others there are, and how long they took together.
    pub(in crate::machine) const fn others(&self) -> (u64, u64) {
        (self.others.count, self.others.wait_ns)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn by(tid: u32) -> HeldBy {
        HeldBy { contender: tid, tid }
    }

    fn stack(code: u64) -> Stack {
        (1, [(code, code + 8, 0)].into())
    }

    fn wait(start_ns: u64, end_ns: u64) -> EndedAttempt {
        Parts::default().end((start_ns, end_ns), None)
    }

    #[test]
    fn the_holder_is_who_had_it_longest_in_all_and_its_place_where_it_was_found_longest() {
        let mut parts = Parts::default();
        parts.add(by(7), Some(stack(16)), 4);
        parts.add(by(8), Some(stack(32)), 6);
        parts.add(by(7), None, 3);
        parts.add(by(7), Some(stack(48)), 1);
        parts.add(by(7), Some(stack(16)), 1);
        let wait = parts.end((100, 115), Some(stack(64)));
        assert_eq!((wait.by, wait.held_ns, wait.found), (by(7), 9, Some((stack(16), 5))));
        assert_eq!((wait.start_ns, wait.end_ns, wait.stood), (100, 115, Some(stack(64))));
    }

    #[test]
    fn of_an_attempt_in_more_places_than_are_distinguished_nothing_is_said_too_much() {
        let mut parts = Parts::default();
        for code in 0..100 {
            parts.add(by(7), Some(stack(code * 16)), 5);
        }
        let wait = parts.end((0, 500), None);
        assert_eq!((wait.held_ns, wait.found.map(|(_, found_ns)| found_ns)), (80, Some(5)));
    }

    #[test]
    fn of_a_wait_that_the_request_began_in_only_the_rest_is_its_own() {
        let mut parts = Parts::default();
        parts.add(by(7), Some(stack(16)), 60);
        let mut waits = EndedAttempts::default();
        waits.add(parts.end((100, 160), None));
        waits.add(wait(20, 90));
        let own = waits.take(120, 200);
        let listed: Vec<_> =
            own.longest().map(|wait| (wait.start_ns, wait.length_ns(), wait.held_ns)).collect();
        assert_eq!(listed, [(120, 40, 40)]);
        assert_eq!(own.longest().next().and_then(|wait| wait.found.clone()), Some((stack(16), 40)));
        assert!(waits.is_empty(), "what lies before it is nobody's");
    }

    proptest! {
        /// In whatever steps waits are taken: none counts twice, none is longer than its time, and the
        /// longest are kept.
        #[test]
        fn waits_are_taken_once_and_never_more_than_there_were(
            lengths in prop::collection::vec((1_u64..50, 1_u64..100), 0..40),
            cuts in prop::collection::vec((0_u64..6000, 0_u64..200), 0..6),
        ) {
            let mut waits = EndedAttempts::default();
            let (mut now_ns, mut lengths_ns) = (0, Vec::new());
            for (gap_ns, length_ns) in lengths {
                waits.add(wait(now_ns + gap_ns, now_ns + gap_ns + length_ns));
                lengths_ns.push(length_ns);
                now_ns += gap_ns + length_ns;
            }
            lengths_ns.sort_unstable_by(|a, b| b.cmp(a));
            let longest: Vec<u64> = waits.longest().map(EndedAttempt::length_ns).collect();
            prop_assert_eq!(&longest[..], &lengths_ns[..lengths_ns.len().min(MAX_LISTED)]);
            let (count, others_ns) = waits.others();
            prop_assert_eq!(count as usize + longest.len(), lengths_ns.len());
            prop_assert_eq!(others_ns + longest.iter().sum::<u64>(), lengths_ns.iter().sum::<u64>());
            let mut taken = EndedAttempts::default();
            let mut cuts = cuts;
            cuts.push((u64::MAX, 0));
            cuts.sort_unstable();
            let mut from_ns = 0;
            for (until_ns, skipped_ns) in cuts {
                let part = waits.take(from_ns, until_ns);
                for wait in part.longest() {
                    prop_assert!(wait.start_ns >= from_ns && wait.end_ns <= until_ns);
                }
                taken.add_all(part);
                from_ns = until_ns.saturating_add(skipped_ns);
            }
            prop_assert!(waits.is_empty());
            let (count, others_ns) = taken.others();
            let kept: Vec<u64> = taken.longest().map(EndedAttempt::length_ns).collect();
            prop_assert!(kept.len() <= MAX_LISTED && kept.is_sorted_by(|a, b| a >= b));
            prop_assert!(count as usize + kept.len() <= lengths_ns.len());
            prop_assert!(others_ns + kept.iter().sum::<u64>() <= lengths_ns.iter().sum::<u64>());
        }
    }
}
