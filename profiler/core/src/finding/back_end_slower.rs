//! Finding `back-end-slower`: within the window a back end began to take longer, and still did so at its end.
//!
//! In: waits for back ends over time, by endpoint and port. Out: a verdict on the port that cost most, with when it began. Its cost is what requests waited
//! longer from then on.

use std::collections::BTreeSet;

use super::back_end::of_it_in;
use super::back_end_connections::peer;
use super::basis::{Basis, Outcome, Undecided, Verdict, decides, explains};
use super::words::{count, duration, factor, percent, ratio};
use super::{Evidence, Judge, Rule, add_where_room};
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

/// Share of what waits would have been that must have become longer: one endpoint of many is that endpoint's own.
const MOST: f64 = 0.5;
/// Moments at which a change is looked for.
const MAX_MOMENTS: u64 = 64;
/// Times that requests wait on average from the moment on, which must have passed before it. Those that were under way as the watch began do not count. So the
/// first ones to end are those that wait shortly, however long others do.
const SETTLED_TIMES: f64 = 2.0;

/// Waits for one port before a moment and from then on, over the endpoints that asked often enough on both sides.
struct Change<'a> {
    port: u16,
    at_ns: u64,
    before: Stretch,
    after: Stretch,
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
    /// The same series, parted at the stretch of this number.
    fn at(
        basis: &Basis<'_>,
        port: u16,
        series: &[(&'a Endpoint, &'a Waits)],
        (number, shift): (u64, u32),
    ) -> Self {
        let limits = basis.thresholds;
        let mut change = Self {
            port,
            at_ns: number << shift,
            before: Stretch::default(),
            after: Stretch::default(),
            expected_ns: 0,
            far_ns: 0,
            apart: 0.0,
            most: None,
        };
        for (endpoint, waits) in series {
            let (mut before, mut after, mut last) =
                (Stretch::default(), Stretch::default(), Stretch::default());
            for (of, stretch) in waits.numbered(shift).rev() {
                if of < number {
                    before.merge(stretch);
                    continue;
                }
                if (last.requests as f64) < limits.compared_min_count {
                    last.merge(stretch);
                }
                after.merge(stretch);
            }
            if (before.requests.min(after.requests) as f64) < limits.compared_min_count {
                continue;
            }
            let expected_ns = expected_ns(&before, &after);
            let is_far = |part: &Stretch| part.each.are_longer_than(&before.each, limits.slower_min_times);
            if is_far(&after) && is_far(&last) {
                change.far_ns = change.far_ns.saturating_add(expected_ns);
            }
            let more_ns = after.waited_ns.saturating_sub(expected_ns);
            if change.most.is_none_or(|(_, most_ns)| more_ns > most_ns) {
                change.most = Some((endpoint, more_ns));
            }
            change.apart += apart(&before, &after);
            change.expected_ns = change.expected_ns.saturating_add(expected_ns);
            change.before.merge(&before);
            change.after.merge(&after);
        }
        change
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
            && ratio(self.far_ns, self.expected_ns) >= MOST
            && basis.rate(self.more_ns()) >= limits.cost_min_rate
            && self.is_settled(basis)
    }

    /// Whether before the moment there was time enough for requests to end that wait as long as those after it.
    fn is_settled(&self, basis: &Basis<'_>) -> bool {
        self.since_ns(basis) as f64 >= ratio(self.after.waited_ns, self.after.requests) * SETTLED_TIMES
    }

    fn since_ns(&self, basis: &Basis<'_>) -> u64 {
        self.at_ns.saturating_sub(basis.snapshot.window.start_ns)
    }

    fn sentence(&self, basis: &Basis<'_>) -> String {
        let each = |all_ns: u64| duration(all_ns.checked_div(self.after.round_trips).unwrap_or(0));
        let mut sentence = format!(
            "Waits for {} took {} times as long from {} of the window on: {} instead of {} for each answer ({} answers, {} before)",
            peer(self.port),
            factor(self.times()),
            duration(self.since_ns(basis)),
            each(self.after.waited_ns),
            each(self.expected_ns),
            count(self.after.round_trips),
            count(self.before.round_trips),
        );
        if let Some((endpoint, its_ns)) = self.most {
            let part = ratio(its_ns, self.more_ns()).min(1.0);
            add_where_room(&mut sentence, &of_it_in(part, endpoint));
        }
        sentence
    }

    fn evidence(&self, basis: &Basis<'_>) -> Vec<Evidence> {
        let limits = basis.thresholds;
        let each = |all_ns: u64| ratio(all_ns, self.after.round_trips) / 1e9;
        vec![
            decides("after_of_before_times", self.times(), limits.slower_min_times),
            decides("longer_seconds_per_second", basis.rate(self.more_ns()), limits.cost_min_rate),
            explains("since_seconds", self.since_ns(basis) as f64 / 1e9),
            explains("before_mean_seconds", each(self.expected_ns)),
            explains("after_mean_seconds", each(self.after.waited_ns)),
            explains("before_requests_count", self.before.requests as f64),
            explains("after_requests_count", self.after.requests as f64),
        ]
    }
}

