//! Finding `server-errors`: requests were answered with a server error (5xx).
//!
//! In: statuses of all requests, and by endpoint. Out: a verdict that names the endpoint where most of them
//! are. Its cost is the time in which requests were served only to fail.

use std::collections::BTreeMap;

use super::basis::{Basis, Outcome, Undecided, Verdict, decides, explains};
use super::words::{count, endpoint_name, percent, ratio};
use super::{Judge, Rule, add_where_room};
use crate::model::Endpoint;
use crate::server::advice::{Advice, act, say};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "server-errors",
    title: "requests are answered with server errors (5xx)",
    question: "requests are answered with server errors",
    page: include_str!("../../../../docs/findings/server-errors.md"),
    advice: || {
        Advice::first(act("look in the log of the application for what these requests raise")).then(say(
            "500 is mostly an exception that nobody caught; 502, 503 and 504 mostly say that something behind the application \
             failed or was full",
        ))
    },
    judge: Judge::Measured(judge),
};

/// Exemplars kept.
const EXEMPLARS: usize = 5;

/// One endpoint, whatever it answered.
struct Answered<'a> {
    endpoint: &'a Endpoint,
    errors: u64,
    requests: u64,
}

impl Answered<'_> {
    /// Errors, of its own requests.
    fn share(&self) -> f64 {
        ratio(self.errors, self.requests)
    }
}

/// Whether a status says that the server failed (RFC 9110, section 15.6).
pub(super) fn is_error(status: u16) -> bool {
    (500..600).contains(&status)
}

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_requests()?;
    let limits = basis.thresholds;
    let by_status = &basis.snapshot.requests.by_status;
    let with = |wanted: &dyn Fn(u16) -> bool| {
        let numbers = by_status.iter().filter(|(status, _)| wanted(*status)).map(|(_, number)| *number);
        numbers.fold(0_u64, u64::saturating_add)
    };
    let (errors, unknown) = (with(&is_error), with(&|status| status == 0));
    let completed = basis.snapshot.requests.completed;
    let (share, unread) = (ratio(errors, completed), ratio(unknown, completed));
    let endpoints = by_endpoint(&basis.snapshot.by_endpoint.list);
    let counts = |of: &&Answered<'_>| of.errors as f64 >= limits.server_errors_min_count;
    let worst = endpoints.iter().filter(counts).max_by(|a, b| a.share().total_cmp(&b.share()));
    let worst_share = worst.map_or(0.0, Answered::share);
    let evidence = vec![
        decides("server_errors_count", errors as f64, limits.server_errors_min_count),
        decides("server_errors_ratio", share, limits.server_errors_min_ratio),
        decides("endpoint_errors_ratio", worst_share, limits.server_errors_endpoint_min_ratio),
        explains("status_unknown_ratio", unread),
    ];
    let fails_often = worst_share >= limits.server_errors_endpoint_min_ratio;
    let is_present = errors as f64 >= limits.server_errors_min_count
        && (share >= limits.server_errors_min_ratio || fails_often);
    if !is_present {
        if unread >= limits.unread_max_ratio {
            return Err(Undecided {
                reason: format!(
                    "the status of {} of the requests ({}) is not known",
                    percent(unread),
                    count(unknown)
                ),
                next_step: "Where the server does the TLS itself, its own log has the statuses.",
                evidence,
            });
        }
        let mut sentence = match errors {
            0 => format!("None of {} requests was answered with a server error", count(completed)),
            1 => format!("1 of {} requests was answered with a server error", count(completed)),
            _ => format!(
                "{} of {} requests were answered with a server error",
                count(errors),
                count(completed)
            ),
        };
        // As many could make it present.
        if unknown as f64 >= limits.server_errors_min_count {
            sentence.push_str(&format!(" (the status of {} is not known)", count(unknown)));
        }
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let most_common =
        by_status.iter().filter(|(status, _)| is_error(*status)).max_by_key(|(_, number)| *number);
    let mostly = most_common.map_or_else(String::new, |(status, _)| format!(", mostly {status}"));
    let mut sentence = format!(
        "{} of {} requests ({}) were answered with a server error{mostly}",
        count(errors),
        count(completed),
        percent(share),
    );
    let most = endpoints.iter().max_by_key(|of| of.errors);
    if let Some(named) = worst.filter(|_| fails_often).or(most) {
        let where_they_are = format!(
            "; {} had {} of them, {} of its requests",
            endpoint_name(named.endpoint),
            count(named.errors),
            percent(named.share())
        );
        add_where_room(&mut sentence, &where_they_are);
    }
    let failed = basis.snapshot.by_endpoint.list.iter().filter(|endpoint| is_error(endpoint.status));
    let cost_ns = failed.fold(0_u64, |sum, endpoint| sum.saturating_add(endpoint.phases.served_ns()));
    let slowest = basis.snapshot.requests.slowest.iter().filter(|request| is_error(request.http.status));
    let exemplars = slowest.map(|request| request.id).take(EXEMPLARS).collect();
    let whole_ns = Some(basis.phases().total_ns());
    Ok(Verdict { present: true, sentence, cost_ns, whole_ns, evidence, exemplars, ..Verdict::default() })
}

