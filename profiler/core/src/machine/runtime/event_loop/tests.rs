//! What a request waited for that a loop had left: by what resumed it, and by what the loop's own waits show.
//!
//! In: waits of loops of each kind, what is read in between. Out: assertions on phases. All times are in
//! tenths of a millisecond.

mod kinds;

use super::*;
use crate::event::Call;
use crate::fact::Account;
use crate::loop_kind::unknown::UNKNOWN;

use Phase::{BackendWait, ClientReadStall, ClientWriteStall, LoopWait, Sleep, Unexplained};

const UNIT_NS: u64 = 100_000;
/// When the loop left the request.
const LEFT: u64 = 450;

/// The loop waits. Where it sleeps, its wakeup takes the last tenth of a millisecond.
fn wait(event_loop: &mut EventLoop, (enter, exit): (u64, u64), timeout_ms: i32, result: i64, sequence: u32) {
    let is_look = timeout_ms == 0;
    let blocked_ns = if is_look { 0 } else { (exit - enter - 1) * UNIT_NS };
    let cpu_ns = (exit - enter) * UNIT_NS - blocked_ns;
    let inside = Account { cpu_ns, blocked_ns, ..Account::default() };
    let call = Call::EpollWait { epoll_fd: 4, timeout_ms };
    let (enter_ns, exit_ns) = (enter * UNIT_NS, exit * UNIT_NS);
    let slice = Slice { enter_ns, exit_ns, inside, result, sequence, ..Slice::blank(call) };
    event_loop.has_looked(&slice, 0);
}

/// The loop sleeps until something is ready.
fn sleep(event_loop: &mut EventLoop, span: (u64, u64), timeout_ms: i32) {
    wait(event_loop, span, timeout_ms, 1, 1);
}

/// The loop sleeps until its timeout.
fn sleep_out(event_loop: &mut EventLoop, span: (u64, u64), timeout_ms: i32) {
    wait(event_loop, span, timeout_ms, 0, 1);
}

/// The loop only looks, for a tenth of a millisecond.
fn look(event_loop: &mut EventLoop, enter: u64) {
    wait(event_loop, (enter, enter + 1), 0, 1, 1);
}

/// A loop of no known kind that slept twice, without a timer: until 200, and from 300 until 400.
fn begun(mut event_loop: EventLoop) -> EventLoop {
    sleep(&mut event_loop, (100, 200), -1);
    sleep(&mut event_loop, (300, 400), -1);
    event_loop
}

fn untold() -> EventLoop {
    begun(EventLoop::default())
}

/// A loop of asyncio, where a request that was read in the iteration before resumes.
fn asyncio() -> EventLoop {
    let mut event_loop = untold();
    event_loop.runs(Some(250 * UNIT_NS), LEFT * UNIT_NS, true);
    event_loop
}

fn trio() -> EventLoop {
    let mut event_loop = EventLoop::default();
    event_loop.recognition.may_be_of(&UNKNOWN, true);
    begun(event_loop)
}

/// What a loop does then.
type Then = fn(&mut EventLoop);
type Stretches = [(u64, Phase); 3];

fn explain(
    event_loop: &EventLoop,
    asked: bool,
    (from, until): (u64, u64),
    wants: Wants,
    arrival: u64,
) -> Stretches {
    let (from_ns, until_ns) = (from * UNIT_NS, until * UNIT_NS);
    event_loop
        .explain(asked, from_ns, until_ns, wants, arrival * UNIT_NS)
        .map(|(end_ns, phase)| (end_ns / UNIT_NS, phase))
}

