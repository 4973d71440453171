//! Who made a call on a back end that is nobody's yet.
//!
//! In: what a loop has left and how it looked since, the call. Out: assertions on who asks.

use super::*;
use crate::event::TaskSeen;
use crate::fact::DescriptorClass;
use crate::loop_kind::gevent::GEVENT;
use crate::machine::runtime::tests::{LOOP, Stages, key, work};

const OPENS: Call = Call::Make { class: DescriptorClass::Socket };
const ASKS: Call = Call::Write { fd: 12 };

impl Stages {
    /// The loop leaves the first requests, so many of them, and looks again at 300.
    fn left(mut self, count: u32, slept: bool) -> Self {
        for number in 0..count {
            self.leave(key(number));
        }
        self.look(300, slept);
        self
    }

    /// All come back but the first.
    fn but_one_come_back(&mut self) {
        for number in 1..self.wire.connections.seen as u32 {
            self.event_loop().left.comes_back(key(number));
        }
    }

    fn find(&self, call: Call) -> Asker {
        let slice = Slice { enter_ns: 320, result: 12, ..Slice::blank(call) };
        find(self.view(), self.runtime.threads.get(LOOP).unwrap(), &slice)
    }
}

fn one_of(numbers: &[u32], has_more: bool) -> Asker {
    Asker::OneOf(Candidates { keys: numbers.iter().copied().map(key).collect(), has_more })
}

type SetUp = fn() -> Stages;

#[test]
fn a_back_end_is_opened_by_the_request_that_alone_may_run() {
    let cases: &[(&str, SetUp, Call, Asker)] = &[
        ("nobody was left", || Stages::slept(1), OPENS, Asker::Nobody),
        ("one was left just now", || Stages::slept(1).left(1, false), OPENS, Asker::Known(key(0))),
        ("one of two was", || Stages::slept(2).left(2, false), OPENS, one_of(&[0, 1], false)),
        (
            "one of two waits for its back end",
            || {
                let mut stages = Stages::slept(2).left(2, false);
                stages.active(key(1)).wants = Wants::Backend;
                stages
            },
            OPENS,
            Asker::Known(key(0)),
        ),
        (
            "one was left before the loop slept",
            || Stages::slept(1).left(1, true),
            OPENS,
            Asker::Likely(key(0)),
        ),
        ("one of two was, too", || Stages::slept(2).left(2, true), OPENS, one_of(&[0, 1], false)),
        ("before it slept, and it opens nothing", || Stages::slept(1).left(1, true), ASKS, Asker::Nobody),
        (
            "before it slept, and a thread has woken it",
            || {
                let mut stages = Stages::slept(1).left(1, true);
                stages.event_loop().woken();
                stages
            },
            ASKS,
            Asker::Known(key(0)),
        ),
        (
            "an answer is read",
            || Stages::slept(1).left(1, false),
            Call::Read { fd: 12, asked_bytes: 9, arrival_ns: 0 },
            Asker::Nobody,
        ),
        (
            "the thread runs no loop",
            || {
                let mut stages = Stages::slept(1).left(1, false);
                stages.event_loop().recognition.confirmed = false;
                stages
            },
            OPENS,
            Asker::Nobody,
        ),
    ];
    for (what, set_up, call, expected) in cases {
        assert_eq!(set_up().find(*call), *expected, "{what}");
    }
}

