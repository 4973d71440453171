//! Which cause is named: of inflicted waiting, of the slowest requests, of what all requests do.
//!
//! In: the leaves of a window. Out: verdicts without their advice; `None` where there is nothing to say.

use super::cause::{Cause, Measure, rank_ns, relieved_ns, sum, within};
use super::{Failed, Pattern, Verdict, pattern_of};
use crate::finding::basis::{Basis, decides};
use crate::finding::{Evidence, Thresholds, ratio};
use crate::model::chain::{Chains, Group, LeafKind, LeafTime, NotFollowed};
use crate::model::chain_group::Level;

/// So many causes are named where no single one is most of it.
const SEVERAL: usize = 3;

fn sum_of(chains: &Chains, measure: Measure) -> u64 {
    chains.leaves.iter().fold(0, |sum, row| sum.saturating_add(measure(row)))
}

/// Request time that was waiting through somebody else, in nanoseconds.
pub(super) fn inflicted_ns(chains: &Chains) -> u64 {
    sum_of(chains, LeafTime::inflicted_ns)
}

/// What decides whether waiting through somebody else is worth a verdict.
pub(super) fn inflicted_ratio(basis: &Basis<'_>) -> Evidence {
    let chains = &basis.snapshot.chains;
    let share = ratio(inflicted_ns(chains), chains.request_ns);
    decides("waited_for_others_ratio", share, basis.thresholds.waited_for_others_min_ratio)
}

/// What decides whether the slowest requests are worth one.
pub(super) fn unusual_ratio(basis: &Basis<'_>) -> Evidence {
    let chains = &basis.snapshot.chains;
    let share = ratio(sum_of(chains, |row| row.unusual_ns), chains.request_ns);
    decides("unusual_ratio", share, basis.thresholds.waited_for_others_min_ratio)
}

/// Whether so much time is worth a verdict: a considerable part of request time, and enough of it.
fn is_enough(basis: &Basis<'_>, measure: Measure, enough_requests: f64) -> bool {
    let (chains, limits) = (&basis.snapshot.chains, basis.thresholds);
    let whole_ns = sum_of(chains, measure);
    let each_long = |row: &&LeafTime| {
        let each_ns = measure(row).checked_div(row.requests);
        each_ns.is_some_and(|each_ns| each_ns as f64 / 1e6 >= limits.waited_for_others_each_min_milliseconds)
    };
    let requests = || chains.leaves.iter().filter(each_long).map(|row| row.requests).max().unwrap_or(0);
    ratio(whole_ns, chains.request_ns) >= limits.waited_for_others_min_ratio
        && (whole_ns as f64 / 1e9 >= limits.waited_for_others_min_seconds
            || requests() as f64 >= enough_requests)
}

/// Waiting through somebody else, by what prevents it, where it is worth a verdict.
pub(super) struct Inflicted<'a> {
    chains: &'a Chains,
    limits: &'a Thresholds,
    whole_ns: u64,
    /// Kinds, those without which most of it would not have been first.
    ranked: Vec<(u64, Group)>,
}

impl<'a> Inflicted<'a> {
    /// `None`: it is not worth one. `has_failed`: so long that requests failed.
    pub(super) fn of(basis: &Basis<'a>, has_failed: bool) -> Option<Self> {
        let (chains, limits) = (&basis.snapshot.chains, basis.thresholds);
        let enough = if has_failed { limits.few_min_count } else { limits.waited_for_others_min_count };
        if !is_enough(basis, LeafTime::inflicted_ns, enough) {
            return None;
        }
        let whole_ns = inflicted_ns(chains);
        let weighed = |group| (relieved_ns(chains, &group), group);
        let mut ranked: Vec<(u64, Group)> =
            within(chains, Level::Kind, None).into_iter().map(weighed).collect();
        let rank = |group: &Group| rank_ns(chains, group, (whole_ns, limits.named_min_ratio));
        ranked.sort_by_key(|(_, group)| (std::cmp::Reverse(rank(group)), *group));
        Some(Self { chains, limits, whole_ns, ranked })
    }

