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
