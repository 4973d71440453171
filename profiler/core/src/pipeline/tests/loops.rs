//! Requests that interleave on one thread: whose its time is, what the others wait for, who kept them
//! waiting.
//!
//! In: scripts of an event loop's thread. Out: assertions. Times are in microseconds in the scripts.

use super::*;

mod asyncio;
mod child_tasks;
mod front_end;
mod gevent;
mod handed;
mod in_turn;
mod other_loop;
mod own_thread;
mod passing;
mod reactor;
mod replies;
mod streams;
mod tasks;
mod timers;
mod trio;
mod unattributed;
mod uvloop;

const EPOLL: i32 = 5;
const BACKEND: i32 = 20;
const EAGAIN: i64 = -11;
const KEEP: &[u8] = b"GET /block/20 HTTP/1.1\r\n\r\n";

impl Script {
    /// Waits for what is ready, at most so long; `ready`: how many it found.
    fn look(self, timeout_ms: i32, ready: i64, inside: (u64, u64, u64)) -> Self {
        self.call(Call::EpollWait { epoll_fd: EPOLL, timeout_ms }, ready, inside, 0)
    }

    fn watch(self, fd: i32) -> Self {
        self.call(Call::EpollControl { epoll_fd: EPOLL, operation: 1, fd, events: 0 }, 0, (0, 0, 0), 0)
    }

    fn respond(self, fd: i32) -> Self {
        self.write_head(fd, OK5, (5, 0, 0)).write(fd, 5, (5, 0, 0))
    }

    /// Reads nothing: the client has sent no more.
    fn read_nothing(self, fd: i32) -> Self {
        self.call(Call::Read { fd, asked_bytes: 9, arrival_ns: 0 }, EAGAIN, (0, 0, 0), 4)
    }

    /// Reads a head and as much after it that it is `bytes` in all, less than there was room for.
    fn read_part(self, fd: i32, head: &[u8], bytes: i64, arrival_ns: u64) -> Self {
        self.call(Call::Read { fd, asked_bytes: 65_536, arrival_ns }, bytes, (1, 0, 0), 4)
            .head(fd, true, head)
    }

    fn at(&self, us: u64) -> u64 {
        self.now_ns + us * US
    }
}

/// A loop with two clients that it has served once and that it waits for.
fn loop_of_two() -> Script {
    let mut script = Script::new(1).watch(LISTENER).look(-1, 1, (0, 0, 100));
    for fd in [9, 10] {
        let arrival = script.now_ns;
        script = script.accept(fd, (1, 0, 0)).read(fd, GET, arrival, (1, 0, 0)).respond(fd);
        script = script.read_nothing(fd).watch(fd);
    }
    script.look(-1, 1, (0, 0, 1000))
}

fn requests_of(script: Script) -> (Vec<Request>, Snapshot) {
    let end_us = (script.now_ns - START) / US + 10;
    let outcome = run(vec![script], end_us);
    (outcome.requests, outcome.snapshot)
}

/// ```text
/// loop: read 9, python 30, look … 500 (the timer), python 40, write 9
///                            └ read 10, python 70, write 10 in between
/// ```
#[test]
fn a_sleeping_request_is_parked_while_another_is_served() {
    let script = loop_of_two();
    let first = script.now_ns;
    let script = script.read(9, GET, first, (1, 0, 0)).cpu(30).look(1, 1, (1, 0, 200));
    let second = script.now_ns;
    let script = script
        .read(10, GET, second, (1, 0, 0))
        .cpu(70)
        .respond(10)
        .look(1, 0, (1, 0, 689))
        .cpu(40)
        .respond(9)
        .look(-1, 0, (0, 0, 10));
    let (requests, _) = requests_of(script);
    let (other, slept) = (&requests[2], &requests[3]);
    assert_eq!(us(other, Phase::Cpu), 70);
    assert_eq!(other.total_ns() / US, 1 + 70 + 10);
    assert_eq!(us(slept, Phase::Cpu), 30 + 40);
    assert_eq!(us(slept, Phase::Sleep), 201 + 81 + 689);
    assert_eq!(us(slept, Phase::Unexplained), 0);
    assert_eq!(slept.total_ns() / US, 1 + 30 + 201 + 81 + 690 + 40 + 10);
}