    fn named(&self, group: Group) -> Option<Cause> {
        let limit = (self.whole_ns, self.limits.named_min_ratio);
        let rank = |group: &Group| rank_ns(self.chains, group, limit);
        // A level below has to end half of what the level above would; more than all waiting none can.
        let weigh = |group: &Group| relieved_ns(self.chains, group).min(self.whole_ns);
        Cause::ranked(self.chains, group, LeafTime::inflicted_ns, (&rank, &weigh))
    }

    /// Causes that each prevent a considerable part of it, the largest first.
    pub(super) fn causes(&self) -> Vec<Cause> {
        let is_large = |ns: u64| ratio(ns, self.whole_ns) >= self.limits.several_min_ratio;
        let large = self.ranked.iter().take(SEVERAL).filter(|(ns, _)| is_large(*ns));
        large.filter_map(|(_, group)| self.named(*group)).collect()
    }

    /// The verdict on it; `None`: what requests do themselves is more.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let (chains, limits) = (self.chains, self.limits);
        let (most_ns, most) = self.ranked.first()?;
        let not_followed_ns = sum_of(chains, not_followed);
        let is_most = ratio(not_followed_ns, chains.request_ns) >= limits.named_min_ratio;
        // What a cause would prevent rests on the rest of the time; what it holds was seen.
        if is_most && not_followed_ns > sum(chains, most, |row| row.held_ns) {
            return Some(not_seen(chains, not_followed));
        }
        let own = largest(chains, limits, itself, chains.request_ns);
        let is_more = |own: &Cause| {
            own.kind != most.kind && ratio(own.held_ns, self.whole_ns) > limits.itself_min_times
        };
        if own.as_ref().is_some_and(is_more) {
            return None;
        }
        // The same of waiting through somebody else.
        let unseen_ns = sum_of(chains, unseen);
        let is_seen = ratio(unseen_ns, self.whole_ns) < limits.named_min_ratio
            || unseen_ns <= sum(chains, most, LeafTime::inflicted_ns);
        let is_felt = ratio(*most_ns, chains.request_ns) >= limits.waited_for_others_min_ratio;
        if is_seen && is_felt && ratio(*most_ns, self.whole_ns) >= limits.named_min_ratio {
            let cause = self.named(*most)?;
            return Some(Verdict { causes: vec![cause.clone()], ..Verdict::new(pattern_of(cause.kind)) });
        }
        // Less than half of request time, without a single cause: what requests do themselves is more.
        if ratio(self.whole_ns, chains.request_ns) < limits.named_min_ratio {
            return None;
        }
        if !is_seen || unseen_ns > *most_ns {
            return Some(not_seen(chains, unseen));
        }
        Some(Verdict { causes: self.causes(), ..Verdict::new(Pattern::Several) })
    }
}

/// What requests do or wait for themselves.
fn itself(time: &LeafTime) -> u64 {
    if time.is_inflicted() { 0 } else { time.held_ns }
}

/// All of which it is not known for whom it was.
fn not_followed(time: &LeafTime) -> u64 {
    if time.leaf.kind == LeafKind::NotFollowed { time.held_ns } else { 0 }
}

