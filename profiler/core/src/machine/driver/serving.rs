//! Joins threads with connections: which request a thread serves, and what its time is for.
//!
//! In: slices in the order of time, with the capture that came before them. Out: requests that begin, advance and
//! finish; pieces of time given to requests or to slots; timeline slices.

use profiler_common::system_call::IO_URING_SETUP;

use crate::event::{Call, Slice};
use crate::machine::driver::state::State;
use crate::machine::driver::{draw, effect, follow, late, meaning};
use crate::machine::ledger::gil_party::Because;
use crate::machine::ledger::{finish, gil_party, slots, turn, unattributed};
use crate::machine::lock::gil::Part;
use crate::machine::product::summary::Summary;
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::{handoff, job};
use crate::machine::time::piece::Piece;
use crate::machine::time::state::Time;
use crate::machine::world::classify::{Idle, Meaning};
use crate::machine::world::state::World;
use crate::phase::Phase;
use crate::timeline::Entry;

/// Takes one slice.
pub fn slice(state: &mut State, slice: &Slice, exit_ns: u64, sink: &mut dyn FnMut(Entry)) {
    let tid = slice.tid;
    let Some(mut thread) = follow::take_thread(state, slice, exit_ns, sink) else { return };
    let head = if state.heads.is_empty() { None } else { state.heads.remove(&tid) };
    let head = head.filter(|head| head.sequence == slice.sequence);
    let repaired;
    let slice = if let Some(sound) = follow::continuity(state, &mut thread, slice, exit_ns) {
        repaired = sound;
        &repaired
    } else {
        slice
    };

    let mut meaning = meaning::meaning_of(state.view(), slice);
    if thread.serving.is_some() {
        gil_party::note(&mut state.parties(), &mut thread, tid);
    }
    let serving = thread.serving;
    let window_start_ns = state.window_start_ns;
    let (part, because) = waits_for_lock(state, &mut thread, slice, exit_ns);
    let mut gap = thread.gap(slice, meaning::closes_file(slice, &meaning));
    part.apply(&mut meaning, &mut gap);
    let held_by = because.by;
    gap.held_by = held_by;
    slots::waited_for_its_turn((&mut state.time, state.window_start_ns), &mut thread, slice, &mut gap);
    if gap.length_ns() > 0 {
        thread.pending.push(gap);
    }
    job::note_feeder(state.view(), &mut thread, slice);
    let idle = meaning::waits_for_work(state.view(), &thread, slice, &meaning);
    if idle {
        handoff::waited(&mut state.hand(), &mut thread, slice, exit_ns);
    } else if part == Part::None {
        handoff::passed_on(state.view(), &mut thread, slice);
    }
    let idle = idle && !handoff::is_within_job(state.view(), &thread, slice);
    if !state.runtime.late.is_empty() {
        let call = if idle { None } else { Some(Piece::call(slice, exit_ns, &meaning)) };
        late::arrive(state, tid, [Some(gap), call], exit_ns, sink);
    }
    if state.wants_slices {
        let shown = meaning::shown(state.view(), &thread, slice, (idle, part), &meaning);
        draw::draw(slice, exit_ns, (shown, because), false, sink);
    }
    // How a front end waits is none of the server's ways.
    if !state.join.topology.is_front_end(slice.tgid) {
        note_ways(&mut state.world, slice, &meaning);
    }
    if idle && meaning.idle == Idle::UnlessServing && thread.serving.is_some() {
        waits_after_response(state, &mut thread, (slice, exit_ns), &meaning);
    } else if idle {
        wait_for_work(state, &mut thread, slice, exit_ns, sink);
    } else {
        let mut piece = Piece::call(slice, exit_ns, &meaning);
        piece.holding = Some(meaning::holding(state.view(), slice.tgid, &meaning));
        piece.held_by = held_by;
        thread.pending.push(piece);
        works((&mut state.time, window_start_ns), &mut thread, (slice, exit_ns), meaning.blocked);
    }
    if !idle && part == Part::None && handoff::is_woken_by_loop(state.view(), &thread, slice) {
        handoff::done(&mut state.hand(), &mut thread, slice);
        thread.drain(state.window_start_ns);
        handoff::begin(&mut state.hand(), &mut thread, slice, exit_ns);
    }
    let captured = head.as_ref().map(|head| head.bytes.as_slice());
    effect::effects(state, &mut thread, (slice, exit_ns), &meaning, captured, sink);
    state.publish(sink);
    // A thread waits before it touches the request that it waits for.
    if part == Part::None {
        gil_party::settle(&mut state.parties(), &mut thread, tid);
    }
    gil_party::turned(&mut thread, serving, exit_ns);
    state.put_back(tid, thread);
}

