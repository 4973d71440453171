//! What resumed a request on asyncio and trio, each of which does so in an order of its own.
//!
//! In: waits of such loops, what is read in between. Out: assertions on phases.

use super::*;

#[test]
fn on_asyncio_a_request_resumes_an_iteration_after_its_cause() {
    let timer: Then = |event_loop| {
        sleep_out(event_loop, (500, 600), 10);
        look(event_loop, 620);
    };
    check(
        false,
        &[
            ("a timer", asyncio, timer, 630, slept(599, 599, 630)),
            (
                "another thread's note was read in the iteration before",
                asyncio,
                |event_loop| {
                    look(event_loop, 500);
                    event_loop.woken();
                    look(event_loop, 550);
                },
                560,
                unknown(501, 560),
            ),
            (
                "it resumes after one whose head was read in that iteration: a timer",
                asyncio,
                |event_loop| {
                    after_one_read_at(event_loop, 510);
                    event_loop.surely_runs(9);
                },
                570,
                slept(LEFT, 501, 570),
            ),
            (
                "it resumes before that one",
                asyncio,
                |event_loop| after_one_read_at(event_loop, 510),
                570,
                unknown(551, 570),
            ),
            (
                "that one was read earlier",
                asyncio,
                |event_loop| {
                    after_one_read_at(event_loop, 490);
                    event_loop.surely_runs(9);
                },
                570,
                unknown(551, 570),
            ),
            (
                "something was read meanwhile",
                asyncio,
                |event_loop| {
                    after_one_read_at(event_loop, 510);
                    event_loop.surely_runs(9);
                    event_loop.has_heard(None);
                },
                570,
                unknown(551, 570),
            ),
        ],
    );
    check(true, &[("it may have asked a back end", asyncio, timer, 630, unknown(621, 630))]);
}

/// Between two looks the loop hears a request whose head was complete at this time.
fn after_one_read_at(event_loop: &mut EventLoop, read: u64) {
    look(event_loop, 500);
    event_loop.has_heard(Some((9, Some(read * UNIT_NS))));
    event_loop.runs(None, 520 * UNIT_NS, false);
    look(event_loop, 550);
}

#[test]
fn on_trio_a_timer_resumes_a_request_in_the_iteration_that_finds_it_due() {
    fn timer(event_loop: &mut EventLoop) {
        sleep_out(event_loop, (500, 600), 10);
    }
    check(
        false,
        &[
            ("at once", trio, timer, 610, slept(599, 599, 610)),
            (
                "and shows it in the next",
                trio,
                |event_loop| {
                    timer(event_loop);
                    look(event_loop, 650);
                },
                660,
                slept(599, 650, 660),
            ),
            (
                "a thread may have resumed it",
                trio,
                |event_loop| {
                    timer(event_loop);
                    event_loop.woken();
                },
                610,
                unknown(599, 610),
            ),
            (
                "another request may have, which got its answer",
                trio,
                |event_loop| {
                    timer(event_loop);
                    event_loop.has_read_answer(610 * UNIT_NS, None);
                    look(event_loop, 650);
                },
                660,
                unknown(651, 660),
            ),
        ],
    );
    check(true, &[("it may have asked a back end", trio, timer, 610, unknown(599, 610))]);
}

#[test]
fn on_asyncio_a_timer_whose_timeout_was_rounded_up_may_have_come_due_in_the_last_millisecond() {
    // In tenths of a millisecond: something else wakes the loop at 559.
    fn woken(event_loop: &mut EventLoop, timeout_ms: i32) {
        sleep(event_loop, (500, 560), timeout_ms);
        look(event_loop, 563);
        look(event_loop, 566);
    }
    let due: Then = |event_loop| woken(event_loop, 7);
    check(
        false,
        &[
            ("in that millisecond", asyncio, due, 568, slept(560, 564, 568)),
            ("before it", asyncio, |event_loop| woken(event_loop, 8), 568, unknown(567, 568)),
            ("there is no timer", asyncio, |event_loop| woken(event_loop, -1), 568, unknown(567, 568)),
            (
                "a thread may have resumed it",
                asyncio,
                |event_loop| {
                    sleep(event_loop, (500, 560), 7);
                    event_loop.woken();
                    look(event_loop, 566);
                },
                568,
                unknown(559, 568),
            ),
            ("the loop may be another's", untold, due, 568, unknown(567, 568)),
            (
                "a loop of no known kind has tasks that go round",
                || {
                    let mut event_loop = untold();
                    event_loop.recognition.has_tasks = true;
                    event_loop
                },
                due,
                568,
                slept(560, 567, 568),
            ),
        ],
    );
    // The timeout was told before the loop left it: its own timer may be another.
    let mut event_loop = asyncio();
    woken(&mut event_loop, 7);
    assert_eq!(explain(&event_loop, false, (510, 568), Wants::Unknown, 0), unknown(567, 568));
}

#[test]
fn a_loop_of_asyncio_knows_what_threads_told_it_until_it_had_the_interpreter_lock_after_its_look() {
    let lock = |exit: u64, sequence| Slice {
        exit_ns: exit * UNIT_NS,
        sequence,
        ..Slice::blank(Call::FutexWait { address: 7, operation: 0, has_timeout: true })
    };
    for (what, kind, locks, expected) in [
        ("it had it at once", asyncio as fn() -> EventLoop, &[][..], Some(600)),
        ("it waited for it", asyncio, &[lock(620, 6), lock(640, 7)], Some(640)),
        ("it waited for it once it had run", asyncio, &[lock(620, 7)], Some(600)),
        ("it may take it later", untold, &[], None),
        ("on trio", trio, &[], None),
    ] {
        let mut event_loop = kind();
        wait(&mut event_loop, (500, 600), -1, 1, 5);
        locks.iter().for_each(|slice| event_loop.looks.waits_at_lock(slice));
        assert_eq!(event_loop.knows_until_ns().map(|at_ns| at_ns / UNIT_NS), expected, "{what}");
    }
}
