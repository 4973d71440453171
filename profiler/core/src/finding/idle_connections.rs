//! Finding `idle-connections`: slots are held by connections on which no request runs.
//!
//! In: slot-time by what held it, lingering of threads that accept. Out: a verdict that names the largest
//! kind: fresh connections without a byte, kept-alive ones between requests, finished ones waiting for the
//! client to close.

use super::basis::{Basis, NextStep, Outcome, Verdict, decides, explains, sum};
use super::cause::waited_behind_ns;
use super::words::{duration, percent, ratio, request_seconds};
use super::{Evidence, Judge, Rule};
use crate::model::slot::Holding;
use crate::phase::Phase;
use crate::server::advice::{Advice, Sizes, act, say};

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "idle-connections",
    title: "workers or threads held by connections without a request",
    question: "idle connections held workers",
    page: include_str!("../../../../docs/findings/idle-connections.md"),
    advice: || act("put a proxy in front that keeps idle connections away from the workers").into(),
    judge: Judge::Measured(judge),
};

/// When the threads that accept are held, the usual settings, which are about slots, do not help.
const ACCEPTOR_STEP: NextStep = NextStep::For {
    case: "acceptor",
    otherwise: || {
        Advice::first(act("put a proxy in front that closes finished connections at once"))
            .then(say("more threads do not help: the one that accepts is what waits").no_more(Sizes::Threads))
    },
};

/// The three kinds, with the words and the evidence of each.
const KINDS: [(Holding, &str, &str); 3] = [
    (Holding::FirstByte, "fresh connections that had sent nothing", "first_byte_seconds"),
    (Holding::KeepaliveIdle, "kept-alive connections between requests", "keepalive_idle_seconds"),
    (Holding::Linger, "finished connections that the client had not closed", "linger_seconds"),
];

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_slots()?;
    let (held, acceptors) = (held(basis), acceptors(basis));
    let present = held.present || acceptors.present;
    let evidence = [held.evidence, acceptors.evidence].concat();
    if !present {
        let sentence =
            format!("Idle connections held {} of busy time, too little to matter", percent(held.of_busy));
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    // What is not present on its own costs nothing.
    let cost = |part: bool, cost_ns: u64| if part { cost_ns } else { 0 };
    let held_ns = cost(held.present, held.cost_ns);
    let acceptors_ns = cost(acceptors.present, acceptors.cost_ns);
    let (sentence, next_step) = if held_ns >= acceptors_ns {
        let also = if acceptors.present { ALSO_ACCEPTORS } else { "" };
        (held.sentence + also, None)
    } else {
        (acceptors.sentence, Some(ACCEPTOR_STEP))
    };
    let cost_ns = held_ns.saturating_add(acceptors_ns);
    let exemplars = if acceptors.present { basis.exemplars(&BEFORE_HAND_OVER) } else { Vec::new() };
    Ok(Verdict { present, sentence, cost_ns, evidence, exemplars, next_step, ..Verdict::default() })
}

/// Where requests wait while the thread that accepts and hands them over does something else.
const BEFORE_HAND_OVER: [Phase; 2] = [Phase::AcceptQueue, Phase::LoopWait];

/// Said where the slots are the larger harm, and not the only one.
const ALSO_ACCEPTORS: &str = "; accepting threads wait for such clients, too";

/// One way in which idle connections do harm.
struct Harm {
    present: bool,
    cost_ns: u64,
    of_busy: f64,
    sentence: String,
    evidence: Vec<Evidence>,
}

/// Slots that they hold.
fn held(basis: &Basis<'_>) -> Harm {
    let limits = basis.thresholds;
    let cost_ns = KINDS.iter().fold(0u64, |sum, (kind, ..)| sum.saturating_add(basis.held_ns(*kind)));
    let of_busy = ratio(cost_ns, basis.busy_ns());
    let of_capacity = ratio(cost_ns, basis.capacity_ns());
    let rate = basis.rate(cost_ns);
    let mut evidence = vec![
        decides("idle_held_busy_ratio", of_busy, limits.held_of_busy_min_ratio),
        decides("idle_held_capacity_ratio", of_capacity, limits.held_of_capacity_min_ratio),
        decides("idle_held_seconds_per_second", rate, limits.cost_min_rate),
    ];
    for (kind, _, name) in KINDS {
        evidence.push(explains(name, basis.held_ns(kind) as f64 / 1e9));
    }
    let present = of_busy >= limits.held_of_busy_min_ratio
        && of_capacity >= limits.held_of_capacity_min_ratio
        && rate >= limits.cost_min_rate;
    let (mut largest_ns, mut what) = (0, "");
    for (kind, words, _) in KINDS {
        if basis.held_ns(kind) > largest_ns {
            (largest_ns, what) = (basis.held_ns(kind), words);
        }
    }
    let sentence = format!(
        "Connections without a request held {} for {} ({} of busy time), {} of it {what}",
        basis.slots_named(2),
        duration(cost_ns),
        percent(of_busy),
        percent(ratio(largest_ns, cost_ns)),
    );
    let behind_ns = waited_behind_ns(basis, cost_ns);
    evidence.push(explains("requests_waited_behind_seconds", behind_ns as f64 / 1e9));
    Harm { present, cost_ns: cost_ns.saturating_add(behind_ns), of_busy, sentence, evidence }
}

