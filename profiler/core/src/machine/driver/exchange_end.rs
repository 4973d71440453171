//! Ends that are not a response: a process dies, the window closes, the server closes what it works on.
//!
//! In: exits of processes; the slices that were open at the end of the window. Out: requests finished without an
//! answer, or marked open.

use crate::event::{Slice, Tid};
use crate::machine::driver::state::State;
use crate::machine::driver::{draw, late, light, meaning};
use crate::machine::ledger::gil_party::{self, Because};
use crate::machine::ledger::{exchange, finish, slots, turn};
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::threads::Threads;
use crate::machine::time::piece::Piece;
use crate::machine::wire::ending::{How, asked};
use crate::timeline::Entry;

/// A process has ended. Its requests end with it; what its threads did last is not known.
pub fn end_process(state: &mut State, tgid: Tid, code: i64, at_ns: u64, sink: &mut dyn FnMut(Entry)) {
    state.time.vacant_slots.remove(&tgid);
    let numbers = state.world.descriptors.exit(tgid);
    let held = numbers.iter().filter_map(|number| state.wire.connections.get(*number));
    let held = held.filter_map(|connection| connection.requests.front().map(|active| &active.request));
    let held = held.map(|request| (asked(request), at_ns.saturating_sub(request.times.start_ns)));
    let held: Vec<_> = held.chain(light::ending::held(state, tgid, at_ns)).collect();
    state.product.drops.process_ends(tgid, code, at_ns, &held);
    for number in numbers {
        finish::end_connection(&mut state.books(), number, How::ProcessGone, at_ns);
    }
    state.publish(sink);
    light::ending::process_ends(state, tgid, at_ns, sink);
    late::process_ends(state, tgid, sink);
    state.join.links.process_ends(tgid, at_ns);
    state.runtime.pools.process_ends(tgid);
}

/// A descriptor's number was given to a new connection: the old one is gone, even if we lost its close.
pub fn end_predecessor(state: &mut State, tgid: Tid, fd: i32, at_ns: u64, sink: &mut dyn FnMut(Entry)) {
    if let Some(number) = state.world.descriptors.connection(tgid, fd) {
        finish::end_connection(&mut state.books(), number, How::Closed, at_ns);
        state.publish(sink);
    }
}

/// The window ends at `end_ns`. Each open slice comes with whether its entry is unknown.
pub fn end_window(state: &mut State, open: &[(Slice, bool)], end_ns: u64, sink: &mut dyn FnMut(Entry)) {
    for (slice, entry_unknown) in open {
        end_slice(state, slice, *entry_unknown, end_ns, sink);
    }
    late::end_window(state, sink);
    let numbers: Vec<u32> = state.wire.connections.numbers().collect();
    for number in numbers {
        loop {
            let continues = state.wire.connections.get(number).is_some_and(|connection| {
                let front = connection.requests.front();
                front.is_some_and(|active| connection.surely_continues(active))
            });
            let Some(connection) = state.wire.connections.get_mut(number) else { break };
            let open_end = connection.outbound.until_turn();
            let Some(active) = connection.requests.front_mut() else { break };
            let over = active.response.has_begun && open_end && !continues && !active.request.seen.open;
            if !over {
                active.pass(end_ns, active.unattended());
                active.request.seen.open = true;
            }
            finish::finish_front(&mut state.books(), number);
            state.publish(sink);
        }
    }
    let tids: Vec<Tid> = state.runtime.threads.tids().collect();
    for tid in tids {
        if let Some(thread) = state.runtime.threads.remove(tid) {
            state.end_thread(tid, thread, end_ns);
        }
    }
    state.runtime.ended_threads.sort_by_key(|(tgid, thread)| (*tgid, thread.tid));
}

/// The thread of a slice, made where it is seen for the first time.
fn take_thread(threads: &mut Threads, slice: &Slice) -> Box<Thread> {
    threads.take(slice.tid).unwrap_or_else(|| {
        threads.enter(slice.tid);
        Box::new(Thread { tgid: slice.tgid, since_ns: slice.gap_start_ns(), ..Thread::default() })
    })
}

