//! Finding `accept-queue`: requests waited in an accept queue while slots were free to serve them.
//!
//! In: the phase `accept_queue`, time with all slots busy, time that accepting threads waited for clients to
//! close, depth of the queues. Out: a verdict whose cost is the part of the wait that neither can explain.

use super::basis::{Basis, NextStep, Outcome, Undecided, Verdict, decides, explains};
use super::words::{count, duration, percent, ratio, request_seconds};
use super::{Judge, Rule};
use crate::model::queue::Queue;
use crate::phase::Phase;
use crate::server::advice::{Advice, act, say};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "accept-queue",
    title: "requests wait to be accepted although workers are free",
    question: "requests waited to be accepted although workers were free",
    page: include_str!("../../../../docs/findings/accept-queue.md"),
    advice: || {
        Advice::first(act("see on the timeline what the threads that accept did meanwhile"))
            .then(act("let them do nothing else").or(act("let more of them accept")))
            .then(say("where each worker has a listener of its own, a busy one keeps its queue while others are idle"))
    },
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_requests()?;
    let limits = basis.thresholds;
    let snapshot = basis.snapshot;
    if snapshot.slots.are_loops() {
        let sentence =
            "An event loop accepts between iterations; loop-blocked and loop-saturated judge that".to_owned();
        return Ok(Verdict { sentence, ..Verdict::default() });
    }
    if let Some(reason) = basis.not_measured(Phase::AcceptQueue) {
        return Err(Undecided {
            reason: reason.to_owned(),
            next_step: "Look at Recv-Q in ss -lnt while it happens.",
            evidence: Vec::new(),
        });
    }
    let waited_ns = basis.phases().get(Phase::AcceptQueue);
    let total_ns = basis.phases().total_ns();
    let share = ratio(waited_ns, total_ns);
    let mut evidence = vec![explains("accept_queue_ratio", share)];
    let felt = |wait_ns: u64| {
        ratio(wait_ns, total_ns) >= limits.waited_request_min_ratio
            && basis.rate(wait_ns) >= limits.cost_min_rate
    };
    if !felt(waited_ns) {
        if let Some(standing) = standing(basis) {
            return Ok(standing);
        }
        let sentence = format!(
            "Requests spent {} in accept queues, {} of their time",
            duration(waited_ns),
            percent(share)
        );
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let deepest = snapshot
        .sockets
        .listeners
        .iter()
        .filter_map(|listener| listener.queue.as_ref())
        .map(Queue::deepest)
        .max();
    let Some(deepest) = deepest else {
        return Err(Undecided {
            reason: "the accept queues were not read".to_owned(),
            next_step: "Watch again as root; ss -lnt shows each queue (Recv-Q) and its limit (Send-Q).",
            evidence,
        });
    };
    let exhausted_ns = snapshot.slots.exhausted_ns;
    let free_ns = waited_ns.saturating_sub(explained_ns(basis, deepest));
    evidence.extend([
        decides("accept_queue_while_free_ratio", ratio(free_ns, total_ns), limits.waited_request_min_ratio),
        explains("slots_exhausted_ratio", ratio(exhausted_ns, basis.window_ns())),
        explains("acceptor_linger_seconds", snapshot.slots.acceptor_linger_ns as f64 / 1e9),
        explains("queue_deepest_count", f64::from(deepest)),
    ]);
    if !felt(free_ns) {
        let lingered = snapshot.slots.acceptor_linger_ns > 0;
        let sentence = format!(
            "Requests spent {} in accept queues, as far as can be told while every slot was busy{}",
            request_seconds(waited_ns),
            if lingered { ", or threads that accept waited for clients to close" } else { "" },
        );
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let sentence = format!(
        "Requests spent {} in accept queues ({} of their time), at least {} while slots were free: the accepting threads were \
         busy with something else",
        request_seconds(waited_ns),
        percent(share),
        duration(free_ns)
    );
    Ok(Verdict { present: true, sentence, cost_ns: free_ns, evidence, ..Verdict::default() })
}

/// At most how long connections can have stood in queues for a reason that other findings tell. That is while
/// all slots were busy (`slots-exhausted`), or a thread that accepts waited for a client to close
/// (`idle-connections`). No more than the deepest queue held can have waited at once.
fn explained_ns(basis: &Basis<'_>, deepest: u32) -> u64 {
    let slots = &basis.snapshot.slots;
    // Where workers came or went, all that were there may have been busy as long as any of them was.
    let follow = slots.observed.len() as u64 > u64::from(slots.most_at_once());
    let any_ns = slots.heat.iter().fold(0_u64, |sum, row| sum.saturating_add(row.exhausted_ns));
    let exhausted_ns = if follow { any_ns.min(basis.window_ns()) } else { slots.exhausted_ns };
    exhausted_ns.saturating_add(slots.acceptor_linger_ns).saturating_mul(u64::from(deepest))
}

/// Connections that stand in the queue and are not accepted at all: no request of theirs is seen that could
/// tell of its wait.
fn standing(basis: &Basis<'_>) -> Option<Verdict> {
    let (limits, snapshot) = (basis.thresholds, basis.snapshot);
    let queues = || {
        snapshot.sockets.listeners.iter().filter_map(|listener| Some((listener, listener.queue.as_ref()?)))
    };
    let (worst, queue) = queues().max_by_key(|(_, queue)| queue.over_time.sum())?;
    let stood_ns = queues().fold(0u64, |sum, (_, queue)| sum.saturating_add(queue.over_time.sum()));
    let free_ns = stood_ns.saturating_sub(explained_ns(basis, queue.deepest()));
    let share = ratio(free_ns, free_ns.saturating_add(basis.phases().total_ns()));
    if snapshot.slots.observed.is_empty()
        || share < limits.waited_request_min_ratio
        || basis.rate(free_ns) < limits.cost_min_rate
        || queue.over_time.quantile(0.5) == 0
    {
        return None;
    }
    let evidence = vec![
        decides("accept_queue_while_free_ratio", share, limits.waited_request_min_ratio),
        decides("requests_waited_seconds_per_second", basis.rate(free_ns), limits.cost_min_rate),
        explains("queue_median_count", f64::from(queue.over_time.quantile(0.5))),
        explains("queue_deepest_count", f64::from(queue.deepest())),
        explains("accepted_count", worst.accepted as f64),
    ];
    let sentence = format!(
        "{} connections stood in an accept queue half of the time while slots were free ({} were accepted): the server takes no \
         more of them, or the threads that accept were busy",
        count(u64::from(queue.over_time.quantile(0.5))),
        count(worst.accepted)
    );
    let next_step = Some(NextStep::For {
        case: "standing",
        otherwise: || {
            act("see whether the server has a limit of connections, and whether idle kept-alive ones fill it")
                .into()
        },
    });
    Some(Verdict { present: true, sentence, cost_ns: free_ns, evidence, next_step, ..Verdict::default() })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{SECOND, Scene};
    use super::*;
    use crate::model::queue::Depths;
    use crate::model::slot::{HeatRow, Slot};

    fn scene(waited_ns: u64, exhausted_ns: u64, deepest: u32) -> Scene {
        let mut scene = Scene::gunicorn("sync", 4, 10 * SECOND)
            .requests(1_000)
            .phase(Phase::Cpu, 10 * SECOND)
            .phase(Phase::AcceptQueue, waited_ns)
            .exhausted(exhausted_ns);
        let mut at_arrival = Depths::default();
        at_arrival.add(deepest, 1_000);
        scene.0.sockets.listeners[0].queue = Some(Queue { at_arrival, ..Queue::default() });
        scene
    }

    #[test]
    fn waits_that_busy_slots_cannot_explain_are_present_with_that_part_as_cost() {
        let finding = scene(8 * SECOND, SECOND, 3).judge(RULE.id);
        finding.assert_present();
        assert_eq!(finding.cost_ns, 5 * SECOND, "{finding:?}");
    }

    #[test]
    fn waits_while_all_slots_were_busy_or_that_nobody_feels_are_absent() {
        scene(8 * SECOND, 3 * SECOND, 3).judge(RULE.id).assert_absent();
        scene(SECOND / 100, 0, 3).judge(RULE.id).assert_absent();
    }

    #[test]
    fn waits_while_acceptors_waited_for_clients_to_close_are_left_to_that_finding() {
        let lingered = |lingered_ns| {
            let mut scene = scene(8 * SECOND, SECOND, 3);
            scene.0.slots.acceptor_linger_ns = lingered_ns;
            scene.judge(RULE.id)
        };
        let finding = lingered(2 * SECOND);
        finding.assert_absent();
        assert!(finding.sentence.contains("threads that accept waited for clients to close"), "{finding:?}");
        assert_eq!(lingered(SECOND).cost_ns, 2 * SECOND);
    }

    #[test]
    fn waits_while_the_only_worker_that_ran_was_full_are_not_said_to_meet_free_slots() {
        let mut scene = scene(8 * SECOND, 0, 3);
        let first = scene.0.slots.observed[0].clone();
        // One ends where the next begins; each is full for half of its life.
        let halves: [(u32, u64, u64); 2] = [(1, 0, 5), (2, 5, 10)];
        let slot =
            |(tgid, from, to)| Slot { tgid, since_ns: from * SECOND, until_ns: to * SECOND, ..first.clone() };
        scene.0.slots.observed = halves.map(slot).to_vec();
        let row =
            |(tgid, _, _)| HeatRow { tgid, slots: 1, exhausted_ns: 5 * SECOND / 2, busy_ns: Vec::new() };
        scene.0.slots.heat = halves.map(row).to_vec();
        scene.judge(RULE.id).assert_absent();
    }

    #[test]
    fn connections_that_nobody_accepts_although_slots_are_free_are_present() {
        let standing = |depth: u32, exhausted_ns| {
            let mut scene = scene(0, exhausted_ns, 0);
            let mut over_time = Depths::default();
            over_time.add(depth, 10 * SECOND);
            scene.0.sockets.listeners[0].queue = Some(Queue { over_time, ..Queue::default() });
            scene.judge(RULE.id)
        };
        let finding = standing(200, 0);
        finding.assert_present();
        assert_eq!(finding.cost_ns, 2_000 * SECOND);
        assert!(
            finding.sentence.starts_with("200 connections stood in an accept queue"),
            "{}",
            finding.sentence
        );
        standing(0, 0).assert_absent();
        // All slots busy all the time: they wait for one.
        standing(200, 10 * SECOND).assert_absent();
    }

    #[test]
    fn waits_with_queues_of_unknown_depth_are_undecided() {
        let mut scene = scene(8 * SECOND, SECOND, 3);
        scene.0.sockets.listeners[0].queue = None;
        scene.judge(RULE.id).assert_undecided("not read");
    }
}
