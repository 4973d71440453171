//! Loops of which is known which greenlet or asyncio task makes each call.
//!
//! In: scripts of a loop's thread and of the tasks that it is at. Out: assertions. Times are in microseconds
//! in the scripts.

use super::handed::{NOTES, thread_of};
use super::unattributed::{OTHER_BACKEND, last_two};
use super::*;
use crate::event::TaskSeen;
use crate::phase::Phases;

const HUB: u64 = 0x7f00_0000;
pub(super) const FIRST: u64 = 0x7f00_1000;
pub(super) const SECOND: u64 = 0x7f00_2000;
pub(super) const THIRD: u64 = 0x7f00_3000;

impl Script {
    /// From the next call on it is at this task.
    pub(super) fn task(mut self, task: u64) -> Self {
        let seen = TaskSeen { tgid: self.tgid, tid: self.tid, task };
        self.events.push(Event { time_ns: self.now_ns + self.gap.total_ns(), body: Body::Task(seen) });
        self
    }

    /// The loop looks, from its own task.
    pub(super) fn hub(self, timeout_ms: i32, ready: i64, blocked_us: u64) -> Self {
        self.task(HUB).look(timeout_ms, ready, (0, 0, blocked_us))
    }
}

fn explained(phases: &Phases) -> u64 {
    (phases.total_ns() - phases.get(Phase::Unexplained)) / US
}

/// ```text
/// greenlets: 1 reads 9, 2 reads 10, hub 10 000 (a timer), 2 connects A, hub 300, 2 sends A, hub 5 000, 2
/// receives A, hub 2 000 (a timer), 1 writes 9,
///            hub 2 000 (a timer), 2 writes 10
/// ```
#[test]
fn a_greenlet_s_back_end_is_its_request_s_whoever_else_may_have_resumed() {
    let script = gevent::gevent();
    let came = script.now_ns;
    let script = script.task(FIRST).read(9, GET, came, (1, 0, 0)).cpu(30);
    let script = script.task(SECOND).read(10, GET, came, (1, 0, 0)).cpu(30).hub(10, 0, 10_000);
    let script = script.task(SECOND).connect(BACKEND).hub(-1, 1, 300).task(SECOND).send(BACKEND);
    let script = script.hub(-1, 1, 5000).task(SECOND).receive(BACKEND).hub(2, 0, 2000);
    let script = script.task(FIRST).respond(9).hub(2, 0, 2000).task(SECOND).respond(10);
    let (other, asked, report) = last_two(script.hub(-1, 0, 10));
    assert_eq!(us(&other, Phase::BackendWait), 0, "{:?}", other.phases);
    assert_eq!(us(&asked, Phase::BackendWait), 300 + 5000, "{:?}", asked.phases);
    assert_eq!(us(&asked, Phase::Sleep), 10_000 + 2000 + 10 + 2000, "{:?}", asked.phases);
    assert_eq!(us(&asked, Phase::Unexplained), 0, "{:?}", asked.phases);
    assert_eq!((report.paired_by_order, report.back_ends_unknown), (0, 0));
}

/// ```text
/// asyncio: (the transport's contexts) read 9, read 10, look, tasks 1 and 2 sleep 10 000, 2 connects A, look
/// 300, 2 sends A, look 1 000 (a timer),
///          1 connects B, look 300, 1 sends B, look 4 000, (the transport's) receive A, receive B, look 3 000 (timers), 2 writes 10, 1 writes 9
/// ```
#[test]
fn a_task_s_back_ends_are_the_request_s_that_it_answers() {
    let script = loop_of_two();
    let came = script.now_ns;
    let script = script.task(THIRD).read(9, GET, came, (1, 0, 0)).read(10, GET, came, (1, 0, 0));
    let script = script.hub(0, 0, 0).cpu(40).hub(10, 0, 10_000).hub(0, 0, 0).task(SECOND).connect(BACKEND);
    let script = script.hub(-1, 1, 300).task(SECOND).send(BACKEND).hub(1, 0, 1000).hub(0, 0, 0);
    let script = script
        .task(FIRST)
        .connect(OTHER_BACKEND)
        .hub(-1, 1, 300)
        .task(FIRST)
        .send(OTHER_BACKEND)
        .hub(-1, 2, 4000);
    let script = script.task(THIRD).receive(BACKEND).receive(OTHER_BACKEND).hub(3, 0, 3000).hub(0, 0, 0);
    let script = script.task(SECOND).cpu(20).respond(10).task(FIRST).cpu(20).respond(9);
    let (second, first, report) = last_two(script.hub(-1, 0, 10));
    assert_eq!(us(&first, Phase::BackendWait), 300 + 4000, "{:?}", first.phases);
    assert_eq!(us(&second, Phase::BackendWait), 300 + 1000 + 300 + 4000 + 4 + 3, "{:?}", second.phases);
    for request in [&first, &second] {
        assert!(us(request, Phase::Unexplained) < 100, "{:?}", request.phases);
        assert!(explained(&request.phases) > 18_000, "{:?}", request.phases);
    }
    assert_eq!((report.paired_by_order, report.back_ends_unknown), (0, 0));
}

