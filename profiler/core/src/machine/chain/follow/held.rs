//! The walk to who has a lock, where looks saw that.
//!
//! In: a wait for a lock. Out: the thread that had taken it and slept meanwhile, and when: who sleeps gives
//! nothing back.

use profiler_common::system_call::FUTEX;

use super::{Follower, Interval};
use crate::event::Tid;
use crate::machine::chain::history::SegmentPart;
use crate::machine::chain::looks::AsleepLook;
use crate::machine::chain::segment::{Did, Segment, SegmentSleep};
use crate::machine::chain::split::split;
use crate::model::chain::{Hops, Object};
use crate::phase::Phase;

/// Parts of the holder's time that are looked at.
const MAX_PARTS: usize = 1024;

impl<'a> Follower<'a> {
    /// A lock was not released in an interval: on to who had it, as far as that was seen.
    pub(super) fn locked(
        &mut self,
        of: (Tid, Tid),
        part: SegmentPart<'a>,
        sleep: &SegmentSleep,
        ns: u64,
        hops: Hops,
    ) {
        let Some((by, (from_ns, until_ns))) = self.holder_seen(of, part, sleep) else {
            return self.unreleased(of, part, sleep, ns, hops);
        };
        let lengths = [from_ns - part.from_ns, until_ns - from_ns, part.until_ns - until_ns];
        let [before_ns, seen_ns, after_ns] = split(ns, lengths);
        self.known_hop(Phase::LockWait, by, (from_ns, until_ns), seen_ns, hops);
        self.unreleased(of, part, sleep, before_ns.saturating_add(after_ns), hops);
    }

    /// The thread of a process that had the lock for which another waited, and from when to when it was seen
    /// to: from the first of its sleeps with the lock to the last.
    fn holder_seen(
        &self,
        (tgid, tid): (Tid, Tid),
        part: SegmentPart<'a>,
        sleep: &SegmentSleep,
    ) -> Option<(Tid, Interval)> {
        let look = self.look(tid, part.segment);
        let by_lock = look.and_then(|look| Some((look.seen.lock_taken_by?, look.at_ns)));
        let lock = match sleep.object {
            Object::Futex { address } => Some(address),
            _ => look.and_then(word_waited_for),
        };
        let by_block = || self.known.looks.holder(tgid, lock?).filter(|by| *by != tid);
        let by = by_lock.map(|(by, _)| by).or_else(by_block)?;
        let history = self.known.histories.get(by).filter(|history| history.tgid == tgid)?;
        let is_then = |segment: &Segment| {
            by_lock.is_some_and(|(_, at_ns)| (segment.start_ns..=segment.end_ns).contains(&at_ns))
        };
        let was_seen = |segment: &Segment| {
            let look = self.look(by, segment).filter(|look| look.seen.tgid == tgid);
            look.zip(lock).is_some_and(|(look, lock)| look.seen.locks.contains(&lock))
        };
        let has_it = |segment: &Segment| {
            matches!(segment.did, Did::Slept(sleep) if !sleep.is_idle)
                && (is_then(segment) || was_seen(segment))
        };
        let parts = history.within(part.from_ns, part.until_ns).take(MAX_PARTS);
        let mut seen = parts.filter(|then| has_it(then.segment)).map(|then| (then.from_ns, then.until_ns));
        let (from_ns, first_until_ns) = seen.next()?;
        Some((by, (from_ns, seen.last().map_or(first_until_ns, |(_, until_ns)| until_ns))))
    }
}

/// The word of the lock that a look saw a thread wait for.
fn word_waited_for(look: &AsleepLook) -> Option<u64> {
    let is_futex = look.seen.system_call == Some(FUTEX);
    look.seen.arguments.first().copied().filter(|_| is_futex)
}
