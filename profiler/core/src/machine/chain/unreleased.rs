//! A lock that was not released: who could have it.
//!
//! In: the thread that waits, since when, and what the others of its process did. Out: nobody, one by
//! elimination, or several.
//!
//! Who waits for work as the wait ends has nothing to release, and who waits for a lock that is not released
//! either cannot. Who was given work since the wait began may have that of the one that waits.

use crate::event::Tid;
use crate::machine::chain::history::{Histories, History, SegmentPart};
use crate::machine::chain::known::Known;
use crate::machine::chain::segment::{Did, Segment, SegmentSleep, SleepEnd, is_file_lock};
use crate::machine::time::short::LONG_NS;
use crate::model::chain::Object;
use crate::phase::Phase;

/// Who has waited for work for longer, while somebody waited for it, could not take that.
pub(super) const LONGEST_IDLE_NS: u64 = 10_000_000;
/// Threads looked at.
const MAX_LOOKED_AT: usize = 1024;

/// Who could have a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CouldRelease {
    /// No thread of the process.
    Nobody,
    /// This thread alone.
    One(Tid),
    /// Any of these, and perhaps others.
    Several(Vec<Tid>),
}

/// Who of a process could have the lock that its thread waits for.
pub(super) fn who_could_release(
    known: Known<'_>,
    (tgid, tid): (Tid, Tid),
    wait: &Segment,
    in_chain: &[Tid],
) -> CouldRelease {
    let all = known.histories.of_process(tgid);
    let others = all.iter().copied().filter(|other| *other != tid).take(MAX_LOOKED_AT);
    let of = |other: Tid| Some((other, known.histories.get(other)?));
    let is_python =
        known.looks.within(tid, (wait.start_ns, wait.end_ns)).is_some_and(|look| look.seen.place.is_some());
    let could = |(other, history): &(Tid, &History)| {
        may_hold(known, (*other, history), wait)
            && !(is_python && is_outside_python(known, (*other, history), wait))
    };
    let mut candidates: Vec<(Tid, &History)> = others.filter_map(of).filter(could).collect();
    // Whom it gave work just before it began to wait does that, most likely.
    let has_its_work = |(_, history): &(Tid, &History)| {
        given(history, wait.end_ns)
            .is_some_and(|(at_ns, by)| by == tid && at_ns.saturating_add(LONGEST_IDLE_NS) >= wait.start_ns)
    };
    if candidates.iter().any(has_its_work) {
        candidates.retain(has_its_work);
    }
    let candidates: Vec<Tid> = candidates.into_iter().map(|(other, _)| other).collect();
    match candidates.as_slice() {
        _ if all.len() > MAX_LOOKED_AT => CouldRelease::Several(candidates),
        [] => CouldRelease::Nobody,
        [one] if !in_chain.contains(one) && is_seen(known.histories, *one, wait) => CouldRelease::One(*one),
        _ => CouldRelease::Several(candidates),
    }
}

/// Whether all is known of what a thread did. It may have waited for work where it was not seen, unless that
/// was so short that it is not kept by itself anywhere.
fn is_seen(histories: &Histories, tid: Tid, wait: &Segment) -> bool {
    let is_unseen = |part: &SegmentPart<'_>| part.segment.did == Did::Unseen;
    histories.get(tid).is_some_and(|history| {
        let parts = || history.within(wait.start_ns, wait.end_ns).filter(is_unseen);
        let unseen_ns = parts().fold(0_u64, |sum, part| sum.saturating_add(part.segment.length_ns()));
        let is_from_the_start = history.since_ns <= wait.start_ns.saturating_add(moment_ns(wait));
        (is_from_the_start || history.born.is_some())
            && !was_silent(history, wait)
            && unseen_ns <= moment_ns(wait)
            && parts().all(|part| part.segment.length_ns() < LONG_NS)
    })
}

/// Whether nothing is known of the last that a thread did: of no more than a moment that is nothing to say.
pub(super) fn is_silent(history: &History, until_ns: u64) -> bool {
    history.ended_ns.is_none() && history.end_ns().saturating_add(LONG_NS) < until_ns
}

/// The same of more than the last moment of a wait.
fn was_silent(history: &History, wait: &Segment) -> bool {
    is_silent(history, wait.end_ns.saturating_sub(moment_ns(wait)))
}

/// What of a wait is so little that it does not matter what somebody did then.
const fn moment_ns(wait: &Segment) -> u64 {
    wait.length_ns() / 16
}

