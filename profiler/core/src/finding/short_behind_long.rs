//! Finding `short-behind-long`: short requests wait because long ones hold the slots.
//!
//! In: phases and service times of endpoints. Out: a verdict that names the worst victim and the long
//! endpoint; its cost is the victims' waiting time, in the share that long requests have in served time.

use super::back_end::endpoint_name;
use super::basis::{Basis, Outcome, Undecided, Verdict, WAITING, decides, explains, served_ns, waited_ns};
use super::words::{duration, factor, percent, ratio};
use super::{Judge, Rule};
use crate::model::Endpoint;
use crate::phase::Phase;
use crate::server::advice::{Arrangement, act};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "short-behind-long",
    title: "short requests wait behind long ones",
    question: "short requests wait behind long ones",
    page: include_str!("../../../../docs/findings/short-behind-long.md"),
    advice: || {
        act("give the long endpoint a server (or pool) of its own")
            .arranging(Arrangement::OwnServer)
            .or(act("move its work to a background queue"))
            .into()
    },
    judge: Judge::Measured(judge),
};

/// What the rule knows of one endpoint.
struct Measured<'a> {
    endpoint: &'a Endpoint,
    /// Mean wait for a slot, in nanoseconds.
    wait_ns: u64,
    /// Median service time, in nanoseconds.
    service_ns: u64,
    /// Time in which all its requests were served, in nanoseconds.
    served_ns: u64,
}

impl<'a> Measured<'a> {
    fn of(endpoint: &'a Endpoint) -> Option<Self> {
        let wait_ns = waited_ns(&endpoint.phases).checked_div(endpoint.count)?;
        let service_ns = endpoint.service.quantile_ns(0.5);
        Some(Self { endpoint, wait_ns, service_ns, served_ns: served_ns(&endpoint.phases) })
    }
}

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_requests()?;
    require_read(basis)?;
    let limits = basis.thresholds;
    let all: Vec<Measured<'_>> = basis
        .snapshot
        .by_endpoint
        .list
        .iter()
        .filter(|endpoint| !endpoint.method.is_empty())
        .filter_map(Measured::of)
        .filter(|measured| measured.service_ns > 0)
        .collect();
    if let Some(behind) = behind(basis, &all) {
        return Ok(present(basis, &behind));
    }
    let worst_wait = all.iter().map(|one| times(one.wait_ns, one.service_ns)).fold(0.0, f64::max);
    let evidence = vec![
        decides("wait_of_service_ratio", worst_wait, limits.wait_of_service_min_times),
        explains("endpoints_count", all.len() as f64),
    ];
    let lengths = all.iter().map(|one| one.service_ns);
    let spread = times(lengths.clone().max().unwrap_or(0), lengths.min().unwrap_or(0));
    if spread >= limits.long_of_short_min_times
        && basis.not_measured(Phase::AcceptQueue).is_some()
        && basis.snapshot.slots.exhausted_ns > 0
    {
        return Err(Undecided {
            reason: "some take far longer than others, but waiting in the accept queue is not measured"
                .to_owned(),
            next_step: "Compare what clients measure for the short endpoints with the service times of this report.",
            evidence,
        });
    }
    let sentence = format!(
        "No endpoint waits {} its own service time behind longer ones",
        super::threshold::Unit::Times.show(limits.wait_of_service_min_times)
    );
    Ok(Verdict { sentence, evidence, ..Verdict::default() })
}

fn times(long: u64, short: u64) -> f64 {
    ratio(long, short.max(1))
}

/// Gate: it is known what requests asked for.
fn require_read(basis: &Basis<'_>) -> Result<(), Undecided> {
    let unnamed = basis.snapshot.by_endpoint.list.iter().filter(|endpoint| endpoint.method.is_empty());
    let unnamed = unnamed.fold(0u64, |sum, endpoint| sum.saturating_add(endpoint.count));
    let (unread, limit) = (ratio(unnamed, basis.request_count()), basis.thresholds.unread_max_ratio);
    if unread < limit {
        return Ok(());
    }
    Err(Undecided {
        reason: format!("it is not known what {} of the requests asked for", percent(unread)),
        next_step: "Where the server does the TLS itself, its own log has paths and times.",
        evidence: vec![decides("requests_unread_ratio", unread, limit)],
    })
}

/// Short requests that waited behind long ones.
struct Behind<'a, 'b> {
    /// The endpoint that waited longest in all, and the costliest of those that it may have waited for.
    victim: &'a Measured<'b>,
    long: &'a Measured<'b>,
    /// The share of long endpoints in all service time, for that victim.
    long_share: f64,
    /// What all victims waited behind long ones.
    cost_ns: u64,
    /// All that take longer than that victim.
    longer: Vec<&'b Endpoint>,
}

/// Of every victim the long endpoints that it may have waited for; `None`: there is no victim.
fn behind<'a, 'b>(basis: &Basis<'_>, all: &'a [Measured<'b>]) -> Option<Behind<'a, 'b>> {
    let limits = basis.thresholds;
    let served_in_all = served_ns(basis.phases());
    let is_victim = |one: &Measured<'_>| {
        one.endpoint.count as f64 >= limits.endpoint_min_count
            && one.wait_ns as f64 / 1e6 >= limits.wait_mean_min_milliseconds
            && times(one.wait_ns, one.service_ns) >= limits.wait_of_service_min_times
    };
    let mut found: Option<Behind<'a, 'b>> = None;
    let mut cost_ns = 0_u64;
    for victim in all.iter().filter(|one| is_victim(one)) {
        let longer =
            |one: &&Measured<'_>| times(one.service_ns, victim.service_ns) >= limits.long_of_short_min_times;
        let long_ns = all.iter().filter(longer).fold(0u64, |sum, one| sum.saturating_add(one.served_ns));
        let long_share = ratio(long_ns, served_in_all).min(1.0);
        let Some(long) = all.iter().filter(longer).max_by_key(|one| one.served_ns) else { continue };
        if long_share < limits.long_served_min_ratio {
            continue;
        }
        let waited = waited_ns(&victim.endpoint.phases);
        cost_ns = cost_ns.saturating_add((waited as f64 * long_share) as u64);
        if found.as_ref().is_none_or(|worst| waited > waited_ns(&worst.victim.endpoint.phases)) {
            let longer = all.iter().filter(longer).map(|one| one.endpoint).collect();
            found = Some(Behind { victim, long, long_share, cost_ns: 0, longer });
        }
    }
    found.map(|found| Behind { cost_ns, ..found })
}

