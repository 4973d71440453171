//! Back ends that any of several requests may have opened: whose they are is told later, or by nothing.
//!
//! In: scripts of a loop's thread. Out: assertions. Times are in microseconds in the scripts.

use super::*;

pub(super) const OTHER_BACKEND: i32 = 21;

impl Script {
    /// Opens a connection to a back end.
    pub(super) fn connect(self, fd: i32) -> Self {
        self.call(Call::Make { class: DescriptorClass::Socket }, i64::from(fd), (2, 0, 0), 0)
            .call(Call::Connect { fd, port: 5432, family: 2, identity: 0 }, -115, (2, 0, 0), 0)
            .watch(fd)
    }

    /// Sends the question, once it is connected.
    pub(super) fn send(self, fd: i32) -> Self {
        self.call(Call::Write { fd }, 30, (3, 0, 0), 0)
    }

    pub(super) fn receive(self, fd: i32) -> Self {
        self.call(Call::Read { fd, asked_bytes: 9, arrival_ns: 0 }, 8, (1, 0, 0), 0)
    }

    /// Reads both requests, which sleep then.
    fn read_two(self) -> Self {
        let came = self.now_ns;
        self.read(9, GET, came, (1, 0, 0)).cpu(30).read(10, GET, came, (1, 0, 0)).cpu(30)
    }
}

/// Requests on the two descriptors, by the order in which they ended, and the loop's report.
pub(super) fn last_two(script: Script) -> (Request, Request, crate::model::event_loop::EventLoop) {
    let (mut requests, mut snapshot) = requests_of(script);
    let second = requests.pop().unwrap();
    let first = requests.pop().unwrap();
    (first, second, snapshot.event_loops.remove(0))
}

/// ```text
/// loop: read 9, read 10, look 10 000 (a timer), connect A, look 300, send A, look 9 000 (a timer), connect
/// B, look 300, send B,
///       look 5 000, recv B, python 20, write 9, look 20 000, recv A, python 20, write 10
/// ```
#[test]
fn a_back_end_is_the_request_s_that_resumes_right_after_its_answer() {
    let script = gevent::gevent().read_two().look(10, 0, (1, 0, 10_000)).connect(BACKEND);
    let a_asked = script.now_ns;
    let script =
        script.look(-1, 1, (0, 0, 300)).send(BACKEND).look(10, 0, (0, 0, 9000)).connect(OTHER_BACKEND);
    let script = script.look(-1, 1, (0, 0, 300)).send(OTHER_BACKEND).look(-1, 1, (0, 0, 5000));
    let script = script.receive(OTHER_BACKEND).cpu(20).respond(9).look(-1, 1, (0, 0, 20_000));
    let a_answered = script.now_ns;
    let script = script.receive(BACKEND).cpu(20).respond(10).look(-1, 0, (0, 0, 10));
    let (of_b, of_a, report) = last_two(script);
    assert_eq!(us(&of_b, Phase::BackendWait), 300 + 5000, "{:?}", of_b.phases);
    // But for the calls of its own.
    assert_eq!(us(&of_a, Phase::BackendWait), (a_answered - a_asked) / US - 3, "{:?}", of_a.phases);
    assert_eq!(us(&of_a, Phase::Sleep), 10_000, "{:?}", of_a.phases);
    for request in [&of_a, &of_b] {
        assert_eq!(us(request, Phase::Unexplained), 0, "{:?}", request.phases);
        assert_eq!(us(request, Phase::Cpu), 30 + 2 + 2 + 3 + 1 + 20, "{:?}", request.phases);
    }
    assert_eq!((report.paired_by_order, report.back_ends_unknown), (0, 0));
}

