//! Pools whose requests another thread reads.
//!
//! In: scripts. Out: assertions on what such a request waited for, and whose slot it held.

use super::*;
use crate::fact::{Fact, ProcessSeen};

/// The thread that ended the last call's sleep.
fn woken_by(mut script: Script, tid: u32) -> Script {
    if let Some(Event { body: Body::Slice(slice), .. }) = script.events.last_mut() {
        slice.woken.by_tid = tid;
    }
    script
}

/// ```text
/// loop: accept 9, read ── select ── accept 10, read ── select
/// pool:  futex ─ sleep ───────────────────────── send 9, tell │ sleep, a lock of the application's, send 10, tell ─ futex
/// ```
#[test]
fn a_job_taken_without_a_wait_begins_where_the_one_before_was_done() {
    let lock = |script: Script| {
        let call = Call::FutexWait { address: 77, operation: 393, has_timeout: false };
        woken_by(script.call(call, 0, (0, 0, 90), 0), 7)
    };
    let main = Script::new(1)
        .call(Call::MakePair { fds: [5, 6] }, 0, (1, 0, 0), 0)
        .select((0, 0, 99))
        .accept(9, (10, 0, 0))
        .read(9, GET, START + 105 * US, (5, 0, 0))
        .cpu(5)
        .select((0, 0, 380))
        .accept(10, (10, 0, 0))
        .read(10, GET, START + 505 * US, (5, 0, 0))
        .select((0, 0, 4000));
    let pool = woken_by(Script::new(2).job_wait((2, 0, 128)), 1)
        .call(Call::Sleep, 0, (0, 0, 570), 0)
        .write_head(9, OK5, (6, 0, 0))
        .write(9, 5, (4, 0, 0))
        .cpu(20)
        .call(Call::Write { fd: 6 }, 1, (2, 0, 0), 0)
        .cpu(8)
        .call(Call::Sleep, 0, (0, 0, 70), 0);
    let pool = lock(pool)
        .write_head(10, OK5, (6, 0, 0))
        .write(10, 5, (4, 0, 0))
        .call(Call::Write { fd: 6 }, 1, (2, 0, 0), 0)
        .job_wait((0, 0, 1000));
    let outcome = run(vec![main, pool], 6000);
    let [first, second] = outcome.requests.as_slice() else { panic!("{:?}", outcome.requests) };
    assert_eq!((us(first, Phase::PoolWait), us(first, Phase::Sleep), first.tid), (15, 570, 2));
    let phases =
        [Phase::AcceptQueue, Phase::ReadHead, Phase::PoolWait, Phase::Cpu, Phase::Sleep, Phase::LockWait];
    assert_eq!(phases.map(|phase| us(second, phase)), [5, 5, 217, 8, 70, 90]);
    assert_eq!(us(second, Phase::Unexplained), 0);
    let slots = &outcome.snapshot.slots.observed;
    assert_eq!(slots.iter().map(|slot| slot.tid).collect::<Vec<_>>(), [2], "who only reads is no slot");
}

/// ```text
/// loop: accept 9, read ── select ─────────── read 9 ── select
/// pool:  futex ─ sleep ─ send 9 ─ python 20, tell │ python 8, sleep, a lock and a file of the application's, python 3, send 9, tell ─ futex
/// ```
#[test]
fn a_job_on_the_same_connection_taken_without_a_wait_begins_where_the_one_before_was_done() {
    const FILE: i32 = 12;
    let main = Script::new(1)
        .call(Call::MakePair { fds: [5, 6] }, 0, (1, 0, 0), 0)
        .select((0, 0, 99))
        .accept(9, (10, 0, 0))
        .read(9, GET, START + 105 * US, (5, 0, 0))
        .cpu(5)
        .select((0, 0, 76))
        .read(9, GET, START + 195 * US, (5, 0, 0))
        .select((0, 0, 4000));
    let pool = woken_by(Script::new(2).job_wait((2, 0, 128)), 1)
        .call(Call::Sleep, 0, (0, 0, 50), 0)
        .write_head(9, OK5, (6, 0, 0))
        .write(9, 5, (4, 0, 0))
        .cpu(20)
        .call(Call::Write { fd: 6 }, 1, (2, 0, 0), 0)
        .cpu(8)
        .call(Call::Sleep, 0, (0, 0, 70), 0);
    let lock = Call::FutexWait { address: 77, operation: 393, has_timeout: false };
    let pool = woken_by(pool.call(lock, 0, (0, 0, 90), 0), 7)
        .call(Call::Make { class: DescriptorClass::File }, i64::from(FILE), (2, 0, 0), 0)
        .call(Call::Write { fd: FILE }, 200, (1, 0, 0), 0)
        .call(Call::Close { fd: FILE }, 0, (1, 0, 0), 0)
        .cpu(3)
        .write_head(9, OK5, (6, 0, 0))
        .write(9, 5, (4, 0, 0))
        .call(Call::Write { fd: 6 }, 1, (2, 0, 0), 0)
        .job_wait((0, 0, 1000));
    let outcome = run(vec![main, pool], 3000);
    let [first, second] = outcome.requests.as_slice() else { panic!("{:?}", outcome.requests) };
    assert_eq!((us(first, Phase::PoolWait), us(first, Phase::Sleep), first.tid), (15, 50, 2));
    let phases = [Phase::ReadHead, Phase::PoolWait, Phase::Cpu, Phase::Sleep, Phase::LockWait];
    assert_eq!(phases.map(|phase| us(second, phase)), [5, 1 + 11, 8 + 4 + 3, 70, 90]);
    assert_eq!((us(second, Phase::Write), us(second, Phase::Unexplained)), (10, 0));
    assert_eq!(second.total_ns() / US, 202);
}

