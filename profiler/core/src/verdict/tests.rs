//! Verdicts on leaves that are made up.

use super::*;
use crate::model::chain::{Chains, Group, GroupPrevented, Hops, Leaf, LeafTime, Object, TakenBy};
use crate::model::chain_group::Level;
use crate::model::independence::Independence;
use crate::phase::Phase;

const SECOND: u64 = 1_000_000_000;

fn row(leaf: Leaf, hops: &[Phase], held_ns: u64) -> LeafTime {
    let way = hops.iter().fold(Hops::NONE, |way, hop| way.with(*hop).unwrap());
    LeafTime {
        leaf,
        hops: way,
        held_ns,
        unusual_ns: 0,
        prevented_ns: None,
        requests: 20,
        longest_ns: held_ns / 20,
        victim: Some(1),
        is_shared_connection: false,
        is_collecting: false,
        measured: Independence::Unknown,
        seen: None,
        waited_at: None,
        place: None,
        example: None,
    }
}

fn snapshot(leaves: Vec<LeafTime>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.requests.completed = 100;
    let request_ns = leaves.iter().map(|row| row.held_ns).sum();
    let endpoints = ["", "GET /fast", "GET /slow"].map(str::to_owned).to_vec();
    snapshot.chains = Chains { request_ns, leaves, endpoints, ..Chains::default() };
    snapshot
}

/// What a group prevents, by a replay.
fn prevents(snapshot: &mut Snapshot, leaf: &Leaf, prevented_ns: u64) {
    for level in Level::ALL {
        let group = Group::of(leaf, level).unwrap();
        snapshot.chains.groups.push(GroupPrevented { group, prevented_ns });
    }
}

const BACK_END: Leaf =
    Leaf { object: Object::Peer { port: 5432 }, endpoint: 2, ..Leaf::of(LeafKind::BackEnd) };
const SLEEP: Leaf = Leaf { endpoint: 2, ..Leaf::of(LeafKind::Sleep) };
const COMPUTING: Leaf = Leaf { endpoint: 1, ..Leaf::of(LeafKind::Computing) };

#[test]
fn what_stands_behind_a_queue_is_named_with_who_is_at_it_and_who_waits() {
    let queue = [Phase::AcceptQueue];
    let verdict = of(
        &snapshot(vec![
            row(BACK_END, &queue, 6 * SECOND),
            row(BACK_END, &[], 3 * SECOND),
            row(COMPUTING, &[], SECOND),
        ]),
        &[],
    );
    let cause = verdict.cause().unwrap();
    assert_eq!((verdict.pattern, cause.kind), (Pattern::WaitsFor, LeafKind::BackEnd));
    assert_eq!((cause.object, cause.endpoint), (Some(Object::Peer { port: 5432 }), Some(2)));
    assert_eq!((cause.victim, cause.is_serial), (Some(1), false));
    assert_eq!((cause.held_ns, cause.inflicted_ns), (9 * SECOND, 6 * SECOND));
    assert!(cause.path.iter().eq(queue));
    assert_eq!(verdict.inflicted_ns, 6 * SECOND);
}

#[test]
fn the_cause_is_what_prevents_most_of_the_waiting_and_not_what_holds_most() {
    // One of four threads hangs in a child; the others ask a back end.
    let child = Leaf { endpoint: 2, ..Leaf::of(LeafKind::Child) };
    let queue = [Phase::PoolWait];
    let mut snapshot = snapshot(vec![
        row(BACK_END, &queue, 6 * SECOND),
        row(child, &queue, 2 * SECOND),
        row(child, &[], 2 * SECOND),
    ]);
    prevents(&mut snapshot, &child, 9 * SECOND);
    prevents(&mut snapshot, &BACK_END, 6 * SECOND);
    let verdict = of(&snapshot, &[]);
    assert_eq!(verdict.cause().map(|cause| cause.kind), Some(LeafKind::Child));
    assert_eq!(verdict.cause().and_then(|cause| cause.prevented_ns), Some(9 * SECOND));
}

