//! Wakeups for the lock, measured by calls: where each call gives it up, in servers that are written in
//! Python.
//!
//! In: what threads did. Out: [`Handovers`]. Whoever makes a call gives the lock up, which wakes one of those
//! who wait. If that one is there before the call is over, it has the lock. So each call shows whether the
//! wakeup took longer than the call, and no call shows more. The share of calls of a length in which the lock
//! changed hands, made to grow with the length, is the distribution of these times: the estimate of *current
//! status data*, isotonic regression by pools of adjacent violators (Ayer et al. 1955). Lengths of waits that
//! ended in such a call would be those of quick wakeups alone.

use profiler_core::timeline::ThreadState;
use profiler_forecast::setting::AWAKE_NS;

use super::Handovers;
use crate::whatif::trace::{Place, Slice, Trace};
use crate::whatif::waits::Waits;

/// With fewer calls in which the lock changed hands nothing is known.
const MIN_HANDED: usize = 20;
/// Longer calls are left out. What takes longer than that waits for a core, and the model makes that itself.
const LONGEST_NS: u64 = 400_000;
/// So many times are given, each as likely as the others.
const GIVEN: usize = 200;

/// How long it was, and whether the lock changed hands before it was over.
type Call = (u64, bool);

/// None: too few calls show it.
pub(in crate::whatif) fn by_calls(trace: &Trace, waits: &Waits<'_>) -> Handovers {
    let (mut usual, mut quick): (Vec<Call>, Vec<Call>) = Default::default();
    for (tid, slices) in trace.threads() {
        for slice in slices.iter().filter(|slice| gives_up(slice)) {
            // Many calls are made without the lock.
            let Some(open) = waits.open_at(tid, slice.start_ns, |held_by| held_by == tid) else { continue };
            let is_quick = slice.start_ns.saturating_sub(open.oldest_ns) < AWAKE_NS;
            let length_ns = slice.end_ns.saturating_sub(slice.start_ns);
            let calls = if is_quick { &mut quick } else { &mut usual };
            calls.push((length_ns, open.end_ns <= slice.end_ns));
        }
    }
    Handovers::of(distribution(usual), distribution(quick))
}

fn distribution(mut calls: Vec<Call>) -> Vec<u64> {
    if calls.iter().filter(|(_, is_handed)| *is_handed).count() < MIN_HANDED {
        return Vec::new();
    }
    sort(&mut calls);
    inverse(&growing(&calls))
}

/// By length. Of equal ones those in which the lock changed hands come first: so they are put together.
fn sort(calls: &mut [Call]) {
    calls.sort_unstable_by_key(|(length_ns, is_handed)| (*length_ns, !is_handed));
}

/// A call in which a thread does without the lock. A wait for any lock is none: nobody is woken by that.
fn gives_up(slice: &Slice) -> bool {
    let is_wait_for_lock = matches!(slice.state, ThreadState::GilWait | ThreadState::LockWait);
    slice.place != Place::Gap
        && !is_wait_for_lock
        && slice.end_ns.saturating_sub(slice.start_ns) <= LONGEST_NS
}

/// A share of calls, and how long they are in the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pool {
    calls: u64,
    handed: u64,
    length_sum_ns: u64,
}

impl Pool {
    fn share(self) -> f64 {
        self.handed as f64 / self.calls.max(1) as f64
    }

    fn length_ns(self) -> f64 {
        self.length_sum_ns as f64 / self.calls.max(1) as f64
    }
}

/// The shares of calls in which the lock changed hands, by length; made to grow.
fn growing(calls: &[Call]) -> Vec<Pool> {
    let mut pools: Vec<Pool> = Vec::new();
    for (length_ns, is_handed) in calls {
        let mut pool = Pool { calls: 1, handed: u64::from(*is_handed), length_sum_ns: *length_ns };
        while let Some(last) = pools.pop_if(|last| last.share() >= pool.share()) {
            pool = Pool {
                calls: last.calls + pool.calls,
                handed: last.handed + pool.handed,
                length_sum_ns: last.length_sum_ns.saturating_add(pool.length_sum_ns),
            };
        }
        pools.push(pool);
    }
    pools
}