#[test]
fn nobody_opens_a_back_end_for_sure_where_more_may_run_than_are_remembered() {
    // So many were left in one iteration; all but the first have come back.
    let left_but_one = |count: u32, slept: bool, is_woken: bool| {
        let mut stages = Stages::slept(count).left(count, slept);
        if is_woken {
            stages.event_loop().woken();
        }
        stages.but_one_come_back();
        stages
    };
    let alone = one_of(&[0], true);
    for (what, count, slept, is_woken, call, expected) in [
        ("all of the iteration before are remembered", 64, false, false, OPENS, Asker::Known(key(0))),
        ("one is not", 65, false, false, OPENS, alone.clone()),
        ("one is not, and something is asked", 65, false, false, ASKS, alone.clone()),
        ("all parked ones are remembered", 256, true, false, OPENS, Asker::Likely(key(0))),
        ("one is not, and waits for no known reason", 257, true, false, OPENS, alone.clone()),
        ("all are, and may resume", 256, true, true, ASKS, Asker::Known(key(0))),
        ("one is not, and may resume", 257, true, true, ASKS, alone.clone()),
        ("one is not, and may not resume", 257, true, false, ASKS, Asker::Nobody),
    ] {
        assert_eq!(left_but_one(count, slept, is_woken).find(call), expected, "{what}");
    }
    // The loop is about the first of so many that are parked, which may resume or not.
    for (what, count, is_woken, expected) in [
        ("more are parked than are remembered, and none may resume", 257, false, Asker::Known(key(0))),
        ("all are remembered, and may resume", 256, true, Asker::Known(key(0))),
        ("more are parked, and may resume", 257, true, alone),
    ] {
        let mut stages = left_but_one(count, true, is_woken);
        stages.thread().serving = Some(key(0));
        assert_eq!(stages.find(OPENS), expected, "{what}");
    }
    let mut stages = Stages::slept(200).left(64, true);
    (64..200).for_each(|number| stages.event_loop().left.parked.push(key(number)));
    let Asker::OneOf(found) = stages.find(OPENS) else { panic!("one of many") };
    assert_eq!((found.keys.len(), found.has_more), (128, true), "of more than that one may own it");
}

#[test]
fn a_further_back_end_is_the_unattributed_work_s_at_hand_where_nobody_else_may_run() {
    // So many were left in the iteration before and have come back, and what the work waits for.
    for (what, count, wants, call, expected) in [
        ("nobody else may", 64, Wants::Unknown, OPENS, Asker::Unattributed),
        ("one may that is not remembered", 65, Wants::Unknown, OPENS, Asker::Nobody),
        ("it waits for a back end", 64, Wants::Backend, OPENS, Asker::Nobody),
        ("it opens nothing", 64, Wants::Unknown, ASKS, Asker::Nobody),
    ] {
        let mut stages = Stages::slept(count).left(count, false);
        for number in 0..count {
            stages.event_loop().left.comes_back(key(number));
        }
        let mut work = work(1);
        work.account.wants = wants;
        let unattributed = &mut stages.event_loop().unattributed;
        unattributed.list.push(work);
        unattributed.current = Some(1);
        assert_eq!(stages.find(call), expected, "{what}");
    }
}

#[test]
fn a_known_task_that_is_no_known_request_s_leaves_open_who_asks() {
    // The task of the first and of the second request, whether more are parked than are remembered, and who
    // asks by task 7.
    for (what, tasks, more, expected) in [
        ("both have others", [Some(5), Some(6)], false, one_of(&[0, 1], false)),
        ("one is not known", [Some(5), None], false, one_of(&[1, 0], false)),
        ("both have others, and there are more", [Some(5), Some(6)], true, one_of(&[0, 1], true)),
    ] {
        let mut stages = Stages::slept(2).left(2, false);
        for (number, task) in (0..).zip(tasks) {
            stages.active(key(number)).task = task;
        }
        if more {
            let all = (0..300).map(|number| key(number % 2));
            assert!(!stages.event_loop().left.park_all(all));
        }
        stages.runtime.tasks.switch(&TaskSeen { tgid: 1, tid: 1, task: 7 }, 315);
        stages.runtime.tasks.set_informative(1, true);
        assert_eq!(stages.find(OPENS), expected, "{what}");
    }
}

#[test]
fn on_gevent_the_greenlet_that_is_not_told_is_sought_among_all_that_were_left() {
    for (what, count, parked, expected) in [
        ("one", 1, 1, Asker::Likely(key(0))),
        ("two", 2, 2, one_of(&[0, 1], false)),
        ("one, and there are more", 1, 300, one_of(&[0], true)),
    ] {
        let mut stages = Stages::slept(count);
        stages.event_loop().recognition.may_be_of(&GEVENT, false);
        let mut stages = stages.left(count, true);
        let all = (0..parked).map(|number| key(number % count));
        assert_eq!(stages.event_loop().left.park_all(all), parked < 300, "{what}");
        assert_eq!(stages.find(OPENS), expected, "{what}");
    }
}
