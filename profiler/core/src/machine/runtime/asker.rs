//! Who asks a back end: the request that a thread serves, or on an event loop one that is not known to use
//! it.
//!
//! In: calls on back ends' sockets; which requests may be running then. Out: round trips, waits and
//! connections of requests that have a thread; for a loop's call whose it is (`Asker`), where just one
//! request can have made it, otherwise all that may have.

use crate::event::{Call, Slice, Tid};
use crate::loop_kind::LoopThreads;
use crate::machine::runtime::candidates::{Candidates, candidates, has_more, left_ns, may_run};
use crate::machine::runtime::state::{RuntimeContext, RuntimeView};
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::{handoff, task};
use crate::machine::wire::request::{HandedTo, RequestKey, Wants};
use crate::machine::world::errno::EINPROGRESS;
use crate::model::round_trips::ToPort;
use crate::rule::Rule;

/// Who made a call on a back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::machine) enum Asker {
    /// This request.
    Known(RequestKey),
    /// This one, as nobody else is known who waits for nothing known.
    Likely(RequestKey),
    /// The unattributed work that the thread serves.
    Unattributed,
    /// One of these.
    OneOf(Candidates),
    /// No request.
    Nobody,
}

/// The request for which a thread surely calls: that which it serves. A loop's thread may serve any request.
fn surely_serves(thread: &Thread) -> Option<RequestKey> {
    thread.serving.filter(|_| !thread.is_loop())
}

/// A call waited for a back end's socket: that counts for the request that its thread serves.
pub(in crate::machine) fn waited(state: &mut RuntimeContext<'_>, thread: &Thread, slice: &Slice) {
    let by = surely_serves(thread);
    let descriptors = &mut state.world.descriptors;
    if let Call::Connect { fd, .. } = slice.call
        && (slice.result >= 0 || slice.result == EINPROGRESS)
    {
        descriptors.begin(slice.tgid, fd, by);
    }
    let waited_ns = slice.inside.blocked_ns.saturating_sub(slice.call_undecided_ns());
    if waited_ns == 0 {
        return;
    }
    let Some(port) = descriptors.waited(slice, waited_ns) else { return };
    note(state, thread, by, &ToPort { port, waited_ns, ..ToPort::default() });
}

/// A call moved bytes. Answers of back ends count for the request that the thread serves, and so do the first
/// bytes of a connection to a back end.
pub(in crate::machine) fn count(state: &mut RuntimeContext<'_>, thread: &Thread, slice: &Slice) {
    let Some(moved) = state.world.descriptors.moved(slice) else { return };
    let by = surely_serves(thread);
    // Without a request, nobody is known who asked.
    let count = u64::from(moved.is_answer && by.is_some());
    let mut to = ToPort { port: moved.port, count, ..ToPort::default() };
    if let Some(shown) = moved.shown.filter(|_| !thread.signs.in_front) {
        if shown.is_first {
            state.world.unattributed.uses(moved.is_marked);
        }
        // One that was begun for another request is kept from request to request.
        if moved.is_marked && shown.by == by {
            to.connections = u64::from(shown.is_first);
            to.connecting_ns = shown.connecting_ns;
            to.first_answers_ns = shown.first_answer_ns.unwrap_or(0);
        }
    }
    note(state, thread, by, &to);
}

/// Adds it to the request, where that is known. What a front end has to do with the server behind it is for
/// no back end.
fn note(state: &mut RuntimeContext<'_>, thread: &Thread, by: Option<RequestKey>, more: &ToPort) {
    if *more == (ToPort { port: more.port, ..ToPort::default() }) {
        return;
    }
    match by {
        Some(key) => {
            if let Some(active) = state.wire.connections.active_mut(key) {
                active.request.round_trips.add(more);
            }
        }
        None if !thread.signs.in_front => state.world.unattributed.add(more),
        None => {}
    }
}

/// Who made this call on a back end that belongs to no known request and to no unattributed work.
pub(in crate::machine) fn find(state: RuntimeView<'_>, thread: &Thread, slice: &Slice) -> Asker {
    let asker = by_order(state, thread, slice);
    let is_known = state.runtime.tasks.of(slice.tid).is_some();
    let has_greenlets =
        thread.event_loop.as_deref().is_some_and(|event_loop| event_loop.kind().has_greenlets());
    if !is_known || has_greenlets || matches!(asker, Asker::Nobody) {
        return asker;
    }
    // Order may be wrong, and the task will show it as soon as it answers.
    let mut found = task::may_work_for(state, thread, slice.tid);
    match &asker {
        Asker::Known(key) | Asker::Likely(key) => found.push_all(core::iter::once(*key)),
        Asker::OneOf(ordered) => {
            found.push_all(ordered.keys.iter().copied());
            found.has_more |= ordered.has_more;
        }
        Asker::Unattributed | Asker::Nobody => {}
    }
    match found.keys.len() {
        0 if found.has_more => Asker::Nobody,
        1 if found.has_more => Asker::OneOf(found),
        0 | 1 => asker,
        _ => Asker::OneOf(found),
    }
}

