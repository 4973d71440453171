//! Threads prove to be slots, and wait for their turn to accept.
//!
//! In: reads and writes of threads on connections, waits before they accept. Out: slots; time that was a wait
//! for work.

use profiler_common::record::slice::FLAG_GAP_BLOCKED_MIXED;

use crate::event::{Call, Slice, Tid};
use crate::fact::DescriptorClass;
use crate::machine::ledger::context::LedgerContext;
use crate::machine::runtime::job::may_be_for_listener;
use crate::machine::runtime::thread::Thread;
use crate::machine::time::piece::Piece;
use crate::machine::time::state::Time;
use crate::machine::wire::connection::Connection;
use crate::machine::world::classify::{Idle, Touch, is_mutex};
use crate::machine::world::waiter::lock_of;

/// A thread that accepts for itself may sleep right before it goes to the listener, in a lock that it shares
/// with other processes. That is a wait for its turn, and so for work. What is left of the gap begins where
/// the sleep ended. (A slice without a call is that of a thread which the window's end found there.)
#[inline]
pub(in crate::machine) fn waited_for_its_turn(
    time: (&mut Time, u64),
    thread: &mut Thread,
    slice: &Slice,
    accepts: bool,
    gap: &mut Piece,
) {
    // Most sleep in no lock before a call.
    if accepts && lock_of(slice.in_gap.blocked_call).is_some() {
        slept_in_lock(time, thread, slice, gap);
    }
}

fn slept_in_lock(
    (time, window_start_ns): (&mut Time, u64),
    thread: &mut Thread,
    slice: &Slice,
    gap: &mut Piece,
) {
    let goes_to_listener = may_be_for_listener(slice) || slice.system_call == u32::MAX;
    let slept_ns = gap.account.blocked_ns.saturating_sub(gap.fault_ns);
    if !goes_to_listener
        || thread.serving.is_some()
        || slice.flags & FLAG_GAP_BLOCKED_MIXED != 0
        || gap.undecided_ns > 0
        || slept_ns == 0
    {
        return;
    }
    thread.drain(window_start_ns);
    thread.was_busy(time, gap.start_ns, window_start_ns);
    gap.start_ns = gap.start_ns.saturating_add(slept_ns).min(gap.end_ns);
    gap.account.blocked_ns = gap.account.blocked_ns.saturating_sub(slept_ns);
    thread.busy_since_ns = Some(gap.start_ns);
    thread.job.work_start_ns = Some(gap.start_ns);
    thread.job.engaged = None;
}

/// A call is no wait for work. It may be one in a mutex, of a thread that was not seen to accept yet: what
/// comes next shows whether that was for its turn. `idle`: whether such calls wait for work.
pub(in crate::machine) fn note_mutex(thread: &mut Thread, slice: &Slice, idle: Idle) {
    match slice.call {
        Call::FutexWait { operation, .. }
            if idle == Idle::UnlessServing
                && is_mutex(operation)
                && !thread.signs.accepts
                && thread.serving.is_none()
                && !thread.is_loop() =>
        {
            let since_ns = thread.job.in_mutex.map_or(slice.enter_ns, |(since_ns, _)| since_ns);
            thread.job.in_mutex = Some((since_ns, slice.exit_ns));
        }
        // Some make what they wait with.
        Call::EpollControl { .. } | Call::Make { class: DescriptorClass::Epoll } => {}
        _ => thread.job.in_mutex = None,
    }
}

/// A thread waits for work. If that is for a listener, what it waited in a mutex right before was for its
/// turn, and no work of its own.
pub(in crate::machine) fn waited_in_mutex(
    (time, window_start_ns): (&mut Time, u64),
    thread: &mut Thread,
    for_listener: bool,
) {
    if let Some((since_ns, until_ns)) = thread.job.in_mutex.take().filter(|_| for_listener) {
        thread.pending.hold_by(None, (since_ns, until_ns));
        thread.was_busy(time, since_ns, window_start_ns);
        thread.busy_since_ns = Some(until_ns);
    }
}

/// A thread that waits for this one client's request bytes is a slot. A thread that only takes what is there
/// may be a loop that offloads requests. It is a slot once it answers.
pub(in crate::machine) fn make_slot_of_reader(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    number: u32,
    slice: &Slice,
    touch: Touch,
) {
    let waits = matches!(touch, Touch::Read | Touch::WaitReadable) && slice.inside.blocked_ns > 0;
    if waits && context.wire.connections.get(number).is_some_and(Connection::expects_request) {
        thread.make_slot(context.time);
    }
}

