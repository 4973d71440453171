//! Loops of asyncio: what the order in which they go on with requests shows.
//!
//! In: scripts of a loop's thread that answers nothing in the iteration in which it was read. Out:
//! assertions. Times are in microseconds in the scripts.

use super::tasks::{FIRST, SECOND};
use super::*;
use ProcessSeen;

/// What happens in the iteration before the request resumes, and in which order they resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// The other request's head is read after this one's, and the other one goes on first.
    After,
    /// The other request's head is read before this one's, and this one goes on first.
    Before,
    /// After the head an answer of a back end is read of which nobody knows whom it lets go on.
    AfterAnAnswer,
    /// As `After`, and the process has uvloop loaded.
    OnUvloop,
}

fn of(requests: &[Request], start_ns: u64) -> &Request {
    requests.iter().find(|request| request.times.start_ns == start_ns).unwrap()
}

/// ```text
/// loop: read 9, look, python 30, (look, read 10, look, python 500, write 10) twice; the last time then: read
/// 11, look, python 20, write 11,
///       python 40, write 9
/// ```
#[test]
fn who_resumes_after_one_that_was_read_in_the_iteration_before_was_let_by_a_timer() {
    for case in [Case::After, Case::Before, Case::AfterAnAnswer, Case::OnUvloop] {
        let mut script = loop_that_defers();
        if case == Case::OnUvloop {
            let seen = ProcessSeen {
                tgid: script.tgid,
                mapped_files: vec!["uvloop".to_owned()],
                ..ProcessSeen::default()
            };
            script.events.push(Event { time_ns: START, body: Body::Fact(Box::new(Fact::ProcessSeen(seen))) });
        }
        let arrival = script.now_ns;
        let script = script.accept(11, (1, 0, 0)).read(11, GET, arrival, (1, 0, 0)).look(0, 0, (1, 0, 0));
        let script = script.respond(11).watch(11).look(-1, 1, (0, 0, 1000));
        let first = script.now_ns;
        let mut script = script.read(9, GET, first, (1, 0, 0)).cpu(5).look(0, 0, (1, 0, 0)).cpu(30);
        let left_ns = script.now_ns + 30 * US;
        let (mut before_ns, mut cause_ns) = (0, 0);
        for _ in 0..2 {
            script = script.look(0, 1, (1, 0, 0));
            before_ns = script.now_ns;
            let second = script.now_ns;
            script = script.read(10, GET, second, (1, 0, 0)).look(0, 0, (1, 0, 0));
            cause_ns = script.now_ns;
            script = script.cpu(500).respond(10);
        }
        let third = script.now_ns;
        script = script.read(11, GET, third, (1, 0, 0));
        if case == Case::AfterAnAnswer {
            script = script.call(Call::Read { fd: BACKEND, asked_bytes: 9, arrival_ns: 0 }, 8, (1, 0, 0), 0);
        }
        script = script.look(0, 0, (1, 0, 0));
        script = match case {
            Case::Before => script.cpu(40).respond(9).cpu(20).respond(11),
            _ => script.cpu(20).respond(11).cpu(40).respond(9),
        };
        let (requests, _) = requests_of(script.look(-1, 0, (0, 0, 10)));
        let slept = of(&requests, first);
        assert_eq!(us(slept, Phase::Cpu), 5 + 30 + 40, "{case:?}: {slept:?}");
        if case == Case::After {
            assert_eq!(us(slept, Phase::Sleep), (before_ns - left_ns) / US, "{slept:?}");
            // When the timer came due within that iteration is not known.
            assert_eq!(us(slept, Phase::Unexplained), (cause_ns - before_ns) / US);
            assert!(us(slept, Phase::LoopWait) > 500);
        } else {
            assert_eq!(us(slept, Phase::Sleep), 0, "{case:?}: {slept:?}");
            assert!(us(slept, Phase::Unexplained) > 1000, "{case:?}: {slept:?}");
        }
    }
}

const OTHER_BACKEND: i32 = 21;

impl Script {
    /// Opens a connection to a back end, which is not made at once.
    fn ask(self, fd: i32) -> Self {
        self.call(Call::Make { class: DescriptorClass::Socket }, i64::from(fd), (2, 0, 0), 0)
            .call(Call::Connect { fd, port: 5432, family: 2, identity: 0 }, -115, (2, 0, 0), 0)
            .watch(fd)
    }

