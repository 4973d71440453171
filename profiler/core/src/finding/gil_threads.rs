//! Finding `gil-threads`: a process has more threads that want to run Python code than its interpreter, and its share of CPU,
//! can run.
//!
//! In: how many threads waited for one lock at a time. Out: a verdict whose cost is what threads of such processes waited.

use super::basis::{Basis, Outcome, Verdict, decides, explains};
use super::words::{factor, percent, ratio, request_seconds};
use super::{Judge, Rule, gil};
use crate::model::gil::Lock;
use crate::phase::Phase;

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "gil-threads",
    title: "more threads want to run Python than one interpreter can run",
    question: "a process has too many threads for its interpreter",
    page: include_str!("../../../../docs/findings/gil-threads.md"),
    advice: "Use fewer threads in each process, and more processes as far as there are cores.",
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    if !gil::require(basis)? {
        return Ok(Verdict { sentence: gil::NO_LOCK.to_owned(), ..Verdict::default() });
    }
    let limits = basis.thresholds;
    let seen = &basis.snapshot.gil;
    let waiting = |lock: &Lock| ratio(lock.wait_ns, basis.window_ns());
    let worst = seen.locks.iter().max_by(|one, other| waiting(one).total_cmp(&waiting(other)));
    let most = worst.map_or(0.0, waiting);
    let crowded = |lock: &Lock| waiting(lock) >= limits.gil_waiting_min_count;
    let cost_ns = gil::sum(seen, |lock| if crowded(lock) { lock.wait_ns } else { 0 });
    let run_queue_share =
        worst.map_or(0.0, |lock| ratio(lock.run_queue_ns, lock.wait_ns.saturating_add(lock.run_queue_ns)));
    let mut evidence = vec![
        decides("gil_waiting_threads", most, limits.gil_waiting_min_count),
        explains("gil_waiting_without_cpu_ratio", run_queue_share),
    ];
    let Some(worst) = worst.filter(|lock| crowded(lock)) else {
        let sentence =
            format!("Threads are not too many for the GIL: on average {} waited for one", factor(most));
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    };
    let mut sentence = format!(
        "On average {} threads of process {} waited for the GIL while one had it ({})",
        factor(most),
        worst.tgid,
        request_seconds(cost_ns),
    );
    if let Some(most_ns) = worst.held_at_most_ns {
        let share = ratio(most_ns, basis.window_ns());
        evidence.push(explains("gil_held_at_most_ratio", share));
        sentence.push_str(&format!(
            "; all its threads together ran or wanted to run {} of the time",
            percent(share.min(1.0))
        ));
    }
    let exemplars = basis.exemplars(&[Phase::GilWait]);
    Ok(Verdict { present: true, sentence, cost_ns, evidence, exemplars, next_step: None })
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{SECOND, Scene};
    use crate::model::gil::Lock;
    use crate::phase::Phase;

    fn scene(wait_ns: u64) -> Scene {
        let mut scene =
            Scene::gunicorn("gthread", 4, 10 * SECOND).requests(100).phase(Phase::GilWait, 5 * SECOND);
        for (tgid, wait_ns) in [(11, SECOND), (12, wait_ns)] {
            let held_at_most_ns = Some(8 * SECOND);
            scene.0.gil.locks.push(Lock { tgid, wait_ns, held_at_most_ns, ..Lock::default() });
        }
        scene
    }

    #[test]
    fn a_process_in_which_several_threads_wait_at_any_moment_has_too_many() {
        let finding = scene(24 * SECOND).judge("gil-threads");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 24 * SECOND, "of that process alone");
        assert_eq!(
            finding.sentence,
            "On average 2.4 threads of process 12 waited for the GIL while one had it (24 request-seconds); all its threads \
             together ran or wanted to run 80 % of the time."
        );
        assert!(finding.advice.contains("--threads"), "{}", finding.advice);
    }

    #[test]
    fn a_lock_that_less_than_one_thread_waits_for_is_absent() {
        scene(9 * SECOND).judge("gil-threads").assert_absent();
    }
}