/// Endpoints that failed at least once, with all their requests, whatever these were answered.
fn by_endpoint(list: &[Endpoint]) -> Vec<Answered<'_>> {
    let mut all: BTreeMap<(&str, &str), Answered<'_>> = BTreeMap::new();
    for endpoint in list {
        let key = (endpoint.method.as_str(), endpoint.path_shape.as_str());
        let of = all.entry(key).or_insert(Answered { endpoint, errors: 0, requests: 0 });
        of.requests = of.requests.saturating_add(endpoint.count);
        if is_error(endpoint.status) {
            of.errors = of.errors.saturating_add(endpoint.count);
        }
    }
    all.into_values().filter(|of| of.errors > 0).collect()
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{SECOND, Scene};
    use crate::phase::Phase;

    /// An endpoint with so many answers of this status, each of which took 10 ms.
    fn answered(mut scene: Scene, path: &str, status: u16, number: u64) -> Scene {
        let phases = [(Phase::Cpu, number * SECOND / 100)];
        scene = scene.endpoint(path, number, &phases).phase(Phase::Cpu, number * SECOND / 100);
        if let Some(endpoint) = scene.0.by_endpoint.list.last_mut() {
            endpoint.status = status;
        }
        scene.0.requests.completed += number;
        let by_status = &mut scene.0.requests.by_status;
        match by_status.iter_mut().find(|(known, _)| *known == status) {
            Some((_, known)) => *known += number,
            None => by_status.push((status, number)),
        }
        scene
    }

    /// What the two paths answered: well, and with this status.
    fn scene(list: &[(&str, u64, u64)], status: u16) -> Scene {
        let empty = Scene::gunicorn("sync", 4, 10 * SECOND);
        list.iter().fold(empty, |scene, (path, well, failed)| {
            answered(answered(scene, path, 200, *well), path, status, *failed)
        })
    }

    #[test]
    fn errors_are_present_with_the_endpoint_where_they_are_and_cost_the_time_of_their_service() {
        let finding = scene(&[("/", 900, 4), ("/checkout", 56, 40)], 500).judge("server-errors");
        finding.assert_present();
        assert_eq!(
            finding.sentence,
            "44 of 1,000 requests (4.4 %) were answered with a server error, mostly 500; GET /checkout had 40 of them, \
             42 % of its requests."
        );
        assert_eq!(finding.cost_ns, 44 * SECOND / 100);
    }

    #[test]
    fn other_statuses_and_single_errors_are_absent() {
        scene(&[("/", 900, 100)], 404).judge("server-errors").assert_absent();
        let finding = scene(&[("/", 96, 4)], 500).judge("server-errors");
        finding.assert_absent();
        assert_eq!(finding.sentence, "4 of 100 requests were answered with a server error.");
        let none = scene(&[("/", 900, 0)], 500).judge("server-errors");
        assert_eq!(none.sentence, "None of 900 requests was answered with a server error.");
    }

    #[test]
    fn one_request_in_a_hundred_is_where_it_begins() {
        scene(&[("/", 990, 10)], 503).judge("server-errors").assert_present();
        scene(&[("/", 991, 9)], 503).judge("server-errors").assert_absent();
    }

    #[test]
    fn an_endpoint_that_fails_for_every_tenth_request_is_named_however_few_it_has() {
        let of = |failed: u64| scene(&[("/", 10_000, 0), ("/rare", 50 - failed, failed)], 502);
        let finding = of(5).judge("server-errors");
        finding.assert_present();
        assert!(finding.sentence.contains("GET /rare had 5 of them, 10 % of"), "{}", finding.sentence);
        of(4).judge("server-errors").assert_absent();
    }

    #[test]
    fn a_server_whose_statuses_are_not_known_is_undecided_unless_it_surely_fails() {
        let unknown = |number: u64, failed: u64| {
            answered(scene(&[("/", 100 - failed, failed)], 500), "/unread", 0, number)
        };
        unknown(100, 0)
            .judge("server-errors")
            .assert_undecided("the status of 50 % of the requests (100) is not known");
        unknown(100, 5).judge("server-errors").assert_present();
        let finding = unknown(99, 0).judge("server-errors");
        finding.assert_absent();
        assert!(finding.sentence.ends_with("(the status of 99 is not known)."), "{}", finding.sentence);
    }

    #[test]
    fn too_few_requests_are_undecided() {
        scene(&[("/", 0, 9)], 500).judge("server-errors").assert_undecided("only 9 requests were seen");
    }
}
