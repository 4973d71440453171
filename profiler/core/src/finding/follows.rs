//! Which finding follows from another, so that a report can begin with the cause.
//!
//! In: a [`Basis`], all findings of the window. Out: [`Follows`] in each that is present and that another one
//! accounts for by measured time. Two that no number connects stand side by side.

use std::cmp::Reverse;

use super::basis::Basis;
use super::cause::{Cause, CpuShort, MOSTLY, cpu_short, holder, run_queue_by_quota_ns};
use super::words::ratio;
use super::{Answer, Finding, is_request_time};
use crate::model::gil::{Contender, Edge};
use crate::phase::Phase;
use crate::server::site::Site;

/// Where a finding comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Follows {
    /// Id of the finding that is its cause.
    pub from: &'static str,
    /// How much of it that cause accounts for, from 0 to 1.
    pub share: f64,
}

/// How far causes are followed. No chain is longer than three.
const MAX_DEPTH: usize = 8;

/// Says of each finding that is present from which other one it follows.
pub(super) fn find(basis: &Basis<'_>, findings: &mut [Finding]) {
    let present: Vec<(&'static str, u64)> = findings
        .iter()
        .filter(|finding| finding.answer == Answer::Present)
        .map(|finding| (finding.id, finding.cost_ns))
        .collect();
    for finding in findings.iter_mut().filter(|finding| finding.answer == Answer::Present) {
        let (id, cost_ns) = (finding.id, finding.cost_ns);
        let accounts = |cause: &'static str, its_ns: Option<u64>| {
            let known_ns =
                present.iter().find(|(other, _)| *other == cause).map(|(_, known_ns)| *known_ns)?;
            let share = ratio(its_ns.unwrap_or(known_ns), cost_ns).min(1.0);
            (share >= MOSTLY).then_some(Follows { from: cause, share })
        };
        finding.follows = match id {
            "slots-exhausted" if basis.snapshot.slots.are_loops() => None,
            // A full worker whose neighbour is free; else what holds the largest part of the slots, however
            // large that is.
            "slots-exhausted" => accounts("full-beside-free", None).or_else(|| held_by(basis, &present)),
            "gil-contention" => accounts("gil-not-released", Some(not_honoured_ns(basis)))
                .or_else(|| accounts("gil-starvation", None))
                .or_else(|| accounts("cpu-bound", Some(held_by_requests_ns(basis)))),
            // A worker with a queue of its own is waited for while others are free.
            "accept-queue" if Site::of(basis.snapshot).is_split => accounts("imbalance", None),
            // Both tell of the line for slots: who suffers in it, and that one worker has the longest.
            "short-behind-long" => accounts("slots-exhausted", None),
            "imbalance" => accounts("slots-exhausted", Some((cost_ns as f64 * all_full_share(basis)) as u64)),
            "loop-saturated" => accounts("loop-blocked", None),
            "back-end" => accounts("name-lookups", None)
                .or_else(|| accounts("back-end-connections", None))
                .or_else(|| accounts("back-end-slower", None)),
            _ => None,
        };
        if id == "clients-leave" {
            // Its advice is that on what requests wait for. What fails waits for nothing by that.
            let is_wait = |other: &str| other != id && other != "server-errors" && is_request_time(other);
            let waits = present.iter().filter(|(other, _)| is_wait(other));
            finding.yields_to = waits.max_by_key(|(_, cost_ns)| *cost_ns).map(|(other, _)| *other);
        }
    }
}

/// Of the time in which the fullest worker was full, the part in which all others were as well: then a free
/// one was nowhere.
fn all_full_share(basis: &Basis<'_>) -> f64 {
    let slots = &basis.snapshot.slots;
    let fullest_ns = slots.heat.iter().map(|row| row.exhausted_ns).max().unwrap_or(0);
    ratio(slots.exhausted_ns, fullest_ns).min(1.0)
}