/// Threads that accept for others, and cannot while they wait for a client to close.
fn acceptors(basis: &Basis<'_>) -> Harm {
    let limits = basis.thresholds;
    let lingered_ns = basis.snapshot.slots.acceptor_linger_ns;
    let serving = basis.snapshot.processes.iter().filter(|process| process.requests > 0).count().max(1);
    let share = ratio(lingered_ns, basis.window_ns().saturating_mul(serving as u64));
    // Requests in flight can wait at once, but none longer than the acceptors lingered.
    let in_flight = u64::from(basis.snapshot.requests.peak_in_flight.max(1));
    let waited_ns = sum(basis.phases(), &BEFORE_HAND_OVER).min(lingered_ns.saturating_mul(in_flight));
    let evidence = vec![
        decides("acceptor_linger_window_ratio", share, limits.acceptor_linger_min_ratio),
        explains("acceptor_linger_seconds", lingered_ns as f64 / 1e9),
        explains("requests_waited_meanwhile_seconds", waited_ns as f64 / 1e9),
    ];
    let label = basis.server_label();
    let server = if label.is_empty() { "The server" } else { label.as_str() };
    let sentence = format!(
        "{server} accepted nothing for {} ({} of each worker's window) waiting for clients to close finished \
         connections; requests waited {} meanwhile",
        duration(lingered_ns),
        percent(share),
        request_seconds(waited_ns),
    );
    let present =
        share >= limits.acceptor_linger_min_ratio && basis.rate(lingered_ns) >= limits.cost_min_rate;
    // What the acceptor does not do is lost to everybody; what requests waited may be more.
    Harm { present, cost_ns: lingered_ns.max(waited_ns), of_busy: 0.0, sentence, evidence }
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{SECOND, Scene};
    use crate::model::slot::Holding;
    use crate::phase::Phase;

    fn scene() -> Scene {
        Scene::gunicorn("sync", 2, 10 * SECOND).holding_request(SECOND)
    }

    #[test]
    fn a_lingering_close_is_present_and_named_even_with_hardly_a_request() {
        let finding = scene().requests(2).holding(Holding::Linger, 4 * SECOND).judge("idle-connections");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 4 * SECOND);
        assert_eq!(
            finding.sentence,
            "Connections without a request held gunicorn sync workers for 4 s (80 % of busy time), \
             100 % of it finished connections that the client had not closed."
        );
    }

    #[test]
    fn a_fresh_connection_without_a_byte_is_present_and_named() {
        let finding = scene().holding(Holding::FirstByte, 5 * SECOND).judge("idle-connections");
        finding.assert_present();
        assert!(finding.sentence.contains("had sent nothing"), "{}", finding.sentence);
    }

    #[test]
    fn an_idle_kept_alive_connection_is_present_and_named() {
        let finding = scene()
            .holding(Holding::KeepaliveIdle, 5 * SECOND)
            .holding(Holding::Linger, SECOND)
            .judge("idle-connections");
        finding.assert_present();
        assert!(finding.sentence.contains("kept-alive"), "{}", finding.sentence);
        let idle = finding.evidence.iter().find(|e| e.name == "keepalive_idle_seconds");
        assert_eq!(idle.map(|e| e.value), Some(5.0));
    }

    #[test]
    fn an_acceptor_that_lingers_is_present_although_it_holds_no_slot() {
        let mut scene =
            Scene::gunicorn("gthread", 4, 10 * SECOND).holding_request(SECOND).process(4, SECOND, 0);
        scene.0.slots.acceptor_linger_ns = 4 * SECOND;
        let finding = scene.clone().judge("idle-connections");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 4 * SECOND);
        assert_eq!(
            finding.sentence,
            "gunicorn gthread accepted nothing for 4 s (40 % of each worker's window) waiting for clients to close \
             finished connections; requests waited 0 request-seconds meanwhile."
        );
        assert!(finding.advice.contains("More threads do not help"), "{}", finding.advice);
        scene.0.requests.peak_in_flight = 3;
        let queue = scene.clone().phase(Phase::AcceptQueue, 9 * SECOND);
        assert_eq!(queue.judge("idle-connections").cost_ns, 9 * SECOND);
        let more_than_it_can_be = scene.clone().phase(Phase::LoopWait, 90 * SECOND);
        assert_eq!(more_than_it_can_be.judge("idle-connections").cost_ns, 12 * SECOND);
        scene.0.slots.acceptor_linger_ns = SECOND / 2;
        scene.judge("idle-connections").assert_absent();
    }

    #[test]
    fn slots_held_by_work_alone_are_absent() {
        scene().judge("idle-connections").assert_absent();
    }

    #[test]
    fn heavy_losses_are_undecided() {
        scene()
            .holding(Holding::Linger, 4 * SECOND)
            .lost(300, 700)
            .judge("idle-connections")
            .assert_undecided("30 % of the records were lost");
    }
}
