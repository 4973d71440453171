//! First sentences of leaves that are made up, word by word.

use profiler_core::model::chain::{Chains, Held, Hops, Leaf, LeafTime, NotFollowed, Object, TakenBy};
use profiler_core::model::life::Life;
use profiler_core::model::{Origin, Process, Setting, Thread};
use profiler_core::verdict;

use super::*;
use crate::report::escape::is_plain;
use crate::report::fixture;

const SECOND: u64 = 1_000_000_000;

fn time(leaf: Leaf, way: &[Phase]) -> LeafTime {
    let hops = way.iter().fold(Hops::NONE, |hops, hop| hops.with(*hop).unwrap());
    LeafTime {
        leaf,
        hops,
        held_ns: 8 * SECOND,
        unusual_ns: 0,
        prevented_ns: None,
        requests: 40,
        longest_ns: 2 * SECOND,
        victim: Some(1),
        is_shared_connection: false,
        is_collecting: false,
        measured: profiler_core::model::independence::Independence::Unknown,
        seen: None,
        waited_at: None,
        place: None,
        example: None,
    }
}

fn snapshot(leaves: Vec<LeafTime>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.requests.completed = 40;
    let request_ns = leaves.iter().map(|time| time.held_ns).sum::<u64>() + 2 * SECOND;
    let endpoints = ["", "GET /fast", "GET /slow"].map(str::to_owned).to_vec();
    let programs = vec!["cc1".to_owned()];
    snapshot.chains = Chains { request_ns, leaves, endpoints, programs, ..Chains::default() };
    snapshot
}

fn said(snapshot: &Snapshot) -> String {
    sentence(snapshot, &[], &verdict::of(snapshot, &[]))
}

fn of_one(leaf: Leaf, way: &[Phase]) -> String {
    said(&snapshot(vec![time(leaf, way)]))
}

fn of(kind: LeafKind, endpoint: u32) -> Leaf {
    Leaf { endpoint, ..Leaf::of(kind) }
}

#[test]
fn each_pattern_has_its_sentence() {
    let back_end = Leaf { object: Object::Peer { port: 5432 }, ..of(LeafKind::BackEnd, 2) };
    let stopped = Leaf { held: Some(Held::Stopped), ..of(LeafKind::StoodStill, 0) };
    let nobody_could = Leaf { unreleased: Some(Unreleased::NobodyCould), ..of(LeafKind::NotReleased, 1) };
    let taken = |taken_by| Leaf { taken_by, ..of(LeafKind::CpuTaken, 1) };
    let queue = [Phase::AcceptQueue];
    for (leaf, way, expected) in [
        (
            back_end,
            &queue[..],
            "GET /fast waits to be accepted, up to 2.00 s, because GET /slow waits for the back end at port 5432 (80.0 % of request time)",
        ),
        (
            back_end,
            &[Phase::LockWait, Phase::GilWait],
            "GET /fast waits for a lock, up to 2.00 s, because GET /slow waits for the back end at port 5432 and keeps the GIL meanwhile (80.0 % of request time)",
        ),
        (
            of(LeafKind::Computing, 1),
            &[Phase::GilWait],
            "GET /fast waits for the GIL, up to 2.00 s, because another of them computes (80.0 % of request time)",
        ),
        (
            of(LeafKind::Sleep, 0),
            &[Phase::LoopWait],
            "GET /fast waits for the event loop, up to 2.00 s, because a thread without a request sleeps on purpose (80.0 % of request time)",
        ),
        (
            of(LeafKind::FileLock, 1),
            &[Phase::FileWait],
            "GET /fast waits for a lock on a file, up to 2.00 s (80.0 % of request time)",
        ),
        (
            taken(Some(TakenBy::Program { number: 0 })),
            &[],
            "GET /fast waits for a CPU, up to 2.00 s: the program cc1 had it (80.0 % of request time)",
        ),
        (
            taken(None),
            &[],
            "GET /fast waits for a CPU, up to 2.00 s: who had it is not known (80.0 % of request time)",
        ),
        (
            nobody_could,
            &[Phase::LockWait],
            "GET /fast waits for a lock that nobody can release, up to 2.00 s (80.0 % of request time)",
        ),
        (
            nobody_could,
            &[Phase::AcceptQueue, Phase::LockWait],
            "GET /fast waits to be accepted, behind threads that wait for a lock that nobody can release, up to 2.00 s (80.0 % of request time)",
        ),
        (
            stopped,
            &queue,
            "GET /fast waits to be accepted, up to 2.00 s, because the process stood still, stopped by a signal (80.0 % of request time)",
        ),
        (
            Leaf::not_followed(NotFollowed::Holder),
            &[Phase::LockWait],
            "For 80.0 % of request time it was not seen for whom requests waited (holder not known)",
        ),
        (
            back_end,
            &[],
            "No request waits for another; 80.0 % of request time: GET /slow waits for the back end at port 5432",
        ),
    ] {
        assert_eq!(of_one(leaf, way), expected);
    }
    assert!(said(&Snapshot::default()).starts_with("No request was seen"));
}

