//! How many iterations of a loop a server takes to pass a request on, from the read of its last bytes to the
//! first thing that it does.
//!
//! In: what requests have of the loop; requests that do something for the first time since they were read.
//! Out: whether such a one was ready all the time, and when others had the loop meanwhile.
//!
//! A server may have several tasks for one request: one reads, one has the connection, one runs the
//! application. Each resumes the next, which runs one iteration later, and most make no call. How many
//! iterations that takes shows where a request has the loop to itself: the loop makes no call between its
//! looks and does not sleep. Who waits there for a timer, for a back end or for a thread makes it sleep. One
//! that takes as many iterations beside others did not wait for anything either.

use std::collections::VecDeque;

use super::looks::Looks;
use crate::bounded::push_newest;

/// Iterations distinguished. What takes more is not known.
const MAX_ITERATIONS: usize = 16;
/// So many requests must have shown a number of iterations before anything follows from it.
const MIN_ALONE: u8 = 3;
/// Stretches remembered in which requests had the loop.
const MAX_HAD: usize = 128;

/// What the loop read last of a request. A server may pass each on in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine) enum After {
    /// The end of its head, the first of its connection.
    FirstHead,
    /// The end of its head.
    Head,
    /// A part of its body.
    Body,
}

/// A request that does something for the first time since it was read.
#[derive(Clone, Copy, Debug)]
pub(in crate::machine) struct Came {
    /// The request.
    pub request: u64,
    /// When its last bytes were read.
    pub read_ns: u64,
    /// What these were.
    pub after: After,
}

/// What is known of one loop.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Passing {
    /// How many requests that had the loop to themselves took so many iterations, by [`After`].
    alone: [[u8; MAX_ITERATIONS]; 3],
    had: VecDeque<Had>,
}

/// A stretch in which a request had the loop.
#[derive(Clone, Copy, Debug)]
pub(in crate::machine) struct Had {
    pub from_ns: u64,
    pub until_ns: u64,
    /// The first call that showed that it was this one: before it another may have run.
    pub acted_ns: u64,
    pub request: u64,
    /// When its head was read; 0: that is not known.
    pub read_ns: u64,
    /// Its task ran, up to the end of this stretch: it was no callback that reads for it.
    pub is_run: bool,
}

impl Passing {
    /// A request had the loop in this stretch, as its time is attributed.
    pub(super) fn had(&mut self, had: Had) {
        push_newest(&mut self.had, MAX_HAD, had);
    }

    /// The part of an iteration in which a request may have run that was read at `read_ns`, in the iteration
    /// before, which began at `since_ns`. On asyncio that is after those that were read there before it, and
    /// before those that were read later.
    pub(super) fn in_turn(
        &self,
        (request, read_ns): (u64, u64),
        since_ns: u64,
        (start_ns, end_ns): (u64, u64),
    ) -> (u64, u64) {
        let (mut from_ns, mut until_ns) = (start_ns, end_ns);
        let within = |had: &&Had| had.from_ns < end_ns && had.until_ns > start_ns;
        for had in self.had.iter().filter(within).filter(|had| had.request != request) {
            if had.read_ns > read_ns {
                until_ns = until_ns.min(had.acted_ns.max(start_ns));
            } else if had.read_ns >= since_ns && had.is_run {
                from_ns = from_ns.max(had.until_ns.min(end_ns));
            }
        }
        (from_ns.min(until_ns), until_ns)
    }

    /// The stretches between two moments in which others than this request had the loop, in order.
    pub(super) fn others(
        &self,
        request: u64,
        from_ns: u64,
        until_ns: u64,
    ) -> impl Iterator<Item = (u64, u64)> {
        let of_others = self.had.iter().filter(move |had| had.request != request);
        let within = move |had: &Had| (had.from_ns.max(from_ns), had.until_ns.min(until_ns));
        of_others.map(within).filter(|(start_ns, end_ns)| start_ns < end_ns)
    }

    /// The iteration in which a request runs first, by the number that others took that were alone: its begin
    /// and its end. `None`: that number is not known, the iteration is not over, or the loop slept before it.
    pub(super) fn first_run(&self, came: Came, looks: &Looks) -> Option<(u64, u64)> {
        let seen = self.alone.get(came.after as usize)?;
        let iterations = seen.iter().position(|seen| *seen >= MIN_ALONE)?;
        looks.iteration_without_sleep(came.read_ns, iterations)
    }

