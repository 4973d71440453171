//! Finding `back-end-connections`: each request sets up its own connection to a back end.
//!
//! In: connections to back ends and waits on them, by endpoint and port. Out: a verdict on the port that
//! costs most. Its cost is the wait until the connections were ready: what connections that are kept surely
//! save.

use std::collections::BTreeMap;

use super::basis::{Basis, Outcome, Undecided, Verdict, decides, explains};
use super::threshold::Thresholds;
use super::words::{count, of_it_in, percent, ratio, request_seconds};
use super::{Evidence, Judge, Rule, add_where_room};
use crate::model::Endpoint;
use crate::model::round_trips::ToPort;
use crate::phase::Phase;
use crate::server::advice::{Advice, act, say};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "back-end-connections",
    title: "each request sets up its own connection to a back end",
    question: "new connections to back ends take the time",
    page: include_str!("../../../../docs/findings/back-end-connections.md"),
    advice: || {
        Advice::first(
            act("keep connections to the back end from request to request").because("each is set up for one request alone"),
        )
        .then(say(
            "CONN_MAX_AGE or a pool does so in Django, an engine without NullPool in SQLAlchemy, a Session for each thread in \
             requests",
        ))
        .then(say("the back end must bear as many connections as there are workers or threads"))
    },
    judge: Judge::Measured(judge),
};

/// What the requests of one endpoint had to do with one port.
struct Use<'a> {
    endpoint: &'a Endpoint,
    to: ToPort,
}

impl Use<'_> {
    fn per_request(&self) -> f64 {
        ratio(self.to.connections, self.endpoint.count)
    }
}

/// How much of an endpoint's waits connections cost.
type Measure = fn(&Use<'_>) -> u64;

/// Waits that connections which are kept would save.
const fn surely_ns(one: &Use<'_>) -> u64 {
    one.to.connecting_ns
}

/// Waits that they may save: the first of several answers may be that to a login. The only one is what was
/// asked for.
const fn perhaps_ns(one: &Use<'_>) -> u64 {
    let first_ns = if one.to.count > one.to.connections { one.to.first_answers_ns } else { 0 };
    one.to.connecting_ns.saturating_add(first_ns)
}

/// What several endpoints had to do with one port.
#[derive(Default)]
struct Sum<'a> {
    port: u16,
    requests: u64,
    connections: u64,
    /// Waits by the measure that was asked for.
    set_up_ns: u64,
    served_ns: u64,
    /// The endpoint with most of these waits, and its part.
    most: Option<(&'a Endpoint, u64)>,
}

impl Sum<'_> {
    fn share(&self) -> f64 {
        ratio(self.set_up_ns, self.served_ns)
    }

    fn per_request(&self) -> f64 {
        ratio(self.connections, self.requests)
    }

    fn sentence(&self) -> String {
        format!(
            "{} connections to {} were set up for {} requests, which waited {} of their service time until they were ready",
            count(self.connections),
            peer(self.port),
            count(self.requests),
            percent(self.share()),
        )
    }

    fn evidence(&self, basis: &Basis<'_>) -> Vec<Evidence> {
        let limits = basis.thresholds;
        let each_ns = self.set_up_ns.checked_div(self.connections).unwrap_or(0);
        vec![
            decides("connections_per_request_count", self.per_request(), limits.set_up_per_request_min_count),
            decides("set_up_service_ratio", self.share(), limits.set_up_served_min_ratio),
            decides("set_up_seconds_per_second", basis.rate(self.set_up_ns), limits.cost_min_rate),
            explains("connections_count", self.connections as f64),
            explains("set_up_milliseconds", each_ns as f64 / 1e6),
            explains("back_end_port_number", f64::from(self.port)),
        ]
    }
}

/// Every endpoint with every port to which it set up connections; those with few requests are left out.
fn uses<'a>(basis: &Basis<'a>) -> Vec<Use<'a>> {
    let enough = |endpoint: &&Endpoint| endpoint.count as f64 >= basis.thresholds.requests_min_count;
    let endpoints = basis.snapshot.by_endpoint.list.iter().filter(enough);
    let of = |endpoint: &'a Endpoint| {
        endpoint.round_trips.by_port().into_iter().map(move |to| Use { endpoint, to })
    };
    endpoints.flat_map(of).filter(|one| one.to.connections > 0).collect()
}

