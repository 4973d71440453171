//! Scenarios of requests whose beginning or end does not show in a head or a length.
//!
//! In: scripts of threads. Out: assertions.

use super::*;

const CHUNKED: &[u8] = b"HTTP/1.1 200 xx\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_request_whose_end_shows_only_when_its_thread_takes_the_next_one_is_reported() {
    let other = Script::new(1).accept(9, (1, 0, 0)).accept(8, (1, 0, 0));
    let start = other.now_ns;
    let script = Script { now_ns: start, ..Script::new(2) };
    let script =
        script.cpu(5).read(9, GET, start, (5, 0, 0)).write_head(9, CHUNKED, (5, 0, 0)).write(9, 5, (5, 0, 0));
    let script =
        script.cpu(5).read(8, GET, start, (5, 0, 0)).write_head(8, OK5, (5, 0, 0)).write(8, 5, (5, 0, 0));
    let outcome = run(vec![other, script], 1000);
    assert_eq!(outcome.requests.iter().map(|request| request.http.status).collect::<Vec<_>>(), [200, 200]);
    assert_eq!(outcome.snapshot.requests.completed, 2);
}

/// CPython waits without a timeout for the thread that asked for the interpreter.
#[test]
fn a_wait_for_the_interpreter_between_two_chunks_does_not_end_the_response() {
    let script = Script::new(1).accept(9, (1, 0, 0));
    let arrival = script.now_ns;
    let script = script.read(9, GET, arrival, (5, 0, 0)).write_head(9, CHUNKED, (5, 0, 0)).cpu(10);
    let script = script.job_wait((1, 0, 300)).cpu(7).write(9, 40, (5, 0, 0)).call(
        Call::Close { fd: 9 },
        0,
        (1, 0, 0),
        0,
    );
    let outcome = run(vec![script.job_wait((1, 0, 100))], 1000);
    assert_eq!(outcome.requests.len(), 1);
    let request = &outcome.requests[0];
    assert_eq!(request.http.bytes_out, CHUNKED.len() as u64 + 40);
    assert_eq!((us(request, Phase::LockWait), us(request, Phase::Unexplained)), (300, 0));
    assert_eq!(request.total_ns() / US, 5 + 5 + 10 + 301 + 7 + 5);
}

#[test]
fn waiting_for_work_after_a_response_with_an_open_end_leaves_the_slot_free() {
    let script = Script::new(1).accept(9, (1, 0, 0));
    let arrival = script.now_ns;
    let script =
        script.read(9, GET, arrival, (5, 0, 0)).write_head(9, CHUNKED, (5, 0, 0)).write(9, 5, (5, 0, 0));
    let script = script.cpu(10).job_wait((1, 0, 400)).cpu(3);
    let main = Script { now_ns: START + 100 * US, ..Script::new(2) };
    let main = main.call(Call::Close { fd: 9 }, 0, (1, 0, 0), 0);
    let outcome = run(vec![main, script.job_wait((1, 0, 300))], 1000);
    let slot = &outcome.snapshot.slots.observed[0];
    assert_eq!((slot.held_ns(Holding::Request) / US, slot.held_ns(Holding::Housekeeping) / US), (15, 13));
}

#[test]
fn a_body_written_after_the_answer_to_head_is_no_request() {
    let script = Script::new(1).accept(9, (1, 0, 0));
    let arrival = script.now_ns;
    let script = script.read(9, b"HEAD /a HTTP/1.1\r\n\r\n", arrival, (5, 0, 0));
    let script = script.write_head(9, OK5, (5, 0, 0)).write(9, 5, (5, 0, 0)).call(
        Call::Close { fd: 9 },
        0,
        (1, 0, 0),
        0,
    );
    let outcome = run(vec![script], 1000);
    assert_eq!(outcome.requests.len(), 1);
    assert_eq!(outcome.snapshot.coverage.losses.impossible, []);
}

#[test]
fn a_slot_counts_the_requests_that_its_thread_served() {
    let script = Script::new(1).accept(9, (1, 0, 0));
    let arrival = script.now_ns;
    let script = script.read(9, GET, arrival, (5, 0, 0)).write_head(9, OK5, (5, 0, 0)).write(9, 5, (5, 0, 0));
    let outcome = run(vec![script], 1000);
    assert_eq!(outcome.snapshot.slots.observed[0].requests, 1);
}

