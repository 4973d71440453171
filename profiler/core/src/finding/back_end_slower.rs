//! Finding `back-end-slower`: within the window a back end began to take longer, and still did so at its end.
//!
//! In: waits for back ends over time, by endpoint and port. Out: a verdict on the port that cost most, with
//! when it began. Its cost is what requests waited longer from then on.

use std::collections::BTreeSet;

use super::back_end_connections::peer;
use super::basis::{Basis, Outcome, Undecided, Verdict, decides, explains};
use super::words::{count, duration, endpoint_name, factor, percent, ratio};
use super::{Evidence, Judge, Rule, add_where_room, has_room};
use crate::model::Endpoint;
use crate::model::over_time::{Stretch, Waits};
use crate::phase::Phase;
use crate::server::advice::{Advice, act, say};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "back-end-slower",
    title: "a back end began to take longer within the window",
    question: "a back end began to take longer",
    page: include_str!("../../../../docs/findings/back-end-slower.md"),
    advice: || {
        Advice::first(
            act("look at what the back end did from that moment on: its slow queries, its locks, its load, a failover")
                .because("the same endpoints waited for less before"),
        )
        .then(say("calls of it with a timeout shorter than the server's keep it from taking every worker or thread"))
    },
    judge: Judge::Measured(judge),
};

/// Moments at which a change is looked for.
const MAX_MOMENTS: u64 = 64;

/// Requests before a moment, or from then on, over all endpoints that are compared.
#[derive(Clone, Copy, Default)]
struct Side {
    requests: u64,
    round_trips: u64,
    waited_ns: u64,
}

impl Side {
    fn add(&mut self, of: &Stretch) {
        self.requests = self.requests.saturating_add(of.requests);
        self.round_trips = self.round_trips.saturating_add(of.round_trips);
        self.waited_ns = self.waited_ns.saturating_add(of.waited_ns);
    }
}

/// Waits for one port before a moment and from then on, over the endpoints that asked often enough on both
/// sides.
struct Change<'a> {
    port: u16,
    at_ns: u64,
    before: Side,
    after: Side,
    /// What the waits after would have been.
    expected_ns: u64,
    /// The part of it at endpoints of which the typical wait became longer, and still was at the end.
    far_ns: u64,
    /// How far the waits before and after stand apart.
    apart: f64,
    /// The endpoint that waits most longer, and how much.
    most: Option<(&'a Endpoint, u64)>,
}

impl<'a> Change<'a> {
    fn at(port: u16, at_ns: u64) -> Self {
        Self {
            port,
            at_ns,
            before: Side::default(),
            after: Side::default(),
            expected_ns: 0,
            far_ns: 0,
            apart: 0.0,
            most: None,
        }
    }

    /// An endpoint as well: all of its waits, those from the moment on, and the last of these.
    fn add(
        &mut self,
        basis: &Basis<'_>,
        endpoint: &'a Endpoint,
        all: &Stretch,
        (after, last): (&Stretch, &Stretch),
    ) {
        let limits = basis.thresholds;
        let requests_before = all.requests.saturating_sub(after.requests);
        if (requests_before.min(after.requests) as f64) < limits.compared_min_count {
            return;
        }
        let before = all.without(after);
        let expected_ns = expected_ns(&before, after);
        let is_far = |part: &Stretch| part.each.are_longer_than(&before.each, limits.slower_min_times);
        if is_far(after) && is_far(last) {
            self.far_ns = self.far_ns.saturating_add(expected_ns);
        }
        let more_ns = after.waited_ns.saturating_sub(expected_ns);
        if self.most.is_none_or(|(_, most_ns)| more_ns > most_ns) {
            self.most = Some((endpoint, more_ns));
        }
        self.apart += apart(&before, after);
        self.expected_ns = self.expected_ns.saturating_add(expected_ns);
        self.before.add(&before);
        self.after.add(after);
    }

    fn more_ns(&self) -> u64 {
        self.after.waited_ns.saturating_sub(self.expected_ns)
    }

    fn times(&self) -> f64 {
        ratio(self.after.waited_ns, self.expected_ns)
    }

    fn is_slower(&self, basis: &Basis<'_>) -> bool {
        let limits = basis.thresholds;
        self.times() >= limits.slower_min_times
            && self.far_share() >= limits.typically_longer_min_ratio
            && basis.rate(self.more_ns()) >= limits.cost_min_rate
            && self.settled_times(basis) >= limits.settled_min_times
    }

    /// The part of what the waits would have been at endpoints of which the typical one became longer.
    fn far_share(&self) -> f64 {
        ratio(self.far_ns, self.expected_ns)
    }

    /// How often, in the time before the moment, requests could have ended that wait as long as those after
    /// it. Those that were under way as the watch began do not count. So the first ones to end are those
    /// that wait shortly, however long others do.
    fn settled_times(&self, basis: &Basis<'_>) -> f64 {
        let each_ns = self.after.waited_ns.checked_div(self.after.requests).unwrap_or(0);
        ratio(self.since_ns(basis), each_ns)
    }

