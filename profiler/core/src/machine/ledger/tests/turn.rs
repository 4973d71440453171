//! A loop turns from one request to another.
//!
//! In: what the loop waits for, what it does for its requests. Out: assertions on whether it is one, and on
//! whose its time is.

use super::*;
use crate::fact::ProcessSeen;
use crate::loop_kind::unknown::UNKNOWN;
use crate::machine::ledger::exchange::advance;
use crate::machine::ledger::turn::{
    confirm, has_read, leaves_at, polls, read_beside, recognise, register, touched, untouched, would_block,
};
use crate::machine::runtime::event_loop::Recognition;
use crate::machine::runtime::unattributed::{Candidate, UnattributedWork};
use crate::phase::Phases;

const EPOLL: i32 = 4;
const LISTENER: i32 = 3;

type SetUp = fn(&mut Scene);
/// Whether it is a loop, and only as it may be gevent's hub.
type Observed = (bool, bool);
/// Phases by name, and how long they were.
type Parts = &'static [(&'static str, u64)];

/// A thread that has read, with two clients, a listener, an epoll instance and a back end.
fn reader() -> Scene {
    let mut scene = Scene::new(2);
    scene.thread.signs.reads = true;
    scene.ledger.world.descriptors.open(1, LISTENER, DescriptorClass::Listener, 0);
    scene.ledger.world.descriptors.open(1, EPOLL, DescriptorClass::Epoll, 0);
    scene.back_end(10, None);
    scene
}

const LOOK: Call = Call::EpollWait { epoll_fd: EPOLL, timeout_ms: -1 };

const fn select(low_fds: u64) -> Call {
    Call::Poll { only_fd: None, low_fds, for_write: false, is_sleep: false }
}

#[test]
fn a_thread_runs_a_loop_where_it_waits_for_clients_beside_its_listener() {
    let waits_for: fn(&mut Scene, &[i32]) =
        |scene, fds| scene.ledger.world.descriptors.set_interest(1, EPOLL, fds.to_vec(), &[]);
    let gevent: SetUp = |scene| {
        let mapped_files = vec!["_gevent_c_hub_local.so".to_owned()];
        scene.ledger.world.processes.see(&ProcessSeen { tgid: 1, mapped_files, ..ProcessSeen::default() });
    };
    // What it waits for, what else is known, by which call; whether it then is a loop, and only as it may be
    // gevent's hub.
    let nothing: SetUp = |_| {};
    let cases: &[(&str, &[i32], SetUp, Call, Observed)] = &[
        ("its listener and a client", &[LISTENER, CLIENT], nothing, LOOK, (true, false)),
        ("its listener and a back end", &[LISTENER, BACK_END], nothing, LOOK, (true, false)),
        ("its listener alone", &[LISTENER], nothing, LOOK, (false, false)),
        ("clients alone", &[CLIENT, CLIENT + 1], nothing, LOOK, (false, false)),
        (
            "it has read nothing",
            &[LISTENER, CLIENT],
            |scene| scene.thread.signs.reads = false,
            LOOK,
            (false, false),
        ),
        ("its listener alone, on gevent", &[LISTENER], gevent, LOOK, (true, true)),
        ("its listener and a client, on gevent", &[LISTENER, CLIENT], gevent, LOOK, (true, false)),
        (
            "select on its listener and a client",
            &[],
            nothing,
            select(1 << LISTENER | 1 << CLIENT),
            (true, false),
        ),
        ("select on its listener", &[], nothing, select(1 << LISTENER), (false, false)),
        ("select on its listener, on gevent", &[], gevent, select(1 << LISTENER), (false, false)),
    ];
    for (what, fds, set_up, call, expected) in cases {
        let mut scene = reader();
        waits_for(&mut scene, fds);
        set_up(&mut scene);
        recognise(&mut scene.ledger.context(), &mut scene.thread, &Slice::blank(*call));
        let recognition = &scene.event_loop().recognition;
        assert_eq!((recognition.confirmed, recognition.is_hub), *expected, "{what}");
    }
    let only = Call::Poll { only_fd: Some(CLIENT), low_fds: 0, for_write: false, is_sleep: false };
    let sleep = Call::Poll { only_fd: None, low_fds: 0, for_write: false, is_sleep: true };
    for (what, call) in [("a wait for one", only), ("a sleep", sleep), ("no wait", read_of(CLIENT))] {
        let mut scene = reader();
        recognise(&mut scene.ledger.context(), &mut scene.thread, &Slice::blank(call));
        assert!(scene.thread.event_loop.is_none(), "{what} shows nothing");
    }
}