/// ```text
/// before the window: accept, recv, send … in it: … send returns, close
/// ```
#[test]
fn a_response_being_written_when_the_window_begins_is_a_truncated_request_in_a_slot() {
    let script = Script { now_ns: START + 700 * US, ..Script::new(1) };
    let mut script = script.cpu(10).call(Call::Close { fd: 9 }, 0, (2, 0, 0), 0).select((1, 0, 100));
    let seeded = Connection {
        tgid: 1,
        tid: 1,
        fd: 9,
        listener_fd: LISTENER,
        seeded: true,
        socket: (1, 1),
        established_ns: 0,
        family: 2,
        local_port: 8000,
        peer_port: 1,
        delayed_ms: 0,
    };
    let sending = OpenSlice {
        tgid: 1,
        tid: 1,
        system_call: Some(profiler_common::system_call::SENDTO),
        detail: [9, 0, 16_000_000, 0],
        ..OpenSlice::default()
    };
    let before = |body| Event { time_ns: START - 10 * US, body };
    script.events.insert(0, before(Body::Connection(seeded)));
    script.events.insert(1, before(Body::Fact(Box::new(Fact::OpenSlice(sending)))));
    let outcome = run(vec![script], 1000);
    assert_eq!(outcome.requests.len(), 1);
    let request = &outcome.requests[0];
    assert!(request.seen.truncated && !request.seen.open && request.slot.is_some(), "{request:?}");
    assert_eq!((us(request, Phase::Unexplained), request.total_ns() / US), (700, 700));
    assert_eq!(outcome.snapshot.slots.observed[0].held_ns(Holding::Request) / US, 700);
}

/// ```text
/// before the window: accept, recv, recv of a back end … in it: … recv returns, send, close
/// ```
#[test]
fn what_a_request_did_that_nobody_saw_begin_is_no_wait_for_a_thread() {
    let script = Script { now_ns: START + 700 * US, ..Script::new(1) };
    let script = script.call(Call::Read { fd: 12, asked_bytes: 8192, arrival_ns: 0 }, 5, (1, 0, 0), 0);
    let script = script.cpu(10).write_head(9, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (3, 0, 0));
    let mut script = script.call(Call::Close { fd: 9 }, 0, (2, 0, 0), 0).select((1, 0, 100));
    let seeded = Connection {
        tgid: 1,
        tid: 1,
        fd: 9,
        listener_fd: LISTENER,
        seeded: true,
        socket: (1, 1),
        established_ns: 0,
        family: 2,
        local_port: 8000,
        peer_port: 1,
        delayed_ms: 0,
    };
    script.events.insert(0, Event { time_ns: START - 10 * US, body: Body::Connection(seeded) });
    let outcome = run(vec![script], 1000);
    assert_eq!(outcome.requests.len(), 1);
    let request = &outcome.requests[0];
    assert!(request.seen.truncated, "{request:?}");
    assert_eq!(us(request, Phase::PoolWait), 0, "{request:?}");
}

/// gunicorn's pool threads leave the close to the thread that accepts; until then they wait for their next
/// job.
#[test]
fn a_client_that_hangs_up_in_the_middle_of_its_head_was_what_the_request_waited_for() {
    let main = Script::new(1).accept(9, (1, 0, 0));
    let arrival = main.now_ns;
    let pool = Script { now_ns: arrival, ..Script::new(2) };
    let pool = pool.read(9, b"GET /a HT", arrival, (5, 0, 0)).call(
        Call::Read { fd: 9, asked_bytes: 8192, arrival_ns: 0 },
        0,
        (1, 0, 100),
        0,
    );
    let main = Script { now_ns: pool.now_ns, ..main }.cpu(7).call(Call::Close { fd: 9 }, 0, (1, 0, 0), 0);
    let outcome = run(vec![main, pool.job_wait((1, 0, 500))], 1000);
    let request = &outcome.requests[0];
    assert_eq!((us(request, Phase::ClientReadStall), us(request, Phase::Unexplained)), (100, 8));
}

/// A greenlet or a coroutine waits for something that only its loop knows; no thread was missing.
#[test]
fn a_request_that_an_event_loop_comes_back_to_did_not_wait_for_a_thread() {
    let script = Script::new(1).accept(9, (1, 0, 0));
    let arrival = script.now_ns;
    let script = script.read(9, GET, arrival, (5, 0, 0)).cpu(10).select((1, 0, 300)).cpu(20);
    let outcome = run(vec![script.write_head(9, OK5, (4, 0, 0)).write(9, 5, (1, 0, 0))], 1000);
    let request = &outcome.requests[0];
    assert_eq!((us(request, Phase::PoolWait), us(request, Phase::Unexplained)), (0, 301));
    assert_eq!(us(request, Phase::Cpu), 30);
}

