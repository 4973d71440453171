//! Requests that a loop has handed to its threads and that nobody has answered as the window ends.
//!
//! In: requests that a thread has read and left, threads that it feeds and that are at work. Out: the
//! requests have their threads' time, or wait for a thread.
//!
//! A thread of such a pool touches no connection before it answers. But it takes the jobs in their order: one
//! that began to work has the oldest request that nobody had then.

use crate::event::Tid;
use crate::machine::ledger::context::LedgerContext;
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::request::RequestKey;
use crate::phase::Phase;

/// A request that was read and left.
#[derive(Clone, Copy, Debug)]
struct HandedOn {
    key: RequestKey,
    read_ns: u64,
    /// Who read it.
    by: Tid,
}

/// The window ends at `end_ns`, and what threads are in the middle of is known.
pub(in crate::machine) fn settle(context: &mut LedgerContext<'_>, end_ns: u64) {
    let mut waiting = handed_on(context);
    if waiting.is_empty() {
        return;
    }
    waiting.sort_unstable_by_key(|request| (request.read_ns, request.key.1));
    let mut at_work: Vec<(u64, Tid, Tid)> = Vec::new();
    let mut has_free: Vec<Tid> = Vec::new();
    for tid in context.runtime.threads.tids().collect::<Vec<_>>() {
        let Some(thread) = context.runtime.threads.get(tid) else { continue };
        let Some(feeder) = thread.job.fed_by.filter(|_| serves_jobs(thread)) else { continue };
        match began_ns(thread) {
            Some(began_ns) => at_work.push((began_ns, tid, feeder)),
            None => has_free.push(feeder),
        }
    }
    at_work.sort_unstable();
    for (began_ns, tid, feeder) in &at_work {
        let is_its = |request: &HandedOn| request.by == *feeder && request.read_ns <= *began_ns;
        if let Some(place) = waiting.iter().position(is_its) {
            let request = waiting.remove(place);
            serve(context, request.key, *tid, *began_ns);
        }
    }
    for request in waiting {
        let has_pool = at_work.iter().any(|(_, _, feeder)| *feeder == request.by);
        if has_pool
            && !has_free.contains(&request.by)
            && let Some(active) = context.wire.connections.active_mut(request.key)
        {
            active.pass(end_ns, Phase::PoolWait);
        }
    }
}

/// Requests whose answer has not begun, and that the thread which read them has left.
fn handed_on(context: &LedgerContext<'_>) -> Vec<HandedOn> {
    let connections = &context.wire.connections;
    let of = |number: u32| {
        let active = connections.front(number).filter(|active| !active.response.has_begun)?;
        let by = active.left_by.filter(|_| active.owner.is_none())?;
        let hands_over = context.runtime.threads.get(by).is_some_and(|thread| thread.signs.hands_over);
        let read_ns = active.request.times.service_start_ns.filter(|_| hands_over)?;
        Some(HandedOn { key: (number, active.request.id), read_ns, by })
    };
    connections.numbers().filter_map(of).collect()
}

/// Whether a thread answers what another one reads.
const fn serves_jobs(thread: &Thread) -> bool {
    thread.slot.is_some() && thread.event_loop.is_none() && !thread.signs.accepts && !thread.signs.reads
}

/// Since when a thread has been at work, for a request that is not known (0: for one that is); `None`: it
/// waits for work.
fn began_ns(thread: &Thread) -> Option<u64> {
    if thread.serving.is_some() {
        return Some(0);
    }
    thread.pending.start_ns()?;
    Some(thread.job.work_start_ns.unwrap_or(thread.job.touched_ns))
}

/// A request has a thread, which has worked for it since `began_ns`.
fn serve(context: &mut LedgerContext<'_>, key: RequestKey, tid: Tid, began_ns: u64) {
    let window_start_ns = context.window_start_ns;
    let (Some(active), Some(thread)) =
        (context.wire.connections.active_mut(key), context.runtime.threads.get_mut(tid))
    else {
        return;
    };
    active.part();
    let taken = active.advance(thread.time(tid), began_ns, window_start_ns);
    active.request.slot = thread.slot.or(active.request.slot);
    thread.serving = Some(key);
    thread.hold_for_request(window_start_ns, taken.from_ns, &taken.phases);
}