    fn since_ns(&self, basis: &Basis<'_>) -> u64 {
        self.at_ns.saturating_sub(basis.snapshot.window.start_ns)
    }

    fn sentence(&self, basis: &Basis<'_>) -> String {
        let each = |all_ns: u64| duration(all_ns.checked_div(self.after.round_trips).unwrap_or(0));
        let said = |clock: &str| {
            format!(
                "Waits for {} took {} times as long from {} of the window on{clock}: {} instead of {} for each answer \
                 ({} answers, {} before)",
                peer(self.port),
                factor(self.times()),
                duration(self.since_ns(basis)),
                each(self.after.waited_ns),
                each(self.expected_ns),
                count(self.after.round_trips),
                count(self.before.round_trips),
            )
        };
        let most = self.most.map_or_else(String::new, |(endpoint, its_ns)| {
            let part = ratio(its_ns, self.more_ns()).min(1.0);
            format!(", {} of the difference in {}", percent(part), endpoint_name(endpoint))
        });
        let clock = basis.clock("", self.at_ns);
        let mut sentence = said(if has_room(&said(clock.as_str()), &most) { clock.as_str() } else { "" });
        add_where_room(&mut sentence, &most);
        sentence
    }

    /// What decides whether it is one.
    fn deciding(&self, basis: &Basis<'_>) -> [Evidence; 4] {
        let limits = basis.thresholds;
        [
            decides("after_of_before_times", self.times(), limits.slower_min_times),
            decides("typically_longer_ratio", self.far_share(), limits.typically_longer_min_ratio),
            decides("longer_seconds_per_second", basis.rate(self.more_ns()), limits.cost_min_rate),
            decides("settled_times", self.settled_times(basis), limits.settled_min_times),
        ]
    }

    fn evidence(&self, basis: &Basis<'_>) -> Vec<Evidence> {
        let each = |all_ns: u64| ratio(all_ns, self.after.round_trips) / 1e9;
        let mut evidence = self.deciding(basis).to_vec();
        evidence.extend([
            explains("since_seconds", self.since_ns(basis) as f64 / 1e9),
            explains("before_mean_seconds", each(self.expected_ns)),
            explains("after_mean_seconds", each(self.after.waited_ns)),
            explains("before_requests_count", self.before.requests as f64),
            explains("after_requests_count", self.after.requests as f64),
        ]);
        evidence
    }
}

/// What the waits after would have been, had each round trip taken as long as before.
fn expected_ns(before: &Stretch, after: &Stretch) -> u64 {
    let all = u128::from(before.waited_ns).saturating_mul(u128::from(after.round_trips));
    let expected = all.checked_div(u128::from(before.round_trips)).unwrap_or(0);
    u64::try_from(expected).unwrap_or(u64::MAX)
}

/// What is explained of the differences of waits by the moment at which they are parted: largest where they
/// changed.
fn apart(before: &Stretch, after: &Stretch) -> f64 {
    let each = |part: &Stretch| ratio(part.waited_ns, part.round_trips) / 1e6;
    let (many, few) = (before.requests as f64, after.requests as f64);
    many * few / (many + few).max(1.0) * (each(after) - each(before)).max(0.0).powi(2)
}

/// The moment of this port at which waits before and after stand furthest apart: among those that are a
/// change, if there are any.
fn change<'a>(basis: &Basis<'_>, port: u16, series: &[(&'a Endpoint, &'a Waits)]) -> Option<Change<'a>> {
    let changes = changes(basis, port, series)?.into_iter().map(|(_, change)| change);
    let rank = |change: &Change<'a>| (change.is_slower(basis), change.apart);
    changes
        .map(|change| (rank(&change), change))
        .max_by(|((a, apart_a), _), ((b, apart_b), _)| a.cmp(b).then(apart_a.total_cmp(apart_b)))
        .map(|(_, change)| change)
}

