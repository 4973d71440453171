//! Waits for the interpreter lock, through all machines.
//!
//! In: scripts of threads whose process has a lock. Out: assertions.

use std::collections::BTreeMap;

use profiler_common::record::detail::Futex;

use super::*;
use crate::fact::{InterpreterLock, InterpreterSeen};
use crate::model::gil::Contender;

pub(super) const LOCK: u64 = 0x4000;
pub(super) const TAKE: Call = Call::FutexWait { address: LOCK + 72, operation: 137, has_timeout: true };
const HANDOVER: Call = Call::FutexWait { address: LOCK + 160, operation: 393, has_timeout: false };

/// The scripts, in a process whose lock is known from the start.
pub(super) fn run_with_lock(mut scripts: Vec<Script>, end_us: u64) -> Outcome {
    let lock = InterpreterLock { address: LOCK, interpreter: 0, interval_us: 5000 };
    let seen = InterpreterSeen { tgid: 1, locks: vec![lock], ..InterpreterSeen::default() };
    let fact = Body::Fact(Box::new(Fact::InterpreterSeen(seen)));
    scripts[0].events.insert(0, Event { time_ns: START, body: fact });
    let outcome = run(scripts, end_us);
    let gil = &outcome.snapshot.gil;
    let by_edge_ns: u64 = gil.edges.iter().map(|edge| edge.total_ns).sum();
    assert_eq!(by_edge_ns + gil.other_edges_ns, gil.waits.sum_ns());
    let by_thread_ns: u64 = gil.thread_edges.iter().map(|edge| edge.total_ns).sum();
    assert_eq!(by_thread_ns + gil.other_thread_edges_ns, gil.waits.sum_ns());
    assert_eq!(gil.locks.iter().map(|lock| lock.wait_ns).sum::<u64>(), gil.waits.sum_ns());
    for request in &outcome.requests {
        let held_ns: u64 = request.gil.holders.iter().map(|holder| holder.wait_ns).sum();
        assert_eq!(held_ns, request.phases.get(Phase::GilWait));
    }
    outcome
}

/// The waits of `script` that begin now have this holder.
pub(super) fn because_of(mut script: Script, holder_tid: u32) -> Script {
    if let Some(Event { body: Body::Slice(slice), .. }) = script.events.last_mut() {
        slice.lock.holder_tid = holder_tid;
    }
    script
}

/// ```text
/// thread 2: serves /slow:  accept, recv, python …………………………………………… send
/// thread 3: serves /a:     accept, wait (held by 2), wait (held by 7, which serves nothing), recv, send
/// ```
#[test]
fn a_wait_is_attributed_to_the_request_that_held_the_lock_also_before_the_waiter_read_its_own() {
    const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\n\r\n";
    let holder = Script::new(2).accept(8, (1, 0, 0));
    let arrival = holder.now_ns;
    let holder = holder.read(8, SLOW, arrival, (5, 0, 0)).cpu(9000).write_head(8, OK5, (5, 0, 0));
    let holder = holder.write(8, 5, (5, 0, 0));
    let waiter = Script::new(3).job_wait((1, 0, 99)).accept(9, (1, 0, 0));
    let arrival = waiter.now_ns;
    let waiter = because_of(waiter.call(TAKE, -110, (1, 0, 5000), 0), 2);
    let waiter = because_of(waiter.cpu(3).call(TAKE, 0, (1, 10, 500), 0), 7);
    let waiter = waiter.read(9, GET, arrival, (5, 0, 0)).write_head(9, OK5, (5, 0, 0)).write(9, 5, (5, 0, 0));
    let outcome = run_with_lock(vec![holder, waiter.job_wait((1, 0, 400))], 12_000);
    let gil = &outcome.snapshot.gil;
    let edges: Vec<_> =
        gil.edges.iter().map(|edge| (edge.waiter.clone(), edge.holder.clone(), edge.total_ns / US)).collect();
    let endpoint = |name: &str| Contender::Endpoint(name.to_owned());
    let background = Contender::Thread { tgid: 1, tid: 7, comm: String::new() };
    assert_eq!(
        edges,
        [(endpoint("GET /a"), endpoint("GET /slow"), 5001), (endpoint("GET /a"), background.clone(), 514)]
    );
    let request = outcome.requests.iter().find(|request| request.http.path == "/a").expect("a request");
    let holders: Vec<_> = request
        .gil
        .holders
        .iter()
        .map(|holder| (holder.contender.clone(), holder.tid, holder.wait_ns / US))
        .collect();
    // Without the 10 µs in which it was ready, which are its run queue's.
    assert_eq!(holders, [(endpoint("GET /slow"), 2, 5001), (background, 7, 504)]);
}

