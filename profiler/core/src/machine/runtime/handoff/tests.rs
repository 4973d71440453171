//! Jobs that a loop gives to more threads than are remembered.
//!
//! In: wakeups. Out: assertions.

mod room;

use super::*;
use crate::event::{TaskSeen, Woken};
use crate::loop_kind::LoopKind;
use crate::loop_kind::gevent::GEVENT;
use crate::loop_kind::unknown::UNKNOWN;
use crate::loop_kind::uvloop::UVLOOP;
use crate::machine::runtime::tests::{LOOP, Stages, TGID};

#[test]
fn a_thread_at_work_for_which_there_is_no_room_is_counted() {
    let mut stages = Stages::new(0);
    stages.runtime.tasks.switch(&TaskSeen { tgid: TGID, tid: LOOP, task: 9 }, 50);
    let wait = Call::FutexWait { address: 7, operation: 0, has_timeout: false };
    for tid in (2..).take(MAX_JOBS + 1) {
        let woken = Woken { by_tid: LOOP, at_ns: 150 };
        let slice = Slice { tid, enter_ns: 100, exit_ns: 200, woken, ..Slice::blank(wait) };
        begin(&mut stages.runtime_context(), &mut Thread::default(), &slice);
    }
    let evicted = stages.evicted;
    let pool = stages.pool();
    assert_eq!((pool.at_work.len(), evicted), (MAX_JOBS, 1));
    assert_eq!(pool.given.len(), MAX_GIVEN, "the last ones");
}

#[test]
fn a_pool_is_taken_to_wait_for_its_loop_only_as_long_as_the_order_of_that_is_not_known() {
    for (kind, are_taken, expected) in
        [(&UNKNOWN, true, true), (&UNKNOWN, false, false), (&UVLOOP, true, true), (&GEVENT, true, false)]
    {
        let kind: &'static LoopKind = kind;
        let mut stages = Stages::new(0);
        if are_taken {
            stages.pool().reports.was_taken();
        }
        stages.event_loop().recognition.may_be_of(kind, false);
        assert_eq!(reply::is_awaited(stages.view(), &Thread::default(), TGID), expected, "{}", kind.name);
    }
}

/// A thread, the address at which it waits, from when to when, and who ends that. `true`: it writes a note
/// first.
type Wait = (Tid, u64, (u64, u64), Tid, bool);

#[test]
fn threads_that_pass_the_lock_of_their_queue_on_wait_there_at_the_same_time() {
    const ONE: Tid = 2;
    const OTHER: Tid = 3;
    let by_loop = (ONE, 7, (100, 200), LOOP, false);
    for (what, other, expected) in [
        (
            "one passes it on, and the other waits on",
            [(OTHER, 7, (150, 220), ONE, false), (OTHER, 7, (230, 400), LOOP, false)],
            true,
        ),
        (
            "it came when one had a job",
            [(OTHER, 7, (210, 220), ONE, false), (OTHER, 7, (230, 400), LOOP, false)],
            false,
        ),
        (
            "it had a job meanwhile",
            [(OTHER, 7, (150, 220), ONE, false), (OTHER, 7, (230, 400), LOOP, true)],
            false,
        ),
        (
            "it waits elsewhere",
            [(OTHER, 8, (150, 220), ONE, false), (OTHER, 7, (230, 400), LOOP, false)],
            false,
        ),
        (
            "nobody is known to have ended that",
            [(OTHER, 7, (150, 220), 0, false), (OTHER, 7, (230, 400), LOOP, false)],
            false,
        ),
    ] {
        let mut stages = Stages::new(0);
        stages.runtime.threads.put(ONE, Box::default());
        let mut thread = Thread::default();
        let waits: [Wait; 3] = [by_loop, other[0], other[1]];
        for (tid, address, (enter_ns, exit_ns), by_tid, had_job) in waits {
            let call = Call::FutexWait { address, operation: 393, has_timeout: false };
            let woken = Woken { by_tid, at_ns: 0 };
            let slice = Slice { tgid: TGID, tid, enter_ns, exit_ns, woken, ..Slice::blank(call) };
            if had_job {
                thread.pooled.waits_since = None;
            }
            match (tid, by_tid) {
                (ONE, _) => waited(&mut stages.runtime_context(), &mut Thread::default(), &slice),
                (_, LOOP) => waited(&mut stages.runtime_context(), &mut thread, &slice),
                _ => passed_on(stages.view(), &mut thread, &slice),
            }
        }
        assert_eq!(stages.pool().queue, expected.then_some(7), "{what}");
        assert_eq!(thread.pooled.at_queue, expected, "{what}");
    }
}
