//! The order in which all that happens to a slice.
//!
//! In: waits and work of a thread. Out: assertions on when it is busy, on its slot, and on what is over.

use super::*;
use crate::fact::ProcessSeen;
use crate::machine::join::topology::Topology;
use crate::machine::runtime::event_loop::EventLoop;
use crate::model::slot::Holding;
use crate::timeline::ThreadState;
use profiler_common::system_call::IO_URING_SETUP;

const WAIT: Call = Call::FutexWait { address: 16, operation: 9, has_timeout: false };
const SELECT: Call = poll_of(LISTENER);

pub(super) const fn poll_of(fd: i32) -> Call {
    Call::Poll { only_fd: Some(fd), low_fds: 0, for_write: false, is_sleep: false }
}

/// The call sleeps.
fn asleep(call: Call, times: Times, by_tid: Tid) -> Slice {
    let mut slice = slice(call, times, 0);
    slice.inside = Account { blocked_ns: times.2 - times.1, ..Account::default() };
    slice.woken.by_tid = by_tid;
    slice
}

#[test]
fn a_wait_for_work_ends_a_job_and_another_wait_is_part_of_it() {
    // What happened up to 160, the wait from 180 to 250, when the next job begins, and the requests that are
    // over.
    let answered: SetUp = |run| {
        run.reads_request();
        run.moves(Call::Write { fd: CLIENT }, (130, 150, 160), OK5);
    };
    let chunked: SetUp = |run| {
        run.reads_request();
        run.moves(Call::Write { fd: CLIENT }, (130, 150, 160), CHUNKED);
    };
    let unanswered: SetUp = |run| {
        run.reads_request();
        run.call(Call::Other, (130, 150, 160), 0);
    };
    for (what, set_up, wait, work_start_ns, over) in [
        ("for a connection", answered, SELECT, Some(250), 1),
        ("for a job", answered, WAIT, Some(250), 1),
        ("for a lock within a request", unanswered, WAIT, None, 0),
        ("for a connection, within a request", unanswered, SELECT, Some(250), 0),
        ("for a connection, after an answer without a known end", chunked, SELECT, Some(250), 1),
        // The wait may be the interpreter's in the middle of the answer.
        ("for a job, after an answer without a known end", chunked, WAIT, Some(250), 0),
        ("a sleep", answered, Call::Sleep, None, 1),
    ] {
        let mut run = Run::new(1);
        let set_up: SetUp = set_up;
        set_up(&mut run);
        run.take(&asleep(wait, (160, 180, 250), 0));
        assert_eq!(run.thread().job.work_start_ns, work_start_ns, "{what}");
        assert_eq!(run.requests().len(), over, "{what}");
        let busy_ns = run.thread().busy_since_ns;
        assert_eq!(busy_ns, Some(work_start_ns.unwrap_or(100)), "{what}");
        let engaged = run.thread().job.engaged;
        assert_eq!(engaged, if work_start_ns.is_some() { None } else { Some(0) }, "{what}");
        let slept = run.thread().pending.start_ns().is_some();
        assert_eq!(
            slept,
            work_start_ns.is_none() || over == 0 && wait == WAIT,
            "{what}: what it did is kept"
        );
    }
}

#[test]
fn a_slot_is_busy_from_one_wait_for_work_to_the_next() {
    for (what, slot, expected) in [("a slot", Some(0), 80 + 30), ("none", None, 0)] {
        let mut run = Run::new(1);
        run.call(Call::Other, (100, 120, 130), 0);
        run.thread().slot = slot;
        run.take(&asleep(SELECT, (130, 180, 250), 0));
        run.call(Call::Other, (250, 260, 270), 0);
        run.take(&asleep(SELECT, (270, 280, 400), 0));
        let Run { state, entries, .. } = &mut run;
        state.settle(Some(400), &mut |entry| entries.push(entry));
        assert_eq!(run.state.time.busy.at_least_ns(1), expected, "{what}");
    }
}

#[test]
fn a_thread_that_sleeps_for_a_request_is_a_slot() {
    for (what, has_read, call, expected) in [
        ("it sleeps", true, Call::Sleep, true),
        ("it waits for a back end", true, Call::Connect { fd: 30, port: 5432, family: 2, identity: 0 }, true),
        ("it waits for a lock", true, WAIT, false),
        ("it sleeps for nobody", false, Call::Sleep, false),
    ] {
        let mut run = Run::new(1);
        if has_read {
            run.reads_request();
        }
        run.take(&asleep(call, (130, 150, 250), 0));
        assert_eq!(run.thread().slot.is_some(), expected, "{what}");
    }
}

