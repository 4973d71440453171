//! Threads that wait for the loop to take what they have reported, and then go on with the same job.
//! Twisted's do (`blockingCallFromThread`).
//!
//! In: the wakeup of a thread by the loop, what the thread has reported last, the request that the loop had
//! touched last. Out: whether the loop gave the thread a job, or took its report.
//!
//! The loop takes what several threads have reported in one go, and sends the responses later. So it wakes
//! such a thread before anything shows whose response that is. Until a pool is known for that, the request
//! that the loop had touched last decides. A loop gives away one that it has just read and that no thread has
//! taken. While it is known ([`Reports`]), the first wakeup after a thread's first note is no new job, unless
//! the loop has handled that note before.
//!
//! [`Reports`]: crate::machine::runtime::report::Reports

use super::woken_for::is_untaken;
use crate::event::{Slice, Tid};
use crate::loop_kind::Resumes;
use crate::machine::runtime::event_loop::EventLoop;
use crate::machine::runtime::pool::Pool;
use crate::machine::runtime::report::Woken;
use crate::machine::runtime::state::{RuntimeContext, RuntimeView};
use crate::machine::runtime::thread::Thread;
use crate::rule::Rule;

/// The loop woke a thread at `woken_ns`, before any request had resumed with what the thread had reported.
/// Returns whether the thread goes on with the same job.
///
/// This is asked only where the order of the loop is not known. Elsewhere a thread that is woken so early has
/// its next job.
pub(super) fn take(
    state: &mut RuntimeContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    woken_ns: u64,
) -> bool {
    let view = state.view();
    let waker = waker(view, thread, slice).filter(|_| Rule::ReportsAwaited.holds());
    let Some((_, event_loop)) = waker else { return false };
    let Some(woken) = thread.pooled.report.woken(woken_ns, event_loop.looks.slept_before(woken_ns).0) else {
        return false;
    };
    let is_given = is_given(view, event_loop, slice.tgid, woken_ns);
    let Some(pool) = state.runtime.pools.get_mut(slice.tgid) else { return false };
    match woken {
        Woken::Afterwards => {
            pool.reports.was_left();
            return false;
        }
        Woken::AtOnce if is_given && !pool.reports.are_awaited() => return false,
        Woken::AtOnce if is_given => {}
        Woken::AtOnce => pool.reports.was_taken(),
    }
    thread.pooled.report.taken_ns = woken_ns;
    true
}

/// Whether a request that the loop had touched last, in that iteration, is one that it had read there and
/// that no thread has taken.
fn is_given(state: RuntimeView<'_>, event_loop: &EventLoop, tgid: Tid, woken_ns: u64) -> bool {
    let iteration_ns = event_loop.looks.iteration_start_at(woken_ns);
    event_loop.left.touched_at(woken_ns).is_some_and(|(_, key)| {
        let read_ns = state.wire.connections.service_start_ns(key);
        read_ns.is_some_and(|read_ns| read_ns >= iteration_ns) && is_untaken(state, tgid, key, woken_ns)
    })
}

/// A thread is about to report. That may show that its report before was not taken.
pub(super) fn reported(state: &mut RuntimeContext<'_>, thread: &Thread, slice: &Slice) {
    let is_second = untold(state.view(), thread, slice.tgid)
        .is_some_and(|(_, of)| thread.pooled.report.was_second_job(of.looks.slept_before(slice.exit_ns).0));
    if is_second && let Some(pool) = state.runtime.pools.get_mut(slice.tgid) {
        pool.reports.was_not_taken();
    }
}

/// The loop wakes a thread once more that has reported nothing since it was last woken. Its last wait may
/// have been for a lock, within the job of another request. So it is decided again for whom it works.
pub(super) fn give_back(state: &mut RuntimeContext<'_>, thread: &mut Thread, slice: &Slice) {
    if waker(state.view(), thread, slice).is_none() {
        return;
    }
    let active = thread.pooled.woken_for.take().and_then(|key| state.wire.connections.active_mut(key));
    if let Some(active) = active
        && active.handed_to.is_some_and(|handed_to| handed_to.tid == slice.tid)
    {
        active.handed_to = None;
    }
}

/// Whether a thread's pool is known to wait until the loop has taken each report. What has become known since
/// of the loop's order or of its tasks says more.
pub(super) fn is_awaited(state: RuntimeView<'_>, thread: &Thread, tgid: Tid) -> bool {
    untold(state, thread, tgid).is_some_and(|(pool, _)| pool.reports.are_awaited())
}

/// The pool and the loop that woke a thread, where nothing shows in which order that loop resumes requests,
/// or what its tasks do.
fn waker<'a>(state: RuntimeView<'a>, thread: &Thread, slice: &Slice) -> Option<(&'a Pool, &'a EventLoop)> {
    untold(state, thread, slice.tgid).filter(|(pool, _)| pool.loop_tid == slice.woken.by_tid)
}

/// The pool of a thread and its loop, where nothing shows that.
fn untold<'a>(state: RuntimeView<'a>, thread: &Thread, tgid: Tid) -> Option<(&'a Pool, &'a EventLoop)> {
    let pool = state.runtime.pools.get(tgid)?;
    let event_loop = state.runtime.threads.get(pool.loop_tid)?.event_loop.as_deref()?;
    let is_told = thread.pooled.at_queue || state.runtime.tasks.follows(pool.loop_tid);
    (!is_told && event_loop.kind().resumes == Resumes::Untold).then_some((pool, event_loop))
}

#[cfg(test)]
mod tests;