/// ```text
/// loop: read 9, python 10, sleep ─┤ killed … exit
/// ```
#[test]
fn what_a_loop_that_is_killed_did_last_may_have_been_for_another_request_and_is_explained_for_none() {
    let script = loop_of_two();
    let came = script.now_ns;
    let script = script.read(9, GET, came, (1, 0, 0)).cpu(10);
    let mut script = script.call(Call::Sleep, ends::INTERRUPTED, (1, 2, 300), 0);
    script.events.push(ends::exit_after(&script, 20));
    let (requests, _) = requests_of(Script { now_ns: script.at(30), ..script });
    let request = requests.iter().find(|request| request.times.start_ns == came).unwrap();
    assert_eq!((us(request, Phase::Sleep), us(request, Phase::Unexplained)), (0, 10 + 303 + 20));
}

/// ```text
/// loop: accept 9, read 9, socket, connect (would block), look for the listener and the back end, send, look,
/// recv, write 9, close 9;
///       the same once more
/// ```
#[test]
fn a_thread_that_waits_for_a_listener_and_a_back_end_runs_a_loop_although_it_never_waits_for_a_client() {
    let mut script = Script::new(1).watch(LISTENER).look(-1, 1, (0, 0, 100));
    for _ in 0..2 {
        let arrival = script.now_ns;
        script = script
            .accept(9, (1, 0, 0))
            .read(9, GET, arrival, (1, 0, 0))
            .call(Call::Make { class: DescriptorClass::Socket }, i64::from(BACKEND), (2, 0, 0), 0)
            .call(Call::Connect { fd: BACKEND, port: 5432, family: 2, identity: 0 }, -115, (2, 0, 0), 0)
            .watch(BACKEND)
            .look(-1, 1, (0, 0, 300))
            .call(Call::Write { fd: BACKEND }, 30, (3, 0, 0), 0)
            .look(-1, 1, (0, 0, 20_000));
        script = script
            .call(Call::Read { fd: BACKEND, asked_bytes: 9, arrival_ns: 0 }, 8, (1, 0, 0), 0)
            .call(Call::Close { fd: BACKEND }, 0, (1, 0, 0), 0)
            .respond(9)
            .call(Call::Close { fd: 9 }, 0, (1, 0, 0), 0)
            .look(-1, 1, (0, 0, 1000));
    }
    let (requests, snapshot) = requests_of(script);
    assert_eq!(snapshot.event_loops.len(), 1);
    assert_eq!(us(&requests[1], Phase::BackendWait), 20_300);
    assert_eq!(us(&requests[1], Phase::Unexplained), 0);
}

/// ```text
/// loop: read 9, python 5, read 10, write 10, look (others are ready), read 10, write 10, look, python 50,
/// socket, connect (would block), look 300,
///       send, look 20000, recv, write 9
/// ```
#[test]
fn a_back_end_that_nobody_seems_to_open_is_attributed_to_the_one_that_was_left_and_waits_for_nothing_known() {
    let mut script = loop_of_two();
    let first = script.now_ns;
    script = script.read(9, GET, first, (1, 0, 0)).cpu(5);
    for _ in 0..2 {
        let second = script.now_ns;
        script = script.read(10, GET, second, (1, 0, 0)).respond(10).look(0, 1, (1, 0, 0));
    }
    let script = script
        .cpu(50)
        .call(Call::Make { class: DescriptorClass::Socket }, i64::from(BACKEND), (2, 0, 0), 0)
        .call(Call::Connect { fd: BACKEND, port: 5432, family: 2, identity: 0 }, -115, (2, 0, 0), 0)
        .watch(BACKEND)
        .look(-1, 1, (0, 0, 300))
        .call(Call::Write { fd: BACKEND }, 30, (3, 0, 0), 0)
        .look(-1, 1, (0, 0, 20_000))
        .call(Call::Read { fd: BACKEND, asked_bytes: 9, arrival_ns: 0 }, 8, (1, 0, 0), 0)
        .respond(9)
        .look(-1, 0, (0, 0, 10));
    let (requests, snapshot) = requests_of(script);
    let request = requests.iter().find(|request| request.times.start_ns == first).unwrap();
    assert_eq!(us(request, Phase::BackendWait), 20_300);
    assert_eq!(us(request, Phase::Cpu), 5 + 50 + 2 + 2 + 3 + 1);
    // What it waited for before that nobody knows, and that it is its back end is no more than likely.
    assert_eq!(us(request, Phase::Unexplained), 2 * (1 + 10 + 1));
    assert_eq!(snapshot.event_loops[0].paired_by_order, 1);
}

