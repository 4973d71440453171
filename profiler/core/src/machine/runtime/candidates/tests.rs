//! Which requests a loop may resume without a sign of their own.
//!
//! In: requests that it has left, and how it looked since. Out: assertions on who may be running.

use super::*;
use crate::event::{Call, Connection as Opened, Slice};
use crate::fact::Account;
use crate::loop_kind::unknown::UNKNOWN;
use crate::machine::runtime::state::Runtime;
use crate::machine::wire::connection::Connection;
use crate::machine::wire::request::{Beginning, HandedTo};
use crate::machine::wire::state::Wire;
use crate::machine::world::state::World;

const FIRST: RequestKey = (0, 10);
const SECOND: RequestKey = (1, 20);

/// Three stages, with two connections that have a request each.
#[derive(Default)]
struct Stages {
    world: World,
    wire: Wire,
    runtime: Runtime,
}

impl Stages {
    fn new() -> Self {
        let mut stages = Self::default();
        for (number, id) in [FIRST, SECOND] {
            assert_eq!(stages.wire.connections.open(&Opened::accepted(5), 10), Some(number));
            stages.begin(number, id);
        }
        stages
    }

    fn begin(&mut self, number: u32, id: u64) {
        let active = Box::new(Active::new(&Beginning::at(id, 100), 1, 1));
        self.connection(number).requests.push_back(active);
    }

    fn connection(&mut self, number: u32) -> &mut Connection {
        self.wire.connections.get_mut(number).unwrap()
    }

    fn view(&self) -> View<'_> {
        View { world: &self.world, wire: &self.wire, runtime: &self.runtime }
    }
}

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
                stages.begin(0, 11);
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
        let mut stages = Stages::new();
        set_up(&mut stages);
        assert_eq!(may_run(stages.view(), FIRST), expected, "{what}");
    }
}

/// A thread of the pool works for a request.
fn work(stages: &mut Stages, key: RequestKey) {
    assert!(stages.runtime.pools.has_loop(1, 5));
    stages.runtime.pools.get_mut(1).unwrap().working.push((6, key));
}

/// The loop looks from `enter_ns` on for 10 ns.
fn look(thread: &mut Thread, enter_ns: u64, slept: bool) {
    let (cpu_ns, blocked_ns) = if slept { (1, 9) } else { (10, 0) };
    let inside = Account { cpu_ns, blocked_ns, ..Account::default() };
    let call = Call::EpollWait { epoll_fd: 4, timeout_ms: -1 };
    let slice = Slice { enter_ns, inside, ..Slice::blank(call) };
    if let Some(event_loop) = &mut thread.event_loop {
        event_loop.wait(&slice, enter_ns + 10, 0);
    }
}

/// The thread of a loop that looked at 200.
fn thread() -> Thread {
    let event_loop = EventLoop::confirmed();
    let mut thread = Thread { tgid: 1, event_loop: Some(Box::new(event_loop)), ..Thread::default() };
    look(&mut thread, 200, true);
    thread
}

#[test]
fn a_request_that_was_left_may_run_in_the_next_iteration_and_after_a_sleep_only_with_a_reason() {
    let mut stages = Stages::new();
    for (what, slept, goes_on, expected) in [
        ("the next iteration", false, false, &[FIRST][..]),
        ("after a sleep", true, false, &[]),
        ("after a sleep, with a reason", true, true, &[FIRST]),
    ] {
        let mut thread = thread();
        left(stages.view(), &mut thread, FIRST, &Phases::default());
        look(&mut thread, 300, slept);
        let event_loop = thread.event_loop.as_deref().unwrap();
        let found: Vec<RequestKey> =
            candidates(stages.view(), event_loop, None, |_| goes_on).take(1).collect();
        assert_eq!(found, expected, "{what}");
    }
    for (what, wants, may_have_ended) in
        [("it waits for its client", Wants::ClientWrite, false), ("it may be over", Wants::Unknown, true)]
    {
        let active = &mut stages.connection(0).requests[0];
        (active.wants, active.response.may_have_ended) = (wants, may_have_ended);
        let mut thread = thread();
        left(stages.view(), &mut thread, FIRST, &Phases::default());
        stages.connection(0).requests[0].wants = Wants::Unknown;
        look(&mut thread, 300, false);
        let event_loop = thread.event_loop.as_deref().unwrap();
        assert_eq!(candidates(stages.view(), event_loop, None, |_| true).count(), 0, "{what}");
    }
}

