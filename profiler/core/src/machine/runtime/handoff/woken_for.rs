//! For which request the loop woke a thread of its pool.
//!
//! In: the wakeup, the requests that the loop has read, touched and left. Out: the request, and whether only
//! the order of several decides.

use crate::event::Tid;
use crate::loop_kind::{LoopThreads, Resumes};
use crate::machine::runtime::handed::Handed;
use crate::machine::runtime::state::RuntimeView;
use crate::machine::wire::request::RequestKey;
use crate::rule::Rule;

/// For which request the loop woke a thread, and whether only order decides between several. It is the
/// request that the loop had touched last in that iteration. If it had touched none, or jobs stand in one
/// queue, it is the first that it had left and that no thread has taken.
pub(super) fn woken_for(
    state: RuntimeView<'_>,
    tgid: Tid,
    loop_tid: Tid,
    has_queue: bool,
    Handed { woken_ns, task, .. }: Handed,
) -> Option<(RequestKey, bool)> {
    if let Some(key) = super::by_task::key(state, tgid, loop_tid, task) {
        return Some((key, false));
    }
    let event_loop = state.runtime.threads.get(loop_tid)?.event_loop.as_ref()?;
    let touched = event_loop.left.touched_at(woken_ns);
    // On uvloop all that is ready is read first. Only then do the requests resume for which it was read.
    if let Some((touched_ns, key)) = touched
        && !has_queue
        && Rule::WokenForTouched.holds()
        && event_loop.kind().threads == LoopThreads::Work
        && event_loop.resumes_one_alone()
        && (event_loop.kind().resumes != Resumes::Untold || is_untaken(state, tgid, key, woken_ns))
        && touched_ns >= event_loop.looks.iteration_start_at(woken_ns)
    {
        return Some((key, false));
    }
    let touched = touched.map(|(_, key)| key);
    let is_free = |key: &RequestKey| is_untaken(state, tgid, *key, woken_ns);
    // A request that runs is not parked yet.
    let runs_unparked = event_loop.kind().threads != LoopThreads::Work;
    let running = touched.filter(|key| runs_unparked && is_free(key));
    let mut free = event_loop.left.parked.iter().copied().filter(is_free).chain(running);
    let first = free.next();
    let has_more = event_loop.left.has_more_parked() || event_loop.left.has_forgotten(woken_ns);
    let by_order = has_more
        || free.any(|other| Some(other) != first)
        || first.is_some_and(|key| may_be_of_another(state, &event_loop.left.parked, key));
    if !Rule::WokenForFirst.holds() {
        return None;
    }
    // Any greenlet may have given it a job, in any order. So may any of uvloop's tasks that resumes.
    if by_order && runs_unparked {
        return None;
    }
    first.or(touched.filter(is_free)).map(|key| (key, by_order))
}

/// Whether a request had been read when a thread was woken, and no thread is known to work for it.
pub(super) fn is_untaken(state: RuntimeView<'_>, tgid: Tid, key: RequestKey, woken_ns: u64) -> bool {
    state.wire.connections.active(key).is_some_and(|active| {
        active.handed_to.is_none()
            && active.request.times.service_start_ns.is_some_and(|read_ns| read_ns <= woken_ns)
    }) && !super::is_worked_for(state, tgid, key)
}

/// Whether only order said that another one than this was the one that a thread was woken for, while this one
/// waited, too.
fn may_be_of_another(state: RuntimeView<'_>, parked: &[RequestKey], key: RequestKey) -> bool {
    let connections = &state.wire.connections;
    let read_ns = connections.service_start_ns(key);
    parked
        .iter()
        .filter_map(|other| connections.active(*other)?.handed_to)
        .any(|other| other.by_order && read_ns.is_some_and(|read_ns| read_ns < other.begin_ns))
}