    fn take_off(self, fd: i32) -> Self {
        self.call(Call::EpollControl { epoll_fd: EPOLL, operation: 2, fd, events: 0 }, 0, (0, 0, 0), 0)
    }
}

/// ```text
/// loop: read 9, look, socket, connect, look, read 10, look, socket, connect, look, send twice, look, recv
/// twice, look,
///       epoll_ctl (9 takes its back end off the list), python 300, epoll_ctl (10 does so), python 50, write 10, look, write 9
///                                                       `answers`: 10 writes its answer there, and takes nothing off
/// ```
#[test]
fn time_between_two_requests_that_may_both_have_run_is_unexplained_in_both() {
    for answers in [false, true] {
        let script = loop_that_defers();
        let first = script.now_ns;
        let script = script.read(9, GET, first, (1, 0, 0)).cpu(4).look(0, 0, (1, 0, 0));
        let script = script.ask(BACKEND).look(-1, 1, (0, 0, 300));
        let second = script.now_ns;
        let script = script.read(10, GET, second, (1, 0, 0)).cpu(4).look(0, 0, (1, 0, 0));
        let script = script.ask(OTHER_BACKEND).look(-1, 2, (0, 0, 300));
        let mut script = script
            .call(Call::Write { fd: BACKEND }, 30, (3, 0, 0), 0)
            .call(Call::Write { fd: OTHER_BACKEND }, 30, (3, 0, 0), 0)
            .look(-1, 2, (0, 0, 20_000));
        for fd in [BACKEND, OTHER_BACKEND] {
            script = script.call(Call::Read { fd, asked_bytes: 9, arrival_ns: 0 }, 8, (1, 0, 0), 0);
        }
        script = script.look(0, 0, (1, 0, 0)).take_off(BACKEND).cpu(300);
        script = if answers { script } else { script.take_off(OTHER_BACKEND).cpu(50) };
        let script = script.respond(10).look(2, 0, (0, 0, 1_500)).respond(9).look(-1, 0, (0, 0, 10));
        let (requests, _) = requests_of(script);
        let (one, other) = (of(&requests, first), of(&requests, second));
        assert_eq!((us(one, Phase::Unexplained), us(other, Phase::Unexplained)), (300, 300), "{answers}");
    }
}

/// ```text
/// loop: read 10, look, socket, connect, look, send, look, read 9, look, python 30 (it wants what 10 has),
/// look until a timer comes due 15 000,
///       recv, look, epoll_ctl (10 takes its back end off the list), write 10, look, python 40, write 9
/// ```
#[test]
fn who_resumes_after_another_has_had_its_answer_may_have_been_let_by_that_one_though_a_timer_came_due() {
    let script = loop_that_defers();
    let other = script.now_ns;
    let script = script.read(10, GET, other, (1, 0, 0)).cpu(4).look(0, 0, (1, 0, 0)).ask(BACKEND);
    let script = script.look(-1, 1, (0, 0, 300)).call(Call::Write { fd: BACKEND }, 30, (3, 0, 0), 0);
    let script = script.look(20, 1, (0, 0, 5000));
    let first = script.now_ns;
    let script = script.read(9, GET, first, (1, 0, 0)).cpu(4).look(0, 0, (1, 0, 0)).cpu(30);
    let script = script
        .look(15, 1, (0, 0, 15_000))
        .call(Call::Read { fd: BACKEND, asked_bytes: 9, arrival_ns: 0 }, 8, (1, 0, 0), 0)
        .look(0, 0, (1, 0, 0))
        .take_off(BACKEND)
        .respond(10)
        .look(0, 0, (1, 0, 0))
        .cpu(40)
        .respond(9)
        .look(-1, 0, (0, 0, 10));
    let (requests, _) = requests_of(script);
    let let_go = of(&requests, first);
    assert_eq!(us(let_go, Phase::Sleep), 0, "{let_go:?}");
    assert!(us(let_go, Phase::Unexplained) > 15_000, "{let_go:?}");
}

