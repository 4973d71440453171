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
        let slice =
            Slice { tid, enter_ns: 100, woken: Woken { by_tid: LOOP, at_ns: 150 }, ..Slice::blank(wait) };
        begin(&mut stages.hand(), &mut Thread::default(), &slice, 200);
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
