//! Requests that an event loop offloads to a thread of a pool that never touches their connection. Examples
//! are a2wsgi, Twisted's WSGI resource, and an ASGI framework's plain functions.
//!
//! In: what threads of a process with a loop do between their waits; their writes to the loop's wakeup
//! descriptor (*notes*); the loop's resuming of a request. Out: the thread's time as part of its initiator,
//! the request it worked for.
//!
//! A thread that wrote a note has done something for a request. The loop, having read the note, resumes a
//! request for which nothing else shows what it waited for. Then that request is the initiator. The loop
//! wakes a thread for the request that it touched last. Where that does not decide between several, the order
//! of the notes does, and is counted. A thread that the loop made for a request (`own_thread`) works for that
//! one until it is over.

mod by_task;
mod collect;
mod note;
mod own_thread;
mod pieces;
mod reply;
mod unnoted;
mod woken_for;

use crate::bounded::push_newest;
use crate::event::{Call, Slice, Tid};
use crate::loop_kind::LoopThreads;
use crate::machine::runtime::event_loop::Looks;
use crate::machine::runtime::handed::{Handed, MAX_JOBS};
use crate::machine::runtime::pool::Pool;
use crate::machine::runtime::report::Report;
use crate::machine::runtime::state::{RuntimeContext, RuntimeView};
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::request::{Active, HandedTo, RequestKey};
use crate::machine::world::classify::is_mutex;
use crate::phase::Phase;
use crate::rule::Rule;

pub(in crate::machine) use collect::{Collected, Resume, collect};
pub(in crate::machine) use note::note;
pub(in crate::machine) use own_thread::done;
pub use own_thread::{ended, made};
pub(in crate::machine) use unnoted::take_back;

/// Addresses remembered to find the queue of jobs. Only waits that overlap show it: older ones show nothing.
const MAX_ADDRESSES: usize = 64;
/// Jobs given for one of several requests that are remembered. Most older ones are done; the wait of one
/// that is not stays unexplained.
const MAX_GIVEN: usize = 64;
/// A job that was given longer ago is not waited for any more.
const LONGEST_JOB_NS: u64 = 1_000_000_000;

impl Handed {
    /// Until it ran first the initiator waited for the loop. It gave the thread its job after that, and
    /// before the thread began with it at `begin_ns`.
    fn wait_for_turn(&self, active: &mut Active, first_run_ns: Option<u64>, begin_ns: u64) {
        let given_ns = if self.woken_ns > 0 { self.woken_ns } else { begin_ns };
        let is_before = |first_run_ns: &u64| self.due_ns.is_none() && *first_run_ns <= given_ns;
        if let Some(first_run_ns) = first_run_ns.filter(is_before) {
            active.pass(first_run_ns, Phase::LoopWait);
        }
    }

    /// What the initiator waited for until a thread began with its job at `begin_ns`. Since the thread was
    /// woken, it waited for the thread. Before that, what it waited for is not known, unless this is its
    /// first job. Where tasks show whose jobs are (`do_tell`), an earlier job may not have been found. A loop
    /// that has not slept since it read the request kept it waiting up to the iteration in which it woke the
    /// thread. In that one the request may have run.
    fn pass_before(&self, active: &mut Active, begin_ns: u64, do_tell: bool, looks: &Looks) {
        let may_be_later = active.pooled || do_tell && self.task.is_some();
        let read_ns = active.request.times.service_start_ns.unwrap_or(0);
        let is_before_thread = self.woken_ns > 0 && !may_be_later;
        if is_before_thread && self.due_ns.is_none() && !looks.may_have_slept(read_ns, self.woken_ns) {
            active.pass(looks.iteration_start_at(self.woken_ns), Phase::LoopWait);
        }
        let unknown = if may_be_later || is_before_thread { Phase::Unexplained } else { Phase::PoolWait };
        let waited = if self.woken_ns > 0 { Phase::PoolWait } else { unknown };
        for (until_ns, phase) in self.before(begin_ns, waited, unknown) {
            active.pass(until_ns, phase);
        }
    }
}

/// Whether any request may have offloaded a job and not resumed since, as far as is known. A thread that
/// takes one job after the other is not woken for each.
pub(in crate::machine) fn has_given(state: RuntimeView<'_>, tgid: Tid, now_ns: u64, recent_ns: u64) -> bool {
    let Some(pool) = state.runtime.pools.get(tgid) else { return false };
    let is_recent = |handed: &Handed| handed.woken_ns.saturating_add(LONGEST_JOB_NS) > now_ns;
    pool.given.back().is_some_and(is_recent) || pool.jobs.iter().any(|job| job.is_free(recent_ns))
}

