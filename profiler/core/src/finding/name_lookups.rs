//! Finding `name-lookups`: requests wait for name servers.
//!
//! In: waits on sockets to port 53, by endpoint. Out: a verdict whose cost is these waits of the endpoints
//! that lose a considerable part of their time to them.

use super::back_end::of_it_in;
use super::basis::{Basis, Outcome, Undecided, Verdict, decides, explains, served_ns};
use super::words::{count, percent, ratio, request_seconds};
use super::{Evidence, Judge, Rule, add_where_room};
use crate::model::Endpoint;
use crate::phase::Phase;
use crate::server::advice::{Advice, act, say};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "name-lookups",
    title: "requests wait for name lookups",
    question: "looking names up takes the time",
    page: include_str!("../../../../docs/findings/name-lookups.md"),
    advice: || {
        Advice::first(
            act("keep connections to back ends from request to request")
                .also(act("let a cache on this host answer for names"))
                .because("a name is looked up for each new connection"),
        )
        .then(say(
            "a name without a final dot may be looked up once for each domain of the search list: see ndots in resolv.conf",
        ))
    },
    judge: Judge::Measured(judge),
};

/// The port of name servers (RFC 1035, section 4.2).
const NAME_SERVER: u16 = 53;

/// How long the requests of an endpoint waited for name servers.
fn waited_ns(endpoint: &Endpoint) -> u64 {
    endpoint.round_trips.to(NAME_SERVER).waited_ns
}

/// The same, of its service time.
fn share(endpoint: &Endpoint) -> f64 {
    ratio(waited_ns(endpoint), served_ns(&endpoint.phases))
}

/// What several endpoints lose together.
struct Sum<'a> {
    requests: u64,
    answers: u64,
    waited_ns: u64,
    served_ns: u64,
    most: Option<&'a Endpoint>,
}

impl<'a> Sum<'a> {
    fn of(endpoints: impl Iterator<Item = &'a Endpoint>) -> Self {
        let mut sum = Self { requests: 0, answers: 0, waited_ns: 0, served_ns: 0, most: None };
        for endpoint in endpoints {
            let to = endpoint.round_trips.to(NAME_SERVER);
            sum.requests = sum.requests.saturating_add(endpoint.count);
            sum.answers = sum.answers.saturating_add(to.count);
            sum.waited_ns = sum.waited_ns.saturating_add(to.waited_ns);
            sum.served_ns = sum.served_ns.saturating_add(served_ns(&endpoint.phases));
            if sum.most.is_none_or(|most| to.waited_ns > waited_ns(most)) {
                sum.most = Some(endpoint);
            }
        }
        sum
    }

    fn share(&self) -> f64 {
        ratio(self.waited_ns, self.served_ns)
    }

    fn evidence(&self, basis: &Basis<'_>) -> Vec<Evidence> {
        let limits = basis.thresholds;
        vec![
            decides("lookup_service_ratio", self.share(), limits.lookup_served_min_ratio),
            decides("lookup_seconds_per_second", basis.rate(self.waited_ns), limits.cost_min_rate),
            explains("lookup_seconds", self.waited_ns as f64 / 1e9),
            explains("name_server_answers_count", self.answers as f64),
            explains("requests_count", self.requests as f64),
        ]
    }
}

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_requests()?;
    let limits = basis.thresholds;
    let enough = |endpoint: &&Endpoint| endpoint.count as f64 >= limits.requests_min_count;
    let looking = || basis.snapshot.by_endpoint.list.iter().filter(|endpoint| waited_ns(endpoint) > 0);
    let losing =
        looking().filter(enough).filter(|endpoint| share(endpoint) >= limits.lookup_served_min_ratio);
    let sum = Sum::of(losing);
    if sum.waited_ns > 0 && basis.rate(sum.waited_ns) >= limits.cost_min_rate {
        return Ok(present(basis, &sum));
    }
    let all = Sum::of(looking());
    let by_nobody_ns = basis.snapshot.requests.unattributed.to(NAME_SERVER).waited_ns;
    let at_most_ns = all.waited_ns.saturating_add(by_nobody_ns);
    let at_most = ratio(at_most_ns, served_ns(basis.phases()));
    if by_nobody_ns > 0
        && at_most >= limits.lookup_served_min_ratio
        && basis.rate(at_most_ns) >= limits.cost_min_rate
    {
        return Err(Undecided {
            reason: format!(
                "threads waited {} for name servers, and it is not known for which requests",
                request_seconds(by_nobody_ns)
            ),
            next_step: "Look in the application for what resolves names beside its requests.",
            evidence: vec![decides("lookup_at_most_service_ratio", at_most, limits.lookup_served_min_ratio)],
        });
    }
    basis.require_explained("name servers", all.waited_ns, limits.lookup_served_min_ratio)?;
    let sentence = if all.waited_ns == 0 {
        "No request waited for a name server".to_owned()
    } else {
        format!(
            "{} requests waited for name servers {} of their service time",
            count(all.requests),
            percent(all.share())
        )
    };
    Ok(Verdict { sentence, evidence: all.evidence(basis), ..Verdict::default() })
}

