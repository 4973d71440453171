//! Jobs of a pool whose requests another thread reads: which waits of its threads are for the next job, and where a job
//! begins that was taken without a wait.
//!
//! In: the waits of threads with who ended them, their calls on connections. Out: whether a wait is for work; the start of
//! a thread's work on a connection. A thread that hands requests over and wakes another one feeds it: that one waits for
//! its next job when it is woken by the feeder, and within a job when anybody else ends its wait.

use crate::event::{Call, Slice};
use crate::fact::DescriptorClass;
use crate::machine::runtime::state::View;
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::request::{Active, Wants};
use crate::machine::world::classify::{Touch, is_mutex};
use crate::machine::world::waiter::lock_of;

/// A wait in a queue has ended: who ended it may be the one that hands over jobs.
pub(in crate::machine) fn note_feeder(state: View<'_>, thread: &mut Thread, slice: &Slice) {
    let is_wait = matches!(slice.call, Call::FutexWait { .. });
    let waker =
        state.runtime.threads.get(slice.woken.by_tid).filter(|waker| is_wait && waker.signs.hands_over);
    if waker.is_some_and(|waker| waker.tgid == slice.tgid) {
        thread.job.fed_by = Some(slice.woken.by_tid);
    }
}

/// Whether a wait that may be for work is for the next job. Who woke the thread may not have been seen, or nobody has yet.
/// A mutex is what threads queue in that accept for themselves, and those alone.
pub(in crate::machine) fn is_for_next(state: View<'_>, thread: &Thread, slice: &Slice) -> bool {
    // One that nobody was seen to give a job yet may get it from the loop, as others do.
    let of_others = || state.runtime.pools.get(slice.tgid).filter(|pool| pool.answers_elsewhere);
    let of_others = || of_others().map(|pool| pool.loop_tid).filter(|feeder| *feeder != slice.tid);
    let fed_by = thread.job.fed_by.or_else(of_others);
    // Who is handed its jobs by another thread waits for them in a lock; what else it waits for is part of one.
    let Call::FutexWait { operation, .. } = slice.call else { return fed_by.is_none() };
    if is_mutex(operation) && !thread.signs.accepts {
        return false;
    }
    fed_by.is_none_or(|feeder| [0, feeder].contains(&slice.woken.by_tid))
}

/// Whether a response that a thread has begun may be over for it, though not all of it is sent: its end is open, or the
/// client takes no more for now and whoever feeds the thread sends the rest.
pub(in crate::machine) fn may_be_over(thread: &Thread, active: &Active, open_end: bool) -> bool {
    active.response.has_begun
        && (open_end || thread.job.fed_by.is_some() && active.wants == Wants::ClientWrite)
}

/// A thread touches a connection: without a wait for work in between, its work there begins here.
pub(in crate::machine) fn engage(thread: &mut Thread, number: u32, slice: &Slice, touch: Touch) {
    if thread.job.engaged.is_some_and(|engaged| engaged != number) {
        thread.job.work_start_ns = Some(next_start_ns(thread, slice, touch == Touch::Write));
    }
    thread.job.engaged = Some(number);
}

/// Where a thread's work on the request began that it goes on with now.
pub(in crate::machine) fn take_start_ns(thread: &mut Thread, slice: &Slice) -> u64 {
    let writes = matches!(slice.call, Call::Write { .. } | Call::Transfer { .. });
    // It has not waited for work since it began with the one before, which may have been on the same connection.
    thread.job.work_start_ns.take().unwrap_or_else(|| next_start_ns(thread, slice, writes))
}

/// Where the work of a thread begins that has not waited for it. Where it writes first, it was about this request since it
/// was done with the one before: it took the next job without having to wait.
fn next_start_ns(thread: &Thread, slice: &Slice, writes: bool) -> u64 {
    let gap_start_ns = slice.gap_start_ns();
    if writes && thread.job.touched_ns > 0 { thread.job.touched_ns.min(gap_start_ns) } else { gap_start_ns }
}

/// Whether a call may be on its way to a listener.
pub(in crate::machine) const fn may_be_for_listener(slice: &Slice) -> bool {
    matches!(
        slice.call,
        Call::Accept { .. }
            | Call::EpollWait { .. }
            | Call::Poll { .. }
            | Call::Make { class: DescriptorClass::Epoll }
    )
}

/// Whether the call in which a thread was when it was first seen, and after which it made `next`, was a wait for its turn.
pub(in crate::machine) fn was_for_its_turn(system_call: u32, next: &Slice) -> bool {
    may_be_for_listener(next) && i32::try_from(system_call).is_ok_and(|number| lock_of(number).is_some())
}

/// A call on a connection has ended.
pub(in crate::machine) const fn touched(thread: &mut Thread, exit_ns: u64) {
    thread.job.touched_ns = exit_ns;
    thread.job.has_told = false;
}

/// A thread tells another one something: the first time after a connection, that it is done with that.
pub(in crate::machine) const fn tell(thread: &mut Thread, exit_ns: u64) {
    if !thread.job.has_told {
        thread.job.has_told = true;
        thread.job.touched_ns = exit_ns;
    }
}