/// How long threads have waited for those that they made.
fn waited_ns(run: &Run) -> u64 {
    let summary = run.state.product.summary.clone();
    summary.finish(0, Default::default(), (0, 1000)).0.helper_wait_ns
}

#[test]
fn waits_for_threads_of_its_own_are_told_when_a_job_is_over() {
    for (what, helper, waker, blocked, expected) in [
        ("its own ended the wait", Some(5), 5, WAIT, 100),
        ("another did", Some(5), 6, WAIT, 0),
        ("it has none", None, 5, WAIT, 0),
        ("it slept for something else", Some(5), 5, Call::Sleep, 0),
    ] {
        let mut run = Run::new(1);
        run.reads_request();
        if let Some(tid) = helper {
            assert!(run.thread().helpers.start(tid));
        }
        run.take(&asleep(blocked, (130, 150, 250), waker));
        assert_eq!(waited_ns(&run), 0, "{what}: the job is not over");
        run.take(&asleep(SELECT, (250, 260, 300), 0));
        assert_eq!(waited_ns(&run), expected, "{what}");
    }
}

#[test]
fn how_a_server_waits_for_its_listener_is_noted() {
    let in_epoll: SetUp = |run| run.state.world.descriptors.set_interest(1, EPOLL, vec![LISTENER], &[]);
    let nothing: SetUp = |_| {};
    let in_front: SetUp = |run| {
        run.state.world.descriptors.set_interest(1, EPOLL, vec![LISTENER], &[]);
        run.state.join.topology = Topology::FrontEnds(std::iter::once(1).collect());
    };
    let look = Call::EpollWait { epoll_fd: EPOLL, timeout_ms: -1 };
    for (what, set_up, call, number, expected) in [
        ("in epoll", in_epoll, look, 232, (Some(true), false)),
        ("in a front end's epoll", in_front, look, 232, (None, false)),
        ("in epoll, for something else", nothing, look, 232, (None, false)),
        ("in poll", nothing, SELECT, 7, (Some(false), false)),
        ("in poll, for something else", nothing, poll_of(WAKEUP), 7, (None, false)),
        ("it makes a ring", nothing, Call::Other, IO_URING_SETUP, (None, true)),
    ] {
        let mut run = Run::new(0);
        let set_up: SetUp = set_up;
        set_up(&mut run);
        let slice = Slice { system_call: number, ..asleep(call, (100, 120, 130), 0) };
        run.take(&slice);
        assert_eq!((run.state.world.listener_in_epoll, run.state.world.uses_io_uring), expected, "{what}");
    }
}

/// What the thread did beside requests, as far as that is known.
fn housekeeping_ns(run: &mut Run) -> u64 {
    run.thread().totals.holding_ns[Holding::Housekeeping as usize]
}

#[test]
fn what_a_thread_waits_in_a_mutex_before_its_first_connection_is_for_its_turn() {
    const MUTEX: Call = Call::FutexWait { address: 16, operation: 128, has_timeout: false };
    const LIMITED: Call = Call::FutexWait { address: 16, operation: 128, has_timeout: true };
    const EPOLL_MADE: Call = Call::Make { class: DescriptorClass::Epoll };
    const LOOK: Call = Call::EpollWait { epoll_fd: EPOLL, timeout_ms: -1 };
    let nothing: SetUp = |_| {};
    let is_slot: SetUp = |run| run.thread().slot = Some(0);
    let rolls: SetUp = |run| {
        run.thread().roll();
        run.state.window_start_ns = 170;
    };
    let waits_elsewhere: SetUp =
        |run| run.state.world.descriptors.set_interest(1, EPOLL, vec![WAKEUP, CLIENT], &[]);
    // A gap of 10 and a wait of 100, a gap of 10 and another call of 50, a gap of 10 and the look at the
    // listener. What is left is the thread's own.
    for (what, first, between, set_up, expected) in [
        ("once", MUTEX, None, nothing, 20),
        ("twice, as another was faster", MUTEX, Some(MUTEX), nothing, 20),
        ("it is a slot already", MUTEX, None, is_slot, 20),
        ("it makes what it waits with", MUTEX, Some(EPOLL_MADE), nothing, 80),
        ("it did something else between", MUTEX, Some(Call::Sleep), nothing, 180),
        ("with a limit", LIMITED, None, nothing, 120),
        ("it waits for no listener", MUTEX, None, waits_elsewhere, 120),
        ("the window began meanwhile", MUTEX, Some(MUTEX), rolls, 10),
    ] {
        let mut run = Run::new(1);
        run.state.world.descriptors.set_interest(1, EPOLL, vec![LISTENER], &[]);
        run.take(&asleep(first, (50, 60, 160), 0));
        set_up(&mut run);
        let mut at_ns = 160;
        if let Some(call) = between {
            run.take(&asleep(call, (160, 170, 220), 0));
            at_ns = 220;
        }
        run.take(&asleep(LOOK, (at_ns, at_ns + 10, at_ns + 50), 0));
        assert_eq!(housekeeping_ns(&mut run), expected, "{what}");
    }
}

