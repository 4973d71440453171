//! A request that is over: its waits are followed, and its leaves add up to its duration.
//!
//! In: the request's phases, its stretches on threads, when it waited to be served. Out: its leaves, exactly
//! as long as its phases. What was followed gives the proportions; the phases give the amounts. So the law
//! holds whatever is missing: what was not followed is a leaf of its own.

use std::collections::BTreeMap;

use crate::machine::chain::follow::{Follower, back_end, by_phase, ran};
use crate::machine::chain::independence::OutsideWait;
use crate::machine::chain::known::Known;
use crate::machine::chain::leaves::{ChainSteps, LeafKey, LeafShare};
use crate::machine::chain::service::{handed_to, unserved, who_serves};
use crate::machine::chain::settling::{SHORTEST_NS, Settling, TO_BE_SERVED, is_work};
use crate::machine::chain::split::split;
use crate::machine::time::short::LONG_NS;
use crate::model::chain::{Hops, Leaf, LeafKind, NotFollowed, Object};
use crate::model::request::Stretch;
use crate::phase::{Phase, Phases};

/// Leaves of a request.
#[derive(Debug, Default)]
pub(in crate::machine) struct Settled {
    pub shares: Vec<(LeafKey, LeafShare)>,
    /// The steps of their longest chains.
    pub steps: ChainSteps,
    /// Its own waits for something outside.
    pub outside: Vec<OutsideWait>,
    /// Some thread is silent that may tell more later.
    pub is_incomplete: bool,
}

/// Follows the waits of a request.
pub(super) fn settle(known: Known<'_>, request: &Settling) -> Settled {
    let mut follower = Follower::new(known);
    waits_to_be_served(&mut follower, known, request);
    let is_unknown = request.phases.get(Phase::Unexplained) >= LONG_NS;
    let pool = if is_unknown { handed_to(known, request) } else { Vec::new() };
    for stretch in &request.stretches {
        follower.own(request.id, stretch.tid, (stretch.start_ns, stretch.end_ns), !pool.is_empty());
    }
    let mut unknown_until_ns = request.end_ns;
    if let Some(Stretch { tid, start_ns, end_ns, .. }) = request.found.get() {
        follower.found(request.id, tid, (start_ns, end_ns));
        unknown_until_ns = start_ns;
    }
    if is_unknown {
        follower.handed_to((request.accepted_ns(), unknown_until_ns), &pool);
    }
    let is_incomplete = follower.is_incomplete;
    let outside = std::mem::take(&mut follower.outside);
    let (followed, steps) = follower.leaves.into_sorted();
    let phases = explain(request, &followed);
    let mut shares = Vec::with_capacity(followed.len() + 4);
    let mut followed = followed.into_iter().peekable();
    for (phase, ns) in phases.iter() {
        let first = shares.len();
        while let Some(share) = followed.next_if(|((of, _, _), _)| *of <= phase) {
            if share.0.0 == phase {
                shares.push(share);
            }
        }
        fit(request, (phase, ns), first, &mut shares);
    }
    Settled { shares, steps, outside, is_incomplete }
}

/// Leaves of time in a phase of which nothing more is known. `like`: the endpoint that it is of; its back
/// ends and holders, if there are any.
pub(super) fn unfollowed(like: &Settling, (phase, ns): (Phase, u64)) -> Vec<(LeafKey, u64)> {
    let mut shares = Vec::new();
    rest(like, phase, ns, &mut shares);
    shares.into_iter().map(|(key, share)| (key, share.ns)).collect()
}

/// The request's phases, with what was unexplained told by sleeps that had begun before the trace did.
fn explain(request: &Settling, followed: &BTreeMap<LeafKey, LeafShare>) -> Phases {
    let mut phases = request.phases;
    let mut since_before = Phases::default();
    for ((phase, leaf, _), share) in followed {
        since_before.add(*phase, if leaf.since_before { share.ns } else { 0 });
    }
    let mut known = Phases::default();
    for (phase, ns) in since_before.iter() {
        known.add(phase, ns.saturating_sub(phases.get(phase)));
    }
    phases.explain(&known);
    phases
}

