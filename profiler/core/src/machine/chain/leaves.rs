//! What one request's time came to: leaves, each by its way, with the longest chain of each.
//!
//! In: shares of waits, as they are followed. Out: the same, added up.

use std::collections::BTreeMap;

use crate::event::Tid;
use crate::machine::chain::segment::{Did, Segment};
use crate::model::chain::{Hops, Leaf, LeafKind, Object};
use crate::phase::Phase;

/// One step of a chain: who was followed, and what it was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine) struct ChainStep {
    /// Process; 0: the request itself.
    pub tgid: Tid,
    /// Thread; 0: the request itself, before anybody served it.
    pub tid: Tid,
    /// The request that it served, plus 1; 0: none.
    pub request: u64,
    /// What it was in, of a wait its phase.
    pub phase: Phase,
    /// Start of that.
    pub start_ns: u64,
    /// End of that.
    pub end_ns: u64,
    /// Where in Python it was, as a look within that saw it.
    pub place: Option<u32>,
}

impl ChainStep {
    /// A thread in a segment of its time.
    pub(super) const fn of((tgid, tid): (Tid, Tid), segment: &Segment) -> Self {
        let phase = match segment.did {
            Did::Ran(phase) => phase,
            Did::Slept(sleep) => sleep.phase,
            Did::Queued(_) => Phase::RunQueue,
            Did::Short(_) | Did::InKernel { .. } => Phase::Cpu,
            Did::AsleepOrReady | Did::Unseen => Phase::Unexplained,
        };
        let Segment { start_ns, end_ns, request, .. } = *segment;
        Self { tgid, tid, request, phase, start_ns, end_ns, place: None }
    }
}

/// A request's time at one leaf, by one way, out of one of its phases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::machine) struct LeafShare {
    /// How long it was there.
    pub ns: u64,
    /// The longest single chain of it.
    pub longest_ns: u64,
    /// Its steps, by where they stand among those of the request.
    longest: StepsAt,
    /// The wait was on a connection that several processes read.
    pub is_shared: bool,
    /// Threads of which one stands behind its last step.
    pub candidates: Vec<ChainStep>,
    /// What a look saw in the longest sleep of it that was looked at: how long that stood behind the wait,
    /// and the number of what was seen.
    pub seen: Option<(u64, u32)>,
    /// Where in Python the thread at the end was, in the longest sleep of it that was looked at: as `seen`.
    pub place: Option<(u64, u32)>,
    /// Where in Python the first on the way who waits for a lock does, in the longest such wait that was
    /// looked at: as `seen`.
    pub waited_at: Option<(u64, u32)>,
}

impl LeafShare {
    /// Time that was not followed step by step.
    pub(super) fn of(ns: u64) -> Self {
        Self { ns, longest_ns: ns, ..Self::default() }
    }
}

/// What is known of a leaf beside its key.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct LeafNote {
    /// The wait was on a connection that several processes read.
    pub is_shared: bool,
    /// Number of what a look saw.
    pub seen: Option<u32>,
    /// Threads of which one stands behind the wait; which is not known.
    pub candidates: Vec<ChainStep>,
}

/// The phase of the request's own time, the leaf, and the way there.
pub(in crate::machine) type LeafKey = (Phase, Leaf, Hops);

/// Where the steps of one chain stand among those of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct StepsAt {
    from: usize,
    count: usize,
    /// Steps that have room there.
    room: usize,
}

/// The longest chains of a request's leaves, step by step.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct ChainSteps(Vec<ChainStep>);

impl ChainSteps {
    /// Writes over the steps of a leaf's chain if the new ones have room there, or else behind all others.
    fn keep(&mut self, at: StepsAt, steps: &[ChainStep]) -> StepsAt {
        let count = steps.len();
        if count <= at.room
            && let Some(before) = self.0.get_mut(at.from..at.from + count)
        {
            before.copy_from_slice(steps);
            return StepsAt { count, ..at };
        }
        // Room that doubles: one leaf takes no more than four times its longest chain.
        let (from, room) = (self.0.len(), count.next_power_of_two());
        self.0.extend_from_slice(steps);
        if let Some(last) = steps.last() {
            self.0.resize(from + room, *last);
        }
        StepsAt { from, count, room }
    }

    /// Those of a leaf's longest chain; none: it was not followed step by step.
    pub(super) fn of(&self, share: &LeafShare) -> &[ChainStep] {
        let StepsAt { from, count, .. } = share.longest;
        self.0.get(from..from + count).unwrap_or_default()
    }
}

