//! Finding `slow-clients`: slots are held by clients that send or read slowly.
//!
//! In: slot-time by what held it. Out: a verdict whose cost is the slot-time in which clients stalled. Stalls
//! that hold no slot (a buffering server or front end) are no finding.

use super::basis::{Basis, Outcome, Verdict, decides, explains};
use super::cause::waited_behind_ns;
use super::words::{duration, percent, ratio};
use super::{Judge, Rule};
use crate::model::slot::Holding;
use crate::phase::Phase;
use crate::server::advice::act;

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "slow-clients",
    title: "workers or threads held by clients that send or read slowly",
    question: "slow clients held workers",
    page: include_str!("../../../../docs/findings/slow-clients.md"),
    advice: || act("put a proxy that buffers requests and responses in front of the server").into(),
    judge: Judge::Measured(judge),
};

/// Share of the cost below which one of the two kinds is not worth its own words.
const SMALL_PART: f64 = 0.05;

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_slots()?;
    let limits = basis.thresholds;
    let sending = basis.held_ns(Holding::ClientReadStall);
    let reading = basis.held_ns(Holding::ClientWriteStall);
    let cost_ns = sending.saturating_add(reading);
    let of_busy = ratio(cost_ns, basis.busy_ns());
    let of_capacity = ratio(cost_ns, basis.capacity_ns());
    let rate = basis.rate(cost_ns);
    let evidence = vec![
        decides("client_stall_busy_ratio", of_busy, limits.held_of_busy_min_ratio),
        decides("client_stall_capacity_ratio", of_capacity, limits.held_of_capacity_min_ratio),
        decides("client_stall_seconds_per_second", rate, limits.cost_min_rate),
        explains("client_read_stall_seconds", sending as f64 / 1e9),
        explains("client_write_stall_seconds", reading as f64 / 1e9),
    ];
    let present = of_busy >= limits.held_of_busy_min_ratio
        && of_capacity >= limits.held_of_capacity_min_ratio
        && rate >= limits.cost_min_rate;
    if !present {
        let sentence = format!("Slow clients held {} of busy time, too little to matter", percent(of_busy));
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let held = basis.slots_named(2);
    let (of_sending, of_reading) = (ratio(sending, cost_ns), ratio(reading, cost_ns));
    let sentence = if of_sending < SMALL_PART || of_reading < SMALL_PART {
        let how = if sending > reading { "send their requests" } else { "read their responses" };
        format!(
            "Clients that {how} slowly held {held} for {}, {} of the time they were busy",
            duration(cost_ns),
            percent(of_busy),
        )
    } else {
        format!(
            "Slow clients held {held} for {}, {} of the time they were busy: {} while sending requests, {} while reading \
             responses",
            duration(cost_ns),
            percent(of_busy),
            duration(sending),
            duration(reading),
        )
    };
    let behind_ns = waited_behind_ns(basis, cost_ns);
    let mut evidence = evidence;
    evidence.push(explains("requests_waited_behind_seconds", behind_ns as f64 / 1e9));
    let cost_ns = cost_ns.saturating_add(behind_ns);
    let exemplars = basis.exemplars(&[Phase::ClientReadStall, Phase::ClientWriteStall]);
    Ok(Verdict { present, sentence, cost_ns, evidence, exemplars, ..Verdict::default() })
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{SECOND, Scene};
    use crate::model::slot::Holding;
    use crate::phase::Phase;

    fn scene() -> Scene {
        Scene::gunicorn("gthread", 4, 10 * SECOND).requests(3).holding_request(5 * SECOND)
    }

    #[test]
    fn a_slow_upload_that_holds_a_slot_is_present_and_named_as_sending() {
        let finding = scene().holding(Holding::ClientReadStall, 6 * SECOND).judge("slow-clients");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 6 * SECOND);
        assert_eq!(
            finding.sentence,
            "Clients that send their requests slowly held gunicorn gthread threads for 6 s, \
             55 % of the time they were busy."
        );
    }

    #[test]
    fn a_slow_download_that_holds_a_slot_is_present_and_named_as_reading() {
        let finding = scene().holding(Holding::ClientWriteStall, 6 * SECOND).judge("slow-clients");
        finding.assert_present();
        assert!(finding.sentence.contains("read their responses slowly"), "{}", finding.sentence);
    }

    #[test]
    fn both_kinds_together_are_named_with_their_parts() {
        let finding = scene()
            .holding(Holding::ClientWriteStall, 3 * SECOND)
            .holding(Holding::ClientReadStall, 3 * SECOND)
            .judge("slow-clients");
        assert_eq!(
            finding.sentence,
            "Slow clients held gunicorn gthread threads for 6 s, 55 % of the time they were busy: 3 s while sending \
             requests, 3 s while reading responses."
        );
    }

    #[test]
    fn requests_that_waited_for_a_held_slot_add_to_the_cost() {
        let held = scene().holding(Holding::ClientReadStall, 5 * SECOND).phase(Phase::PoolWait, 8 * SECOND);
        assert_eq!(held.clone().judge("slow-clients").cost_ns, 5 * SECOND, "threads were free");
        // Half of the busy time.
        assert_eq!(held.exhausted(2 * SECOND).judge("slow-clients").cost_ns, 9 * SECOND);
    }

    #[test]
    fn stalls_of_requests_that_hold_no_slot_are_absent() {
        scene().phase(Phase::ClientWriteStall, 60 * SECOND).judge("slow-clients").assert_absent();
    }

    #[test]
    fn a_stall_that_costs_little_is_absent_however_idle_the_server_is() {
        Scene::gunicorn("gthread", 4, 10 * SECOND)
            .requests(3)
            .holding(Holding::ClientReadStall, SECOND / 2)
            .judge("slow-clients")
            .assert_absent();
    }

    #[test]
    fn a_short_window_is_undecided() {
        Scene::gunicorn("gthread", 4, SECOND / 2)
            .holding(Holding::ClientReadStall, SECOND / 4)
            .judge("slow-clients")
            .assert_undecided("window is 500 ms");
    }
}