fn end_slice(
    state: &mut State,
    slice: &Slice,
    entry_unknown: bool,
    end_ns: u64,
    sink: &mut dyn FnMut(Entry),
) {
    let tid = slice.tid;
    if state.runtime.threads.get(tid).is_some_and(|thread| thread.row.sequence >= slice.sequence) {
        // Its slice came after all, between the look at the thread and the end of the window.
        return;
    }
    let mut thread = take_thread(&mut state.runtime.threads, slice);
    state.add_up(&mut thread, slice);
    let slice = &slice.within(thread.row.last_exit_ns, end_ns);
    let mut meaning = meaning::meaning_of(state.view(), slice);
    let followed = state.gil.follow(&mut thread.gil.at_lock, slice, end_ns, state.window_start_ns);
    let part = followed.part;
    gil_party::continued(&mut thread, followed.tail_ns);
    if let Some(wait) = followed.ended {
        thread.pending.has_waited(*wait);
    }
    let mut because = Because::default();
    if let Some(wait_ns) = part.wait_ns(slice, end_ns, state.window_start_ns) {
        because = gil_party::held(&mut state.parties(), &mut thread, slice, end_ns, wait_ns);
    }
    // An attempt to take the lock that is still open ends here, for what its thread serves now.
    if let Some(wait) = state.gil.end(tid, thread.gil.at_lock.episode.take(), state.window_start_ns) {
        thread.pending.has_waited(*wait);
    }
    gil_party::settle(&mut state.parties(), &mut thread, tid);
    let mut gap = thread.gap(slice, meaning::closes_file(slice, &meaning));
    part.apply(&mut meaning, &mut gap);
    let held_by = because.by;
    gap.held_by = held_by;
    slots::waited_for_its_turn((&mut state.time, state.window_start_ns), &mut thread, slice, &mut gap);
    let serving = thread.serving;
    let idle = meaning::waits_for_work(state.view(), &thread, slice, &meaning);
    late::arrive(state, tid, [Some(gap), None], slice.enter_ns, sink);
    // In light mode it is known in more detail (`light::slots`).
    if gap.length_ns() > 0 && !state.time.is_light {
        thread.pending.push(gap);
    }
    let in_call = slice.system_call != u32::MAX;
    if state.wants_slices && !entry_unknown {
        let shown = meaning::shown(state.view(), &thread, slice, (idle, part), &meaning);
        draw::draw(slice, end_ns, (shown, because), true, sink);
    }
    if idle && in_call {
        turn::recognise(&mut state.books(), &mut thread, slice);
        finish::leave(&mut state.books(), &mut thread, tid, slice.enter_ns);
        thread.drain(state.window_start_ns);
        thread.was_busy(&mut state.time, slice.enter_ns, state.window_start_ns);
        turn::wait(&mut state.books(), &mut thread, slice, end_ns);
    } else {
        thread.make_slot_in_flight(&mut state.time);
        if in_call {
            let mut piece = Piece::call(slice, end_ns, &meaning);
            piece.holding = Some(meaning::holding(state.view(), slice.tgid, &meaning));
            piece.held_by = held_by;
            thread.pending.push(piece);
        }
        if !entry_unknown {
            thread.was_busy(&mut state.time, end_ns, state.window_start_ns);
        }
        if let Some((number, id)) = serving {
            let front = state.wire.connections.get(number).and_then(|c| c.requests.front());
            if front.is_some_and(|active| active.request.id == id) {
                exchange::advance(&mut state.books(), &mut thread, (number, slice, end_ns));
                if let Some(active) =
                    state.wire.connections.get_mut(number).and_then(|c| c.requests.front_mut())
                {
                    active.request.seen.open = true;
                }
            }
        }
    }
    state.publish(sink);
    state.put_back(tid, thread);
}