/// The finding that says why what holds most of the slots does so.
fn held_by(basis: &Basis<'_>, present: &[(&'static str, u64)]) -> Option<Follows> {
    let holder = holder(basis);
    let is_present = |id: &&&'static str| present.iter().any(|(other, _)| *other == **id);
    // Of computing, a quota accounts for as much as it stopped.
    if holder.cause == Cause::Computing
        && cpu_short(basis) == CpuShort::Quota
        && is_present(&&"cpu-throttled")
    {
        let phases = basis.phases();
        let wanted_ns = phases.get(Phase::Cpu).saturating_add(phases.get(Phase::RunQueue));
        let share = holder.share * ratio(run_queue_by_quota_ns(basis), wanted_ns);
        return Some(Follows { from: "cpu-throttled", share });
    }
    let from = holder.findings.iter().find(is_present)?;
    Some(Follows { from, share: holder.share })
}

/// What requests waited for the GIL because of holders for which this is so.
fn waited_ns(basis: &Basis<'_>, of: impl Fn(&Edge) -> u64) -> u64 {
    let of_requests =
        basis.snapshot.gil.edges.iter().filter(|edge| matches!(edge.waiter, Contender::Endpoint(_)));
    of_requests.fold(0, |sum, edge| sum.saturating_add(of(edge)))
}

/// What requests waited for a GIL that was kept when it was asked for.
fn not_honoured_ns(basis: &Basis<'_>) -> u64 {
    waited_ns(basis, |edge| edge.not_honoured_ns)
}

/// What requests waited for a GIL that another request held.
fn held_by_requests_ns(basis: &Basis<'_>) -> u64 {
    waited_ns(basis, |edge| if matches!(edge.holder, Contender::Endpoint(_)) { edge.total_ns } else { 0 })
}

/// A finding that is present, and how many causes lie above it.
#[derive(Clone, Copy, Debug)]
pub struct Ranked<'a> {
    /// The finding.
    pub finding: &'a Finding,
    /// 0: it follows from none. 1: it follows from the last one before it that has 0. And so on.
    pub depth: usize,
}

/// What is present, causes first: the one with the costliest consequence on top, below each what follows from
/// it, costliest first. What only sums up the others (`healthy`) is left out.
pub fn by_cause(findings: &[Finding]) -> Vec<Ranked<'_>> {
    let present: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.answer == Answer::Present && finding.id != super::healthy::RULE.id)
        .collect();
    let is_root = |finding: &&&Finding| {
        finding.follows.is_none_or(|follows| !present.iter().any(|other| other.id == follows.from))
    };
    let mut roots: Vec<&Finding> = present.iter().filter(is_root).copied().collect();
    roots.sort_by_key(|root| Reverse(costliest(&present, root, 0)));
    let mut ranked = Vec::with_capacity(present.len());
    for root in roots {
        rank(&present, root, 0, &mut ranked);
    }
    ranked
}

/// What follows from this one.
fn consequences<'a>(present: &[&'a Finding], of: &Finding) -> Vec<&'a Finding> {
    let follows = |finding: &&&Finding| finding.follows.is_some_and(|follows| follows.from == of.id);
    let mut all: Vec<&Finding> = present.iter().filter(follows).copied().collect();
    all.sort_by_key(|finding| Reverse(finding.cost_ns));
    all
}

/// What the costliest of a finding and its consequences cost.
fn costliest(present: &[&Finding], of: &Finding, depth: usize) -> u64 {
    if depth >= MAX_DEPTH {
        return of.cost_ns;
    }
    let below = consequences(present, of).into_iter().map(|finding| costliest(present, finding, depth + 1));
    below.fold(of.cost_ns, u64::max)
}