/// Who asks, as far as the loop's order shows.
fn by_order(state: RuntimeView<'_>, thread: &Thread, slice: &Slice) -> Asker {
    let Some(event_loop) = thread.as_loop() else {
        return Asker::Nobody;
    };
    // What reads an answer is somebody's who is known, or nobody's.
    if matches!(slice.call, Call::Read { .. }) {
        return Asker::Nobody;
    }
    let (tgid, is_helped) = (slice.tgid, event_loop.kind().threads == LoopThreads::Help);
    let is_new = matches!(slice.call, Call::Make { .. });
    let done = if is_new { handoff::next_done(state, tgid, event_loop.looks.recent_ns()) } else { None };
    let given = is_helped && handoff::has_given(state, tgid, slice.enter_ns, event_loop.looks.recent_ns());
    let left_ns = |key: RequestKey| state.wire.connections.active(key).map_or(0, left_ns);
    let may_resume = |key: RequestKey| given || event_loop.may_resume(left_ns(key));
    let fits = |key: &RequestKey| !event_loop.unattributed.is_waiting(*key);
    let has_more = has_more(event_loop, thread.serving, given || event_loop.may_resume_any());
    let mut found = Candidates { has_more, ..Candidates::default() };
    found.push_all(candidates(state, event_loop, thread.serving, may_resume).filter(fits));
    if is_new {
        found.push_all(of_several_tasks(state, thread, slice.tid).into_iter().filter(fits));
    }
    if is_helped {
        // Where the loop is busy, a thread's results come without a sign. They never come before the loop has
        // looked, and not in the order in which the threads reported them.
        let looked_ns = event_loop.looks.iteration_start_ns();
        let is_back = |key: &RequestKey| handed_to(state, *key).is_some_and(|to| to.begin_ns <= looked_ns);
        let handed = event_loop.left.parked.iter().copied().filter(is_back);
        found.push_all(handed.chain(done).filter(fits));
        found.has_more |= event_loop.left.has_more_parked();
    }
    if let Some(key) = done.filter(|_| !is_helped && Rule::DoneFirst.holds()) {
        // Its thread has just reported. Any other request that may run may have opened it as well.
        if !found.has_more && found.keys.iter().all(|other| *other == key) {
            return Asker::Known(key);
        }
        found.push_all(core::iter::once(key).filter(fits));
    }
    let runs_unattributed = event_loop.unattributed.current_runs();
    if runs_unattributed && is_new && found.is_none() {
        return Asker::Unattributed;
    }
    let are_told = !found.keys.is_empty();
    if runs_unattributed || found.keys.is_empty() && is_new {
        // gevent ends a round of callbacks after some milliseconds, and resumes what was left some rounds
        // later.
        let parked = event_loop.left.parked.iter().copied().filter(|key| may_run(state, *key));
        found.push_all(parked.filter(fits));
        found.has_more |= event_loop.left.has_more_parked();
    }
    let is_told = are_told
        && (event_loop.resumes_parked()
            || candidates(state, event_loop, thread.serving, |_| false).next().is_some());
    match found.keys.as_slice() {
        [] => Asker::Nobody,
        _ if found.has_more => Asker::OneOf(found),
        [_] if is_new && !is_told && !Rule::OnlyOneKnown.holds() => Asker::Nobody,
        [key] if is_new && !is_told => Asker::Likely(*key),
        [key] => Asker::Known(*key),
        _ => Asker::OneOf(found),
    }
}

/// The request that began to wait for a back end in this iteration, by another task than the present one.
/// Several tasks of a request begin together, such as those of `asyncio.gather`. So it may be this one's as
/// well.
fn of_several_tasks(state: RuntimeView<'_>, thread: &Thread, tid: Tid) -> Option<RequestKey> {
    let event_loop = thread.as_loop().filter(|event_loop| event_loop.passes_on())?;
    let (key, task) = thread.serving.zip(state.runtime.tasks.beside_loop(tid))?;
    let active = state.wire.connections.active(key).filter(|active| active.wants == Wants::Backend)?;
    let is_another = event_loop.tasks.asker(key).is_some_and(|asker| asker != task);
    (Rule::SeveralTasks.holds() && is_another && active.handed_to.is_none()).then_some(key)
}

/// The thread of the pool that was woken for a request, if the request waits for nothing else.
pub(in crate::machine) fn handed_to(state: RuntimeView<'_>, key: RequestKey) -> Option<HandedTo> {
    let active = state.wire.connections.active(key)?;
    active.handed_to.filter(|_| active.wants == Wants::Unknown)
}

#[cfg(test)]
mod tests;
