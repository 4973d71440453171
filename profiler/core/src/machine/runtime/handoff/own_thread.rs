//! Threads that an event loop makes for one request. asgiref gives each request a pool of one thread for its
//! synchronous parts (Django's views under an ASGI server). That thread ends when its request is over.
//!
//! In: threads made by the loop, their waits for the next part of the work, the loop's resuming of requests.
//! Out: for which request each such thread works, as soon as that is known; since when it waited for the loop
//! to give it more.
//!
//! A request makes such a thread as it runs. Which one? One that was read since the loop last slept, or whose
//! thread has reported since then: a loop that sleeps has nothing left to resume. Where there are several of
//! these, the initiator stays open until the loop answers a request. As a loop resumes in order, that request
//! made the open thread that reported first. Threads that are kept for later requests are a pool like any
//! other.

use crate::event::{Slice, Tid};
use crate::loop_kind::LoopThreads;
use crate::machine::runtime::handed::{Handed, MAX_JOBS};
use crate::machine::runtime::own_threads::Made;
use crate::machine::runtime::pool::{Job, Pool};
use crate::machine::runtime::state::{RuntimeContext, RuntimeView};
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::threads;
use crate::machine::wire::request::{HandedTo, RequestKey};

/// Threads of one process that are remembered.
const MAX_MADE: usize = 4096;
/// Jobs that such a thread may get after its request is over, for tidying up. A thread that gets more is kept
/// for others.
const TIDYING_JOBS: u32 = 2;

/// A thread was made by another one of its process. Where that is the loop's thread, it was made for a
/// request.
pub fn made(state: &mut RuntimeContext<'_>, tgid: Tid, (maker, child): (Tid, Tid), at_ns: u64) {
    let Some(pool) =
        state.runtime.pools.get(tgid).filter(|pool| pool.loop_tid == maker && !pool.own.are_kept())
    else {
        return;
    };
    // gevent makes threads for the process, to resolve names.
    if state.world.processes.loop_kind(tgid).threads == LoopThreads::Help {
        return;
    }
    let key = only_resuming(state.view(), pool, tgid, at_ns);
    let Some(pool) = state.runtime.pools.get_mut(tgid) else { return };
    if pool.own.made.len() >= MAX_MADE {
        *state.evicted = state.evicted.saturating_add(1);
        return;
    }
    pool.own.made.insert(child, Made { key, known_ns: at_ns, begun_ns: at_ns, ready_ns: 0, tidied: 0 });
    if let Some(key) = key {
        pool.own.resumed(key, at_ns);
        pool.working.retain(|(tid, _)| *tid != child);
        pool.working.push((child, key));
    }
}

/// The only request that the loop may be resuming at this moment, apart from one that was touched.
fn only_resuming(state: RuntimeView<'_>, pool: &Pool, tgid: Tid, at_ns: u64) -> Option<RequestKey> {
    let event_loop = state.runtime.threads.get(pool.loop_tid)?.event_loop.as_ref()?;
    let since_ns = event_loop.looks.slept_before(at_ns).0.max(event_loop.looks.recent_ns());
    let was_read = |key: &&RequestKey| {
        state.wire.connections.active(**key).is_some_and(|active| {
            active.handed_to.is_none()
                && active.request.times.service_start_ns.is_some_and(|read_ns| read_ns >= since_ns)
                && !super::is_worked_for(state, tgid, **key)
        })
    };
    let touched = event_loop.left.touched_at(at_ns).filter(|(at, _)| *at >= since_ns).map(|(_, key)| key);
    let touched = touched.filter(|key| was_read(&key));
    let told = pool.own.told.iter().filter(|(_, told_ns)| *told_ns >= since_ns).map(|(key, _)| *key);
    let read = event_loop.left.parked.iter().filter(was_read).map(|key| Some(*key));
    if event_loop.left.has_more_parked() || event_loop.left.has_forgotten(at_ns) {
        return None;
    }
    let mut candidates = told.chain(read).chain(touched.map(Some));
    let first = candidates.next()??;
    candidates.all(|key| key == Some(first)).then_some(first)
}

/// The loop has woken a thread that it made, and the thread resumes work for its request. Returns whether it
/// does.
pub(super) fn begin(state: &mut RuntimeContext<'_>, thread: &mut Thread, slice: &Slice) -> bool {
    let Some(pool) = state.runtime.pools.get(slice.tgid) else { return false };
    let Some(mut made) = pool.own.made.get(&slice.tid).copied() else { return false };
    let Some(event_loop) =
        state.runtime.threads.get(pool.loop_tid).and_then(|thread| thread.event_loop.as_ref())
    else {
        return false;
    };
    let awake_ns = slice.inside.cpu_ns.saturating_add(slice.inside.run_queue_ns);
    let (slept_from_ns, slept_until_ns) =
        event_loop.looks.slept_before(slice.exit_ns.saturating_sub(awake_ns));
    let has_slept = slept_from_ns > made.known_ns;
    let active = made.key.and_then(|key| state.wire.connections.active_mut(key));
    let is_over = made.key.is_some() && active.is_none();
    made.tidied = if is_over { made.tidied.saturating_add(1) } else { 0 };
    let is_kept = active.is_none() && has_slept || made.tidied > TIDYING_JOBS;
    let Some(pool) = state.runtime.pools.get_mut(slice.tgid) else { return false };
    if is_kept {
        pool.own.made.remove(&slice.tid);
        pool.own.kept = pool.own.kept.saturating_add(1);
        return false;
    }
    made.ready_ns = if has_slept { slept_until_ns } else { 0 };
    made.known_ns = slice.exit_ns;
    made.begun_ns = slice.exit_ns;
    pool.own.made.insert(slice.tid, made);
    thread.pooled.works_for = made.key;
    thread.pooled.woken_for = made.key;
    thread.pooled.woken_by_order = false;
    if let Some(key) = made.key {
        pool.own.resumed(key, slice.exit_ns);
    }
    if let Some(active) = active {
        active.handed_to = Some(HandedTo { tid: slice.tid, begin_ns: slice.exit_ns, by_order: false });
    }
    true
}

