//! Slots in light mode: the threads that take requests, and what holds them.
//!
//! In: messages with what their threads did before, for their requests and beside them. Out: slots, and when
//! each was busy. A thread is busy while it does not wait for something to do: while it serves no request,
//! for a lock, for one of several descriptors, or for a connection. Which thread a request holds is known
//! where one thread reads and answers it.

use profiler_common::record::RecordHeader;
use profiler_common::record::sleep::SleepRecord;
use profiler_common::record::slice::NO_CALL;

use crate::decode;
use crate::event::Slept;
use crate::fact::OpenSlice;
use crate::machine::ledger::context::LedgerContext;
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::threads::Threads;
use crate::machine::time::piece::hold;
use crate::machine::time::sleeps::{OffRequest, Sleeping, Sleeps};
use crate::machine::time::state::Time;
use crate::machine::wire::state::Wire;
use crate::model::lasting::Became;
use crate::model::slot::Holding;
use crate::phase::Phases;

/// What a thread did up to a message.
pub(super) struct Worked<'a> {
    /// Its sleeps since the message before.
    pub(super) sleeping: &'a Sleeping,
    /// Since when that is: the message before, or where the thread was first seen.
    pub(super) from_ns: u64,
    /// How long it slept.
    pub(super) blocked_ns: u64,
    /// It is the thread's first message.
    pub(super) is_first: bool,
    /// The socket, and whether something was asked on it before this message.
    pub(super) on: (u64, bool),
    /// When the message's request began: who waited for it then was held by it from then on.
    pub(super) begun_ns: u64,
    /// For the message's request: since when, and what.
    pub(super) for_request: Option<(u64, Phases)>,
    /// What the connection had become before the message.
    pub(super) became: Option<Became>,
    /// The message.
    pub(super) at_ns: u64,
}

/// A thread has moved a message: what it did since the one before held it. With a part for a request it is a
/// slot.
pub(super) fn worked(context: &mut LedgerContext<'_>, thread: &mut Thread, worked: &Worked<'_>) {
    let LedgerContext { time, wire, window_start_ns, .. } = context;
    let until_ns = worked.for_request.as_ref().map_or(worked.at_ns, |(since_ns, _)| *since_ns);
    let mut from_ns = worked.from_ns;
    if worked.is_first {
        if worked.sleeping.asleep_ns() < worked.blocked_ns {
            // It was asleep as it was first seen, in what is not known.
            from_ns = worked.sleeping.first_ns().unwrap_or(until_ns).min(until_ns);
        }
        thread.busy_since_ns = Some(from_ns);
    }
    if worked.for_request.is_some() {
        thread.make_slot(time);
    }
    let (socket, had_asked) = worked.on;
    let waits_for = |of: u64| match of == socket {
        true => (had_asked, worked.begun_ns),
        false => (wire.light.has_asked(of), u64::MAX),
    };
    let from_ns = had_lasted(thread, *window_start_ns, (from_ns, until_ns));
    beside((time, *window_start_ns), thread, (worked.sleeping, from_ns, until_ns), waits_for);
    if let Some((since_ns, phases)) = &worked.for_request {
        thread.hold_for(*window_start_ns, (*since_ns, phases), worked.became);
    }
    if let Some(active) = wire.light.open.get_mut(&socket).and_then(|socket| socket.active.as_mut()) {
        active.request.slot = thread.slot.or(active.request.slot);
    }
}

/// What a thread did for a request that it has not answered as the window ends.
pub(super) fn works(
    thread: Option<&mut Thread>,
    window_start_ns: u64,
    for_request: Option<(u64, Phases)>,
    became: Option<Became>,
) {
    if let (Some((since_ns, phases)), Some(thread)) = (for_request, thread) {
        thread.hold_for(window_start_ns, (since_ns, &phases), became);
    }
}

/// What a thread served since its last message may have been no request any more, and is over. Returns since
/// when it did something else.
fn had_lasted(thread: &mut Thread, window_start_ns: u64, (from_ns, until_ns): (u64, u64)) -> u64 {
    let Some(lasted) = thread.job.lasted.take().filter(|lasted| lasted.until_ns > from_ns) else {
        return from_ns;
    };
    let lasted_until_ns = lasted.until_ns.min(until_ns);
    if thread.slot.is_some() {
        let held = &mut thread.totals.holding_ns;
        hold(held, lasted.became.holding(), from_ns.max(window_start_ns), lasted_until_ns);
    }
    lasted_until_ns
}