fn present(basis: &Basis<'_>, behind: &Behind<'_, '_>) -> Verdict {
    let limits = basis.thresholds;
    let Behind { victim, long, long_share, cost_ns, longer } = behind;
    let waited_times = times(victim.wait_ns, victim.service_ns);
    let evidence = vec![
        decides("wait_of_service_ratio", waited_times, limits.wait_of_service_min_times),
        decides("wait_mean_milliseconds", victim.wait_ns as f64 / 1e6, limits.wait_mean_min_milliseconds),
        decides(
            "long_of_short_ratio",
            times(long.service_ns, victim.service_ns),
            limits.long_of_short_min_times,
        ),
        decides("long_served_ratio", *long_share, limits.long_served_min_ratio),
        explains("short_service_milliseconds", victim.service_ns as f64 / 1e6),
        explains("long_service_milliseconds", long.service_ns as f64 / 1e6),
    ];
    let sentence = format!(
        "{} needs {} but waited {} ({} times longer) behind requests such as {}, which take {}",
        endpoint_name(victim.endpoint),
        duration(victim.service_ns),
        duration(victim.wait_ns),
        factor(waited_times),
        endpoint_name(long.endpoint),
        duration(long.service_ns),
    );
    let exemplars = basis.exemplars(&WAITING);
    let apart =
        longer.iter().map(|endpoint| format!("{} {}", endpoint.method, endpoint.path_shape)).collect();
    Verdict { present: true, sentence, cost_ns: *cost_ns, evidence, exemplars, apart, ..Verdict::default() }
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{MILLISECOND, SECOND, Scene};
    use crate::phase::Phase;

    /// 50 short requests of 5 ms and 10 long ones of 1 s on one thread pool.
    fn scene(short_wait_each_ns: u64) -> Scene {
        let wait = 50 * short_wait_each_ns;
        Scene::gunicorn("gthread", 2, 10 * SECOND)
            .requests(60)
            .phase(Phase::Cpu, 10 * SECOND + 250 * MILLISECOND)
            .phase(Phase::PoolWait, wait)
            .endpoint("/health", 50, &[(Phase::Cpu, 250 * MILLISECOND), (Phase::PoolWait, wait)])
            .endpoint("/export", 10, &[(Phase::Cpu, 10 * SECOND)])
    }

    #[test]
    fn short_requests_that_wait_behind_long_ones_are_present_and_both_are_named() {
        let finding = scene(100 * MILLISECOND).judge("short-behind-long");
        finding.assert_present();
        assert!(finding.sentence.starts_with("GET /health needs 5"), "{}", finding.sentence);
        assert!(finding.sentence.contains("such as GET /export"), "{}", finding.sentence);
        assert_eq!(finding.apart, ["GET /export"]);
        // The long endpoint has 10 s of 10.25 s served.
        assert_eq!(finding.cost_ns / MILLISECOND, 4_878);
    }

    #[test]
    fn short_requests_that_hardly_wait_are_absent() {
        scene(MILLISECOND).judge("short-behind-long").assert_absent();
    }

    #[test]
    fn where_it_is_not_known_what_is_asked_for_nothing_is_said() {
        let unread = |number: u64| {
            let mut scene =
                scene(MILLISECOND).endpoint("", number, &[(Phase::Cpu, SECOND)]).requests(60 + number);
            if let Some(endpoint) = scene.0.by_endpoint.list.last_mut() {
                endpoint.method.clear();
            }
            scene.judge("short-behind-long")
        };
        unread(60).assert_undecided("it is not known what 50 % of the requests asked for");
        unread(59).assert_absent();
    }

    #[test]
    fn requests_of_like_length_that_all_wait_are_absent() {
        Scene::gunicorn("gthread", 2, 10 * SECOND)
            .requests(60)
            .phase(Phase::Cpu, 10 * SECOND)
            .phase(Phase::PoolWait, 60 * SECOND)
            .endpoint("/a", 30, &[(Phase::Cpu, 5 * SECOND), (Phase::PoolWait, 30 * SECOND)])
            .endpoint("/b", 30, &[(Phase::Cpu, 5 * SECOND), (Phase::PoolWait, 30 * SECOND)])
            .judge("short-behind-long")
            .assert_absent();
    }

    #[test]
    fn long_requests_that_hold_little_are_not_blamed() {
        Scene::gunicorn("gthread", 2, 10 * SECOND)
            .requests(60)
            .phase(Phase::Cpu, 20 * SECOND)
            .endpoint("/a", 50, &[(Phase::Cpu, SECOND), (Phase::PoolWait, 30 * SECOND)])
            .endpoint("/rare", 1, &[(Phase::Cpu, SECOND)])
            .judge("short-behind-long")
            .assert_absent();
    }

    #[test]
    fn very_different_lengths_with_an_unmeasured_accept_queue_are_undecided() {
        scene(0)
            .exhausted(SECOND)
            .not_measured(Phase::AcceptQueue)
            .judge("short-behind-long")
            .assert_undecided("accept queue is not measured");
    }
}