/// A loop with two clients that it has served once, each in the iteration after the one in which it was read.
fn loop_that_defers() -> Script {
    let mut script = Script::new(1).watch(LISTENER).look(-1, 1, (0, 0, 100));
    for fd in [9, 10] {
        let arrival = script.now_ns;
        script = script.accept(fd, (1, 0, 0)).read(fd, GET, arrival, (1, 0, 0)).look(0, 0, (1, 0, 0));
        script = script.respond(fd).watch(fd);
    }
    script.look(-1, 1, (0, 0, 1000))
}

/// ```text
/// loop: read 9, python 5, look, python 30, (look, read 10, look, python 500, write 10) four times; the last
/// time: look, read 10, look, write 10, python 40, write 9
///       `ran`: without that last time, so that the other one was answered in the iteration before
/// ```
#[test]
fn a_timer_that_no_timeout_told_of_is_told_by_a_request_that_was_read_in_the_iteration_before() {
    for ran in [false, true] {
        let script = loop_that_defers();
        let first = script.now_ns;
        let mut script = script.read(9, GET, first, (1, 0, 0)).cpu(5).look(0, 0, (1, 0, 0)).cpu(30);
        let left_ns = script.at(30);
        let mut before_ns = 0;
        for _ in 0..4 {
            script = script.look(0, 1, (1, 0, 0));
            let second = script.now_ns;
            script = script.read(10, GET, second, (1, 0, 0)).look(0, 0, (1, 0, 0));
            before_ns = script.now_ns;
            script = script.cpu(500).respond(10);
        }
        if ran {
            let resumed = script.look(0, 0, (1, 0, 0)).cpu(40).respond(9).look(-1, 0, (0, 0, 10));
            let (requests, _) = requests_of(resumed);
            let slept = requests.iter().find(|request| request.times.start_ns == first).unwrap();
            assert_eq!(us(slept, Phase::Sleep), 0);
            assert!(us(slept, Phase::Unexplained) > 2000);
            continue;
        }
        script = script.look(0, 1, (1, 0, 0));
        let cause_ns = script.now_ns;
        script = script.read(10, GET, cause_ns, (1, 0, 0)).look(0, 0, (1, 0, 0));
        let resumed_ns = script.now_ns;
        let script = script.respond(10).cpu(40).respond(9).look(-1, 0, (0, 0, 10));
        let (requests, _) = requests_of(script);
        let slept = requests.iter().find(|request| request.times.start_ns == first).unwrap();
        assert_eq!(us(slept, Phase::Sleep), (before_ns - left_ns) / US);
        assert_eq!(us(slept, Phase::Unexplained), (cause_ns - before_ns) / US);
        assert_eq!(us(slept, Phase::Cpu), 5 + 30 + 40);
        assert_eq!(us(slept, Phase::LoopWait), 1 + (resumed_ns - cause_ns) / US + 10);
    }
}