#[test]
fn a_thread_that_leaves_an_unanswered_request_for_another_runs_a_loop() {
    for (what, serving, has_looked, has_begun, expected) in [
        ("another", Some((1, 2)), true, false, true),
        ("it is answered", Some((1, 2)), true, true, false),
        ("the same", Some((0, 1)), true, false, false),
        ("it serves none", None, true, false, false),
        ("that one is over", Some((1, 7)), true, false, false),
        ("it has never looked for what is ready", Some((1, 2)), false, false, false),
    ] {
        let mut scene = Scene::of_loop(3);
        scene.ask(0, 1, 100);
        scene.ask(1, 2, 100).response.has_begun = has_begun;
        scene.ask(2, 3, 100).left_by = Some(1);
        scene.event_loop().recognition.confirmed = false;
        if !has_looked {
            scene.thread.event_loop = None;
        }
        scene.thread.serving = serving;
        confirm(&mut scene.ledger.context(), &mut scene.thread, &Slice::blank(Call::Other), (0, 1));
        assert_eq!(scene.thread.is_loop(), expected, "{what}");
        let parked = scene.thread.event_loop.map(|event_loop| event_loop.left.parked).unwrap_or_default();
        assert_eq!(parked, if expected { vec![(2, 3)] } else { vec![] }, "{what}: what it left may resume");
    }
}

#[test]
fn a_thread_that_answers_a_request_which_it_had_left_to_wait_for_its_listener_runs_a_loop() {
    type Then = fn(&mut Scene);
    const WRITE: Call = Call::Write { fd: CLIENT };
    // What it waits for, what is different before it waits, by which call it comes back to which request.
    type Case = (&'static str, &'static [i32], Then, Call, RequestKey, bool);
    let cases: &[Case] = &[
        ("it answers", &[LISTENER], |_| {}, WRITE, (0, 1), true),
        ("it reads more of it", &[LISTENER], |_| {}, read_of(CLIENT), (0, 1), false),
        ("it answers another", &[LISTENER], |_| {}, WRITE, (1, 2), false),
        ("it waited for something else", &[BACK_END], |_| {}, WRITE, (0, 1), false),
        (
            "it had answered before",
            &[LISTENER],
            |scene| scene.active((0, 1)).response.has_begun = true,
            WRITE,
            (0, 1),
            false,
        ),
        ("it had served none", &[LISTENER], |scene| scene.thread.serving = None, WRITE, (0, 1), false),
    ];
    for (what, fds, then, call, key, expected) in cases {
        let mut scene = reader();
        scene.ask(0, 1, 40);
        scene.ask(1, 2, 40);
        scene.thread.serving = Some((0, 1));
        scene.ledger.world.descriptors.set_interest(1, EPOLL, fds.to_vec(), &[]);
        then(&mut scene);
        for _ in 0..2 {
            recognise(&mut scene.ledger.context(), &mut scene.thread, &Slice::blank(LOOK));
            assert!(!scene.thread.is_loop(), "{what}: it only waits");
            scene.thread.serving = None;
        }
        confirm(&mut scene.ledger.context(), &mut scene.thread, &Slice::blank(*call), *key);
        assert_eq!(scene.thread.is_loop(), *expected, "{what}");
    }
    let mut scene = reader();
    scene.ask(0, 1, 40);
    scene.thread.serving = Some((0, 1));
    recognise(&mut scene.ledger.context(), &mut scene.thread, &Slice::blank(select(1 << LISTENER)));
    confirm(&mut scene.ledger.context(), &mut scene.thread, &Slice::blank(WRITE), (0, 1));
    assert!(scene.thread.is_loop(), "by select");
}

#[test]
fn that_a_loop_has_left_more_than_are_remembered_before_it_was_known_to_be_one_is_counted() {
    // How many requests it had left, and whether it is known by what it waits for or by its turning from one
    // to another.
    for (count, by_wait, expected) in [(256, true, 0), (257, true, 1), (256, false, 0), (257, false, 1)] {
        let mut scene = reader();
        for number in 2..2 + count {
            assert_eq!(scene.ledger.wire.connections.open(&Opened::accepted(5), 10), Some(number));
            scene.ask(number, u64::from(number) + 1, 40).left_by = Some(1);
        }
        scene.ask(0, 1, 100);
        scene.ask(1, 2, 100);
        if by_wait {
            scene.ledger.world.descriptors.set_interest(1, EPOLL, vec![LISTENER, CLIENT], &[]);
            recognise(&mut scene.ledger.context(), &mut scene.thread, &Slice::blank(LOOK));
        } else {
            scene.thread.event_loop = Some(Box::default());
            scene.thread.serving = Some((1, 2));
            confirm(&mut scene.ledger.context(), &mut scene.thread, &Slice::blank(Call::Other), (0, 1));
        }
        assert!(scene.thread.is_loop(), "{count} {by_wait}");
        assert_eq!(scene.ledger.runtime.crowded, expected, "{count} {by_wait}");
    }
}

