//! Finding `gil-convoy`: threads that are woken for the interpreter lock find it taken again, and wait once
//! more.
//!
//! In: wakeups by releases, and how many came too late. Out: a verdict whose cost is the time waited after
//! the first of them.

use super::basis::{Basis, Outcome, Undecided, Verdict, decides, explains};
use super::full::where_cores_are_full;
use super::words::{count, percent, ratio, request_seconds};
use super::{Judge, Rule, gil};
use crate::phase::Phase;
use crate::server::advice::{Sizes, act};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "gil-convoy",
    title: "threads woken for the GIL come too late for it",
    question: "threads form a convoy behind the GIL",
    page: include_str!("../../../../docs/findings/gil-convoy.md"),
    advice: || {
        act("use fewer threads in each process")
            .no_more(Sizes::Threads)
            .because("each release wakes one that another then overtakes")
            .into()
    },
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    if !gil::require(basis)? {
        return Ok(Verdict { sentence: gil::NO_LOCK.to_owned(), ..Verdict::default() });
    }
    let limits = basis.thresholds;
    let seen = &basis.snapshot.gil;
    if seen.locks.iter().any(|lock| lock.is_between_unseen)
        && basis.rate(seen.waits.sum_ns()) >= limits.cost_min_rate
    {
        return Err(Undecided {
            reason: "light mode does not see who had the lock between two sleeps".to_owned(),
            next_step: "Trace for a minute without --light while it is slow.",
            evidence: vec![explains("gil_wait_seconds", seen.waits.sum_ns() as f64 / 1e9)],
        });
    }
    let woken = gil::sum(seen, |lock| lock.overtaken.woken);
    let missed = gil::sum(seen, |lock| lock.overtaken.missed);
    // Waits of locks and waits in all are cut at the window each for itself; threads wait for the lock beside
    // requests, too.
    let of_requests_ns = basis.phases().get(Phase::GilWait);
    let cost_ns =
        gil::sum(seen, |lock| lock.overtaken.missed_ns).min(seen.waits.sum_ns()).min(of_requests_ns);
    let deepest = seen.locks.iter().map(|lock| lock.overtaken.deepest).max().unwrap_or(0);
    let (share, rate) = (ratio(missed, woken), basis.rate(cost_ns));
    let mut evidence = vec![
        decides("gil_missed_ratio", share, limits.gil_missed_min_ratio),
        decides("gil_missed_seconds_per_second", rate, limits.cost_min_rate),
        explains("gil_missed_in_a_row_max", f64::from(deepest)),
    ];
    if let Some(convoy) = seen.locks.first().and_then(|lock| lock.convoy) {
        evidence.push(explains("gil_contention_coefficient", convoy.q));
    }
    if share < limits.gil_missed_min_ratio || rate < limits.cost_min_rate {
        let sentence = if woken == 0 {
            "No convoy: no thread was woken for the GIL".to_owned()
        } else {
            format!("No convoy: {} of {} wakeups for the GIL came too late", count(missed), count(woken))
        };
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let sentence = format!(
        "Threads form a convoy behind the GIL: {} of those woken for it found it taken again, up to {} times in a row; \
         they waited {} more",
        percent(share),
        count(u64::from(deepest)),
        request_seconds(cost_ns),
    );
    let exemplars = basis.exemplars(&[Phase::GilWait]);
    let next_step = where_cores_are_full(basis);
    Ok(Verdict { present: true, sentence, cost_ns, evidence, exemplars, next_step, ..Verdict::default() })
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{SECOND, Scene};
    use crate::model::gil::{Lock, Overtaken};
    use crate::phase::Phase;

    fn scene(missed: u64, missed_ns: u64) -> Scene {
        let mut scene =
            Scene::gunicorn("gthread", 4, 10 * SECOND).requests(100).phase(Phase::GilWait, 5 * SECOND);
        let lock = Lock {
            wait_ns: 5 * SECOND,
            overtaken: Overtaken { woken: 1000, missed, missed_ns, deepest: 9, ..Overtaken::default() },
            ..Lock::default()
        };
        scene.0.gil.locks.push(lock);
        scene.0.gil.waits.record(5 * SECOND);
        scene
    }

    #[test]
    fn wake_ups_that_mostly_come_too_late_are_a_convoy() {
        let finding = scene(700, 3 * SECOND).judge("gil-convoy");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 3 * SECOND);
        assert_eq!(
            finding.sentence,
            "Threads form a convoy behind the GIL: 70 % of those woken for it found it taken again, up to 9 times in a row; \
             they waited 3 request-seconds more."
        );
        assert!(finding.advice.contains("--threads"), "{}", finding.advice);
    }

    #[test]
    fn what_convoys_cost_is_never_more_than_all_waits_were() {
        let mut scene = scene(700, 6 * SECOND);
        scene.0.gil.waits = crate::model::latency::Latency::default();
        scene.0.gil.waits.record(4 * SECOND);
        let all_ns = scene.0.gil.waits.sum_ns();
        let finding = scene.judge("gil-convoy");
        finding.assert_present();
        assert_eq!(finding.cost_ns, all_ns);
    }

    #[test]
    fn what_convoys_cost_is_never_more_than_requests_waited() {
        let of_all = scene(700, 3 * SECOND);
        let mut of_requests =
            Scene::gunicorn("gthread", 4, 10 * SECOND).requests(100).phase(Phase::GilWait, 2 * SECOND);
        of_requests.0.gil = of_all.0.gil;
        let finding = of_requests.judge("gil-convoy");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 2 * SECOND);
    }

    #[test]
    fn where_nobody_saw_what_threads_did_between_sleeps_only_little_waiting_is_absent() {
        let unseen = || {
            let mut scene = scene(0, 0);
            scene.0.gil.locks[0].is_between_unseen = true;
            scene
        };
        unseen().judge("gil-convoy").assert_undecided("between two sleeps");
        let mut little = unseen();
        little.0.gil.waits = crate::model::latency::Latency::default();
        little.judge("gil-convoy").assert_absent();
    }

    #[test]
    fn a_few_late_wake_ups_and_cheap_ones_are_absent() {
        let finding = scene(300, 3 * SECOND).judge("gil-convoy");
        finding.assert_absent();
        assert_eq!(finding.sentence, "No convoy: 300 of 1,000 wakeups for the GIL came too late.");
        scene(700, SECOND / 2).judge("gil-convoy").assert_absent();
    }
}