/// The waits for this port parted at each moment, by the number of the stretch that begins there. Each
/// endpoint is gone through once, from its end: what is after a moment grows, and what was before it is the
/// rest.
fn changes<'a>(
    basis: &Basis<'_>,
    port: u16,
    series: &[(&'a Endpoint, &'a Waits)],
) -> Option<Vec<(u64, Change<'a>)>> {
    let mut shift = series.iter().map(|(_, waits)| waits.shift()).max()?;
    let numbers = |shift: u32| -> Option<(u64, u64)> {
        let all =
            || series.iter().flat_map(move |(_, waits)| waits.numbered(shift)).map(|(number, _)| number);
        Some((all().min()?, all().max()?))
    };
    let (mut first, mut last) = numbers(shift)?;
    while last.saturating_sub(first) > MAX_MOMENTS {
        (first, last, shift) = (first / 2, last / 2, shift.saturating_add(1));
    }
    let moments = first.saturating_add(1)..=last;
    let mut all: Vec<(u64, Change<'a>)> =
        moments.map(|number| (number, Change::at(port, number << shift))).collect();
    for (endpoint, waits) in series {
        let whole = waits.total();
        let (mut after, mut latest) = (Stretch::default(), Stretch::default());
        let mut stretches = waits.numbered(shift).rev().peekable();
        for (number, change) in all.iter_mut().rev() {
            while let Some((_, stretch)) = stretches.next_if(|(of, _)| *of >= *number) {
                if (latest.requests as f64) < basis.thresholds.compared_min_count {
                    latest.merge(stretch);
                }
                after.merge(stretch);
            }
            change.add(basis, endpoint, &whole, (&after, &latest));
        }
    }
    Some(all)
}

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_requests()?;
    let limits = basis.thresholds;
    let all = || {
        let endpoints = basis.snapshot.by_endpoint.list.iter();
        endpoints.flat_map(|endpoint| endpoint.waits.list.iter().map(move |waits| (endpoint, waits)))
    };
    let ports: BTreeSet<u16> = all().map(|(_, waits)| waits.port).collect();
    let parted: Vec<(&Endpoint, &Waits)> =
        all().filter(|(_, waits)| waits.can_be_parted(least(limits.compared_min_count))).collect();
    let of_port = |port: u16| -> Vec<(&Endpoint, &Waits)> {
        parted.iter().filter(|(_, waits)| waits.port == port).copied().collect()
    };
    let changes: Vec<Change<'_>> =
        ports.iter().filter_map(|port| change(basis, *port, &of_port(*port))).collect();
    let slower = || changes.iter().filter(|change| change.is_slower(basis));
    let endpoints = || basis.snapshot.by_endpoint.list.iter().map(|endpoint| &endpoint.waits);
    let others = endpoints().fold(0_u64, |sum, waits| sum.saturating_add(waits.others));
    let others_ns = endpoints().fold(0_u64, |sum, waits| sum.saturating_add(waits.others_ns));
    let no_room = [
        explains("no_room_answers_count", others as f64),
        explains("no_room_wait_seconds", others_ns as f64 / 1e9),
    ];
    if let Some(worst) = slower().max_by_key(|change| change.more_ns()) {
        let mut evidence = worst.evidence(basis);
        evidence.extend(no_room);
        evidence.push(explains("slower_ports_count", slower().count() as f64));
        return Ok(Verdict {
            present: true,
            sentence: worst.sentence(basis),
            cost_ns: worst.more_ns(),
            whole_ns: Some(basis.phases().get(Phase::BackendWait)),
            evidence,
            exemplars: basis.exemplars(&[Phase::BackendWait]),
            ..Verdict::default()
        });
    }
    let phases = basis.phases();
    let whole_ns = phases.get(Phase::BackendWait).saturating_add(phases.get(Phase::Unexplained));
    let compared_ns =
        parted.iter().fold(0_u64, |sum, (_, waits)| sum.saturating_add(waits.sum(|one| one.waited_ns)));
    let share = ratio(compared_ns.min(whole_ns), whole_ns);
    let mut evidence = vec![
        decides("compared_wait_ratio", share, limits.compared_min_ratio),
        explains("back_end_wait_seconds", phases.get(Phase::BackendWait) as f64 / 1e9),
        explains("ports_count", ports.len() as f64),
    ];
    evidence.extend(no_room);
    // What is missing where it comes nearest to one.
    if let Some(nearest) = changes.iter().max_by_key(|change| change.more_ns()) {
        evidence.extend(nearest.deciding(basis));
    }
    if share < limits.compared_min_ratio
        && basis.rate(whole_ns.saturating_sub(compared_ns)) >= limits.cost_min_rate
    {
        let mut reason = format!(
            "only {} of the waits for back ends, known or possible, have earlier ones to compare with",
            percent(share)
        );
        if others > 0 {
            reason.push_str(&format!("; {} answers found no room", count(others)));
        }
        return Err(Undecided {
            reason,
            next_step: "Watch for longer, or compare with what the back end's own log says.",
            evidence,
        });
    }
    let round_trips =
        all().fold(0_u64, |sum, (_, waits)| sum.saturating_add(waits.sum(|one| one.round_trips)));
    let sentence = match (round_trips, others) {
        (0, 0) => "No request waited for a back end".to_owned(),
        (all, 0) => format!("No back end began to take longer within the window ({} answers)", count(all)),
        (all, others) => format!(
            "No back end began to take longer within the window ({} answers; {} more found no room)",
            count(all),
            count(others)
        ),
    };
    Ok(Verdict { sentence, evidence, ..Verdict::default() })
}

/// A count of requests as a threshold has it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small limit, never negative")]
const fn least(limit: f64) -> u64 {
    limit as u64
}

#[cfg(test)]
mod tests;