#[test]
fn only_one_runs_where_just_one_may() {
    let stages = Stages::new();
    for (what, all, current, touched_ns, expected) in [
        ("nobody was left", &[][..], None, 310, None),
        ("one was left", &[FIRST], None, 310, Some(FIRST)),
        ("two were left", &[FIRST, SECOND], None, 310, None),
        ("the present one alone", &[], Some(SECOND), 310, Some(SECOND)),
        ("the present one and another", &[FIRST], Some(SECOND), 310, None),
        ("the present one was left, too", &[SECOND], Some(SECOND), 310, Some(SECOND)),
        ("the loop is at the present one", &[FIRST], Some(SECOND), 311, Some(SECOND)),
    ] {
        let mut thread = thread();
        for key in all {
            left(stages.view(), &mut thread, *key, &Phases::default());
        }
        look(&mut thread, 300, false);
        let event_loop = thread.event_loop.as_deref_mut().unwrap();
        event_loop.touched.until_ns = touched_ns;
        assert_eq!(running(stages.view(), event_loop, current), expected, "{what}");
    }
}

#[test]
fn nobody_is_the_only_one_where_more_may_run_than_are_remembered() {
    // So many are left in one iteration, after which the loop sleeps or not and is woken or not. All but the first then come back.
    for (what, count, slept, is_woken, expected) in [
        ("all are remembered", 64, false, false, Some((0, 10))),
        ("one is not", 65, false, false, None),
        ("who was left before the sleep does not resume", 65, true, false, None),
        ("all are parked, and may resume", 256, true, true, Some((0, 10))),
        ("one is not, and may resume", 257, true, true, None),
    ] {
        let mut stages = Stages::default();
        for id in 0..count {
            let number = stages.wire.connections.open(&Opened::accepted(5), 10).unwrap();
            stages.begin(number, 10 + id);
        }
        let mut thread = thread();
        for (number, id) in (0..).zip(10..10 + count) {
            left(stages.view(), &mut thread, (number, id), &Phases::default());
        }
        look(&mut thread, 300, slept);
        let event_loop = thread.event_loop.as_deref_mut().unwrap();
        if is_woken {
            event_loop.woken();
        }
        (1..).zip(11..10 + count).for_each(|key| event_loop.left.comes_back(key));
        assert_eq!(running(stages.view(), event_loop, None), expected, "{what}");
    }
}

#[test]
fn requests_that_had_no_room_are_looked_for_again_once_there_is_some() {
    let mut stages = Stages::default();
    let count = 258;
    for id in 0..count {
        let number = stages.wire.connections.open(&Opened::accepted(5), 10).unwrap();
        stages.begin(number, 10 + id);
    }
    let mut thread = thread();
    for (number, id) in (0..).zip(10..10 + count) {
        let active = &mut stages.connection(number).requests[0];
        active.owner = Some(1);
        let has_room = left(stages.view(), &mut thread, (number, id), &Phases::default());
        assert_eq!(has_room, id < 10 + 64, "{id}");
        let active = &mut stages.connection(number).requests[0];
        (active.owner, active.left_by) = (None, Some(1));
    }
    // All come back but two: one of those that are remembered, and one of those that are not.
    for (number, id) in (1..).zip(11..10 + count - 1) {
        thread.event_loop.as_deref_mut().unwrap().left.comes_back((number, id));
        stages.connection(number).requests[0].left_by = None;
    }
    look(&mut thread, 300, true);
    // The second of them was left before the first.
    stages.connection(0).requests[0].cursor_ns = 150;
    stages.connection(1).requests[0].owner = Some(1);
    assert!(left(stages.view(), &mut thread, (1, 11), &Phases::default()));
    let left = &thread.event_loop.as_deref().unwrap().left;
    assert_eq!(left.parked, [(257, 267), (0, 10), (1, 11)]);
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
    // How many the loop left in the iteration before, how many of these have come back, and whether another than the last may have run.
    for (what, is_trio, count, come_back, expected) in [
        ("nobody else was left", true, 0, 0, false),
        ("another was", true, 1, 0, true),
        ("it has come back", true, 1, 1, false),
        ("all of many have", true, 64, 64, false),
        ("one of many is not remembered", true, 65, 65, true),
        ("there is an order", false, 1, 0, false),
        ("there is an order, and one is not remembered", false, 65, 65, false),
    ] {
        let mut stages = Stages::default();
        for id in 0..100 {
            let number = stages.wire.connections.open(&Opened::accepted(5), 10).unwrap();
            stages.begin(number, 10 + id);
        }
        let mut thread = thread();
        thread.event_loop.as_deref_mut().unwrap().recognition.may_be_of(&UNKNOWN, is_trio);
        for (number, id) in (0..).zip(10..10 + count) {
            left(stages.view(), &mut thread, (number, id), &Phases::default());
        }
        look(&mut thread, 300, false);
        for key in (0..).zip(10..10 + come_back) {
            thread.event_loop.as_deref_mut().unwrap().left.comes_back(key);
        }
        assert_eq!(others_may_run(stages.view(), &thread, Some((99, 109))), expected, "{what}");
    }
}
