//! Finding `gil-threads`: a process has more threads that want to run Python code than its interpreter, and
//! its share of CPU, can run.
//!
//! In: how many threads waited for one lock at a time. Out: a verdict whose cost is what requests waited for
//! such processes' locks, and where the interpreter is used up what requests waited in line for a thread of
//! it.

use super::basis::{Basis, Outcome, Verdict, decides, explains};
use super::cause::line_ns;
use super::full::{Full, full, where_cores_are_full};
use super::words::{factor, percent, ratio, request_seconds};
use super::{Judge, Rule, SENTENCE_MAX_CHARS, gil};
use crate::model::gil::Lock;
use crate::phase::Phase;
use crate::server::advice::{Sizes, act};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "gil-threads",
    title: "more threads want to run Python than one interpreter can run",
    question: "a process has too many threads for its interpreter",
    page: include_str!("../../../../docs/findings/gil-threads.md"),
    advice: || {
        act("use fewer threads in each process")
            .no_more(Sizes::Threads)
            .and(act("use more processes as far as there are cores").more(Sizes::Processes))
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
    let waiting = |lock: &Lock| gil::waiting(basis, lock);
    let worst = seen.locks.iter().max_by(|one, other| waiting(one).total_cmp(&waiting(other)));
    let most = worst.map_or(0.0, waiting);
    let crowded = |lock: &Lock| waiting(lock) >= limits.gil_waiting_min_count;
    // Threads wait for it beside requests, too.
    let of_requests_ns = basis.phases().get(Phase::GilWait);
    let cost_ns = gil::sum(seen, |lock| if crowded(lock) { lock.wait_ns } else { 0 }).min(of_requests_ns);
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
    // Another thread would not shorten the line for a thread: it is one for the lock.
    let line_ns = match full(basis) {
        Full::Interpreter(share) => (line_ns(basis) as f64 * share) as u64,
        _ => 0,
    };
    evidence.push(explains("requests_waited_behind_seconds", line_ns as f64 / 1e9));
    let behind = if basis.rate(line_ns) >= limits.cost_min_rate {
        format!(", and {} in line for a thread", request_seconds(line_ns))
    } else {
        String::new()
    };
    let mut sentence = format!(
        "On average {} threads of process {} waited for the GIL while one had it ({}{behind})",
        factor(most),
        worst.tgid,
        request_seconds(cost_ns),
    );
    let cost_ns = cost_ns.saturating_add(line_ns);
    if let Some(most_ns) = worst.held_at_most_ns {
        let share = ratio(most_ns, basis.load_ns());
        evidence.push(explains("gil_held_at_most_ratio", share));
        let ran = format!(
            "; all its threads together ran or wanted to run {} of the time",
            percent(share.min(1.0))
        );
        // Where there is no room, the evidence says it.
        if sentence.chars().count() + ran.chars().count() < SENTENCE_MAX_CHARS {
            sentence.push_str(&ran);
        }
    }
    let exemplars = basis.exemplars(&[Phase::GilWait]);
    let next_step = where_cores_are_full(basis);
    Ok(Verdict { present: true, sentence, cost_ns, evidence, exemplars, next_step, ..Verdict::default() })
}

#[cfg(test)]
mod tests {
    use crate::fact::InterpreterSeen;
    use crate::finding::Answer;
    use crate::finding::fixture::{SECOND, Scene};
    use crate::model::Process;
    use crate::model::gil::Lock;
    use crate::phase::Phase;

    fn scene(wait_ns: u64) -> Scene {
        let mut scene =
            Scene::gunicorn("gthread", 4, 10 * SECOND).requests(100).phase(Phase::GilWait, 25 * SECOND);
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

    /// All four threads of a process busy, and a line for them.
    fn in_line(held_at_most_ns: u64) -> Scene {
        let mut scene = scene(24 * SECOND).exhausted(9 * SECOND).phase(Phase::PoolWait, 60 * SECOND);
        scene.0.gil.locks[1].held_at_most_ns = Some(held_at_most_ns);
        for slot in &mut scene.0.slots.observed {
            slot.tgid = 12;
        }
        scene
    }

    #[test]
    fn a_line_for_threads_of_an_interpreter_that_is_used_up_is_one_for_the_interpreter() {
        let finding = in_line(10 * SECOND).judge("gil-threads");
        assert_eq!(finding.cost_ns, 84 * SECOND, "its waits, and the line");
        assert!(
            finding.sentence.contains("(24 request-seconds, and 60 request-seconds in line for a thread)"),
            "{}",
            finding.sentence
        );
        let slots = in_line(10 * SECOND).judge("slots-exhausted");
        assert!(slots.cost_ns < finding.cost_ns, "first comes what more threads would not change");
        assert!(slots.advice.contains("--workers"), "{}", slots.advice);
    }

    #[test]
    fn a_server_that_makes_threads_as_it_needs_them_has_no_line_for_them() {
        let mut scene = in_line(10 * SECOND);
        scene.0.slots.come_and_go = true;
        assert_eq!(scene.judge("gil-threads").cost_ns, 24 * SECOND, "its waits alone");
    }

    #[test]
    fn a_line_for_threads_of_an_interpreter_with_time_left_is_one_for_threads() {
        let finding = in_line(7 * SECOND).judge("gil-threads");
        assert_eq!(finding.cost_ns, 24 * SECOND);
        assert!(in_line(7 * SECOND).judge("slots-exhausted").cost_ns > finding.cost_ns);
    }

    #[test]
    fn of_several_processes_those_whose_interpreter_is_used_up_have_their_share_of_the_line() {
        let mut scene = in_line(10 * SECOND);
        scene.0.slots.observed[0].tgid = 99;
        assert_eq!(scene.judge("gil-threads").cost_ns, 24 * SECOND + 45 * SECOND);
    }

    #[test]
    fn what_was_not_measured_in_a_process_that_serves_is_not_ruled_out() {
        for id in ["gil-threads", "gil-convoy", "gil-not-released", "gil-contention"] {
            let mut scene = scene(0);
            let refused = Some("the version of the Python interpreter in python is not known".to_owned());
            scene.0.gil.interpreters.push(InterpreterSeen {
                tgid: 11,
                refused,
                ..InterpreterSeen::default()
            });
            for process in &mut scene.0.processes {
                process.requests = 0;
            }
            scene.0.processes.push(Process { tgid: 11, requests: 50, ..Process::default() });
            let finding = scene.judge(id);
            if id == "gil-contention" {
                // What was measured elsewhere is certain all the same.
                finding.assert_present();
                continue;
            }
            let Answer::Undecided { reason } = &finding.answer else { panic!("{id}: {finding:?}") };
            assert!(reason.contains("is not known"), "{id}: {reason}");
        }
    }

    #[test]
    fn threads_cost_requests_no_more_than_these_waited() {
        let mut scene = scene(24 * SECOND);
        let mut few =
            Scene::gunicorn("gthread", 4, 10 * SECOND).requests(100).phase(Phase::GilWait, 8 * SECOND);
        few.0.gil.locks = std::mem::take(&mut scene.0.gil.locks);
        assert_eq!(few.judge("gil-threads").cost_ns, 8 * SECOND, "the others waited beside requests");
    }

    #[test]
    fn a_lock_that_less_than_one_thread_waits_for_is_absent() {
        scene(9 * SECOND).judge("gil-threads").assert_absent();
    }
}