/// ```text
/// thread 2: serves /first …… send, serves /second: recv, python …………………… send
/// thread 3:              wait (held by 2, which serves /first then) ┘
/// ```
#[test]
fn a_wait_is_attributed_to_what_the_holder_served_when_the_wait_began() {
    const FIRST: &[u8] = b"GET /first HTTP/1.1\r\n\r\n";
    const SECOND: &[u8] = b"GET /second HTTP/1.1\r\n\r\n";
    let holder = Script::new(2).accept(8, (1, 0, 0));
    let arrival = holder.now_ns;
    let holder = holder.read(8, FIRST, arrival, (5, 0, 0)).cpu(2000).write_head(8, OK5, (5, 0, 0));
    let holder = holder.write(8, 5, (5, 0, 0));
    let arrival = holder.now_ns;
    let holder = holder.read(8, SECOND, arrival, (5, 0, 0)).cpu(9000).write_head(8, OK5, (5, 0, 0));
    let holder = holder.write(8, 5, (5, 0, 0));
    let waiter = Script::new(3).job_wait((1, 0, 99)).accept(9, (1, 0, 0));
    let arrival = waiter.now_ns;
    let waiter = because_of(waiter.call(TAKE, -110, (1, 0, 5000), 0), 2);
    let waiter = because_of(waiter.cpu(3).call(TAKE, 0, (1, 10, 500), 0), 2);
    let waiter = waiter.read(9, GET, arrival, (5, 0, 0)).write_head(9, OK5, (5, 0, 0)).write(9, 5, (5, 0, 0));
    // What threads are to others is noted from the first wait in their process on.
    let earlier = Script::new(4).call(TAKE, 0, (1, 0, 10), 0);
    let outcome = run_with_lock(vec![holder, waiter.job_wait((1, 0, 400)), earlier], 14_000);
    let known = outcome.snapshot.gil.edges.iter().filter(|edge| edge.holder != Contender::Unknown);
    let edges: Vec<_> = known.map(|edge| (edge.holder.clone(), edge.total_ns / US)).collect();
    let endpoint = |name: &str| Contender::Endpoint(name.to_owned());
    assert_eq!(edges, [(endpoint("GET /first"), 5001), (endpoint("GET /second"), 514)]);
}