/// ```text
/// loop: accept 9, read ── select ───────────────────────── accept 12, read ── select
/// pool:  futex ─ open file 12, sleep ─ close 12 (has no CPU within) ───────────────── send 9, tell ─ futex ─ send 12 ─ futex
/// ```
#[test]
fn a_close_does_not_touch_a_new_connection_that_gets_its_number_meanwhile() {
    const REUSED: i32 = 12;
    let main = Script::new(1)
        .call(Call::MakePair { fds: [5, 6] }, 0, (1, 0, 0), 0)
        .select((0, 0, 99))
        .accept(9, (10, 0, 0))
        .read(9, GET, START + 105 * US, (5, 0, 0))
        .select((0, 0, 185))
        .accept(REUSED, (5, 0, 0))
        .read(REUSED, GET, START + 300 * US, (5, 0, 0))
        .select((0, 0, 4000));
    let pool = woken_by(Script::new(2).job_wait((2, 0, 128)), 1)
        .call(Call::Make { class: DescriptorClass::File }, i64::from(REUSED), (2, 0, 0), 0)
        .call(Call::Sleep, 0, (0, 0, 100), 0)
        .call(Call::Close { fd: REUSED }, 0, (1, 299, 0), 0)
        .cpu(3)
        .write_head(9, OK5, (6, 0, 0))
        .write(9, 5, (4, 0, 0))
        .call(Call::Write { fd: 6 }, 1, (2, 0, 0), 0);
    let pool = woken_by(pool.job_wait((0, 0, 20)), 1)
        .write_head(REUSED, OK5, (6, 0, 0))
        .write(REUSED, 5, (4, 0, 0))
        .job_wait((0, 0, 1000));
    let outcome = run(vec![main, pool], 3000);
    let [first, second] = outcome.requests.as_slice() else { panic!("{:?}", outcome.requests) };
    let phases = [Phase::PoolWait, Phase::Cpu, Phase::Sleep, Phase::RunQueue, Phase::Unexplained];
    assert_eq!(phases.map(|phase| us(first, phase)), [15, 2 + 1 + 3, 100, 299, 0]);
    assert_eq!(phases.map(|phase| us(second, phase)), [257, 0, 0, 0, 0]);
}

/// ```text
/// loop: accept 9, read ── select ───────────────── accept 10, read ── select ── (still there at the end)
/// pool:  futex ─ send 9 ─ futex ──────────────────── the application's lock ─ its pipes ─ send 10 ─ futex
/// ```
#[test]
fn what_a_pool_thread_waits_for_within_a_job_is_no_wait_for_a_thread_while_the_loop_sleeps() {
    let lock = |script: Script| {
        let call = Call::FutexWait { address: 77, operation: 393, has_timeout: false };
        woken_by(script.call(call, 0, (0, 0, 90), 0), 7)
    };
    let pipes = Call::Poll { only_fd: None, low_fds: 0, for_write: false, is_sleep: false };
    let main = Script::new(1)
        .accept(9, (10, 0, 0))
        .read(9, GET, START + 5 * US, (5, 0, 0))
        .select((0, 0, 385))
        .accept(10, (10, 0, 0))
        .read(10, GET, START + 405 * US, (5, 0, 0))
        .select((0, 0, 4000));
    let pool =
        woken_by(Script::new(2).job_wait((2, 0, 28)), 1).write_head(9, OK5, (6, 0, 0)).write(9, 5, (4, 0, 0));
    let pool = woken_by(pool.job_wait((0, 0, 385)), 1);
    let pool = lock(pool)
        .call(pipes, 1, (0, 0, 300), 0)
        .write_head(10, OK5, (6, 0, 0))
        .write(10, 5, (4, 0, 0))
        .job_wait((0, 0, 1000));
    let outcome = run(vec![main, pool], 3000);
    let [_, second] = outcome.requests.as_slice() else { panic!("{:?}", outcome.requests) };
    let phases = [Phase::PoolWait, Phase::LockWait, Phase::Unexplained];
    assert_eq!(phases.map(|phase| us(second, phase)), [10, 90, 300]);
}