#[test]
fn where_each_of_several_would_end_the_waiting_it_is_the_one_with_which_most_time_goes() {
    let (queue, file) = ([Phase::PoolWait], Leaf { endpoint: 2, ..Leaf::of(LeafKind::File) });
    let rows = |leaf, own, others| [row(leaf, &queue, others * SECOND), row(leaf, &[], own * SECOND)];
    let rows = [rows(file, 10, 10), rows(BACK_END, 4, 4), rows(SLEEP, 1, 2)].concat();
    let mut snapshot = snapshot(rows);
    // A little more is asked for than is served: without any of them all would be.
    for (leaf, own) in [(file, 10), (BACK_END, 4), (SLEEP, 1)] {
        prevents(&mut snapshot, &leaf, (own + 15) * SECOND);
    }
    let verdict = of(&snapshot, &[]);
    assert_eq!(verdict.cause().map(|cause| cause.kind), Some(LeafKind::File));
}

#[test]
fn what_requests_do_themselves_is_said_and_accuses_nobody() {
    let verdict = of(&snapshot(vec![row(BACK_END, &[], 9 * SECOND), row(COMPUTING, &[], SECOND)]), &[]);
    assert_eq!(verdict.pattern, Pattern::TakesAsLong);
    assert!(!verdict.pattern.is_wrong() && verdict.advice.is_empty());
    // Of several things those are named that together are most of it, the largest first.
    let leaves = [(BACK_END, 3), (SLEEP, 4), (COMPUTING, 2)].map(|(leaf, own)| row(leaf, &[], own * SECOND));
    let verdict = of(&snapshot(leaves.to_vec()), &[]);
    let kinds: Vec<LeafKind> = verdict.causes.iter().map(|cause| cause.kind).collect();
    assert_eq!((verdict.pattern, kinds), (Pattern::TakesAsLong, vec![LeafKind::Sleep, LeafKind::BackEnd]));
    // Of many small things none is.
    let kinds = [LeafKind::BackEnd, LeafKind::Sleep, LeafKind::File, LeafKind::Child, LeafKind::Computing];
    let small = kinds.into_iter().chain([LeafKind::Client, LeafKind::Pipe]);
    let rows = small.map(|kind| row(Leaf::of(kind), &[], SECOND)).collect();
    assert_eq!(of(&snapshot(rows), &[]).pattern, Pattern::Healthy);
}

#[test]
fn a_little_waiting_is_nobodys_fault() {
    let queue = [Phase::AcceptQueue];
    // A twentieth of request time.
    let few = vec![row(SLEEP, &queue, SECOND), row(COMPUTING, &[], 19 * SECOND)];
    assert!(!of(&snapshot(few), &[]).pattern.is_wrong());
    // Half of it, for a millisecond each.
    let short = vec![row(SLEEP, &queue, SECOND / 50), row(COMPUTING, &[], SECOND / 50)];
    assert!(!of(&snapshot(short), &[]).pattern.is_wrong());
}

#[test]
fn a_little_waiting_comes_behind_what_requests_do_themselves_and_behind_what_was_not_seen() {
    let taken = row(Leaf { endpoint: 1, ..Leaf::of(LeafKind::CpuTaken) }, &[], 4 * SECOND);
    let verdict = of(&snapshot(vec![row(BACK_END, &[], 10 * SECOND), taken.clone()]), &[]);
    assert_eq!(verdict.cause().map(|cause| cause.kind), Some(LeafKind::BackEnd));
    let as_much = of(&snapshot(vec![row(BACK_END, &[], 7 * SECOND), taken.clone()]), &[]);
    assert_eq!(as_much.cause().map(|cause| cause.kind), Some(LeafKind::CpuTaken));
    let unseen = row(Leaf::not_followed(NotFollowed::NotSeen), &[], 10 * SECOND);
    assert_eq!(of(&snapshot(vec![unseen, taken]), &[]).pattern, Pattern::NotSeen);
}