/// ```text
/// loop: read 9, socket, connect (would block), look 300 (connected), send, recv (would block), look 20000,
/// recv, write 9
/// ```
#[test]
fn a_request_waits_for_the_back_end_that_it_opened() {
    let script = loop_of_two();
    let first = script.now_ns;
    let backend_read = |result| (Call::Read { fd: BACKEND, asked_bytes: 9, arrival_ns: 0 }, result);
    let script = script
        .read(9, GET, first, (1, 0, 0))
        .call(Call::Make { class: DescriptorClass::Socket }, i64::from(BACKEND), (2, 0, 0), 0)
        .call(Call::Connect { fd: BACKEND, port: 5432, family: 2, identity: 0 }, -115, (2, 0, 0), 0)
        .watch(BACKEND)
        .look(-1, 1, (0, 0, 300))
        .call(Call::Write { fd: BACKEND }, 30, (3, 0, 0), 0)
        .call(backend_read(EAGAIN).0, EAGAIN, (0, 0, 0), 0)
        .look(-1, 1, (0, 0, 20_000))
        .call(backend_read(8).0, 8, (1, 0, 0), 0)
        .cpu(25)
        .respond(9)
        .look(-1, 0, (0, 0, 10));
    let (requests, _) = requests_of(script);
    let request = &requests[2];
    assert_eq!(us(request, Phase::BackendWait), 20_300);
    assert_eq!(us(request, Phase::Cpu), 2 + 2 + 3 + 1 + 25);
    assert_eq!(us(request, Phase::Unexplained), 0);
}

/// ```text
/// loop: read 9, socket, connect (under way, made at once), look, read 10, python 400, look (connected),
/// send, look, read 10, python 5000,
///       │                                                  └ the connection waits for the loop                  │
///       look, recv, write 9                                                  the answer comes after 3000 of these ┘
/// ```
#[test]
fn what_a_back_end_brought_while_the_loop_was_busy_waited_for_the_loop() {
    let script = loop_of_two();
    let first = script.now_ns;
    let script = script
        .read(9, GET, first, (1, 0, 0))
        .call(Call::Make { class: DescriptorClass::Socket }, i64::from(BACKEND), (2, 0, 0), 0)
        .call(Call::Connect { fd: BACKEND, port: 5432, family: 2, identity: 0 }, -115, (2, 0, 0), 0);
    let made = script.now_ns;
    let script = script.watch(BACKEND).look(0, 1, (1, 0, 0));
    let second = script.now_ns;
    let script = script
        .read(10, GET, second, (1, 0, 0))
        .cpu(400)
        .respond(10)
        .look(0, 1, (1, 0, 0))
        .call(Call::Write { fd: BACKEND }, 30, (3, 0, 0), 0)
        .ready(made)
        .call(Call::Read { fd: BACKEND, asked_bytes: 9, arrival_ns: 0 }, EAGAIN, (0, 0, 0), 0)
        .look(0, 1, (1, 0, 0));
    let third = script.now_ns;
    let script = script.read(10, GET, third, (1, 0, 0)).cpu(5000).respond(10);
    let answered = third + 3000 * US;
    let script = script
        .look(0, 1, (1, 0, 0))
        .call(Call::Read { fd: BACKEND, asked_bytes: 9, arrival_ns: 0 }, 8, (1, 0, 0), 0)
        .ready(answered)
        .cpu(25)
        .respond(9)
        .look(-1, 0, (0, 0, 10));
    let (requests, _) = requests_of(script);
    let request = requests.iter().find(|request| request.times.start_ns == first).unwrap();
    assert_eq!(us(request, Phase::BackendWait), 1 + 3000);
    assert_eq!(us(request, Phase::LoopWait), 1 + 1 + 400 + 10 + 1 + (1 + 5000 - 3000) + 10 + 1);
    assert_eq!(us(request, Phase::Unexplained), 0);
}

