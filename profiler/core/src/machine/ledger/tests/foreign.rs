//! Calls of a loop's thread on no client's connection.
//!
//! In: calls on a back end, on a wakeup descriptor, on others. Out: assertions on the request that makes
//! them, and on what it waits for.

use super::*;
use crate::machine::ledger::foreign::foreign;
use crate::machine::ledger::turn::touched;
use crate::machine::world::descriptor::EPOLL_CTL_DEL;

const WAKEUP: i32 = 21;
const FILE: i32 = 22;

/// A loop with a request that it serves, read at 100 and touched up to 110, another that it has left before
/// it slept, and a back end's socket of nobody's.
fn scene() -> Scene {
    let mut scene = Scene::of_loop(2);
    scene.ask(0, 1, 100).pass(110, Phase::Cpu);
    scene.active((0, 1)).owner = Some(1);
    scene.thread.serving = Some((0, 1));
    touched(&mut scene.thread, 110, false);
    scene.ask(1, 2, 30).pass(40, Phase::Cpu);
    scene.active((1, 2)).left_by = Some(1);
    scene.back_end(20, None);
    scene.ledger.world.descriptors.open(1, WAKEUP, DescriptorClass::Wakeup, 0);
    scene.ledger.world.descriptors.open(1, FILE, DescriptorClass::File, 0);
    scene
}

/// The thread makes a call from 130 to 140.
fn calls(scene: &mut Scene, call: Call, result: i64) {
    let slice = slice(call, (110, 130, 140), result);
    scene.takes(&slice);
    foreign(&mut scene.ledger.context(), &mut scene.thread, &slice);
}

fn owner(scene: &mut Scene) -> Option<RequestKey> {
    scene.ledger.world.descriptors.get(1, BACK_END).and_then(|known| known.owner)
}

const READ: Call = read_of(BACK_END);
const WRITE: Call = Call::Write { fd: BACK_END };
const CONNECT: Call = Call::Connect { fd: BACK_END, port: 5432, family: 2, identity: 0 };
const SOCKET: Call = Call::Make { class: DescriptorClass::Socket };

#[test]
fn a_call_on_a_back_end_is_its_owners_who_waits_for_it_once_something_is_asked() {
    use Wants::{Backend, Unknown};
    const ITS: Option<RequestKey> = Some((0, 1));
    const OTHERS: Option<RequestKey> = Some((1, 2));
    // Whose the back end is, the call and its result; whose it then is, whom the thread then serves, and what
    // that one waits for.
    for (what, owned, call, result, owns, serves, wants) in [
        ("its owner asks", ITS, WRITE, 30, ITS, ITS, Backend),
        ("its owner cannot ask now", ITS, WRITE, EAGAIN, ITS, ITS, Backend),
        ("its owner connects", ITS, CONNECT, EINPROGRESS, ITS, ITS, Backend),
        ("its owner is connected at once", ITS, CONNECT, 0, ITS, ITS, Unknown),
        ("its owner reads the answer", ITS, READ, 30, ITS, ITS, Unknown),
        ("its owner finds no answer", ITS, READ, EAGAIN, ITS, ITS, Backend),
        ("the other one that owns it asks", OTHERS, WRITE, 30, OTHERS, OTHERS, Backend),
        ("the other one reads its answer", OTHERS, READ, 30, OTHERS, OTHERS, Unknown),
        ("nobody owns it: the one that is served opens it", None, SOCKET, 20, ITS, ITS, Unknown),
        ("nobody owns it: the one that is served asks", None, WRITE, 30, ITS, ITS, Backend),
        ("nobody owns it, and reads", None, READ, 30, None, None, Unknown),
        ("its owner is over, and somebody reads", Some((0, 7)), READ, 30, None, None, Unknown),
    ] {
        let mut scene = scene();
        scene.back_end(20, owned);
        calls(&mut scene, call, result);
        assert_eq!((owner(&mut scene), scene.thread.serving), (owns, serves), "{what}");
        for key in [(0, 1), (1, 2)] {
            let expected = if serves == Some(key) { wants } else { Unknown };
            assert_eq!(scene.active(key).wants, expected, "{what}: {key:?}");
        }
        assert_eq!(scene.event_loop().touched.until_ns, 140, "{what}");
        let until_ns = scene.active((0, 1)).parting.as_ref().map_or(0, |(until_ns, ..)| *until_ns);
        let until_ns = scene.active((0, 1)).cursor_ns.max(until_ns);
        assert!(serves != ITS || until_ns == 140, "{what}: it has the time of the call");
    }
}

#[test]
fn other_calls_say_little_of_who_makes_them() {
    let control = |operation, fd| Call::EpollControl { epoll_fd: 4, operation, fd, events: 1 };
    // The call; whether the request goes on being served, whether a thread may have resumed one, whether
    // anything may resume any.
    for (what, owned, call, result, serves, is_woken) in [
        ("it accepts", None, Call::Accept { listener_fd: 3 }, 7, None, false),
        ("it reads what woke it", None, read_of(WAKEUP), 1, Some((0, 1)), true),
        ("it waits for what wakes it", None, control(1, WAKEUP), 0, Some((0, 1)), true),
        ("it wakes itself", None, Call::Write { fd: WAKEUP }, 1, Some((0, 1)), false),
        ("it reads a file", None, read_of(FILE), 1, Some((0, 1)), false),
        ("it waits for a back end", None, control(1, BACK_END), 0, Some((0, 1)), false),
        ("it waits for it no longer", Some((1, 2)), control(EPOLL_CTL_DEL, BACK_END), 0, Some((1, 2)), false),
        ("it waits for nobody's no longer", None, control(EPOLL_CTL_DEL, BACK_END), 0, Some((0, 1)), false),
        ("it reads from what is not known", None, read_of(77), 1, Some((0, 1)), false),
    ] {
        let mut scene = scene();
        scene.back_end(20, owned);
        calls(&mut scene, call, result);
        assert_eq!(scene.thread.serving, serves, "{what}");
        assert_eq!(scene.event_loop().resumes_parked(), is_woken, "{what}");
    }
    let mut scene = scene();
    scene.event_loop().recognition.confirmed = false;
    calls(&mut scene, WRITE, 30);
    assert_eq!(
        (owner(&mut scene), scene.thread.serving),
        (None, Some((0, 1))),
        "on a thread that runs no loop"
    );
}

#[test]
fn a_back_end_whose_owner_is_only_likely_is_not_sure_until_more_shows_it() {
    // The thread serves nobody, and only the request that the loop left before it slept is known to wait for
    // nothing known.
    let mut scene = scene();
    scene.thread.serving = None;
    scene.connection(0).requests.clear();
    scene.event_loop().left.parked.push((1, 2));
    calls(&mut scene, SOCKET, i64::from(BACK_END));
    assert_eq!((owner(&mut scene), scene.event_loop().is_sure(BACK_END)), (Some((1, 2)), false));
    for count in 0..1030_u64 {
        let fd = 100 + count as i32;
        scene.ledger.world.descriptors.open(1, fd, DescriptorClass::Socket, 20);
        scene.active((1, 2)).wants = Wants::Unknown;
        scene.thread.serving = None;
        scene.event_loop().left.parked.push((1, 2));
        calls(&mut scene, SOCKET, i64::from(fd));
        assert_eq!(scene.ledger.runtime.crowded, (count + 2).saturating_sub(1024), "{count}");
    }
    assert!(!scene.event_loop().is_sure(5000), "of more than have room none is sure");
}