/// The port for which these endpoints waited longest by this measure.
fn largest<'a: 'b, 'b>(uses: impl Iterator<Item = &'b Use<'a>>, measure: Measure) -> Option<Sum<'a>> {
    let mut by_port: BTreeMap<u16, Sum<'a>> = BTreeMap::new();
    for one in uses {
        let waited_ns = measure(one);
        let sum = by_port.entry(one.to.port).or_default();
        sum.port = one.to.port;
        sum.requests = sum.requests.saturating_add(one.endpoint.count);
        sum.connections = sum.connections.saturating_add(one.to.connections);
        sum.set_up_ns = sum.set_up_ns.saturating_add(waited_ns);
        sum.served_ns = sum.served_ns.saturating_add(one.endpoint.phases.served_ns());
        if sum.most.is_none_or(|(_, most_ns)| waited_ns > most_ns) {
            sum.most = Some((one.endpoint, waited_ns));
        }
    }
    by_port.into_values().max_by_key(|sum| sum.set_up_ns)
}

/// Whether an endpoint spends a considerable part of its time on connections, by this measure.
fn is_felt(one: &Use<'_>, limits: &Thresholds, measure: Measure) -> bool {
    ratio(measure(one), one.endpoint.phases.served_ns()) >= limits.set_up_served_min_ratio
}

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_requests()?;
    let limits = basis.thresholds;
    let uses = uses(basis);
    let often = || uses.iter().filter(|one| one.per_request() >= limits.set_up_per_request_min_count);
    let costly = |measure: Measure| {
        largest(often().filter(|one| is_felt(one, limits, measure)), measure)
            .filter(|sum| basis.rate(sum.set_up_ns) >= limits.cost_min_rate)
    };
    if let Some(sum) = costly(surely_ns) {
        return Ok(present(basis, &sum));
    }
    if let Some(sum) = costly(perhaps_ns) {
        return Err(Undecided {
            reason: format!(
                "{} set up for {} requests took {} of service time up to their first answers, which may be logins",
                count(sum.connections),
                count(sum.requests),
                percent(sum.share())
            ),
            next_step: "See in the back end's log how long it takes to log in, or keep the connections and compare.",
            evidence: sum.evidence(basis),
        });
    }
    let unattributed = basis.snapshot.requests.unattributed.by_port();
    let unattributed = unattributed.iter().fold(0_u64, |sum, to| sum.saturating_add(to.connections));
    let by_nobody = ratio(unattributed, basis.request_count());
    if by_nobody >= limits.set_up_per_request_min_count {
        return Err(Undecided {
            reason: format!(
                "it is not known for which requests {} connections were set up",
                count(unattributed)
            ),
            next_step: "See in the back end's log how often it is connected to.",
            evidence: vec![decides(
                "unattributed_connections_per_request_count",
                by_nobody,
                limits.set_up_per_request_min_count,
            )],
        });
    }
    if let Some(sum) = largest(often(), surely_ns) {
        basis.require_explained("connections to be ready", sum.set_up_ns, limits.set_up_served_min_ratio)?;
        return Ok(Verdict { sentence: sum.sentence(), evidence: sum.evidence(basis), ..Verdict::default() });
    }
    let sentence = "Requests did not set up connections to back ends of their own".to_owned();
    let evidence = largest(uses.iter(), surely_ns).unwrap_or_default().evidence(basis);
    Ok(Verdict { sentence, evidence, ..Verdict::default() })
}

fn present(basis: &Basis<'_>, sum: &Sum<'_>) -> Verdict {
    let mut sentence = format!("{} ({})", sum.sentence(), request_seconds(sum.set_up_ns));
    if let Some((endpoint, its_ns)) = sum.most {
        add_where_room(&mut sentence, &of_it_in(ratio(its_ns, sum.set_up_ns), endpoint));
    }
    let exemplars = basis.exemplars(&[Phase::BackendWait]);
    let evidence = sum.evidence(basis);
    let whole_ns = Some(basis.phases().get(Phase::BackendWait));
    let cost_ns = sum.set_up_ns;
    Verdict { present: true, sentence, cost_ns, whole_ns, evidence, exemplars, ..Verdict::default() }
}

/// Whom a port is of.
pub(super) fn peer(port: u16) -> String {
    if port == 0 { "a UNIX socket".to_owned() } else { format!("port {port}") }
}