/// ```text
/// loop: read 9, look 20 000 (the timer), in the queue for a CPU 8000, write 9
/// ```
#[test]
fn a_loop_that_was_woken_and_waits_for_a_cpu_makes_its_requests_wait_for_that_one() {
    let script = loop_of_two();
    let first = script.now_ns;
    let script = script.read(9, GET, first, (1, 0, 0)).look(20, 0, (1, 8000, 20_000)).cpu(30).respond(9);
    let (requests, _) = requests_of(script.look(-1, 0, (0, 0, 10)));
    let request = requests.iter().find(|request| request.times.start_ns == first).unwrap();
    assert_eq!(us(request, Phase::Sleep), 20_000, "{request:?}");
    assert_eq!(us(request, Phase::RunQueue), 8000, "{request:?}");
    assert_eq!(us(request, Phase::LoopWait), 1, "{request:?}");
}

/// ```text
/// loop: read 9, asleep in a blocking call 50 000, write 9, look, read 10 (came 20 000 after the call began),
/// write 10
/// ```
#[test]
fn what_came_during_a_blocking_call_waited_for_the_loop_and_names_who_kept_it() {
    let script = loop_of_two();
    let first = script.now_ns;
    let came = script.at(1 + 10 + 20_000);
    let script = script
        .read(9, KEEP, first, (1, 0, 0))
        .cpu(10)
        .call(Call::Sleep, 0, (0, 0, 50_000), 0)
        .cpu(30)
        .respond(9)
        .look(-1, 1, (0, 0, 0))
        .read(10, GET, came, (1, 0, 0))
        .respond(10)
        .look(-1, 0, (0, 0, 10));
    let (requests, snapshot) = requests_of(script);
    assert_eq!(us(&requests[2], Phase::Sleep), 50_000);
    let victim = &requests[3];
    assert_eq!(us(victim, Phase::LoopWait), 30_000 + 30 + 10);
    assert_eq!(us(victim, Phase::PoolWait), 0);
    let [event_loop] = snapshot.event_loops.as_slice() else { panic!("{:?}", snapshot.event_loops) };
    assert_eq!(event_loop.longest_turn_ns / US, 1 + 10 + 50_000 + 30 + 10);
    assert!(event_loop.lag.max_ns().abs_diff(30_040 * US) < 400 * US, "{}", event_loop.lag.max_ns());
    let holder = &event_loop.holders[0];
    assert_eq!((holder.method.as_str(), holder.path_shape.as_str()), ("GET", "/block/{number}"));
    assert_eq!(holder.longest_ns / US, 50_051);
    assert_eq!(holder.longest_request, Some(requests[2].id));
    assert_eq!((holder.long.count, holder.long.waited, holder.long.waited_ns / US), (1, 1, 30_040));
    assert!(snapshot.slots.are_loops());
    assert_eq!(snapshot.slots.exhausted_ns, snapshot.slots.busy_ns());
}

/// ```text
/// loop: read 9 and 10, look (more to do), python 60, write 9, python 80, write 10
/// ```
#[test]
fn tasks_that_run_after_both_were_read_have_each_their_own_time() {
    let script = loop_of_two();
    let came = script.now_ns;
    let script = script
        .read(9, GET, came, (1, 0, 0))
        .read(10, GET, came, (1, 0, 0))
        .look(0, 0, (1, 0, 0))
        .cpu(60)
        .respond(9)
        .cpu(80)
        .respond(10)
        .look(-1, 0, (0, 0, 10));
    let (requests, _) = requests_of(script);
    assert_eq!(us(&requests[2], Phase::Cpu), 60);
    assert_eq!(us(&requests[3], Phase::Cpu), 80);
    assert_eq!(us(&requests[3], Phase::LoopWait), 1 + 1 + 60 + 10, "{:?}", requests[3].phases);
    assert_eq!(us(&requests[3], Phase::Unexplained), 0);
}

