//! Finding `idle-connections`: slots are held by connections on which no request runs.
//!
//! In: slot-time by what held it. Out: a verdict that names which of the three kinds: fresh connections without a
//! byte, kept-alive connections between requests, finished ones waiting for the client to close.

use super::basis::{Basis, Outcome, Verdict, decides, explains};
use super::words::{percent, ratio};
use super::{Judge, Rule, words};
use crate::model::slot::Holding;

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "idle-connections",
    title: "workers or threads held by connections without a request",
    question: "idle connections held workers",
    page: include_str!("../../../../docs/findings/idle-connections.md"),
    advice: "Put a proxy in front that keeps idle connections away from the workers.",
    judge: Judge::Measured(judge),
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
    if !present {
        let sentence =
            format!("Idle connections held {} of busy time, too little to matter", percent(of_busy));
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let largest = KINDS.into_iter().rev().max_by_key(|(kind, ..)| basis.held_ns(*kind));
    let (kind, what, _) = largest.unwrap_or(KINDS[0]);
    let sentence = format!(
        "Connections without a request held {} for {} ({} of busy time), {} of it {what}",
        basis.slots_named(2),
        words::duration(cost_ns),
        percent(of_busy),
        percent(ratio(basis.held_ns(kind), cost_ns)),
    );
    Ok(Verdict { present, sentence, cost_ns, evidence, exemplars: Vec::new(), next_step: None })
}

#[cfg(test)]
mod tests {
    use crate::finding::fixture::{SECOND, Scene};
    use crate::model::slot::Holding;

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
