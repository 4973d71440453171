//! The next slice of a thread: where the thread is taken from, and whether the slice can follow the one before.
//!
//! In: slices in the order of time. Out: the thread; what can be true of a slice that breaks the laws.

use crate::event::Slice;
use crate::machine::driver::meaning;
use crate::machine::driver::state::State;
use crate::machine::ledger::exchange::{self};
use crate::machine::runtime::job;
use crate::machine::runtime::thread::Thread;
use crate::machine::time::piece::Piece;
use crate::machine::time::row::Continuity;
use crate::machine::world::classify::{Idle, Touch, classify};
use crate::timeline::Entry;

/// Threads followed at once.
const MAX_THREADS: usize = 16_384;

#[inline]
pub(in crate::machine) fn take_thread(
    state: &mut State,
    slice: &Slice,
    exit_ns: u64,
    sink: &mut dyn FnMut(Entry),
) -> Option<Box<Thread>> {
    state.runtime.threads.take(slice.tid).or_else(|| begin_thread(state, slice, exit_ns, sink))
}

/// The first slice of a thread.
#[cold]
fn begin_thread(
    state: &mut State,
    slice: &Slice,
    exit_ns: u64,
    sink: &mut dyn FnMut(Entry),
) -> Option<Box<Thread>> {
    if state.runtime.threads.len() >= MAX_THREADS {
        state.evicted = state.evicted.saturating_add(1);
        return None;
    }
    state.runtime.threads.enter(slice.tid);
    // Its first slice may claim to begin after its end.
    let since_ns = slice.within(0, exit_ns).gap_start_ns();
    let mut thread =
        Box::new(Thread { tgid: slice.tgid, busy_since_ns: Some(since_ns), since_ns, ..Thread::default() });
    if let Some(initial) = state.initial.remove(&slice.tid) {
        begin_within(state, &mut thread, &initial, slice, sink);
    }
    Some(thread)
}

/// A thread that was inside a call when it was first seen: the call ended where its first slice's gap starts.
fn begin_within(
    state: &mut State,
    thread: &mut Thread,
    initial: &Slice,
    next: &Slice,
    sink: &mut dyn FnMut(Entry),
) {
    if initial.system_call == u32::MAX {
        return;
    }
    let meaning = classify(initial, &state.world.descriptors, |_| false);
    let until_ns = thread.since_ns;
    thread.since_ns = state.watch_start_ns.min(until_ns);
    if meaning.idle == Idle::No && !job::was_for_its_turn(initial.system_call, next) {
        let mut piece = Piece::unknown(thread.since_ns, until_ns);
        piece.holding = Some(meaning::holding(state.view(), thread.tgid, &meaning));
        thread.pending.push(piece);
        thread.busy_since_ns = Some(thread.since_ns);
        thread.job.work_start_ns = Some(thread.since_ns);
        if let Some((fd, Touch::Write)) = meaning.touch
            && let Some(number) = state.world.descriptors.connection(thread.tgid, fd)
        {
            exchange::write_within(&mut state.books(), thread, (number, initial, until_ns));
            state.publish(sink);
        }
    } else {
        thread.job.work_start_ns = Some(until_ns);
    }
}

/// Checks a slice against those before it. Of one that breaks the laws it returns what can be true.
pub(in crate::machine) fn continuity(
    state: &mut State,
    thread: &mut Thread,
    slice: &Slice,
    exit_ns: u64,
) -> Option<Box<Slice>> {
    let before_ns = thread.row.last_exit_ns;
    let continuity = thread.continue_with(slice, exit_ns);
    let laws = &mut state.time.conservation;
    laws.slices = laws.slices.saturating_add(1);
    match continuity {
        // Nearly always it follows the one before, and adds up.
        None => {
            state.add_up(thread, slice);
            None
        }
        Some(continuity) => repair(state, thread, (slice, exit_ns), before_ns, continuity),
    }
}

/// A slice that does not simply follow the one before, which ended at `before_ns`.
#[cold]
fn repair(
    state: &mut State,
    thread: &mut Thread,
    (slice, exit_ns): (&Slice, u64),
    before_ns: u64,
    continuity: Continuity,
) -> Option<Box<Slice>> {
    let repaired = continuity.broken.then(|| Box::new(slice.within(before_ns, exit_ns)));
    let sound = repaired.as_deref().unwrap_or(slice);
    state.add_up(thread, sound);
    let laws = &mut state.time.conservation;
    laws.slices_broken = laws.slices_broken.saturating_add(u64::from(continuity.broken));
    laws.undecided_ns = laws.undecided_ns.saturating_add(continuity.undecided_ns);
    state.time.sequence_holes = state.time.sequence_holes.saturating_add(u64::from(continuity.missing));
    if let Some((from_ns, to_ns)) = continuity.hole {
        let to_ns = to_ns.min(sound.gap_start_ns());
        thread.pending.push(Piece::unknown(from_ns, to_ns));
        if continuity.missing > 0 {
            state.runtime.tasks.forget(slice.tid);
            state.product.drops.lost.between(from_ns, to_ns);
        }
        if let Some((number, _)) = thread.serving
            && let Some(active) = state.wire.connections.get_mut(number).and_then(|c| c.requests.front_mut())
        {
            active.request.seen.lossy = true;
        }
    }
    repaired
}
