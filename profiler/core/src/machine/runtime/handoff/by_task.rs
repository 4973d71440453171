//! Threads of a loop's pool that a known Python task woke.
//!
//! In: the task that woke a thread, and when. Out: the request that the task works for, and that it has
//! resumed by then.

use crate::event::Tid;
use crate::machine::runtime::state::{RuntimeContext, RuntimeView};
use crate::machine::wire::request::{RequestKey, Wants};
use crate::phase::Phase;

/// The request whose Python task woke a thread.
pub(super) fn key(state: RuntimeView<'_>, tgid: Tid, loop_tid: Tid, task: Option<u64>) -> Option<RequestKey> {
    let event_loop = state.runtime.threads.get(loop_tid)?.event_loop.as_ref()?;
    // A greenlet serves its connection. On asyncio the address may be another task's by now, unless tasks
    // wait for their threads.
    let are_sure = event_loop.kind().has_greenlets() || state.runtime.pools.tasks_tell(tgid);
    let task = task.filter(|_| are_sure)?;
    event_loop.tasks.key(task).filter(|key| state.wire.connections.is_live(*key))
}

/// A request that the loop had left has resumed by then, as its task has woken a thread. What it waited for
/// before that is explained now.
pub(super) fn has_resumed(state: &mut RuntimeContext<'_>, key: RequestKey, loop_tid: Tid, woken_ns: u64) {
    let event_loop = state.runtime.threads.get(loop_tid).and_then(|thread| thread.event_loop.as_deref());
    let active = state.wire.connections.active_mut(key);
    let (Some(event_loop), Some(active)) = (event_loop, active) else { return };
    if active.owner.is_some() || active.wants != Wants::Unknown {
        return;
    }
    active.part();
    if active.cursor_ns >= event_loop.looks.iteration_start_at(woken_ns) {
        // The request woke the thread before the loop left it.
        return;
    }
    if event_loop.looks.iteration_start_ns() > woken_ns {
        // The loop has looked since. What resumed requests by then is not known any more.
        active.pass(woken_ns, Phase::Unexplained);
        return;
    }
    for (until_ns, phase) in event_loop.explain(false, active.cursor_ns, woken_ns, Wants::Unknown, 0) {
        active.pass(until_ns, phase);
    }
}

#[cfg(test)]
mod tests;
