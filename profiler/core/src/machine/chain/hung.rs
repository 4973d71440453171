//! Threads that have been in one sleep since before the trace, in the middle of a request.
//!
//! In: such a sleep, as a look saw it. Out: the same in the thread's history, up to where a walk needs it.
//!
//! Nothing is heard of such a thread while it hangs, as its call has not ended. Whoever waits behind it would
//! find nobody there.

use crate::bounded::BoundedMap;
use crate::event::Tid;
use crate::machine::chain::feed::SleepSeen;
use crate::machine::chain::history::Histories;
use crate::machine::chain::segment::{Did, SegmentSleep};
use crate::phase::Phase;

/// Threads that are kept.
const MAX_THREADS: usize = 4096;

/// The sleep of one of them.
#[derive(Clone, Copy, Debug)]
struct HungSleep {
    tgid: Tid,
    since_ns: u64,
    phase: Phase,
    did: Did,
}

/// A thread that hangs in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::machine) struct HungThread {
    /// Its process.
    pub tgid: Tid,
    /// The thread.
    pub tid: Tid,
    /// The phase of its sleep.
    pub phase: Phase,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct HungThreads {
    threads: BoundedMap<Tid, HungSleep, MAX_THREADS>,
}

impl HungThreads {
    /// A thread was seen to hang in a sleep of this phase, since before the trace.
    pub(in crate::machine) fn note(
        &mut self,
        (tgid, tid): (Tid, Tid),
        since_ns: u64,
        (phase, seen): (Phase, &SleepSeen),
    ) {
        let did = seen.in_phase(phase);
        self.threads.insert(tid, HungSleep { tgid, since_ns, phase, did });
    }

    /// Nothing was heard of a thread up to this moment: if it hangs, it has slept on, and its history says
    /// so.
    pub(in crate::machine) fn slept_on(
        &mut self,
        histories: &mut Histories,
        tid: Tid,
        until_ns: u64,
    ) -> bool {
        let Some(HungSleep { tgid, since_ns, did, .. }) = self.threads.get(&tid).copied() else {
            return false;
        };
        let Did::Slept(SegmentSleep { system_call, .. }) = did else { return false };
        let has_gone_on = histories.get(tid).is_some_and(|history| {
            history.tgid != tgid
                || history.ended_ns.is_some()
                || !history.has_only_slept(system_call) && history.end_ns() > since_ns
        });
        if has_gone_on {
            self.threads.remove(&tid);
            return false;
        }
        let Some(mut entry) = histories.entry(tgid, tid, since_ns) else { return false };
        let from_ns = entry.history.end_ns();
        entry.push_did(0, (from_ns, until_ns), did);
        entry.history.hangs();
        true
    }

    /// The same of all of them.
    pub(super) fn all_slept_on(&mut self, histories: &mut Histories, until_ns: u64) {
        for HungThread { tid, .. } in self.all() {
            self.slept_on(histories, tid, until_ns);
        }
    }

    /// All of them, in order.
    pub(in crate::machine) fn all(&self) -> Vec<HungThread> {
        let of =
            |(tid, sleep): (&Tid, &HungSleep)| HungThread { tgid: sleep.tgid, tid: *tid, phase: sleep.phase };
        let mut all: Vec<HungThread> = self.threads.iter().map(of).collect();
        all.sort_unstable();
        all
    }

    /// Threads that found no place.
    pub(in crate::machine) const fn evicted(&self) -> u64 {
        self.threads.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::chain::segment::Segment;

    const MS: u64 = 1_000_000;

    fn hangs() -> HungThreads {
        let mut hung = HungThreads::default();
        let seen = SleepSeen { since_before: true, ..SleepSeen::outside(0) };
        hung.note((1, 2), 5 * MS, (Phase::BackendWait, &seen));
        hung
    }

    #[test]
    fn a_thread_that_hangs_has_slept_up_to_where_it_is_asked_for() {
        let (mut hung, mut histories) = (hangs(), Histories::default());
        for until_ms in [20, 40, 30] {
            assert!(hung.slept_on(&mut histories, 2, until_ms * MS));
        }
        let history = histories.get(2).unwrap();
        assert_eq!((history.since_ns, history.end_ns()), (5 * MS, 40 * MS));
        assert!(history.is_slot && history.hangs_in_request());
        assert!(!hung.slept_on(&mut histories, 3, 40 * MS), "it was not seen to hang");
    }

    #[test]
    fn a_thread_that_goes_on_hangs_no_more() {
        let (mut hung, mut histories) = (hangs(), Histories::default());
        hung.all_slept_on(&mut histories, 20 * MS);
        let ran = Segment { start_ns: 20 * MS, end_ns: 30 * MS, request: 0, did: Did::Ran(Phase::Cpu) };
        histories.push((1, 2), ran);
        hung.all_slept_on(&mut histories, 40 * MS);
        assert_eq!((histories.get(2).unwrap().end_ns(), hung.all()), (30 * MS, vec![]));
        // It did something else after the look.
        let (mut hung, mut histories) = (hangs(), Histories::default());
        histories.push((1, 2), ran);
        assert!(!hung.slept_on(&mut histories, 2, 40 * MS));
    }
}