#[test]
fn without_a_single_cause_the_two_or_three_are_named_that_have_a_fifth_each() {
    let queue = [Phase::AcceptQueue];
    let file = Leaf { endpoint: 2, ..Leaf::of(LeafKind::File) };
    let leaves = [(BACK_END, 4), (SLEEP, 4), (file, 1)];
    let verdict = of(&snapshot(leaves.map(|(leaf, held)| row(leaf, &queue, held * SECOND)).to_vec()), &[]);
    assert_eq!(verdict.pattern, Pattern::Several);
    let kinds: Vec<LeafKind> = verdict.causes.iter().map(|cause| cause.kind).collect();
    assert_eq!(kinds, [LeafKind::BackEnd, LeafKind::Sleep]);
}

#[test]
fn where_chains_were_not_followed_nobody_is_accused() {
    let unseen = Leaf::not_followed(NotFollowed::Holder);
    let verdict =
        of(&snapshot(vec![row(unseen, &[Phase::LockWait], 9 * SECOND), row(COMPUTING, &[], SECOND)]), &[]);
    assert_eq!((verdict.pattern, verdict.not_followed), (Pattern::NotSeen, Some(NotFollowed::Holder)));
    assert!(!verdict.pattern.is_wrong());
}

#[test]
fn requests_that_failed_after_a_wait_that_was_not_seen_are_not_all_there_is_to_say() {
    let left = |snapshot: &Snapshot, count: f64| {
        let mut findings = findings(snapshot, &Thresholds::default());
        let finding = findings.iter_mut().find(|finding| finding.id == "clients-leave").unwrap();
        finding.answer = Answer::Present;
        finding.evidence = vec![Evidence { name: "clients_left_count", value: count, threshold: None }];
        of(snapshot, &findings)
    };
    let unseen = Leaf::not_followed(NotFollowed::NotSeen);
    let snapshot = snapshot(vec![row(unseen, &[], 9 * SECOND), row(COMPUTING, &[], SECOND)]);
    let few = left(&snapshot, 9.0);
    assert_eq!((few.pattern, few.failed.len()), (Pattern::NotSeen, 1));
    // Where most fail, that is the news.
    assert_eq!(left(&snapshot, 900.0).pattern, Pattern::Failures);
}

#[test]
fn a_cpu_that_other_requests_have_is_their_computing() {
    let taken = Leaf {
        taken_by: Some(TakenBy::Request { endpoint: 2 }),
        endpoint: 1,
        ..Leaf::of(LeafKind::CpuTaken)
    };
    let verdict = of(&snapshot(vec![row(taken, &[], 9 * SECOND)]), &[]);
    assert_eq!(verdict.pattern, Pattern::Computes);
    assert_eq!(
        verdict.cause().map(|cause| (cause.kind, cause.endpoint)),
        Some((LeafKind::Computing, Some(2)))
    );
    let by_quota = Leaf { taken_by: Some(TakenBy::Quota), ..taken };
    let verdict = of(&snapshot(vec![row(by_quota, &[], 9 * SECOND)]), &[]);
    assert_eq!(verdict.pattern, Pattern::CpuTaken);
    assert!(verdict.advice.to_string().contains("CPU limit"), "{}", verdict.advice);
}

#[test]
fn more_processes_are_not_advised_where_all_cpus_of_the_machine_are_used() {
    let advice = |busy: Option<f64>| {
        let mut snapshot = snapshot(vec![row(COMPUTING, &[Phase::LoopWait], 9 * SECOND)]);
        snapshot.server.name = "uvicorn".to_owned();
        snapshot.session.cpu_count = 2;
        snapshot.machine_busy_ratio = busy;
        let verdict = of(&snapshot, &[]);
        assert!(verdict.pattern.is_wrong());
        (verdict.advice.to_string(), verdict.advice.changes().len())
    };
    for busy in [None, Some(0.6)] {
        let (text, changes) = advice(busy);
        assert!(changes > 0 && text.contains("raise --workers"), "{text}");
    }
    let (text, changes) = advice(Some(0.97));
    assert_eq!(changes, 0, "{text}");
    assert!(!text.is_empty() && !text.contains("uvloop"), "{text}");
}

