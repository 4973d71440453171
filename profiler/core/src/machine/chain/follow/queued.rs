//! The walk through a wait for a CPU: who had it.
//!
//! In: such a wait, and how much of a request's time stands behind it. Out: leaves, one for each that had the
//! CPU.

use super::Follower;
use crate::event::Tid;
use crate::machine::chain::cpus::Occupant;
use crate::machine::chain::segment::Segment;
use crate::machine::chain::split::split;
use crate::machine::time::capacity::Span;
use crate::model::chain::{Hops, Leaf, LeafKind, TakenBy};

impl Follower<'_> {
    /// `span`: in which the thread waited, as long in all as the segment is.
    pub(super) fn queued(&mut self, tid: Tid, (segment, span): (&Segment, Span), ns: u64, hops: Hops) {
        let occupants = self.known.cpus.occupants(self.known.histories, tid, span);
        let known_ns = occupants.iter().fold(0_u64, |sum, (_, ns)| sum.saturating_add(*ns));
        let unknown_ns = segment.length_ns().saturating_sub(known_ns);
        let weights: Vec<u64> = occupants.iter().map(|(_, ns)| *ns).chain([unknown_ns]).collect();
        let amounts = split(ns, weights);
        let leaf = self.of(segment, LeafKind::CpuTaken);
        for ((occupant, _), ns) in occupants.iter().zip(&amounts) {
            let taken_by = match *occupant {
                Occupant::Ours { request: 0 } => TakenBy::Thread,
                Occupant::Ours { request } => {
                    TakenBy::Request { endpoint: (self.known.endpoint_of)(request) }
                }
                Occupant::Program { number } => TakenBy::Program { number },
                Occupant::Quota => TakenBy::Quota,
                Occupant::Hypervisor => TakenBy::Hypervisor,
            };
            self.leaf(Leaf { taken_by: Some(taken_by), ..leaf }, *ns, hops);
        }
        self.leaf(leaf, amounts.last().copied().unwrap_or(0), hops);
    }
}
