//! Threads of a pool that give the loop a response piece by piece.
//!
//! In: the wakeups of threads that have worked for a request. Out: whether they resume work for the same
//! request.

use crate::event::Slice;
use crate::machine::runtime::state::RuntimeView;
use crate::machine::runtime::thread::Thread;

/// Whether a thread that the loop woke continues with a request whose response it gives the loop piece by
/// piece. It waits until each piece is taken. Where the loop writes later than it takes them, no part of that
/// response is sent when it takes the first one.
pub(super) fn is_same_response(state: RuntimeView<'_>, thread: &Thread, slice: &Slice) -> bool {
    let is_told = state.runtime.pools.get(slice.tgid).is_none_or(|pool| {
        thread.pooled.at_queue
            || pool.loop_tid != slice.woken.by_tid
            || state.runtime.tasks.follows(pool.loop_tid)
    });
    thread.pooled.works_for.is_some_and(|(number, id)| {
        state.wire.connections.get(number).is_some_and(|connection| {
            let front = connection.requests.front().filter(|active| active.request.id == id);
            !is_told
                && front
                    .is_some_and(|active| !active.response.has_begun || connection.outbound.may_have_more())
        })
    })
}
