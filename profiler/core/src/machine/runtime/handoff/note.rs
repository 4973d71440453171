//! What a thread of a pool reports to its loop.
//!
//! In: writes to the descriptor by which the loop is woken. Out: the job that the thread has done until then,
//! for the request that resumes with it.

use super::{reply, runs_other_loop};
use crate::event::{Call, Slice};
use crate::fact::DescriptorClass;
use crate::machine::runtime::handed::MAX_JOBS;
use crate::machine::runtime::pool::Job;
use crate::machine::runtime::report::Report;
use crate::machine::runtime::state::RuntimeContext;
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::request::RequestKey;

/// A thread writes to a descriptor by which the loop is woken. What it did so far was for a request.
pub(in crate::machine) fn note(state: &mut RuntimeContext<'_>, thread: &mut Thread, slice: &Slice) {
    let Call::Write { fd } = slice.call else { return };
    if slice.result <= 0 || state.world.descriptors.class(slice.tgid, fd) != Some(DescriptorClass::Wakeup) {
        return;
    }
    let is_other_loop = runs_other_loop(state.view(), thread, slice.tgid);
    let pool = state.runtime.pools.get_mut(slice.tgid).filter(|pool| pool.loop_tid != slice.tid);
    if let Some(pool) = pool.filter(|_| is_other_loop) {
        pool.has_other_loop = true;
        return;
    }
    // The thread had a job.
    thread.pooled.waits_since = None;
    reply::reported(state, thread, slice);
    let waits_for_loop = reply::is_awaited(state.view(), thread, slice.tgid);
    let Some(pool) = state.runtime.pools.get_mut(slice.tgid).filter(|pool| pool.loop_tid != slice.tid) else {
        return;
    };
    let connections = &state.wire.connections;
    let is_live = |key: &RequestKey| connections.is_live(*key);
    pool.at_work.retain(|(tid, ..)| *tid != slice.tid);
    pool.givers.has_result(thread.pooled.handed.task, slice.exit_ns);
    pool.own.tells(slice.tid, slice.enter_ns);
    thread.pooled.works_for = pool.own.request_of(slice.tid).or(thread.pooled.works_for);
    let ready_ns = pool.own.ready_ns(slice.tid);
    // What came before its last wait for work is gone.
    let begin_ns = thread.pending.start_ns().unwrap_or_else(|| slice.gap_start_ns());
    // What it did first may have begun before it was seen.
    let is_seen = thread.job.work_start_ns.is_some() || thread.pooled.is_pooled || pool.own.has(slice.tid);
    let begin_ns = if is_seen { begin_ns } else { 0 };
    thread.pooled.is_pooled = true;
    let woken_for = thread.pooled.woken_for.take();
    let report = thread.pooled.report;
    thread.pooled.report.note(slice.exit_ns);
    let key = thread.pooled.works_for.filter(is_live);
    let tidies_up = tidies_up(waits_for_loop, thread, (woken_for, report), is_live);
    // A job that it took without having to wait for one. A thread that tidies up asks no back end.
    let is_next =
        thread.pending.has_worked_and_waited() && thread.pooled.works_for.is_some() && woken_for.is_none();
    if key.is_none() && is_next {
        thread.pooled.works_for = None;
        pool.working.retain(|(tid, _)| *tid != slice.tid);
    } else if key.is_none() && tidies_up {
        drop(std::mem::take(&mut thread.pending));
        if waits_for_loop {
            // The wait was the end of the thread's job. What it reports next is another one.
            (thread.pooled.works_for, thread.pooled.report) = (None, Report::default());
            pool.working.retain(|(tid, _)| *tid != slice.tid);
        }
        return;
    }
    if waits_for_loop && key.is_none() && report.notes > 0 {
        // The thread has worked and waited since: that was the next job already.
        (thread.pooled.report.notes, thread.pooled.report.noted_ns) = (1, slice.exit_ns);
    }
    let pieces = std::mem::take(&mut thread.pending);
    // The note is of the job before, unless the thread has waited for another one since.
    let is_same =
        |job: &&mut Job| job.tid == slice.tid && job.key == key && job.noted_ns >= thread.pooled.begun_ns;
    if let Some(job) = pool.jobs.iter_mut().rev().find(is_same) {
        job.pieces.append(pieces);
        job.noted_ns = slice.exit_ns;
        return;
    }
    if pool.jobs.len() >= MAX_JOBS {
        pool.jobs.pop_front();
        *state.evicted = state.evicted.saturating_add(1);
    }
    pool.jobs.push_back(Job {
        tid: slice.tid,
        begin_ns,
        woken_for,
        by_order: thread.pooled.woken_by_order,
        key,
        ready_ns,
        told_ns: slice.enter_ns,
        noted_ns: slice.exit_ns,
        pieces,
        handed: thread.pooled.handed,
    });
}

/// Whether a thread only tidied up since its last note. It was woken for a request that is over, or has not
/// been woken for another since.
fn tidies_up(
    waits_for_loop: bool,
    thread: &Thread,
    (woken_for, report): (Option<RequestKey>, Report),
    is_live: impl Fn(&RequestKey) -> bool,
) -> bool {
    if waits_for_loop {
        // The loop has taken its report. What comes after that makes nobody wait.
        return report.notes > 0 && !thread.pending.has_worked_and_waited();
    }
    match (&thread.pooled.works_for, &woken_for) {
        // At the queue of jobs it took a job, whatever the loop had touched when it woke it. The same holds
        // where that request was only the first in order of several.
        (None, Some(key)) if (thread.pooled.at_queue || thread.pooled.woken_by_order) && !is_live(key) => {
            false
        }
        (_, Some(key)) => !is_live(key),
        (Some(_), None) => thread.pooled.at_queue,
        (None, None) => false,
    }
}