/// One of those requests resumes. Returns how its job was handed over, as far as that is the same for all of
/// them.
pub(in crate::machine) fn take_given(
    state: &mut RuntimeContext<'_>,
    tgid: Tid,
    now_ns: u64,
    task: Option<(u64, u64)>,
) -> Option<Handed> {
    let pool = state.runtime.pools.get_mut(tgid)?;
    pool.given.retain(|handed| handed.woken_ns.saturating_add(LONGEST_JOB_NS) > now_ns);
    if let Some(task) = task {
        let index = pool.given.iter().position(|handed| handed.is_by(task))?;
        return pool.given.remove(index);
    }
    let due_ns = pool.given.iter().map(|handed| handed.due_ns).min().flatten();
    Some(Handed { due_ns, ..pool.given.pop_front()? })
}

/// Whether a thread of the pool works for a request, as far as is known.
pub(in crate::machine) fn is_worked_for(state: RuntimeView<'_>, tgid: Tid, key: RequestKey) -> bool {
    state.runtime.pools.get(tgid).is_some_and(|pool| pool.working.iter().any(|(_, known)| *known == key))
}

/// Whether a thread of a process works for one of several requests, and it is not known yet for which.
/// gevent's threads only resolve names, which says nothing of what its requests do meanwhile.
pub(in crate::machine) fn has_open_threads(state: RuntimeView<'_>, tgid: Tid) -> bool {
    state.world.processes.loop_kind(tgid).threads != LoopThreads::Help
        && state.runtime.pools.get(tgid).is_some_and(|pool| !pool.open.is_empty() || pool.own.has_open())
}

/// Whether the loop ended a wait that the thread's own calls do not show to be a wait for work.
pub(in crate::machine) fn is_woken_by_loop(state: RuntimeView<'_>, thread: &Thread, slice: &Slice) -> bool {
    matches!(slice.call, Call::FutexWait { .. })
        && slice.woken.by_tid != 0
        && thread.slot.is_none()
        && state.runtime.pools.get(slice.tgid).is_some_and(|pool| {
            !thread.pooled.at_queue && pool.loop_tid == slice.woken.by_tid && pool.loop_tid != slice.tid
        })
}

/// A thread that runs no loop waited in what may be a queue of jobs.
pub(in crate::machine) fn waited(state: &mut RuntimeContext<'_>, thread: &mut Thread, slice: &Slice) {
    let Call::FutexWait { address, .. } = slice.call else { return };
    let Some(pool) = state.runtime.pools.get_mut(slice.tgid) else { return };
    if let Some(queue) = pool.queue {
        thread.pooled.at_queue |= queue == address;
        return;
    }
    if slice.tid == pool.loop_tid || slice.woken.by_tid != pool.loop_tid {
        return;
    }
    let waits_since = thread.pooled.waits_since.take().filter(|(known, _)| *known == address);
    let enter_ns = waits_since.map_or(slice.enter_ns, |(_, since_ns)| since_ns);
    // Two threads wait at the same address at the same time. So it is the same lock, not one that took the
    // place of another.
    let other = pool
        .addresses
        .iter()
        .find(|(known, tid, until_ns)| *known == address && *tid != slice.tid && enter_ns < *until_ns);
    if let Some((_, tid, _)) = other.filter(|_| Rule::QueueOfJobs.holds()) {
        pool.queue = Some(address);
        thread.pooled.at_queue = true;
        if let Some(other) = state.runtime.threads.get_mut(*tid) {
            other.pooled.at_queue = true;
        }
        return;
    }
    push_newest(&mut pool.addresses, MAX_ADDRESSES, (address, slice.tid, slice.exit_ns));
}

/// A thread looked what is ready. One that the loop wakes so is a loop beside it.
pub(in crate::machine) fn looked(state: RuntimeView<'_>, thread: &mut Thread, slice: &Slice) {
    let by_tid = slice.woken.by_tid;
    if by_tid != 0 && by_tid != slice.tid && matches!(slice.call, Call::EpollWait { .. }) {
        let is_by_loop = state.runtime.pools.get(slice.tgid).is_some_and(|pool| pool.loop_tid == by_tid);
        thread.pooled.is_other_loop |= is_by_loop;
    }
}

