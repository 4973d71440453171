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
use crate::machine::runtime::event_loop::EventLoop;
use crate::machine::runtime::state::Runtime;
use crate::machine::wire::state::Wire;
use crate::machine::world::state::World;

#[test]
fn a_thread_at_work_for_which_there_is_no_room_is_counted() {
    let (mut world, mut wire, mut runtime) = (World::default(), Wire::default(), Runtime::default());
    let mut evicted = 0;
    runtime.pools.has_loop(1, 1);
    runtime.tasks.switch(&TaskSeen { tgid: 1, tid: 1, task: 9 }, 50);
    let wait = Call::FutexWait { address: 7, operation: 0, has_timeout: false };
    for tid in (2..).take(MAX_JOBS + 1) {
        let slice =
            Slice { tid, enter_ns: 100, woken: Woken { by_tid: 1, at_ns: 150 }, ..Slice::blank(wait) };
        let mut hand =
            Hand { world: &mut world, wire: &mut wire, runtime: &mut runtime, evicted: &mut evicted };
        begin(&mut hand, &mut Thread::default(), &slice, 200);
    }
    let pool = runtime.pools.get(1).unwrap();
    assert_eq!((pool.at_work.len(), evicted), (MAX_JOBS, 1));
    assert_eq!(pool.given.len(), MAX_GIVEN, "the last ones");
}

#[test]
fn a_pool_is_taken_to_wait_for_its_loop_only_as_long_as_the_order_of_that_is_not_known() {
    for (kind, takes_reports, expected) in
        [(&UNKNOWN, true, true), (&UNKNOWN, false, false), (&UVLOOP, true, true), (&GEVENT, true, false)]
    {
        let kind: &'static LoopKind = kind;
        let (world, wire, mut runtime) = (World::default(), Wire::default(), Runtime::default());
        assert!(runtime.pools.has_loop(1, 1));
        if takes_reports {
            runtime.pools.get_mut(1).unwrap().reports.was_taken();
        }
        let mut event_loop = EventLoop::default();
        event_loop.recognition.may_be_of(kind, false);
        let of_loop = Thread { tgid: 1, event_loop: Some(Box::new(event_loop)), ..Thread::default() };
        runtime.threads.put(1, Box::new(of_loop));
        let view = View { world: &world, wire: &wire, runtime: &runtime };
        assert_eq!(reply::is_awaited(view, &Thread::default(), 1), expected, "{}", kind.name);
    }
}