/// ```text
/// thread 2: accept, request, exit    thread 3: request …          one after the other: one slot
///                        thread 4:      request …                 beside it: another
/// ```
#[test]
fn threads_that_come_one_after_the_other_are_one_slot() {
    let serve = |tid, start_us: u64| {
        let script = Script { now_ns: START + start_us * US, ..Script::new(tid) }.accept(9, (1, 0, 0));
        let arrival = script.now_ns;
        let mut script =
            script.read(9, GET, arrival, (5, 0, 0)).write_head(9, OK5, (5, 0, 0)).write(9, 5, (89, 0, 0));
        script.events.push(exit(&script));
        script
    };
    let outcome = run(vec![serve(2, 0), serve(3, 200), serve(4, 400)], 1000);
    let slots = &outcome.snapshot.slots;
    assert_eq!((slots.observed.len(), slots.count(), slots.come_and_go), (1, 1, true));
    assert_eq!((slots.observed[0].requests, slots.observed[0].length_ns() / US), (3, 500));
    let beside = run(vec![serve(2, 0), serve(3, 200), serve(4, 250)], 1000);
    assert_eq!((beside.snapshot.slots.observed.len(), beside.snapshot.slots.count()), (2, 2));
}

fn exit(script: &Script) -> Event {
    exit_after(script, 0)
}

/// The thread ends so long after its last slice.
pub(super) fn exit_after(script: &Script, us: u64) -> Event {
    let (tgid, tid, change) = (script.tgid, script.tid, Change::Exit { code: 0 });
    let body = Body::Lifecycle(Lifecycle { tgid, tid, comm: String::new(), change });
    Event { time_ns: script.now_ns + us * US, body }
}

/// What a sleep that a signal ended would return: `ERESTART_RESTARTBLOCK`, include/linux/errno.h.
pub(super) const INTERRUPTED: i64 = -516;

/// A master kills a worker that takes too long (uWSGI's harakiri, gunicorn's timeout). The signal ends the
/// call that the worker is in.
///
/// ```text
/// thread: accept, recv, python, sleep ─┤ killed … exit
/// ```
#[test]
fn a_request_whose_worker_is_killed_has_what_its_thread_did_up_to_its_last_slice() {
    let begins = |tid: u32| {
        let script = Script::new(tid).accept(9, (1, 0, 0));
        let arrival = script.now_ns;
        script.read(9, GET, arrival, (5, 0, 0)).cpu(10)
    };
    let sleeps = |script: Script| script.call(Call::Sleep, INTERRUPTED, (1, 2, 300), 0);
    type Answer = fn(Script) -> Script;
    let answers: [(&str, Answer, (u64, u64, u64)); 3] = [
        ("nothing of its answer", |script| script, (11, 300, 20)),
        ("a part of its answer", |script| script.write_head(9, OK5, (5, 0, 0)), (11, 300, 0)),
        ("an answer that may be over", |script| script.write_head(9, CHUNKED, (5, 0, 0)), (10, 0, 0)),
    ];
    for (what, answer, (cpu_us, sleep_us, unexplained_us)) in answers {
        for by_first in [true, false] {
            // A thread that is not the process's first ends before it or after it.
            let mut script = sleeps(answer(begins(if by_first { 1 } else { 2 })));
            let first = Script { now_ns: script.now_ns, ..Script::new(1) };
            script.events.push(exit_after(&script, if by_first { 20 } else { 30 }));
            let mut other = Script::new(1);
            if !by_first {
                other.events.push(exit_after(&first, 20));
            }
            let outcome = run(vec![script, other], 1000);
            let request = &outcome.requests[0];
            let told = (us(request, Phase::Cpu), us(request, Phase::Sleep), us(request, Phase::Unexplained));
            assert_eq!(told, (cpu_us, sleep_us, unexplained_us), "{what}, {by_first}");
            assert_eq!(outcome.requests.len(), 1, "{what}, {by_first}");
        }
    }
}

#[test]
fn the_server_s_cpu_time_holds_threads_that_ended() {
    let mut ended = Script::new(2).cpu(40).select((1, 0, 10));
    ended.events.push(exit(&ended));
    let mut living = Script::new(1).cpu(20).select((1, 0, 10));
    let overhead = Fact::Overhead(Overhead::default());
    living.events.push(Event { time_ns: living.now_ns, body: Body::Fact(Box::new(overhead)) });
    let outcome = run(vec![living, ended], 1000);
    assert_eq!(outcome.snapshot.coverage.overhead.map(|overhead| overhead.target_cpu_ns / US), Some(62));
}

/// gunicorn 23 drops what it has read beyond the first request, and closes when the client stays silent.
#[test]
fn a_pipelined_request_that_was_dropped_did_not_wait_for_a_thread() {
    let script = Script::new(1).accept(9, (1, 0, 0));
    let arrival = script.now_ns;
    let script = script.read(9, &[GET, GET].concat(), arrival, (5, 0, 0)).write_head(9, OK5, (5, 0, 0));
    let script =
        script.write(9, 5, (5, 0, 0)).select((1, 0, 300)).call(Call::Close { fd: 9 }, 0, (1, 0, 0), 0);
    let outcome = run(vec![script], 1000);
    let dropped = &outcome.requests[1];
    assert_eq!((dropped.http.status, us(dropped, Phase::PoolWait)), (0, 0));
    assert!(us(dropped, Phase::Unexplained) >= 300);
}