#[cfg(test)]
mod tests {
    use crate::finding::Finding;
    use crate::finding::fixture::{MILLISECOND, SECOND, Scene};
    use crate::model::round_trips::ToPort;
    use crate::phase::Phase;

    /// A hundred requests of ten seconds in all, which did this with a database.
    fn scene(to: ToPort) -> Scene {
        let phases = [(Phase::Cpu, 8 * SECOND), (Phase::BackendWait, 2 * SECOND)];
        let mut scene =
            Scene::gunicorn("sync", 4, 10 * SECOND).requests(100).endpoint("/orders", 100, &phases);
        for (phase, duration_ns) in phases {
            scene = scene.phase(phase, duration_ns);
        }
        scene.0.by_endpoint.list[0].round_trips.add(&to);
        scene
    }

    fn judge(to: ToPort) -> Finding {
        scene(to).judge("back-end-connections")
    }

    /// Each request connects, and then asks twice. Until the connections are ready passes a second.
    const EACH: ToPort = ToPort {
        port: 5432,
        count: 200,
        waited_ns: 2 * SECOND,
        connections: 100,
        connecting_ns: SECOND,
        first_answers_ns: 100 * MILLISECOND,
    };

    #[test]
    fn a_connection_for_each_request_is_present_with_port_and_endpoint_and_costs_the_wait_until_it_is_ready()
    {
        let finding = judge(EACH);
        finding.assert_present();
        assert_eq!(finding.cost_ns, SECOND);
        assert_eq!(
            finding.sentence,
            "100 connections to port 5432 were set up for 100 requests, which waited 10 % of their service time until they were \
             ready (1 request-second), 100 % of it in GET /orders."
        );
        assert!(finding.advice.contains("CONN_MAX_AGE"), "{}", finding.advice);
    }

    #[test]
    fn connections_that_are_kept_or_quickly_made_are_absent() {
        judge(ToPort { connections: 2, connecting_ns: 20 * MILLISECOND, ..EACH }).assert_absent();
        let finding = judge(ToPort { connecting_ns: SECOND - 1, first_answers_ns: 0, ..EACH });
        finding.assert_absent();
        assert!(finding.sentence.starts_with("100 connections to port 5432"), "{}", finding.sentence);
        let none = Scene::gunicorn("sync", 4, 10 * SECOND).requests(100).judge("back-end-connections");
        none.assert_absent();
        assert_eq!(none.sentence, "Requests did not set up connections to back ends of their own.");
    }

    #[test]
    fn one_for_every_second_request_is_where_it_begins() {
        judge(ToPort { connections: 50, ..EACH }).assert_present();
        judge(ToPort { connections: 49, ..EACH }).assert_absent();
    }

    #[test]
    fn first_answers_that_may_be_logins_are_undecided_unless_they_are_the_only_ones() {
        let slow = ToPort { connecting_ns: 10 * MILLISECOND, first_answers_ns: SECOND, ..EACH };
        judge(slow).assert_undecided("which may be logins");
        judge(ToPort { count: 100, ..slow }).assert_absent();
    }

    #[test]
    fn connections_of_event_loops_are_undecided_where_they_are_as_many() {
        let of = |connections: u64| {
            let mut scene = Scene::gunicorn("gevent", 4, 10 * SECOND).requests(100);
            scene.0.requests.unattributed.add(&ToPort { port: 80, connections, ..ToPort::default() });
            scene.judge("back-end-connections")
        };
        of(50).assert_undecided("for which requests 50 connections were set up");
        of(49).assert_absent();
    }

    #[test]
    fn what_is_unexplained_may_be_the_same_wait() {
        let quick = ToPort { connecting_ns: MILLISECOND, ..EACH };
        let unexplained = scene(quick).phase(Phase::Unexplained, 5 * SECOND);
        unexplained.judge("back-end-connections").assert_undecided("is unexplained");
        judge(quick).assert_absent();
    }

    #[test]
    fn endpoints_with_few_requests_are_not_judged() {
        let mut few = scene(EACH);
        few.0.by_endpoint.list[0].count = 9;
        few.judge("back-end-connections").assert_absent();
        scene(EACH).requests(9).judge("back-end-connections").assert_undecided("only 9 requests were seen");
    }
}
