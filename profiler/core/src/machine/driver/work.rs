//! Waits for work, and what is no such wait: what both say of their thread.
//!
//! In: a slice, whether it waits for work. Out: jobs that end and begin, busy stretches, requests that are
//! left; what calls show of the server's ways.

use profiler_common::system_call::IO_URING_SETUP;

use crate::event::{Call, Slice};
use crate::machine::driver::meaning;
use crate::machine::ledger::context::LedgerContext;
use crate::machine::ledger::{finish, turn, unattributed};
use crate::machine::lock::gil::Part;
use crate::machine::product::summary::Summary;
use crate::machine::runtime::state::RuntimeContext;
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::{handoff, job};
use crate::machine::time::piece::Piece;
use crate::machine::time::state::Time;
use crate::machine::wire::request::RequestKey;
use crate::machine::world::classify::{Idle, Meaning};
use crate::machine::world::state::World;
use crate::phase::Phase;

/// Whether the call waits for work. A thread of a pool learns of its jobs by such waits.
pub(super) fn waits(
    context: &mut RuntimeContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    meaning: &Meaning,
    part: Part,
) -> bool {
    job::note_feeder(context.view(), thread, slice);
    handoff::looked(context.view(), thread, slice);
    let idle = meaning::waits_for_work(context.view(), thread, slice, meaning);
    if idle {
        handoff::waited(context, thread, slice);
    } else if part == Part::None {
        handoff::passed_on(context.view(), thread, slice);
    }
    idle && !handoff::is_within_job(context.view(), thread, slice)
}

/// What a call shows of the ways of the server: whether it uses io_uring, and how it waits for its listener.
pub(super) fn note_ways(world: &mut World, slice: &Slice, meaning: &Meaning) {
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
pub(super) fn works(
    (time, window_start_ns): (&mut Time, u64),
    thread: &mut Thread,
    slice: &Slice,
    blocked: Phase,
) {
    if blocked == Phase::LockWait {
        let in_window_ns = slice.exit_ns.saturating_sub(window_start_ns);
        thread.helpers.wait(slice.woken.by_tid, slice.inside.blocked_ns.min(in_window_ns));
    }
    // A loop that only hands requests over does not wait for what they need.
    let waits = slice.inside.blocked_ns > 0 && matches!(blocked, Phase::Sleep | Phase::BackendWait);
    if waits && thread.serving.is_some() {
        thread.make_slot(time);
    }
}

/// A wait after a response with an open end: for the next job, or for the interpreter in the middle of it.
/// What the connection gets next, and from whom, shows which.
pub(super) fn waits_after_response(
    (time, window_start_ns): (&mut Time, u64),
    summary: &mut Summary,
    thread: &mut Thread,
    slice: &Slice,
    meaning: &Meaning,
) {
    let mut piece = Piece::call(slice, meaning);
    piece.holding = None;
    thread.pending.push(piece);
    thread.was_busy(time, slice.enter_ns, window_start_ns);
    next_job(summary, thread, slice.exit_ns);
}

/// What a thread has left as it begins to wait for work.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurnedAway {
    /// The request that it served.
    served: Option<RequestKey>,
    /// When it left that.
    at_ns: u64,
}

/// The call waits for work: its thread leaves what it served before. What that settles is to be reported
/// before [`is_left`].
pub(super) fn leave(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice) -> TurnedAway {
    turn::untouched(context, thread, slice);
    let left = TurnedAway { served: thread.serving, at_ns: turn::leaves_at(context.view(), thread, slice) };
    unattributed::leave(thread, left.at_ns, context.window_start_ns);
    // A loop's first wait may be one in the middle of a response.
    turn::recognise(context, thread, slice);
    finish::leave(context, thread, slice.tid, left.at_ns);
    left
}

/// The thread has left what it served: its job is over.
pub(super) fn is_left(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice, left: TurnedAway) {
    let served = left.served.filter(|_| left.at_ns < slice.enter_ns);
    if let Some(active) = served.and_then(|key| context.wire.connections.active_mut(key)) {
        // This or another request ran.
        active.pass(slice.enter_ns, Phase::Unexplained);
    }
    handoff::done(&mut context.runtime_context(), thread, slice);
    thread.drain(context.window_start_ns);
    thread.was_busy(context.time, slice.enter_ns, context.window_start_ns);
}

/// The wait for work is over: the loop has looked, or the thread has its next job.
pub(super) fn begin(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice) {
    turn::polls(context, thread, slice);
    handoff::begin(&mut context.runtime_context(), thread, slice);
}

/// A loop has given the thread a job, though the call did not look like a wait for one.
pub(super) fn is_given_job(
    context: &mut RuntimeContext<'_>,
    window_start_ns: u64,
    thread: &mut Thread,
    slice: &Slice,
) {
    handoff::done(context, thread, slice);
    thread.drain(window_start_ns);
    handoff::begin(context, thread, slice);
}

/// A job is over; the next one begins.
pub(super) fn next_job(summary: &mut Summary, thread: &mut Thread, exit_ns: u64) {
    let helper_wait_ns = thread.helpers.end();
    if thread.job.engaged.is_some() {
        summary.waited_for_helpers(helper_wait_ns);
    }
    thread.busy_since_ns = Some(exit_ns);
    thread.job.work_start_ns = Some(exit_ns);
    thread.job.engaged = None;
}