/// ```text
/// loop: read 9, read 10, look 10 000 (a timer), connect A, look 300, send A, look 5 000, recv A, look 2 000
/// (a timer), write 10,
///       look 2 000 (a timer), write 9
/// ```
#[test]
fn where_nothing_tells_which_of_two_asked_a_back_end_that_is_neither_s_and_counted() {
    let script = gevent::gevent().read_two().look(10, 0, (1, 0, 10_000)).connect(BACKEND);
    let script = script.look(-1, 1, (0, 0, 300)).send(BACKEND).look(-1, 1, (0, 0, 5000)).receive(BACKEND);
    let script = script.look(2, 0, (0, 0, 2000)).respond(10).look(2, 0, (0, 0, 2000)).respond(9);
    let (first, second, report) = last_two(script.look(-1, 0, (0, 0, 10)));
    for request in [&first, &second] {
        assert_eq!(us(request, Phase::BackendWait) + us(request, Phase::Sleep), 0, "{:?}", request.phases);
        assert!(us(request, Phase::Unexplained) > 17_000, "{:?}", request.phases);
    }
    assert_eq!((report.paired_by_order, report.back_ends_unknown), (0, 1));
}

/// ```text
/// loop: read 9, read 10, look 10 000 (a timer), connect A, look 300, send A, look 1 000 (a timer), write 9,
/// look 4 000, recv A,
///       look 2 000 (a timer), write 10
/// ```
#[test]
fn a_back_end_that_all_others_cannot_have_asked_as_they_resumed_meanwhile_is_the_one_s_that_is_left() {
    let script = gevent::gevent().read_two().look(10, 0, (1, 0, 10_000)).connect(BACKEND);
    let script = script.look(-1, 1, (0, 0, 300)).send(BACKEND).look(1, 0, (0, 0, 1000)).respond(9);
    let script = script.look(-1, 1, (0, 0, 4000)).receive(BACKEND).look(2, 0, (0, 0, 2000)).respond(10);
    let (other, asked, report) = last_two(script.look(-1, 0, (0, 0, 10)));
    assert_eq!(us(&other, Phase::BackendWait), 0, "{:?}", other.phases);
    assert!(us(&other, Phase::Sleep) > 11_000, "{:?}", other.phases);
    assert_eq!(us(&asked, Phase::BackendWait), 300 + 1000 + 10 + 4000, "{:?}", asked.phases);
    assert_eq!(us(&asked, Phase::Sleep), 10_000 + 2000, "{:?}", asked.phases);
    assert_eq!(us(&asked, Phase::Unexplained), 0, "{:?}", asked.phases);
    assert_eq!((report.paired_by_order, report.back_ends_unknown), (0, 0));
}

/// ```text
/// loop: read 9, read 10, look 10 000 (timers), look, connect A, connect B, look 300, send A, send B, look 3
/// 000, recv B, look 2 000, recv A, recv C,
///       look, (epoll_ctl takes A off,) python 20, write 9, look …
/// ```
#[test]
fn a_task_that_closes_its_back_end_before_it_answers_is_told_by_that() {
    let take_off = Call::EpollControl { epoll_fd: EPOLL, operation: 2, fd: BACKEND, events: 0 };
    let script = loop_of_two().read_two().look(10, 0, (1, 0, 10_000)).look(0, 0, (1, 0, 0));
    let script = script.connect(BACKEND);
    let a_asked = script.now_ns;
    let script = script.connect(OTHER_BACKEND).look(-1, 2, (0, 0, 300)).send(BACKEND).send(OTHER_BACKEND);
    let script = script.look(-1, 2, (0, 0, 5000));
    let answered = script.now_ns;
    let script = script.receive(OTHER_BACKEND).receive(BACKEND).look(0, 0, (1, 0, 0));
    let script = script.call(take_off, 0, (1, 0, 0), 0).cpu(20).respond(9).cpu(20).respond(10);
    let (of_a, of_b, report) = last_two(script.look(-1, 0, (0, 0, 10)));
    // But for its own question.
    assert_eq!(us(&of_a, Phase::BackendWait), (answered - a_asked) / US - 3, "{:?}", of_a.phases);
    assert_eq!(us(&of_b, Phase::BackendWait), 300 + 5000, "{:?}", of_b.phases);
    assert_eq!((report.paired_by_order, report.back_ends_unknown), (0, 0));
}
