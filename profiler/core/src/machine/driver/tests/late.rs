//! A request that is over before the account of a thread that worked for it has come.
//!
//! In: such a request, what comes then. Out: assertions on when it is reported, and with which phases.

use super::*;
use crate::machine::runtime::late::Owed;
use crate::machine::time::piece::Piece;

/// A thread that has the stretch from 150 to 180 to account for.
const WORKER: Tid = 6;
const MILLISECOND: u64 = 1_000_000;

/// The request ended at 200, with an unexplained stretch that its thread explains later.
fn waits() -> Run {
    let mut run = Run::new(1);
    let mut active = run.ask(0, 1, 100).clone();
    active.pass(150, Phase::Cpu);
    active.pass(180, Phase::Unexplained);
    active.pass(200, Phase::Cpu);
    active.request.times.end_ns = 200;
    assert!(run.state.runtime.late.owe(Owed { key: (0, 1), tid: WORKER, from_ns: 150, until_ns: 180 }));
    let Run { state, entries, .. } = &mut run;
    state.completion_context().complete(active.request, &mut |entry| entries.push(entry));
    run
}

/// A thread was on a CPU from 140 to this time.
fn reports(run: &mut Run, tid: Tid, end_ns: u64) {
    let account = Account { cpu_ns: end_ns - 140, ..Account::default() };
    let piece = Piece { account, cpu: Phase::Cpu, ..Piece::unknown(140, end_ns) };
    let Run { state, entries, .. } = run;
    state.late(tid, [Some(piece), None], end_ns, &mut |entry| entries.push(entry));
}

#[test]
fn a_request_waits_for_the_account_of_its_thread_but_not_for_ever() {
    // What comes then, whether the request is reported, and how much of it is explained.
    let cases: &[(&str, SetUp, Option<u64>)] = &[
        ("nothing", |_| {}, None),
        ("its thread's account", |run| reports(run, WORKER, 190), Some(100)),
        ("a part of that", |run| reports(run, WORKER, 170), None),
        (
            "the rest of it",
            |run| {
                reports(run, WORKER, 170);
                let account = Account { cpu_ns: 20, ..Account::default() };
                let piece = Piece { account, cpu: Phase::Cpu, ..Piece::unknown(170, 190) };
                let Run { state, entries, .. } = run;
                state.late(WORKER, [Some(piece), None], 190, &mut |entry| entries.push(entry));
            },
            Some(100),
        ),
        ("another thread's account", |run| reports(run, WORKER + 1, 190), None),
        ("so long after it that none will come", |run| reports(run, 7, 201 + 100 * MILLISECOND), Some(70)),
        ("just before that", |run| reports(run, 7, 200 + 100 * MILLISECOND), None),
        (
            "its process ends",
            |run| {
                let Run { state, entries, .. } = run;
                state.completion_context().process_ends(1, &mut |entry| entries.push(entry));
            },
            Some(70),
        ),
        (
            "another process does",
            |run| {
                let Run { state, entries, .. } = run;
                state.completion_context().process_ends(2, &mut |entry| entries.push(entry));
            },
            None,
        ),
        (
            "the window ends",
            |run| {
                let Run { state, entries, .. } = run;
                state.completion_context().window_ends(&mut |entry| entries.push(entry));
            },
            Some(70),
        ),
    ];
    for (what, then, expected) in cases {
        let mut run = waits();
        then(&mut run);
        let told = run.requests();
        let cpu_ns =
            |parts: &[(&str, u64)]| parts.iter().find(|(name, _)| *name == "cpu").map_or(0, |(_, ns)| *ns);
        assert_eq!(told.first().map(|(_, parts, _)| cpu_ns(parts)), *expected, "{what}");
        let all_ns: Vec<u64> =
            told.iter().map(|(_, parts, _)| parts.iter().map(|(_, ns)| ns).sum()).collect();
        assert!(all_ns.iter().all(|all_ns| *all_ns == 100), "{what}: it adds up");
        let over = usize::from(expected.is_some());
        assert_eq!((told.len(), run.state.product.served.len()), (over, over), "{what}: it counts once");
    }
}