/// What lets a request go on is read in one iteration. It computes in the next, makes no call there, and then
/// sleeps.
///
/// ```text
/// loop: read 9, look, socket, connect, look, send, look 8000, recv, read 10, look, python 2000, write 10,
/// look 1950 (the timer), look, write 9
///       `head`: read 9 and read 10 in one iteration, then the same from there
/// ```
#[test]
fn who_computes_once_it_was_read_and_then_sleeps_has_slept_only_after_that() {
    for is_head in [true, false] {
        let mut script = loop_that_defers();
        let first = script.now_ns;
        script = script.read(9, GET, first, (1, 0, 0));
        if !is_head {
            script = script.look(0, 0, (1, 0, 0)).ask(BACKEND).look(-1, 1, (0, 0, 300));
            script = script.call(Call::Write { fd: BACKEND }, 30, (3, 0, 0), 0).look(-1, 2, (0, 0, 8000));
            script = script.call(Call::Read { fd: BACKEND, asked_bytes: 9, arrival_ns: 0 }, 8, (1, 0, 0), 0);
        }
        let second = script.now_ns;
        let script = script.read(10, GET, second, (1, 0, 0)).look(0, 0, (1, 0, 0)).cpu(2000).respond(10);
        let script = script.look(2, 0, (0, 0, 1950)).look(0, 0, (1, 0, 0)).respond(9).look(-1, 0, (0, 0, 10));
        let (requests, _) = requests_of(script);
        let slept = of(&requests, first);
        // It was read first, so it had run once the other one wrote.
        assert_eq!(us(slept, Phase::Sleep), 10 + 1950, "{is_head}: {slept:?}");
        // Whether it computed or the other one did, no call shows.
        assert_eq!(us(slept, Phase::Unexplained), 2000, "{is_head}: {slept:?}");
    }
}

/// A look that finds its back end's connection ready, and a read of it that finds nothing, resume nobody.
///
/// ```text
/// loop: read 9, look, socket, connect, look, send, look 8000, recv nothing, read 10, look, python 2000,
/// write 10, look 1950 (the timer), look, write 9
/// ```
#[test]
fn who_read_nothing_of_its_back_end_did_not_run_in_the_iteration_after() {
    let script = loop_that_defers();
    let first = script.now_ns;
    let script = script.read(9, GET, first, (1, 0, 0)).look(0, 0, (1, 0, 0)).ask(BACKEND);
    let script = script.look(-1, 1, (0, 0, 300)).call(Call::Write { fd: BACKEND }, 30, (3, 0, 0), 0);
    let script = script.look(-1, 2, (0, 0, 8000)).read_nothing(BACKEND);
    let second = script.now_ns;
    let script = script.read(10, GET, second, (1, 0, 0)).look(0, 0, (1, 0, 0)).cpu(2000).respond(10);
    let script = script.look(2, 0, (0, 0, 1950)).look(0, 0, (1, 0, 0)).respond(9).look(-1, 0, (0, 0, 10));
    let (requests, _) = requests_of(script);
    let waited = of(&requests, first);
    let waits_us = us(waited, Phase::Sleep) + us(waited, Phase::BackendWait);
    assert!(waits_us >= 8000 + 2010 + 1950, "{waited:?}");
    assert_eq!(us(waited, Phase::Unexplained), 0, "{waited:?}");
}