/// Follows the waits of a request for somebody to serve it.
fn waits_to_be_served(follower: &mut Follower<'_>, known: Known<'_>, request: &Settling) {
    for phase in TO_BE_SERVED {
        let ns = request.phases.get(phase);
        if ns < SHORTEST_NS {
            continue;
        }
        let (tids, or_else) = who_serves(known, request, phase);
        let intervals = match phase {
            Phase::AcceptQueue => vec![(request.start_ns, request.start_ns.saturating_add(ns))],
            _ => unserved(request, phase),
        };
        for interval in intervals {
            follower.any_of(phase, interval, &tids, &or_else);
        }
    }
}

/// Fits what was followed of a phase to how long the phase is. `first`: where its shares begin.
fn fit(request: &Settling, (phase, ns): (Phase, u64), first: usize, shares: &mut Vec<(LeafKey, LeafShare)>) {
    let followed = shares.get_mut(first..).unwrap_or_default();
    let sum_ns = followed.iter().fold(0_u64, |sum, (_, share)| sum.saturating_add(share.ns));
    // Who waits to be served waits all of that time; of other phases what is short was left out.
    let is_whole = TO_BE_SERVED.contains(&phase) && sum_ns > 0 || sum_ns > ns;
    if is_whole {
        let weights: Vec<u64> = followed.iter().map(|(_, share)| share.ns).collect();
        for ((_, share), ns) in followed.iter_mut().zip(split(ns, weights)) {
            share.ns = ns;
            share.longest_ns = share.longest_ns.min(ns);
        }
        shares.retain(|(_, share)| share.ns > 0);
    }
    let rest_ns = if is_whole { 0 } else { ns - sum_ns };
    if rest_ns > 0 {
        rest(request, phase, rest_ns, shares);
    }
}

/// Waits for back ends beyond those that were followed, for each port.
fn not_followed_by_port(request: &Settling, followed: &[(LeafKey, LeafShare)]) -> Vec<u64> {
    let waited = request.back_ends.iter().map(|(port, waited_ns)| {
        let object = Object::Peer { port: *port };
        let of_port = followed
            .iter()
            .filter(|((phase, leaf, _), _)| (*phase, leaf.object) == (Phase::BackendWait, object));
        of_port.fold(*waited_ns, |rest_ns, (_, share)| rest_ns.saturating_sub(share.ns))
    });
    waited.collect()
}

/// Time of a phase that was not followed thread by thread.
fn rest(request: &Settling, phase: Phase, ns: u64, shares: &mut Vec<(LeafKey, LeafShare)>) {
    let weights = not_followed_by_port(request, shares);
    let mut push = |leaf: Leaf, hops: Hops, ns: u64| {
        if ns > 0 {
            shares.push(((phase, leaf, hops), LeafShare::of(ns)));
        }
    };
    let own = |kind| Leaf { endpoint: request.endpoint, ..Leaf::of(kind) };
    let none = Hops::NONE;
    let is_short = ns < LONG_NS || request.end_ns == 0;
    let unseen = if is_short { NotFollowed::Short } else { NotFollowed::NotSeen };
    match phase {
        Phase::BackendWait if weights.iter().any(|ns| *ns > 0) => {
            for ((port, _), ns) in request.back_ends.iter().zip(split(ns, weights)) {
                push(Leaf { object: Object::Peer { port: *port }, ..own(back_end(*port)) }, none, ns);
            }
        }
        Phase::GilWait => {
            let hops = none.with(phase).unwrap_or_default();
            let weights: Vec<u64> = request.holders.iter().map(|(_, ns)| *ns).collect();
            let parts = split(ns, weights);
            let known_ns: u64 = parts.iter().sum();
            for ((endpoint, _), ns) in request.holders.iter().zip(parts) {
                match endpoint {
                    Some(endpoint) => {
                        push(Leaf { endpoint: *endpoint, ..Leaf::of(LeafKind::Computing) }, hops, ns);
                    }
                    None => push(Leaf::not_followed(NotFollowed::Holder), hops, ns),
                }
            }
            push(Leaf::not_followed(unseen), hops, ns - known_ns);
        }
        Phase::AcceptQueue | Phase::PoolWait | Phase::LoopWait | Phase::LockWait => {
            push(Leaf::not_followed(unseen), none.with(phase).unwrap_or_default(), ns);
        }
        Phase::Unexplained => push(Leaf::not_followed(NotFollowed::NotSeen), none, ns),
        _ if is_work(phase) => push(own(ran(phase)), none, ns),
        _ => push(own(by_phase(phase)), none, ns),
    }
}
