//! Finding `back-end`: most of service time is spent waiting for a back end.
//!
//! In: phases of requests and of endpoints. Out: a verdict whose cost is the time waited for sockets that are
//! not the client's. Which back end it was is not in the snapshot.

use super::basis::{Basis, NextStep, Outcome, Verdict, decides, explains, served_ns};
use super::words::{duration, factor, name, percent, ratio, request_seconds};
use super::{Evidence, Judge, Rule, add_where_room};
use crate::model::Endpoint;
use crate::phase::Phase;
use crate::server::advice::{Advice, act, say};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "back-end",
    title: "requests wait for a back end",
    question: "the back end takes most of service time",
    page: include_str!("../../../../docs/findings/back-end.md"),
    advice: || {
        act("look at the back end's own slow log")
            .also(act("fetch less or in fewer round trips, or cache"))
            .into()
    },
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_requests()?;
    let limits = basis.thresholds;
    let cost_ns = basis.phases().get(Phase::BackendWait);
    let share = ratio(cost_ns, served_ns(basis.phases()));
    let rate = basis.rate(cost_ns);
    let evidence = vec![
        decides("backend_wait_service_ratio", share, limits.backend_served_min_ratio),
        decides("backend_wait_seconds_per_second", rate, limits.cost_min_rate),
        explains("backend_wait_seconds", cost_ns as f64 / 1e9),
    ];
    let asks_often = most_round_trips(basis);
    let mut evidence = evidence;
    if let Some(often) = &asks_often {
        evidence.push(decides(
            "round_trips_per_request_count",
            often.per_request,
            limits.round_trips_min_count,
        ));
        // Of an endpoint that asks seldom it decides nothing.
        if often.per_request >= limits.round_trips_min_count {
            evidence.push(decides(
                "round_trips_endpoint_ratio",
                often.share,
                limits.round_trips_endpoint_min_ratio,
            ));
        }
    }
    let each = duration(cost_ns.checked_div(basis.request_count()).unwrap_or(0));
    if share < limits.backend_served_min_ratio
        && let Some(often) = &asks_often
        && often.per_request >= limits.round_trips_min_count
        && often.share >= limits.round_trips_endpoint_min_ratio
        && basis.rate(often.waited_ns) >= limits.cost_min_rate
    {
        return Ok(too_often(basis, often, evidence));
    }
    if share < limits.backend_served_min_ratio || rate < limits.cost_min_rate {
        basis.require_explained("a back end", cost_ns, limits.backend_served_min_ratio)?;
        let sentence =
            format!("Requests waited for a back end {} of service time, {each} each", percent(share));
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let mut sentence = format!(
        "Requests spent {} of service time ({}, {each} each) waiting for a back end",
        percent(share),
        request_seconds(cost_ns),
    );
    let endpoints = &basis.snapshot.by_endpoint.list;
    let mut next_step = None;
    if let Some(worst) = endpoints.iter().max_by_key(|endpoint| endpoint.phases.get(Phase::BackendWait)) {
        let of_it = ratio(worst.phases.get(Phase::BackendWait), cost_ns);
        if of_it > 0.0 {
            sentence.push_str(&of_it_in(of_it, worst));
        }
        // Where most of it is one endpoint's, a faster back end, or more that wait for it at once, would win
        // less than asking once.
        let per_request = ratio(worst.round_trips.total(), worst.count);
        if per_request >= limits.round_trips_min_count && of_it >= MOST {
            next_step = Some(NextStep::For { case: "often", otherwise: fewer });
            let how_often = format!(", which asks {} times in a request, on average", factor(per_request));
            add_where_room(&mut sentence, &how_often);
        }
    }
    let exemplars = basis.exemplars(&[Phase::BackendWait]);
    Ok(Verdict { present: true, sentence, cost_ns, evidence, exemplars, next_step, ..Verdict::default() })
}

/// One endpoint asks so often that this takes its time, though all together do not wait for long.
fn too_often(basis: &Basis<'_>, often: &Often<'_>, evidence: Vec<Evidence>) -> Verdict {
    let sentence = format!(
        "{} asks back ends {} times in a request, on average, which takes {} of its service time ({})",
        endpoint_name(often.endpoint),
        factor(often.per_request),
        percent(often.share),
        request_seconds(often.waited_ns),
    );
    let exemplars = basis.exemplars(&[Phase::BackendWait]);
    let next_step = Some(NextStep::For { case: "often", otherwise: fewer });
    Verdict {
        present: true,
        sentence,
        cost_ns: often.waited_ns,
        evidence,
        exemplars,
        next_step,
        ..Verdict::default()
    }
}

/// Share of all waits for back ends from which an endpoint's are most of them.
const MOST: f64 = 0.5;

/// What to do where an endpoint asks often.
fn fewer() -> Advice {
    Advice::first(act("ask for all of it at once")).then(say(
        "a query for each row (N+1) becomes one with a join, an IN list or a prefetch: select_related and prefetch_related in \
         Django, selectinload in SQLAlchemy",
    ))
}

/// The endpoint that waits most of those that ask back ends, by how often they do.
struct Often<'a> {
    endpoint: &'a Endpoint,
    per_request: f64,
    /// Waiting for back ends, of its service time.
    share: f64,
    waited_ns: u64,
}

