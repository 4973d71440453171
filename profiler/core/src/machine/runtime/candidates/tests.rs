//! Which requests a loop may resume without a sign of their own.
//!
//! In: requests that it has left, and how it looked since. Out: assertions on who may be running.

use super::*;
use crate::loop_kind::unknown::UNKNOWN;
use crate::loop_kind::uvloop::UVLOOP;
use crate::machine::runtime::tests::{FIRST, LOOP, SECOND, Stages, key};
use crate::machine::wire::request::HandedTo;

type SetUp = fn(&mut Stages);

fn read(stages: &mut Stages, bytes: &[u8]) {
    stages.connection(0).inbound.push(bytes.len() as u64, bytes, false);
}

#[test]
fn a_request_may_run_where_nothing_shows_that_it_waits() {
    let cases: [(&str, SetUp, bool); 9] = [
        ("nothing is known of it", |_| {}, true),
        ("its head is being read", |stages| read(stages, b"GET / HT"), false),
        ("its body is", |stages| read(stages, b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"), true),
        (
            "the head behind it is being read",
            |stages| {
                stages.begin((0, 11));
                read(stages, b"GET / HT");
            },
            true,
        ),
        ("it waits for a back end", |stages| stages.connection(0).requests[0].wants = Wants::Backend, false),
        (
            "a thread was woken for it",
            |stages| {
                let handed_to = HandedTo { tid: 6, begin_ns: 100, by_order: false };
                stages.connection(0).requests[0].handed_to = Some(handed_to);
            },
            false,
        ),
        ("a thread works for it", |stages| work(stages, FIRST), false),
        ("a thread works for another", |stages| work(stages, SECOND), true),
        ("it is over", |stages| drop(stages.connection(0).requests.pop_front()), false),
    ];
    for (what, set_up, expected) in cases {
        let mut stages = Stages::new(2);
        set_up(&mut stages);
        assert_eq!(may_run(stages.view(), FIRST), expected, "{what}");
    }
}

/// A thread of the pool works for a request.
fn work(stages: &mut Stages, key: RequestKey) {
    stages.pool().working.push((6, key));
}

/// The only request that may be running.
fn only(stages: &Stages, current: Option<RequestKey>) -> Option<RequestKey> {
    let thread = stages.runtime.threads.get(LOOP).unwrap();
    running(stages.view(), thread.event_loop.as_deref().unwrap(), current)
}

#[test]
fn a_request_that_was_left_may_run_in_the_next_iteration_and_after_a_sleep_only_with_a_reason() {
    let found = |stages: &Stages, may_resume: bool| -> Vec<RequestKey> {
        let thread = stages.runtime.threads.get(LOOP).unwrap();
        let event_loop = thread.event_loop.as_deref().unwrap();
        candidates(stages.view(), event_loop, None, |_| may_resume).take(1).collect()
    };
    for (what, slept, may_resume, expected) in [
        ("the next iteration", false, false, &[FIRST][..]),
        ("after a sleep", true, false, &[]),
        ("after a sleep, with a reason", true, true, &[FIRST]),
    ] {
        let mut stages = Stages::slept(2);
        stages.leave(FIRST);
        stages.look(300, slept);
        assert_eq!(found(&stages, may_resume), expected, "{what}");
    }
    for (what, wants, may_have_ended) in
        [("it waits for its client", Wants::ClientWrite, false), ("it may be over", Wants::Unknown, true)]
    {
        let mut stages = Stages::slept(2);
        let active = stages.active(FIRST);
        (active.wants, active.response.may_have_ended) = (wants, may_have_ended);
        stages.leave(FIRST);
        stages.active(FIRST).wants = Wants::Unknown;
        stages.look(300, false);
        assert_eq!(found(&stages, true), [], "{what}");
    }
}

#[test]
fn only_one_runs_where_just_one_may() {
    for (what, all, current, touched_ns, expected) in [
        ("nobody was left", &[][..], None, 310, None),
        ("one was left", &[FIRST], None, 310, Some(FIRST)),
        ("two were left", &[FIRST, SECOND], None, 310, None),
        ("the present one alone", &[], Some(SECOND), 310, Some(SECOND)),
        ("the present one and another", &[FIRST], Some(SECOND), 310, None),
        ("the present one was left, too", &[SECOND], Some(SECOND), 310, Some(SECOND)),
        ("the loop is at the present one", &[FIRST], Some(SECOND), 311, Some(SECOND)),
    ] {
        let mut stages = Stages::slept(2);
        for key in all {
            stages.leave(*key);
        }
        stages.look(300, false);
        stages.event_loop().touched.until_ns = touched_ns;
        assert_eq!(only(&stages, current), expected, "{what}");
    }
}

#[test]
fn nobody_is_the_only_one_where_more_may_run_than_are_remembered() {
    // So many are left in one iteration, after which the loop sleeps or not and is woken or not. All but the
    // first then come back.
    for (what, count, slept, is_woken, expected) in [
        ("all are remembered", 64, false, false, Some(FIRST)),
        ("one is not", 65, false, false, None),
        ("who was left before the sleep does not resume", 65, true, false, None),
        ("all are parked, and may resume", 256, true, true, Some(FIRST)),
        ("one is not, and may resume", 257, true, true, None),
    ] {
        let mut stages = Stages::slept(count);
        for number in 0..count {
            stages.leave(key(number));
        }
        stages.look(300, slept);
        if is_woken {
            stages.event_loop().woken();
        }
        for number in 1..count {
            stages.event_loop().left.comes_back(key(number));
        }
        assert_eq!(only(&stages, None), expected, "{what}");
    }
}

#[test]
fn requests_that_had_no_room_are_looked_for_again_once_there_is_some() {
    let count = 258;
    let mut stages = Stages::slept(count);
    for number in 0..count {
        stages.active(key(number)).owner = Some(LOOP);
        assert_eq!(stages.leave(key(number)), number < 64, "{number}");
        let active = stages.active(key(number));
        (active.owner, active.left_by) = (None, Some(LOOP));
    }
    // All come back but two: one of those that are remembered, and one of those that are not.
    for number in 1..count - 1 {
        stages.event_loop().left.comes_back(key(number));
        stages.active(key(number)).left_by = None;
    }
    stages.look(300, true);
    // The second of them was left before the first.
    stages.active(key(0)).cursor_ns = 150;
    stages.active(key(1)).owner = Some(LOOP);
    assert!(stages.leave(key(1)));
    let left = &stages.event_loop().left;
    assert_eq!(left.parked, [key(257), key(0), key(1)]);
    assert!(!left.has_more_parked());
}

#[test]
fn of_several_requests_each_is_named_once_and_it_is_known_that_there_are_more() {
    let max = MAX_CANDIDATES as u64;
    for (what, ids, count, has_more) in [
        ("none", vec![], 0, false),
        ("one twice", vec![5, 5], 1, false),
        ("as many as have room", (0..max).collect(), max, false),
        ("these and one of them again", (0..max).chain([3]).collect(), max, false),
        ("one more", (0..=max).collect(), max, true),
    ] {
        let mut several = Candidates::default();
        several.push_all(ids.into_iter().map(|id| (0, id)));
        assert_eq!((several.keys.len() as u64, several.has_more), (count, has_more), "{what}");
        assert_eq!((several.is_none(), several.is_full()), (count == 0, count == max), "{what}");
    }
}

#[test]
fn where_an_iteration_has_no_order_any_other_request_may_have_run_that_may_resume() {
    // How many the loop left in the iteration before, how many of these have come back, and whether another
    // than the last may have run.
    for (what, is_trio, count, come_back, expected) in [
        ("nobody else was left", true, 0, 0, false),
        ("another was", true, 1, 0, true),
        ("it has come back", true, 1, 1, false),
        ("all of many have", true, 64, 64, false),
        ("one of many is not remembered", true, 65, 65, true),
        ("there is an order", false, 1, 0, false),
        ("there is an order, and one is not remembered", false, 65, 65, false),
    ] {
        let mut stages = Stages::slept(100);
        stages.event_loop().recognition.may_be_of(&UNKNOWN, is_trio);
        for number in 0..count {
            stages.leave(key(number));
        }
        stages.look(300, false);
        for number in 0..come_back {
            stages.event_loop().left.comes_back(key(number));
        }
        let thread = stages.runtime.threads.get(LOOP).unwrap();
        assert_eq!(others_may_run(stages.view(), thread, Some(key(99))), expected, "{what}");
    }
}

#[test]
fn where_all_is_read_first_whoever_was_left_in_this_iteration_may_have_run_in_it() {
    for (what, kind, left, expected) in [
        ("nobody else was left", &UVLOOP, 0, false),
        ("another was", &UVLOOP, 1, true),
        ("more were than are remembered", &UVLOOP, 65, true),
        ("another was, and runs in the next", &UNKNOWN, 1, false),
    ] {
        let mut stages = Stages::slept(100);
        stages.event_loop().recognition.may_be_of(kind, false);
        for number in 0..left {
            stages.leave(key(number));
        }
        if left > 1 {
            (0..left).for_each(|number| stages.event_loop().left.comes_back(key(number)));
        }
        let thread = stages.runtime.threads.get(LOOP).unwrap();
        assert_eq!(others_may_run(stages.view(), thread, Some(key(99))), expected, "{what}");
    }
}
