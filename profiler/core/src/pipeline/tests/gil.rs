//! Waits for the interpreter lock, through all machines.
//!
//! In: scripts of threads whose process has a lock. Out: assertions.

use super::*;
use crate::fact::{InterpreterLock, InterpreterSeen};
use crate::model::gil::Party;

const LOCK: u64 = 0x4000;
const TAKE: Call = Call::FutexWait { address: LOCK + 72, operation: 137, has_timeout: true };
const HANDOVER: Call = Call::FutexWait { address: LOCK + 160, operation: 393, has_timeout: false };

/// The scripts, in a process whose lock is known from the start.
fn run_with_lock(mut scripts: Vec<Script>, end_us: u64) -> Outcome {
    let lock = InterpreterLock { address: LOCK, interpreter: 0, interval_us: 5000 };
    let seen = InterpreterSeen { tgid: 1, locks: vec![lock], ..InterpreterSeen::default() };
    let fact = Body::Fact(Box::new(Fact::InterpreterSeen(seen)));
    scripts[0].events.insert(0, Event { time_ns: START, body: fact });
    let outcome = run(scripts, end_us);
    let gil = &outcome.snapshot.gil;
    let by_edge_ns: u64 = gil.edges.iter().map(|edge| edge.total_ns).sum();
    assert_eq!(by_edge_ns + gil.other_edges_ns, gil.waits.sum_ns());
    outcome
}

/// The waits of `script` that begin now have this holder.
fn because_of(mut script: Script, holder_tid: u32) -> Script {
    if let Some(Event { body: Body::Slice(slice), .. }) = script.events.last_mut() {
        slice.holder_tid = holder_tid;
    }
    script
}

/// ```text
/// thread 2: serves /slow:  accept, recv, python …………………………………………… send
/// thread 3: serves /a:     accept, wait (held by 2), wait (held by 7, which serves nothing), recv, send
/// ```
#[test]
fn a_wait_is_laid_to_the_request_that_held_the_lock_also_before_the_waiter_read_its_own() {
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
    let endpoint = |name: &str| Party::Endpoint(name.to_owned());
    let background = Party::Thread { tgid: 1, tid: 7, comm: String::new() };
    assert_eq!(
        edges,
        [(endpoint("GET /a"), endpoint("GET /slow"), 5001), (endpoint("GET /a"), background, 514)]
    );
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
    assert_eq!(outcome.snapshot.not_measured.iter().find(|(phase, _)| *phase == Phase::GilWait), None);
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
        arguments: [LOCK + 72, 137, 0],
        extra: 1,
        call: Account { blocked_ns: 300 * US, ..Account::default() },
        gap: Account { cpu_ns: 10 * US, ..Account::default() },
        gap_fault_ns: 0,
        gap_blocked_call: -2,
    };
    let end_ns = script.now_ns + 310 * US;
    let mut script = Script { gap: Account::default(), ..script };
    script.events.push(Event { time_ns: end_ns, body: Body::Fact(Box::new(Fact::OpenSlice(open))) });
    let outcome = run_with_lock(vec![script], (end_ns - START) / US);
    assert!(outcome.requests[0].open);
    assert_eq!(us(&outcome.requests[0], Phase::GilWait), 300);
    assert_eq!(outcome.snapshot.gil.waits.sum_ns() / US, 300);
}