#[test]
fn more_slots_are_no_order_where_it_is_not_known_that_they_help() {
    let on_the_way = |leaf, hops: &[Phase]| {
        let verdict = of(&snapshot(vec![row(leaf, hops, 9 * SECOND)]), &[]);
        assert!(verdict.pattern.is_wrong() && !verdict.advice.is_empty());
        assert!(verdict.advice.changes().is_empty(), "{}", verdict.advice);
        verdict.advice.to_string()
    };
    assert!(on_the_way(BACK_END, &[Phase::PoolWait]).contains("help only if it answers as fast"));
    for serial in [[Phase::PoolWait, Phase::LockWait], [Phase::PoolWait, Phase::LoopWait]] {
        assert!(!on_the_way(BACK_END, &serial).contains("threads help"));
    }
}

/// Ten seconds of gthread with four threads, before which requests wait for others at such a leaf.
fn four_threads(kind: LeafKind, measured: Independence) -> Snapshot {
    use crate::finding::fixture::Scene;
    use crate::model::more_slots::MoreSlots;
    let mut scene = Scene::gunicorn("gthread", 4, 10 * SECOND).requests(200);
    scene.0.session.cpu_count = 2;
    scene.0.server.settings = vec![crate::model::Setting {
        name: "threads".to_owned(),
        value: "4".to_owned(),
        origin: crate::model::Origin::Configured,
    }];
    scene = scene.leaf(kind, &[Phase::PoolWait], 20 * SECOND).phase(Phase::PoolWait, 20 * SECOND);
    scene = scene.holding_request(40 * SECOND);
    scene.0.chains.endpoints = vec![String::new(), "GET /slow".to_owned()];
    for row in &mut scene.0.chains.leaves {
        (row.leaf.endpoint, row.measured) = (1, measured);
    }
    let with = vec![(5, 10 * SECOND), (6, 19 * SECOND), (8, 20 * SECOND)];
    scene.0.chains.more_slots = MoreSlots { slots: 4, waited_ns: 20 * SECOND, with };
    scene.0
}

#[test]
fn more_threads_are_advised_where_each_waits_for_itself_and_as_many_as_prevent_most() {
    for kind in [LeafKind::BackEnd, LeafKind::Sleep, LeafKind::Child] {
        let verdict = of(&four_threads(kind, Independence::Independent), &[]);
        let changes = verdict.advice.changes();
        assert_eq!(changes[0].proposed.as_deref(), Some("6"), "{}", verdict.advice);
        assert_eq!(changes[0].prevented_ns, Some(19 * SECOND));
        let text = verdict.advice.to_string();
        assert!(text.starts_with("Raise --threads (now 4) to 6: "), "{text}");
        assert!(text.contains("With that, 19 request-seconds of waiting would not have been."), "{text}");
        assert!(text.ends_with("a restart; --threads 4 undoes it."), "{text}");
        for measured in [Independence::Shared, Independence::Unknown] {
            let verdict = of(&four_threads(kind, measured), &[]);
            let text = verdict.advice.to_string();
            assert!(verdict.advice.changes().is_empty() && !verdict.advice.is_empty(), "{text}");
            let expected =
                if measured == Independence::Shared { "would wait as well" } else { "was not measured" };
            assert!(text.contains(expected), "{text}");
        }
    }
}

