//! Which cause is named: of inflicted waiting, of the slowest requests, of what all requests do.
//!
//! In: the leaves of a window. Out: verdicts without their advice; `None` where there is nothing to say.

use super::cause::{Cause, Measure, inflicted_of, is_inflicted, relieved_ns, sum, within};
use super::{Pattern, Verdict, pattern_of};
use crate::model::Snapshot;
use crate::model::chain::{Chains, Group, LeafKind, LeafTime, NotFollowed};
use crate::model::chain_group::Level;

/// Part of request time from which on waiting is worth a verdict.
const WORTH_SAYING: f64 = 0.1;
/// Request time from which on it is worth one, whatever each request waits.
const ENOUGH_NS: u64 = 3_000_000_000;
/// Requests from which on it is worth one, if each waits so long.
const ENOUGH_REQUESTS: u64 = 10;
const ENOUGH_EACH_NS: u64 = 10_000_000;
/// The same of the slowest, and of those that failed.
const ENOUGH_OF_FEW: u64 = 3;
/// A cause is named from this part on.
const NAMED_MIN: f64 = 0.5;
/// So much each of several has at least, and so many are named.
const EACH_OF_SEVERAL_MIN: f64 = 0.2;
const SEVERAL: usize = 3;
/// What requests do themselves is named first where it is so many times what they wait for others.
const ITSELF_TIMES: u64 = 2;
/// The slowest are slow where the 99th percentile is so many times the median.
const SLOWEST_TIMES: u64 = 5;

fn share(part_ns: u64, whole_ns: u64) -> f64 {
    if whole_ns == 0 { 0.0 } else { part_ns as f64 / whole_ns as f64 }
}

fn sum_of(chains: &Chains, measure: Measure) -> u64 {
    chains.leaves.iter().fold(0, |sum, row| sum.saturating_add(measure(row)))
}

/// Request time that was waiting through somebody else, in nanoseconds.
pub(super) fn inflicted_ns(chains: &Chains) -> u64 {
    sum_of(chains, inflicted_of)
}

/// Whether so much time is worth a verdict: a considerable part of request time, and enough of it.
fn is_enough(chains: &Chains, measure: Measure, enough_requests: u64) -> bool {
    let whole_ns = sum_of(chains, measure);
    let each_long = |row: &&LeafTime| {
        measure(row).checked_div(row.requests).is_some_and(|each_ns| each_ns >= ENOUGH_EACH_NS)
    };
    let requests = || chains.leaves.iter().filter(each_long).map(|row| row.requests).max().unwrap_or(0);
    share(whole_ns, chains.request_ns) >= WORTH_SAYING
        && (whole_ns >= ENOUGH_NS || requests() >= enough_requests)
}

/// Requests that wait for one another, or for somebody else. `has_failed`: so long that some failed.
pub(super) fn inflicted(chains: &Chains, has_failed: bool) -> Option<Verdict> {
    let enough_requests = if has_failed { ENOUGH_OF_FEW } else { ENOUGH_REQUESTS };
    if !is_enough(chains, inflicted_of, enough_requests) {
        return None;
    }
    let whole_ns = inflicted_ns(chains);
    let weigh = |group: &Group| relieved_ns(chains, group);
    let mut ranked: Vec<(u64, Group)> =
        within(chains, Level::Kind, None).into_iter().map(|group| (weigh(&group), group)).collect();
    ranked.sort_by_key(|(relieved_ns, group)| (std::cmp::Reverse(*relieved_ns), *group));
    let named = |group: &Group| Cause::of(chains, *group, inflicted_of, &weigh);
    let (most_ns, most) = ranked.first()?;
    let not_followed_ns = sum_of(chains, not_followed);
    if share(not_followed_ns, chains.request_ns) >= NAMED_MIN && not_followed_ns > *most_ns {
        return Some(not_seen(chains, not_followed));
    }
    let own = largest(chains, itself, chains.request_ns);
    if own.is_some_and(|own| own.kind != most.kind && own.held_ns > whole_ns.saturating_mul(ITSELF_TIMES)) {
        return None;
    }
    if share(*most_ns, whole_ns) >= NAMED_MIN {
        let cause = named(most)?;
        return Some(Verdict { causes: vec![cause.clone()], ..Verdict::new(pattern_of(cause.kind)) });
    }
    // Less than half of request time, without a single cause: what requests do themselves is more.
    if share(whole_ns, chains.request_ns) < NAMED_MIN {
        return None;
    }
    if sum_of(chains, unseen) > *most_ns {
        return Some(not_seen(chains, unseen));
    }
    let causes = ranked.iter().take(SEVERAL).filter(|(ns, _)| share(*ns, whole_ns) >= EACH_OF_SEVERAL_MIN);
    let causes: Vec<Cause> = causes.filter_map(|(_, group)| named(group)).collect();
    Some(Verdict { causes, ..Verdict::new(Pattern::Several) })
}

