//! Jobs of a pool whose requests another thread reads. Which waits of its threads are for the next job, and where a job taken without a wait begins.
//!
//! In: the waits of threads with who ended them, their calls on connections. Out: whether a wait is for work; the start of a thread's work on a connection. A
//! thread that offloads requests and wakes another one feeds it. When the feeder wakes the fed thread, that one waited for its next job. When anybody else ends
//! its wait, the wait lies within a job.

use crate::event::{Call, Slice};
use crate::fact::DescriptorClass;
use crate::machine::runtime::state::View;
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::request::{Active, Wants};
use crate::machine::world::classify::{Touch, is_mutex};
use crate::machine::world::waiter::lock_of;

/// A wait in a queue has ended. Whoever ended it may be the thread that hands over jobs.
pub(in crate::machine) fn note_feeder(state: View<'_>, thread: &mut Thread, slice: &Slice) {
    let is_wait = matches!(slice.call, Call::FutexWait { .. });
    let waker =
        state.runtime.threads.get(slice.woken.by_tid).filter(|waker| is_wait && waker.signs.hands_over);
    if waker.is_some_and(|waker| waker.tgid == slice.tgid) {
        thread.job.fed_by = Some(slice.woken.by_tid);
    }
}

/// Whether a wait that may be for work is for the next job. Who woke the thread may not have been seen, or nobody has yet. Only threads that accept for
/// themselves queue in a mutex.
pub(in crate::machine) fn is_for_next(state: View<'_>, thread: &Thread, slice: &Slice) -> bool {
    // A thread that nobody was seen to feed may get its job from the loop, as others do.
    let of_others = || state.runtime.pools.get(slice.tgid).filter(|pool| pool.answers_elsewhere);
    let of_others = || of_others().map(|pool| pool.loop_tid).filter(|feeder| *feeder != slice.tid);
    let fed_by = thread.job.fed_by.or_else(of_others);
    // A thread that another one feeds waits for its jobs in a lock. What else it waits for is part of a job.
    let Call::FutexWait { operation, .. } = slice.call else { return fed_by.is_none() };
    if is_mutex(operation) && !thread.signs.accepts {
        return false;
    }
    fed_by.is_none_or(|feeder| [0, feeder].contains(&slice.woken.by_tid))
}

/// Whether a response that a thread has begun may be over for it, though not all of it is sent. That is so if its end is open. It is so, too, if the client
/// takes no more for now and the thread's feeder sends the rest.
pub(in crate::machine) fn may_be_over(thread: &Thread, active: &Active, open_end: bool) -> bool {
    active.response.has_begun
        && (open_end || thread.job.fed_by.is_some() && active.wants == Wants::ClientWrite)
}

/// A thread touches a connection. Without a wait for work in between, its work there begins here.
pub(in crate::machine) fn engage(thread: &mut Thread, number: u32, slice: &Slice, touch: Touch) {
    if thread.job.engaged.is_some_and(|engaged| engaged != number) {
        thread.job.work_start_ns = Some(next_start_ns(thread, slice, touch == Touch::Write));
    }
    thread.job.engaged = Some(number);
}

/// Where a thread's work began on the request that it resumes now.
pub(in crate::machine) fn take_start_ns(thread: &mut Thread, slice: &Slice) -> u64 {
    let writes = matches!(slice.call, Call::Write { .. } | Call::Transfer { .. });
    // It has not waited for work since it began with the job before, which may have been on the same connection.
    thread.job.work_start_ns.take().unwrap_or_else(|| next_start_ns(thread, slice, writes))
}

/// Where the work of a thread begins that has not waited for it. If the thread writes first, it has worked on this request since it finished the one before. It
/// took the next job without having to wait.
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

/// Whether a thread's first seen call was a wait for its turn to accept. `next` is the call that it made after it.
pub(in crate::machine) fn was_for_its_turn(system_call: u32, next: &Slice) -> bool {
    may_be_for_listener(next) && i32::try_from(system_call).is_ok_and(|number| lock_of(number).is_some())
}

/// A call on a connection has ended.
pub(in crate::machine) const fn touched(thread: &mut Thread, exit_ns: u64) {
    thread.job.touched_ns = exit_ns;
    thread.job.has_told = false;
}

/// A thread signals another one. The first signal after a connection means that it is done with that connection.
pub(in crate::machine) const fn tell(thread: &mut Thread, exit_ns: u64) {
    if !thread.job.has_told {
        thread.job.has_told = true;
        thread.job.touched_ns = exit_ns;
    }
}
