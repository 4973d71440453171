//! Finding `loop-saturated`: an event loop was busy nearly all the time, and requests waited for it.
//!
//! In: busy time of event loops, the waiting phases of requests. Out: a verdict whose cost is the time that
//! requests waited for the loop.

use super::basis::{Basis, Outcome, Verdict, decides, explains, sum};
use super::loop_blocked::{busy_share, share_in_words};
use super::words::{count, duration, request_seconds};
use super::{Judge, Rule};
use crate::phase::Phase;
use crate::server::advice::{Sizes, act};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "loop-saturated",
    title: "an event loop has no time left",
    question: "an event loop has no time left",
    page: include_str!("../../../../docs/findings/loop-saturated.md"),
    advice: || {
        act("run more processes while cores are free")
            .more(Sizes::Processes)
            .because("an event loop uses one core at most")
            .into()
    },
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_requests()?;
    let limits = basis.thresholds;
    let loops = &basis.snapshot.event_loops;
    let Some(busiest) = loops.iter().max_by(|one, other| busy_share(one).total_cmp(&busy_share(other)))
    else {
        let sentence = "No thread was seen to serve many requests at once: there is no event loop to fill";
        return Ok(Verdict { sentence: sentence.to_owned(), ..Verdict::default() });
    };
    // Where threads of a pool serve, a wait for one of them is no wait for the loop.
    let has_pool = !basis.snapshot.slots.are_loops() || loops.iter().any(|one| one.pooled > 0);
    let phases: &[Phase] = if has_pool {
        &[Phase::LoopWait, Phase::AcceptQueue]
    } else {
        &[Phase::LoopWait, Phase::AcceptQueue, Phase::PoolWait]
    };
    let waited_ns = sum(basis.phases(), phases);
    let share = busy_share(busiest);
    let full = loops.iter().filter(|one| busy_share(one) >= limits.full_min_ratio).count();
    let evidence = vec![
        decides("loop_busy_ratio", share, limits.full_min_ratio),
        decides("requests_waited_seconds_per_second", basis.rate(waited_ns), limits.cost_min_rate),
        explains("event_loops_count", loops.len() as f64),
        explains("event_loops_full_count", full as f64),
        explains("requests_waited_seconds", waited_ns as f64 / 1e9),
    ];
    let busy = share_in_words(busiest);
    if full == 0 || basis.rate(waited_ns) < limits.cost_min_rate {
        let sentence = match loops.len() {
            1 => format!("The event loop was busy for {busy} of the time"),
            number => {
                format!("The busiest of {} event loops was busy for {busy} of the time", count(number as u64))
            }
        };
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let each = duration(waited_ns.checked_div(basis.request_count()).unwrap_or(0));
    let which = match (full, loops.len()) {
        (_, 1) => format!("The only event loop (pid {}) was busy for {busy} of the time", busiest.tgid),
        (full, number) => format!(
            "{} of {} event loops were busy for nearly all the time (pid {}: {busy})",
            count(full as u64),
            count(number as u64),
            busiest.tgid
        ),
    };
    let sentence = format!("{which}; requests waited {} for it ({each} each)", request_seconds(waited_ns));
    let exemplars = basis.exemplars(phases);
    Ok(Verdict { present: true, sentence, cost_ns: waited_ns, evidence, exemplars, ..Verdict::default() })
}

#[cfg(test)]
mod tests {
    use crate::fact::memory::ProcessMemory;
    use crate::finding::fixture::{SECOND, Scene};
    use crate::model::capacity::Worker;
    use crate::model::event_loop::EventLoop;
    use crate::phase::Phase;

    fn scene(busy_ns: u64, waited_ns: u64) -> Scene {
        let mut scene =
            Scene::gunicorn("gevent", 1, 10 * SECOND).requests(100).phase(Phase::LoopWait, waited_ns);
        scene.0.event_loops.push(EventLoop {
            tgid: 700,
            busy_ns,
            waiting_ns: 10 * SECOND - busy_ns,
            ..EventLoop::default()
        });
        scene
    }

    #[test]
    fn a_full_loop_for_which_requests_waited_is_present_and_costs_the_wait() {
        let finding = scene(96 * SECOND / 10, 20 * SECOND).judge("loop-saturated");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 20 * SECOND);
        assert_eq!(
            finding.sentence,
            "The only event loop (pid 700) was busy for 96 % of the time; requests waited 20 request-seconds for it \
             (200 ms each)."
        );
        assert!(finding.advice.contains("--workers"), "{}", finding.advice);
    }

    #[test]
    fn advice_for_more_processes_says_what_each_takes_where_that_was_measured() {
        let mut scene = scene(96 * SECOND / 10, 20 * SECOND);
        assert!(!scene.clone().judge("loop-saturated").advice.contains("memory"));
        let memory = ProcessMemory { proportional_bytes: Some(31_400_000), ..ProcessMemory::default() };
        scene.0.capacity.workers.push(Worker { memory: Some(memory), ..Worker::default() });
        let advice = scene.judge("loop-saturated").advice;
        assert!(advice.ends_with("Each further process takes some 31 MB of memory (PSS)."), "{advice}");
    }

    #[test]
    fn a_loop_with_time_left_is_absent() {
        scene(5 * SECOND, 20 * SECOND).judge("loop-saturated").assert_absent();
    }

    #[test]
    fn waits_for_a_thread_of_the_pool_behind_a_full_loop_are_no_waits_for_the_loop() {
        let mut scene = scene(10 * SECOND, 20 * SECOND).phase(Phase::PoolWait, 30 * SECOND);
        scene.0.event_loops[0].pooled = 90;
        let finding = scene.judge("loop-saturated");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 20 * SECOND);
    }

    #[test]
    fn a_full_loop_for_which_nobody_waited_is_absent() {
        scene(10 * SECOND, SECOND / 10).judge("loop-saturated").assert_absent();
    }

    #[test]
    fn a_loop_has_no_slots_that_could_run_out() {
        let mut scene = scene(10 * SECOND, 0).phase(Phase::AcceptQueue, 20 * SECOND).exhausted(9 * SECOND);
        for slot in &mut scene.0.slots.observed {
            slot.is_loop = true;
        }
        let finding = scene.judge("slots-exhausted");
        finding.assert_absent();
        assert!(finding.sentence.contains("no slots"), "{}", finding.sentence);
    }
}