/// What requests do or wait for themselves.
fn itself(time: &LeafTime) -> u64 {
    if is_inflicted(time) { 0 } else { time.held_ns }
}

/// All of which it is not known for whom it was.
fn not_followed(time: &LeafTime) -> u64 {
    if time.leaf.kind == LeafKind::NotFollowed { time.held_ns } else { 0 }
}

/// Waiting of which it is not known for whom it was.
fn unseen(time: &LeafTime) -> u64 {
    if time.leaf.kind == LeafKind::NotFollowed { inflicted_of(time) } else { 0 }
}

/// Where chains were not followed: the hop that is most of it, and why.
fn not_seen(chains: &Chains, measure: Measure) -> Verdict {
    let mut by_reason: Vec<(NotFollowed, u64)> = Vec::new();
    for row in &chains.leaves {
        let Some(reason) = row.leaf.reason else { continue };
        match by_reason.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, ns)) => *ns = ns.saturating_add(measure(row)),
            None => by_reason.push((reason, measure(row))),
        }
    }
    let most = by_reason.into_iter().max_by_key(|(reason, ns)| (*ns, std::cmp::Reverse(*reason)));
    Verdict { not_followed: most.map(|(reason, _)| reason), ..Verdict::new(Pattern::NotSeen) }
}

/// Requests that take far longer than others of their endpoint.
pub(super) fn slowest(snapshot: &Snapshot) -> Option<Verdict> {
    let (chains, total) = (&snapshot.chains, &snapshot.requests.total);
    let typical_ns = total.quantile_ns(0.5);
    let unusual: Measure = |row| row.unusual_ns;
    // Those that are still open are in no percentile.
    let longest_ns = chains.leaves.iter().filter(|row| row.unusual_ns > 0).map(|row| row.longest_ns).max();
    let slowest_ns = total.quantile_ns(0.99).max(longest_ns.unwrap_or(0));
    let is_spread = slowest_ns.checked_div(typical_ns).is_some_and(|times| times >= SLOWEST_TIMES);
    if !is_spread || !is_enough(chains, unusual, ENOUGH_OF_FEW) {
        return None;
    }
    let cause = largest(chains, unusual, sum_of(chains, unusual))?;
    Some(Verdict { causes: vec![cause], ..Verdict::new(Pattern::Slowest) })
}

/// What requests themselves wait for or do most of their time.
pub(super) fn usual(chains: &Chains) -> Option<Verdict> {
    if let Some(cause) = largest(chains, itself, chains.request_ns) {
        return Some(Verdict { causes: vec![cause], ..Verdict::new(Pattern::TakesAsLong) });
    }
    let is_most = share(sum_of(chains, not_followed), chains.request_ns) >= NAMED_MIN;
    is_most.then(|| not_seen(chains, not_followed))
}

/// What requests that fail mostly wait for or do.
pub(super) fn behind_failures(chains: &Chains) -> Option<Cause> {
    largest(chains, |row| row.held_ns, chains.request_ns)
}

/// The cause that has half of `whole_ns`, by what is measured of each leaf.
fn largest(chains: &Chains, measure: Measure, whole_ns: u64) -> Option<Cause> {
    let weigh = |group: &Group| sum(chains, group, measure);
    let groups = within(chains, Level::Kind, None).into_iter();
    let most = groups.max_by_key(|group| (weigh(group), std::cmp::Reverse(*group)))?;
    let is_named = weigh(&most) > 0 && share(weigh(&most), whole_ns) >= NAMED_MIN;
    is_named.then(|| Cause::of(chains, most, measure, &weigh)).flatten()
}
