//! Finding `imbalance`: connections go to a worker that is full while another has free slots.
//!
//! In: connections by process, slots by worker, the waits of requests. Out: a verdict whose cost is the time
//! requests waited. That connections spread unevenly is no harm by itself: an idle server gives them all to
//! whoever woke last.

use std::collections::BTreeMap;

use super::basis::{Basis, Outcome, Verdict, WAITING, decides, explains, waited_ns};
use super::words::{count, percent, ratio, request_seconds};
use super::{Judge, Rule};
use crate::model::Listener;
use crate::model::slot::Slot;
use crate::model::waiter::How;
use crate::server::advice::act;

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "imbalance",
    title: "connections wait behind a full worker while another has free slots",
    question: "connections went to full workers while others were free",
    page: include_str!("../../../../docs/findings/imbalance.md"),
    advice: || {
        act("let all workers share one listener (no SO_REUSEPORT)")
            .and(act("let each accept no more than it can serve"))
            .into()
    },
    judge: Judge::Measured(judge),
};

/// Connections of the address to which most came, by process.
struct Spread {
    processes: u64,
    connections: u64,
    most: u64,
    why: &'static str,
}

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    basis.require_slots()?;
    basis.require_requests()?;
    if basis.snapshot.slots.are_loops() || basis.snapshot.slots.come_and_go {
        let sentence = "No worker of this server has a number of slots that could be full".to_owned();
        return Ok(Verdict { sentence, ..Verdict::default() });
    }
    let limits = basis.thresholds;
    let Some(spread) = spread(&basis.snapshot.sockets.listeners).filter(|spread| spread.processes > 1) else {
        let sentence = "One process accepts all connections: there is nobody to share them with".to_owned();
        return Ok(Verdict { sentence, ..Verdict::default() });
    };
    let slots = &basis.snapshot.slots;
    let fullest_ns = slots.heat.iter().map(|row| row.exhausted_ns).max().unwrap_or(0);
    let beside_free = ratio(fullest_ns.saturating_sub(slots.exhausted_ns), basis.window_ns());
    let waited = waited_ns(basis.phases());
    let waited_share = ratio(waited, basis.phases().total_ns());
    let share = ratio(spread.most, spread.connections);
    // Who has ended has left its share to others: workers that follow one another share with none.
    let at_once = spread.processes.saturating_sub(ended(&slots.observed)).max(1);
    let times = share * at_once as f64;
    let evidence = vec![
        decides("connections_count", spread.connections as f64, limits.connections_min_count),
        decides("most_of_fair_share_times", times, limits.uneven_min_times),
        decides("full_beside_free_ratio", beside_free, limits.exhausted_window_min_ratio),
        decides("requests_waited_ratio", waited_share, limits.waited_request_min_ratio),
        decides("requests_waited_seconds_per_second", basis.rate(waited), limits.cost_min_rate),
        explains("processes_count", spread.processes as f64),
        explains("most_connections_count", spread.most as f64),
        explains("requests_waited_seconds", waited as f64 / 1e9),
    ];
    let spoken = format!(
        "One of {} processes took {} of {} connections",
        count(spread.processes),
        percent(share),
        count(spread.connections)
    );
    let is_uneven =
        spread.connections as f64 >= limits.connections_min_count && times >= limits.uneven_min_times;
    let is_felt =
        waited_share >= limits.waited_request_min_ratio && basis.rate(waited) >= limits.cost_min_rate;
    if is_uneven && is_felt && beside_free >= limits.exhausted_window_min_ratio {
        let sentence = format!(
            "{spoken}; a worker was full for {} of the window while others were not; requests waited {} ({})",
            percent(beside_free),
            request_seconds(waited),
            spread.why,
        );
        let exemplars = basis.exemplars(&WAITING);
        return Ok(Verdict {
            present: true,
            sentence,
            cost_ns: waited,
            evidence,
            exemplars,
            ..Verdict::default()
        });
    }
    let but = if is_uneven { ", but no request waited long for a full worker beside a free one" } else { "" };
    Ok(Verdict { sentence: format!("{spoken}{but}"), evidence, ..Verdict::default() })
}

/// Processes whose slots ended before the window did.
fn ended(slots: &[Slot]) -> u64 {
    let mut until: BTreeMap<u32, u64> = BTreeMap::new();
    for slot in slots {
        let last_ns = until.entry(slot.tgid).or_default();
        *last_ns = slot.until_ns.max(*last_ns);
    }
    let end_ns = until.values().copied().max().unwrap_or(0);
    until.values().filter(|until_ns| **until_ns < end_ns).count() as u64
}

