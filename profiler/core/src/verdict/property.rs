//! What holds for every rule and every snapshot, and for the catalogue as a whole.
//!
//! In: arbitrary snapshots. Out: failures where a rule panics, speaks without evidence or at too great
//! length.

use super::{findings, of};
use crate::fact::{CgroupCpu, ListenerWakes};
use crate::finding::fixture::{SECOND, Scene};
use crate::finding::leaf::is_of_leaves;
use crate::finding::threshold::VERDICT;
use crate::finding::{Answer, Finding, RULES, SENTENCE_MAX_CHARS, Thresholds, leaf};
use crate::model::chain::{Chains, Hops, Leaf, LeafKind, LeafTime, TakenBy};
use crate::model::event_loop::{EventLoop, Holder, LongHolds};
use crate::model::life::Life;
use crate::model::round_trips::ToPort;
use crate::model::slot::{HeatRow, Holding, Slot};
use crate::model::{CgroupWindow, Endpoint, Listener, Process, Snapshot, Thread};
use crate::phase::{Phase, Phases};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A duration from nothing to the impossible, with the plausible most often.
fn duration() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..60 * SECOND, 1 => Just(0), 1 => any::<u64>()]
}

fn phases() -> impl Strategy<Value = Phases> {
    proptest::collection::vec(duration(), Phase::COUNT).prop_map(|durations| {
        let mut phases = Phases::default();
        for (phase, duration_ns) in Phase::ALL.into_iter().zip(durations) {
            phases.add(phase, duration_ns);
        }
        phases
    })
}

fn slot() -> impl Strategy<Value = Slot> {
    proptest::array::uniform9(duration())
        .prop_map(|holding_ns: [u64; Holding::COUNT]| Slot { holding_ns, ..Slot::default() })
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let status = prop_oneof![Just(200_u16), Just(503)];
    let strategy = ("[^.]{0,80}", 0..100u64, duration(), phases(), to_port(), status);
    strategy.prop_map(|(path_shape, count, service, phases, to, status)| {
        let mut endpoint = Endpoint {
            method: "DELETE".to_owned(),
            path_shape,
            status,
            count,
            phases,
            ..Endpoint::default()
        };
        endpoint.service.record(service);
        endpoint.round_trips.add(&to);
        for moment in 0..count {
            endpoint.waits.add(service.saturating_mul(moment), &to);
            endpoint.by_worker.add(u32::from(moment % 3 == 0), &phases);
        }
        endpoint
    })
}

fn to_port() -> impl Strategy<Value = ToPort> {
    let port = prop_oneof![Just(0_u16), Just(53), any::<u16>()];
    (port, 0..300u64, duration(), 0..300u64, duration(), duration()).prop_map(
        |(port, count, waited_ns, connections, connecting_ns, first_answers_ns)| ToPort {
            port,
            count,
            waited_ns,
            connections,
            connecting_ns,
            first_answers_ns,
        },
    )
}

fn process() -> impl Strategy<Value = Process> {
    proptest::collection::vec((duration(), duration()), 0..4).prop_map(|threads| Process {
        requests: threads.len() as u64,
        threads: threads
            .into_iter()
            .map(|(cpu_ns, run_queue_ns)| Thread { cpu_ns, run_queue_ns, requests: 1, ..Thread::default() })
            .collect(),
        ..Process::default()
    })
}

fn life() -> impl Strategy<Value = Life> {
    let moment = || proptest::option::of(duration());
    (any::<u32>(), moment(), moment(), 0..50u64, duration()).prop_map(
        |(tgid, born_ns, ended_ns, requests, each_ns)| {
            let mut life =
                Life { tgid, born_ns, ended_ns, requests, errors: requests / 3, ..Life::default() };
            (0..requests).for_each(|_| life.total.record(each_ns));
            life
        },
    )
}

fn listener() -> impl Strategy<Value = Listener> {
    let wakes = (0..100_000u64, any::<u64>(), any::<u64>(), duration()).prop_map(
        |(arrivals, woken, slept_again, slept_again_cpu_ns)| ListenerWakes {
            arrivals,
            woken,
            slept_again,
            slept_again_cpu_ns,
            ..ListenerWakes::default()
        },
    );
    (proptest::option::of(wakes), any::<u64>(), duration()).prop_map(
        |(wakes, empty_returns, empty_returns_cpu_ns)| Listener {
            wakes,
            empty_returns,
            empty_returns_cpu_ns,
            ..Listener::default()
        },
    )
}

fn event_loop() -> impl Strategy<Value = EventLoop> {
    let holder = ("[^.]{0,80}", duration(), any::<u64>(), any::<u64>(), duration(), phases()).prop_map(
        |(path_shape, longest_ns, count, waited, waited_ns, phases)| Holder {
            method: "DELETE".to_owned(),
            path_shape,
            longest_ns,
            long: LongHolds { count, held_ns: longest_ns, phases, waited, waited_ns },
            ..Holder::default()
        },
    );
    (any::<u32>(), duration(), duration(), proptest::collection::vec(holder, 0..3)).prop_map(
        |(tgid, busy_ns, waiting_ns, holders)| EventLoop {
            tgid,
            busy_ns,
            waiting_ns,
            holders,
            ..EventLoop::default()
        },
    )
}

