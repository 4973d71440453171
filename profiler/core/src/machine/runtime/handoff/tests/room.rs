//! For which request a thread of the pool was woken, where the loop has left more than it remembers.
//!
//! In: requests that the loop has left, a thread that it wakes. Out: assertions on whose the thread is, and
//! how sure that is.

use super::*;
use crate::loop_kind::LoopKind;
use crate::loop_kind::unknown::UNKNOWN;
use crate::loop_kind::uvloop::UVLOOP;
use crate::machine::runtime::tests::{FIRST, LOOP, SECOND, Stages, TGID};

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
        let mut stages = Stages::new(2).read_at(100);
        let event_loop = stages.event_loop();
        event_loop.recognition.may_be_of(kind, false);
        event_loop.left.park_all(parked.iter().copied());
        (0..turns).for_each(|turn| event_loop.left.turns_to(SECOND, 255 + turn));
        let mut thread = Thread { tgid: TGID, ..Thread::default() };
        let call = Call::FutexWait { address: 16, operation: 9, has_timeout: false };
        let woken = Woken { by_tid: LOOP, at_ns: 250 };
        let slice = Slice { tid: 6, enter_ns: 200, exit_ns: 260, woken, ..Slice::blank(call) };
        begin(&mut stages.runtime_context(), &mut thread, &slice);
        let told = thread.pooled.woken_for.map(|key| (key, thread.pooled.woken_by_order));
        assert_eq!(told, expected, "{what}");
        let handed = stages.active(FIRST).handed_to;
        assert_eq!(handed.map(|to| (FIRST, to.by_order)), expected, "{what}");
        let is_open = stages.pool().open.contains(&6);
        assert_eq!(is_open, expected.is_none_or(|(_, by_order)| by_order), "{what}");
    }
}