    /// A request does something for the first time since it was read. Since when and until when it was surely
    /// passed on, unseen; `None`: it may have waited, or nothing lies between.
    pub(super) fn passed(&mut self, came: Came, looks: &Looks) -> Option<(u64, u64)> {
        if looks.slept_until_ns > came.read_ns {
            return None;
        }
        let (iterations, from_ns, is_alone) = looks.unseen_since(came.read_ns)?;
        let seen = self.alone.get_mut(came.after as usize)?.get_mut(iterations)?;
        *seen = seen.saturating_add(u8::from(is_alone));
        (*seen >= MIN_ALONE).then_some((from_ns, looks.last.enter_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::super::looks::tests::looks;
    use super::*;

    const CAME: Came = Came { request: 7, read_ns: 105, after: After::Head };

    /// A request is read at 105, and does something after so many looks that find something, beside others or
    /// alone.
    fn after(iterations: u64, is_alone: bool, slept: bool) -> Looks {
        let waits: Vec<(u64, u64, u64)> = (0..=iterations)
            .map(|count| (90 + count * 20, 100 + count * 20, if slept && count == 1 { 5 } else { 0 }))
            .collect();
        looks(&waits, if is_alone { 1 } else { 2 })
    }

    #[test]
    fn who_takes_as_many_iterations_as_those_that_had_the_loop_to_themselves_was_passed_on() {
        for (what, alone, beside, expected) in [
            ("as many", 3, 3, Some((120, 150))),
            ("one more", 3, 4, None),
            ("one less", 3, 2, None),
            ("in the next one nothing is unseen", 1, 1, None),
            ("of more than are distinguished", 20, 20, None),
        ] {
            let mut passing = Passing::default();
            for _ in 0..MIN_ALONE {
                passing.passed(CAME, &after(alone, true, false));
            }
            assert_eq!(passing.passed(CAME, &after(beside, false, false)), expected, "{what}");
        }
    }

    #[test]
    fn nothing_follows_from_a_few_or_from_others_or_after_a_sleep_or_for_what_else_was_read() {
        for (what, seen, is_alone, came, slept) in [
            ("two have shown it", MIN_ALONE - 1, true, CAME, false),
            ("they were not alone", MIN_ALONE, false, CAME, false),
            ("the loop slept", MIN_ALONE, true, CAME, true),
            ("a body", MIN_ALONE, true, Came { after: After::Body, ..CAME }, false),
        ] {
            let mut passing = Passing::default();
            for _ in 0..seen {
                passing.passed(CAME, &after(3, is_alone, false));
            }
            assert_eq!(passing.passed(came, &after(3, false, slept)), None, "{what}");
        }
    }

    #[test]
    fn others_had_the_loop_when_they_did_and_the_last_of_that_is_remembered() {
        let mut passing = Passing::default();
        for (request, from_ns, until_ns) in [(1, 5, 10), (7, 20, 30), (2, 40, 60), (1, 60, 90)] {
            passing.had(Had { from_ns, until_ns, acted_ns: from_ns, request, read_ns: 1, is_run: true });
        }
        let others = |passing: &Passing, from_ns| passing.others(7, from_ns, 70).collect::<Vec<_>>();
        assert_eq!(others(&passing, 8), [(8, 10), (40, 60), (60, 70)]);
        for _ in 0..MAX_HAD - 1 {
            passing.had(Had {
                from_ns: 100,
                until_ns: 110,
                acted_ns: 100,
                request: 3,
                read_ns: 1,
                is_run: true,
            });
        }
        assert_eq!(others(&passing, 8), [(60, 70)]);
    }

    #[test]
    fn of_those_read_in_one_iteration_each_runs_after_those_before_it_and_before_those_after_it() {
        const OWN: (u64, u64) = (7, 50);
        for (what, others, expected) in [
            ("nobody", &[][..], (100, 200)),
            ("one read before", &[(1, 40, 110, 130)], (130, 200)),
            ("the body of one read before", &[(1, 40, 180, 190)], (100, 200)),
            ("one read after", &[(2, 60, 150, 170)], (100, 165)),
            ("both", &[(1, 40, 110, 130), (2, 60, 150, 170)], (130, 165)),
            ("one read in this iteration", &[(2, 140, 140, 145)], (100, 140)),
            ("one that may have been resumed by anything", &[(3, 5, 110, 130)], (100, 200)),
            ("in another iteration", &[(1, 40, 210, 230), (2, 60, 80, 90)], (100, 200)),
            ("itself", &[(7, 60, 150, 170)], (100, 200)),
            ("the loop looks", &[(u64::MAX, 0, 200, 210)], (100, 200)),
        ] {
            let mut passing = Passing::default();
            for (request, read_ns, from_ns, until_ns) in others {
                let (request, read_ns, from_ns, until_ns) = (*request, *read_ns, *from_ns, *until_ns);
                let is_run = !what.contains("body");
                passing.had(Had { from_ns, until_ns, acted_ns: until_ns - 5, request, read_ns, is_run });
            }
            assert_eq!(passing.in_turn(OWN, 20, (100, 200)), expected, "{what}");
        }
    }
}