fn cgroup() -> impl Strategy<Value = CgroupWindow> {
    (duration(), duration(), any::<u64>(), proptest::option::of(any::<u64>())).prop_map(
        |(first, last, periods, quota_us)| CgroupWindow {
            first: CgroupCpu { throttled_ns: first, ..CgroupCpu::default() },
            last: CgroupCpu {
                throttled_ns: last,
                throttled_periods: periods,
                quota_us,
                period_us: 100_000,
                ..CgroupCpu::default()
            },
        },
    )
}

fn leaf_time() -> impl Strategy<Value = LeafTime> {
    let kind = proptest::sample::select(LeafKind::ALL.to_vec());
    let hops = proptest::sample::subsequence(Phase::ALL.to_vec(), 0..3);
    let held = (0..60 * SECOND, 0.0..=1.0_f64, 0..200_u64);
    let taken_by = proptest::sample::select(vec![
        None,
        Some(TakenBy::Quota),
        Some(TakenBy::Thread),
        Some(TakenBy::Request { endpoint: 1 }),
        Some(TakenBy::Program { number: 0 }),
    ]);
    (kind, hops, held, 0..3_u32, taken_by).prop_map(|(kind, hops, held, endpoint, taken_by)| {
        let (held_ns, unusual, requests) = held;
        let taken_by = taken_by.filter(|_| kind == LeafKind::CpuTaken);
        LeafTime {
            leaf: Leaf { endpoint, taken_by, ..Leaf::of(kind) },
            hops: hops.into_iter().fold(Hops::NONE, |way, hop| way.with(hop).unwrap_or(way)),
            unusual_ns: (held_ns as f64 * unusual) as u64,
            requests,
            longest_ns: held_ns.checked_div(requests).unwrap_or(0),
            ..LeafTime::of_nobody(held_ns)
        }
    })
}

prop_compose! {
    fn chains()(
        leaves in proptest::collection::vec(leaf_time(), 0..8),
        not_listed_ns in 0..SECOND,
        name in "[^.]{0,80}",
    ) -> Chains {
        let listed_ns: u64 = leaves.iter().map(|row| row.held_ns).sum();
        Chains {
            request_ns: listed_ns + not_listed_ns,
            other_ns: not_listed_ns,
            leaves,
            endpoints: vec![String::new(), name, "GET /".to_owned()],
            ..Chains::default()
        }
    }
}

prop_compose! {
    fn snapshot()(
        window_ns in prop_oneof![3 => SECOND..120 * SECOND, 1 => Just(0), 1 => Just(u64::MAX - SECOND)],
        completed in prop_oneof![3 => 0..100_000u64, 1 => any::<u64>()],
        exhausted_ns in duration(),
        acceptor_linger_ns in duration(),
        phases in phases(),
        slots in proptest::collection::vec(slot(), 0..5),
        endpoints in proptest::collection::vec(endpoint(), 0..5),
        processes in proptest::collection::vec(process(), 0..4),
        cgroups in proptest::collection::vec(cgroup(), 0..3),
        event_loops in proptest::collection::vec(event_loop(), 0..3),
        listeners in proptest::collection::vec(listener(), 0..3),
        service in duration(),
        configured in proptest::option::of(any::<u32>()),
        worker_class in prop_oneof!["sync", "gthread", "[^.]{0,40}"],
        server in prop_oneof![Just("gunicorn".to_owned()), Just(String::new()), "[^.]{0,40}"],
        not_measured in proptest::sample::subsequence(Phase::ALL.to_vec(), 0..4),
        lost in proptest::option::of((0..1000u64, 0..100_000u64)),
        cpu_count in any::<u32>(),
        heat in proptest::collection::vec((any::<u32>(), 0..9u32, duration()), 0..4),
        peak_in_flight in any::<u32>(),
        lives in proptest::collection::vec(life(), 0..4),
        chains in chains(),
    ) -> Snapshot {
        let mut scene = Scene::empty(window_ns).requests(completed).service(service).exhausted(exhausted_ns);
        if let Some((lost, received)) = lost {
            scene = scene.lost(lost, received);
        }
        for phase in not_measured {
            scene = scene.not_measured(phase);
        }
        let mut snapshot = scene.0;
        snapshot.requests.phases = phases;
        snapshot.chains = chains;
        snapshot.slots.observed = slots;
        snapshot.event_loops = event_loops;
        snapshot.slots.configured = configured;
        snapshot.slots.acceptor_linger_ns = acceptor_linger_ns;
        snapshot.by_endpoint.list = endpoints;
        snapshot.processes = processes;
        snapshot.cgroups = cgroups;
        snapshot.sockets.listeners = listeners;
        snapshot.server.worker_class = worker_class;
        snapshot.server.name = server;
        snapshot.session.cpu_count = cpu_count;
        snapshot.requests.peak_in_flight = peak_in_flight;
        snapshot.capacity.lives = lives;
        snapshot.slots.heat = heat
            .into_iter()
            .map(|(tgid, slots, exhausted_ns)| HeatRow { tgid, slots, busy_ns: Vec::new(), exhausted_ns })
            .collect();
        snapshot
    }
}