/// Another thread ended a thread's wait. Whoever takes a job from a queue passes the lock of that on (`get`
/// of `_queue.SimpleQueue`): where no other job was left, the next one waits on at the same lock. So threads
/// can take turns for long, and the loop never ends two waits of the same time.
pub(in crate::machine) fn passed_on(state: RuntimeView<'_>, thread: &mut Thread, slice: &Slice) {
    let Call::FutexWait { address, operation, has_timeout: false } = slice.call else { return };
    let Some(pool) = state.runtime.pools.get(slice.tgid).filter(|pool| pool.queue.is_none()) else { return };
    let by_tid = slice.woken.by_tid;
    let is_by_thread = by_tid != 0 && by_tid != pool.loop_tid && slice.tid != pool.loop_tid;
    if is_by_thread
        && Rule::PassedOn.holds()
        && !is_mutex(operation)
        && thread.pooled.waits_since.is_none_or(|(known, _)| known != address)
    {
        thread.pooled.waits_since = Some((address, slice.enter_ns));
    }
}

/// Whether a thread of a pool waits at the queue of jobs, whoever ends its wait: threads there wake one
/// another.
pub(in crate::machine) fn is_at_queue(state: RuntimeView<'_>, thread: &Thread, slice: &Slice) -> bool {
    let Call::FutexWait { address, .. } = slice.call else { return false };
    let queue = state.runtime.pools.get(slice.tgid).and_then(|pool| pool.queue);
    thread.slot.is_none() && queue == Some(address)
}

/// Whether a wait of a pool's thread that could be one for work lies within its work. It does if it is not at
/// the queue of jobs. Where that is not known, it does if neither the loop nor another thread of the pool
/// ended it.
#[inline]
pub(in crate::machine) fn is_within_job(state: RuntimeView<'_>, thread: &Thread, slice: &Slice) -> bool {
    // Most threads are of no pool.
    thread.pooled.is_pooled && thread.slot.is_none() && is_not_for_work(state, thread, slice)
}

/// Whether a wait of a thread that has worked for a loop is at another place than the queue of jobs.
fn is_not_for_work(state: RuntimeView<'_>, thread: &Thread, slice: &Slice) -> bool {
    let Some(pool) = state.runtime.pools.get(slice.tgid) else { return false };
    let gives_work = |tid: Tid| {
        tid == 0
            || tid == pool.loop_tid
            || state.runtime.threads.get(tid).is_some_and(|thread| thread.pooled.is_pooled)
    };
    let Call::FutexWait { address, .. } = slice.call else { return false };
    match pool.queue.filter(|_| thread.pooled.at_queue) {
        Some(queue) => address != queue,
        None => !gives_work(slice.woken.by_tid),
    }
}

/// The initiator of the oldest finished job that the loop has not handled, where its thread was woken for it.
pub(in crate::machine) fn next_done(state: RuntimeView<'_>, tgid: Tid, recent_ns: u64) -> Option<RequestKey> {
    let pool = state.runtime.pools.get(tgid)?;
    let job = pool.jobs.iter().find(|job| job.key.is_none() && job.noted_ns >= recent_ns)?;
    job.woken_for.filter(|key| state.wire.connections.is_live(*key))
}

/// Whether another loop of the process works for the requests of the one that reads them.
pub(in crate::machine) fn has_other_loop(state: RuntimeView<'_>, tgid: Tid) -> bool {
    state.runtime.pools.get(tgid).is_some_and(|pool| pool.has_other_loop)
}

/// Whether this thread is one. A loop that runs tasks itself may have another one beside it for some things:
/// that is as a thread of its pool.
fn runs_other_loop(state: RuntimeView<'_>, thread: &Thread, tgid: Tid) -> bool {
    let runs_no_task = |pool: &Pool| state.runtime.tasks.last(pool.loop_tid).is_none();
    thread.pooled.is_other_loop && state.runtime.pools.get(tgid).is_some_and(runs_no_task)
}

