//! Requests that a loop has left unfinished, and when it turned to each.
//!
//! In: which request the loop leaves, and to which it turns. Out: which requests may resume, and which one it
//! served at a moment.

use std::collections::VecDeque;

use crate::bounded::push_newest;
use crate::machine::wire::request::RequestKey;

/// Requests left in one iteration that are remembered. Where there were more, nothing is attributed to one of
/// them alone: what is not told otherwise stays unexplained.
const MAX_LEFT: usize = 64;
/// Parked requests that are remembered. See [`MAX_LEFT`].
const MAX_PARKED: usize = 256;
/// Parked requests are looked for again where some had no room, and so few are left.
const FEW_PARKED: usize = MAX_PARKED / 2;
/// Requests to which the loop turned that are remembered.
const MAX_TOUCHES: usize = 64;

/// The requests that one loop has left.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Left {
    /// Left in the iteration before: they may resume in this one.
    pub(in crate::machine) before: Vec<RequestKey>,
    /// Left in this iteration, for the next one.
    pub(in crate::machine) now: Vec<RequestKey>,
    /// Requests for which it is not known what they wait for, and to which the loop has not turned since.
    pub(in crate::machine) parked: Vec<RequestKey>,
    /// There were more requests than had room, list by list.
    more: More,
    /// When it last turned to which request.
    touches: VecDeque<(u64, RequestKey)>,
}

/// Which lists had no room for all.
#[derive(Clone, Copy, Debug, Default)]
struct More {
    before: bool,
    now: bool,
    parked: bool,
}

impl Left {
    /// The next iteration begins. After a sleep no request resumes without a reason.
    pub(super) fn next_iteration(&mut self, slept: bool) {
        if slept {
            self.now.clear();
            self.more.now = false;
        }
        self.before = std::mem::take(&mut self.now);
        self.more.before = std::mem::take(&mut self.more.now);
    }

    /// The loop leaves a request, of which it is not known what it waits for. `false`: there is no room to
    /// remember it.
    pub(in crate::machine) fn leaves(
        &mut self,
        key: RequestKey,
        is_live: impl Fn(&RequestKey) -> bool,
    ) -> bool {
        if self.parked.len() >= MAX_PARKED {
            self.parked.retain(is_live);
        }
        let is_now = push(&mut self.now, key, MAX_LEFT);
        let is_parked = push(&mut self.parked, key, MAX_PARKED);
        self.more.now |= !is_now;
        self.more.parked |= !is_parked;
        is_now && is_parked
    }

    /// Some parked requests had no room, and by now there is some.
    pub(in crate::machine) const fn has_room_again(&self) -> bool {
        self.more.parked && self.parked.len() <= FEW_PARKED
    }

    /// These are all parked requests. `false`: there is no room to remember them all.
    pub(in crate::machine) fn park_all(&mut self, keys: impl Iterator<Item = RequestKey>) -> bool {
        self.parked.clear();
        let mut keys = keys.fuse();
        self.parked.extend(keys.by_ref().take(MAX_PARKED));
        self.more.parked = keys.next().is_some();
        !self.more.parked
    }

    /// More were left than are remembered.
    pub(in crate::machine) const fn has_more(&self) -> bool {
        let More { before, now, parked } = self.more;
        before || now || parked
    }

    /// More were left in the iteration before than are remembered.
    pub(in crate::machine) const fn has_more_before(&self) -> bool {
        self.more.before
    }

    /// More were left in this iteration than are remembered.
    pub(in crate::machine) const fn has_more_now(&self) -> bool {
        self.more.now
    }

    /// More are parked than are remembered.
    pub(in crate::machine) const fn has_more_parked(&self) -> bool {
        self.more.parked
    }

    /// The loop resumes a request.
    pub(in crate::machine) fn comes_back(&mut self, key: RequestKey) {
        for left in [&mut self.before, &mut self.now, &mut self.parked] {
            left.retain(|left| *left != key);
        }
    }

    /// The loop turns to a request.
    pub(in crate::machine) fn turns_to(&mut self, key: RequestKey, at_ns: u64) {
        push_newest(&mut self.touches, MAX_TOUCHES, (at_ns, key));
    }

    /// The request to which it had last turned at this moment, and when.
    pub(in crate::machine) fn touched_at(&self, at_ns: u64) -> Option<(u64, RequestKey)> {
        self.touches.iter().rev().find(|(touched_ns, _)| *touched_ns <= at_ns).copied()
    }

    /// Whether it is forgotten to which request it had turned at this moment: it has turned to too many
    /// since.
    pub(in crate::machine) fn has_forgotten(&self, at_ns: u64) -> bool {
        self.touches.len() >= MAX_TOUCHES
            && self.touches.front().is_some_and(|(first_ns, _)| at_ns < *first_ns)
    }

    /// When it last turned to a request. 0: it never has.
    pub(super) fn turned_ns(&self) -> u64 {
        self.touches.back().map_or(0, |(at_ns, _)| *at_ns)
    }
}

