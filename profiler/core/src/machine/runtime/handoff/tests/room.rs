//! For which request a thread of the pool was woken, where the loop has left more than it remembers.
//!
//! In: requests that the loop has left, a thread that it wakes. Out: assertions on whose the thread is, and how sure that is.

use super::*;
use crate::event::Connection as Opened;
use crate::loop_kind::LoopKind;
use crate::loop_kind::unknown::UNKNOWN;
use crate::loop_kind::uvloop::UVLOOP;
use crate::machine::runtime::event_loop::EventLoop;
use crate::machine::wire::request::Beginning;

const LOOP: Tid = 1;
const FIRST: RequestKey = (0, 10);
const SECOND: RequestKey = (1, 20);

#[test]
fn a_thread_is_surely_woken_for_the_only_request_that_was_left_unless_more_were_than_are_remembered() {
    let many = [FIRST; 300];
    // Which were left, and to how many the loop has turned since.
    for (what, kind, parked, turns, expected) in [
        ("one was left", &UNKNOWN, &[FIRST][..], 0, Some((FIRST, false))),
        ("two were", &UNKNOWN, &[FIRST, SECOND], 0, Some((FIRST, true))),
        ("there are more than are remembered", &UNKNOWN, &many, 0, Some((FIRST, true))),
        ("none was", &UNKNOWN, &[], 0, None),
        ("it has turned to others since", &UNKNOWN, &[FIRST], 63, Some((FIRST, false))),
        ("it has turned to too many since", &UNKNOWN, &[FIRST], 64, Some((FIRST, true))),
        ("one was left, on uvloop", &UVLOOP, &[FIRST], 0, Some((FIRST, false))),
        ("two were, on uvloop", &UVLOOP, &[FIRST, SECOND], 0, None),
        ("there are more, on uvloop", &UVLOOP, &many, 0, None),
        ("it has turned to too many since, on uvloop", &UVLOOP, &[FIRST], 64, None),
    ] {
        let kind: &'static LoopKind = kind;
        let (mut world, mut wire, mut runtime) = (World::default(), Wire::default(), Runtime::default());
        for (number, id) in [FIRST, SECOND] {
            assert_eq!(wire.connections.open(&Opened::accepted(5), 10), Some(number));
            let mut active = Active::new(&Beginning::at(id, 90), 1, LOOP);
            active.request.times.service_start_ns = Some(100);
            wire.connections.get_mut(number).unwrap().requests.push_back(Box::new(active));
        }
        assert!(runtime.pools.has_loop(1, LOOP));
        let mut event_loop = EventLoop::confirmed();
        event_loop.recognition.may_be_of(kind, false);
        event_loop.left.park_all(parked.iter().copied());
        (0..turns).for_each(|turn| event_loop.left.turns_to(SECOND, 255 + turn));
        let thread = Thread { tgid: 1, event_loop: Some(Box::new(event_loop)), ..Thread::default() };
        runtime.threads.put(LOOP, Box::new(thread));
        let mut thread = Thread { tgid: 1, ..Thread::default() };
        let call = Call::FutexWait { address: 16, operation: 9, has_timeout: false };
        let woken = Woken { by_tid: LOOP, at_ns: 250 };
        let slice = Slice { tid: 6, enter_ns: 200, woken, ..Slice::blank(call) };
        let mut evicted = 0;
        let mut hand =
            Hand { world: &mut world, wire: &mut wire, runtime: &mut runtime, evicted: &mut evicted };
        begin(&mut hand, &mut thread, &slice, 260);
        let told = thread.pooled.woken_for.map(|key| (key, thread.pooled.woken_by_order));
        assert_eq!(told, expected, "{what}");
        let handed = wire.connections.active(FIRST).and_then(|active| active.handed_to);
        assert_eq!(handed.map(|to| (FIRST, to.by_order)), expected, "{what}");
        let is_open = runtime.pools.get(1).unwrap().open.contains(&6);
        assert_eq!(is_open, expected.is_none_or(|(_, by_order)| by_order), "{what}");
    }
}