/// What a loop does until a request resumes at this time that is not known to have waited for anything.
type Case = (&'static str, fn() -> EventLoop, Then, u64, Stretches);

fn check(asked: bool, cases: &[Case]) {
    for (what, kind, then, until, expected) in cases {
        let mut event_loop = kind();
        then(&mut event_loop);
        let told = explain(&event_loop, asked, (LEFT, *until), Wants::Unknown, 0);
        assert_eq!(told, *expected, "{what}");
    }
}

/// A request that slept up to the first time, was ready at the second, and waited for the loop.
const fn slept(asleep: u64, ready: u64, until: u64) -> Stretches {
    [(asleep, Sleep), (ready, Unexplained), (until, LoopWait)]
}

/// Nothing shows what it waited for until then.
const fn unknown(ready: u64, until: u64) -> Stretches {
    [(ready, Unexplained), (ready, Unexplained), (until, LoopWait)]
}

/// A request that was ready all the time.
const fn ready(from: u64, until: u64) -> Stretches {
    [(from, LoopWait), (from, LoopWait), (until, LoopWait)]
}

#[test]
fn a_wait_ends_with_its_cause_where_that_is_known_and_else_between_two_looks() {
    let came = |phase, from, ready, until| [(from, phase), (ready, phase), (until, LoopWait)];
    let found = |phase, surely, ready, until| [(surely, phase), (ready, Unexplained), (until, LoopWait)];
    for (what, wants, (from, until), arrival, expected) in [
        ("its end is not after its begin", Wants::Backend, (600, 600), 500, ready(600, 600)),
        ("its answer came", Wants::Backend, (250, 520), 420, came(BackendWait, 250, 420, 520)),
        ("its answer had come before", Wants::Backend, (250, 520), 200, came(BackendWait, 250, 250, 520)),
        ("its answer comes later", Wants::Backend, (250, 520), 600, came(BackendWait, 250, 520, 520)),
        ("its client's bytes came", Wants::ClientRead, (250, 520), 420, came(ClientReadStall, 250, 420, 520)),
        (
            "its client takes more",
            Wants::ClientWrite,
            (250, 520),
            420,
            found(ClientWriteStall, 499, 499, 520),
        ),
        ("nothing says when it came", Wants::Backend, (250, 520), 0, found(BackendWait, 499, 499, 520)),
        ("the loop has not looked since", Wants::Backend, (500, 520), 0, ready(500, 520)),
    ] {
        let mut event_loop = untold();
        sleep(&mut event_loop, (450, 500), -1);
        assert_eq!(explain(&event_loop, false, (from, until), wants, arrival), expected, "{what}");
    }
    let mut event_loop = untold();
    look(&mut event_loop, 410);
    for (what, from, expected) in [
        ("between two looks", 350, found(BackendWait, 400, 410, 420)),
        ("it was left between them", 405, found(BackendWait, 405, 410, 420)),
        ("it was left as the second began", 410, found(BackendWait, 410, 410, 420)),
        ("the loop has not looked since", 411, ready(411, 420)),
    ] {
        assert_eq!(explain(&event_loop, false, (from, 420), Wants::Backend, 0), expected, "{what}");
    }
}

#[test]
fn a_request_that_waited_for_nothing_known_was_ready_where_the_loop_did_not_look_twice() {
    let mut event_loop = untold();
    let told = |event_loop: &EventLoop| explain(event_loop, false, (LEFT, 560), Wants::Unknown, 0);
    look(&mut event_loop, 500);
    assert_eq!(told(&event_loop), ready(LEFT, 560));
    look(&mut event_loop, 550);
    assert_eq!(told(&event_loop), unknown(551, 560), "it was left before the first of two");
}

#[test]
fn a_timer_that_came_due_resumed_a_request_unless_something_else_may_have() {
    let timer: Then = |event_loop| sleep_out(event_loop, (500, 600), 10);
    check(
        false,
        &[
            ("the timeout ended its sleep", untold, timer, 610, slept(599, 599, 610)),
            (
                "another thread woke it as well",
                untold,
                |event_loop| {
                    sleep_out(event_loop, (500, 600), 10);
                    event_loop.woken();
                },
                610,
                unknown(599, 610),
            ),
            (
                "something was ready first",
                untold,
                |event_loop| sleep(event_loop, (500, 560), 10),
                570,
                unknown(559, 570),
            ),
            (
                "it came due while the loop was busy",
                untold,
                |event_loop| {
                    sleep(event_loop, (500, 560), 10);
                    look(event_loop, 650);
                },
                660,
                slept(600, 600, 660),
            ),
            (
                "another request got its answer in the iteration before, and may have let it go on",
                untold,
                |event_loop| {
                    sleep(event_loop, (500, 560), 10);
                    event_loop.has_read_answer(570 * UNIT_NS, None);
                    look(event_loop, 650);
                },
                660,
                unknown(651, 660),
            ),
            (
                "it got it in this iteration, which resumes nobody else in time",
                untold,
                |event_loop| {
                    sleep_out(event_loop, (500, 600), 10);
                    event_loop.has_read_answer(605 * UNIT_NS, None);
                },
                610,
                slept(599, 599, 610),
            ),
            (
                "it got it three iterations before",
                untold,
                |event_loop| {
                    sleep(event_loop, (500, 510), -1);
                    event_loop.has_read_answer(515 * UNIT_NS, None);
                    look(event_loop, 520);
                    look(event_loop, 530);
                    sleep_out(event_loop, (540, 640), 10);
                },
                650,
                slept(639, 639, 650),
            ),
        ],
    );
    check(true, &[("it may have asked a back end", untold, timer, 610, unknown(599, 610))]);
}

#[test]
fn a_parked_request_may_resume_by_a_timer_or_a_wakeup_of_the_last_iterations() {
    let cases: [(&str, Then, bool); 8] = [
        ("nothing happened", |_| {}, false),
        ("the timeout ended its sleep", |event_loop| sleep_out(event_loop, (500, 600), 10), true),
        ("something else did", |event_loop| sleep(event_loop, (500, 560), 10), false),
        (
            "a timer came due since",
            |event_loop| {
                sleep(event_loop, (500, 560), 10);
                look(event_loop, 650);
            },
            true,
        ),
        (
            "there is no timer any more",
            |event_loop| {
                sleep(event_loop, (500, 560), 10);
                sleep(event_loop, (570, 590), -1);
                look(event_loop, 650);
            },
            false,
        ),
        (
            "the next timer is known: the first is over",
            |event_loop| {
                sleep(event_loop, (500, 560), 10);
                sleep(event_loop, (650, 700), 10);
            },
            true,
        ),
        (
            "a timer came due some iterations ago",
            |event_loop| {
                sleep(event_loop, (500, 560), 10);
                [650, 660, 670, 680].into_iter().for_each(|enter| look(event_loop, enter));
            },
            false,
        ),
        ("a wakeup was read", EventLoop::woken, true),
    ];
    for (what, then, expected) in cases {
        let mut event_loop = untold();
        then(&mut event_loop);
        assert_eq!(event_loop.resumes_parked(), expected, "{what}");
    }
}

#[test]
fn whether_a_timer_came_due_for_the_iteration_before_is_known_by_the_timeout_before_it() {
    let cases: [(&str, Then, Option<bool>); 6] = [
        (
            "it did",
            |event_loop| {
                sleep(event_loop, (500, 560), 7);
                look(event_loop, 570);
            },
            Some(true),
        ),
        (
            "it did not",
            |event_loop| {
                sleep(event_loop, (500, 560), 8);
                look(event_loop, 570);
            },
            Some(false),
        ),
        (
            "there is none",
            |event_loop| {
                sleep(event_loop, (500, 560), -1);
                look(event_loop, 570);
            },
            Some(false),
        ),
        ("only the last wait tells", |event_loop| sleep(event_loop, (500, 560), 7), None),
        (
            "the iteration before that one told",
            |event_loop| {
                sleep(event_loop, (500, 560), 7);
                [570, 580].into_iter().for_each(|enter| look(event_loop, enter));
            },
            None,
        ),
        (
            "it only looked, and the wait before that had no timer",
            |event_loop| look(event_loop, 500),
            Some(false),
        ),
    ];
    for (what, then, expected) in cases {
        let mut event_loop = untold();
        then(&mut event_loop);
        assert_eq!(event_loop.timer_for_iteration_before(), expected, "{what}");
    }
}

#[test]
fn a_timer_of_this_iteration_resumed_whoever_resumes_before_any_answer() {
    let mut event_loop = untold();
    sleep_out(&mut event_loop, (500, 600), 10);
    let told = |event_loop: &EventLoop, at: u64| {
        event_loop.timer_of_iteration(at * UNIT_NS).map(|due_ns| due_ns / UNIT_NS)
    };
    assert_eq!([599, 600, 650].map(|at| told(&event_loop, at)), [None, Some(599), Some(599)]);
    event_loop.has_answer(640 * UNIT_NS);
    assert_eq!(told(&event_loop, 650), None, "the answer may have let it");
    look(&mut event_loop, 660);
    assert_eq!(told(&event_loop, 670), None, "it is of the iteration before");
}

#[test]
fn a_report_of_a_thread_came_between_two_looks_where_it_is_handled_an_iteration_later() {
    for (what, kind, until, expected) in [
        ("handled at once", untold as fn() -> EventLoop, 620, (599, 599)),
        ("the request resumed before", untold, 580, (580, 580)),
        ("handled an iteration later", asyncio, 620, (400, 500)),
        ("the request resumed before that", asyncio, 450, (400, 450)),
        ("on trio", trio, 620, (400, 500)),
    ] {
        let mut event_loop = kind();
        sleep(&mut event_loop, (500, 600), -1);
        let (from_ns, surely_ns) = event_loop.told_between(until * UNIT_NS);
        assert_eq!((from_ns / UNIT_NS, surely_ns / UNIT_NS), expected, "{what}");
    }
}
