//! A thread leaves the request that it serves.
//!
//! In: what is known of the request, of its response and of the thread. Out: assertions on whether it is
//! over, and what it has of the thread's time.

use super::*;
use crate::machine::ledger::finish::leave;
use crate::machine::wire::origin::Side;

/// What became of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// The request is over.
    Over,
    /// The request may go on; if it does, this much of the time after its last call is its own.
    Parting(u64),
    /// The request is another thread's.
    Anothers,
}

use Left::{Anothers, Over, Parting};

type SetUp = fn(&mut Scene);
type Case = (&'static str, bool, &'static [u8], SetUp, Left, bool);

#[test]
fn a_request_that_is_left_goes_on_unless_its_answer_has_begun_and_may_be_over() {
    let sized = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
    // What happened, whether the thread runs a loop, what became of the request that it leaves at 160, and
    // whether it hands requests over.
    let cases: &[Case] = &[
        ("it was not answered", false, b"", |_| {}, Parting(30), true),
        ("it was not, on a loop", true, b"", |_| {}, Parting(30), true),
        ("its answer is not whole", false, sized, |_| {}, Parting(0), false),
        ("no end of its answer is known", false, CHUNKED, |_| {}, Over, false),
        ("no end is known, on a loop", true, CHUNKED, |_| {}, Parting(30), false),
        (
            "its last chunk was written, on a loop",
            true,
            CHUNKED,
            |scene| scene.writes(0, (130, 130, 130), b"0\r\n\r\n"),
            Over,
            false,
        ),
        (
            "another thread has taken it over",
            false,
            b"",
            |scene| scene.active((0, 1)).owner = Some(7),
            Anothers,
            true,
        ),
        (
            "a front end passes no more on, and no end is known",
            false,
            CHUNKED,
            |scene| scene.connection(0).origin.side = Side::Front,
            Over,
            false,
        ),
    ];
    for (what, is_loop, response, then, expected, hands_over) in cases {
        let mut scene = if *is_loop { Scene::of_loop(1) } else { Scene::new(1) };
        let active = scene.ask(0, 1, 100);
        active.owner = Some(1);
        scene.thread.serving = Some((0, 1));
        if response.is_empty() {
            active_time(&mut scene);
        } else {
            scene.writes(0, (100, 120, 130), response);
        }
        then(&mut scene);
        scene.thread.pending.push(Piece::unknown(130, 160));
        leave(&mut scene.ledger.context(), &mut scene.thread, 1, 160);
        let told = scene.told();
        assert_eq!((scene.thread.serving, scene.thread.signs.hands_over), (None, *hands_over), "{what}");
        let front = scene.connection(0).requests.front();
        let left = match front {
            None => Over,
            Some(active) if active.owner.is_some() => Anothers,
            Some(active) => {
                assert_eq!(active.left_by, Some(1), "{what}");
                Parting(active.parting.as_ref().map_or(0, |(_, phases, _)| phases.total_ns()))
            }
        };
        assert_eq!((left, told.len()), (*expected, usize::from(*expected == Over)), "{what}: {told:?}");
        assert!(told.iter().all(|told| told == "request 1 until 130: cpu 30"), "{what}: {told:?}");
    }
}

/// The thread has worked for the request up to 130.
fn active_time(scene: &mut Scene) {
    scene.active((0, 1)).pass(130, Phase::Cpu);
}

#[test]
fn a_request_for_which_a_loop_has_no_room_is_counted() {
    let mut scene = Scene::of_loop(66);
    for number in 0..66 {
        let id = u64::from(number) + 1;
        scene.ask(number, id, 100).owner = Some(1);
        scene.thread.serving = Some((number, id));
        leave(&mut scene.ledger.context(), &mut scene.thread, 1, 110);
        assert_eq!(scene.ledger.runtime.crowded, u64::from(number).saturating_sub(63), "{number}");
    }
    let mut scene = Scene::of_loop(66);
    for number in 0..66 {
        let id = u64::from(number) + 1;
        scene.ask(number, id, 100).owner = Some(1);
        scene.active((number, id)).wants = Wants::Backend;
        scene.thread.serving = Some((number, id));
        leave(&mut scene.ledger.context(), &mut scene.thread, 1, 110);
    }
    assert_eq!(scene.ledger.runtime.crowded, 0, "those that wait for something known need none");
}