/// What a thread did beside requests between these times. `waits_for` says two things of a client's socket on
/// which the thread waited: whether any request had come there, and when the request began for which it
/// waited.
fn beside(
    (time, window_start_ns): (&mut Time, u64),
    thread: &mut Thread,
    (sleeping, from_ns, until_ns): (&Sleeping, u64, u64),
    waits_for: impl Fn(u64) -> (bool, u64),
) {
    for (start_ns, end_ns, beside) in sleeping.beside(from_ns, until_ns) {
        let mut begun_ns = u64::MAX;
        let holding = match beside {
            OffRequest::Free => {
                thread.was_busy(time, start_ns, window_start_ns);
                thread.busy_since_ns = Some(end_ns);
                continue;
            }
            OffRequest::Client(_, true) => Holding::Linger,
            OffRequest::Client(socket, false) => {
                let (has_asked, request_ns) = waits_for(socket);
                begun_ns = request_ns;
                if has_asked { Holding::KeepaliveIdle } else { Holding::FirstByte }
            }
            OffRequest::ClientWrite => Holding::ClientWriteStall,
            OffRequest::Work => Holding::Housekeeping,
        };
        // Who is no slot is not counted as busy.
        if thread.slot.is_some() {
            let held = &mut thread.totals.holding_ns;
            let start_ns = start_ns.max(window_start_ns);
            let begun_ns = begun_ns.min(end_ns).max(start_ns);
            hold(held, holding, start_ns, begun_ns);
            hold(held, Holding::Request, begun_ns, end_ns);
        }
    }
}

/// A thread ends at `at_ns`, or the window does: what it did since its last message.
pub(super) fn ends(context: &mut LedgerContext<'_>, thread: &mut Thread, sleeping: &Sleeping, at_ns: u64) {
    let LedgerContext { time, wire, window_start_ns, .. } = context;
    // What it did for a request that it has not answered is taken with that request.
    if thread.row.has_begun && !serves_unanswered(wire, thread) {
        let from_ns = had_lasted(thread, *window_start_ns, (thread.row.last_exit_ns, at_ns));
        let stretch = (sleeping, from_ns, at_ns);
        let waits_for = |socket| (wire.light.has_asked(socket), u64::MAX);
        beside((time, *window_start_ns), thread, stretch, waits_for);
    }
}

fn serves_unanswered(wire: &Wire, thread: &Thread) -> bool {
    let serves = thread.serving.zip(thread.job.light_socket);
    serves.is_some_and(|((_, id), socket)| wire.light.is_unanswered(socket, id))
}

/// A thread ends at `at_ns` with a request that it has not answered: that held it since its last message.
/// What for is not known any more.
pub(super) fn dies(wire: &Wire, thread: &mut Thread, (window_start_ns, at_ns): (u64, u64)) {
    if thread.row.has_begun && serves_unanswered(wire, thread) {
        let since_ns = thread.row.last_exit_ns.max(window_start_ns);
        hold(&mut thread.totals.holding_ns, Holding::Request, since_ns, at_ns);
    }
}

/// The sleep that a thread was in as the window ended. It is as long as the thread's account has more of
/// sleep than all its known sleeps together. `None`: the thread was awake, or that cannot be told.
pub(super) fn under_way(threads: &Threads, sleeps: &Sleeps, open: &OpenSlice, end_ns: u64) -> Option<Slept> {
    let row = threads.get(open.tid)?.row;
    let known_ns = sleeps.asleep_ns(open.tid, open.sequence);
    let asleep_ns = open.gap.blocked_ns.checked_sub(known_ns).filter(|asleep_ns| *asleep_ns > 0)?;
    if open.system_call.is_some() || open.gap_blocked_call == NO_CALL || row.sequence != open.sequence {
        return None;
    }
    let header = RecordHeader { tgid: open.tgid, tid: open.tid, time_ns: end_ns, ..RecordHeader::default() };
    decode::slept(&SleepRecord {
        header,
        start_ns: end_ns.saturating_sub(asleep_ns),
        woken_ns: end_ns,
        cpu_ns: open.gap.cpu_ns,
        detail: open.detail,
        system_call: open.gap_blocked_call,
        sequence: open.sequence,
    })
    .ok()
}

#[cfg(test)]
mod tests;