/// A thread that the loop made waits for more to do. What it did so far was for its request, whether it has
/// reported or not.
pub(in crate::machine) fn done(state: &mut RuntimeContext<'_>, thread: &mut Thread, slice: &Slice) {
    let Some(pool) = state.runtime.pools.get_mut(slice.tgid).filter(|pool| pool.own.has(slice.tid)) else {
        return;
    };
    let Some(begin_ns) = thread.pending.start_ns() else { return };
    let key = pool.own.request_of(slice.tid);
    if key.is_some_and(|key| state.wire.connections.active(key).is_none()) {
        return;
    }
    if pool.jobs.len() >= MAX_JOBS {
        *state.evicted = state.evicted.saturating_add(1);
        return;
    }
    thread.pooled.is_pooled = true;
    thread.pooled.woken_for = None;
    let ready_ns = pool.own.ready_ns(slice.tid);
    if let Some(made) = pool.own.made.get_mut(&slice.tid) {
        made.known_ns = slice.enter_ns;
    }
    pool.jobs.push_back(Job {
        tid: slice.tid,
        begin_ns,
        woken_for: key,
        by_order: false,
        key,
        ready_ns,
        told_ns: slice.enter_ns,
        noted_ns: slice.enter_ns,
        pieces: std::mem::take(&mut thread.pending),
        handed: Handed::default(),
    });
}

/// The loop answers a request, and no thread that is known to work for it has reported anything since
/// `since_ns`. Of the threads whose initiators are not known, the one that reported first worked for it.
/// Returns that thread, and whether it was the only one.
pub(super) fn claim(pool: &mut Pool, key: RequestKey, since_ns: u64) -> Option<(Tid, bool)> {
    if pool.jobs.iter().any(|job| job.key == Some(key) && job.noted_ns >= since_ns) {
        return None;
    }
    let own = &pool.own;
    let is_open = |job: &&Job| {
        let begun_ns = own.made.get(&job.tid).map_or(0, |made| made.begun_ns);
        job.key.is_none() && job.ready_ns.is_some() && job.noted_ns >= since_ns.max(begun_ns)
    };
    let mut open = pool.jobs.iter().filter(is_open);
    let tid = open.next()?.tid;
    let is_only = open.all(|job| job.tid == tid);
    for job in pool.jobs.iter_mut().filter(|job| job.tid == tid) {
        job.key = Some(key);
    }
    if let Some(made) = pool.own.made.get_mut(&tid) {
        made.key = Some(key);
    }
    pool.working.retain(|(worker, _)| *worker != tid);
    pool.working.push((tid, key));
    Some((tid, is_only))
}

/// The loop resumes a request before the thread that it made for it has reported that it is done. Either the
/// interpreter lock went to the loop in between, or another thread had reported and the loop looks at all of
/// them. What the thread did counts as far as it is known. `false`: there is no room for it.
pub(super) fn in_flight(
    pool: &mut Pool,
    threads: &mut threads::Threads,
    key: RequestKey,
    at_ns: u64,
) -> bool {
    let own = pool.own.made.iter().filter(|(_, made)| made.key == Some(key));
    let Some((tid, made)) = own.max_by_key(|(tid, made)| (made.begun_ns, **tid)) else { return true };
    let Some(thread) = threads.get_mut(*tid) else { return true };
    let Some(begin_ns) = thread.pending.start_ns() else { return true };
    if pool.jobs.len() >= MAX_JOBS {
        return false;
    }
    thread.pooled.woken_for = None;
    pool.jobs.push_back(Job {
        tid: *tid,
        begin_ns,
        woken_for: Some(key),
        by_order: false,
        key: Some(key),
        ready_ns: Some(made.ready_ns),
        told_ns: at_ns,
        noted_ns: at_ns,
        pieces: std::mem::take(&mut thread.pending),
        handed: Handed::default(),
    });
    true
}

/// A thread has ended. One that was made for a request lives as long as the request. What it did and no
/// request claimed was for none.
pub fn ended(state: &mut RuntimeContext<'_>, tgid: Tid, tid: Tid) {
    let Some(pool) = state.runtime.pools.get_mut(tgid) else { return };
    pool.working.retain(|(worker, _)| *worker != tid);
    pool.open.remove(&tid);
    if pool.own.made.remove(&tid).is_some() {
        pool.own.ended = pool.own.ended.saturating_add(1);
        pool.jobs.retain(|job| job.tid != tid || job.key.is_some());
    }
}

#[cfg(test)]
mod tests;
