//! Requests that a front end has sent over one connection and that the server has not answered.
//!
//! In: what was sent and when, when a request arrived at the server. Out: which of them that is. A request has arrived after it was sent, and before
//! the next one was: no front end sends one before the answer to the one before. So a half that was never seen shifts nothing.

use std::collections::VecDeque;

use super::Outer;

/// Kept of one connection. There are more only where the server's halves get lost; the oldest goes first, and its request is counted when it has
/// waited for too long.
const MAX_SENT: usize = 64;

/// A request that was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// `None`: nobody knows whose it is.
    outer: Option<Outer>,
    /// Entry of the first call that belongs to it.
    at_ns: u64,
}

/// Requests that were sent, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Unanswered(VecDeque<Sent>);

impl Unanswered {
    /// No request is unanswered.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The request that was sent last, if it is known.
    pub(super) fn last(&self) -> Option<Outer> {
        self.0.back()?.outer
    }

    /// A request was sent.
    pub(super) fn push(&mut self, outer: Option<Outer>, at_ns: u64) {
        if self.0.len() >= MAX_SENT {
            self.0.pop_front();
        }
        self.0.push_back(Sent { outer, at_ns });
    }

    /// Whether a request is among them.
    pub(super) fn has(&self, outer: Outer) -> bool {
        self.0.iter().any(|sent| sent.outer == Some(outer))
    }

    /// What was sent last is part of this request. Returns whether nobody knew whose it was.
    pub(super) fn claim(&mut self, outer: Outer) -> bool {
        let unknown = self.0.back_mut().filter(|last| last.outer.is_none());
        unknown.is_some_and(|last| last.outer.replace(outer).is_none())
    }

    /// The request that arrived then; `None`: it is not among them, or nobody knows whose it is.
    pub(super) fn at(&self, arrival_ns: Option<u64>) -> Option<Outer> {
        self.0.get(self.place(arrival_ns)?)?.outer
    }

    /// The server has answered the request that arrived then, and so all before it.
    pub(super) fn answer(&mut self, arrival_ns: Option<u64>) -> Option<Outer> {
        let place = self.place(arrival_ns)?;
        self.0.drain(..=place).next_back()?.outer
    }

    /// Takes all that are known.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Outer> {
        std::mem::take(&mut self.0).into_iter().filter_map(|sent| sent.outer)
    }

    /// Without the time of its arrival it is the oldest.
    fn place(&self, arrival_ns: Option<u64>) -> Option<usize> {
        let Some(arrival_ns) = arrival_ns else { return (!self.0.is_empty()).then_some(0) };
        self.0.iter().rposition(|sent| sent.at_ns <= arrival_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knew_is_of_the_request_that_goes_on_with_it() {
        let mut unanswered = Unanswered::default();
        assert!(!unanswered.claim((0, 1)), "nothing was sent");
        unanswered.push(Some((0, 1)), 10);
        assert!(!unanswered.claim((0, 2)), "it is known");
        unanswered.push(None, 20);
        assert!(unanswered.claim((0, 2)) && unanswered.has((0, 2)) && !unanswered.has((0, 3)));
        assert_eq!(unanswered.at(Some(21)), Some((0, 2)));
    }

    #[test]
    fn a_request_is_the_last_that_was_sent_before_it_arrived() {
        for (what, sent, arrival_ns, expected, left) in [
            ("nothing was sent", &[][..], Some(10), None, 0),
            ("it was sent before", &[(Some(1), 10)], Some(12), Some(1), 0),
            ("it arrives as it is sent", &[(Some(1), 10)], Some(10), Some(1), 0),
            ("that one came before", &[(Some(1), 10)], Some(9), None, 1),
            ("the next was sent already", &[(Some(1), 10), (Some(2), 20)], Some(12), Some(1), 1),
            ("the half of the first was lost", &[(Some(1), 10), (Some(2), 20)], Some(22), Some(2), 0),
            ("nobody knows whose the second is", &[(Some(1), 10), (None, 20)], Some(22), None, 0),
            ("nor whose the third is", &[(Some(1), 10), (None, 20), (None, 30)], Some(32), None, 0),
            ("its arrival is not known", &[(Some(1), 10), (Some(2), 20)], None, Some(1), 1),
        ] {
            let mut unanswered = Unanswered::default();
            for (outer, at_ns) in sent {
                unanswered.push(outer.map(|id: u64| (0, id)), *at_ns);
            }
            assert_eq!(unanswered.at(arrival_ns).map(|outer| outer.1), expected, "{what}");
            assert_eq!(unanswered.answer(arrival_ns).map(|outer| outer.1), expected, "{what}");
            assert_eq!(unanswered.0.len(), left, "{what}");
        }
    }
    #[test]
    fn requests_that_are_never_answered_are_bounded() {
        let mut unanswered = Unanswered::default();
        (0..MAX_SENT as u64 + 3).for_each(|number| unanswered.push(Some((0, number)), number));
        assert_eq!(
            (unanswered.0.len(), unanswered.has((0, 2)), unanswered.has((0, 3))),
            (MAX_SENT, false, true)
        );
    }
}
