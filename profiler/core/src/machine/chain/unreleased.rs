//! A lock that was not released: who could have it.
//!
//! In: the thread that waits, since when, and what the others of its process did. Out: nobody, one by
//! elimination, or several.
//!
//! A thread that waited for work at any time since has nothing to release. One that waits for a lock that is
//! not released either cannot release anything.

use crate::event::Tid;
use crate::machine::chain::history::{Histories, History};
use crate::machine::chain::segment::Did;
use crate::machine::time::short::LONG_NS;

/// Threads looked at.
const MAX_LOOKED_AT: usize = 1024;

/// Who could have a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CouldRelease {
    /// No thread of the process.
    Nobody,
    /// This thread alone.
    One(Tid),
    /// Any of several.
    Several,
}

/// Who of a process could have the lock that its thread waited for.
pub(super) fn who_could_release(
    histories: &Histories,
    (tgid, tid): (Tid, Tid),
    (from_ns, until_ns): (u64, u64),
    in_chain: &[Tid],
) -> CouldRelease {
    let all = histories.of_process(tgid);
    let others = all.iter().copied().filter(|other| *other != tid).take(MAX_LOOKED_AT);
    let could = |other: &Tid| {
        histories.get(*other).is_some_and(|history| {
            let lived = history.lives_at(from_ns) && history.lives_at(until_ns.saturating_sub(1));
            lived && may_hold(history, (from_ns, until_ns))
        })
    };
    let candidates: Vec<Tid> = others.filter(could).take(2).collect();
    match candidates.as_slice() {
        _ if all.len() > MAX_LOOKED_AT => CouldRelease::Several,
        [] => CouldRelease::Nobody,
        [one] if !in_chain.contains(one) && is_seen(histories, *one, (from_ns, until_ns)) => {
            CouldRelease::One(*one)
        }
        _ => CouldRelease::Several,
    }
}

/// Whether all is known of what a thread did. It may have waited for work where it was not seen.
fn is_seen(histories: &Histories, tid: Tid, (from_ns, until_ns): (u64, u64)) -> bool {
    histories.get(tid).is_some_and(|history| {
        let mut parts = history.within(from_ns, until_ns);
        history.since_ns <= from_ns
            && !is_silent(history, until_ns)
            && parts.all(|part| part.segment.did != Did::Unseen)
    })
}

/// Whether nothing is known of the last that a thread did: of no more than a moment that is nothing to say.
pub(super) fn is_silent(history: &History, until_ns: u64) -> bool {
    history.ended_ns.is_none() && history.end_ns().saturating_add(LONG_NS) < until_ns
}

/// Whether a thread may have had something to release all the time.
fn may_hold(history: &History, (from_ns, until_ns): (u64, u64)) -> bool {
    let mut could = false;
    for part in history.within(from_ns, until_ns) {
        if part.segment.is_idle() {
            return false;
        }
        could = !part.segment.is_unreleased();
    }
    could || is_silent(history, until_ns) || history.since_ns >= until_ns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::chain::segment::{Segment, SegmentSleep, SleepEnd};
    use crate::model::chain::Object;
    use crate::phase::Phase;

    const MS: u64 = 1_000_000;

    const fn waits(is_idle: bool, end: SleepEnd) -> Did {
        Did::Slept(SegmentSleep {
            phase: Phase::LockWait,
            is_idle,
            system_call: 202,
            object: Object::Unknown,
            connection: 0,
            is_own_port: false,
            is_way_out: false,
            end,
            since_before: false,
            held: None,
            polls_file_lock: false,
        })
    }

    /// Thread 2 waits from 10 to 50 ms; others do this up to these milliseconds.
    fn asked(others: &[(Tid, u64, Did)]) -> CouldRelease {
        let mut histories = Histories::default();
        for (tid, until_ms, did) in others {
            let start_ns = histories.get(*tid).map_or(0, History::end_ns);
            let segment = Segment { start_ns, end_ns: until_ms * MS, request: 0, did: *did };
            histories.push((1, *tid), segment);
        }
        who_could_release(&histories, (1, 2), (10 * MS, 50 * MS), &[2, 9])
    }

    #[test]
    fn who_waits_for_work_or_for_a_lock_that_is_not_released_has_none() {
        const RAN: Did = Did::Ran(Phase::Cpu);
        let idle = waits(true, SleepEnd::Unknown);
        let open = waits(false, SleepEnd::Open);
        assert_eq!(asked(&[]), CouldRelease::Nobody);
        assert_eq!(asked(&[(3, 50, RAN)]), CouldRelease::One(3));
        assert_eq!(asked(&[(3, 50, RAN), (4, 50, RAN)]), CouldRelease::Several);
        assert_eq!(asked(&[(3, 20, RAN), (3, 22, idle), (3, 50, RAN), (4, 50, open)]), CouldRelease::Nobody);
        assert_eq!(asked(&[(3, 5, idle), (3, 50, RAN)]), CouldRelease::One(3), "before the wait");
        assert_eq!(asked(&[(3, 50, waits(false, SleepEnd::Thread(7)))]), CouldRelease::One(3));
        assert_eq!(asked(&[(9, 50, RAN)]), CouldRelease::Several, "it is in the chain");
    }

    #[test]
    fn who_was_not_seen_is_neither_ruled_out_nor_the_one() {
        const RAN: Did = Did::Ran(Phase::Cpu);
        assert_eq!(asked(&[(3, 20, RAN), (3, 30, Did::Unseen), (3, 50, RAN)]), CouldRelease::Several);
        assert_eq!(asked(&[(3, 20, RAN)]), CouldRelease::Several, "it is silent");
        assert_eq!(asked(&[(3, 50, RAN), (4, 20, RAN)]), CouldRelease::Several);
    }
}