/// Whether a thread may have something to release shortly before a wait ends. At the very end several waits
/// may reach the same limit, one after the other.
fn may_hold(known: Known<'_>, (tid, history): (Tid, &History), wait: &Segment) -> bool {
    let (from_ns, until_ns) = (wait.start_ns, wait.end_ns.saturating_sub(moment_ns(wait)));
    if !history.lives_at(until_ns.saturating_sub(1)) {
        return false;
    }
    let mut is_since = history.lives_at(from_ns);
    let mut last = None;
    for part in history.within(from_ns, until_ns) {
        is_since &= !part.segment.is_idle();
        last = Some(part.segment);
    }
    let Some(last) = last.filter(|_| !was_silent(history, wait)) else {
        // What it does is not known.
        return history.since_ns >= until_ns || was_silent(history, wait);
    };
    // Of what it does for another request that came later, the one that waits has nothing.
    let is_of_another = !is_since && last.request > 0 && last.request != wait.request;
    !waits_for_work(last) && !is_of_another && !waits_in_vain(known, (history.tgid, tid), (last, until_ns))
}

/// Whether a thread runs no Python as a wait ends, and only sleeps on purpose, or waits for its turn to
/// accept at a lock on a file: it has no lock of Python.
fn is_outside_python(known: Known<'_>, (tid, history): (Tid, &History), wait: &Segment) -> bool {
    let slept = |SegmentPart { segment, .. }: SegmentPart<'_>| match segment.did {
        Did::Slept(sleep) => Some((sleep, (segment.start_ns, segment.end_ns))),
        _ => None,
    };
    let last = history.within(wait.start_ns, wait.end_ns).filter_map(slept).last();
    last.is_some_and(|(sleep, interval)| {
        (sleep.phase == Phase::Sleep || is_file_lock(sleep.system_call))
            && known.looks.is_outside_python(tid, interval)
    })
}

/// Whether a thread waits, up to a moment and beyond, for one of its own process that cannot end that: it has
/// not, or only after it had waited for work itself.
fn waits_in_vain(known: Known<'_>, of: (Tid, Tid), (segment, at_ns): (&Segment, u64)) -> bool {
    /// Threads followed.
    const MAX_ENDERS: usize = 16;
    let (mut tid, mut segment) = (of.1, segment);
    for _ in 0..MAX_ENDERS {
        if waits_for_work(segment) || waits_for_unreleased(known, (of.0, tid), segment) {
            return true;
        }
        let Did::Slept(SegmentSleep { phase: Phase::LockWait, end: SleepEnd::Thread(by), .. }) = segment.did
        else {
            return false;
        };
        let ender = known.histories.get(by).filter(|ender| ender.tgid == of.0);
        let Some(then) = ender.and_then(|ender| ender.within(at_ns.saturating_sub(1), at_ns).next()) else {
            return false;
        };
        (tid, segment) = (by, then.segment);
    }
    false
}

/// Who waits for work has nothing to release. At a lock on a file it may wait for a turn to accept, or in the
/// middle of what another thread gave it.
fn waits_for_work(segment: &Segment) -> bool {
    let is_at_file_lock = matches!(segment.did, Did::Slept(sleep) if is_file_lock(sleep.system_call));
    segment.is_idle() && !is_at_file_lock
}

/// Whether a thread waits for one of its own process that has not released what it waits for.
fn waits_for_unreleased(known: Known<'_>, (tgid, tid): (Tid, Tid), segment: &Segment) -> bool {
    let Did::Slept(sleep) = segment.did else { return false };
    // Who is at the other end, or has a lock on a file, is known by a look alone.
    let ends_inside = || {
        let look = known.looks.within(tid, (segment.start_ns, segment.end_ns));
        look.is_some_and(|look| known.ends_inside(tgid, look))
    };
    let is_descriptor = matches!(sleep.object, Object::Descriptor { .. });
    let is_file_lock = sleep.end == SleepEnd::Open && is_file_lock(sleep.system_call);
    segment.is_unreleased() && (!is_descriptor || ends_inside()) || is_file_lock && ends_inside()
}