/// ```text
/// asyncio: task 1 answers 9; then read 9, read 10 again, look; the task at the place of 1 connects A, look
/// 300, sends A, look 4 000, receives A, look;
///          task 2 writes 9, that at the place of 1 writes 10
/// ```
#[test]
fn a_task_at_the_place_of_one_that_is_over_works_for_its_own_request() {
    let script = loop_of_two();
    let came = script.now_ns;
    let script = script.task(THIRD).read(9, GET, came, (1, 0, 0)).hub(0, 0, 0).task(FIRST).respond(9);
    let script = script.hub(-1, 2, 1000);
    let came = script.now_ns;
    let script = script.task(THIRD).read(9, GET, came, (1, 0, 0)).read(10, GET, came, (1, 0, 0));
    let script = script.hub(0, 0, 0).task(FIRST).connect(BACKEND).hub(-1, 1, 300).task(FIRST).send(BACKEND);
    let script = script.hub(-1, 1, 4000).task(THIRD).receive(BACKEND).hub(0, 0, 0);
    let script = script.task(SECOND).cpu(20).respond(9).task(FIRST).cpu(20).respond(10);
    let (other, asked, report) = last_two(script.hub(-1, 0, 10));
    assert_eq!(us(&other, Phase::BackendWait), 0, "{:?}", other.phases);
    assert_eq!(us(&asked, Phase::BackendWait), 300 + 4000, "{:?}", asked.phases);
    assert_eq!((report.paired_by_order, report.back_ends_unknown), (0, 0));
}

/// ```text
/// asyncio: read 9, read 10, look; a task that answers nobody connects A, look 300, sends A, look 4 000,
/// receives A, look 3 000 (a timer),
///          task 1 writes 9, look 2 000 (a timer), task 2 writes 10
/// ```
#[test]
fn what_a_task_asks_that_answers_nobody_is_nobody_s_and_counted() {
    let script = loop_of_two();
    let came = script.now_ns;
    let script = script.task(THIRD).read(9, GET, came, (1, 0, 0)).read(10, GET, came, (1, 0, 0));
    let script = script.hub(0, 0, 0).task(THIRD).connect(BACKEND).hub(-1, 1, 300).task(THIRD).send(BACKEND);
    let script = script.hub(-1, 1, 4000).task(HUB).receive(BACKEND).hub(3, 0, 3000).hub(0, 0, 0);
    let script = script.task(FIRST).respond(9).hub(2, 0, 2000).task(SECOND).respond(10);
    let (first, second, report) = last_two(script.hub(-1, 0, 10));
    for request in [&first, &second] {
        assert_eq!(us(request, Phase::BackendWait), 0, "{:?}", request.phases);
    }
    assert_eq!(report.back_ends_unknown, 1);
}

impl Script {
    /// A request of this task that a thread sleeps for; the loop goes on with it by the thread's note. With
    /// the thread's script.
    fn in_thread(self, task: u64, pool: Script) -> (Self, Script) {
        let (loop_tid, came) = (self.tid, self.now_ns);
        let script = self.task(THIRD).read(9, GET, came, (1, 0, 0)).hub(0, 0, 0).task(task).cpu(50);
        let handed = script.now_ns + 50 * US;
        let pool = pool.woken_by(loop_tid, handed).call(Call::Sleep, 0, (0, 0, 300), 0).note();
        let asleep_us = (pool.now_ns - handed) / US;
        let script = script.hub(-1, 1, asleep_us).task(THIRD).read_note().hub(0, 0, 0).task(task).cpu(20);
        (script.respond(9).hub(-1, 1, 200), pool)
    }
}

