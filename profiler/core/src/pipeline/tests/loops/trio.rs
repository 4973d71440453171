//! Loops of trio: a task waits by registrations that are good for one event, and each iteration runs its
//! tasks in an order drawn by lot.
//!
//! In: scripts of a loop's thread. Out: assertions. Times are in microseconds in the scripts.

use super::*;

/// `EPOLLIN | EPOLLONESHOT`.
const ONCE: u32 = 1 << 30 | 1;

impl Script {
    /// Waits for one event of a descriptor.
    fn once(self, fd: i32) -> Self {
        self.call(Call::EpollControl { epoll_fd: EPOLL, operation: 3, fd, events: ONCE }, 0, (0, 0, 0), 0)
    }

    /// A client's task answers, and waits for the next request.
    fn answer(self, fd: i32) -> Self {
        self.respond(fd).look(0, 0, (0, 0, 0)).read_nothing(fd).once(fd)
    }
}

/// A loop that has served two clients once, and waits for them.
fn trio() -> Script {
    let mut script = Script::new(1).once(LISTENER).look(-1, 1, (0, 0, 100));
    for fd in [9, 10] {
        let arrival = script.now_ns;
        script = script.accept(fd, (1, 0, 0)).once(LISTENER).read(fd, GET, arrival, (1, 0, 0));
        script = script.look(0, 0, (0, 0, 0)).answer(fd);
    }
    script.look(-1, 1, (0, 0, 1000))
}

fn of(requests: &[Request], start_ns: u64) -> &Request {
    requests.iter().find(|request| request.times.start_ns == start_ns).unwrap()
}

/// What happens while a request is left.
#[derive(Clone, Copy, Debug)]
enum While {
    /// Its timer comes due.
    Timer,
    /// A timer comes due, in the iteration in which an answer is read that may resume any request.
    TimerAndAnswer,
    /// A timer comes due, in the iteration in which a thread's wakeup is read, which may resume any request.
    TimerAndThread,
    /// Something is ready that is no request's.
    Other,
}

/// ```text
/// loop: read 9, look, python 30, look 10 000, … , look, python 40, look, write 9
/// ```
#[test]
fn a_timer_is_told_where_nobody_else_can_have_let_the_request_resume() {
    for (case, slept_us) in
        [(While::Timer, 10_000), (While::TimerAndAnswer, 0), (While::TimerAndThread, 0), (While::Other, 0)]
    {
        let mut script = trio();
        let pair = Call::MakePair { fds: [30, 31] };
        script = script.call(pair, 0, (1, 0, 0), 0).once(30).look(-1, 1, (0, 0, 500));
        let came = script.now_ns;
        script = script.read(9, GET, came, (1, 0, 0)).look(0, 0, (0, 0, 0)).cpu(30);
        script = match case {
            While::Timer | While::TimerAndAnswer | While::TimerAndThread => {
                script.look(10, 0, (0, 0, 10_000))
            }
            While::Other => script.look(-1, 1, (0, 0, 10_000)),
        };
        script = match case {
            While::Timer | While::Other => script,
            While::TimerAndAnswer => {
                script.call(Call::Read { fd: BACKEND, asked_bytes: 9, arrival_ns: 0 }, 8, (1, 0, 0), 0)
            }
            While::TimerAndThread => {
                script.call(Call::Read { fd: 30, asked_bytes: 9, arrival_ns: 0 }, 1, (1, 0, 0), 0)
            }
        };
        script = script.cpu(40).look(0, 0, (0, 0, 0)).answer(9).look(-1, 0, (0, 0, 10));
        let (requests, _) = requests_of(script);
        let request = of(&requests, came);
        assert_eq!(us(request, Phase::Sleep), slept_us, "{case:?}: {:?}", request.phases);
        let unexplained_us = us(request, Phase::Unexplained);
        assert_eq!(unexplained_us < 100, slept_us > 0, "{case:?}: {:?}", request.phases);
    }
}