/// ```text
/// accept, read, write, close │ asleep in a semaphore for 700 │ epoll, accept, read, write, close
/// ```
#[test]
fn a_wait_for_the_turn_to_accept_is_no_work() {
    const SEMOP: i32 = 65;
    let in_lock = |mut script: Script, us: u64| {
        script.gap.blocked_ns += us * US;
        script
    };
    let after_lock = |mut script: Script| {
        if let Some(Event { body: Body::Slice(slice), .. }) = script.events.last_mut() {
            slice.in_gap.blocked_call = SEMOP;
        }
        script
    };
    let serve = |script: Script| {
        let came = script.now_ns;
        let script = script.accept(9, (1, 0, 0)).read(9, GET, came, (2, 0, 0)).write_head(9, OK5, (5, 0, 0));
        script.write(9, 5, (5, 0, 0)).call(Call::Close { fd: 9 }, 0, (3, 0, 0), 0)
    };
    let script = in_lock(serve(Script::new(1)), 700);
    let script = after_lock(script.call(Call::Make { class: DescriptorClass::Epoll }, 5, (4, 0, 0), 0));
    let script = serve(script);
    let end_us = (script.now_ns - START) / US + 10;
    let outcome = run(vec![script], end_us);
    assert_eq!(outcome.requests.len(), 2);
    let [slot] = outcome.snapshot.slots.observed.as_slice() else { panic!() };
    assert!(slot.held_ns(Holding::Housekeeping) <= 30 * US, "{slot:?}");
    assert!(slot.busy_ns() <= 80 * US, "{slot:?}");
}

#[test]
fn a_ring_of_libuv_s_is_no_ring_for_sockets() {
    for (mapped, words) in
        [("uvloop", "uvloop tells epoll"), ("libuv.so.1", "reads, writes and waits that go")]
    {
        let script = Script::new(1).accept(9, (1, 0, 0)).read(9, GET, START + US, (2, 0, 0));
        let mut script = script.write_head(9, OK5, (5, 0, 0)).write(9, 5, (5, 0, 0));
        let seen = ProcessSeen {
            tgid: script.tgid,
            mapped_files: vec![mapped.to_owned()],
            uses_io_uring: true,
            ..ProcessSeen::default()
        };
        script.events.push(Event { time_ns: START, body: Body::Fact(Box::new(Fact::ProcessSeen(seen))) });
        let spots = run(vec![script], 4000).snapshot.coverage.blind_spots;
        assert!(spots.len() == 1 && spots[0].contains(words), "{mapped}: {spots:?}");
    }
}

/// What a thread is in the middle of as the window ends, after its script.
fn open(script: &Script, system_call: u32, detail: [u64; 4], end_us: u64) -> Event {
    let open = OpenSlice {
        tgid: 1,
        tid: script.tid,
        sequence: script.sequence,
        system_call: Some(system_call),
        gap_start_ns: script.now_ns,
        enter_ns: script.now_ns,
        call: Account { blocked_ns: START + end_us * US - script.now_ns, ..Account::default() },
        detail,
        gap_blocked_call: -2,
        ..OpenSlice::default()
    };
    Event { time_ns: START + end_us * US, body: Body::Fact(Box::new(Fact::OpenSlice(open))) }
}

/// ```text
/// loop: accept 9, read ── select ──── accept 10, read, accept 11, read ── select …
/// pool:  futex ─ sleep ─ send 9, tell ─ futex ───── sleep …
/// ```
#[test]
fn of_requests_that_nobody_has_answered_the_first_has_the_thread_and_the_next_waits_for_it() {
    let main = Script::new(1)
        .call(Call::MakePair { fds: [5, 6] }, 0, (1, 0, 0), 0)
        .select((0, 0, 99))
        .accept(9, (10, 0, 0))
        .read(9, GET, START + 105 * US, (5, 0, 0))
        .select((0, 0, 285))
        .accept(10, (10, 0, 0))
        .read(10, GET, START + 405 * US, (5, 0, 0))
        .cpu(30)
        .accept(11, (10, 0, 0))
        .read(11, GET, START + 450 * US, (5, 0, 0))
        .select((0, 0, 500));
    let pool = woken_by(Script::new(2).job_wait((2, 0, 128)), 1)
        .call(Call::Sleep, 0, (0, 0, 50), 0)
        .write_head(9, OK5, (6, 0, 0))
        .write(9, 5, (4, 0, 0))
        .call(Call::Write { fd: 6 }, 1, (2, 0, 0), 0);
    let pool = woken_by(pool.job_wait((2, 0, 228)), 1);
    let mut pool = pool;
    let event = open(&pool, profiler_common::system_call::CLOCK_NANOSLEEP, [0; 4], 1000);
    pool.events.push(event);
    let outcome = run(vec![main, pool], 1000);
    let [_, second, third] = outcome.requests.as_slice() else { panic!("{:?}", outcome.requests) };
    assert!(second.seen.open && third.seen.open);
    assert_eq!((us(second, Phase::Sleep), us(second, Phase::Unexplained)), (555, 0), "{second:?}");
    assert_eq!((us(third, Phase::PoolWait), us(third, Phase::Unexplained)), (540, 0), "{third:?}");
    assert_eq!(outcome.snapshot.slots.busy_ns() / US, 870 - 228 - 2);
}
