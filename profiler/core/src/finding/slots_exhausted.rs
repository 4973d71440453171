//! Finding `slots-exhausted`: all slots were busy at once, and requests waited for one.
//!
//! In: slots, the waiting phases of requests. Out: a verdict whose cost is the time spent waiting. It does not say
//! why the slots were busy, only what held them; other rules do.

use super::basis::{Basis, Outcome, Undecided, Verdict, WAITING, decides, explains, waited_ns};
use super::words::{count, duration, percent, ratio, request_seconds};
use super::{Judge, Rule};
use crate::model::slot::Holding;
use crate::phase::Phase;

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "slots-exhausted",
    title: "all workers or threads busy while requests wait",
    question: "requests waited for a free worker",
    page: include_str!("../../../../docs/findings/slots-exhausted.md"),
    advice: "Add workers or threads, or shorten what holds them.",
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_slots()?;
    basis.require_requests()?;
    let slots = &basis.snapshot.slots;
    let limits = basis.thresholds;
    let exhausted = ratio(slots.exhausted_ns, basis.window_ns());
    let waited = waited_ns(basis.phases());
    let waited_share = ratio(waited, basis.phases().total_ns());
    let (holder, held_share) = largest_holding(basis);
    let mut evidence = vec![
        decides("slots_exhausted_ratio", exhausted, limits.exhausted_window_min_ratio),
        decides("requests_waited_ratio", waited_share, limits.waited_request_min_ratio),
        decides("requests_waited_seconds_per_second", basis.rate(waited), limits.cost_min_rate),
        explains("requests_waited_seconds", waited as f64 / 1e9),
        explains("slots_count", f64::from(slots.count())),
        explains("slots_peak_busy", f64::from(slots.peak_busy)),
    ];
    for holding in Holding::ALL {
        let share = ratio(basis.held_ns(holding), basis.busy_ns());
        if share > 0.0 {
            evidence.push(explains(evidence_name(holding), share));
        }
    }
    let number = u64::from(slots.count());
    let subject = match number {
        0 | 1 => format!("The only {}", basis.slots_named(1)),
        _ => format!("All {} {}", count(number), basis.slots_named(number)),
    };
    let busy = if number > 1 { "were busy at once" } else { "was busy" };
    let exhausted_text = format!("{subject} {busy} for {} of the window", percent(exhausted));
    let felt = waited_share >= limits.waited_request_min_ratio && basis.rate(waited) >= limits.cost_min_rate;
    if exhausted < limits.exhausted_window_min_ratio {
        let but = if felt { "; requests waited, but not for lack of one" } else { ", too little to matter" };
        let sentence = format!("{exhausted_text}{but}");
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    if felt {
        let each = waited.checked_div(basis.request_count()).unwrap_or(0);
        let sentence = format!(
            "{exhausted_text}; requests waited {} ({} each), mostly behind {holder} ({})",
            request_seconds(waited),
            duration(each),
            percent(held_share),
        );
        let exemplars = basis.exemplars(&WAITING);
        return Ok(Verdict {
            present: true,
            sentence,
            cost_ns: waited,
            evidence,
            exemplars,
            next_step: None,
        });
    }
    if basis.not_measured(Phase::AcceptQueue).is_some() {
        // Where workers accept for themselves, waiting requests stay in the kernel's queue.
        return Err(Undecided {
            reason: format!(
                "all of them were busy for {} of the window, but waiting in the accept queue is not measured",
                percent(exhausted)
            ),
            next_step: "Look at the listener's queue (ss -ltn, column Recv-Q) while the server is busy.",
            evidence,
        });
    }
    let sentence =
        format!("{exhausted_text}, but requests waited only {} of their time", percent(waited_share));
    Ok(Verdict { sentence, evidence, ..Verdict::default() })
}

/// What held the largest part of busy slot-time, in words, with its share.
fn largest_holding(basis: &Basis<'_>) -> (&'static str, f64) {
    // Of equals the last wins, and requests come first in the list; so look from the end.
    let largest = Holding::ALL.into_iter().rev().max_by_key(|holding| basis.held_ns(*holding));
    let holding = largest.unwrap_or(Holding::Request);
    (in_words(holding), ratio(basis.held_ns(holding), basis.busy_ns()))
}