#[test]
fn what_a_thread_sleeps_in_a_lock_of_processes_before_its_first_look_at_the_listener_is_for_its_turn() {
    const FLOCK: i32 = 73;
    const LOOK: Call = Call::EpollWait { epoll_fd: EPOLL, timeout_ms: -1 };
    for (what, interest, expected) in
        [("at the listener", vec![LISTENER], 10), ("elsewhere", vec![WAKEUP, CLIENT], 110)]
    {
        let mut run = Run::new(1);
        run.state.world.descriptors.set_interest(1, EPOLL, interest, &[]);
        let gap = Account { cpu_ns: 10, blocked_ns: 100, ..Account::default() };
        let mut look = Slice { gap, ..asleep(LOOK, (50, 160, 200), 0) };
        look.in_gap.blocked_call = FLOCK;
        run.take(&look);
        assert_eq!(housekeeping_ns(&mut run), expected, "{what}");
    }
}

/// The process has started another one.
fn has_worker(run: &mut Run) {
    run.state.world.processes.see(&ProcessSeen { tgid: 2, parent_tgid: 1, ..ProcessSeen::default() });
}

#[test]
fn a_master_that_waits_with_a_limit_for_what_its_workers_do_is_idle() {
    use ThreadState::{Idle, LockWait};
    const LIMITED: Call = Call::FutexWait { address: 16, operation: 137, has_timeout: true };
    let alone: SetUp = |_| {};
    let accepts: SetUp = |run| {
        has_worker(run);
        run.thread().signs.accepts = true;
    };
    let mutex = Call::FutexWait { address: 16, operation: 128, has_timeout: true };
    // What is known of process 1, and who ended the wait: thread 8 is its own, thread 9 its worker's.
    for (what, set_up, wait, by_tid, expected) in [
        ("its limit ended it", has_worker as SetUp, LIMITED, 0, Idle),
        ("a thread of its worker did", has_worker, LIMITED, 9, Idle),
        ("a thread of its own did", has_worker, LIMITED, 8, LockWait),
        ("it has no worker", alone, LIMITED, 0, LockWait),
        ("it accepts", accepts, LIMITED, 0, LockWait),
        ("in a mutex", has_worker, mutex, 0, LockWait),
    ] {
        let mut run = Run::new(0);
        run.call(Call::Other, (80, 90, 100), 0);
        for (tid, tgid) in [(8, 1), (9, 2)] {
            run.state.runtime.threads.put(tid, Box::new(Thread { tgid, ..Thread::default() }));
        }
        set_up(&mut run);
        run.take(&asleep(wait, (100, 120, 220), by_tid));
        let shown = run.entries.iter().rev().find_map(|entry| match entry {
            Entry::Slice { state, start_ns: 120, .. } => Some(*state),
            _ => None,
        });
        assert_eq!(shown, Some(expected), "{what}");
    }
}

#[test]
fn a_loop_that_looks_leaves_its_request_without_an_end() {
    let mut run = Run::new(2);
    run.state.world.descriptors.set_interest(1, EPOLL, vec![LISTENER, CLIENT, CLIENT + 1], &[]);
    let look = Call::EpollWait { epoll_fd: EPOLL, timeout_ms: -1 };
    run.reads_request();
    run.moves(Call::Write { fd: CLIENT }, (130, 150, 160), CHUNKED);
    run.take(&asleep(look, (160, 180, 250), 0));
    assert!(run.thread().is_loop(), "it waits for clients beside its listener");
    assert_eq!((run.requests().len(), run.thread().serving), (0, None), "its answer may go on");
    assert!(run.connection(0).requests[0].response.may_have_ended);
    let of_thread = |run: &mut Run| run.thread().event_loop.as_deref().map(EventLoop::is_fresh);
    assert_eq!(of_thread(&mut run), Some(true));
    run.moves(read_of(CLIENT), (250, 260, 270), GET);
    assert_eq!(run.requests().len(), 1, "the next request says that it is over");
    assert_eq!(of_thread(&mut run), Some(false));
}
