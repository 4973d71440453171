//! Processes that stood still: stopped, traced or frozen from outside.
//!
//! In: what all threads of a process did. Out: whether, and when, none of them could go on.

use super::{Follower, Interval};
use crate::event::Tid;
use crate::machine::chain::history::SegmentPart;
use crate::machine::chain::leaves::LeafNote;
use crate::machine::chain::segment::{Did, SegmentSleep};
use crate::machine::chain::split::split;
use crate::machine::chain::unreleased::LONGEST_IDLE_NS;
use crate::model::chain::{Hops, Leaf, LeafKind};
use crate::phase::Phase;

impl<'a> Follower<'a> {
    /// A sleep outside any call, in which no thread of the process ran: it was stopped from outside.
    pub(super) fn stood_still(&self, tgid: Tid, (from_ns, until_ns): Interval, sleep: &SegmentSleep) -> bool {
        let threads = || {
            let tids = self.known.histories.of_process(tgid).iter();
            tids.filter_map(|tid| self.known.histories.get(*tid))
        };
        // A moment at each end is the stop itself.
        let most_ns = (until_ns - from_ns) / 16;
        let ran = |part: SegmentPart<'_>| match part.segment.did {
            Did::Ran(_) | Did::InKernel { .. } => part.length_ns() > most_ns,
            Did::Short(short) => u64::from(short.ran_ns).min(part.length_ns()) > most_ns,
            _ => false,
        };
        let may_be = match sleep.phase {
            Phase::Unexplained => sleep.is_way_out,
            // A page fault looks the same, but that several threads begin and end one at once.
            _ => threads().filter(|history| history.stops_about((from_ns, until_ns))).count() > 1,
        };
        may_be && !threads().any(|history| history.within(from_ns, until_ns).any(ran))
    }

    /// A sleep on purpose. What of it the process was stopped for was none.
    pub(super) fn slept_or_stopped(
        &mut self,
        tgid: Tid,
        part: SegmentPart<'a>,
        (leaf, note): (Leaf, LeafNote),
        ns: u64,
        hops: Hops,
    ) {
        let interval = (part.from_ns, part.until_ns);
        let Some(stop) = self.stop_within(tgid, interval) else { return self.noted(leaf, ns, hops, &note) };
        let lengths = [part.length_ns() - (stop.1 - stop.0), stop.1 - stop.0];
        let [slept_ns, stop_ns] = split(ns, lengths);
        self.noted(leaf, slept_ns, hops, &note);
        self.leaf(Leaf::of(LeafKind::StoodStill), stop_ns, hops);
    }

    /// A stretch of an interval in which a process was stopped, by what one of its threads shows.
    pub(super) fn stop_within(&self, tgid: Tid, interval: Interval) -> Option<Interval> {
        let tids = self.known.histories.of_process(tgid).iter();
        let parts = tids
            .filter_map(|tid| self.known.histories.get(*tid))
            .flat_map(|history| history.within(interval.0, interval.1));
        let stops = parts.filter_map(|part| {
            let Did::Slept(sleep) = part.segment.did else { return None };
            let (from_ns, until_ns) = (part.from_ns, part.until_ns);
            let is_long = until_ns.saturating_sub(from_ns) >= LONGEST_IDLE_NS;
            let is_stop = is_long
                && (sleep.held.is_some()
                    || matches!(sleep.phase, Phase::Unexplained | Phase::FaultWait)
                        && self.stood_still(tgid, (part.segment.start_ns, part.segment.end_ns), &sleep));
            is_stop.then_some((from_ns, until_ns))
        });
        stops.max_by_key(|(from_ns, until_ns)| until_ns - from_ns)
    }
}