#[test]
fn who_had_a_cpu_may_be_the_server_itself_and_how_much_that_used_is_said() {
    let mut snapshot = snapshot(vec![time(of(LeafKind::CpuTaken, 1), &[])]);
    snapshot.session.cpu_count = 2;
    (snapshot.window.start_ns, snapshot.window.end_ns) = (SECOND, 11 * SECOND);
    let threads = [9, 7].map(|seconds| Thread { cpu_ns: seconds * SECOND, ..Thread::default() });
    snapshot.processes = vec![Process { threads: threads.to_vec(), ..Process::default() }];
    assert_eq!(
        said(&snapshot),
        "GET /fast waits for a CPU, up to 2.00 s: who had it is not known; the server itself used 1.6 of 2 CPUs \
         (80.0 % of request time)"
    );
}

#[test]
fn without_a_single_cause_each_is_named_with_its_share() {
    let queue = [Phase::AcceptQueue];
    let kinds = [LeafKind::BackEnd, LeafKind::Sleep, LeafKind::Child, LeafKind::File];
    let words = said(&snapshot(kinds.map(|kind| time(of(kind, 2), &queue)).to_vec()));
    assert_eq!(
        words,
        "94.1 % of request time is waiting for one another, without a single cause: GET /slow waits for back ends \
         (25.0 %); GET /slow waits for a child process (25.0 %); GET /slow waits for files (25.0 %)"
    );
}

#[test]
fn where_nobody_is_there_the_ends_of_workers_are_said() {
    let mut snapshot = snapshot(vec![time(of(LeafKind::NoThread, 0), &[Phase::AcceptQueue])]);
    let because = |snapshot: &Snapshot| {
        let said = said(snapshot);
        said.split_once("because ").map(|(_, because)| because.to_owned()).unwrap_or_default()
    };
    assert_eq!(because(&snapshot), "nobody is there to serve (80.0 % of request time)");
    let life = |born_ns, requests| Life { born_ns, ended_ns: Some(9), requests, ..Life::default() };
    snapshot.capacity.lives = vec![life(None, 7), life(Some(2), 30), life(Some(3), 31), Life::default()];
    assert_eq!(because(&snapshot), "nobody is there to serve: 3 workers ended (80.0 % of request time)");
    let limit =
        Setting { name: "max_requests".to_owned(), value: "30".to_owned(), origin: Origin::Configured };
    snapshot.server.settings = vec![limit];
    assert_eq!(
        because(&snapshot),
        "nobody is there to serve: 3 workers ended, each after 30 requests (max_requests) (80.0 % of request time)"
    );
    snapshot.capacity.lives.extend([life(Some(4), 3), life(Some(5), 2), life(Some(6), 0)]);
    assert_eq!(because(&snapshot), "nobody is there to serve: 6 workers ended (80.0 % of request time)");
}

#[test]
fn where_nobody_is_served_that_is_said_first() {
    let mut snapshot = snapshot(vec![time(of(LeafKind::Sleep, 2), &[Phase::PoolWait])]);
    snapshot.requests.completed = 0;
    assert!(
        said(&snapshot).starts_with("Nobody is served: GET /fast waits for a free "),
        "{}",
        said(&snapshot)
    );
}

#[test]
fn what_is_worth_knowing_and_nothing_wrong_changes_no_headline() {
    let (snapshot, mut findings) = fixture::healthy();
    let before = headline(&snapshot, &findings);
    let Headline::Usual(sentence) = &before else { panic!("{before:?}") };
    assert!(sentence.starts_with("Nothing wrong found in 1,200 requests"), "{sentence}");
    let healthy = findings.iter().find(|finding| finding.id == summary::HEALTHY).unwrap();
    let notice = Finding { id: "workers-replaced", ..healthy.clone() };
    findings.push(notice);
    assert_eq!(headline(&snapshot, &findings), before);
}

#[test]
fn hostile_names_reach_no_terminal_as_they_are() {
    let (mut snapshot, findings) = fixture::exhausted();
    let hostile = "\u{1b}]0;x\u{7}\u{202e}GET /\n";
    snapshot.chains = fixture::named_chains(snapshot.chains, hostile);
    let style = crate::report::style::Style::plain(Charset::Unicode);
    let text = crate::report::text::render(&snapshot, &findings, style);
    let first = text.split("\n\n").next().unwrap();
    assert!(first.lines().all(|line| line.chars().all(is_plain)) && first.contains(r"\x1b"), "{first}");
}
