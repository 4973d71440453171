//! Finding `own-locks`: requests wait for one another at a lock or a pool of the application.
//!
//! In: the phases of requests, by endpoint too. Out: a verdict whose cost is that waiting, and what stood in
//! line behind it. How many get through at once follows from how many did something else meanwhile: the limit
//! is behind the slots, more of them only wait as well.

use super::back_end::endpoint_name;
use super::basis::{Basis, Outcome, Undecided, Verdict, decides, explains, served_ns};
use super::cause::{serves_in_parallel, waited_behind_ns};
use super::words::{factor, percent, ratio, request_seconds};
use super::{Judge, Rule, add_where_room};
use crate::phase::Phase;
use crate::server::advice::{Advice, Sizes, act, say};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "own-locks",
    title: "requests wait for one another at a lock or a pool of the application",
    question: "requests wait for one another in the application",
    page: include_str!("../../../../docs/findings/own-locks.md"),
    advice: || {
        Advice::first(
            act("find what they wait for")
                .because("a pool of connections, or a lock of the application or of a library"),
        )
        .then(
            act("make the pool larger, as far as the back end bears it")
                .or(act("hold its connections for a shorter time")),
        )
        .then(say("more threads would not help: they would wait as well").no_more(Sizes::Threads))
    },
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_requests()?;
    let limits = basis.thresholds;
    let phases = basis.phases();
    let all_ns = phases.get(Phase::LockWait);
    // Whoever waits for a thread of its own stands in nobody's way there: what that thread does is what takes
    // the time.
    let helper_ns = basis.snapshot.requests.helper_wait_ns.min(all_ns);
    let lock_ns = all_ns - helper_ns;
    let served = served_ns(phases);
    let (share, rate) = (ratio(lock_ns, served), basis.rate(lock_ns));
    let others = ratio(served.saturating_sub(all_ns), basis.load_ns());
    let mut evidence = vec![
        decides("lock_wait_service_ratio", share, limits.locks_served_min_ratio),
        decides("lock_wait_seconds_per_second", rate, limits.cost_min_rate),
        explains("not_waiting_at_once_count", others),
    ];
    if helper_ns > 0 {
        evidence.push(explains("helper_thread_wait_seconds", helper_ns as f64 / 1e9));
    }
    if share < limits.locks_served_min_ratio || rate < limits.cost_min_rate {
        basis.require_explained("locks", lock_ns, limits.locks_served_min_ratio)?;
        let mut sentence = format!("Requests waited for locks {} of service time", percent(share));
        let helper_share = ratio(helper_ns, served);
        if helper_share >= limits.locks_served_min_ratio {
            sentence.push_str(&format!(", and {} for threads that they had started", percent(helper_share)));
        }
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let undecided = |reason: String, next_step, evidence| Err(Undecided { reason, next_step, evidence });
    if basis.snapshot.slots.are_loops() {
        let reason = format!(
            "waits for locks are {} of service time, and on an event loop they may be for anything that a thread does for a request",
            percent(share)
        );
        return undecided(reason, "See on the timeline what the slowest requests wait for.", evidence);
    }
    if basis.not_measured(Phase::GilWait).is_some() && serves_in_parallel(basis) {
        let reason =
            format!("waits for locks are {} of service time, and may be for the GIL", percent(share));
        let next_step = "Compare with fewer threads per process: if throughput stays, it was the GIL.";
        return undecided(reason, next_step, evidence);
    }
    let behind_ns = waited_behind_ns(basis, lock_ns);
    evidence.push(explains("requests_waited_behind_seconds", behind_ns as f64 / 1e9));
    let mut sentence = format!(
        "Requests waited {} of service time ({}) for locks or pools of the application; at most about {} at a time got through",
        percent(share),
        request_seconds(lock_ns),
        factor(others),
    );
    let endpoints = &basis.snapshot.by_endpoint.list;
    if let Some(worst) = endpoints.iter().max_by_key(|endpoint| endpoint.phases.get(Phase::LockWait)) {
        let of_it = ratio(worst.phases.get(Phase::LockWait), lock_ns);
        let whose = format!("; {} of it in {}", percent(of_it), endpoint_name(worst));
        if of_it > 0.0 {
            add_where_room(&mut sentence, &whose);
        }
    }
    let exemplars = basis.exemplars(&[Phase::LockWait]);
    let cost_ns = lock_ns.saturating_add(behind_ns);
    Ok(Verdict { present: true, sentence, cost_ns, evidence, exemplars, ..Verdict::default() })
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{SECOND, Scene};
    use crate::phase::Phase;

    /// Eight threads, a pool of two connections.
    fn scene() -> Scene {
        Scene::gunicorn("gthread", 8, 10 * SECOND)
            .requests(400)
            .phase(Phase::BackendWait, 20 * SECOND)
            .phase(Phase::LockWait, 60 * SECOND)
            .holding_request(80 * SECOND)
            .endpoint("/items", 400, &[(Phase::LockWait, 60 * SECOND), (Phase::BackendWait, 20 * SECOND)])
    }

    #[test]
    fn a_dry_pool_is_present_with_how_many_it_lets_through() {
        let finding = scene().judge("own-locks");
        finding.assert_present();
        assert_eq!(
            finding.sentence,
            "Requests waited 75 % of service time (60 request-seconds) for locks or pools of the application; at most about 2 at a \
             time got through; 100 % of it in GET /items."
        );
    }

    #[test]
    fn waits_for_locks_are_ruled_out_only_where_what_is_unexplained_would_not_make_them_present() {
        let scene = |ns| {
            Scene::gunicorn("gthread", 8, 10 * SECOND)
                .requests(400)
                .phase(Phase::BackendWait, 20 * SECOND)
                .phase(Phase::LockWait, SECOND)
                .phase(Phase::Unexplained, ns)
        };
        scene(SECOND).judge("own-locks").assert_absent();
        scene(60 * SECOND).judge("own-locks").assert_undecided("is unexplained");
    }

    #[test]
    fn waits_for_threads_that_a_request_started_are_for_no_lock() {
        let mut scene = scene();
        scene.0.requests.helper_wait_ns = 59 * SECOND;
        let finding = scene.judge("own-locks");
        finding.assert_absent();
        assert_eq!(
            finding.sentence,
            "Requests waited for locks 1.2 % of service time, and 74 % for threads that they had started."
        );
    }

    #[test]
    fn nobody_is_told_to_add_threads_that_would_wait_as_well() {
        let scene = scene().phase(Phase::AcceptQueue, 40 * SECOND).exhausted(9 * SECOND);
        let slots = scene.clone().judge("slots-exhausted");
        slots.assert_present();
        assert!(!slots.advice.contains("raise --threads"), "{}", slots.advice);
        let own = scene.clone().judge("own-locks");
        assert!(
            own.cost_ns > 60 * SECOND,
            "what stood in line for the slots that they held is theirs: {}",
            own.cost_ns
        );
        scene.judge("healthy").assert_absent();
    }

    #[test]
    fn locks_that_may_be_the_gil_are_undecided() {
        scene().process(8, SECOND, 0).not_measured(Phase::GilWait).judge("own-locks").assert_undecided("GIL");
    }

    #[test]
    fn a_little_waiting_for_locks_is_absent() {
        let scene = Scene::gunicorn("gthread", 8, 10 * SECOND)
            .requests(400)
            .phase(Phase::BackendWait, 20 * SECOND)
            .phase(Phase::LockWait, 2 * SECOND);
        scene.judge("own-locks").assert_absent();
    }
}