/// Waiting of which it is not known for whom it was.
fn unseen(time: &LeafTime) -> u64 {
    if time.leaf.kind == LeafKind::NotFollowed { time.inflicted_ns() } else { 0 }
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
pub(super) fn slowest(basis: &Basis<'_>) -> Option<Verdict> {
    let (chains, limits) = (&basis.snapshot.chains, basis.thresholds);
    let total = &basis.snapshot.requests.total;
    let unusual: Measure = |row| row.unusual_ns;
    // Those that are still open are in no percentile.
    let longest_ns = chains.leaves.iter().filter(|row| row.unusual_ns > 0).map(|row| row.longest_ns).max();
    let slowest_ns = total.quantile_ns(0.99).max(longest_ns.unwrap_or(0));
    let usual_ns = total.quantile_ns(0.5);
    let is_spread = ratio(slowest_ns, usual_ns) >= limits.slowest_min_times;
    if !is_spread || !is_enough(basis, unusual, limits.few_min_count) {
        return None;
    }
    let cause = largest(chains, limits, unusual, sum_of(chains, unusual))?;
    // Where the slowest are slow for something else, as all of their endpoint are, that is no answer.
    let is_why = ratio(cause.longest_ns, slowest_ns.saturating_sub(usual_ns)) >= limits.named_min_ratio;
    if !is_why {
        return None;
    }
    Some(Verdict { causes: vec![cause], ..Verdict::new(Pattern::Slowest) })
}

/// Nobody was served, and what requests do most of their time has lasted since before the trace.
pub(super) fn hung(basis: &Basis<'_>) -> Option<Verdict> {
    let (chains, limits) = (&basis.snapshot.chains, basis.thresholds);
    let since_before: Measure = |row| if row.leaf.since_before { itself(row) } else { 0 };
    let cause = largest(chains, limits, since_before, chains.request_ns);
    let cause = cause.filter(|_| basis.snapshot.requests.completed == 0)?;
    Some(Verdict { causes: vec![cause.clone()], ..Verdict::new(pattern_of(cause.kind)) })
}

/// What requests themselves wait for or do most of their time: one thing, or the two or three that together
/// are most of it.
pub(super) fn usual(basis: &Basis<'_>) -> Option<Verdict> {
    let (chains, limits) = (&basis.snapshot.chains, basis.thresholds);
    let weigh = |group: &Group| sum(chains, group, itself);
    let mut kinds = within(chains, Level::Kind, None);
    kinds.sort_by_key(|group| (std::cmp::Reverse(weigh(group)), *group));
    let mut named_ns = 0_u64;
    for (count, group) in (1..=SEVERAL).zip(&kinds) {
        named_ns = named_ns.saturating_add(weigh(group));
        if named_ns > 0 && ratio(named_ns, chains.request_ns) >= limits.named_min_ratio {
            let named = kinds.iter().take(count);
            let of_kind = named.filter_map(|group| Cause::of(chains, *group, itself, &weigh));
            let mut causes: Vec<Cause> = of_kind.collect();
            causes.sort_by_key(|cause| std::cmp::Reverse(cause.held_ns));
            return Some(Verdict { causes, ..Verdict::new(Pattern::TakesAsLong) });
        }
    }
    mostly_not_seen(basis)
}

/// Of most request time it is not known for whom it was.
pub(super) fn mostly_not_seen(basis: &Basis<'_>) -> Option<Verdict> {
    let (chains, limits) = (&basis.snapshot.chains, basis.thresholds);
    let is_most = ratio(sum_of(chains, not_followed), chains.request_ns) >= limits.named_min_ratio;
    is_most.then(|| not_seen(chains, not_followed))
}

/// Whether half of all requests fail.
pub(super) fn do_most_fail(basis: &Basis<'_>, failed: &[Failed]) -> bool {
    let count = failed.iter().map(|failed| failed.count).max().unwrap_or(0);
    ratio(count, basis.request_count().saturating_add(count)) >= basis.thresholds.named_min_ratio
}

/// What requests that fail mostly wait for or do: what others do too, where most fail; else what the
/// slowest do beyond what is usual.
pub(super) fn behind_failures(basis: &Basis<'_>, failed: &[Failed]) -> Option<Cause> {
    let (chains, limits) = (&basis.snapshot.chains, basis.thresholds);
    if do_most_fail(basis, failed) {
        return largest(chains, limits, |row| row.held_ns, chains.request_ns);
    }
    slowest(basis).and_then(|verdict| verdict.causes.into_iter().next())
}

/// The cause that has half of `whole_ns`, by what is measured of each leaf.
fn largest(chains: &Chains, limits: &Thresholds, measure: Measure, whole_ns: u64) -> Option<Cause> {
    let weigh = |group: &Group| sum(chains, group, measure);
    let groups = within(chains, Level::Kind, None).into_iter();
    let most = groups.max_by_key(|group| (weigh(group), std::cmp::Reverse(*group)))?;
    let is_named = weigh(&most) > 0 && ratio(weigh(&most), whole_ns) >= limits.named_min_ratio;
    is_named.then(|| Cause::of(chains, most, measure, &weigh)).flatten()
}
