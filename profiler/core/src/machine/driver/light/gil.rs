//! Waits for the interpreter lock in light mode: who had it, and for what the threads worked that waited and that had it.
//!
//! In: sleeps, and the messages that threads moved. Out: of each sleep its part in a wait for the lock; shares of waits, settled on what the
//! waiter serves. A thread serves a request from its first message of it to its last.

use crate::event::{Slept, Slice, Tid};
use crate::machine::driver::follow;
use crate::machine::driver::state::State;
use crate::machine::ledger::gil_party;
use crate::machine::lock::gil::Part;
use crate::machine::lock::gil_holder::Holders;
use crate::machine::lock::gil_sleep::{self, Since};
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::request::RequestKey;
use crate::timeline::Entry;

/// In the place of a connection's number, which light mode has none of.
const NO_NUMBER: u32 = u32::MAX;

/// A thread slept until `end_ns`. Returns the sleep's part in a wait for the lock, and who had it. `None`: it is not on a lock's memory. If it is a further
/// sleep of an attempt, it shows as well who had the lock as the one before ended.
pub(super) fn slept(
    state: &mut State,
    slept: &Slept,
    end_ns: u64,
    sink: &mut dyn FnMut(Entry),
) -> Option<(Part, Holders)> {
    let is_futex = crate::machine::world::sleep::is_for_lock(slept);
    let lock = if is_futex { state.gil.lock_at(slept.tgid, slept.argument) } else { None };
    let waited = |thread: &Thread| thread.gil.at_lock.episode.is_some() || !thread.gil.held.is_empty();
    if lock.is_none() && !state.runtime.threads.get(slept.tid).is_some_and(waited) {
        return None;
    }
    let holder = slept.lock.map_or(0, |lock| state.gil.thread(slept.tgid, lock.holder));
    let since =
        state.time.light.sleeps.since(slept.tid, slept.sequence).or_else(|| after_message(state, slept));
    let mut slice = gil_sleep::slice_of(slept, end_ns, since, holder);
    if let Some(lock) = lock {
        slice.flags = gil_sleep::gives_up(slept, &lock, holder);
    }
    let mut thread = follow::take_thread(state, &slice, end_ns, sink)?;
    let window_start_ns = state.window_start_ns;
    let followed = state.gil.follow(&mut thread.gil.at_lock, &slice, end_ns, window_start_ns);
    // Recordings from before a sleep's end was looked at say what they said.
    if followed.part == Part::Again && slept.lock.is_some_and(|lock| lock.woken_by.is_some()) {
        looked_again(state, &mut thread, &slice);
    }
    let mut by = Holders::NONE;
    if let Some(wait_ns) = followed.part.wait_ns(&slice, end_ns, window_start_ns) {
        by = gil_party::held(&mut state.parties(), &mut thread, &slice, end_ns, wait_ns).by;
    } else if followed.part == Part::None || thread.serving.is_some() {
        gil_party::settle(&mut state.parties(), &mut thread, slept.tid);
    }
    state.put_back(slept.tid, thread);
    lock.map(|_| (followed.part, by))
}

/// A further sleep of an attempt: who had the lock as it began had it as the sleep before ended.
fn looked_again(state: &mut State, thread: &mut Thread, slice: &Slice) {
    let Some((span, by)) = state.time.light.sleeps.last_wait(slice.tid, slice.sequence) else { return };
    let window_start_ns = state.window_start_ns;
    let by = gil_party::looked_again(&mut state.parties(), thread, (slice, window_start_ns), (span, by));
    if let Some(by) = by {
        state.time.light.sleeps.was_held_by(slice.tid, by);
    }
}

/// Where the thread's light slice ended, if no sleep of it came since.
fn after_message(state: &State, slept: &Slept) -> Option<Since> {
    let row = state.runtime.threads.get(slept.tid)?.row;
    let is_last = row.has_begun && row.sequence == slept.sequence;
    is_last.then_some(Since { at_ns: row.last_exit_ns, cpu_ns: 0 })
}

/// The thread of a light slice, which ended at `time_ns`, has moved a message, and is awake. What it waited before belongs to the request that it serves.
pub(super) fn moves(state: &mut State, thread: &mut Thread, slice: &Slice, time_ns: u64) {
    gil_party::note(&mut state.parties(), thread, slice.tid);
    state.gil.follow(&mut thread.gil.at_lock, slice, time_ns, state.window_start_ns);
    if thread.serving.is_some() {
        gil_party::settle(&mut state.parties(), thread, slice.tid);
    }
}

/// The message of a thread.
pub(super) struct MovedMessage {
    /// The socket.
    pub(super) socket: u64,
    /// The request that it is of.
    pub(super) request: u64,
    /// That is over with it.
    pub(super) is_over: bool,
    /// What the thread did since its light slice before, as far as it waited for work in between, was for it.
    pub(super) has_turned: bool,
}

/// The message of a thread has been processed at `time_ns`. `None`: it is of no request.
pub(super) fn moved(state: &mut State, tid: Tid, moved: Option<&MovedMessage>, time_ns: u64) {
    let Some(mut thread) = state.runtime.threads.take(tid) else { return };
    let before = thread.serving;
    let parties = &mut state.parties();
    if let Some(moved) = moved {
        if !moved.has_turned {
            gil_party::settle(parties, &mut thread, tid);
        }
        serve(&mut thread, Some((moved.socket, (NO_NUMBER, moved.request))));
    }
    gil_party::settle(parties, &mut thread, tid);
    if moved.is_some_and(|moved| moved.is_over) {
        gil_party::note(parties, &mut thread, tid);
        serve(&mut thread, None);
    }
    gil_party::turned(&mut thread, before, time_ns);
    state.put_back(tid, thread);
}

/// Another thread has taken a request over from this one.
pub(super) fn handed_over(state: &mut State, tid: Tid, request: u64) {
    if let Some(thread) = state.runtime.threads.get_mut(tid)
        && thread.serving == Some((NO_NUMBER, request))
    {
        serve(thread, None);
    }
}

/// The thread waits for something to do: a request whose answer it has sent is over, as far as it is concerned.
pub(super) fn rests(state: &mut State, tid: Tid) {
    let Some(thread) = state.runtime.threads.get_mut(tid) else { return };
    if let Some(((_, id), socket)) = thread.serving.zip(thread.job.light_socket)
        && !state.wire.light.is_unanswered(socket, id)
    {
        serve(thread, None);
    }
}

fn serve(thread: &mut Thread, request: Option<(u64, RequestKey)>) {
    thread.job.light_socket = request.map(|(socket, _)| socket);
    thread.serving = request.map(|(_, key)| key);
}

/// The window ends: waits belong to what their threads serve, while that is still known.
pub(super) fn end_window(state: &mut State) {
    let tids: Vec<Tid> = state.runtime.threads.tids().collect();
    for tid in tids {
        let Some(mut thread) = state.runtime.threads.take(tid) else { continue };
        gil_party::settle(&mut state.parties(), &mut thread, tid);
        state.put_back(tid, thread);
    }
}

#[cfg(test)]
mod tests;