#[test]
fn more_threads_that_would_have_prevented_next_to_nothing_are_not_advised() {
    let mut snapshot = four_threads(LeafKind::Sleep, Independence::Independent);
    snapshot.chains.more_slots.with = vec![(5, SECOND), (16, 2 * SECOND - 1)];
    let verdict = of(&snapshot, &[]);
    assert_eq!(verdict.advice.to_string(), "Sleep for less time.");
    // What holds slots beside requests is in no line: the replay does not tell.
    snapshot.chains.more_slots.waited_ns = 9 * SECOND;
    let verdict = of(&snapshot, &[]);
    assert_eq!(verdict.advice.changes()[0].proposed, None);
}

#[test]
fn two_things_that_one_rule_is_about_have_both_their_advice() {
    let queue = [Phase::PoolWait];
    let file = Leaf { endpoint: 2, ..Leaf::of(LeafKind::File) };
    let fault = Leaf { endpoint: 2, ..Leaf::of(LeafKind::PageFault) };
    let snapshot = snapshot(vec![row(file, &queue, 10 * SECOND), row(fault, &queue, 9 * SECOND)]);
    let findings = findings(&snapshot, &Thresholds::default());
    let finding = findings.iter().find(|finding| finding.id == "slow-file").unwrap();
    assert_eq!(finding.answer, Answer::Present);
    for advice in ["faster storage", "need not be read from a disk"] {
        assert!(finding.advice.contains(advice), "{}", finding.advice);
    }
}

#[test]
fn a_stopped_process_at_the_other_end_is_let_go_on() {
    use crate::fact::asleep::{ConnectionState, ObjectSeen, OtherProcess};
    let advice = |states: &[Option<char>]| {
        let asks = LeafTime { seen: Some(0), ..row(BACK_END, &[Phase::PoolWait], 9 * SECOND) };
        let mut snapshot = snapshot(vec![asks]);
        let other = |state: &Option<char>| OtherProcess {
            tgid: 7,
            comm: "python".to_owned(),
            state: *state,
            system_call: None,
        };
        snapshot.chains.objects = vec![ObjectSeen::Tcp {
            inode: 1,
            local: String::new(),
            peer: "127.0.0.1:5432".to_owned(),
            state: ConnectionState::default(),
            others: states.iter().map(other).collect(),
        }];
        of(&snapshot, &[]).advice.to_string()
    };
    assert!(advice(&[Some('T')]).starts_with("Let the process at the other end go on (kill -CONT"));
    for others in [&[][..], &[Some('S')], &[Some('T'), Some('S')], &[None]] {
        assert!(advice(others).starts_with("Find out why it answers slowly"), "{others:?}");
    }
}

#[test]
fn only_a_file_that_nobody_else_can_open_is_the_heartbeat_of_the_server() {
    use crate::fact::asleep::{FileSeen, ObjectSeen};
    let touch = Leaf { system_call: 280, ..Leaf::of(LeafKind::File) };
    let advice = |is_deleted: Option<bool>| {
        let mut touched = row(touch, &[Phase::AcceptQueue], 9 * SECOND);
        touched.seen = is_deleted.map(|_| 0);
        let mut snapshot = snapshot(vec![touched]);
        "gunicorn".clone_into(&mut snapshot.server.name);
        "sync".clone_into(&mut snapshot.server.worker_class);
        let file = FileSeen { is_deleted: is_deleted.unwrap_or_default(), ..FileSeen::default() };
        snapshot.chains.objects = vec![ObjectSeen::File(file)];
        of(&snapshot, &[]).advice.to_string()
    };
    assert!(advice(None).contains("--worker-tmp-dir"), "{}", advice(None));
    assert!(advice(Some(true)).contains("--worker-tmp-dir"));
    assert!(!advice(Some(false)).contains("--worker-tmp-dir"), "{}", advice(Some(false)));
}

#[test]
fn nobody_is_served_where_no_request_was_answered() {
    let lock = Leaf {
        unreleased: Some(crate::model::chain::Unreleased::NobodyCould),
        ..Leaf::of(LeafKind::NotReleased)
    };
    let mut snapshot = snapshot(vec![row(lock, &[Phase::LockWait], 90 * SECOND)]);
    snapshot.requests.completed = 0;
    let verdict = of(&snapshot, &[]);
    assert!(verdict.is_nobody_served);
    assert_eq!(verdict.pattern, Pattern::NotReleased);
    assert!(verdict.advice.to_string().starts_with("Restart the process"));
    assert_eq!(of(&Snapshot::default(), &[]).pattern, Pattern::NoRequests);
}

