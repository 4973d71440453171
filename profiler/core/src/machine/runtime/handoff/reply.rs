//! Threads that wait for the loop to take what they have reported, and then go on with the same job. Twisted's do (`blockingCallFromThread`).
//!
//! In: the wakeup of a thread by the loop, what the thread has reported last, the request that the loop had touched last. Out: whether the loop gave the thread a
//! job, or took its report.
//!
//! The loop takes what several threads have reported in one go, and sends the responses later. So it wakes such a thread before anything shows whose response
//! that is. Until a pool is known for that, the request that the loop had touched last decides: a loop gives away one that it has just read and that no thread
//! has taken. Once it is known, the first wakeup after a thread's first note is never a new job.

use super::woken_for::is_untaken;
use crate::event::{Slice, Tid};
use crate::loop_kind::Resumes;
use crate::machine::runtime::event_loop::EventLoop;
use crate::machine::runtime::pool::Pool;
use crate::machine::runtime::state::{Hand, View};
use crate::machine::runtime::thread::Thread;

/// Whether the loop woke a thread at `woken_ns` to go on with the job that it had reported. No request had resumed with that job by then.
///
/// Only where the order of the loop is not known. Elsewhere a thread is given its next job before the request of its last one resumes.
pub(super) fn is_taken(state: View<'_>, thread: &Thread, slice: &Slice, woken_ns: u64) -> bool {
    let Some((pool, event_loop)) = waker(state, thread, slice) else { return false };
    let report = thread.pooled.report;
    // A loop that goes to sleep has taken all reports.
    if !report.is_open_at(woken_ns) || event_loop.looks.slept_before(woken_ns).0 > report.noted_ns {
        return false;
    }
    let iteration_ns = event_loop.looks.iteration_start_at(woken_ns);
    let is_given = event_loop.left.touched_at(woken_ns).is_some_and(|(_, key)| {
        let read_ns = state.wire.connections.service_start_ns(key);
        read_ns.is_some_and(|read_ns| read_ns >= iteration_ns) && is_untaken(state, slice.tgid, key, woken_ns)
    });
    pool.takes_reports || !is_given
}

/// A thread that was woken for a request, and has reported nothing since, is woken once more. What it was woken for before may have been a lock: for whom it works is
/// decided again.
pub(super) fn give_back(state: &mut Hand<'_>, thread: &mut Thread, slice: &Slice) {
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

/// Whether a thread's pool is known to wait until the loop has taken each report. What has become known since of the loop's order or of its tasks says more.
pub(super) fn is_awaited(state: View<'_>, thread: &Thread, tgid: Tid) -> bool {
    untold(state, thread, tgid).is_some_and(|(pool, _)| pool.takes_reports)
}

/// The pool and the loop that woke a thread, where nothing shows in which order that loop resumes requests, or what its tasks do.
fn waker<'a>(state: View<'a>, thread: &Thread, slice: &Slice) -> Option<(&'a Pool, &'a EventLoop)> {
    untold(state, thread, slice.tgid).filter(|(pool, _)| pool.loop_tid == slice.woken.by_tid)
}

/// The pool of a thread and its loop, where nothing shows that.
fn untold<'a>(state: View<'a>, thread: &Thread, tgid: Tid) -> Option<(&'a Pool, &'a EventLoop)> {
    let pool = state.runtime.pools.get(tgid)?;
    let event_loop = state.runtime.threads.get(pool.loop_tid)?.event_loop.as_deref()?;
    let is_told = thread.pooled.at_queue || state.runtime.tasks.follows(pool.loop_tid);
    (!is_told && event_loop.kind().resumes == Resumes::Untold).then_some((pool, event_loop))
}