/// Which part of the slice was a wait for the interpreter lock, and who had it.
fn waits_for_lock(state: &mut State, thread: &mut Thread, slice: &Slice, exit_ns: u64) -> (Part, Because) {
    let window_start_ns = state.window_start_ns;
    let followed = state.gil.follow(&mut thread.gil.at_lock, slice, exit_ns, window_start_ns);
    gil_party::continued(thread, followed.tail_ns);
    if let Some(wait) = followed.ended {
        thread.pending.has_waited(*wait);
    }
    let mut because = Because::default();
    if let Some(wait_ns) = followed.part.wait_ns(slice, exit_ns, window_start_ns) {
        because = gil_party::held(&mut state.parties(), thread, slice, exit_ns, wait_ns);
    } else if thread.serving.is_some() {
        gil_party::settle(&mut state.parties(), thread, slice.tid);
    }
    (followed.part, because)
}

/// What a call shows of the ways of the server: whether it uses io_uring, and how it waits for its listener.
fn note_ways(world: &mut World, slice: &Slice, meaning: &Meaning) {
    world.uses_io_uring |=
        slice.system_call == IO_URING_SETUP && !world.processes.has_rings_of_loop(slice.tgid);
    match slice.call {
        Call::EpollWait { .. } if meaning.idle == Idle::Always => world.listener_in_epoll = Some(true),
        Call::Poll { .. } if meaning.idle == Idle::Always => world.listener_in_epoll = Some(false),
        _ => {}
    }
}

/// The call is no wait for work. What its thread slept for in it may show that the thread waits for its
/// helpers, or that it is a slot.
fn works(
    (time, window_start_ns): (&mut Time, u64),
    thread: &mut Thread,
    (slice, exit_ns): (&Slice, u64),
    blocked: Phase,
) {
    if blocked == Phase::LockWait {
        let in_window_ns = exit_ns.saturating_sub(window_start_ns);
        thread.helpers.wait(slice.woken.by_tid, slice.inside.blocked_ns.min(in_window_ns));
    }
    // A loop that only hands requests over does not wait for what they need.
    let waits = slice.inside.blocked_ns > 0 && matches!(blocked, Phase::Sleep | Phase::BackendWait);
    if waits && thread.serving.is_some() {
        thread.make_slot(time);
    }
}

/// A wait after a response with an open end: for the next job, or for the interpreter in the middle of it. What the connection gets next, and from whom,
/// shows which.
fn waits_after_response(
    state: &mut State,
    thread: &mut Thread,
    (slice, exit_ns): (&Slice, u64),
    meaning: &Meaning,
) {
    let mut piece = Piece::call(slice, exit_ns, meaning);
    piece.holding = None;
    thread.pending.push(piece);
    thread.was_busy(&mut state.time, slice.enter_ns, state.window_start_ns);
    next_job(&mut state.product.summary, thread, exit_ns);
}

/// The call waits for work: what came before it is over.
fn wait_for_work(
    state: &mut State,
    thread: &mut Thread,
    slice: &Slice,
    exit_ns: u64,
    sink: &mut dyn FnMut(Entry),
) {
    turn::untouched(&mut state.books(), thread, slice);
    let (served, left_ns) = (thread.serving, turn::leaves_at(state.view(), thread, slice));
    unattributed::leave(thread, left_ns, state.window_start_ns);
    // A loop's first wait may be one in the middle of a response.
    turn::recognise(&mut state.books(), thread, slice);
    finish::leave(&mut state.books(), thread, slice.tid, left_ns);
    state.publish(sink);
    if let Some(active) =
        served.filter(|_| left_ns < slice.enter_ns).and_then(|key| state.wire.connections.active_mut(key))
    {
        // This or another request ran.
        active.pass(slice.enter_ns, Phase::Unexplained);
    }
    handoff::done(&mut state.hand(), thread, slice);
    thread.drain(state.window_start_ns);
    thread.was_busy(&mut state.time, slice.enter_ns, state.window_start_ns);
    next_job(&mut state.product.summary, thread, exit_ns);
    turn::wait(&mut state.books(), thread, slice, exit_ns);
    handoff::begin(&mut state.hand(), thread, slice, exit_ns);
}

/// A job is over; the next one begins.
fn next_job(summary: &mut Summary, thread: &mut Thread, exit_ns: u64) {
    let helper_wait_ns = thread.helpers.end();
    if thread.job.engaged.is_some() {
        summary.waited_for_helpers(helper_wait_ns);
    }
    thread.busy_since_ns = Some(exit_ns);
    thread.job.work_start_ns = Some(exit_ns);
    thread.job.engaged = None;
}
