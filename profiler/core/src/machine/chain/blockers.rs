//! A wait that any one of several threads could end: a moment with n busy ones gives each 1/n of it.
//!
//! In: the threads, an interval. Out: weights of their parts; when all were free, and when nobody was there.

use crate::event::Tid;
use crate::machine::chain::history::{Histories, SegmentPart};
use crate::machine::chain::segment::Did;
use crate::machine::time::short::LONG_NS;

/// Parts looked at for one wait; of more, the first show what the threads do.
const MAX_PARTS: usize = 16_384;
/// Threads for which room is made before they are looked at.
const MAX_EXPECTED: usize = 64;
/// A moment's weight, to be divided by the number of busy threads: each number up to 16 divides it.
const MOMENT: u64 = 720_720;

/// A busy part of a thread, and its weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct BusyPart<'a> {
    pub tid: Tid,
    pub part: SegmentPart<'a>,
    pub weight: u64,
    /// The part of it in which no other was busy.
    pub alone: u64,
}

/// An interval, by who could have ended the wait.
#[derive(Debug, Default)]
pub(super) struct Blockers<'a> {
    pub busy: Vec<BusyPart<'a>>,
    /// Stretches in which at least one was there, and none was busy.
    pub free: Vec<(u64, u64)>,
    /// Time in which nobody was there, weighted.
    pub nobody: u64,
    /// Time of which no more is known of one of them, weighted.
    pub unseen: u64,
    /// A thread lives on whose history ends before the interval does.
    pub is_incomplete: bool,
}

impl Blockers<'_> {
    /// Weight of a stretch with nobody to share it.
    pub(in crate::machine) const fn weight((from_ns, until_ns): (u64, u64)) -> u64 {
        until_ns.saturating_sub(from_ns).saturating_mul(MOMENT)
    }
}

/// A change at one moment: of how many are there, and of how many are busy or unseen.
type Change = (u64, i32, i32, i32);

/// Who of these could have ended a wait from `from_ns` to `until_ns`: who was busy meanwhile.
pub(super) fn blockers<'a>(
    histories: &'a Histories,
    tids: &[Tid],
    (from_ns, until_ns): (u64, u64),
    is_busy: impl Fn(Tid, &SegmentPart<'a>) -> bool,
) -> Blockers<'a> {
    let expected = tids.len().min(MAX_EXPECTED);
    let mut found = Blockers { busy: Vec::with_capacity(2 * expected), ..Blockers::default() };
    let mut changes: Vec<Change> = Vec::with_capacity(8 * expected);
    for tid in tids {
        let Some(history) = histories.get(*tid) else {
            // It is there, and what it does is not known.
            changes.extend([(from_ns, 1, 0, 1), (until_ns, -1, 0, -1)]);
            continue;
        };
        // Nothing is known of one that was not seen to be born before its first record.
        let here_ns = history.born.map_or(from_ns, |(born_ns, _)| born_ns.max(from_ns));
        let gone_ns = history.ended_ns.unwrap_or(u64::MAX).min(until_ns);
        if here_ns >= gone_ns {
            continue;
        }
        changes.extend([(here_ns, 1, 0, 0), (gone_ns, -1, 0, 0)]);
        let since_ns = history.since_ns.clamp(here_ns, gone_ns);
        if since_ns > here_ns {
            changes.extend([(here_ns, 0, 0, 1), (since_ns, 0, 0, -1)]);
        }
        let known_ns = history.end_ns().clamp(since_ns, gone_ns);
        if known_ns < gone_ns {
            // What a thread does that has said nothing since is hardly more than a moment.
            found.is_incomplete |= gone_ns - known_ns >= LONG_NS;
            changes.extend([(known_ns, 0, 0, 1), (gone_ns, 0, 0, -1)]);
        }
        let parts = history.within(here_ns, gone_ns).filter(|part| is_busy(*tid, part));
        for part in parts.take(MAX_PARTS.saturating_sub(found.busy.len())) {
            changes.extend([(part.from_ns, 0, 1, 0), (part.until_ns, 0, -1, 0)]);
            found.busy.push(BusyPart { tid: *tid, part, weight: 0, alone: 0 });
        }
    }
    weigh(&mut found, changes, (from_ns, until_ns));
    found
}

/// Goes along the interval, and gives each moment to those that are busy.
fn weigh(found: &mut Blockers<'_>, mut changes: Vec<Change>, (from_ns, until_ns): (u64, u64)) {
    changes.extend([(from_ns, 0, 0, 0), (until_ns, 0, 0, 0)]);
    changes.sort_unstable_by_key(|change| change.0);
    // How much one that is busy all the time has by each moment.
    let mut sums: Vec<(u64, u64, u64)> = Vec::with_capacity(changes.len());
    let (mut sum, mut alone) = (0_u64, 0_u64);
    // When the number of those that share a moment changes.
    let mut levels: Vec<(u64, u64)> = Vec::new();
    let (mut here, mut busy, mut unseen, mut at_ns) = (0, 0, 0, from_ns);
    for (time_ns, arrives, begins, vanishes) in changes {
        if time_ns > at_ns {
            let stretch = (at_ns, time_ns);
            let sharers = u64::try_from(busy + unseen).unwrap_or(0);
            let weight = Blockers::weight(stretch);
            if levels.last().is_none_or(|(_, before)| *before != sharers) {
                levels.push((at_ns, sharers));
            }
            match (sharers, here) {
                (0, 0) => found.nobody = found.nobody.saturating_add(weight),
                (0, _) => match found.free.last_mut() {
                    Some(last) if last.1 == at_ns => last.1 = time_ns,
                    _ => found.free.push(stretch),
                },
                _ => {
                    let each = weight / sharers;
                    sum = sum.saturating_add(each);
                    alone = alone.saturating_add(if sharers == 1 { each } else { 0 });
                    let rest = weight.saturating_sub(each.saturating_mul(u64::try_from(busy).unwrap_or(0)));
                    found.unseen = found.unseen.saturating_add(if unseen > 0 { rest } else { 0 });
                }
            }
            at_ns = time_ns;
        }
        sums.push((time_ns, sum, alone));
        here += arrives;
        busy += begins;
        unseen += vanishes;
    }
    let sum_at = |time_ns: u64| {
        let after = sums.partition_point(|(known_ns, ..)| *known_ns <= time_ns);
        after.checked_sub(1).and_then(|at| sums.get(at)).map_or((0, 0), |(_, sum, alone)| (*sum, *alone))
    };
    cut(&mut found.busy, &levels);
    for one in &mut found.busy {
        let (before, after) = (sum_at(one.part.from_ns), sum_at(one.part.until_ns));
        one.weight = after.0.saturating_sub(before.0);
        one.alone = after.1.saturating_sub(before.1);
    }
}

