//! Several threads of which any one could stand behind a wait.
//!
//! In: the candidates, and the wait. Out: the leaf that all of them lead to, whoever it is; or else a leaf of
//! a chain that is not followed, with their names.

use super::{Follower, Interval};
use crate::event::Tid;
use crate::machine::chain::history::SegmentPart;
use crate::machine::chain::leaves::{ChainStep, LeafNote};
use crate::machine::chain::segment::Segment;
use crate::machine::chain::split::split;
use crate::model::chain::{Hops, Leaf, LeafKind, Object};

/// Candidates that are followed, or named.
pub(super) const MAX_CANDIDATES: usize = 8;
/// Of so many waits in a row all candidates are followed: each takes as many walks as it has candidates.
const MAX_GUESSES: u32 = 2;

impl<'a> Follower<'a> {
    /// One of several threads stands behind a wait. `unknown`: the leaf where they lead to different things.
    pub(super) fn one_of(
        &mut self,
        candidates: &[Tid],
        (part, unknown): (SegmentPart<'a>, Leaf),
        ns: u64,
        hops: Hops,
    ) {
        if self.are_alike(candidates, part.segment, hops) {
            let interval = (part.from_ns, part.until_ns);
            let amounts = split(ns, vec![1; candidates.len()]);
            for (tid, ns) in candidates.iter().zip(amounts) {
                self.guess(*tid, interval, ns, hops);
            }
            return;
        }
        let named = candidates.iter().take(MAX_CANDIDATES);
        let step = |tid: &Tid| {
            let history = self.known.histories.get(*tid)?;
            let last = history.within(part.from_ns, part.until_ns).last()?;
            Some(ChainStep::of((history.tgid, *tid), last.segment))
        };
        let note = LeafNote { candidates: named.filter_map(step).collect(), ..LeafNote::default() };
        self.noted(unknown, ns, hops, &note);
    }

    /// Whether all of them lead to the same leaf, nearly all the time of a wait.
    fn are_alike(&mut self, candidates: &[Tid], wait: &Segment, hops: Hops) -> bool {
        let is_in_chain = candidates.iter().any(|tid| self.steps.iter().any(|step| step.tid == *tid));
        if !(2..=MAX_CANDIDATES).contains(&candidates.len()) || self.guesses >= MAX_GUESSES || is_in_chain {
            return false;
        }
        let mut common: Option<(LeafKind, Object)> = None;
        candidates.iter().all(|tid| {
            let before = std::mem::take(&mut self.leaves);
            self.guess(*tid, (wait.start_ns, wait.end_ns), wait.length_ns(), hops);
            let tried = std::mem::replace(&mut self.leaves, before);
            let Some((kind, object)) = tried.nearly_all_at() else { return false };
            let known = common.get_or_insert((kind, object));
            if known.1 == Object::Unknown {
                known.1 = object;
            }
            known.0 == kind && (object == Object::Unknown || known.1 == object)
        })
    }

    fn guess(&mut self, tid: Tid, interval: Interval, ns: u64, hops: Hops) {
        self.guesses += 1;
        self.by_who_ended(|walk| walk.thread(tid, interval, ns, hops));
        self.guesses -= 1;
    }
}