/// ```text
/// loop: read 9, python …, python …, write 10 (parked before): which of the two ran cannot be told
/// ```
#[test]
fn time_in_which_either_of_two_may_have_run_is_explained_for_neither() {
    let script = loop_of_two();
    let came = script.now_ns;
    let script = script.read(10, GET, came, (1, 0, 0)).look(1, 0, (0, 0, 900));
    let second = script.now_ns;
    let script = script
        .read(9, GET, second, (1, 0, 0))
        .cpu(500)
        .respond(10)
        .look(1, 0, (0, 0, 100))
        .cpu(7)
        .respond(9)
        .look(-1, 0, (0, 0, 10));
    let (requests, _) = requests_of(script);
    let (parked, current) = (&requests[2], &requests[3]);
    assert_eq!(us(parked, Phase::Unexplained), 500, "{:?}", parked.phases);
    assert_eq!(us(current, Phase::Unexplained), 500, "{:?}", current.phases);
    assert_eq!(us(current, Phase::Cpu), 7);
}

#[test]
fn a_slow_reader_on_a_loop_is_its_client_s_time_and_holds_nothing() {
    let script = loop_of_two();
    let came = script.now_ns;
    let head = b"HTTP/1.1 200 xx\r\nContent-Length: 1000\r\n\r\n";
    let script = script
        .read(9, GET, came, (1, 0, 0))
        .write_head(9, head, (5, 0, 0))
        .write(9, 400, (5, 0, 0))
        .call(Call::Write { fd: 9 }, EAGAIN, (1, 0, 0), 4)
        .look(-1, 1, (0, 0, 2_000_000))
        .write(9, 600, (5, 0, 0))
        .look(-1, 0, (0, 0, 10));
    let (requests, snapshot) = requests_of(script);
    assert_eq!(us(&requests[2], Phase::ClientWriteStall), 2_000_000, "{:?}", requests[2].phases);
    assert_eq!(snapshot.slots.held_ns(Holding::ClientWriteStall), 0);
}

/// ```text
/// loop: read 9 (100 of a body of 200 with its head), look 100 000 (a timer), python 20, look 700 000, read 9
/// (the rest), write 9
/// ```
#[test]
fn a_slow_body_on_a_loop_is_its_client_s_time_whatever_timers_come_due_meanwhile() {
    const HEAD: &[u8] = b"POST /up HTTP/1.1\r\nContent-Length: 200\r\n\r\n";
    let script = loop_of_two();
    let came = script.now_ns;
    let read = |arrival_ns| Call::Read { fd: 9, asked_bytes: 65_536, arrival_ns };
    let script = script
        .read_part(9, HEAD, HEAD.len() as i64 + 100, came)
        .look(100, 0, (0, 0, 100_000))
        .cpu(20)
        .look(-1, 1, (0, 0, 700_000));
    let rest = script.now_ns;
    let script = script.call(read(rest), 100, (1, 0, 0), 4).respond(9).look(-1, 0, (0, 0, 10));
    let (requests, _) = requests_of(script);
    let stalled = us(&requests[2], Phase::ClientReadStall);
    assert!((800_000..=800_020).contains(&stalled), "{:?}", requests[2].phases);
    assert_eq!(
        us(&requests[2], Phase::Sleep) + us(&requests[2], Phase::Unexplained),
        0,
        "{:?}",
        requests[2].phases
    );
}

/// ```text
/// loop: read 9 (a chunked body: where it ends is not known), socket, connect, look 300, recv, write 9
/// ```
#[test]
fn a_request_whose_body_may_be_whole_turns_to_its_back_end() {
    const HEAD: &[u8] = b"POST /up HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let script = loop_of_two();
    let came = script.now_ns;
    let script = script
        .read_part(9, HEAD, HEAD.len() as i64 + 100, came)
        .call(Call::Make { class: DescriptorClass::Socket }, i64::from(BACKEND), (2, 0, 0), 0)
        .call(Call::Connect { fd: BACKEND, port: 5432, family: 2, identity: 0 }, -115, (2, 0, 0), 0)
        .watch(BACKEND)
        .look(-1, 1, (0, 0, 300))
        .call(Call::Read { fd: BACKEND, asked_bytes: 9, arrival_ns: 0 }, 8, (1, 0, 0), 0)
        .respond(9)
        .look(-1, 0, (0, 0, 10));
    let (requests, _) = requests_of(script);
    assert_eq!(us(&requests[2], Phase::BackendWait), 300, "{:?}", requests[2].phases);
}