/// What an asyncio task reads itself (`loop.sock_recv`) it has at once: it runs on in the iteration that
/// reads, and not in the one after.
///
/// ```text
/// loop: read 9, look; task 1: socket, connect; look, send, look 8000; task 1: recv; read 10, look, python
/// 2000, write 10, look 1950 (the timer), look; task 1:
///       write 9
/// ```
#[test]
fn who_reads_its_answer_in_its_own_task_did_not_run_unseen_in_the_iteration_after() {
    let script = loop_that_defers();
    let first = script.now_ns;
    let script = script.task(0).read(9, GET, first, (1, 0, 0)).look(0, 0, (1, 0, 0)).task(FIRST);
    let script = script.ask(BACKEND).task(0).look(-1, 1, (0, 0, 300)).task(FIRST);
    let script = script.call(Call::Write { fd: BACKEND }, 30, (3, 0, 0), 0).task(0).look(-1, 2, (0, 0, 8000));
    let script = script.task(FIRST).receive(BACKEND).task(0);
    let second = script.now_ns;
    let script = script.read(10, GET, second, (1, 0, 0)).look(0, 0, (1, 0, 0)).task(SECOND).cpu(2000);
    let script = script.respond(10).task(0).look(2, 0, (0, 0, 1950)).look(0, 0, (1, 0, 0));
    let script = script.task(FIRST).respond(9).task(0).look(-1, 0, (0, 0, 10));
    let (requests, _) = requests_of(script);
    let slept = of(&requests, first);
    assert!(us(slept, Phase::Sleep) >= 2000 + 1950, "{slept:?}");
    assert_eq!(us(slept, Phase::BackendWait), 300 + 8000, "{slept:?}");
    assert_eq!(us(slept, Phase::Unexplained), 0, "{slept:?}");
}

/// The second of two pipelined requests begins once the first is answered, in that iteration or in the next
/// one. Whether it computes or sleeps then, no call shows. Its client is not slow, though it sends a third
/// request meanwhile.
///
/// ```text
/// loop: read 9 (two heads), read 10, look, python 20, write 9 (the first), python 400, write 10, look,
/// python 30, look 5000 (the timer), look, write 9 (the second)
///       `sends`: read 9 (a third head) instead of that timer
/// ```
#[test]
fn a_pipelined_request_waits_until_the_one_before_is_answered_and_what_it_does_then_is_not_known() {
    for sends in [false, true] {
        let script = loop_that_defers();
        let came = script.now_ns;
        let both = [GET, GET].concat();
        let script = script.read(9, &both, came, (1, 0, 0)).read(10, GET, came, (1, 0, 0));
        let script = script.look(0, 0, (1, 0, 0)).cpu(20).respond(9).cpu(400).respond(10);
        let script = script.look(0, 0, (1, 0, 0)).cpu(30).look(5, i64::from(sends), (0, 0, 5000));
        let third = script.now_ns;
        let script = if sends { script.read(9, GET, third, (1, 0, 0)) } else { script };
        let script = script.look(0, 0, (1, 0, 0)).respond(9).look(-1, 0, (0, 0, 10));
        let (requests, _) = requests_of(script);
        let second = requests.iter().rfind(|request| request.times.start_ns == came).unwrap();
        // After the third head comes one more look.
        assert_eq!(us(second, Phase::LoopWait), 1 + 1 + 1 + 20 + 10 + u64::from(sends), "{second:?}");
        assert_eq!(us(second, Phase::ClientReadStall), 0, "{sends}: {second:?}");
        let unexplained_us = 400 + 10 + 1 + 30 + 5000 + u64::from(!sends);
        assert_eq!(us(second, Phase::Unexplained), unexplained_us, "{sends}: {second:?}");
    }
}

/// uvicorn has a timer of its own ten times a second.
///
/// ```text
/// loop: accept 9, read half a head, look 80 (the loop's own timer), python 20, look 20, read the rest, write
/// 9
/// ```
#[test]
fn a_request_whose_head_is_not_whole_is_not_said_to_sleep_when_a_timer_comes_due() {
    let script = Script::new(1).watch(LISTENER).look(-1, 1, (0, 0, 100));
    let arrival = script.now_ns;
    let (first, rest) = (b"GET /block/20 HTT", b"P/1.1\r\n\r\n");
    let mut script = script.accept(9, (1, 0, 0)).read_part(9, first, 17, arrival).watch(9);
    for _ in 0..3 {
        script = script.look(81, 0, (0, 0, 80_000)).cpu(20).look(100, 0, (0, 0, 1)).cpu(5);
    }
    let script = script.look(81, 1, (0, 0, 20_000));
    let arrival = script.now_ns;
    let script = script.read_part(9, rest, 9, arrival).cpu(40).respond(9).watch(9).look(-1, 1, (0, 0, 10));
    let (requests, _) = requests_of(script);
    let slow = &requests[0];
    assert_eq!(us(slow, Phase::Sleep), 0, "{slow:?}");
    assert_eq!(us(slow, Phase::ClientReadStall), 260_078, "{slow:?}");
}
