//! Threads end, or the window does: what is kept of each.
//!
//! In: a thread that is no longer among the others. Out: its totals, its slot and its event loop, each list
//! with a bound; its waits for an interpreter lock, settled.

use crate::bounded::push_if_room;
use crate::event::Tid;
use crate::fact::Account;
use crate::machine::ledger::context::LedgerContext;
use crate::machine::ledger::gil_attribution;
use crate::machine::runtime::thread::Thread;
use crate::model::Thread as ThreadTotal;
use crate::model::slot::{Holding, Slot};

/// Threads that have ended and are still listed.
const MAX_ENDED_THREADS: usize = 4096;
/// Event loops of threads that have ended and are still listed.
const MAX_ENDED_LOOPS: usize = 1024;
/// Slots of threads that have ended and are still listed.
const MAX_ENDED_SLOTS: usize = 16_384;

/// A thread does nothing more: what it did last, up to the end of its last slice, was for the request that it
/// serves. On a loop it may have been for another one, and after a response with an open end for none.
pub(in crate::machine) fn dies(context: &mut LedgerContext<'_>, thread: &mut Thread, tid: Tid) {
    let Some(key) = thread.serving.filter(|_| !thread.is_loop()) else { return };
    let open_end = context.wire.connections.get(key.0).is_some_and(|c| c.outbound.until_turn());
    let Some(active) = context.wire.connections.active_mut(key) else { return };
    if active.owner != Some(tid) || active.response.has_begun && open_end {
        return;
    }
    let own_start_ns = active.cursor_ns;
    let taken = active.advance(thread.time(tid), own_start_ns, context.window_start_ns);
    let became = active.request.lasting();
    thread.hold_for(context.window_start_ns, (taken.from_ns, &taken.phases), became);
}

/// A thread has ended at `until_ns`, or the window did.
pub(in crate::machine) fn end(
    context: &mut LedgerContext<'_>,
    tid: Tid,
    mut thread: Box<Thread>,
    until_ns: u64,
) {
    context.runtime.tasks.forget(tid);
    thread.drain(context.window_start_ns);
    context.locks.end(tid, thread.gil.at_lock.episode.take(), context.window_start_ns);
    gil_attribution::settle(&mut context.gil_context(), &mut thread, tid);
    context.runtime.ended_cpu_ns = context.runtime.ended_cpu_ns.saturating_add(thread.totals.account.cpu_ns);
    let is_loop = end_loop(context, tid, &mut thread, until_ns);
    thread.make_slot_in_flight(context.time);
    if let Some(id) = thread.slot {
        end_slot(context, id, tid, &thread, until_ns);
        if let Some(slot) = context.time.ended_slots.get_mut(&id) {
            slot.is_loop |= is_loop;
        }
    } else {
        let linger_ns = thread.totals.holding_ns.get(Holding::Linger as usize).copied().unwrap_or(0);
        context.time.acceptor_linger_ns = context.time.acceptor_linger_ns.saturating_add(linger_ns);
    }
    if context.runtime.ended_threads.len() < MAX_ENDED_THREADS {
        let Account { cpu_ns, run_queue_ns, blocked_ns } = thread.totals.account;
        let comm = context.world.processes.names.get(&tid).cloned().unwrap_or_default();
        let (slices, requests) = (thread.totals.slices, thread.totals.requests);
        let total = ThreadTotal { tid, comm, slices, cpu_ns, run_queue_ns, blocked_ns, requests };
        context.runtime.ended_threads.push((thread.tgid, total));
    } else {
        context.evict();
    }
}

fn end_slot(context: &mut LedgerContext<'_>, id: u32, tid: Tid, thread: &Thread, until_ns: u64) {
    let tgid = thread.tgid;
    if context.time.ended_slots.len() >= MAX_ENDED_SLOTS && !context.time.ended_slots.contains_key(&id) {
        context.evict();
        return;
    }
    let since_ns = thread.since_ns.max(context.window_start_ns);
    let slot = context.time.ended_slots.entry(id).or_insert(Slot { id, tgid, since_ns, ..Slot::default() });
    (slot.tid, slot.until_ns) = (tid, until_ns);
    slot.requests = slot.requests.saturating_add(thread.totals.requests);
    for (sum_ns, held_ns) in slot.holding_ns.iter_mut().zip(thread.totals.holding_ns) {
        *sum_ns = sum_ns.saturating_add(held_ns);
    }
    context.time.vacant_slots.entry(tgid).or_default().push(id);
}

/// Keeps the event loop of a thread that ends. Returns whether it had one.
fn end_loop(context: &mut LedgerContext<'_>, tid: Tid, thread: &mut Thread, until_ns: u64) -> bool {
    let window_start_ns = context.window_start_ns;
    let ended = thread
        .event_loop
        .take()
        .and_then(|event_loop| event_loop.finish(thread.tgid, tid, until_ns, window_start_ns));
    let Some(ended) = ended else { return false };
    push_if_room(&mut context.runtime.event_loops, MAX_ENDED_LOOPS, ended, context.evicted);
    true
}