/// What the waits after would have been, had each round trip taken as long as before.
fn expected_ns(before: &Stretch, after: &Stretch) -> u64 {
    let all = u128::from(before.waited_ns).saturating_mul(u128::from(after.round_trips));
    let expected = all.checked_div(u128::from(before.round_trips)).unwrap_or(0);
    u64::try_from(expected).unwrap_or(u64::MAX)
}

/// What is explained of the differences of waits by the moment at which they are parted: largest where they changed.
fn apart(before: &Stretch, after: &Stretch) -> f64 {
    let each = |part: &Stretch| ratio(part.waited_ns, part.round_trips) / 1e6;
    let (many, few) = (before.requests as f64, after.requests as f64);
    many * few / (many + few).max(1.0) * (each(after) - each(before)).max(0.0).powi(2)
}

/// The change of this port that stands out most among those that are one.
fn change<'a>(basis: &Basis<'_>, port: u16, series: &[(&'a Endpoint, &'a Waits)]) -> Option<Change<'a>> {
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
    (first.saturating_add(1)..=last)
        .map(|number| Change::at(basis, port, series, (number, shift)))
        .filter(|change| change.is_slower(basis))
        .max_by(|a, b| a.apart.total_cmp(&b.apart))
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
    let parted = || all().filter(|(_, waits)| waits.can_be_parted(least(limits.compared_min_count)));
    let of_port = |port: u16| -> Vec<(&Endpoint, &Waits)> {
        parted().filter(|(_, waits)| waits.port == port).collect()
    };
    let slower: Vec<Change<'_>> =
        ports.iter().filter_map(|port| change(basis, *port, &of_port(*port))).collect();
    if let Some(worst) = slower.iter().max_by_key(|change| change.more_ns()) {
        let mut evidence = worst.evidence(basis);
        evidence.push(explains("slower_ports_count", slower.len() as f64));
        return Ok(Verdict {
            present: true,
            sentence: worst.sentence(basis),
            cost_ns: worst.more_ns(),
            evidence,
            exemplars: basis.exemplars(&[Phase::BackendWait]),
            next_step: None,
        });
    }
    let phases = basis.phases();
    let whole_ns = phases.get(Phase::BackendWait).saturating_add(phases.get(Phase::Unexplained));
    let compared_ns = parted().fold(0_u64, |sum, (_, waits)| sum.saturating_add(waits.total().waited_ns));
    let share = ratio(compared_ns.min(whole_ns), whole_ns);
    let evidence = vec![
        decides("compared_wait_ratio", share, limits.compared_min_ratio),
        explains("back_end_wait_seconds", phases.get(Phase::BackendWait) as f64 / 1e9),
        explains("ports_count", ports.len() as f64),
    ];
    if share < limits.compared_min_ratio
        && basis.rate(whole_ns.saturating_sub(compared_ns)) >= limits.cost_min_rate
    {
        return Err(Undecided {
            reason: format!(
                "only {} of the waits for back ends, or of what may be such waits, can be compared with earlier ones of the same \
                 endpoint",
                percent(share)
            ),
            next_step: "Watch for longer, or compare with what the back end's own log says.",
            evidence,
        });
    }
    let round_trips = all().fold(0_u64, |sum, (_, waits)| sum.saturating_add(waits.total().round_trips));
    let sentence = if round_trips == 0 {
        "No request waited for a back end".to_owned()
    } else {
        format!("No back end began to take longer within the window ({} answers)", count(round_trips))
    };
    Ok(Verdict { sentence, evidence, ..Verdict::default() })
}

