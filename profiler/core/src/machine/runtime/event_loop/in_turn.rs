//! Requests of asyncio that each run in a task of their own up to a wakeup of their own loop
//! (`call_soon_threadsafe`), which then writes the response.
//!
//! In: requests that the loop reads, its own wakeups, responses that it begins. Out: which request runs now,
//! once enough have been seen to do so.
//!
//! asyncio runs what callbacks made ready one iteration later, in that order. So requests run one iteration
//! after they were read, in the order of these reads. They are answered another iteration later, in the order
//! of their wakeups. Whether a loop's requests do that is counted: each response that comes in its turn
//! is evidence for it, all else is evidence against it.

use std::collections::VecDeque;

use crate::machine::wire::request::RequestKey;

/// Requests of one iteration. Where there are more, nothing is concluded from it.
const MAX_IN_TURN: usize = 64;
/// Nothing is concluded before so many responses came in their turn.
const MIN_RIGHT: u32 = 3;
/// So many must come in their turn for each one that does not.
const RIGHT_TO_WRONG: u32 = 8;
/// Halved once so many were seen, so that what a loop does now counts more than what it did.
const MAX_SEEN: u32 = 1024;

/// The requests in turn of one loop.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct InTurn {
    /// Requests that the present iteration has read: they run in the next one.
    read: VecDeque<RequestKey>,
    /// Requests of the iteration before that have not run yet.
    due: VecDeque<RequestKey>,
    /// The one that runs now, and in which task.
    present: Option<(RequestKey, u64)>,
    /// Requests that have run in the present iteration: they are answered in the next one.
    ran: VecDeque<RequestKey>,
    /// Requests of the iteration before that are not answered yet.
    unanswered: VecDeque<RequestKey>,
    /// Responses that came in their turn.
    right: u32,
    /// What happened out of turn.
    wrong: u32,
}

impl InTurn {
    /// The next iteration begins.
    pub(super) fn next_iteration(&mut self, slept: bool) {
        self.misses(self.unanswered.len());
        self.stops_running();
        self.due = std::mem::take(&mut self.read);
        self.unanswered = std::mem::take(&mut self.ran);
        if slept {
            // A loop with something to run does not sleep.
            self.misses(self.due.len().saturating_add(self.unanswered.len()));
            self.due.clear();
            self.unanswered.clear();
        }
    }

    /// A whole request was read.
    pub(in crate::machine) fn reads(&mut self, key: RequestKey) {
        if self.read.len() >= MAX_IN_TURN {
            self.misses(1);
        } else if !self.read.contains(&key) && !self.due.contains(&key) {
            self.read.push_back(key);
        }
    }

    /// The loop handles what it found ready. All that the iteration before made ready has run.
    pub(super) fn stops_running(&mut self) {
        self.misses(self.due.len());
        self.due.clear();
        self.present = None;
    }

    /// The request that runs next, or runs already.
    pub(in crate::machine) fn whose_turn(&self) -> Option<RequestKey> {
        self.due.front().copied().filter(|_| self.holds())
    }

    /// The request that runs.
    pub(in crate::machine) fn present(&self) -> Option<RequestKey> {
        self.present.map(|(key, _)| key)
    }

    /// A request begins to run, in this task.
    pub(in crate::machine) const fn begins(&mut self, key: RequestKey, task: u64) {
        self.present = Some((key, task));
    }

    /// The loop's thread wakes the loop, in this task: whoever runs is done.
    pub(in crate::machine) fn wakes(&mut self, task: Option<u64>) {
        let is_same = self.present.take().is_none_or(|(_, began_in)| Some(began_in) == task);
        match self.due.pop_front() {
            Some(key) if is_same && self.ran.len() < MAX_IN_TURN => self.ran.push_back(key),
            _ => self.misses(1),
        }
    }

    /// The loop begins a response.
    pub(in crate::machine) fn answers(&mut self, key: RequestKey) {
        if self.unanswered.front() == Some(&key) {
            self.unanswered.pop_front();
            self.right = self.right.saturating_add(1);
            self.age();
        } else {
            self.unanswered.retain(|other| *other != key);
            self.misses(1);
        }
    }

    /// Whether its requests run in their turn, as far as was seen.
    const fn holds(&self) -> bool {
        self.right >= MIN_RIGHT && self.right >= self.wrong.saturating_mul(RIGHT_TO_WRONG)
    }

    fn misses(&mut self, count: usize) {
        self.wrong = self.wrong.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        self.age();
    }