fn rank<'a>(present: &[&'a Finding], of: &'a Finding, depth: usize, ranked: &mut Vec<Ranked<'a>>) {
    ranked.push(Ranked { finding: of, depth });
    if depth < MAX_DEPTH {
        for finding in consequences(present, of) {
            rank(present, finding, depth + 1, ranked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::fixture::{SECOND, Scene};
    use crate::finding::{Thresholds, evaluate};
    use crate::model::round_trips::ToPort;
    use crate::model::slot::{HeatRow, Holding};
    use crate::server::advice::Advice;

    /// Four sync workers that are full for most of ten seconds, and requests that wait.
    fn full() -> Scene {
        Scene::gunicorn("sync", 4, 10 * SECOND)
            .requests(100)
            .phase(Phase::PoolWait, 12 * SECOND)
            .exhausted(9 * SECOND)
    }

    /// What is present, causes first, further right what follows: `id from cause, percent`.
    fn told(scene: &Scene) -> Vec<String> {
        let findings = evaluate(&scene.0, &Thresholds::default());
        let words = |ranked: Ranked<'_>| match ranked.finding.follows {
            Some(Follows { from, share }) => {
                format!(
                    "{}{} from {from}, {:.0} %",
                    "  ".repeat(ranked.depth),
                    ranked.finding.id,
                    share * 100.0
                )
            }
            None => format!("{}{}", "  ".repeat(ranked.depth), ranked.finding.id),
        };
        by_cause(&findings).into_iter().map(words).collect()
    }

    #[test]
    fn full_slots_follow_from_what_mostly_holds_them() {
        let clients = full()
            .phase(Phase::ClientReadStall, 30 * SECOND)
            .phase(Phase::Cpu, SECOND)
            .holding(Holding::ClientReadStall, 30 * SECOND)
            .holding(Holding::Request, 4 * SECOND);
        assert_eq!(told(&clients), ["slow-clients", "  slots-exhausted from slow-clients, 88 %"]);
        let silent = full()
            .phase(Phase::Sleep, 4 * SECOND)
            .holding(Holding::FirstByte, 30 * SECOND)
            .holding(Holding::Request, 4 * SECOND);
        assert_eq!(told(&silent), ["idle-connections", "  slots-exhausted from idle-connections, 88 %"]);
    }

    #[test]
    fn full_slots_whose_requests_sleep_follow_from_nothing_that_is_found() {
        let asleep = full().phase(Phase::Sleep, 34 * SECOND).holding(Holding::Request, 34 * SECOND);
        assert_eq!(told(&asleep), ["slots-exhausted"]);
    }

    #[test]
    fn waits_for_the_gil_follow_from_computing_only_where_requests_held_it() {
        let scene = |holder: Contender| {
            let mut scene = Scene::gunicorn("gthread", 2, 10 * SECOND)
                .requests(100)
                .phase(Phase::Cpu, 9 * SECOND)
                .phase(Phase::GilWait, 5 * SECOND)
                .holding(Holding::Request, 14 * SECOND)
                .process(2, 5 * SECOND, 0);
            scene.0.gil.holders_known = true;
            scene.0.gil.waits.record(5 * SECOND);
            let waiter = Contender::Endpoint("GET /a".to_owned());
            scene.0.gil.edges.push(Edge {
                waiter,
                holder,
                total_ns: 5 * SECOND,
                waits: 10,
                not_honoured_ns: 0,
            });
            told(&scene)
        };
        let by_requests = scene(Contender::Endpoint("GET /a".to_owned()));
        assert_eq!(by_requests, ["cpu-bound", "  gil-contention from cpu-bound, 100 %"]);
        let by_thread = scene(Contender::Thread { tgid: 1, tid: 9, comm: "cache".to_owned() });
        assert!(by_thread.iter().all(|line| !line.contains("from cpu-bound")), "{by_thread:?}");
    }

    #[test]
    fn waits_for_a_back_end_follow_from_connections_that_take_most_of_them() {
        let scene = |connecting_ns| {
            let phases = [(Phase::Cpu, 2 * SECOND), (Phase::BackendWait, 8 * SECOND)];
            let mut scene =
                Scene::gunicorn("sync", 4, 10 * SECOND).requests(100).endpoint("/a", 100, &phases);
            for (phase, duration_ns) in phases {
                scene = scene.phase(phase, duration_ns);
            }
            let to = ToPort { port: 5432, count: 100, connections: 100, connecting_ns, ..ToPort::default() };
            scene.0.by_endpoint.list[0].round_trips.add(&to);
            told(&scene)
        };
        let most = scene(6 * SECOND);
        assert_eq!(most, ["back-end-connections", "  back-end from back-end-connections, 75 %"]);
        assert_eq!(scene(3 * SECOND), ["back-end", "back-end-connections"]);
    }

    #[test]
    fn who_suffers_in_the_line_for_slots_stands_below_that_it_is_there() {
        let mut scene = full().holding(Holding::Request, 34 * SECOND);
        scene = scene
            .phase(Phase::Sleep, 34 * SECOND)
            .endpoint("/long", 20, &[(Phase::Sleep, 33 * SECOND)])
            .endpoint("/short", 80, &[(Phase::PoolWait, 12 * SECOND), (Phase::Sleep, SECOND)]);
        assert_eq!(told(&scene), ["slots-exhausted", "  short-behind-long from slots-exhausted, 100 %"]);
    }

    #[test]
    fn uneven_spread_follows_from_lack_of_slots_where_the_others_were_mostly_full_too() {
        let scene = |all_full_seconds| {
            let mut scene = Scene::gunicorn("gthread", 4, 10 * SECOND)
                .requests(100)
                .phase(Phase::Sleep, 30 * SECOND)
                .phase(Phase::PoolWait, 12 * SECOND)
                .holding(Holding::Request, 30 * SECOND)
                .exhausted(all_full_seconds * SECOND);
            scene.0.sockets.listeners[0].accepted_by = vec![(1, 90), (2, 10)];
            let row = |(tgid, seconds)| HeatRow {
                tgid,
                slots: 2,
                exhausted_ns: seconds * SECOND,
                ..HeatRow::default()
            };
            scene.0.slots.heat = [(1, 9), (2, all_full_seconds)].map(row).to_vec();
            told(&scene)
        };
        assert_eq!(scene(6), ["slots-exhausted", "  imbalance from slots-exhausted, 67 %"]);
        assert!(scene(2).iter().all(|line| !line.contains("from")), "{:?}", scene(2));
    }

    #[test]
    fn waits_for_workers_with_queues_of_their_own_follow_from_how_connections_spread() {
        let scene = |second_port| {
            let mut scene = Scene::gunicorn("sync", 4, 10 * SECOND)
                .requests(100)
                .phase(Phase::Cpu, 10 * SECOND)
                .phase(Phase::AcceptQueue, 20 * SECOND);
            let first = scene.0.sockets.listeners[0].clone();
            scene.0.sockets.listeners = [(1, 80, 90), (2, second_port, 10)]
                .map(|(tgid, port, accepted)| {
                    let mut listener = first.clone();
                    listener.seen.port = port;
                    listener.accepted_by = vec![(tgid, accepted)];
                    listener
                })
                .to_vec();
            scene.0.slots.heat =
                vec![HeatRow { tgid: 1, slots: 1, exhausted_ns: 6 * SECOND, ..HeatRow::default() }];
            told(&scene)
        };
        let split = scene(80);
        assert!(split.contains(&"  accept-queue from imbalance, 100 %".to_owned()), "{split:?}");
        let two_addresses = scene(81);
        assert!(two_addresses.iter().all(|line| !line.contains("from imbalance")), "{two_addresses:?}");
    }

    fn finding(id: &'static str, cost_ns: u64, from: Option<&'static str>) -> Finding {
        Finding {
            id,
            answer: Answer::Present,
            sentence: String::new(),
            cost_ns,
            evidence: Vec::new(),
            count: 0,
            exemplars: Vec::new(),
            advice: String::new(),
            steps: Advice::default(),
            follows: from.map(|from| Follows { from, share: 1.0 }),
            yields_to: None,
            apart: Vec::new(),
            outlook: None,
        }
    }

    #[test]
    fn a_cheap_cause_of_something_costly_comes_before_what_costs_less() {
        let all = [
            finding("slots-exhausted", 9, Some("slow-clients")),
            finding("back-end", 5, None),
            finding("slow-clients", 2, None),
            // Its cause is not present: it stands by itself.
            finding("loop-saturated", 1, Some("loop-blocked")),
        ];
        let order: Vec<(&str, usize)> =
            by_cause(&all).iter().map(|ranked| (ranked.finding.id, ranked.depth)).collect();
        let expected = [("slow-clients", 0), ("slots-exhausted", 1), ("back-end", 0), ("loop-saturated", 0)];
        assert_eq!(order, expected);
    }
}