#[test]
fn a_loop_for_whose_pool_there_is_no_room_is_counted_once_until_there_is() {
    let mut scene = Scene::of_loop(1);
    scene.ledger.runtime.pools = Default::default();
    (1000..1000 + 4096).for_each(|tgid| assert!(scene.ledger.runtime.pools.has_loop(tgid, tgid)));
    let slice = Slice { enter_ns: 200, exit_ns: 300, ..Slice::blank(LOOK) };
    for (what, ends, expected) in
        [("no room", None, 1), ("still none", None, 1), ("there is", Some(1000), 1), ("it has one", None, 1)]
    {
        if let Some(tgid) = ends {
            scene.ledger.runtime.pools.process_ends(tgid);
        }
        polls(&mut scene.ledger.context(), &mut scene.thread, &slice);
        assert_eq!(scene.ledger.evicted, expected, "{what}");
    }
    assert!(scene.ledger.runtime.pools.get(1).is_some());
}

/// A request that the loop left at 90, before it slept last.
fn left_one(scene: &mut Scene, number: u32) {
    let key = (number, u64::from(number) + 1);
    scene.ask(number, key.1, 40).pass(45, Phase::Cpu);
    scene.active(key).left_by = Some(1);
    scene.event_loop().left.before.push(key);
}

/// Unattributed work that may be that of the first request.
fn work_of_first(scene: &mut Scene) {
    let candidate = Candidate { key: (0, 1), before: [(0, Phase::Unexplained); 3], has_passed: false };
    let mut account = Active::new(&Beginning::at(0, 90), 1, 1);
    account.wants = Wants::Backend;
    scene.event_loop().unattributed.list.push(UnattributedWork {
        number: 5,
        account,
        begun_ns: 90,
        task: None,
        back_ends: Vec::new(),
        candidates: vec![candidate],
        has_more: false,
        answered_ns: 0,
        touched_ns: 0,
        has_asked: true,
        of_iteration: (0, Phases::default()),
    });
}

#[test]
fn an_iteration_without_a_touch_is_that_of_the_only_request_that_may_have_run() {
    // What is different, and how much of the iteration from 100 to 160 the first request has.
    let cases: &[(&str, SetUp, u64)] = &[
        ("it alone", |_| {}, 60),
        ("two may have run", |scene| left_one(scene, 1), 0),
        ("it waits for a back end", |scene| scene.active((0, 1)).wants = Wants::Backend, 0),
        ("it is over", |scene| drop(scene.connection(0).requests.pop_front()), 0),
        ("another one is served", |scene| scene.thread.serving = Some((1, 7)), 0),
        ("something was touched", |scene| touched(&mut scene.thread, 130, false), 0),
        (
            "other threads answer",
            |scene| scene.ledger.runtime.pools.get_mut(1).unwrap().answers_elsewhere = true,
            0,
        ),
        (
            "they are another loop's",
            |scene| {
                let pool = scene.ledger.runtime.pools.get_mut(1).unwrap();
                (pool.answers_elsewhere, pool.loop_tid) = (true, 7);
            },
            60,
        ),
        ("it may have asked a back end meanwhile", work_of_first, 0),
        ("its account goes on beyond the beginning", |scene| scene.active((0, 1)).pass(101, Phase::Cpu), 0),
    ];
    for (what, set_up, expected) in cases {
        let mut scene = Scene::of_loop(2);
        left_one(&mut scene, 0);
        set_up(&mut scene);
        let slice = slice(LOOK, (100, 160, 170), 0);
        scene.takes(&slice);
        untouched(&mut scene.ledger.context(), &mut scene.thread, &slice);
        let front = scene.connection(0).requests.front();
        let own_ns = front.filter(|active| active.cursor_ns == 160).map_or(0, |_| 60);
        assert_eq!(own_ns, *expected, "{what}");
        assert_eq!(scene.thread.pending.start_ns(), Some(if own_ns > 0 { 160 } else { 100 }), "{what}");
        assert_eq!(scene.event_loop().left.before.contains(&(0, 1)), own_ns == 0, "{what}");
    }
}

