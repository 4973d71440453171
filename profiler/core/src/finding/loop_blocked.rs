//! Finding `loop-blocked`: one request kept an event loop for long in one go, and others that were ready
//! waited for it.
//!
//! In: what endpoints had of the iterations of event loops, and who arrived meanwhile. Out: a verdict whose
//! cost is the time for which arrivals waited; it names the endpoint that made others wait most.

use super::basis::{Basis, NextStep, Outcome, Undecided, Verdict, decides, explains};
use super::words::{count, duration, name, percent, ratio, request_seconds};
use super::{Judge, Rule, loop_line};
use crate::model::event_loop::{EventLoop, Holder};
use crate::phase::Phase;
use crate::server::advice::{Advice, act};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "loop-blocked",
    title: "a request blocked the event loop while others waited",
    question: "a request blocked the event loop",
    page: include_str!("../../../../docs/findings/loop-blocked.md"),
    advice: || {
        Advice::first(
            act("do not block on the event loop").because("use the loop's own (asynchronous) calls there"),
        )
        .then(act("move computing to a thread or another process"))
    },
    judge: Judge::Measured(judge),
};

/// Beyond this number a sentence counts no further.
const COUNTED_MAX: u64 = 9_999_999;

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    let loops = &basis.snapshot.event_loops;
    if loops.is_empty() {
        let sentence = "No thread was seen to serve many requests at once: there is no event loop to block";
        return Ok(Verdict { sentence: sentence.to_owned(), ..Verdict::default() });
    }
    let limits = basis.thresholds;
    let holders = || loops.iter().flat_map(|one| one.holders.iter().map(move |holder| (one, holder)));
    let blocks = |holder: &Holder| {
        holder.longest_ns as f64 / 1e6 >= limits.loop_held_min_milliseconds && !holder.path_shape.is_empty()
    };
    let longest_ns = holders().map(|(_, holder)| holder.longest_ns).max().unwrap_or(0);
    let lag_ns = loops.iter().map(|one| one.lag.max_ns()).max().unwrap_or(0);
    let mut evidence = vec![
        decides("loop_held_longest_milliseconds", longest_ns as f64 / 1e6, limits.loop_held_min_milliseconds),
        explains("loop_lag_longest_milliseconds", lag_ns as f64 / 1e6),
        explains("event_loops_count", loops.len() as f64),
    ];
    let worst = holders()
        .filter(|(_, holder)| blocks(holder) && holder.long.waited > 0)
        .max_by_key(|(_, holder)| (holder.long.waited_ns, holder.longest_ns));
    let Some((event_loop, worst)) = worst else {
        if basis.not_measured(Phase::AcceptQueue).is_some() && holders().any(|(_, holder)| blocks(holder)) {
            return Err(Undecided {
                reason: format!(
                    "a request kept the event loop for {}, but when others arrived is not measured",
                    duration(longest_ns)
                ),
                next_step: "Look at the endpoints that keep the event loop longest in this report.",
                evidence,
            });
        }
        let but = if holders().any(|(_, holder)| blocks(holder)) { ", but nobody waited for it" } else { "" };
        let sentence = format!("The event loop was kept for {} at most in one go{but}", duration(longest_ns));
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    };
    let all = || holders().filter(|(_, holder)| blocks(holder));
    let waited = all().fold(0u64, |sum, (_, holder)| sum.saturating_add(holder.long.waited));
    let cost_ns = all().fold(0u64, |sum, (_, holder)| sum.saturating_add(holder.long.waited_ns));
    let rate = basis.rate(cost_ns);
    evidence.push(decides("arrivals_waited_seconds_per_second", rate, limits.cost_min_rate));
    evidence.push(explains("arrivals_waited_count", waited as f64));
    evidence.push(explains("arrivals_waited_seconds", cost_ns as f64 / 1e9));
    evidence.push(explains("long_holds_count", worst.long.count as f64));
    evidence.push(explains("computing_ratio", computing(worst)));
    if rate < limits.cost_min_rate {
        let sentence = format!(
            "The event loop was kept for {} at most in one go; arrivals waited {} for it, too little to matter",
            duration(longest_ns),
            request_seconds(cost_ns)
        );
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let mut sentence = sentence(event_loop, worst);
    loop_line::add(&mut sentence, basis.snapshot, computing(worst) >= 0.5);
    Ok(Verdict {
        present: true,
        sentence,
        cost_ns,
        evidence,
        exemplars: all().filter_map(|(_, holder)| holder.longest_request).take(5).collect(),
        next_step: (computing(worst) >= 0.5).then_some(NextStep::For {
            case: "computing",
            otherwise: || {
                act("move the computation off the event loop")
                    .because("to a thread (it then shares the GIL), a process or a task queue")
                    .into()
            },
        }),
        ..Verdict::default()
    })
}

/// Share of long holds in which the loop's thread wanted a CPU; the rest it slept in a call.
fn computing(holder: &Holder) -> f64 {
    let phases = &holder.long.phases;
    let wanted_ns = [Phase::Cpu, Phase::RunQueue, Phase::GilWait]
        .iter()
        .fold(0u64, |sum, phase| sum.saturating_add(phases.get(*phase)));
    ratio(wanted_ns, phases.total_ns())
}

