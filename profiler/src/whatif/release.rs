//! Where a thread gives the interpreter lock up in the middle of its own code: by a call that is not
//! observed, such as `utimensat`, by which a worker of gunicorn says that it lives. What is lost by the
//! switch interval counts as such a call too: one that seldom loses the lock.
//!
//! In: own code between two observed calls, as it was again and again; who else waited for the lock. Out: a
//! [`Release`]. A thread that waits for the lock in the middle of its own code has lost it there. Whether it
//! does is a race: the call against the wakeup of who waits. How often it was lost where somebody waited, and
//! how long such wakeups take, give the length of the call.

use profiler_core::event::Tid;
use profiler_core::timeline::ThreadState;

use super::trace::Slice;
use super::waits::Waits;

/// So many must have lost it at a place before anything is known of that.
const MIN_LOST: usize = 20;
/// So little of its own code before a wait is that of taking the lock again after the call before. Nine of
/// ten took less than 15 µs (gunicorn's gthread, CPython 3.11, two Xeon CPUs).
const TAKING_NS: u64 = 20_000;

/// A call in the middle of a thread's own code that gives the lock up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Release {
    /// So much of its own code comes before.
    pub(super) after_ns: u64,
    /// How long the call takes.
    pub(super) call_ns: u64,
}

/// What own code shows once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Given {
    start_ns: u64,
    /// Own code since it last took the lock.
    own_ns: u64,
    /// So much of it came before it lost the lock in the middle.
    lost_after_ns: Option<u64>,
    /// It waited for a CPU within: where in its own code something was, is not known.
    has_queued: bool,
}

impl Given {
    /// As it begins.
    pub(super) fn begin(slice: &Slice) -> Self {
        let own_ns = slice.end_ns.saturating_sub(slice.start_ns);
        let has_queued = slice.state == ThreadState::RunQueue;
        Self { start_ns: slice.start_ns, own_ns, lost_after_ns: None, has_queued }
    }

    /// More of the same own code; `has_waited`: for the lock, just before.
    pub(super) fn goes_on(&mut self, slice: &Slice, has_waited: bool) {
        if has_waited {
            if self.lost_after_ns.is_none() {
                if self.own_ns < TAKING_NS {
                    self.start_ns = slice.start_ns;
                } else {
                    self.lost_after_ns = Some(self.own_ns);
                }
            }
            self.own_ns = 0;
        }
        self.own_ns = self.own_ns.saturating_add(slice.end_ns.saturating_sub(slice.start_ns));
        // What comes after the loss does not count.
        self.has_queued |= slice.state == ThreadState::RunQueue && self.lost_after_ns.is_none();
    }
}

/// What a race for the lock is between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Who waited when.
    pub(super) waits: &'a Waits<'a>,
    /// How long it takes to wake who waits, in order: each as likely as the others.
    pub(super) handovers_ns: &'a [u64],
}

impl Wanted<'_> {
    /// Time in which so many of all wakeups are over.
    fn handover_ns(&self, count: usize, of: usize) -> Option<u64> {
        let at = self.handovers_ns.len().saturating_mul(count).checked_div(of)?;
        self.handovers_ns.get(at).or(self.handovers_ns.last()).copied()
    }
}

/// Where this own code gives the lock up; `None`: it was not lost there often enough to know.
pub(super) fn release(given: impl Iterator<Item = (Tid, Given)>, wanted: Wanted<'_>) -> Option<Release> {
    let given: Vec<(Tid, Given)> = given.filter(|(_, given)| !given.has_queued).collect();
    let mut lost: Vec<u64> = given.iter().filter_map(|(_, given)| given.lost_after_ns).collect();
    if lost.len() < MIN_LOST {
        return None;
    }
    lost.sort_unstable();
    let after_ns = lost.get(lost.len() / 2).copied()?;
    let kept = given.iter().filter(|(tid, given)| {
        let at_ns = given.start_ns.saturating_add(after_ns);
        let has_called = given.lost_after_ns.is_none() && given.own_ns > after_ns;
        has_called && wanted.waits.open_at(*tid, at_ns, |_| true).is_some()
    });
    let call_ns = wanted.handover_ns(lost.len(), lost.len() + kept.count())?;
    Some(Release { after_ns, call_ns })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::session::observer::Observer as _;
    use crate::whatif::tests::slice;
    use crate::whatif::trace::{Place, Trace};

    const US: u64 = 1000;

    fn own(start_ns: u64, length_ns: u64, state: ThreadState) -> Slice {
        Slice { start_ns, end_ns: start_ns + length_ns, state, place: Place::Gap, sends: false, held_by: 0 }
    }

    #[test]
    fn a_wait_right_after_a_call_is_for_the_lock_that_the_call_gave_up() {
        use ThreadState::{RunQueue, Running};
        for (what, parts, expected) in [
            ("taken back at once", &[(5, Running), (100, Running)][..], (None, false)),
            ("lost in the middle", &[(60, Running), (40, Running)], (Some(60 * US), false)),
            ("taken back, then lost", &[(5, Running), (60, Running), (40, Running)], (Some(60 * US), false)),
            ("lost twice", &[(60, Running), (70, Running), (5, Running)], (Some(60 * US), false)),
            ("it had no CPU before", &[(60, RunQueue), (40, Running)], (Some(60 * US), true)),
            ("it had none after", &[(60, Running), (40, RunQueue)], (Some(60 * US), false)),
        ] {
            let mut found: Option<Given> = None;
            for (number, (length_us, state)) in parts.iter().enumerate() {
                let slice = own(number as u64 * 1_000_000, length_us * US, *state);
                match &mut found {
                    None => found = Some(Given::begin(&slice)),
                    Some(given) => given.goes_on(&slice, true),
                }
            }
            let found = found.map(|given| (given.lost_after_ns, given.has_queued));
            assert_eq!(found, Some(expected), "{what}");
        }
    }

    #[test]
    fn a_call_takes_as_long_as_it_is_lost_where_somebody_waits() {
        let mut trace = Trace::default();
        // The lock is wanted in the first half.
        trace.entry(&slice(2, 0, 60_000_000, ThreadState::GilWait, "futex"));
        let processes = HashMap::from([(1, 7), (2, 7)]);
        let (waits, handovers_ns) =
            (Waits::of(&trace, &processes), (0..100).map(|us| us * US).collect::<Vec<_>>());
        let wanted = Wanted { waits: &waits, handovers_ns: &handovers_ns };
        let given = |number: u64, is_lost: bool| {
            let mut given = Given::begin(&own(number * 1_000_000, 60 * US, ThreadState::Running));
            given.goes_on(&own(number * 1_000_000 + 60 * US, 40 * US, ThreadState::Running), is_lost);
            (1, given)
        };
        // Lost in 20 of 60 where it was wanted.
        let all = |lost: u64| (0..120).map(move |number| given(number, number % 3 == 0 && number < 3 * lost));
        assert_eq!(release(all(20), wanted), Some(Release { after_ns: 60 * US, call_ns: 33 * US }));
        assert_eq!(release(all(19), wanted), None, "too few");
        let unknown = Wanted { handovers_ns: &[], ..wanted };
        assert_eq!(release(all(20), unknown), None, "how long wakeups take is not known");
    }
}
