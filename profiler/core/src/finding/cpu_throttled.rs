//! Finding `cpu-throttled`: the cgroup's CPU quota stopped the server.
//!
//! In: first and last reading of the cgroup's `cpu.stat`, run-queue time of requests. Out: a verdict whose
//! cost is the time requests waited for a core because of it. That is all of it where the quota was used up,
//! else at most the throttled time (a stopped thread is runnable). Also the line for slots, where the quota
//! is what is short.

use super::basis::{Basis, Outcome, Undecided, Verdict, decides, explains};
use super::cause::{
    CpuShort, cpu_short, line_ns, quota_cores, quota_used, run_queue_by_quota_ns, throttled_ns, worst_cgroup,
};
use super::words::{count, duration, percent, ratio, request_seconds};
use super::{Judge, Rule};
use crate::phase::Phase;
use crate::server::advice::common::cpu_limit;
use crate::server::advice::{Direction, Sizes, act};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "cpu-throttled",
    title: "the container's CPU quota stops the server",
    question: "a CPU quota stopped the server",
    page: include_str!("../../../../docs/findings/cpu-throttled.md"),
    advice: || {
        act("raise the CPU limit of the container or cgroup (cpu.max)")
            .with(cpu_limit(), Direction::Raise)
            .or(act("run fewer workers and threads within it")
                .no_more(Sizes::Processes)
                .no_more(Sizes::Threads))
            .into()
    },
    judge: Judge::Measured(judge),
};

/// Whether the quota stopped requests for a considerable time.
pub(super) fn is_present(basis: &Basis<'_>) -> bool {
    stopped(basis).is_ok_and(|verdict| verdict.present)
}

fn judge(basis: &Basis<'_>) -> Outcome {
    let mut verdict = stopped(basis)?;
    if verdict.present && cpu_short(basis) == CpuShort::Quota {
        // More workers would not shorten the line for one: it is one for the quota.
        let line_ns = line_ns(basis);
        verdict.evidence.push(explains("requests_waited_behind_seconds", line_ns as f64 / 1e9));
        verdict.cost_ns = verdict.cost_ns.saturating_add(line_ns);
    }
    Ok(verdict)
}

/// What the quota did to requests that had begun.
fn stopped(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    let limits = basis.thresholds;
    let Some(worst) = worst_cgroup(basis) else {
        return Err(Undecided {
            reason: "the CPU statistics of the server's cgroup could not be read".to_owned(),
            next_step: "Look at cpu.stat (nr_throttled) of the container yourself.",
            evidence: Vec::new(),
        });
    };
    let throttled = throttled_ns(worst);
    let periods = worst.last.throttled_periods.saturating_sub(worst.first.throttled_periods);
    let share = ratio(throttled, basis.window_ns());
    let used = quota_used(basis, worst);
    let run_queue = basis.phases().get(Phase::RunQueue);
    let evidence = vec![
        decides("throttled_window_ratio", share, limits.throttled_window_min_ratio),
        explains("throttled_seconds", throttled as f64 / 1e9),
        explains("throttled_periods_count", periods as f64),
        explains("quota_cores_count", quota_cores(worst).unwrap_or(0.0)),
        decides("quota_used_ratio", used, limits.full_min_ratio),
        explains("run_queue_seconds", run_queue as f64 / 1e9),
    ];
    if throttled == 0 && worst.last.quota_us.is_none() {
        let sentence = "No CPU quota of its own limits the server, and none stopped it".to_owned();
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    if share < limits.throttled_window_min_ratio {
        let sentence = format!(
            "The CPU quota stopped the server for {}, {} of the window",
            duration(throttled),
            percent(share)
        );
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    basis.require_requests()?;
    let cost_ns = run_queue_by_quota_ns(basis);
    if cost_ns == 0 {
        let sentence =
            format!("The CPU quota stopped the server for {}, but never a request", duration(throttled));
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let quota = match quota_cores(worst) {
        Some(cores) => format!("CPU quota ({cores:.2} cores, {} used)", percent(used)),
        None => "CPU quota of a parent group".to_owned(),
    };
    let sentence = format!(
        "The {quota} stopped the server {} times for {} in all; requests waited up to {} for it",
        count(periods),
        duration(throttled),
        request_seconds(cost_ns),
    );
    let exemplars = basis.exemplars(&[Phase::RunQueue]);
    Ok(Verdict { present: true, sentence, cost_ns, evidence, exemplars, ..Verdict::default() })
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{SECOND, Scene};
    use crate::phase::Phase;

    fn scene() -> Scene {
        Scene::gunicorn("sync", 4, 10 * SECOND).requests(100).phase(Phase::Cpu, 5 * SECOND)
    }

    #[test]
    fn throttling_is_present_and_costs_at_most_the_run_queue() {
        let finding =
            scene().phase(Phase::RunQueue, 3 * SECOND).throttled(5 * SECOND, 60).judge("cpu-throttled");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 3 * SECOND);
        assert_eq!(
            finding.sentence,
            "The CPU quota (0.50 cores, 0 % used) stopped the server 60 times for 5 s in all; \
             requests waited up to 3 request-seconds for it."
        );
    }

    #[test]
    fn throttling_cost_is_the_throttled_time_where_the_run_queue_is_longer() {
        let finding =
            scene().phase(Phase::RunQueue, 9 * SECOND).throttled(2 * SECOND, 60).judge("cpu-throttled");
        assert_eq!(finding.cost_ns, 2 * SECOND);
    }

    #[test]
    fn all_waiting_for_a_core_is_the_quotas_where_it_was_used_up() {
        let used = scene().phase(Phase::RunQueue, 9 * SECOND).process(1, 5 * SECOND, 9 * SECOND);
        assert_eq!(used.throttled(2 * SECOND, 60).judge("cpu-throttled").cost_ns, 9 * SECOND);
    }

    #[test]
    fn a_line_for_workers_that_a_quota_stops_is_one_for_the_quota() {
        let stopped = scene()
            .phase(Phase::RunQueue, 9 * SECOND)
            .phase(Phase::AcceptQueue, 90 * SECOND)
            .process(1, 5 * SECOND, 9 * SECOND)
            .exhausted(9 * SECOND)
            .throttled(2 * SECOND, 60);
        assert_eq!(stopped.clone().judge("cpu-throttled").cost_ns, 99 * SECOND, "its own, and the line");
        assert_eq!(stopped.judge("slots-exhausted").cost_ns, 90 * SECOND);
    }

    #[test]
    fn a_quota_that_hardly_ever_bites_is_absent() {
        scene().throttled(SECOND / 10, 2).judge("cpu-throttled").assert_absent();
    }

    #[test]
    fn throttling_while_no_request_waited_for_a_core_is_absent() {
        scene().throttled(5 * SECOND, 60).judge("cpu-throttled").assert_absent();
    }

    #[test]
    fn a_server_without_a_quota_is_absent() {
        let mut scene = scene().throttled(0, 0);
        scene.0.cgroups[0].last.quota_us = None;
        let finding = scene.judge("cpu-throttled");
        finding.assert_absent();
        assert!(finding.sentence.starts_with("No CPU quota"), "{}", finding.sentence);
    }

    #[test]
    fn unread_cgroup_statistics_are_undecided() {
        scene().judge("cpu-throttled").assert_undecided("could not be read");
    }

    #[test]
    fn throttling_without_enough_requests_is_undecided() {
        scene()
            .requests(2)
            .throttled(5 * SECOND, 60)
            .judge("cpu-throttled")
            .assert_undecided("only 2 requests");
    }
}