fn sentence(event_loop: &EventLoop, worst: &Holder) -> String {
    let what = if computing(worst) >= 0.5 { "computing" } else { blocked_in(worst) };
    let (method, path) = (name(&worst.method, 8), name(&worst.path_shape, 32));
    let times = match worst.long.count {
        1 => String::new(),
        number => format!(", {} times", count(number.min(COUNTED_MAX))),
    };
    let requests = if worst.long.waited == 1 { "arrival" } else { "arrivals" };
    format!(
        "{method} {path} kept the event loop of pid {} for up to {} in one go ({what}{times}); {} {requests} waited {}",
        event_loop.tgid,
        duration(worst.longest_ns),
        count(worst.long.waited.min(COUNTED_MAX)),
        request_seconds(worst.long.waited_ns),
    )
}

/// What the thread slept in while it should have turned to others.
fn blocked_in(holder: &Holder) -> &'static str {
    let kinds = [
        (Phase::Sleep, "asleep"),
        (Phase::BackendWait, "calling a back end"),
        (Phase::ChildWait, "waiting for a child"),
        (Phase::FileWait, "waiting for a file"),
        (Phase::LockWait, "waiting for a lock"),
        (Phase::FaultWait, "waiting for memory"),
    ];
    let most = kinds.into_iter().max_by_key(|(phase, _)| holder.long.phases.get(*phase));
    most.map_or("blocked", |(_, words)| words)
}

/// Share of the window for which the busiest event loop did not wait; see `loop-saturated`.
pub(super) fn busy_share(event_loop: &EventLoop) -> f64 {
    ratio(event_loop.busy_ns, event_loop.busy_ns.saturating_add(event_loop.waiting_ns))
}

/// A share in words.
pub(super) fn share_in_words(event_loop: &EventLoop) -> String {
    percent(busy_share(event_loop))
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{MILLISECOND, SECOND, Scene};
    use crate::model::event_loop::{EventLoop, Holder, LongHolds};
    use crate::phase::{Phase, Phases};

    fn scene(longest_ns: u64, waited: u64, phase: Phase) -> Scene {
        let mut scene = Scene::gunicorn("gevent", 1, 10 * SECOND).requests(100);
        let mut phases = Phases::default();
        phases.add(phase, longest_ns * 4);
        scene.0.event_loops.push(EventLoop {
            tgid: 700,
            tid: 700,
            busy_ns: SECOND,
            waiting_ns: 9 * SECOND,
            holders: vec![Holder {
                method: "GET".to_owned(),
                path_shape: "/report/{number}".to_owned(),
                longest_ns,
                longest_request: Some(17),
                long: LongHolds {
                    count: 4,
                    held_ns: longest_ns * 4,
                    phases,
                    waited,
                    waited_ns: waited * 20 * MILLISECOND,
                },
                ..Holder::default()
            }],
            ..EventLoop::default()
        });
        scene
    }

    #[test]
    fn a_blocking_call_for_which_others_waited_is_present_sized_and_named() {
        let finding = scene(50 * MILLISECOND, 120, Phase::Sleep).judge("loop-blocked");
        finding.assert_present();
        assert_eq!(
            finding.sentence,
            "GET /report/{number} kept the event loop of pid 700 for up to 50 ms in one go (asleep, 4 times); \
             120 arrivals waited 2.4 request-seconds."
        );
        assert_eq!(finding.cost_ns, 2400 * MILLISECOND);
        assert_eq!(finding.exemplars, [17]);
        assert!(finding.advice.contains("gevent"), "{}", finding.advice);
    }

    #[test]
    fn long_computing_is_distinguished_from_a_blocking_call() {
        let finding = scene(80 * MILLISECOND, 60, Phase::Cpu).judge("loop-blocked");
        finding.assert_present();
        assert!(finding.sentence.contains("(computing, 4 times)"), "{}", finding.sentence);
        assert!(finding.advice.contains("computation"), "{}", finding.advice);
    }

    #[test]
    fn a_long_hold_for_which_nobody_waited_is_absent() {
        let finding = scene(50 * MILLISECOND, 0, Phase::Sleep).judge("loop-blocked");
        finding.assert_absent();
        assert!(finding.sentence.contains("nobody waited"), "{}", finding.sentence);
        let blind = scene(50 * MILLISECOND, 0, Phase::Sleep).not_measured(Phase::AcceptQueue);
        blind.judge("loop-blocked").assert_undecided("when others arrived is not measured");
    }

    #[test]
    fn a_long_hold_for_which_few_waited_is_absent_and_says_how_little_it_cost() {
        let finding = scene(50 * MILLISECOND, 6, Phase::Cpu).judge("loop-blocked");
        finding.assert_absent();
        assert!(finding.sentence.contains("arrivals waited 0.12 request-seconds"), "{}", finding.sentence);
    }

    #[test]
    fn short_iterations_are_absent() {
        scene(12 * MILLISECOND, 40, Phase::Cpu).judge("loop-blocked").assert_absent();
    }

    #[test]
    fn a_server_without_an_event_loop_has_none_to_block() {
        let finding = Scene::gunicorn("sync", 2, 10 * SECOND).requests(100).judge("loop-blocked");
        finding.assert_absent();
        assert!(finding.sentence.contains("no event loop"), "{}", finding.sentence);
    }
}