/// ```text
/// loop: read 9, write 9 (400 of 1000), registers 9 for writing, look 2 000 000, write 9 (300), look 1 000
/// 000, write 9 (300)
/// ```
#[test]
fn a_loop_that_writes_no_more_than_is_taken_waits_for_its_client_where_it_is_registered_so() {
    const EPOLLIN: u32 = 1;
    const EPOLLOUT: u32 = 4;
    let script = loop_of_two();
    let came = script.now_ns;
    let head = b"HTTP/1.1 200 xx\r\nContent-Length: 1000\r\n\r\n";
    let register = |events| Call::EpollControl { epoll_fd: EPOLL, operation: 3, fd: 9, events };
    let script = script
        .read(9, GET, came, (1, 0, 0))
        .write_head(9, head, (5, 0, 0))
        .write(9, 400, (5, 0, 0))
        .call(register(EPOLLIN | EPOLLOUT), 0, (0, 0, 0), 0)
        .look(-1, 1, (0, 0, 2_000_000))
        .write(9, 300, (5, 0, 0))
        .look(-1, 1, (0, 0, 1_000_000))
        .write(9, 300, (5, 0, 0))
        .call(register(EPOLLIN), 0, (0, 0, 0), 0)
        .look(-1, 0, (0, 0, 10));
    let (requests, snapshot) = requests_of(script);
    assert_eq!(us(&requests[2], Phase::ClientWriteStall), 3_000_000, "{:?}", requests[2].phases);
    assert_eq!(us(&requests[2], Phase::Unexplained), 0);
    assert_eq!(snapshot.slots.held_ns(Holding::ClientWriteStall), 0);
}

/// ```text
/// loop: read 9, socket, connect (would block), look, send, look 20000, recv, read 10, look, python 30, write
/// 10,
///       epoll_ctl (takes the back end off the list), python 200, look 2000 (the timer), write 9
/// ```
#[test]
fn a_request_that_takes_its_back_end_off_the_loop_s_list_runs_from_there_on() {
    let take_off = Call::EpollControl { epoll_fd: EPOLL, operation: 2, fd: BACKEND, events: 0 };
    let script = loop_of_two();
    let came = script.now_ns;
    let script = script
        .read(9, GET, came, (1, 0, 0))
        .call(Call::Make { class: DescriptorClass::Socket }, i64::from(BACKEND), (2, 0, 0), 0)
        .call(Call::Connect { fd: BACKEND, port: 5432, family: 2, identity: 0 }, -115, (2, 0, 0), 0)
        .watch(BACKEND)
        .look(-1, 1, (0, 0, 300))
        .call(Call::Write { fd: BACKEND }, 30, (3, 0, 0), 0)
        .look(-1, 2, (0, 0, 20_000));
    let other_came = script.now_ns;
    let script = script
        .call(Call::Read { fd: BACKEND, asked_bytes: 9, arrival_ns: 0 }, 8, (1, 0, 0), 0)
        .read(10, GET, other_came, (1, 0, 0))
        .look(0, 0, (1, 0, 0))
        .cpu(30)
        .respond(10)
        .call(take_off, 0, (1, 0, 0), 0)
        .cpu(200)
        .look(2, 0, (1, 0, 2000))
        .respond(9)
        .look(-1, 0, (0, 0, 10));
    let (requests, _) = requests_of(script);
    let (other, asked) = (&requests[2], &requests[3]);
    assert_eq!(us(other, Phase::Cpu), 30, "{:?}", other.phases);
    assert_eq!(us(asked, Phase::Cpu), 2 + 2 + 3 + 1 + 1 + 200, "{:?}", asked.phases);
    assert_eq!(us(asked, Phase::BackendWait), 300 + 20_000);
    assert_eq!(us(asked, Phase::Sleep), 2000);
    assert_eq!(us(asked, Phase::Unexplained), 0);
}