#[test]
fn requests_that_hang_since_before_the_trace_are_in_the_way_where_nobody_is_served() {
    let hangs = Leaf { since_before: true, ..BACK_END };
    let mut snapshot = snapshot(vec![row(hangs, &[], 40 * SECOND)]);
    assert_eq!(of(&snapshot, &[]).pattern, Pattern::TakesAsLong, "others were served");
    snapshot.requests.completed = 0;
    let verdict = of(&snapshot, &[]);
    assert!(verdict.is_nobody_served);
    assert_eq!((verdict.pattern, verdict.causes.len()), (Pattern::WaitsFor, 1));
    snapshot.chains.leaves = vec![row(BACK_END, &[], 40 * SECOND)];
    assert_eq!(of(&snapshot, &[]).pattern, Pattern::TakesAsLong, "it may be answered in a moment");
}

#[test]
fn what_would_prevent_most_is_not_named_where_it_was_not_seen_for_whom_most_waited() {
    let unseen = Leaf { reason: Some(NotFollowed::NotSeen), ..Leaf::of(LeafKind::NotFollowed) };
    let pattern_with = |unseen_ns| {
        let queue = [Phase::PoolWait];
        let behind = [row(unseen, &queue, unseen_ns), row(SLEEP, &queue, 2 * SECOND)];
        let mut snapshot = snapshot(behind.into_iter().chain([row(SLEEP, &[], 10 * SECOND)]).collect());
        prevents(&mut snapshot, &SLEEP, 12 * SECOND + unseen_ns);
        of(&snapshot, &[]).pattern
    };
    assert_eq!(pattern_with(SECOND), Pattern::WaitsFor);
    assert_eq!(pattern_with(6 * SECOND), Pattern::TakesAsLong);
    assert_eq!(pattern_with(14 * SECOND), Pattern::NotSeen);
}

#[test]
fn what_is_less_than_a_tenth_of_request_time_is_not_named() {
    let queue = [Phase::AcceptQueue];
    let client = Leaf { endpoint: 2, ..Leaf::of(LeafKind::Client) };
    let pattern_with = |inflicted_ns| {
        let waits = [row(SLEEP, &queue, inflicted_ns), row(COMPUTING, &queue, 4 * SECOND)];
        let own = [row(BACK_END, &[], 45 * SECOND), row(client, &[], 40 * SECOND)];
        of(&snapshot(waits.into_iter().chain(own).collect()), &[]).pattern
    };
    assert_eq!(pattern_with(6 * SECOND), Pattern::TakesAsLong);
    assert_eq!(pattern_with(12 * SECOND), Pattern::WaitsFor);
}

#[test]
fn of_two_back_ends_the_one_that_relieves_those_who_wait_is_named() {
    let base = Leaf { object: Object::Peer { port: 6379 }, ..BACK_END };
    let of_thread = Leaf { endpoint: 0, ..BACK_END };
    let mut snapshot =
        snapshot(vec![row(base, &[], 62 * SECOND), row(of_thread, &[Phase::LockWait], 28 * SECOND)]);
    for (leaf, level, prevented_ns) in
        [(base, Level::Kind, 90), (base, Level::Object, 62), (of_thread, Level::Object, 27)]
    {
        let group = Group::of(&leaf, level).unwrap();
        let prevented_ns = prevented_ns * SECOND;
        snapshot.chains.groups.push(GroupPrevented { group, prevented_ns });
    }
    let verdict = of(&snapshot, &[]);
    assert_eq!(verdict.cause().unwrap().object, Some(Object::Peer { port: 5432 }));
}

