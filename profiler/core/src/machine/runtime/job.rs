//! Jobs of a pool whose requests another thread reads. Which waits of its threads are for the next job, and
//! where a job taken without a wait begins.
//!
//! In: the waits of threads with who ended them, their calls on connections. Out: whether a wait is for work;
//! the start of a thread's work on a connection. A thread that offloads requests and wakes another one feeds
//! it. When the feeder wakes the fed thread, that one waited for its next job. When anybody else ends
//! its wait, the wait lies within a job.

use crate::event::{Call, Slice};
use crate::fact::DescriptorClass;
use crate::machine::runtime::state::RuntimeView;
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::request::{Active, Wants};
use crate::machine::world::classify::{Touch, is_mutex};
use crate::machine::world::waiter::lock_of;

/// A wait in a queue has ended. Whoever ended it may be the thread that hands over jobs.
#[inline]
pub(in crate::machine) fn note_feeder(state: RuntimeView<'_>, thread: &mut Thread, slice: &Slice) {
    if !matches!(slice.call, Call::FutexWait { .. }) {
        return;
    }
    let waker = state.runtime.threads.get(slice.woken.by_tid).filter(|waker| waker.signs.hands_over);
    if waker.is_some_and(|waker| waker.tgid == slice.tgid) {
        thread.job.fed_by = Some(slice.woken.by_tid);
    }
}

/// Whether a wait that may be for work is for the next job. Who woke the thread may not have been seen, or
/// nobody has yet. Only threads that accept for themselves queue in a mutex.
pub(in crate::machine) fn is_for_next(state: RuntimeView<'_>, thread: &Thread, slice: &Slice) -> bool {
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

/// Whether a response that a thread has begun may be over for it, though not all of it is sent. That is so if
/// its end is open. It is so, too, if the client takes no more for now and the thread's feeder sends the
/// rest.
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
    // The thread has not waited for work since it began with the job before, which may have been on the same
    // connection.
    thread.job.work_start_ns.take().unwrap_or_else(|| next_start_ns(thread, slice, writes))
}

/// Where the work of a thread begins that has not waited for it. If the thread writes first, it has worked on
/// this request since it finished the one before. It took the next job without having to wait.
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

/// Whether a thread's first seen call was a wait for its turn to accept. `next` is the call that it made
/// after it.
pub(in crate::machine) fn was_for_its_turn(system_call: u32, next: &Slice) -> bool {
    may_be_for_listener(next) && i32::try_from(system_call).is_ok_and(|number| lock_of(number).is_some())
}

/// A call on a connection has ended.
pub(in crate::machine) const fn touched(thread: &mut Thread, exit_ns: u64) {
    thread.job.touched_ns = exit_ns;
    thread.job.has_told = false;
}