/// Whoever begins the answer to a request has worked on it. If another thread read the request, that thread
/// hands over its jobs.
pub(in crate::machine) fn make_slot_of_answerer(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    number: u32,
    tid: Tid,
) {
    let front = context.wire.connections.front(number);
    let Some(active) = front.filter(|active| !active.response.has_begun) else { return };
    // If the reader has been in the same wait ever since, it is not yet known to have left the request.
    let reader = active.left_by.or(active.owner).filter(|reader| *reader != tid);
    thread.job.fed_by = reader.or(thread.job.fed_by);
    if let Some(reader) = reader.and_then(|reader| context.runtime.threads.get_mut(reader)) {
        reader.signs.hands_over = true;
    }
    if let Some(pool) =
        context.runtime.pools.get_mut(thread.tgid).filter(|pool| Some(pool.loop_tid) == reader)
    {
        pool.answers_elsewhere = true;
    }
    thread.make_slot(context.time);
}

#[cfg(test)]
mod tests {
    use profiler_common::record::slice::Undecided;

    use super::*;
    use crate::fact::Account;

    const FLOCK: i32 = 73;

    /// An accept at 200, after a gap since 100 in which the thread slept for 60 ns in a lock.
    fn accept() -> Slice {
        let gap = Account { cpu_ns: 40, blocked_ns: 60, ..Account::default() };
        let mut slice = Slice { enter_ns: 200, gap, ..Slice::blank(Call::Accept { listener_fd: 3 }) };
        slice.in_gap.blocked_call = FLOCK;
        slice
    }

    /// A thread that accepts, and is engaged with a connection.
    fn acceptor() -> Thread {
        let mut thread = Thread::default();
        thread.signs.accepts = true;
        thread.job.engaged = Some(4);
        thread
    }

    type SetUp = fn(&mut Slice, &mut Thread);
    /// What it is, what is particular, and from where on the gap is the thread's own, with how much sleep.
    /// `None`: all of it is.
    type Case = (&'static str, SetUp, Option<(u64, u64)>);

    #[test]
    fn who_slept_in_a_lock_on_its_way_to_the_listener_waited_for_its_turn() {
        let turn = Some((160, 0));
        let cases: [Case; 11] = [
            ("it did", |_, _| {}, turn),
            (
                "the window's end found it there",
                |slice, _| (slice.call, slice.system_call) = (Call::Other, u32::MAX),
                turn,
            ),
            ("a part of it was missing memory", |slice, _| slice.in_gap.fault_ns = 20, Some((140, 20))),
            ("all of it was", |slice, _| slice.in_gap.fault_ns = 60, None),
            ("it goes elsewhere", |slice, _| slice.call = Call::Sleep, None),
            ("it accepts nothing", |_, thread| thread.signs.accepts = false, None),
            ("it serves a request", |_, thread| thread.serving = Some((4, 1)), None),
            ("it slept in several calls", |slice, _| slice.flags = FLAG_GAP_BLOCKED_MIXED, None),
            (
                "it may have had a CPU",
                |slice, _| slice.undecided = Undecided { call_ns: 0, gap_ns: 16 },
                None,
            ),
            ("it slept in another call", |slice, _| slice.in_gap.blocked_call = 35, None),
            ("it did not sleep", |slice, _| slice.gap = Account { cpu_ns: 100, ..Account::default() }, None),
        ];
        for (what, set_up, expected) in cases {
            let (mut slice, mut thread) = (accept(), acceptor());
            set_up(&mut slice, &mut thread);
            let before = Piece::gap(&slice);
            let mut gap = before;
            let accepts = thread.signs.accepts;
            waited_for_its_turn((&mut Time::default(), 0), &mut thread, &slice, accepts, &mut gap);
            let Some((start_ns, blocked_ns)) = expected else {
                assert_eq!((gap, thread.job.work_start_ns), (before, None), "{what}");
                continue;
            };
            assert_eq!(
                (gap.start_ns, gap.end_ns, gap.account.blocked_ns),
                (start_ns, 200, blocked_ns),
                "{what}"
            );
            assert_eq!(
                (thread.busy_since_ns, thread.job.work_start_ns),
                (Some(start_ns), Some(start_ns)),
                "{what}"
            );
            assert_eq!(thread.job.engaged, None, "{what}");
        }
    }
}