const fn in_words(holding: Holding) -> &'static str {
    match holding {
        Holding::Request => "requests being served",
        Holding::ClientReadStall => "clients that send slowly",
        Holding::ClientWriteStall => "clients that read slowly",
        Holding::FirstByte => "silent connections",
        Holding::KeepaliveIdle => "idle kept-alive connections",
        Holding::Linger => "clients that do not close",
        Holding::Housekeeping => "the server's own work",
    }
}

const fn evidence_name(holding: Holding) -> &'static str {
    match holding {
        Holding::Request => "held_by_request_ratio",
        Holding::ClientReadStall => "held_by_client_read_stall_ratio",
        Holding::ClientWriteStall => "held_by_client_write_stall_ratio",
        Holding::FirstByte => "held_by_first_byte_ratio",
        Holding::KeepaliveIdle => "held_by_keepalive_idle_ratio",
        Holding::Linger => "held_by_linger_ratio",
        Holding::Housekeeping => "held_by_housekeeping_ratio",
    }
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{SECOND, Scene};
    use crate::phase::Phase;

    fn exhausted() -> Scene {
        Scene::gunicorn("sync", 4, 10 * SECOND)
            .requests(100)
            .phase(Phase::Cpu, 20 * SECOND)
            .holding_request(20 * SECOND)
            .exhausted(38 * SECOND / 10)
    }

    #[test]
    fn busy_slots_with_waiting_requests_are_present_and_cost_the_wait() {
        let finding = exhausted().phase(Phase::PoolWait, 12 * SECOND).judge("slots-exhausted");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 12 * SECOND);
        assert_eq!(
            finding.sentence,
            "All 4 gunicorn sync workers were busy at once for 38 % of the window; requests waited \
             12 request-seconds (120 ms each), mostly behind requests being served (100 %)."
        );
    }

    #[test]
    fn time_in_the_accept_queue_counts_as_waiting() {
        exhausted().phase(Phase::AcceptQueue, 12 * SECOND).judge("slots-exhausted").assert_present();
    }

    #[test]
    fn busy_slots_without_waiting_requests_are_absent() {
        exhausted().judge("slots-exhausted").assert_absent();
    }

    #[test]
    fn waiting_while_slots_are_free_is_absent() {
        let finding = exhausted().exhausted(0).phase(Phase::PoolWait, 12 * SECOND).judge("slots-exhausted");
        finding.assert_absent();
        assert!(finding.sentence.contains("not for lack of one"), "{}", finding.sentence);
    }

    #[test]
    fn a_wait_that_costs_next_to_nothing_is_absent() {
        Scene::gunicorn("gthread", 4, 10 * SECOND)
            .requests(100)
            .phase(Phase::Cpu, SECOND)
            .phase(Phase::PoolWait, SECOND / 2)
            .exhausted(2 * SECOND)
            .holding_request(SECOND)
            .judge("slots-exhausted")
            .assert_absent();
    }

    #[test]
    fn busy_slots_with_an_unmeasured_accept_queue_are_undecided() {
        exhausted()
            .not_measured(Phase::AcceptQueue)
            .judge("slots-exhausted")
            .assert_undecided("accept queue is not measured");
    }

    #[test]
    fn a_measured_wait_decides_although_the_accept_queue_is_not_measured() {
        exhausted()
            .not_measured(Phase::AcceptQueue)
            .phase(Phase::PoolWait, 12 * SECOND)
            .judge("slots-exhausted")
            .assert_present();
    }

    #[test]
    fn without_slots_nothing_is_said() {
        Scene::empty(10 * SECOND).judge("slots-exhausted").assert_undecided("no worker or thread");
    }

    #[test]
    fn what_held_the_slots_is_named() {
        let finding = exhausted()
            .phase(Phase::PoolWait, 12 * SECOND)
            .holding(crate::model::slot::Holding::Linger, 70 * SECOND)
            .judge("slots-exhausted");
        assert!(finding.sentence.contains("clients that do not close"), "{}", finding.sentence);
    }
}