/// The lengths at which the share reaches each of [`GIVEN`] equal parts; straight lines in between. What it
/// never reaches takes as long as the longest.
fn inverse(pools: &[Pool]) -> Vec<u64> {
    let mut found = Vec::with_capacity(GIVEN);
    let (mut from, mut next) = ((0.0, 0.0), pools.iter());
    let mut to = next.next().map(|pool| (pool.share(), pool.length_ns()));
    for part in 0..GIVEN {
        let share = (part as f64 + 0.5) / GIVEN as f64;
        while let Some(reached) = to.filter(|to| to.0 < share) {
            from = reached;
            to = next.next().map(|pool| (pool.share(), pool.length_ns()));
        }
        let length_ns = match to {
            Some(to) if to.0 > from.0 => from.1 + (to.1 - from.1) * (share - from.0) / (to.0 - from.0),
            Some(to) => to.1,
            None => from.1,
        };
        found.push(length_ns as u64);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::session::observer::Observer as _;
    use crate::whatif::tests::{held_slice, slice};

    const US: u64 = 1000;

    #[test]
    fn shares_grow_with_the_length_and_those_that_do_not_are_put_together() {
        let mut calls: Vec<Call> = [(3, 1), (1, 0), (9, 8), (2, 2)]
            .into_iter()
            .flat_map(|(length_ns, handed)| (0..8).map(move |number| (length_ns, number < handed)))
            .collect();
        sort(&mut calls);
        let found: Vec<(f64, f64)> =
            growing(&calls).into_iter().map(|pool| (pool.share(), pool.length_ns())).collect();
        assert_eq!(found, [(0.0, 1.0), (3.0 / 16.0, 2.5), (1.0, 9.0)]);
    }

    #[test]
    fn each_time_is_as_likely_as_the_others() {
        let pool = |calls, handed, length_ns| Pool { calls, handed, length_sum_ns: length_ns * calls };
        // None within 10 us, half within 20, all within 60.
        let found = inverse(&[pool(4, 0, 10 * US), pool(4, 2, 20 * US), pool(4, 4, 60 * US)]);
        assert_eq!(found.len(), GIVEN);
        assert!(found.is_sorted() && found.iter().all(|ns| (10 * US..60 * US).contains(ns)), "{found:?}");
        assert_eq!(found.iter().filter(|ns| **ns < 20 * US).count(), GIVEN / 2);
        // What no call shows takes as long as the longest.
        assert_eq!(inverse(&[pool(4, 1, 10 * US)]).last(), Some(&(10 * US)));
    }

    #[test]
    fn calls_of_who_has_the_lock_show_how_long_wakeups_take() {
        let mut trace = Trace::default();
        for number in 0..120_u64 {
            // The first has the lock, and gives it up for 5 or 80 us. The second wakes up 30 us later; by
            // then the first may be back.
            let (at, length_ns) = (number * 10_000_000, if number % 2 == 0 { 5 * US } else { 80 * US });
            let woken_ns = at + 1_000_000 + 30 * US;
            trace.entry(&slice(1, at, at + 1_000_000, ThreadState::Running, "running"));
            trace.entry(&slice(
                1,
                at + 1_000_000,
                at + 1_000_000 + length_ns,
                ThreadState::ClientIo,
                "sendto",
            ));
            trace.entry(&held_slice(2, at + 100_000, woken_ns, 1));
            // Of a process of its own, and one that has no lock.
            trace.entry(&slice(3, at + 1_000_000, at + 1_300_000, ThreadState::Other, "close"));
            trace.entry(&slice(4, at + 1_000_000, at + 1_010_000, ThreadState::Other, "close"));
        }
        let processes = HashMap::from([(1, 7), (2, 7), (3, 8), (4, 7)]);
        let found = by_calls(&trace, &Waits::of(&trace, &processes));
        assert_eq!((found.usual_ns.first(), found.usual_ns.last()), (Some(&5187), Some(&79_812)));
        assert_eq!(found.quick_ns, found.usual_ns, "nobody had just begun to wait");
        let nobody = HashMap::new();
        assert_eq!(by_calls(&trace, &Waits::of(&trace, &nobody)), Handovers::default());
    }
}