/// ```text
/// thread 7:                gives the lock up after 25 µs, which wakes thread 2
/// thread 2: waits ………………………┘ python …………………………………………………………
/// thread 3: serves /a:  wait (found 7 with the lock) ……………………… finds 2 with it
/// ```
#[test]
fn a_wait_in_which_the_lock_passes_to_another_waiter_is_attributed_to_each_for_as_long_as_it_had_it() {
    for (woken_after_us, last_holder_tid, expected) in [
        // Thread 2 was awake before thread 7 had the lock, or never slept for it; then nothing tells when it
        // took it.
        (25, 2, &[(2, 5006, 4976), (7, 25, 25)][..]),
        (0, 2, &[(7, 5031, 5001)]),
        (25, 7, &[(7, 5031, 5001)]),
        (25, 8, &[(7, 5031, 5001)]),
        (25, 0, &[(7, 5031, 5001)]),
    ] {
        let waiter = Script::new(3).job_wait((1, 0, 99)).accept(9, (1, 0, 0));
        let (arrival, begins_us) = (waiter.now_ns, (waiter.now_ns - START) / US);
        let mut waiter = because_of(waiter.call(TAKE, -110, (1, 30, 5000), 0), 7);
        if let Some(Event { body: Body::Slice(slice), .. }) = waiter.events.last_mut() {
            slice.lock.last_holder_tid = last_holder_tid;
        }
        let waiter = waiter.read(9, GET, arrival, (5, 0, 0)).write_head(9, OK5, (5, 0, 0));
        let waiter = waiter.write(9, 5, (5, 0, 0)).job_wait((1, 0, 400));
        let taker = Script::new(2).call(TAKE, 0, (1, 0, begins_us + woken_after_us - 1), 0);
        let taker = taker.cpu(6_000).call(Call::Sleep, 0, (1, 0, 9), 0);
        let outcome = run_with_lock(vec![waiter, taker], 12_000);
        let of_waiter = outcome.snapshot.gil.thread_edges.iter().filter(|edge| edge.waiter.0 == 3);
        let mut edges: Vec<_> = of_waiter.map(|edge| (edge.holder.0, edge.total_ns / US)).collect();
        edges.sort_unstable();
        assert_eq!(edges, expected.iter().map(|(tid, all_us, _)| (*tid, *all_us)).collect::<Vec<_>>());
        let request = outcome.requests.iter().find(|request| request.http.path == "/a").expect("a request");
        let mut holders: Vec<_> =
            request.gil.holders.iter().map(|holder| (holder.tid, holder.wait_ns / US)).collect();
        holders.sort_unstable();
        // Without the 30 µs in which it was ready.
        assert_eq!(holders, expected.iter().map(|(tid, _, own_us)| (*tid, *own_us)).collect::<Vec<_>>());
    }
}

#[test]
fn a_number_that_is_another_process_s_is_no_holder() {
    let elsewhere = Script::new(7).call(Call::Sleep, 0, (1, 0, 50), 0);
    let waiter = Script::new(3).job_wait((1, 0, 99)).accept(9, (1, 0, 0));
    let arrival = waiter.now_ns;
    let waiter = because_of(waiter.call(TAKE, 0, (1, 0, 700), 0), 7);
    let waiter = waiter.read(9, GET, arrival, (5, 0, 0)).write_head(9, OK5, (5, 0, 0)).write(9, 5, (5, 0, 0));
    let mut elsewhere = elsewhere;
    for event in &mut elsewhere.events {
        if let Body::Slice(slice) = &mut event.body {
            slice.tgid = 5;
        }
    }
    let outcome = run_with_lock(vec![elsewhere, waiter], 2_000);
    assert_eq!(outcome.snapshot.gil.edges[0].holder, Contender::Unknown);
}

/// ```text
/// main:   accept ─┐ wakes                       (main holds the lock)
/// pool:   futex ──┴─ wait for the lock, wait again, python, recv, python, wait, send
/// ```
#[test]
fn a_pool_thread_that_waits_for_the_lock_before_it_reads_makes_the_request_wait_for_the_lock() {
    let main = Script::new(1).select((1, 0, 999)).accept(9, (10, 0, 0)).cpu(15).select((1, 0, 9000));
    let accepted = START + 1010 * US;
    let pool = Script::new(2)
        .job_wait((2, 0, 1058))
        .cpu(6)
        .call(TAKE, -110, (3, 0, 5000), 0)
        .cpu(4)
        .call(TAKE, 0, (3, 20, 700), 0)
        .cpu(40)
        .read(9, GET, accepted - 5 * US, (5, 0, 0))
        .cpu(100)
        .call(TAKE, 0, (1, 0, 60), 0)
        .write_head(9, OK5, (6, 0, 0))
        .write(9, 5, (4, 0, 0))
        .cpu(10)
        .job_wait((2, 0, 400));
    let outcome = run_with_lock(vec![main, pool], 12_000);
    let request = &outcome.requests[0];
    assert_eq!(us(request, Phase::AcceptQueue), 5);
    assert_eq!(us(request, Phase::PoolWait), 50);
    assert_eq!(us(request, Phase::GilWait), 5003 + 4 + 703 + 61);
    assert_eq!(us(request, Phase::RunQueue), 20);
    assert_eq!(us(request, Phase::Cpu), 6 + 40 + 100);
    assert_eq!((us(request, Phase::LockWait), us(request, Phase::Unexplained)), (0, 0));
    let gil = &outcome.snapshot.gil;
    assert_eq!((gil.waits.count(), gil.sleeps, gil.past_interval), (2, 3, 1));
    assert_eq!(gil.waits.sum_ns() / US, 5003 + 4 + 723 + 61);
    assert_eq!(
        outcome.snapshot.coverage.not_measured.iter().find(|(phase, _)| *phase == Phase::GilWait),
        None
    );
}