proptest! {
    #[test]
    fn every_rule_answers_every_snapshot_in_one_short_sentence_with_evidence(snapshot in snapshot()) {
        let findings = findings(&snapshot, &Thresholds::default());
        prop_assert_eq!(findings.len(), RULES.len());
        for finding in findings.iter().filter(|finding| is_of_leaves(finding.id)) {
            let whole_ns = snapshot.chains.request_ns;
            prop_assert!(finding.cost_ns <= whole_ns, "{} costs {} of {whole_ns}", finding.id, finding.cost_ns);
            for share in finding.evidence.iter().filter(|one| one.name.ends_with("_ratio")) {
                prop_assert!((0.0..=1.0).contains(&share.value), "{}: {share:?}", finding.id);
            }
        }
        // No second is told twice.
        let told_ns = findings.iter().filter(|finding| is_of_leaves(finding.id));
        let held = |finding: &Finding| finding.evidence.iter().find(|one| one.name == "held_seconds").map(|one| one.value);
        let told: f64 = told_ns.filter_map(held).sum();
        prop_assert!(told <= snapshot.chains.request_ns as f64 / 1e9 + 1e-6, "{told}");
        let verdict = of(&snapshot, &findings);
        let is_healthy = findings.iter().any(|one| one.id == "healthy" && one.answer == Answer::Present);
        prop_assert!(!is_healthy || !verdict.pattern.is_wrong(), "{verdict:?}");
        for finding in &findings {
            let text = &finding.sentence;
            prop_assert!(text.chars().count() <= SENTENCE_MAX_CHARS, "{} characters: {}", text.chars().count(), text);
            prop_assert!(text.ends_with('.') && !text.contains(". "), "{}", text);
            prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
            prop_assert!(finding.evidence.iter().all(|e| e.value.is_finite()), "{:?}", finding);
            match &finding.answer {
                Answer::Present => {
                    prop_assert!(finding.evidence.iter().any(|e| e.threshold.is_some_and(|t| e.value >= t)));
                    prop_assert!(!finding.advice.is_empty());
                }
                Answer::Undecided { reason } => prop_assert!(!reason.is_empty() && !reason.ends_with('.')),
                Answer::Usual | Answer::Absent => prop_assert_eq!(finding.cost_ns, 0),
            }
        }
        for pair in findings.windows(2) {
            prop_assert!(pair[0].answer.rank() <= pair[1].answer.rank());
            if pair[1].answer == Answer::Present {
                prop_assert!(pair[0].cost_ns >= pair[1].cost_ns);
            }
        }
    }
}

#[test]
fn ids_are_unique_and_lower_case_with_hyphens() {
    let ids: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), RULES.len());
    for id in ids {
        assert!(id.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{id}");
        assert!(!id.starts_with('-') && !id.ends_with('-'), "{id}");
    }
}

#[test]
fn every_rule_has_a_page_under_its_id_with_all_sections() {
    for rule in RULES {
        assert!(rule.page.starts_with(&format!("# {}\n", rule.id)), "{}", rule.id);
        for section in [
            "## What it means",
            "## How it is measured",
            "## What to do",
            "## What it does not say",
            "## Example",
        ] {
            assert!(rule.page.contains(section), "{}: {section}", rule.id);
        }
    }
}

#[test]
fn a_leaf_belongs_to_one_finding_at_most_and_only_some_kinds_to_none() {
    for kind in LeafKind::ALL {
        let leaf = LeafTime { leaf: Leaf::of(kind), ..LeafTime::of_nobody(SECOND) };
        let is_said_without_name = matches!(
            kind,
            LeafKind::Reading | LeafKind::Writing | LeafKind::FrontEnd | LeafKind::NotFollowed
        );
        assert_eq!(leaf::rule_of(&leaf).is_none(), is_said_without_name, "{kind:?}");
    }
}

#[test]
fn every_rule_is_in_the_index() {
    let index = include_str!("../../../../docs/findings/README.md");
    for rule in RULES {
        assert!(index.contains(&format!("[`{0}`]({0}.md)", rule.id)), "{}", rule.id);
    }
}

#[test]
fn thresholds_name_only_rules_that_exist() {
    for threshold in Thresholds::default().table() {
        for id in threshold.rules {
            assert!(*id == VERDICT || RULES.iter().any(|rule| rule.id == *id), "{id}");
        }
    }
}

#[test]
fn pages_and_advice_end_as_sentences() {
    for rule in RULES {
        let advice = (rule.advice)().to_string();
        assert!(advice.ends_with('.') && advice.starts_with(char::is_uppercase), "{}: {advice}", rule.id);
        assert!(rule.page.ends_with('\n'), "{}", rule.id);
    }
}