/// All leaves of one request.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Leaves {
    /// In order: few keys are compared faster than one is hashed.
    shares: BTreeMap<LeafKey, LeafShare>,
    steps: ChainSteps,
}

impl Leaves {
    /// Adds time at a leaf, to which these steps led.
    pub(in crate::machine) fn add(&mut self, key: LeafKey, ns: u64, steps: &[ChainStep], note: &LeafNote) {
        if ns == 0 {
            return;
        }
        let share = self.shares.entry(key).or_default();
        share.ns = share.ns.saturating_add(ns);
        share.is_shared |= note.is_shared;
        if let Some(seen) = note.seen {
            share.seen = share.seen.max(Some((ns, seen)));
        }
        let (last, hops) =
            steps.split_last().map_or((None, [].as_slice()), |(last, hops)| (Some(last), hops));
        if let Some(place) = last.and_then(|step| step.place) {
            share.place = share.place.max(Some((ns, place)));
        }
        let lock = hops.iter().find(|step| step.phase == Phase::LockWait);
        if let Some(place) = lock.and_then(|step| step.place) {
            share.waited_at = share.waited_at.max(Some((ns, place)));
        }
        if ns > share.longest_ns {
            share.longest_ns = ns;
            share.longest = self.steps.keep(share.longest, steps);
            share.candidates.clone_from(&note.candidates);
        }
    }

    /// What nearly all of the time is at, whichever way led there; `None`: at several things, or that is not
    /// known. What it was is not known of all of it.
    pub(super) fn nearly_all_at(&self) -> Option<(LeafKind, Object)> {
        let mut sums: BTreeMap<(LeafKind, Object), u64> = BTreeMap::new();
        let mut all_ns = 0_u64;
        for ((_, leaf, _), share) in &self.shares {
            let sum_ns = sums.entry((leaf.kind, leaf.object)).or_default();
            *sum_ns = sum_ns.saturating_add(share.ns);
            all_ns = all_ns.saturating_add(share.ns);
        }
        let nearly = |((kind, object), ns): (&(LeafKind, Object), &u64)| {
            let unnamed_ns = match object {
                Object::Unknown => 0,
                _ => sums.get(&(*kind, Object::Unknown)).copied().unwrap_or(0),
            };
            let is_known = !matches!(kind, LeafKind::NotFollowed | LeafKind::NotReleased);
            let is_it = is_known && ns.saturating_add(unnamed_ns) >= all_ns - all_ns / 8;
            is_it.then_some((*ns, *kind, *object))
        };
        let most = sums.iter().filter_map(nearly).max_by_key(|(ns, ..)| *ns);
        most.map(|(_, kind, object)| (kind, object))
    }

    /// All of them, in an order that depends on nothing but themselves, and the steps of their chains.
    pub(in crate::machine) fn into_sorted(self) -> (BTreeMap<LeafKey, LeafShare>, ChainSteps) {
        (self.shares, self.steps)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_leaf_has_its_sum_and_the_steps_of_its_longest_chain(
            chains in prop::collection::vec((0_u8..4, 1_u64..50, 1_usize..9), 0..60),
        ) {
            let key = |of: u8| (Phase::Cpu, Leaf { endpoint: of.into(), ..Leaf::of(LeafKind::File) }, Hops::NONE);
            let mut leaves = Leaves::default();
            let mut expected: BTreeMap<LeafKey, (u64, u64, Vec<ChainStep>)> = BTreeMap::new();
            for (place, (of, ns, count)) in chains.into_iter().enumerate() {
                let did = Did::Ran(Phase::Cpu);
                let segment = Segment { start_ns: place as u64, end_ns: ns, request: 0, did };
                let steps = vec![ChainStep::of((1, 2), &segment); count];
                leaves.add(key(of), ns, &steps, &LeafNote::default());
                let (sum_ns, longest_ns, longest) = expected.entry(key(of)).or_default();
                *sum_ns += ns;
                if ns > *longest_ns {
                    (*longest_ns, *longest) = (ns, steps);
                }
            }
            let (shares, steps) = leaves.into_sorted();
            let found: BTreeMap<LeafKey, (u64, u64, Vec<ChainStep>)> = shares
                .into_iter()
                .map(|(key, share)| (key, (share.ns, share.longest_ns, steps.of(&share).to_vec())))
                .collect();
            prop_assert_eq!(found, expected);
            prop_assert!(steps.0.len() <= 4 * 4 * 8);
        }
    }
}