#[test]
fn whether_more_slots_would_help_is_said_as_far_as_it_was_measured() {
    let help = |snapshot: &Snapshot| of(snapshot, &[]).more_slots_help;
    for (measured, expected) in [
        (Independence::Independent, MoreSlotsHelp::Yes),
        (Independence::Shared, MoreSlotsHelp::No),
        (Independence::Unknown, MoreSlotsHelp::Unknown),
    ] {
        assert_eq!(help(&four_threads(LeafKind::BackEnd, measured)), expected);
    }
    let mut nobody_waits = four_threads(LeafKind::BackEnd, Independence::Independent);
    nobody_waits.requests.phases = crate::phase::Phases::default();
    nobody_waits.requests.phases.add(Phase::BackendWait, SECOND);
    assert_eq!(help(&nobody_waits), MoreSlotsHelp::No);
    // Whoever gets a slot waits for one lock.
    let mut at_one_lock = four_threads(LeafKind::BackEnd, Independence::Independent);
    at_one_lock.chains.leaves.push(row(Leaf::of(LeafKind::FileLock), &[], 15 * SECOND));
    let verdict = of(&at_one_lock, &[]);
    assert_eq!(verdict.cause().unwrap().kind, LeafKind::BackEnd);
    assert_eq!(verdict.more_slots_help, MoreSlotsHelp::No);
    assert!(verdict.advice.changes().is_empty(), "{}", verdict.advice);
}

#[test]
fn how_long_others_wait_is_not_how_long_it_is_held() {
    let held = LeafTime { longest_ns: 10 * SECOND, requests: 2, ..row(BACK_END, &[], 20 * SECOND) };
    let snapshot = snapshot(vec![row(BACK_END, &[Phase::AcceptQueue], 40 * SECOND), held]);
    let verdict = of(&snapshot, &[]);
    assert_eq!(verdict.cause().map(|cause| cause.longest_ns), Some(2 * SECOND));
}

#[test]
fn who_waits_behind_somebody_at_a_leaf_accuses_it_and_is_not_healthy() {
    use crate::finding::fixture::Scene;
    let scene = Scene::gunicorn("gthread", 4, 10 * SECOND).requests(200);
    let answer = |scene: &Scene, id: &str| {
        let findings = findings(&scene.0, &Thresholds::default());
        findings.into_iter().find(|finding| finding.id == id).map(|finding| finding.answer)
    };
    let waits = scene.clone().leaf(LeafKind::BackEnd, &[Phase::PoolWait], 20 * SECOND);
    assert_eq!(answer(&waits, "back-end"), Some(Answer::Present));
    assert_eq!(answer(&waits, "healthy"), Some(Answer::Absent));
    let usual = scene.leaf(LeafKind::BackEnd, &[], 20 * SECOND);
    assert_eq!(answer(&usual, "back-end"), Some(Answer::Usual));
}

#[test]
fn what_looks_saw_of_some_sleeps_is_what_all_of_them_are_of() {
    let queue = [Phase::PoolWait];
    let pipe = |object| Leaf { object, endpoint: 2, ..Leaf::of(LeafKind::Pipe) };
    let unseen = row(pipe(Object::Descriptor { fd: 7 }), &queue, 6 * SECOND);
    let seen =
        |number| LeafTime { seen: Some(number), ..row(pipe(Object::Named { number }), &queue, 4 * SECOND) };
    let cause = |leaves| of(&snapshot(leaves), &[]).cause().cloned().unwrap();
    let named = cause(vec![unseen.clone(), seen(3)]);
    assert_eq!((named.object, named.seen, named.endpoint), (None, Some(3), Some(2)));
    // Where two things were seen, it is neither of them.
    assert_eq!(cause(vec![unseen.clone(), seen(3), seen(4), seen(5)]).seen, None);
    // Where nobody looked, the descriptor is all that is known.
    assert_eq!(cause(vec![unseen]).object, Some(Object::Descriptor { fd: 7 }));
}