/// ```text
/// asyncio: task 1 wakes the thread, look 300, reads 10, look, python 100, task 2 writes 10, look, task 1:
/// python 20, writes 9, look 600
/// thread:  python 700 …                                                                                                     note
/// ```
#[test]
fn what_a_thread_still_did_as_its_request_resumed_is_told_once_it_comes_up_to_where_it_surely_was_for_that() {
    let pair = Call::MakePair { fds: [NOTES, NOTES + 1] };
    let mut script = loop_that_defers().call(pair, 0, (0, 0, 0), 0).look(-1, 1, (0, 0, 1000));
    let loop_tid = script.tid;
    let mut pool = thread_of(&script);
    // Tasks are seen to go on themselves with what they have given threads.
    for task in [FIRST, SECOND, FIRST, SECOND] {
        (script, pool) = script.in_thread(task, pool);
    }
    let came = script.now_ns;
    let script = script.task(THIRD).read(9, GET, came, (1, 0, 0)).hub(0, 0, 0).task(FIRST).cpu(50);
    let handed = script.now_ns + 50 * US;
    let pool = pool.woken_by(loop_tid, handed).cpu(700).note().job_wait((0, 0, 100));
    let script = script.hub(-1, 1, 300);
    let other_came = script.now_ns;
    let script = script.task(THIRD).read(10, GET, other_came, (1, 0, 0)).cpu(1);
    let script = script.hub(0, 0, 0).task(SECOND).cpu(100).respond(10);
    let script = script.hub(0, 0, 0).task(FIRST).cpu(20).respond(9).hub(-1, 1, 600).read_note();
    let end_us = (script.now_ns - START) / US + 200;
    let outcome = run(vec![script.hub(-1, 0, 100), pool], end_us);
    let request = outcome.requests.iter().find(|request| request.times.start_ns == came).unwrap();
    assert_eq!(us(request, Phase::Cpu), 300 + 1 + 1 + 20, "{:?}", request.phases);
    // In the iteration in which 10 was answered the thread told its result, nobody knows when; and no call
    // shows who ran before it had its job.
    assert_eq!(us(request, Phase::Unexplained), 100 + 10 + 50, "{:?}", request.phases);
    assert_eq!(outcome.requests.iter().filter(|request| request.times.start_ns == came).count(), 1);
    assert_eq!(request.phases.total_ns(), request.total_ns());
}

/// ```text
/// greenlets: 1 reads 9 (it wants what 2 has), 2 reads 10, connects A, hub 300, 2 sends A, hub 20 000 (a
/// timer), 2 receives A, writes 10,
///            1 wakes the thread, hub 100, hub until the note, 1 writes 9
/// thread:    futex ── woken by 1 … runs 500 later, when the loop has looked again ─ note
/// ```
#[test]
fn a_greenlet_that_was_let_go_by_another_and_then_wakes_a_thread_did_not_sleep_for_sure() {
    let pair = Call::MakePair { fds: [NOTES, NOTES + 1] };
    let script = gevent::gevent().call(pair, 0, (0, 0, 0), 0);
    let (loop_tid, came) = (script.tid, script.now_ns);
    let pool = thread_of(&script);
    let script = script.task(FIRST).read(9, GET, came, (1, 0, 0)).cpu(5).hub(0, 1, 0);
    let second = script.now_ns;
    let script = script.task(SECOND).read(10, GET, second, (1, 0, 0)).connect(BACKEND).hub(-1, 1, 300);
    let script = script.task(SECOND).send(BACKEND).hub(20, 0, 20_000);
    let script = script.task(SECOND).receive(BACKEND).respond(10).task(FIRST).cpu(40);
    let woken_ns = script.now_ns + 40 * US;
    let mut pool = pool.job_wait((0, 500, (woken_ns - START) / US));
    if let Some(Event { body: Body::Slice(slice), .. }) = pool.events.last_mut() {
        slice.woken.by_tid = loop_tid;
    }
    let pool = pool.cpu(30).note();
    let script = script.hub(-1, 1, 100);
    let rest_us = (pool.now_ns - script.now_ns) / US;
    let script = script.hub(-1, 1, rest_us).read_note().task(FIRST).cpu(20).respond(9);
    let end_us = (script.now_ns - START) / US + 200;
    let outcome = run(vec![script.hub(-1, 0, 100), pool], end_us);
    let request = outcome.requests.iter().find(|request| request.times.start_ns == came).unwrap();
    assert_eq!(us(request, Phase::Sleep), 0, "{:?}", request.phases);
    assert!(us(request, Phase::Unexplained) >= 20_000, "{:?}", request.phases);
}
