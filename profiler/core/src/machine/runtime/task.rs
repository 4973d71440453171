//! Which Python task makes the calls of an event loop's thread, and for which request it works.
//!
//! In: the tasks that the kernel side read as calls began; calls whose request something else shows. Out: the
//! request that the present task works for.
//!
//! What is known of tasks is in [`tasks`](crate::machine::runtime::tasks).

use crate::event::{Call, Slice, Tid};
use crate::machine::runtime::candidates::Candidates;
use crate::machine::runtime::state::{RuntimeContext, RuntimeView};
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::connection::Connection;
use crate::machine::wire::request::RequestKey;

/// The request for which the task works that makes the thread's calls, as far as is known.
pub(in crate::machine) fn at_work(state: RuntimeView<'_>, thread: &Thread, tid: Tid) -> Option<RequestKey> {
    let event_loop = thread.as_loop()?;
    let key = event_loop.tasks.key(state.runtime.tasks.of(tid)?)?;
    let active = state.wire.connections.active(key)?;
    // The request may have ended, so the address may be another task's by now. That task answers, and so
    // shows its request. A greenlet that serves another request has read that one first.
    let is_known = !active.response.may_have_ended || event_loop.kind().has_greenlets();
    is_known.then_some(key)
}

/// A call of a loop's thread advanced a request. On the client's connection, that shows whose the task is.
/// All calls of a greenlet are for its own request. On asyncio the transport reads in a context of its own,
/// and writes there what the client did not take at once. All else is written by the task.
pub(in crate::machine) fn note(
    state: &mut RuntimeContext<'_>,
    thread: &mut Thread,
    number: u32,
    slice: &Slice,
) {
    let Some(task) = state.runtime.tasks.last(slice.tid) else { return };
    let (Call::Read { fd, .. } | Call::Write { fd } | Call::EpollControl { fd, .. }) = slice.call else {
        return;
    };
    let is_read = matches!(slice.call, Call::Read { .. });
    // The loop looks for what is ready, or it had no tasks. Whether it is a loop may be known later.
    let event_loop = thread.event_loop.get_or_insert_default();
    let has_greenlets = state.world.processes.loop_kind(slice.tgid).has_greenlets();
    let connections = &state.wire.connections;
    let is_its_own = |connection: &Connection| has_greenlets || !is_read && !connection.awaits_writable;
    if state.world.descriptors.connection(slice.tgid, fd) != Some(number)
        || !connections.get(number).is_some_and(is_its_own)
    {
        return;
    }
    let Some(active) = connections.front(number) else { return };
    let (id, before) = (active.request.id, active.task);
    let is_live = |key| connections.active(key).is_some();
    let surely_lives = |key| connections.active(key).is_some_and(|active| !active.response.may_have_ended);
    let tasks = &mut event_loop.tasks;
    let was_another_s = tasks.key(task).is_some_and(|key| key != (number, id) && surely_lives(key));
    let is_kept = tasks.works_for(task, (number, id), slice.enter_ns, is_live);
    if !is_kept && before != Some(task) {
        *state.evicted = state.evicted.saturating_add(1);
    }
    if was_another_s || before.is_some_and(|before| before != task) {
        tasks.wrote(false);
    } else if before.is_some() {
        tasks.wrote(true);
    }
    let do_tell = has_greenlets || tasks.are_of_one_request();
    state.runtime.tasks.set_informative(slice.tid, do_tell);
    if let Some(active) = state.wire.connections.front_mut(number) {
        active.task = Some(task);
    }
}

/// Requests that the present task of a loop's thread may work for, unless it belongs to one that is surely
/// not over. These are the requests left whose task is not known, and the one that last owned the task, by
/// their numbers. Among more than have room only its answer shows which it is.
pub(in crate::machine) fn may_work_for(state: RuntimeView<'_>, thread: &Thread, tid: Tid) -> Candidates {
    let Some(event_loop) = thread.event_loop.as_deref() else { return Candidates::default() };
    let task = state.runtime.tasks.of(tid);
    let is_open = |key: &RequestKey| {
        let active = state.wire.connections.active(*key);
        active.is_some_and(|active| active.task.is_none() || active.task == task)
    };
    let last = task.and_then(|task| event_loop.tasks.key(task));
    let left = thread.serving.iter().chain(&event_loop.left.before).chain(&event_loop.left.now);
    let left = left.chain(&event_loop.left.parked).chain(&last);
    let mut left: Vec<RequestKey> = left.copied().filter(is_open).collect();
    left.sort_unstable_by_key(|(_, id)| *id);
    let mut found = Candidates { has_more: event_loop.left.has_more(), ..Candidates::default() };
    found.push_all(left.into_iter());
    found
}

/// Whether a call of the present task can be for another request than this one, whose own task is known. It
/// can if some request has no known task.
pub(in crate::machine) fn is_another_s(
    state: RuntimeView<'_>,
    thread: &Thread,
    slice: &Slice,
    key: RequestKey,
) -> bool {
    let own = state.wire.connections.active(key).and_then(|active| active.task);
    let reads = matches!(slice.call, Call::Read { .. });
    !reads
        && own.zip(state.runtime.tasks.of(slice.tid)).is_some_and(|(own, task)| own != task)
        && !may_work_for(state, thread, slice.tid).is_none()
}