#[test]
fn giving_the_lock_up_by_force_before_reading_is_no_wait_for_work() {
    let main = Script::new(1).select((1, 0, 999)).accept(9, (10, 0, 0)).cpu(15).select((1, 0, 9000));
    let accepted = START + 1010 * US;
    let pool = Script::new(2)
        .job_wait((2, 0, 1058))
        .cpu(100)
        .call(HANDOVER, 0, (1, 0, 30), 0)
        .cpu(2)
        .call(TAKE, 0, (1, 0, 500), 0)
        .read(9, GET, accepted, (5, 0, 0))
        .write_head(9, OK5, (6, 0, 0))
        .write(9, 5, (4, 0, 0))
        .job_wait((2, 0, 400));
    let outcome = run_with_lock(vec![main, pool], 12_000);
    let request = &outcome.requests[0];
    assert_eq!(us(request, Phase::PoolWait), 50);
    assert_eq!((us(request, Phase::LockWait), us(request, Phase::GilWait)), (30, 501));
}

#[test]
fn a_wait_for_the_lock_that_is_open_when_the_window_ends_counts_as_far_as_it_came() {
    let script = Script::new(1).accept(9, (1, 0, 0));
    let arrival = script.now_ns;
    let script = script.read(9, GET, arrival, (5, 0, 0)).cpu(10);
    let open = OpenSlice {
        tgid: 1,
        tid: 1,
        sequence: 2,
        system_call: Some(profiler_common::system_call::FUTEX),
        gap_start_ns: script.now_ns,
        enter_ns: script.now_ns + 10 * US,
        detail: Futex { address: LOCK + 72, operation: 137, has_timeout: true, ..Futex::default() }.words(),
        call: Account { blocked_ns: 300 * US, ..Account::default() },
        gap: Account { cpu_ns: 10 * US, ..Account::default() },
        gap_blocked_call: -2,
        call_undecided_ns: 100 * US,
        ..OpenSlice::default()
    };
    let end_ns = script.now_ns + 310 * US;
    let mut script = Script { gap: Account::default(), ..script };
    script.events.push(Event { time_ns: end_ns, body: Body::Fact(Box::new(Fact::OpenSlice(open))) });
    let outcome = run_with_lock(vec![script], (end_ns - START) / US);
    assert!(outcome.requests[0].seen.open);
    // That it slept on there for 100 µs was not seen.
    assert_eq!(us(&outcome.requests[0], Phase::GilWait), 200);
    assert_eq!(us(&outcome.requests[0], Phase::Unexplained), 100);
    assert_eq!(outcome.snapshot.gil.waits.sum_ns() / US, 300);
}

