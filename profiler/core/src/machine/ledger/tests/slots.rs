//! Threads prove to be slots by what they wait for.
//!
//! In: reads and waits on a client's connection. Out: assertions on whether the thread is a slot.

use super::*;
use crate::machine::ledger::slots::make_slot_of_reader;
use crate::machine::world::classify::Touch;

#[test]
fn a_thread_is_a_slot_that_waits_for_the_bytes_of_one_clients_request() {
    let nothing: fn(&mut Scene) = |_| {};
    let asked: fn(&mut Scene) = |scene| {
        scene.ask(0, 1, 100);
    };
    let answering: fn(&mut Scene) = |scene| scene.ask(0, 1, 100).response.has_begun = true;
    let shut: fn(&mut Scene) = |scene| scene.connection(0).shut = true;
    let in_front: fn(&mut Scene) = |scene| scene.thread.signs.in_front = true;
    for (what, set_up, touch, slept_ns, expected) in [
        ("it reads, and has to wait", nothing, Touch::Read, 5, true),
        ("it waits until there is something", nothing, Touch::WaitReadable, 5, true),
        ("it takes what is there", nothing, Touch::Read, 0, false),
        ("it waits until there is room", nothing, Touch::WaitWritable, 5, false),
        ("it writes, and has to wait", nothing, Touch::Write, 5, false),
        ("it waits for the rest of a request", asked, Touch::Read, 5, true),
        ("the answer has begun", answering, Touch::Read, 5, false),
        ("it has ended its direction", shut, Touch::Read, 5, false),
        ("it passes requests on", in_front, Touch::Read, 5, false),
    ] {
        let mut scene = Scene::new(1);
        set_up(&mut scene);
        let mut slice = slice(read_of(CLIENT), (100, 120, 130), 1);
        slice.inside.blocked_ns = slept_ns;
        make_slot_of_reader(&mut scene.ledger.context(), &mut scene.thread, 0, &slice, touch);
        assert_eq!(scene.thread.slot.is_some(), expected, "{what}");
    }
}