/// A count of requests as a threshold has it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small limit, never negative")]
const fn least(limit: f64) -> u64 {
    limit as u64
}

#[cfg(test)]
mod tests {
    use crate::finding::Finding;
    use crate::finding::fixture::{MILLISECOND, SECOND, Scene};
    use crate::model::round_trips::ToPort;
    use crate::phase::Phase;

    /// What requests of an endpoint did: path, port, from when to when in tenths of a second, how long each of ten in a tenth of a second waited.
    type Did = (&'static str, u16, std::ops::Range<u64>, u64);

    /// Ten seconds.
    fn scene(all: &[Did]) -> Scene {
        let requests = all.iter().map(|(_, _, tenths, _)| tenths.clone().count() as u64 * 10).sum();
        let mut scene = Scene::gunicorn("gthread", 4, 10 * SECOND).requests(requests);
        for (path, port, tenths, waited_ms) in all {
            if !scene.0.by_endpoint.list.iter().any(|endpoint| endpoint.path_shape == *path) {
                scene = scene.endpoint(path, 0, &[]);
            }
            let start_ns = scene.0.window.start_ns;
            let endpoints = &mut scene.0.by_endpoint.list;
            let endpoint = endpoints.iter_mut().find(|endpoint| endpoint.path_shape == *path).unwrap();
            for moment in tenths.clone().flat_map(|tenth| (0..10).map(move |part| tenth * 10 + part)) {
                let to =
                    ToPort { port: *port, count: 2, waited_ns: waited_ms * MILLISECOND, ..ToPort::default() };
                endpoint.waits.add(start_ns + moment * 10 * MILLISECOND, &to);
                endpoint.count += 1;
                scene.0.requests.phases.add(Phase::BackendWait, to.waited_ns);
            }
        }
        scene
    }

    fn judge(all: &[Did]) -> Finding {
        scene(all).judge("back-end-slower")
    }

    #[test]
    fn a_back_end_that_becomes_slower_is_present_with_its_port_when_and_by_how_much() {
        let finding = judge(&[("/orders", 5432, 0..60, 20), ("/orders", 5432, 60..100, 80)]);
        finding.assert_present();
        let figure = |name: &str| finding.evidence.iter().find(|one| one.name == name).unwrap().value;
        assert!((figure("since_seconds") - 6.0).abs() < 0.6, "{}", finding.sentence);
        assert!((figure("after_of_before_times") - 4.0).abs() < 0.3, "{}", finding.sentence);
        assert!(finding.cost_ns.abs_diff(400 * 60 * MILLISECOND) < 2 * SECOND, "{}", finding.cost_ns);
        assert!(finding.sentence.starts_with("Waits for port 5432 took "), "{}", finding.sentence);
        assert!(finding.sentence.ends_with("before), 100 % of it in GET /orders."), "{}", finding.sentence);
        assert!(finding.advice.contains("from that moment on"), "{}", finding.advice);
    }

    #[test]
    fn one_that_stays_as_it_is_or_becomes_quicker_or_recovers_is_absent() {
        for all in [
            vec![("/", 5432, 0..100, 20)],
            vec![("/", 5432, 0..50, 80), ("/", 5432, 50..100, 20)],
            vec![("/", 5432, 0..20, 20), ("/", 5432, 20..80, 90), ("/", 5432, 80..100, 20)],
            vec![("/", 5432, 0..50, 20), ("/", 5432, 50..100, 35)],
        ] {
            let finding = judge(&all);
            finding.assert_absent();
            assert_eq!(
                finding.sentence,
                "No back end began to take longer within the window (2,000 answers)."
            );
        }
        let none = Scene::gunicorn("sync", 4, 10 * SECOND).requests(100).judge("back-end-slower");
        none.assert_absent();
        assert_eq!(none.sentence, "No request waited for a back end.");
    }

    #[test]
    fn other_endpoints_and_other_ports_are_not_compared_with_one_another() {
        judge(&[("/quick", 5432, 0..50, 10), ("/slow", 5432, 50..100, 90)]).assert_absent();
        judge(&[("/", 6379, 0..50, 10), ("/", 5432, 50..100, 90)]).assert_absent();
        // More of the slow ones come, each as long as before.
        let finding =
            judge(&[("/quick", 5432, 0..100, 10), ("/slow", 5432, 0..10, 90), ("/slow", 5432, 50..100, 90)]);
        finding.assert_absent();
    }

    #[test]
    fn the_port_that_costs_most_is_named_and_another_that_stays_does_not_hide_it() {
        let finding = judge(&[
            ("/", 6379, 0..100, 10),
            ("/", 5432, 0..50, 10),
            ("/", 5432, 50..100, 90),
            ("/", 80, 0..50, 10),
            ("/", 80, 50..100, 40),
        ]);
        finding.assert_present();
        assert!(finding.sentence.starts_with("Waits for port 5432 "), "{}", finding.sentence);
        assert!(finding.evidence.iter().any(|one| one.name == "slower_ports_count" && one.value == 2.0));
    }

    #[test]
    fn a_few_long_waits_at_the_end_are_no_change() {
        judge(&[("/", 5432, 0..100, 20), ("/", 5432, 97..99, 3_000)]).assert_absent();
    }

    #[test]
    fn a_change_that_costs_next_to_nothing_is_none() {
        judge(&[("/", 5432, 0..90, 1), ("/", 5432, 90..100, 8)]).assert_absent();
    }

    #[test]
    fn the_first_requests_to_end_are_those_that_wait_shortly() {
        // No request that waits for six seconds ends earlier, if its beginning was seen.
        judge(&[("/", 5432, 0..60, 100), ("/", 5432, 60..100, 6_000)]).assert_absent();
        judge(&[("/", 5432, 0..60, 100), ("/", 5432, 60..100, 2_000)]).assert_present();
    }

    #[test]
    fn enough_requests_are_needed_on_both_sides() {
        judge(&[("/", 5432, 0..2, 200), ("/", 5432, 90..92, 900)]).assert_present();
        judge(&[("/", 5432, 0..1, 200), ("/", 5432, 90..94, 900)])
            .assert_undecided("only 0 % of the waits for back ends");
    }

    #[test]
    fn waits_that_nobody_knows_of_may_have_become_longer() {
        let unexplained = |ns| scene(&[("/", 5432, 0..100, 10)]).phase(Phase::Unexplained, ns);
        unexplained(11 * SECOND).judge("back-end-slower").assert_undecided("or of what may be such waits");
        unexplained(9 * SECOND).judge("back-end-slower").assert_absent();
        let on_a_loop =
            Scene::gunicorn("gevent", 4, 10 * SECOND).requests(100).phase(Phase::BackendWait, 5 * SECOND);
        on_a_loop.judge("back-end-slower").assert_undecided("only 0 % of the waits");
    }

    #[test]
    fn too_few_requests_are_undecided() {
        let few = scene(&[("/", 5432, 0..50, 20)]).requests(9);
        few.judge("back-end-slower").assert_undecided("only 9 requests were seen");
    }
}