/// A request that the loop has served from 110 to 120, and another that it has left before.
fn turning() -> Scene {
    let mut scene = Scene::of_loop(2);
    scene.ask(0, 1, 60);
    let call = slice(read_of(CLIENT), (100, 110, 120), 1);
    scene.takes(&call);
    advance(&mut scene.ledger.context(), &mut scene.thread, 0, &call);
    touched(&mut scene.thread, 120, false);
    assert_eq!(phases(scene.active((0, 1))), [("cpu", 20), ("loop_wait", 40)]);
    scene.ask(1, 2, 40).pass(60, Phase::Cpu);
    scene.active((1, 2)).left_by = Some(1);
    scene
}

#[test]
fn time_between_two_touches_is_one_requests_only_where_just_one_can_have_run() {
    let reads = read_of(CLIENT + 1);
    let writes = Call::Write { fd: CLIENT + 1 };
    // What is different, by which call from 150 to 160 the loop turns to the second, and what both then have.
    let cases: &[(&str, SetUp, Call, Parts, Parts)] = &[
        (
            "what it reads was ready: the first one ran until then",
            |_| {},
            reads,
            &[("cpu", 50), ("loop_wait", 40)],
            &[("cpu", 30), ("loop_wait", 51), ("unexplained", 39)],
        ),
        (
            "it writes: either of the two ran",
            |_| {},
            writes,
            &[("cpu", 20), ("loop_wait", 40), ("unexplained", 30)],
            &[("cpu", 30), ("loop_wait", 21), ("unexplained", 69)],
        ),
        (
            "it writes, and the first waits for a back end",
            |scene| scene.active((0, 1)).wants = Wants::Backend,
            writes,
            &[("cpu", 20), ("loop_wait", 40)],
            &[("cpu", 60), ("loop_wait", 21), ("unexplained", 39)],
        ),
        (
            "it writes, and waited for a back end itself",
            |scene| scene.active((1, 2)).wants = Wants::Backend,
            writes,
            &[("cpu", 20), ("loop_wait", 40), ("unexplained", 30)],
            &[("backend_wait", 39), ("cpu", 30), ("loop_wait", 21), ("unexplained", 30)],
        ),
        (
            "its first bytes are read: they waited for the loop",
            |scene| {
                scene.active((1, 2)).left_by = None;
                scene.active((1, 2)).request.times.start_is_arrival = true;
            },
            reads,
            &[("cpu", 50), ("loop_wait", 40)],
            &[("cpu", 30), ("loop_wait", 90)],
        ),
    ];
    for (what, set_up, call, first, second) in cases {
        let mut scene = turning();
        set_up(&mut scene);
        let call = slice(*call, (120, 150, 160), 1);
        scene.takes(&call);
        advance(&mut scene.ledger.context(), &mut scene.thread, 1, &call);
        assert_eq!(scene.thread.serving, Some((1, 2)), "{what}");
        scene.active((0, 1)).part();
        assert_eq!(phases(scene.active((0, 1))), *first, "{what}: the first");
        assert_eq!(phases(scene.active((1, 2))), *second, "{what}: the second");
        assert_eq!(scene.active((1, 2)).wants, Wants::Unknown, "{what}");
    }
}

#[test]
fn a_read_that_finds_nothing_says_nothing_where_another_task_reads() {
    // What is different, and whether the request may wait for something; `None`: it waits for its client.
    let cases: &[(&str, SetUp, Option<bool>)] = &[
        ("another task reads", |_| {}, Some(false)),
        ("it may ask a back end", work_of_first, Some(true)),
        ("it waits for one", |scene| scene.active((0, 1)).wants = Wants::Backend, Some(true)),
        ("its answer has begun", |scene| scene.active((0, 1)).response.has_begun = true, None),
        (
            "its body is not whole",
            |scene| drop(scene.connection(0).inbound.push(9, b"GET / HTT", false)),
            None,
        ),
        ("its own task reads", |scene| scene.event_loop().recognition = confirmed(false), None),
        ("the thread runs no loop", |scene| scene.thread.event_loop = None, None),
    ];
    for (what, set_up, expected) in cases {
        let mut scene = Scene::of_loop(1);
        scene.event_loop().recognition = confirmed(true);
        scene.ask(0, 1, 60);
        set_up(&mut scene);
        assert_eq!(read_beside(scene.ledger.context().view(), &scene.thread, 0), *expected, "{what}");
    }
}

/// The recognition of a loop, of trio's or not.
fn confirmed(is_trio: bool) -> Recognition {
    let mut recognition = Recognition::default();
    recognition.confirmed = true;
    recognition.may_be_of(&UNKNOWN, is_trio);
    recognition
}

