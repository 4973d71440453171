//! The waits of one request for the interpreter lock, one by one: because of whom, and where in Python either
//! was.
//!
//! In: the waits that a request's threads had for it (`--stacks`). Out: [`GilWaits`], a part of the request:
//! the longest ones, the others counted.

use super::gil::Holder;
use super::gil_place::Spot;

/// Waits that are listed.
pub const MAX_LISTED: usize = 4;

/// The waits of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GilWaits {
    /// The longest, longest first (at most [`MAX_LISTED`]).
    pub listed: Vec<GilWait>,
    /// How many others there were, of those that surely were its own.
    pub others: u64,
    /// How long they took together, run queue included.
    pub others_ns: u64,
}

/// One wait: an attempt to take the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GilWait {
    /// When it began; where the request began in the middle of it, then.
    pub start_ns: u64,
    /// How long it took, run queue included.
    pub wait_ns: u64,
    /// Who had the lock for the longest part of it, and how long that was.
    pub holder: Holder,
    /// Where that one was found: a sample. `None`: not known.
    pub held_at: Option<HeldAt>,
    /// Where the waiter stood, if it waited long (`profiler_common::record::frames::LONG_NS`). `None`: not
    /// known.
    pub stood_at: Option<Site>,
}

/// Where a holder was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldAt {
    /// The place in which it was for the longest part of the wait.
    pub site: Site,
    /// How long the request waited from the moments on at which it was found there.
    pub wait_ns: u64,
}

/// A place in Python.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// What ran, or is to go on.
    pub at: Spot,
    /// As [`Place::called_from`](super::gil_place::Place::called_from).
    pub called_from: Option<Spot>,
}

/// Where the two sides of one sleep for the lock were, as far as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sites {
    /// The holder, as it was found when the sleep began.
    pub held_at: Option<Site>,
    /// The waiter, if it looked at itself at this sleep.
    pub stood_at: Option<Site>,
}

impl GilWaits {
    /// Adds those of another part of the request.
    pub fn add_all(&mut self, other: Self) {
        self.others = self.others.saturating_add(other.others);
        self.others_ns = self.others_ns.saturating_add(other.others_ns);
        self.listed.extend(other.listed);
        self.listed.sort_by_key(|wait| (std::cmp::Reverse(wait.wait_ns), wait.start_ns));
        for wait in self.listed.drain(MAX_LISTED.min(self.listed.len())..) {
            self.others = self.others.saturating_add(1);
            self.others_ns = self.others_ns.saturating_add(wait.wait_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::gil::Contender;

    #[test]
    fn of_the_waits_of_two_parts_the_longest_are_listed_and_the_others_counted() {
        let wait = |wait_ns| {
            let holder = Holder { contender: Contender::Unknown, tid: 0, wait_ns: 0 };
            GilWait { start_ns: 1, wait_ns, holder, held_at: None, stood_at: None }
        };
        let mut all = GilWaits { listed: vec![wait(9), wait(5), wait(2)], others: 0, others_ns: 0 };
        all.add_all(GilWaits { listed: vec![wait(7), wait(4), wait(3)], others: 2, others_ns: 3 });
        assert_eq!(all.listed.iter().map(|wait| wait.wait_ns).collect::<Vec<_>>(), [9, 7, 5, 4]);
        assert_eq!((all.others, all.others_ns), (4, 8));
    }
}