/// CPython 3.14 and later: who wants the lock when the interpreter ends sleeps in `pause` for ever, a call
/// that is not observed.
#[test]
fn a_thread_that_hangs_once_its_interpreter_ends_waited_up_to_then_and_no_longer() {
    const PAUSE: i32 = 34;
    let script = Script::new(3).accept(9, (1, 0, 0));
    let arrival = script.now_ns;
    let script = script.read(9, GET, arrival, (5, 0, 0)).cpu(10);
    let script = because_of(script.call(TAKE, -110, (1, 0, 5000), 0), 2);
    let hangs = |script: &Script, for_us: u64| OpenSlice {
        tgid: 1,
        tid: 3,
        sequence: 4,
        system_call: None,
        gap_start_ns: script.now_ns,
        enter_ns: script.now_ns + for_us * US,
        call: Account::default(),
        gap: Account { cpu_ns: 4 * US, blocked_ns: (for_us - 4) * US, ..Account::default() },
        gap_blocked_call: PAUSE,
        ..OpenSlice::default()
    };
    let open = hangs(&script, 20_000_000);
    let end_ns = open.enter_ns;
    let mut script = Script { gap: Account::default(), ..script };
    script.events.push(Event { time_ns: end_ns, body: Body::Fact(Box::new(Fact::OpenSlice(open))) });
    let outcome = run_with_lock(vec![script], (end_ns - START) / US);
    let gil = &outcome.snapshot.gil;
    assert_eq!((gil.waits.count(), gil.waits.sum_ns() / US), (1, 5001));
    let edges: Vec<_> = gil.thread_edges.iter().map(|edge| (edge.holder.0, edge.total_ns / US)).collect();
    assert_eq!(edges, [(2, 5001)]);
    let request = &outcome.requests[0];
    assert!(request.seen.open);
    assert_eq!(us(request, Phase::GilWait), 5001);
    assert!(request.total_ns() > 20_000_000 * US, "what it hangs for is the request's all the same");
}

/// Before 3.14 it ends; and whatever is killed ends in the middle of its wait, with or without a last slice.
#[test]
fn a_thread_that_ends_while_it_waits_leaves_its_wait_and_nothing_open() {
    const INTERRUPTED: i64 = -512;
    for last in [true, false] {
        let script = Script::new(3).cpu(50);
        let mut script = because_of(script.call(TAKE, -110, (1, 0, 5000), 0), 2);
        if last {
            script = because_of(script.cpu(3).call(TAKE, INTERRUPTED, (1, 0, 900), 0), 2);
        }
        let exit = Lifecycle { tgid: 1, tid: 3, comm: String::new(), change: Change::Exit { code: 9 } };
        let time_ns = script.now_ns + 2000 * US;
        script.events.push(Event { time_ns, body: Body::Lifecycle(exit) });
        let gil = run_with_lock(vec![script], 1_000_000).snapshot.gil;
        let expected_us = if last { 5001 + 3 + 901 } else { 5001 };
        assert_eq!((gil.waits.count(), gil.waits.sum_ns() / US), (1, expected_us));
        let edges: Vec<_> = gil.thread_edges.iter().map(|edge| (edge.holder.0, edge.total_ns / US)).collect();
        assert_eq!(edges, [(2, expected_us)]);
    }
}

#[test]
fn a_holder_in_another_pid_namespace_is_found_by_the_number_that_it_has_there() {
    let waits = || because_of(Script::new(3).call(TAKE, 0, (1, 0, 700), 0), 12);
    let unknown = because_of(waits().call(Call::Sleep, 0, (1, 0, 9), 0).call(TAKE, 0, (1, 0, 50), 0), 13);
    let mut script = unknown;
    let lock = InterpreterLock { address: LOCK, interpreter: 0, interval_us: 5000 };
    let seen =
        InterpreterSeen { tgid: 1, locks: vec![lock], foreign_numbers: true, ..InterpreterSeen::default() };
    let numbers = crate::fact::ThreadNumbers { tgid: 1, numbers: vec![(1, 1), (12, 4012)] };
    for fact in [Fact::ThreadNumbers(numbers), Fact::InterpreterSeen(seen)] {
        script.events.insert(0, Event { time_ns: START, body: Body::Fact(Box::new(fact)) });
    }
    let gil = run(vec![script], 2_000).snapshot.gil;
    let edges: Vec<_> = gil.thread_edges.iter().map(|edge| (edge.holder.0, edge.total_ns / US)).collect();
    assert_eq!(edges, [(4012, 701), (0, 51)]);
}