/// A thread signals another one. The first signal after a connection means that it is done with that
/// connection.
pub(in crate::machine) const fn tell(thread: &mut Thread, exit_ns: u64) {
    if !thread.job.has_told {
        thread.job.has_told = true;
        thread.job.touched_ns = exit_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Woken;
    use crate::fact::Account;
    use crate::machine::runtime::state::Runtime;
    use crate::machine::wire::request::Beginning;
    use crate::machine::wire::state::Wire;
    use crate::machine::world::state::World;

    const FEEDER: u32 = 5;
    const OTHER: u32 = 6;
    /// `FUTEX_WAIT_BITSET`: a condition variable.
    const IN_QUEUE: u32 = 9;
    const IN_MUTEX: u32 = 0;

    fn wait(operation: u32, by_tid: u32) -> Slice {
        let call = Call::FutexWait { address: 0x10, operation, has_timeout: false };
        Slice { tid: 7, woken: Woken { by_tid, at_ns: 0 }, ..Slice::blank(call) }
    }

    /// A call at 1000, after a gap since 900.
    fn call(call: Call) -> Slice {
        let gap = Account { cpu_ns: 100, ..Account::default() };
        Slice { enter_ns: 1_000, gap, ..Slice::blank(call) }
    }

    #[test]
    fn a_wait_in_a_lock_is_for_the_next_job_where_its_feeder_or_nobody_known_ends_it() {
        for (what, fed_by, operation, by_tid, expected) in [
            ("nobody feeds it", None, IN_QUEUE, OTHER, true),
            ("its feeder woke it", Some(FEEDER), IN_QUEUE, FEEDER, true),
            ("nobody was seen to", Some(FEEDER), IN_QUEUE, 0, true),
            ("somebody else did", Some(FEEDER), IN_QUEUE, OTHER, false),
            ("in a mutex nobody queues for jobs", None, IN_MUTEX, OTHER, false),
        ] {
            let (world, wire, runtime) = (World::default(), Wire::default(), Runtime::default());
            let view = RuntimeView { world: &world, wire: &wire, runtime: &runtime };
            let mut thread = Thread::default();
            thread.job.fed_by = fed_by;
            assert_eq!(is_for_next(view, &thread, &wait(operation, by_tid)), expected, "{what}");
            thread.signs.accepts = true;
            let accepts = expected || operation == IN_MUTEX;
            assert_eq!(is_for_next(view, &thread, &wait(operation, by_tid)), accepts, "{what}, it accepts");
            let sleep = Slice::blank(Call::Sleep);
            assert_eq!(is_for_next(view, &thread, &sleep), fed_by.is_none(), "{what}: in no lock");
        }
    }

    #[test]
    fn where_threads_answer_what_the_loop_reads_the_loop_feeds_them() {
        let (world, wire, mut runtime) = (World::default(), Wire::default(), Runtime::default());
        assert!(runtime.pools.has_loop(1, FEEDER));
        for (what, answers_elsewhere, tid, by_tid, expected) in [
            ("the loop woke it", true, 7, FEEDER, true),
            ("another thread did", true, 7, OTHER, false),
            ("it is the loop itself", true, FEEDER, OTHER, true),
            ("the loop answers", false, 7, OTHER, true),
        ] {
            runtime.pools.get_mut(1).unwrap().answers_elsewhere = answers_elsewhere;
            let view = RuntimeView { world: &world, wire: &wire, runtime: &runtime };
            let slice = Slice { tid, ..wait(IN_QUEUE, by_tid) };
            assert_eq!(is_for_next(view, &Thread::default(), &slice), expected, "{what}");
        }
    }

    #[test]
    fn a_thread_is_fed_by_who_hands_over_and_ends_its_wait() {
        for (what, slice, hands_over, tgid, expected) in [
            ("the one that hands over", wait(IN_QUEUE, FEEDER), true, 1, Some(FEEDER)),
            ("one that does not", wait(IN_QUEUE, FEEDER), false, 1, None),
            ("one of another process", wait(IN_QUEUE, FEEDER), true, 2, None),
            ("one that is not known", wait(IN_QUEUE, OTHER), true, 1, None),
            (
                "it did not wait",
                Slice { woken: Woken { by_tid: FEEDER, at_ns: 0 }, ..call(Call::Sleep) },
                true,
                1,
                None,
            ),
        ] {
            let (world, wire, mut runtime) = (World::default(), Wire::default(), Runtime::default());
            let mut feeder = Thread { tgid, ..Thread::default() };
            feeder.signs.hands_over = hands_over;
            runtime.threads.put(FEEDER, Box::new(feeder));
            let mut thread = Thread { tgid: 1, ..Thread::default() };
            note_feeder(RuntimeView { world: &world, wire: &wire, runtime: &runtime }, &mut thread, &slice);
            assert_eq!(thread.job.fed_by, expected, "{what}");
        }
    }

    #[test]
    fn a_response_may_be_over_for_its_thread_where_its_end_is_open_or_its_feeder_sends_the_rest() {
        for (what, has_begun, open_end, fed_by, wants, expected) in [
            ("its end is open", true, true, None, Wants::Unknown, true),
            ("it has not begun", false, true, Some(FEEDER), Wants::ClientWrite, false),
            ("its end is known", true, false, None, Wants::ClientWrite, false),
            ("the feeder sends the rest", true, false, Some(FEEDER), Wants::ClientWrite, true),
            ("the client takes all", true, false, Some(FEEDER), Wants::Unknown, false),
        ] {
            let mut thread = Thread::default();
            thread.job.fed_by = fed_by;
            let mut active = Active::new(&Beginning::at(1, 100), 1, 7);
            (active.response.has_begun, active.wants) = (has_begun, wants);
            assert_eq!(may_be_over(&thread, &active, open_end), expected, "{what}");
        }
    }

    #[test]
    fn a_thread_that_turns_to_another_connection_without_a_wait_begins_there() {
        let (read, write) = (Call::Read { fd: 9, asked_bytes: 1, arrival_ns: 0 }, Call::Write { fd: 9 });
        for (what, engaged, touched_ns, made, touch, expected) in [
            ("it was at none", None, 800, read, Touch::Read, None),
            ("it stays at the same", Some(3), 800, read, Touch::Read, None),
            ("it reads from another", Some(4), 800, read, Touch::Read, Some(900)),
            ("it writes to another", Some(4), 800, write, Touch::Write, Some(800)),
            ("it touched one in the gap", Some(4), 950, write, Touch::Write, Some(900)),
            ("it touched none before", Some(4), 0, write, Touch::Write, Some(900)),
        ] {
            let mut thread = Thread::default();
            (thread.job.engaged, thread.job.touched_ns) = (engaged, touched_ns);
            engage(&mut thread, 3, &call(made), touch);
            assert_eq!((thread.job.engaged, thread.job.work_start_ns), (Some(3), expected), "{what}");
        }
    }

    #[test]
    fn the_work_of_a_thread_begins_with_its_job_or_with_the_end_of_the_one_before() {
        let transfer = Call::Transfer { from_fd: 3, to_fd: 9 };
        for (what, work_start_ns, touched_ns, made, expected) in [
            ("its wait ended then", Some(700), 800, Call::Write { fd: 9 }, 700),
            ("it writes after another job", None, 800, Call::Write { fd: 9 }, 800),
            ("it sends a file after another job", None, 800, transfer, 800),
            ("it does anything else after another job", None, 800, Call::Sleep, 900),
            ("it had no job before", None, 0, Call::Write { fd: 9 }, 900),
        ] {
            let mut thread = Thread::default();
            (thread.job.work_start_ns, thread.job.touched_ns) = (work_start_ns, touched_ns);
            assert_eq!(take_start_ns(&mut thread, &call(made)), expected, "{what}");
            assert_eq!(thread.job.work_start_ns, None, "{what}: it holds for one request");
        }
    }

    #[test]
    fn the_first_signal_after_a_connection_ends_the_work_there() {
        let mut thread = Thread::default();
        touched(&mut thread, 100);
        for (at_ns, expected) in [(200, 200), (300, 200)] {
            tell(&mut thread, at_ns);
            assert_eq!(thread.job.touched_ns, expected);
        }
        touched(&mut thread, 400);
        tell(&mut thread, 500);
        assert_eq!(thread.job.touched_ns, 500);
    }

    #[test]
    fn a_wait_in_a_lock_of_processes_was_for_its_turn_where_the_thread_then_goes_to_a_listener() {
        let poll = Call::Poll { only_fd: Some(3), low_fds: 0, for_write: false, is_sleep: false };
        const FLOCK: u32 = 73;
        for (what, system_call, next, expected) in [
            ("it accepts", FLOCK, Call::Accept { listener_fd: 3 }, true),
            ("it waits for the listener", FLOCK, Call::EpollWait { epoll_fd: 4, timeout_ms: -1 }, true),
            ("it waits by poll", FLOCK, poll, true),
            ("it makes what it waits with", FLOCK, Call::Make { class: DescriptorClass::Epoll }, true),
            ("it makes something else", FLOCK, Call::Make { class: DescriptorClass::Listener }, false),
            ("it reads", FLOCK, Call::Read { fd: 9, asked_bytes: 1, arrival_ns: 0 }, false),
            ("it was in no lock", 0, Call::Accept { listener_fd: 3 }, false),
            ("it was in no call", u32::MAX, Call::Accept { listener_fd: 3 }, false),
        ] {
            assert_eq!(was_for_its_turn(system_call, &call(next)), expected, "{what}");
        }
    }
}