    const fn age(&mut self) {
        while self.right.saturating_add(self.wrong) >= MAX_SEEN {
            (self.right, self.wrong) = (self.right / 2, self.wrong / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: u64 = 7;

    const fn key(id: u64) -> RequestKey {
        (0, id)
    }

    /// Something that the loop does.
    #[derive(Clone, Copy, Debug)]
    enum Does {
        /// The loop looks for what is ready.
        Looks,
        /// The loop looks for what is ready, and sleeps.
        Sleeps,
        /// The loop reads this request.
        Reads(u64),
        /// The loop's thread wakes the loop.
        Wakes,
        /// The loop begins the response to this request.
        Answers(u64),
        /// The loop handles what it found ready.
        Handles,
    }
    use Does::{Answers, Handles, Looks, Reads, Sleeps, Wakes};

    fn after(all: &[Does]) -> InTurn {
        let mut in_turn = InTurn::default();
        for does in all {
            match does {
                Looks => in_turn.next_iteration(false),
                Sleeps => in_turn.next_iteration(true),
                Reads(id) => in_turn.reads(key(*id)),
                Wakes => in_turn.wakes(Some(TASK)),
                Answers(id) => in_turn.answers(key(*id)),
                Handles => in_turn.stops_running(),
            }
        }
        in_turn
    }

    #[test]
    fn a_response_two_iterations_after_its_head_and_one_after_a_wakeup_is_evidence_and_all_else_is_against_it()
     {
        let one = [Reads(1), Looks, Wakes, Looks, Answers(1)];
        let two = [Reads(1), Reads(2), Looks, Wakes, Wakes, Looks, Answers(1), Answers(2)];
        for (what, all, right, wrong) in [
            ("one", &one[..], 1, 0),
            ("two", &two, 2, 0),
            (
                "another is read meanwhile",
                &[Reads(1), Looks, Wakes, Handles, Reads(2), Looks, Answers(1)],
                1,
                0,
            ),
            ("two in another order", &[&two[..6], &[Answers(2), Answers(1)]].concat(), 1, 1),
            (
                "one of two wakes nobody",
                &[Reads(1), Reads(2), Looks, Wakes, Handles, Looks, Answers(1)],
                1,
                1,
            ),
            ("it wakes the loop once more", &[Reads(1), Looks, Wakes, Wakes, Looks, Answers(1)], 1, 1),
            ("nobody wakes it", &[Reads(1), Looks, Looks, Answers(1)], 0, 2),
            ("it answers at once", &[Reads(1), Looks, Answers(1), Looks], 0, 2),
            ("it answers late", &[Reads(1), Looks, Wakes, Looks, Looks, Answers(1)], 0, 2),
            ("it sleeps before it runs", &[Reads(1), Sleeps, Wakes, Looks, Answers(1)], 0, 3),
            ("it sleeps before it answers", &[Reads(1), Looks, Wakes, Sleeps, Answers(1)], 0, 2),
            ("it is read in two parts", &[Reads(1), Reads(1), Looks, Wakes, Looks, Answers(1)], 1, 0),
        ] {
            let in_turn = after(all);
            assert_eq!((in_turn.right, in_turn.wrong), (right, wrong), "{what}");
        }
    }

    #[test]
    fn requests_run_in_their_turn_where_nearly_all_were_seen_to() {
        for (right, wrong, expected) in
            [(0, 0, false), (2, 0, false), (3, 0, true), (7, 1, false), (8, 1, true), (15, 2, false)]
        {
            let in_turn = InTurn { right, wrong, due: [key(1), key(2)].into(), ..InTurn::default() };
            assert_eq!(in_turn.whose_turn(), expected.then_some(key(1)), "{right} {wrong}");
        }
        assert_eq!(InTurn { right: 9, ..InTurn::default() }.whose_turn(), None, "nobody is due");
    }

    #[test]
    fn who_began_in_one_task_and_wakes_the_loop_in_another_is_evidence_against_it() {
        for (what, began_in, wakes_in, wrong) in [
            ("the same", Some(TASK), Some(TASK), 0),
            ("another", Some(TASK), Some(8), 1),
            ("that is not known", Some(TASK), None, 1),
            ("it has made no call before", None, Some(TASK), 0),
        ] {
            let mut in_turn = InTurn { due: [key(1)].into(), ..InTurn::default() };
            if let Some(task) = began_in {
                in_turn.begins(key(1), task);
                assert_eq!(in_turn.present(), Some(key(1)), "{what}");
            }
            in_turn.wakes(wakes_in);
            assert_eq!((in_turn.wrong, in_turn.present()), (wrong, None), "{what}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_was_long_ago_counts_less() {
        let mut in_turn = InTurn::default();
        (0..1000).for_each(|id| in_turn.reads(key(id)));
        assert_eq!(in_turn.read.len(), MAX_IN_TURN);
        let mut in_turn = InTurn { due: [key(1)].into(), right: MAX_SEEN - 1, ..InTurn::default() };
        in_turn.misses(200);
        assert!(in_turn.whose_turn().is_none());
        for _ in 0..MAX_SEEN {
            in_turn.unanswered.push_back(key(2));
            in_turn.answers(key(2));
        }
        assert_eq!(in_turn.whose_turn(), Some(key(1)));
    }
}
