//! Threads prove to be slots, and wait for their turn to accept.
//!
//! In: reads and writes of threads on connections, waits before they accept. Out: slots; time that was a wait for work.

use profiler_common::record::slice::FLAG_GAP_BLOCKED_MIXED;

use crate::event::{Slice, Tid};
use crate::machine::ledger::books::Books;
use crate::machine::runtime::job::may_be_for_listener;
use crate::machine::runtime::thread::Thread;
use crate::machine::time::piece::Piece;
use crate::machine::time::state::Time;
use crate::machine::wire::connection::Connection;
use crate::machine::world::classify::Touch;
use crate::machine::world::waiter::lock_of;

/// A thread that accepts for itself slept right before it goes to the listener, in a lock that it shares with other processes. It waited for its turn, and so
/// for work. What is left of the gap begins where that sleep ended. Where no call comes after it, the window's end found the thread there.
pub(in crate::machine) fn waited_for_its_turn(
    (time, window_start_ns): (&mut Time, u64),
    thread: &mut Thread,
    slice: &Slice,
    gap: &mut Piece,
) {
    let goes_to_listener = may_be_for_listener(slice) || slice.system_call == u32::MAX;
    let slept_ns = gap.account.blocked_ns.saturating_sub(gap.fault_ns);
    if !goes_to_listener
        || !thread.signs.accepts
        || thread.serving.is_some()
        || slice.flags & FLAG_GAP_BLOCKED_MIXED != 0
        || gap.undecided_ns > 0
        || lock_of(slice.in_gap.blocked_call).is_none()
        || slept_ns == 0
    {
        return;
    }
    thread.drain(window_start_ns);
    thread.was_busy(time, gap.start_ns, window_start_ns);
    gap.start_ns = gap.start_ns.saturating_add(slept_ns).min(gap.end_ns);
    gap.account.blocked_ns = gap.account.blocked_ns.saturating_sub(slept_ns);
    thread.busy_since_ns = Some(gap.start_ns);
    thread.job.work_start_ns = Some(gap.start_ns);
    thread.job.engaged = None;
}

/// A thread that waits for this one client's request bytes is a slot. A thread that only takes what is there may be a loop that offloads requests. It is a slot
/// once it answers.
pub(in crate::machine) fn make_slot_of_reader(
    books: &mut Books<'_>,
    thread: &mut Thread,
    number: u32,
    slice: &Slice,
    touch: Touch,
) {
    let waits = matches!(touch, Touch::Read | Touch::WaitReadable) && slice.inside.blocked_ns > 0;
    if waits && books.wire.connections.get(number).is_some_and(Connection::expects_request) {
        thread.make_slot(books.time);
    }
}

/// Whoever begins the answer to a request has worked on it. If another thread read the request, that thread hands over its jobs.
pub(in crate::machine) fn make_slot_of_answerer(
    books: &mut Books<'_>,
    thread: &mut Thread,
    number: u32,
    tid: Tid,
) {
    let front = books.wire.connections.get(number).and_then(|connection| connection.requests.front());
    let Some(active) = front.filter(|active| !active.response.has_begun) else { return };
    // If the reader has been in the same wait ever since, it is not yet known to have left the request.
    let reader = active.left_by.or(active.owner).filter(|reader| *reader != tid);
    thread.job.fed_by = reader.or(thread.job.fed_by);
    if let Some(reader) = reader.and_then(|reader| books.runtime.threads.get_mut(reader)) {
        reader.signs.hands_over = true;
    }
    if let Some(pool) = books.runtime.pools.get_mut(thread.tgid).filter(|pool| Some(pool.loop_tid) == reader)
    {
        pool.answers_elsewhere = true;
    }
    thread.make_slot(books.time);
}
