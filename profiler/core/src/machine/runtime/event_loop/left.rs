//! Requests that a loop has left unfinished, and when it turned to each.
//!
//! In: which request the loop leaves, and to which it turns. Out: which requests may resume, and which one it served at a moment.

use std::collections::VecDeque;

use crate::machine::wire::request::RequestKey;

/// Requests left, and back-end descriptors touched, since the last sleep that are remembered. Among
/// more than so many hardly anything is told to be one's alone, and what is not stays unexplained.
pub(in crate::machine) const MAX_LEFT: usize = 64;
/// Parked requests that are remembered. See [`MAX_LEFT`].
pub(in crate::machine) const MAX_PARKED: usize = 256;

/// Those of one loop.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Left {
    /// Left in the iteration before: they may resume in this one.
    pub(in crate::machine) before: Vec<RequestKey>,
    /// Left in this iteration, for the next one.
    pub(in crate::machine) now: Vec<RequestKey>,
    /// Requests for which it is not known what they wait for, and to which the loop has not turned since.
    pub(in crate::machine) parked: Vec<RequestKey>,
    /// When it last turned to which request.
    touches: VecDeque<(u64, RequestKey)>,
}

impl Left {
    /// The next iteration begins. After a sleep no request resumes without a reason.
    pub(super) fn next_iteration(&mut self, slept: bool) {
        if slept {
            self.now.clear();
        }
        self.before = std::mem::take(&mut self.now);
    }

    /// The loop resumes a request.
    pub(in crate::machine) fn comes_back(&mut self, key: RequestKey) {
        for left in [&mut self.before, &mut self.now, &mut self.parked] {
            left.retain(|left| *left != key);
        }
    }

    /// The loop turns to a request.
    pub(in crate::machine) fn turns_to(&mut self, key: RequestKey, at_ns: u64) {
        if self.touches.len() >= MAX_LEFT {
            self.touches.pop_front();
        }
        self.touches.push_back((at_ns, key));
    }

    /// The request to which it had last turned at this moment, and when.
    #[must_use]
    pub(in crate::machine) fn touched_at(&self, at_ns: u64) -> Option<(u64, RequestKey)> {
        self.touches.iter().rev().find(|(touched_ns, _)| *touched_ns <= at_ns).copied()
    }

    /// When it last turned to a request. 0: it never has.
    pub(super) fn turned_ns(&self) -> u64 {
        self.touches.back().map_or(0, |(at_ns, _)| *at_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