#[test]
fn what_a_request_waits_for_follows_from_what_the_loop_asks_of_its_client() {
    let (half, whole) = (b"GET / HTT".as_slice(), GET);
    let read = |asked_bytes, moved| Slice {
        result: moved,
        ..Slice::blank(Call::Read { fd: CLIENT, asked_bytes, arrival_ns: 0 })
    };
    // What the loop has read of the request, of how much that it asked for.
    for (what, bytes, slice, is_loop, expected) in [
        ("a part of its head", half, read(100, 9), true, Wants::ClientRead),
        ("as much as it asked for", half, read(9, 9), true, Wants::Unknown),
        ("all of it", whole, read(100, 19), true, Wants::Unknown),
        ("a part, and the thread runs no loop", half, read(100, 9), false, Wants::Unknown),
    ] {
        let mut scene = if is_loop { Scene::of_loop(1) } else { Scene::new(1) };
        scene.connection(0).inbound.push(bytes.len() as u64, bytes, false);
        scene.ask(0, 1, 60);
        has_read(&mut scene.ledger.context(), &mut scene.thread, 0, &slice);
        assert_eq!(scene.active((0, 1)).wants, expected, "{what}");
    }
    for (what, is_loop, wants, expected) in [
        ("nothing to read", true, Wants::ClientRead, Wants::ClientRead),
        ("no room to write", true, Wants::ClientWrite, Wants::ClientWrite),
        ("nothing to read, on no loop", false, Wants::ClientRead, Wants::Unknown),
        ("no room to write, on no loop", false, Wants::ClientWrite, Wants::ClientWrite),
    ] {
        let mut scene = if is_loop { Scene::of_loop(1) } else { Scene::new(1) };
        scene.ask(0, 1, 60);
        would_block(&mut scene.ledger.context(), &mut scene.thread, 0, wants);
        assert_eq!(scene.active((0, 1)).wants, expected, "{what}");
    }
}

#[test]
fn a_response_waits_for_its_client_while_the_loop_waits_until_that_takes_more() {
    use Wants::{Backend, ClientWrite, Unknown};
    // What the loop waited for before and waits for now, whether the answer has begun and is the one it
    // serves, what it waited for and waits for.
    for (what, did_await, awaits, has_begun, serves, wants, expected) in [
        ("from now on", false, true, true, true, Unknown, ClientWrite),
        ("no longer", true, false, true, true, ClientWrite, Unknown),
        ("the answer has not begun", false, true, false, true, Unknown, Unknown),
        ("the loop is about another", false, true, true, false, Unknown, Unknown),
        ("it waits for something else", false, true, true, true, Backend, Backend),
        ("it did not wait", false, false, true, true, ClientWrite, ClientWrite),
    ] {
        let mut scene = Scene::of_loop(1);
        let active = scene.ask(0, 1, 60);
        (active.response.has_begun, active.wants) = (has_begun, wants);
        scene.connection(0).awaits_writable = did_await;
        scene.thread.serving = serves.then_some((0, 1));
        register(&mut scene.ledger.context(), &scene.thread, 0, awaits);
        assert_eq!(
            (scene.active((0, 1)).wants, scene.connection(0).awaits_writable),
            (expected, awaits),
            "{what}"
        );
        scene.thread.event_loop = None;
        register(&mut scene.ledger.context(), &scene.thread, 0, !awaits);
        assert_eq!(scene.connection(0).awaits_writable, awaits, "{what}: others' registrations say nothing");
    }
}

#[test]
fn a_loop_surely_served_a_request_until_another_may_have_run() {
    // On trio an iteration has no order. The moment up to which the request had the loop that waits at 160
    // and touched it last at 120.
    for (what, is_trio, serves, others, expected) in [
        ("nobody else may run", true, true, false, 160),
        ("another may", true, true, true, 120),
        ("another may, after this one", false, true, true, 160),
        ("it serves none", true, false, true, 160),
    ] {
        let mut scene = Scene::of_loop(2);
        scene.event_loop().recognition = confirmed(is_trio);
        scene.ask(1, 2, 60);
        if others {
            left_one(&mut scene, 0);
        }
        touched(&mut scene.thread, 120, false);
        scene.thread.serving = serves.then_some((1, 2));
        let slice = slice(LOOK, (130, 160, 170), 0);
        assert_eq!(leaves_at(scene.ledger.context().view(), &scene.thread, &slice), expected, "{what}");
    }
}