/// Cuts parts that are waits for others where the number of those that share a moment changes: what stands
/// behind such a wait has other shares before than after.
fn cut(busy: &mut Vec<BusyPart<'_>>, levels: &[(u64, u64)]) {
    for index in 0..busy.len() {
        let Some(BusyPart { tid, part, .. }) = busy.get(index).copied() else { return };
        if !matches!(part.segment.did, Did::Slept(_)) {
            continue;
        }
        let first = levels.partition_point(|(at_ns, _)| *at_ns <= part.from_ns);
        let within = levels.iter().skip(first).map(|(at_ns, _)| *at_ns);
        let mut from_ns = part.from_ns;
        for at_ns in within.take_while(|at_ns| *at_ns < part.until_ns) {
            if busy.len() >= MAX_PARTS {
                return;
            }
            busy.push(BusyPart {
                tid,
                part: SegmentPart { from_ns, until_ns: at_ns, ..part },
                weight: 0,
                alone: 0,
            });
            from_ns = at_ns;
        }
        if let Some(last) = busy.get_mut(index) {
            last.part.from_ns = from_ns;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::chain::segment::Segment;
    use crate::phase::Phase;

    const MS: u64 = 1_000_000;

    /// Threads that were born, ran, and ended: from, until, in milliseconds.
    fn histories(threads: &[(Tid, [u64; 2])]) -> Histories {
        let mut histories = Histories::default();
        for (tid, [from_ms, until_ms]) in threads {
            histories.born((1, *tid), 1, *from_ms * MS);
            let (start_ns, end_ns, did) = (*from_ms * MS, *until_ms * MS, Did::Ran(Phase::Cpu));
            histories.push((1, *tid), Segment { start_ns, end_ns, request: 0, did });
            histories.ended(*tid, end_ns);
        }
        histories
    }

    fn shares(found: &Blockers<'_>) -> Vec<(Tid, u64)> {
        found.busy.iter().map(|busy| (busy.tid, busy.weight / (MOMENT * MS / 60))).collect()
    }

    #[test]
    fn a_moment_with_so_many_busy_gives_each_as_much() {
        // In sixtieths of a millisecond. Nobody is there from 40 to 50.
        let histories = histories(&[(2, [0, 40]), (3, [10, 40]), (4, [20, 30])]);
        let found = blockers(&histories, &[2, 3, 4], (0, 50 * MS), |_, part| part.segment.is_busy());
        let each = [600 + 300 + 200 + 300, 300 + 200 + 300, 200];
        assert_eq!(shares(&found), [(2, each[0]), (3, each[1]), (4, each[2])]);
        assert_eq!(found.nobody, Blockers::weight((0, 10 * MS)));
        assert_eq!((found.free.len(), found.unseen, found.is_incomplete), (0, 0, false));
        let alone: Vec<u64> = found.busy.iter().map(|busy| busy.alone).collect();
        assert_eq!(alone, [Blockers::weight((0, 10 * MS)), 0, 0]);
    }

    #[test]
    fn whoever_is_silent_is_there_and_not_seen() {
        let mut histories = histories(&[(2, [0, 40])]);
        histories.born((1, 3), 1, 20 * MS);
        let found = blockers(&histories, &[2, 3, 77], (0, 40 * MS), |_, part| part.segment.is_busy());
        // 77 accepts, and nothing else is known of it.
        assert_eq!(shares(&found), [(2, 20 * 60 / 2 + 20 * 60 / 3)]);
        assert_eq!(found.unseen, Blockers::weight((0, 10 * MS)) + 2 * Blockers::weight((0, 20 * MS)) / 3);
        assert!(found.is_incomplete);
    }

    #[test]
    fn stretches_in_which_all_that_are_there_wait_for_work_are_free() {
        let mut histories = histories(&[(2, [0, 10])]);
        histories.born((1, 3), 1, 0);
        for (start_ns, end_ns, request) in [(0, 20 * MS, 0), (20 * MS, 30 * MS, 0)] {
            let short = crate::machine::time::short::Short { idle_ns: 1, ..Default::default() };
            histories.push((1, 3), Segment { start_ns, end_ns, request, did: Did::Short(short) });
        }
        let found = blockers(&histories, &[2, 3], (5 * MS, 30 * MS), |_, part| part.segment.is_busy());
        assert_eq!(found.free, [(10 * MS, 30 * MS)]);
        assert_eq!((shares(&found), found.nobody), (vec![(2, 300)], 0));
    }
}
