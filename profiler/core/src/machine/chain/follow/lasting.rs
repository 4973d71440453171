//! Slots that are kept by what is no request any more.
//!
//! In: a part of the time of a thread that a request waits for. Out: a leaf, if the thread serves an upgraded
//! connection or a stream: who waits for its slot waits for that to end, whatever the thread does meanwhile.

use super::Follower;
use crate::event::Tid;
use crate::machine::chain::history::SegmentPart;
use crate::machine::chain::leaves::ChainStep;
use crate::model::chain::{Hops, Leaf, LeafKind};
use crate::model::lasting::Became;

impl Follower<'_> {
    /// Whether a thread's slot is kept so: then all of this time is there.
    pub(super) fn lasting(
        &mut self,
        (tgid, tid): (Tid, Tid),
        part: SegmentPart<'_>,
        ns: u64,
        hops: Hops,
    ) -> bool {
        let segment = part.segment;
        let is_slot =
            self.known.histories.get(tid).is_some_and(|history| history.is_slot && !history.is_loop);
        let Some((became, endpoint)) =
            (self.known.lasting)(segment.request, part.from_ns).filter(|_| is_slot)
        else {
            return false;
        };
        let kind = match became {
            Became::Upgraded => LeafKind::Upgraded,
            Became::Stream => LeafKind::Stream,
        };
        self.steps.push(ChainStep::of((tgid, tid), segment));
        self.leaf(Leaf { endpoint, ..Leaf::of(kind) }, ns, hops);
        self.steps.pop();
        true
    }
}
