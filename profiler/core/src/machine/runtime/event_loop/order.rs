//! In which order asyncio resumes requests, and what that shows of the cause.
//!
//! In: what a loop reads for which request, and which request resumes, iteration by iteration. Out: whether a
//! timer resumed the present request.
//!
//! In an iteration asyncio runs three kinds of callbacks, in this order (`BaseEventLoop._run_once` in
//! `asyncio/base_events.py`, CPython 3.8 to 3.14). First come those that callbacks of the iteration before
//! made ready, in that order. Then come the callbacks of what its look found ready. Last come those of timers
//! that had come due by the end of that look.
//!
//! A callback of the iteration before makes a task resume. Take a request that resumes after one whose first
//! bytes were read in the iteration before. Its cause came after that read: another read that the same look
//! found ready, or a timer.

/// Requests distinguished. What resumes after another one stays unexplained.
const MAX_HEARD: usize = 64;

/// For which requests the loop has read, and which of them have resumed.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// Requests whose heads were read in the present iteration, after everything that may have resumed
    /// others.
    heard: Vec<u64>,
    /// Requests whose heads were read so in the iteration before.
    heard_before: Vec<u64>,
    /// One of the iteration before has resumed.
    is_past: bool,
    /// Something that the look found ready has been read since.
    has_read: bool,
}

impl Order {
    pub(super) fn next_iteration(&mut self) {
        self.heard_before = std::mem::take(&mut self.heard);
        (self.is_past, self.has_read) = (false, false);
    }

    /// The loop handles what it found ready: what the iteration before made ready has already run.
    pub(super) const fn looks_after(&mut self) {
        self.has_read = true;
    }

    /// A request's head was read: that resumes no other request.
    pub(super) fn hears(&mut self, request: u64) {
        self.has_read = true;
        if self.heard.len() < MAX_HEARD {
            self.heard.push(request);
        }
    }

    /// Something was read that may resume any request.
    pub(super) fn may_let_any(&mut self) {
        self.has_read = true;
        self.heard.clear();
    }

    /// A request does something.
    pub(super) fn ran(&mut self, request: u64) {
        self.is_past |= !self.has_read && self.heard_before.contains(&request);
    }

    /// A timer resumed the present request, as far as order shows.
    pub(super) const fn is_timer(&self) -> bool {
        self.is_past && !self.has_read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens on the loop.
    #[derive(Clone, Copy)]
    enum Step {
        Next,
        LooksAfter,
        HearsOf(u64),
        MayLetAny,
        Ran(u64),
    }

    use Step::{HearsOf, LooksAfter, MayLetAny, Next, Ran};

    fn take(order: &mut Order, step: Step) {
        match step {
            Next => order.next_iteration(),
            LooksAfter => order.looks_after(),
            HearsOf(request) => order.hears(request),
            MayLetAny => order.may_let_any(),
            Ran(request) => order.ran(request),
        }
    }

    #[test]
    fn a_timer_resumed_who_comes_after_those_read_before_and_before_anything_is_read_now() {
        for (what, steps, expected) in [
            ("nothing happened", &[][..], false),
            ("one was read in the iteration before", &[HearsOf(1), Next, Ran(1)], true),
            ("another one resumes", &[HearsOf(1), Next, Ran(2)], false),
            ("of two the second resumes", &[HearsOf(1), HearsOf(2), Next, Ran(2)], true),
            ("others resume after it", &[HearsOf(1), Next, Ran(1), Ran(3)], true),
            ("it was read in this iteration", &[HearsOf(1), Ran(1)], false),
            ("it was read two iterations ago", &[HearsOf(1), Next, Next, Ran(1)], false),
            ("it resumed in the iteration before", &[HearsOf(1), Next, Ran(1), Next], false),
            ("the loop handles what is ready before it", &[HearsOf(1), Next, LooksAfter, Ran(1)], false),
            ("the loop handles what is ready after it", &[HearsOf(1), Next, Ran(1), LooksAfter], false),
            ("a head is read after it", &[HearsOf(1), Next, Ran(1), HearsOf(2)], false),
            ("an answer is read after it", &[HearsOf(1), Next, Ran(1), MayLetAny], false),
            ("an answer was read after its head", &[HearsOf(1), MayLetAny, Next, Ran(1)], false),
            ("an answer was read before its head", &[MayLetAny, HearsOf(1), Next, Ran(1)], true),
        ] {
            let mut order = Order::default();
            steps.iter().for_each(|step| take(&mut order, *step));
            assert_eq!(order.is_timer(), expected, "{what}");
        }
    }

    #[test]
    fn of_more_requests_than_the_bound_those_read_first_are_known() {
        for (request, expected) in [(0, true), (MAX_HEARD as u64 - 1, true), (MAX_HEARD as u64, false)] {
            let mut order = Order::default();
            (0..=MAX_HEARD as u64).for_each(|heard| order.hears(heard));
            order.next_iteration();
            order.ran(request);
            assert_eq!(order.is_timer(), expected, "{request}");
        }
    }
}