fn present(basis: &Basis<'_>, sum: &Sum<'_>) -> Verdict {
    let mut sentence = format!(
        "{} requests waited {} of their service time ({}) for name servers",
        count(sum.requests),
        percent(sum.share()),
        request_seconds(sum.waited_ns),
    );
    if let Some(most) = sum.most {
        add_where_room(&mut sentence, &of_it_in(ratio(waited_ns(most), sum.waited_ns), most));
    }
    let exemplars = basis.exemplars(&[Phase::BackendWait]);
    let (evidence, cost_ns) = (sum.evidence(basis), sum.waited_ns);
    Verdict { present: true, sentence, cost_ns, evidence, exemplars, ..Verdict::default() }
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{SECOND, Scene};
    use crate::model::round_trips::ToPort;
    use crate::phase::Phase;

    fn to(port: u16, waited_ns: u64) -> ToPort {
        ToPort { port, count: 100, waited_ns, ..ToPort::default() }
    }

    /// A hundred requests of ten seconds in all, which waited for this.
    fn scene(waits: &[ToPort]) -> Scene {
        let phases = [(Phase::Cpu, 7 * SECOND), (Phase::BackendWait, 3 * SECOND)];
        let mut scene = Scene::gunicorn("sync", 4, 10 * SECOND).requests(100).endpoint("/mail", 100, &phases);
        for (phase, duration_ns) in phases {
            scene = scene.phase(phase, duration_ns);
        }
        for wait in waits {
            scene.0.by_endpoint.list[0].round_trips.add(wait);
        }
        scene
    }

    #[test]
    fn requests_that_wait_for_name_servers_are_present_with_their_endpoint_and_cost_that_wait() {
        let finding = scene(&[to(53, 2 * SECOND), to(443, SECOND)]).judge("name-lookups");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 2 * SECOND);
        assert_eq!(
            finding.sentence,
            "100 requests waited 20 % of their service time (2 request-seconds) for name servers, 100 % of it in GET /mail."
        );
    }

    #[test]
    fn waits_for_other_ports_are_none_for_names() {
        let finding = scene(&[to(443, 3 * SECOND)]).judge("name-lookups");
        finding.assert_absent();
        assert_eq!(finding.sentence, "No request waited for a name server.");
    }

    #[test]
    fn a_tenth_of_service_time_is_where_it_begins() {
        scene(&[to(53, SECOND)]).judge("name-lookups").assert_present();
        scene(&[to(53, SECOND - 1)]).judge("name-lookups").assert_absent();
    }

    #[test]
    fn one_endpoint_is_enough_however_long_the_others_take() {
        let phases = [(Phase::Cpu, 900 * SECOND)];
        let beside = scene(&[to(53, 2 * SECOND)]).endpoint("/report", 100, &phases);
        beside.phase(Phase::Cpu, 900 * SECOND).judge("name-lookups").assert_present();
    }

    #[test]
    fn waits_of_threads_that_serve_no_known_request_are_undecided_where_they_are_as_long() {
        let of = |waited_ns: u64| {
            let mut scene = scene(&[]);
            scene.0.requests.unattributed.add(&to(53, waited_ns));
            scene.judge("name-lookups")
        };
        of(SECOND).assert_undecided("it is not known for which requests");
        of(SECOND - 1).assert_absent();
    }

    #[test]
    fn what_is_unexplained_may_be_the_same_wait() {
        let unexplained = |ns| scene(&[]).phase(Phase::Unexplained, ns).judge("name-lookups");
        unexplained(5 * SECOND).assert_undecided("is unexplained");
        unexplained(SECOND / 2).assert_absent();
    }

    #[test]
    fn too_few_requests_are_undecided() {
        let few = scene(&[to(53, 2 * SECOND)]).requests(9);
        few.judge("name-lookups").assert_undecided("only 9 requests were seen");
    }
}
