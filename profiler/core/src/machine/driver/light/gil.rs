//! Waits for the interpreter lock in light mode: who had it, and for what the threads worked that waited and
//! that had it.
//!
//! In: sleeps, and the messages that threads moved. Out: of each sleep its part in a wait for the lock;
//! shares of waits, settled on what the waiter serves. A thread serves a request from its first message of it
//! to its last.

use crate::event::{Slept, Slice, Tid};
use crate::machine::ledger::context::LedgerContext;
use crate::machine::ledger::gil_attribution::{self, GilContext};
use crate::machine::lock::gil::{Locks, Part};
use crate::machine::lock::gil_holder::Holders;
use crate::machine::lock::gil_sleep::{self, Since};
use crate::machine::lock::gil_waits::EndedAttempt;
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::threads::Threads;
use crate::machine::time::sleeps::Sleeps;
use crate::machine::wire::light_socket::Sockets;
use crate::machine::wire::request::RequestKey;
use crate::machine::world::sleep::is_for_lock;

/// In the place of a connection's number, which light mode has none of.
const NO_NUMBER: u32 = u32::MAX;

/// A sleep on a lock's memory, or one of a thread that has waited for a lock.
pub(super) struct SleepAtLock {
    /// It is on a lock's memory.
    pub(super) is_on_lock: bool,
    /// The slice that a full trace would have of it.
    pub(super) slice: Slice,
}

/// A thread slept until `end_ns`. `None`: that has nothing to do with a lock.
pub(super) fn at_lock(
    locks: &Locks,
    threads: &Threads,
    sleeps: &Sleeps,
    slept: &Slept,
    end_ns: u64,
) -> Option<SleepAtLock> {
    let lock = if is_for_lock(slept) { locks.lock_at(slept.tgid, slept.argument) } else { None };
    let waited = |thread: &Thread| thread.gil.at_lock.episode.is_some() || !thread.gil.held.is_empty();
    if lock.is_none() && !threads.get(slept.tid).is_some_and(waited) {
        return None;
    }
    let holder = slept.lock.map_or(0, |lock| locks.thread(slept.tgid, lock.holder));
    let since = sleeps.since(slept.tid, slept.sequence).or_else(|| after_message(threads, slept));
    let mut slice = gil_sleep::slice_of(slept, end_ns, since, holder);
    if let Some(lock) = &lock {
        slice.flags = gil_sleep::gives_up(slept, lock, holder);
    }
    Some(SleepAtLock { is_on_lock: lock.is_some(), slice })
}

/// A sleep's part in a wait for the lock, and who had the lock. If it is a further sleep of an attempt, it
/// shows as well who had the lock as the one before ended.
pub(super) fn slept(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    (slept, slice): (&Slept, &Slice),
) -> (Part, Holders) {
    let window_start_ns = context.window_start_ns;
    let followed = context.locks.follow(&mut thread.gil.at_lock, slice, window_start_ns);
    if let Some(wait) = followed.ended {
        context.time.light.sleeps.has_waited(slice.tid, slice.sequence, *wait);
    }
    if followed.part == Part::Again && slept.lock.is_some() {
        looked_again(context, thread, slice);
    }
    let gil_context = &mut context.gil_context();
    let mut by = Holders::NONE;
    if let Some(wait_ns) = followed.part.wait_ns(slice, window_start_ns) {
        by = gil_attribution::held(gil_context, thread, slice, wait_ns).by;
    } else if followed.part == Part::None || thread.serving.is_some() {
        gil_attribution::settle(gil_context, thread, slept.tid);
    }
    (followed.part, by)
}

/// A further sleep of an attempt: who had the lock as it began had it as the sleep before ended.
fn looked_again(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice) {
    let Some((span, by)) = context.time.light.sleeps.last_wait(slice.tid, slice.sequence) else { return };
    let window_start_ns = context.window_start_ns;
    let by = gil_attribution::looked_again(
        &mut context.gil_context(),
        thread,
        (slice, window_start_ns),
        (span, by),
    );
    if let Some(by) = by {
        context.time.light.sleeps.was_held_by(slice.tid, by);
    }
}

/// Where the thread's light slice ended, if no sleep of it came since.
fn after_message(threads: &Threads, slept: &Slept) -> Option<Since> {
    let row = threads.get(slept.tid)?.row;
    let is_last = row.has_begun && row.sequence == slept.sequence;
    is_last.then_some(Since { at_ns: row.last_exit_ns, cpu_ns: 0 })
}

/// The thread of a light slice has moved a message, and is awake. What it waited
/// before belongs to the request that it serves. Returns the attempt to take the lock that ended with that.
pub(super) fn moves(
    gil_context: &mut GilContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    window_start_ns: u64,
) -> Option<Box<EndedAttempt>> {
    gil_attribution::note(gil_context, thread, slice.tid);
    let ended = gil_context.locks.follow(&mut thread.gil.at_lock, slice, window_start_ns).ended;
    if thread.serving.is_some() {
        gil_attribution::settle(gil_context, thread, slice.tid);
    }
    ended
}

/// The message of a thread.
pub(super) struct MovedMessage {
    /// The socket.
    pub(super) socket: u64,
    /// The request that it is of.
    pub(super) request: u64,
    /// That is over with it.
    pub(super) is_over: bool,
    /// What the thread did since its light slice before, as far as it waited for work in between, was for
    /// it.
    pub(super) has_turned: bool,
}

/// The message of a thread has been processed at `time_ns`. `None`: it is of no request.
pub(super) fn moved(
    gil_context: &mut GilContext<'_>,
    thread: &mut Thread,
    tid: Tid,
    moved: Option<&MovedMessage>,
    time_ns: u64,
) {
    let before = thread.serving;
    if let Some(moved) = moved {
        if !moved.has_turned {
            gil_attribution::settle(gil_context, thread, tid);
        }
        serve(thread, Some((moved.socket, (NO_NUMBER, moved.request))));
    }
    gil_attribution::settle(gil_context, thread, tid);
    if moved.is_some_and(|moved| moved.is_over) {
        gil_attribution::note(gil_context, thread, tid);
        serve(thread, None);
    }
    gil_attribution::turned(thread, before, time_ns);
}

/// Another thread has taken a request over from this one.
pub(super) fn handed_over(threads: &mut Threads, tid: Tid, request: u64) {
    if let Some(thread) = threads.get_mut(tid)
        && thread.serving == Some((NO_NUMBER, request))
    {
        serve(thread, None);
    }
}

/// The thread waits for something to do: a request whose answer it has sent is over, as far as it is
/// concerned.
pub(super) fn rests(threads: &mut Threads, sockets: &Sockets, tid: Tid) {
    let Some(thread) = threads.get_mut(tid) else { return };
    if let Some(((_, id), socket)) = thread.serving.zip(thread.job.light_socket)
        && !sockets.is_unanswered(socket, id)
    {
        serve(thread, None);
    }
}

fn serve(thread: &mut Thread, request: Option<(u64, RequestKey)>) {
    thread.job.light_socket = request.map(|(socket, _)| socket);
    thread.serving = request.map(|(_, key)| key);
}

#[cfg(test)]
mod tests;