/// ```text
/// loop: read 9, look, python 30, (look, read 10, look, python 500, write 10) twice; the last time then: read
/// 11, look, write 11, write 9
/// ```
#[test]
fn who_resumes_after_another_in_an_iteration_says_nothing() {
    let script = trio();
    let arrival = script.now_ns;
    let script = script.accept(11, (1, 0, 0)).once(LISTENER).read(11, GET, arrival, (1, 0, 0));
    let script = script.look(0, 0, (0, 0, 0)).answer(11).look(-1, 1, (0, 0, 1000));
    let first = script.now_ns;
    let mut script = script.read(9, GET, first, (1, 0, 0)).look(0, 0, (0, 0, 0)).cpu(30);
    for _ in 0..2 {
        script = script.look(0, 1, (0, 0, 0));
        let second = script.now_ns;
        script = script.read(10, GET, second, (1, 0, 0)).look(0, 0, (0, 0, 0)).cpu(500).answer(10);
    }
    script = script.look(0, 1, (0, 0, 0));
    let third = script.now_ns;
    script = script.read(11, GET, third, (1, 0, 0)).look(0, 0, (0, 0, 0)).cpu(20).respond(11).cpu(40);
    let (requests, _) = requests_of(script.answer(9).look(-1, 0, (0, 0, 10)));
    let slept = of(&requests, first);
    assert_eq!(us(slept, Phase::Sleep), 0, "{:?}", slept.phases);
    assert!(us(slept, Phase::Unexplained) > 1000, "{:?}", slept.phases);
}

/// ```text
/// loop: read 9, look (10 is ready), python 500, read 10, look, write 9, look, write 10
/// ```
#[test]
fn time_before_a_read_is_not_the_reader_s_where_another_may_have_run() {
    let script = trio();
    let came = script.now_ns;
    let script = script.read(9, GET, came, (1, 0, 0)).look(0, 1, (1, 0, 0));
    let other = script.now_ns;
    let script = script.cpu(500).read(10, GET, other, (1, 0, 0)).look(0, 0, (0, 0, 0));
    let script = script.cpu(20).answer(9).look(0, 0, (0, 0, 0)).answer(10).look(-1, 0, (0, 0, 10));
    let (requests, _) = requests_of(script);
    let (ran, reader) = (of(&requests, came), of(&requests, other));
    assert!(us(reader, Phase::Cpu) < 100, "{:?}", reader.phases);
    // And then the other one's answer.
    assert_eq!(us(reader, Phase::LoopWait), 500 + 20 + 10, "{:?}", reader.phases);
    assert!(us(ran, Phase::LoopWait) < 100, "{:?}", ran.phases);
    assert!(us(ran, Phase::Unexplained) + us(ran, Phase::Cpu) >= 500, "{:?}", ran.phases);
}

/// ```text
/// loop: read 9, look, read 9 (no more came), epoll_ctl, look, connect A, look 300, send A, look, read A
/// (nothing yet), epoll_ctl, look 5 000, receive A, look, write 9
/// ```
#[test]
fn reader_that_finds_no_more_says_nothing_of_what_the_request_waits_for() {
    let script = trio();
    let came = script.now_ns;
    let script = script.read(9, GET, came, (1, 0, 0)).look(0, 0, (0, 0, 0)).read_nothing(9).once(9);
    let script = script.look(0, 0, (0, 0, 0)).connect(BACKEND).look(-1, 1, (0, 0, 300)).send(BACKEND);
    let nothing = Call::Read { fd: BACKEND, asked_bytes: 9, arrival_ns: 0 };
    let script = script.look(0, 0, (0, 0, 0)).call(nothing, EAGAIN, (0, 0, 0), 0).once(BACKEND);
    let script = script.look(-1, 1, (0, 0, 5000)).receive(BACKEND).look(0, 0, (0, 0, 0)).cpu(20);
    let (requests, _) = requests_of(script.answer(9).look(-1, 0, (0, 0, 10)));
    let request = of(&requests, came);
    assert_eq!(us(request, Phase::BackendWait), 300 + 5000, "{:?}", request.phases);
    assert_eq!(us(request, Phase::ClientReadStall), 0, "{:?}", request.phases);
    assert_eq!(us(request, Phase::Unexplained), 0, "{:?}", request.phases);
}

/// Who has read its head may run on in that iteration, or start another task, which runs in the next one.
///
/// ```text
/// loop: read 9, look, python 2000, write 10, look 10 000 (the timer), look, write 9
/// ```
#[test]
fn who_slept_later_may_have_run_before_that_in_the_iteration_of_its_head_and_the_next_one() {
    let script = trio();
    let came = script.now_ns;
    let script = script.read(9, GET, came, (1, 0, 0)).read(10, GET, came, (1, 0, 0)).look(0, 0, (0, 0, 0));
    let script = script.cpu(2000).respond(10).look(10, 0, (0, 0, 10_000)).cpu(40).look(0, 0, (0, 0, 0));
    let (requests, _) = requests_of(script.answer(9).look(-1, 0, (0, 0, 10)));
    let slept = requests.last().unwrap();
    assert_eq!(us(slept, Phase::Sleep), 10_000, "{slept:?}");
    assert_eq!(us(slept, Phase::Unexplained), 1 + 2000 + 10, "{slept:?}");
}
