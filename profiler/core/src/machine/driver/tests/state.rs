//! What is counted of threads, slots, loops and requests that are over.
//!
//! In: threads and requests that end. Out: assertions on sums, and on what found no place.

use super::*;
use crate::machine::ledger::thread_end;
use crate::machine::runtime::event_loop::EventLoop;
use crate::machine::world::state::MAX_LISTENERS;
use crate::model::slot::Holding;

/// A thread that was asleep for 10 and has served a request; of this slot, with a loop or without.
fn thread(slot: Option<u32>, has_loop: bool) -> Box<Thread> {
    let mut thread = Thread { tgid: 1, slot, since_ns: 100, ..Thread::default() };
    thread.totals.account = Account { cpu_ns: 5, blocked_ns: 10, ..Account::default() };
    thread.totals.requests = 1;
    thread.totals.holding_ns[Holding::Linger as usize] = 7;
    if has_loop {
        let event_loop = EventLoop::confirmed();
        thread.event_loop = Some(Box::new(event_loop));
    }
    Box::new(thread)
}

#[test]
fn what_has_ended_stays_listed_up_to_its_bound_and_what_has_no_room_is_counted() {
    // How many threads end, each with a slot of its own or a loop; how many of these, of the slots and of the
    // loops are listed, and what has no room.
    for (what, has_slot, has_loop, count, expected) in [
        ("threads", false, false, 4097, (4096, 0, 0, 1)),
        ("slots", true, false, 16_386, (4096, 16_384, 0, 16_386 - 4096 + 2)),
        ("loops", false, true, 1025, (1025, 0, 1024, 1)),
        ("loops of slots", true, true, 1025, (1025, 1025, 1024, 1)),
    ] {
        let mut run = Run::new(0);
        for tid in 1..=count {
            thread_end::end(&mut run.state.context(), tid, thread(has_slot.then_some(tid), has_loop), 200);
        }
        let State { runtime, time, evicted, .. } = &run.state;
        let told = (runtime.ended_threads.len(), time.ended_slots.len(), runtime.event_loops.len(), *evicted);
        assert_eq!(told, expected, "{what}");
        assert_eq!(runtime.ended_cpu_ns, u64::from(count) * 5, "{what}: its CPU time counts in any case");
        assert!(time.ended_slots.values().all(|slot| slot.is_loop == has_loop), "{what}");
    }
}

#[test]
fn threads_that_were_the_same_slot_one_after_the_other_are_one() {
    let mut run = Run::new(0);
    for (tid, slot, until_ns) in [(7, Some(0), 200), (8, Some(0), 300), (9, Some(1), 300), (5, None, 300)] {
        thread_end::end(&mut run.state.context(), tid, thread(slot, false), until_ns);
    }
    let slots = run.state.time.ended_slots.values();
    let told: Vec<_> = slots
        .map(|slot| (slot.tid, slot.since_ns, slot.until_ns, slot.requests, slot.held_ns(Holding::Linger)))
        .collect();
    assert_eq!(told, [(8, 100, 300, 2, 14), (9, 100, 300, 1, 7)]);
    assert_eq!(run.state.time.acceptor_linger_ns, 7, "that of a thread which is no slot");
}

#[test]
fn a_request_counts_as_served_where_it_is_over_and_was_so_while_somebody_watched() {
    // When it ended, whether it is open, whether the next window follows; whether it is reported, and whether
    // it counts.
    for (what, end_ns, is_open, next_follows, expected) in [
        ("it is over", 200, false, false, (1, true)),
        ("it was over before", 99, false, false, (0, false)),
        ("it ended as the watch began", 100, false, false, (1, true)),
        ("it is open", 200, true, false, (1, false)),
        ("it goes on in the next window", 200, false, true, (1, false)),
    ] {
        let mut run = Run::new(1);
        (run.state.watch_start_ns, run.state.next_follows) = (100, next_follows);
        let mut request = run.ask(0, 1, 50).request.clone();
        (request.times.end_ns, request.seen.open) = (end_ns, is_open);
        let Run { state, entries, .. } = &mut run;
        state.completion_context().complete(request, &mut |entry| entries.push(entry));
        let counts = run.state.product.served.get(&1) == Some(&1);
        assert_eq!((run.requests().len(), counts), expected, "{what}");
    }
}

#[test]
fn accepts_of_listeners_beyond_the_bound_are_counted_as_without_room() {
    let mut run = Run::new(0);
    let count = i32::try_from(MAX_LISTENERS).unwrap();
    (0..count).for_each(|fd| run.state.world.count_accept((1, fd), 1));
    for (what, fd, result, evicted) in [
        ("one that is counted", 7, EAGAIN, 0),
        ("one that is not", count, EAGAIN, 1),
        ("another result", 7, 9, 1),
    ] {
        run.call(Call::Accept { listener_fd: fd }, (100, 120, 130), result);
        assert_eq!(run.state.evicted(), evicted, "{what}");
    }
    run.state.world.count_accept((1, 7), 3);
    assert_eq!(run.state.world.accepts.get(&(1, 7)), Some(&[0, 2, 0]), "there is no outcome 3");
}