/// Listeners on one address are a group: the kernel shares the connections out among them.
fn spread(listeners: &[Listener]) -> Option<Spread> {
    let group = |address: &str| {
        let members = || listeners.iter().filter(|listener| listener.seen.address == address);
        let counts = || members().flat_map(|listener| &listener.accepted_by).map(|(_, accepted)| *accepted);
        let is_group = members().count() > 1;
        let wakes_last = members().flat_map(|listener| &listener.waiters).any(|waiters| {
            matches!(waiters.how, How::Epoll { exclusive: true, .. } | How::Epoll { shared: true, .. })
        });
        Spread {
            processes: counts().count() as u64,
            connections: counts().sum(),
            most: counts().max().unwrap_or(0),
            why: match (is_group, wakes_last) {
                (true, _) => "a hash spreads them over the listeners",
                (false, true) => "who began to wait last is woken first",
                (false, false) => "who is first to accept gets one",
            },
        }
    };
    listeners.iter().map(|listener| group(&listener.seen.address)).max_by_key(|spread| spread.connections)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{SECOND, Scene};
    use crate::model::slot::{HeatRow, Slot};
    use crate::phase::Phase;

    /// Four sync workers over 10 s: what each accepted, and how long the first was full.
    fn scene(accepted: [u64; 4], full_seconds: u64, waited_seconds: u64) -> Scene {
        let mut scene = Scene::gunicorn("sync", 4, 10 * SECOND).requests(accepted.iter().sum());
        scene.0.sockets.listeners[0].accepted_by = (1..).zip(accepted).collect();
        scene.0.slots.heat = (1..=4)
            .map(|tgid| HeatRow {
                tgid,
                slots: 1,
                exhausted_ns: if tgid == 1 { full_seconds * SECOND } else { 0 },
                ..HeatRow::default()
            })
            .collect();
        scene.0.requests.phases.add(Phase::AcceptQueue, waited_seconds * SECOND);
        scene.0.requests.phases.add(Phase::Cpu, 10 * SECOND);
        scene
    }

    #[test]
    fn full_worker_that_takes_most_connections_beside_free_ones_is_an_imbalance() {
        let finding = scene([70, 10, 10, 10], 6, 20).judge("imbalance");
        finding.assert_present();
        assert_eq!(finding.cost_ns, 20 * SECOND);
        assert!(finding.sentence.contains("took 70 % of 100 connections"), "{}", finding.sentence);
        let mut all_full = scene([70, 10, 10, 10], 6, 20);
        all_full.0.slots.exhausted_ns = 6 * SECOND;
        all_full.judge("imbalance").assert_absent();
    }

    #[test]
    fn workers_that_follow_one_another_share_with_nobody() {
        let [stay, mut follow] = [0, 1].map(|_| scene([40, 20, 20, 20], 6, 20));
        stay.judge("imbalance").assert_present();
        let first = follow.0.slots.observed[0].clone();
        let slot = |(tgid, seconds)| Slot { tgid, until_ns: seconds * SECOND, ..first.clone() };
        follow.0.slots.observed = [(1, 4), (2, 6), (3, 8), (4, 10)].map(slot).to_vec();
        follow.judge("imbalance").assert_absent();
    }

    #[test]
    fn uneven_spread_without_harm_is_none() {
        scene([97, 1, 1, 1], 0, 0).judge("imbalance").assert_absent();
        scene([26, 25, 25, 24], 6, 20).judge("imbalance").assert_absent();
        scene([12, 0, 0, 0], 6, 20).judge("imbalance").assert_absent();
    }

    #[test]
    fn listeners_of_one_address_are_judged_as_a_group() {
        let mut scene = scene([70, 10, 10, 10], 6, 20);
        let first = scene.0.sockets.listeners[0].clone();
        scene.0.sockets.listeners = first
            .accepted_by
            .iter()
            .map(|&one| crate::model::Listener { accepted_by: vec![one], ..first.clone() })
            .collect();
        let finding = scene.judge("imbalance");
        finding.assert_present();
        assert!(finding.sentence.contains("hash"), "{}", finding.sentence);
    }

    #[test]
    fn one_process_has_nobody_to_share_with() {
        let mut scene = scene([70, 10, 10, 10], 6, 20);
        scene.0.sockets.listeners[0].accepted_by.truncate(1);
        scene.judge("imbalance").assert_absent();
    }
}