/// A thread of the pool begins again: it was woken in this wait.
pub(in crate::machine) fn begin(state: &mut RuntimeContext<'_>, thread: &mut Thread, slice: &Slice) {
    if runs_other_loop(state.view(), thread, slice.tgid) {
        return;
    }
    let Some(pool) = state.runtime.pools.get_mut(slice.tgid).filter(|pool| pool.loop_tid != slice.tid) else {
        return;
    };
    thread.pooled.begun_ns = slice.exit_ns;
    if slice.woken.by_tid == pool.loop_tid && own_thread::begin(state, thread, slice) {
        return;
    }
    // Its sleep ended with the wakeup. The rest of the call is the queue for a CPU and the way out.
    let awake_ns = slice.inside.cpu_ns.saturating_add(slice.inside.run_queue_ns);
    let queued_ns = slice.exit_ns.saturating_sub(awake_ns);
    // Its CPU may have noticed the wakeup later. How much of the call's CPU time came before the sleep is not
    // known.
    let woken_ns = if slice.woken.at_ns > 0 { slice.woken.at_ns } else { queued_ns };
    if reply::take(state, thread, slice, woken_ns) {
        return;
    }
    reply::give_back(state, thread, slice);
    thread.pooled.report = Report::default();
    if pieces::is_same_response(state.view(), thread, slice) {
        return;
    }
    thread.pooled.works_for = None;
    let Some(pool) = state.runtime.pools.get_mut(slice.tgid) else { return };
    pool.working.retain(|(tid, _)| *tid != slice.tid);
    let (loop_tid, has_queue) = (pool.loop_tid, thread.pooled.at_queue);
    thread.pooled.handed = Handed::default();
    let found = if slice.woken.by_tid == loop_tid {
        let event_loop = state.runtime.threads.get(loop_tid).and_then(|thread| thread.event_loop.as_ref());
        let due_ns = event_loop.and_then(|event_loop| event_loop.timer_of_iteration(woken_ns));
        let task = state.runtime.tasks.that_woke(loop_tid, woken_ns, slice.woken.at_ns > 0);
        thread.pooled.handed = Handed { woken_ns, due_ns, task };
        if let Some(key) = by_task::key(state.view(), slice.tgid, loop_tid, task) {
            by_task::has_resumed(state, key, loop_tid, woken_ns);
        }
        woken_for::woken_for(state.view(), slice.tgid, loop_tid, has_queue, thread.pooled.handed)
    } else {
        None
    };
    if found.is_none()
        && thread.pooled.handed.woken_ns > 0
        && let Some(pool) = state.runtime.pools.get_mut(slice.tgid)
    {
        push_newest(&mut pool.given, MAX_GIVEN, thread.pooled.handed);
    }
    let by_order = found.is_some_and(|(_, by_order)| by_order);
    if let Some(pool) = state.runtime.pools.get_mut(slice.tgid) {
        pool.at_work.retain(|(tid, ..)| *tid != slice.tid);
        match thread.pooled.handed.task {
            Some(task) if pool.at_work.len() < MAX_JOBS => {
                pool.at_work.push((slice.tid, task, slice.exit_ns))
            }
            Some(_) => *state.evicted = state.evicted.saturating_add(1),
            None => {}
        }
        if found.is_none() || by_order {
            pool.open.insert(slice.tid);
        } else {
            pool.open.remove(&slice.tid);
        }
    }
    thread.pooled.woken_for = found.map(|(key, _)| key);
    thread.pooled.woken_by_order = by_order;
    // A thread of a pool that waits with a timeout may report nothing to the loop when it is done. Then its
    // initiator stays unknown.
    let key =
        thread.pooled.woken_for.filter(|_| !matches!(slice.call, Call::FutexWait { has_timeout: true, .. }));
    if let Some(active) = key.and_then(|key| state.wire.connections.active_mut(key)) {
        active.handed_to = Some(HandedTo { tid: slice.tid, begin_ns: slice.exit_ns, by_order });
    }
}

/// The thread that was woken for a request and still works for it: it has written no note since. `task`: the
/// Python task in which the request resumes.
pub(in crate::machine) fn at_work(
    state: RuntimeView<'_>,
    tgid: Tid,
    key: RequestKey,
    task: Option<u64>,
) -> Option<HandedTo> {
    let active = state.wire.connections.active(key).filter(|_| Rule::HandedBack.holds())?;
    let read_ns = active.request.times.service_start_ns?;
    let pool = state.runtime.pools.get(tgid)?;
    let task = task.filter(|_| pool.givers.resume_themselves());
    let given = |(_, by, begin_ns): &&(Tid, u64, u64)| Some(*by) == task && *begin_ns > read_ns;
    if let Some((tid, _, begin_ns)) = pool.at_work.iter().find(given) {
        return Some(HandedTo { tid: *tid, begin_ns: *begin_ns, by_order: false });
    }
    let handed_to = active.handed_to?;
    let thread = state.runtime.threads.get(handed_to.tid)?;
    (thread.pooled.woken_for == Some(key)).then_some(handed_to)
}

#[cfg(test)]
mod tests;