/// The second wait is because of a thread that was made after the last listing.
#[test]
fn a_holder_that_was_just_made_in_another_pid_namespace_is_known_where_its_birth_says_its_number() {
    for (child_number, holder) in [(13, 4013), (0, 0)] {
        let script = because_of(Script::new(3).call(TAKE, 0, (1, 0, 700), 0), 12);
        let born_ns = script.now_ns + 1;
        let mut script =
            because_of(script.call(Call::Sleep, 0, (1, 0, 9), 0).call(TAKE, 0, (1, 0, 50), 0), 13);
        let lock = InterpreterLock { address: LOCK, interpreter: 0, interval_us: 5000 };
        let seen = InterpreterSeen {
            tgid: 1,
            locks: vec![lock],
            foreign_numbers: true,
            ..InterpreterSeen::default()
        };
        let numbers = crate::fact::ThreadNumbers { tgid: 1, numbers: vec![(1, 1), (12, 4012)] };
        for fact in [Fact::ThreadNumbers(numbers), Fact::InterpreterSeen(seen)] {
            script.events.insert(0, Event { time_ns: START, body: Body::Fact(Box::new(fact)) });
        }
        let change = Change::Fork { child_tgid: 1, child_tid: 4013, child_number };
        let born = Lifecycle { tgid: 1, tid: 1, comm: String::new(), change };
        script.events.push(Event { time_ns: born_ns, body: Body::Lifecycle(born) });
        let gil = run(vec![script], 2_000).snapshot.gil;
        let mut edges: Vec<_> =
            gil.thread_edges.iter().map(|edge| (edge.holder.0, edge.total_ns / US)).collect();
        edges.sort_unstable();
        let mut expected = vec![(4012, 701), (holder, 51)];
        expected.sort_unstable();
        assert_eq!(edges, expected);
    }
}

#[test]
fn a_main_thread_that_is_called_by_the_number_of_who_forked_its_process_is_the_holder() {
    let mut script = because_of(Script::new(3).call(TAKE, 0, (1, 0, 700), 0), 77);
    let lock = InterpreterLock { address: LOCK, interpreter: 0, interval_us: 5000 };
    let seen = InterpreterSeen {
        tgid: 1,
        locks: vec![lock],
        inherited_number: Some(77),
        ..InterpreterSeen::default()
    };
    let body = Body::Fact(Box::new(Fact::InterpreterSeen(seen)));
    script.events.insert(0, Event { time_ns: START, body });
    let gil = run(vec![script], 2_000).snapshot.gil;
    let edges: Vec<_> = gil.thread_edges.iter().map(|edge| (edge.holder.0, edge.total_ns / US)).collect();
    assert_eq!(edges, [(1, 701)]);
}

/// Six threads, ten thousand waits of one to three sleeps, each with a holder: who made whom wait is what the
/// script says.
#[test]
fn ten_thousand_waits_give_the_edges_that_were_put_in_whatever_their_order() {
    const THREADS: u32 = 6;
    let mut random = 12_345_u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut expected: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    let mut waits = 0;
    let mut scripts = Vec::new();
    for tid in 2..2 + THREADS {
        let mut script = Script::new(tid);
        for _ in 0..10_000_u32.div_ceil(THREADS) {
            script = script.call(Call::Sleep, 0, (1, 0, 1 + next(90)), 0);
            for sleep in 0..1 + next(3) {
                // Between two sleeps of one wait the thread looks at the flag.
                let looked_us = if sleep == 0 { 0 } else { 1 + next(40) };
                let (run_queue_us, asleep_us) = (next(9), 1 + next(5000));
                let holder = 2 + next(u64::from(THREADS)) as u32;
                script = script.cpu(looked_us);
                script = because_of(script.call(TAKE, -110, (1, run_queue_us, asleep_us), 0), holder);
                let holder = if holder == tid { 0 } else { holder };
                *expected.entry((tid, holder)).or_default() += looked_us + 1 + run_queue_us + asleep_us;
            }
            waits += 1;
        }
        scripts.push(script);
    }
    let end_us = scripts.iter().map(|script| (script.now_ns - START) / US).max().unwrap_or(0) + 1;
    let gil = run_with_lock(scripts, end_us).snapshot.gil;
    assert_eq!(gil.waits.count(), waits);
    let found: BTreeMap<(u32, u32), u64> =
        gil.thread_edges.iter().map(|edge| ((edge.waiter.0, edge.holder.0), edge.total_ns / US)).collect();
    assert_eq!(found, expected);
    let by_contender: BTreeMap<(u32, u32), u64> = gil
        .edges
        .iter()
        .map(|edge| {
            let tid = |contender: &Contender| match contender {
                Contender::Thread { tid, .. } => *tid,
                _ => 0,
            };
            ((tid(&edge.waiter), tid(&edge.holder)), edge.total_ns / US)
        })
        .collect();
    assert_eq!(by_contender, expected);
}