/// Adds one, if there is room.
fn push(list: &mut Vec<RequestKey>, key: RequestKey, max: usize) -> bool {
    let has_room = list.len() < max;
    if has_room {
        list.push(key);
    }
    has_room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_there_were_more_than_had_room_is_known_as_long_as_it_matters() {
        const NOW: usize = MAX_LEFT;
        const ALL: usize = MAX_PARKED;
        // How many are left, in iterations of so many, and what then happens. Whether there are more of the
        // iteration before, and parked ones.
        type Then = fn(&mut Left);
        type Observed = (bool, bool);
        let next: Then = |left| left.next_iteration(false);
        let sleeps: Then = |left| left.next_iteration(true);
        let cases: &[(&str, usize, usize, Then, Observed)] = &[
            ("one", 1, NOW, next, (false, false)),
            ("all have room", NOW, NOW, next, (false, false)),
            ("one too many in an iteration", NOW + 1, NOW + 1, next, (true, false)),
            ("the iteration is not over", NOW + 1, NOW + 1, |_| {}, (false, false)),
            ("the loop sleeps", NOW + 1, NOW + 1, sleeps, (false, false)),
            (
                "two iterations later",
                NOW + 1,
                NOW + 1,
                |left| (0..2).for_each(|_| left.next_iteration(false)),
                (false, false),
            ),
            (
                "those that are remembered have come back",
                NOW + 1,
                NOW + 1,
                |left| {
                    left.next_iteration(false);
                    (0..NOW as u64).for_each(|id| left.comes_back((0, id)));
                },
                (true, false),
            ),
            ("all are parked", ALL, NOW, sleeps, (false, false)),
            ("one too many is parked", ALL + 1, NOW, sleeps, (false, true)),
            (
                "those that are remembered have come back, and one did not",
                ALL + 1,
                NOW,
                |left| {
                    left.next_iteration(true);
                    (0..ALL as u64).for_each(|id| left.comes_back((0, id)));
                },
                (false, true),
            ),
            (
                "all were looked for, and have room",
                ALL + 1,
                NOW,
                |left| {
                    left.next_iteration(true);
                    assert!(left.park_all([(0, 1), (0, 2)].into_iter()));
                },
                (false, false),
            ),
            (
                "all were looked for, and have none",
                ALL + 1,
                NOW,
                |left| {
                    left.next_iteration(true);
                    assert!(!left.park_all((0..=ALL as u64).map(|id| (0, id))));
                },
                (false, true),
            ),
        ];
        for (what, count, of_iteration, then, expected) in cases {
            let mut left = Left::default();
            let mut without_room = 0;
            for id in 0..*count {
                if id > 0 && id % of_iteration == 0 {
                    left.next_iteration(true);
                }
                without_room += usize::from(!left.leaves((0, id as u64), |_| true));
            }
            assert_eq!(without_room, usize::from(!matches!(*count, 1 | NOW | ALL)), "{what}: it is told");
            then(&mut left);
            assert_eq!((left.has_more_before(), left.has_more_parked()), *expected, "{what}");
        }
    }

    #[test]
    fn parked_requests_are_looked_for_again_once_there_is_much_room() {
        for (what, count, come_back, expected) in [
            ("all had room", MAX_PARKED, MAX_PARKED, false),
            ("there is little room", MAX_PARKED + 1, FEW_PARKED - 1, false),
            ("there is much", MAX_PARKED + 1, FEW_PARKED, true),
        ] {
            let mut left = Left::default();
            for id in 0..count as u64 {
                left.leaves((0, id), |_| true);
            }
            (0..come_back as u64).for_each(|id| left.comes_back((0, id)));
            assert_eq!(left.has_room_again(), expected, "{what}");
        }
    }

    #[test]
    fn requests_that_are_over_make_room_for_one_that_is_left() {
        let mut left = Left::default();
        for id in 0..MAX_PARKED as u64 {
            left.leaves((0, id), |_| true);
        }
        left.next_iteration(true);
        assert!(left.leaves((1, 7), |(_, id)| *id > 0));
        assert_eq!((left.parked.len(), left.parked.contains(&(1, 7))), (MAX_PARKED, true));
    }

    #[test]
    fn who_was_left_may_resume_an_iteration_later_unless_the_loop_slept() {
        for (slept, before) in [(false, vec![(1, 7)]), (true, Vec::new())] {
            let mut left = Left { now: vec![(1, 7)], ..Left::default() };
            left.next_iteration(slept);
            assert_eq!((left.before, left.now), (before, Vec::new()), "{slept}");
        }
    }

    #[test]
    fn who_was_turned_to_last_at_a_moment_is_remembered() {
        let mut left = Left::default();
        for at_ns in 1..=100 {
            left.turns_to((0, at_ns), at_ns * 10);
        }
        assert_eq!(left.touched_at(995), Some((990, (0, 99))));
        assert_eq!(left.touched_at(300), None);
        assert_eq!(left.turned_ns(), 1000);
    }

    #[test]
    fn what_it_turned_to_before_all_that_is_remembered_is_forgotten() {
        const MAX: u64 = MAX_TOUCHES as u64;
        for (what, count, at_ns, expected) in [
            ("it never turned to any", 0, 5, false),
            ("before the first of all", MAX - 1, 5, false),
            ("before the first of those that are remembered", MAX, 5, true),
            ("at that one", MAX, 10, false),
            ("at one that is forgotten", MAX + 1, 10, true),
            ("at the first after that", MAX + 1, 20, false),
        ] {
            let mut left = Left::default();
            (1..=count).for_each(|id| left.turns_to((0, id), id * 10));
            assert_eq!(left.has_forgotten(at_ns), expected, "{what}");
        }
    }
}