/// When a thread was given what it did last by a moment, and by whom: its last wait for work ended, or it was
/// born.
fn given(history: &History, until_ns: u64) -> Option<(u64, Tid)> {
    let waited = history.last_idle(until_ns);
    match waited {
        Some(segment) => match segment.did {
            Did::Slept(SegmentSleep { end: SleepEnd::Thread(by), .. }) => Some((segment.end_ns, by)),
            _ => None,
        },
        None => history.born,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// A thread did this up to a time in milliseconds, for a request.
    type Done = (Tid, u64, u64, Did);

    /// Thread 2 waits from 10 to 50 ms, for request 7; others did this, from 0 on or from their birth.
    fn asked_of(born: &[(Tid, Tid, u64)], others: &[Done]) -> CouldRelease {
        let mut histories = Histories::default();
        for (tid, by, at_ms) in born {
            histories.born((1, *tid), *by, at_ms * MS);
        }
        for (tid, until_ms, request, did) in others {
            let start_ns = histories.get(*tid).map_or(0, History::end_ns);
            let segment = Segment { start_ns, end_ns: until_ms * MS, request: *request, did: *did };
            histories.push((1, *tid), segment);
        }
        asked_in(&histories)
    }

    fn asked_in(histories: &Histories) -> CouldRelease {
        let (attendance, looks, releases, cpus) = <_>::default();
        let known = Known {
            histories,
            attendance: &attendance,
            looks: &looks,
            releases: &releases,
            cpus: &cpus,
            endpoint_of: &|_| 0,
            lasting: &|_, _| None,
            is_shared: &|_| false,
            hands_on: &|_| false,
            over: &|_| &[],
        };
        let did = waits(false, SleepEnd::Open);
        let wait = Segment { start_ns: 10 * MS, end_ns: 50 * MS, request: 7, did };
        who_could_release(known, (1, 2), &wait, &[2, 9])
    }

    /// One other ran to the end, and was heard of late.
    fn asked_since(tid: Tid, since_ms: u64) -> CouldRelease {
        let mut histories = Histories::default();
        let segment = Segment { start_ns: since_ms * MS, end_ns: 50 * MS, request: 0, did: RAN };
        histories.push((1, tid), segment);
        asked_in(&histories)
    }

    /// One other ran to the end, but was not seen for so many microseconds each.
    fn asked_with_holes(holes_us: &[u64]) -> CouldRelease {
        let mut histories = Histories::default();
        let mut push = |until_ns, did| {
            let start_ns = histories.get(3).map_or(0, History::end_ns);
            histories.push((1, 3), Segment { start_ns, end_ns: until_ns, request: 0, did });
        };
        for (hole_us, at_ms) in holes_us.iter().zip(15..) {
            push(at_ms * MS, RAN);
            push(at_ms * MS + hole_us * 1_000, Did::Unseen);
        }
        push(50 * MS, RAN);
        asked_in(&histories)
    }

    fn asked(others: &[(Tid, u64, Did)]) -> CouldRelease {
        let others: Vec<Done> =
            others.iter().map(|(tid, until_ms, did)| (*tid, *until_ms, 0, *did)).collect();
        asked_of(&[], &others)
    }

    fn several(tids: &[Tid]) -> CouldRelease {
        CouldRelease::Several(tids.to_vec())
    }

    const RAN: Did = Did::Ran(Phase::Cpu);
    const IDLE: Did = waits(true, SleepEnd::Unknown);

    #[test]
    fn who_waits_for_work_or_for_a_lock_that_is_not_released_has_none() {
        let open = waits(false, SleepEnd::Open);
        assert_eq!(asked(&[]), CouldRelease::Nobody);
        assert_eq!(asked(&[(3, 50, RAN)]), CouldRelease::One(3));
        assert_eq!(asked(&[(3, 50, RAN), (4, 50, RAN)]), several(&[3, 4]));
        assert_eq!(asked(&[(3, 20, RAN), (3, 50, IDLE), (4, 50, open)]), CouldRelease::Nobody);
        assert_eq!(asked(&[(3, 5, IDLE), (3, 50, RAN)]), CouldRelease::One(3), "before the wait");
        assert_eq!(
            asked(&[(3, 50, waits(false, SleepEnd::Thread(77)))]),
            CouldRelease::One(3),
            "by another process"
        );
        assert_eq!(asked(&[(9, 50, RAN)]), several(&[9]), "it is in the chain");
    }

    #[test]
    fn who_was_given_work_since_may_have_that_of_the_one_that_waits_unless_it_is_another_requests() {
        let since = |request| [(3, 20, 0, RAN), (3, 22, 0, IDLE), (3, 50, request, RAN)];
        assert_eq!(asked_of(&[], &since(0)), CouldRelease::One(3));
        assert_eq!(asked_of(&[], &since(7)), CouldRelease::One(3));
        assert_eq!(asked_of(&[], &since(8)), CouldRelease::Nobody);
        let born = |request| asked_of(&[(3, 4, 12)], &[(3, 50, request, RAN)]);
        assert_eq!((born(0), born(8)), (CouldRelease::One(3), CouldRelease::Nobody));
        assert_eq!(asked_of(&[], &[(3, 50, 8, RAN)]), CouldRelease::One(3), "it may have had it before");
    }

    #[test]
    fn of_several_that_could_the_one_whom_it_gave_work_as_it_began_to_wait_does_that() {
        let by_it = [(3, 9, waits(true, SleepEnd::Thread(2))), (3, 50, RAN), (4, 50, RAN)];
        assert_eq!(asked(&by_it), CouldRelease::One(3));
        let by_another = [(3, 9, waits(true, SleepEnd::Thread(5))), (3, 50, RAN), (4, 50, RAN)];
        assert_eq!(asked(&by_another), several(&[3, 4]));
        let born = |at_ms| asked_of(&[(3, 2, at_ms)], &[(3, 50, 0, RAN), (4, 50, 0, RAN)]);
        assert_eq!(born(8), CouldRelease::One(3));
    }

    #[test]
    fn who_waits_for_one_that_waited_for_work_then_had_nothing_to_release_either() {
        let woken = waits(false, SleepEnd::Thread(4));
        assert_eq!(asked(&[(3, 60, woken), (4, 52, IDLE), (4, 60, RAN)]), CouldRelease::Nobody);
        assert_eq!(asked(&[(3, 60, woken), (4, 60, RAN)]), several(&[3, 4]));
        assert_eq!(asked(&[(3, 49, waits(false, SleepEnd::Limit)), (3, 60, RAN)]), CouldRelease::Nobody);
        let of_another = [(3, 60, 0, woken), (4, 20, 0, IDLE), (4, 60, 8, RAN)];
        assert_eq!(asked_of(&[], &of_another), CouldRelease::One(3), "it waits for another request");
    }

    #[test]
    fn who_waits_at_a_descriptor_of_which_no_look_says_that_its_other_end_is_inside_is_not_ruled_out() {
        let Did::Slept(sleep) = waits(false, SleepEnd::Open) else { unreachable!() };
        let at_pipe = Did::Slept(SegmentSleep { object: Object::Descriptor { fd: 5 }, ..sleep });
        assert_eq!(asked(&[(3, 50, at_pipe)]), CouldRelease::One(3));
    }

    #[test]
    fn who_waits_for_a_lock_on_a_file_may_do_so_for_another_thread() {
        let Did::Slept(sleep) = IDLE else { unreachable!() };
        let at_file_lock = SegmentSleep { system_call: 73, phase: Phase::FileWait, ..sleep };
        assert_eq!(asked(&[(3, 50, Did::Slept(at_file_lock))]), CouldRelease::One(3));
        assert_eq!(asked(&[(3, 50, IDLE)]), CouldRelease::Nobody);
    }

    #[test]
    fn who_was_not_seen_is_neither_ruled_out_nor_the_one() {
        assert_eq!(asked(&[(3, 20, RAN), (3, 30, Did::Unseen), (3, 50, RAN)]), several(&[3]));
        assert_eq!(asked_with_holes(&[900, 900]), CouldRelease::One(3), "too short to wait for work");
        assert_eq!(asked_with_holes(&[900; 3]), several(&[3]), "too often");
        let in_a_call = [(3, 20, RAN), (3, 30, Did::AsleepOrReady), (3, 50, RAN)];
        assert_eq!(asked(&in_a_call), CouldRelease::One(3), "in a call that is no wait for work");
        assert_eq!(asked(&[(3, 20, RAN)]), several(&[3]), "it is silent");
        assert_eq!(asked(&[(3, 48, RAN)]), CouldRelease::One(3), "for a moment");
        assert_eq!(asked_since(3, 12), CouldRelease::One(3), "but for a moment");
        assert_eq!(asked_since(3, 14), several(&[3]), "it is heard of late");
        assert_eq!(asked(&[(3, 50, RAN), (4, 20, RAN)]), several(&[3, 4]));
    }
}