proptest! {
    /// Threads of one process whose calls are futex calls on and beside the lock, in any order, with any
    /// holder. Nothing panics, each thread's waits lie within its time off the CPU and between, edges and
    /// requests add up.
    #[test]
    fn any_threads_with_any_futex_calls_add_up(
        threads in prop::collection::vec(
            prop::collection::vec((0u64..120, 0u64..220, 0usize..5, 0u64..3, 0u64..30, 0u64..6000, 0u32..9), 1..40), 1..5,
        ),
    ) {
        let mut whole_us: BTreeMap<u32, u64> = BTreeMap::new();
        let mut scripts = Vec::new();
        for (tid, calls) in (2..).zip(&threads) {
            let mut script = Script::new(tid).accept(9 + tid as i32, (1, 0, 0));
            let arrival = script.now_ns;
            script = script.read(9 + tid as i32, GET, arrival, (5, 0, 0));
            let begun_ns = script.now_ns;
            for (gap_us, distance, operation, cpu_us, run_queue_us, asleep_us, holder) in calls {
                let operation = [137, 128, 129, 393, 1][*operation];
                let address = LOCK + distance;
                let call = if operation & 127 == 1 {
                    Call::FutexWake { address, operation }
                } else {
                    Call::FutexWait { address, operation, has_timeout: operation == 137 }
                };
                let result = [0, -110, -11, -4][(asleep_us % 4) as usize];
                script = script.cpu(*gap_us).call(call, result, (*cpu_us, *run_queue_us, *asleep_us), 0);
                script = because_of(script, *holder);
                if let Some(Event { body: Body::Slice(slice), .. }) = script.events.last_mut() {
                    slice.lock.switches = holder / 3;
                    slice.lock.last_holder_tid = (asleep_us % 9) as u32;
                }
            }
            whole_us.insert(tid, (script.now_ns - begun_ns) / US);
            scripts.push(script.write_head(9 + tid as i32, OK5, (6, 0, 0)).write(9 + tid as i32, 5, (4, 0, 0)));
        }
        let end_us = scripts.iter().map(|script| (script.now_ns - START) / US).max().unwrap_or(0) + 1;
        // The sums are compared in there.
        let outcome = run_with_lock(scripts, end_us);
        let gil = &outcome.snapshot.gil;
        for waiter in &gil.threads {
            prop_assert!(waiter.total_ns / US <= whole_us.get(&waiter.tid).copied().unwrap_or(0));
            prop_assert!(waiter.longest_ns <= waiter.total_ns);
        }
        for lock in &gil.locks {
            prop_assert!(lock.held_at_least_ns <= lock.wait_ns);
            prop_assert!(lock.overtaken.missed <= lock.overtaken.woken);
            prop_assert!(lock.overtaken.missed_ns <= lock.wait_ns);
            prop_assert!(lock.asked.not_honoured_ns <= lock.wait_ns);
            prop_assert_eq!(lock.overtaken.depths.iter().sum::<u64>(), lock.waits);
            prop_assert_eq!(lock.cycles.iter().sum::<u64>(), lock.waits);
            prop_assert_eq!(lock.after_forced + lock.after_voluntary, lock.waits);
        }
    }
}