fn most_round_trips<'a>(basis: &Basis<'a>) -> Option<Often<'a>> {
    let limits = basis.thresholds;
    let of = |endpoint: &'a Endpoint| Often {
        endpoint,
        per_request: ratio(endpoint.round_trips.total(), endpoint.count),
        share: ratio(endpoint.phases.get(Phase::BackendWait), served_ns(&endpoint.phases)),
        waited_ns: endpoint.phases.get(Phase::BackendWait),
    };
    let all = || basis.snapshot.by_endpoint.list.iter().map(of).filter(|often| often.per_request > 0.0);
    let many = all().filter(|often| often.per_request >= limits.round_trips_min_count);
    many.max_by_key(|often| often.waited_ns)
        .or_else(|| all().max_by(|a, b| a.per_request.total_cmp(&b.per_request)))
}

/// The part of what a sentence speaks of that is an endpoint's.
pub(super) fn of_it_in(part: f64, endpoint: &Endpoint) -> String {
    format!(", {} of it in {}", percent(part), endpoint_name(endpoint))
}

/// Method and path of an endpoint, bounded and harmless.
pub(super) fn endpoint_name(endpoint: &Endpoint) -> String {
    if endpoint.method.is_empty() {
        return "requests without a readable head".to_owned();
    }
    format!("{} {}", name(&endpoint.method, 8), name(&endpoint.path_shape, 32))
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{SECOND, Scene};
    use crate::model::round_trips::ToPort;
    use crate::phase::Phase;

    /// So many round trips to a port.
    fn to(port: u16, count: u64) -> ToPort {
        ToPort { port, count, ..ToPort::default() }
    }

    fn scene() -> Scene {
        Scene::gunicorn("sync", 4, 10 * SECOND).requests(100).phase(Phase::Cpu, 2 * SECOND)
    }

    #[test]
    fn an_endpoint_that_asks_for_each_row_is_present_below_half_of_all_time() {
        let with = |trips: u64| {
            let mut scene = scene().phase(Phase::BackendWait, 15 * SECOND / 10).endpoint(
                "/list",
                10,
                &[(Phase::BackendWait, 15 * SECOND / 10), (Phase::Cpu, 15 * SECOND / 10)],
            );
            scene.0.by_endpoint.list[0].round_trips.add(&to(5432, 10 * trips));
            scene.judge("back-end")
        };
        let finding = with(31);
        finding.assert_present();
        assert_eq!(
            finding.sentence,
            "GET /list asks back ends 31 times in a request, on average, which takes 50 % of its service time (1.5 request-seconds)."
        );
        assert!(finding.advice.contains("N+1"), "{}", finding.advice);
        with(3).assert_absent();
    }

    #[test]
    fn a_dominating_back_end_is_present_and_its_endpoint_named() {
        let finding = scene()
            .phase(Phase::BackendWait, 8 * SECOND)
            .endpoint("/report/:n", 50, &[(Phase::BackendWait, 6 * SECOND)])
            .endpoint("/", 50, &[(Phase::BackendWait, 2 * SECOND)])
            .judge("back-end");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 8 * SECOND);
        assert_eq!(
            finding.sentence,
            "Requests spent 80 % of service time (8 request-seconds, 80 ms each) waiting for a back end, \
             75 % of it in GET /report/:n."
        );
    }

    #[test]
    fn an_endpoint_that_asks_for_each_row_is_told_so_too_where_it_takes_most_of_all_time() {
        let with = |trips: u64| {
            let mut scene = scene().phase(Phase::BackendWait, 8 * SECOND).endpoint(
                "/keys",
                100,
                &[(Phase::BackendWait, 8 * SECOND)],
            );
            scene.0.by_endpoint.list[0].round_trips.add(&to(6379, 100 * trips));
            scene.judge("back-end")
        };
        let finding = with(31);
        finding.assert_present();
        assert_eq!(
            finding.sentence,
            "Requests spent 80 % of service time (8 request-seconds, 80 ms each) waiting for a back end, 100 % of it in GET /keys, \
             which asks 31 times in a request, on average."
        );
        assert!(finding.advice.contains("N+1"), "{}", finding.advice);
        let finding = with(3);
        finding.assert_present();
        assert!(!finding.advice.contains("N+1"), "{}", finding.advice);
    }

    #[test]
    fn waiting_for_a_slot_does_not_dilute_the_back_ends_share() {
        scene()
            .phase(Phase::BackendWait, 8 * SECOND)
            .phase(Phase::AcceptQueue, 90 * SECOND)
            .judge("back-end")
            .assert_present();
    }

    #[test]
    fn a_back_end_below_half_of_service_time_is_absent() {
        scene().phase(Phase::BackendWait, SECOND).judge("back-end").assert_absent();
    }

    #[test]
    fn a_back_end_is_ruled_out_only_where_what_is_unexplained_would_not_make_it_present() {
        let scene = |ns| scene().phase(Phase::BackendWait, SECOND).phase(Phase::Unexplained, ns);
        scene(SECOND / 10).judge("back-end").assert_absent();
        scene(20 * SECOND).judge("back-end").assert_undecided("is unexplained");
    }

    #[test]
    fn a_dominating_back_end_that_costs_next_to_nothing_is_absent() {
        Scene::gunicorn("sync", 4, 10 * SECOND)
            .requests(100)
            .phase(Phase::BackendWait, SECOND / 2)
            .judge("back-end")
            .assert_absent();
    }

    #[test]
    fn too_few_requests_are_undecided() {
        Scene::gunicorn("sync", 4, 10 * SECOND)
            .requests(3)
            .phase(Phase::BackendWait, 8 * SECOND)
            .judge("back-end")
            .assert_undecided("only 3 requests were seen and 10 are needed");
    }
}
