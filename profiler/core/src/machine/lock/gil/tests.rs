//! Episodes of waiting over made-up futex calls.
//!
//! In: scripts. Out: assertions.

use crate::event::LockSeen;
use profiler_common::record::slice::{FLAG_TAKE_FOLLOWED, FLAG_TAKE_OVER};
use proptest::prelude::*;

use super::*;
use crate::fact::Account;

const LOCK: u64 = 0x10_0000;
const WAIT: (u64, u32) = (LOCK + 72, 137);
const US: u64 = 1000;

fn locks() -> Locks {
    let mut locks = Locks::default();
    let lock = InterpreterLock { address: LOCK, interpreter: 0, interval_us: 5000 };
    locks.see(InterpreterSeen { tgid: 1, locks: vec![lock], ..InterpreterSeen::default() });
    locks
}

/// One thread: gap CPU, then a call of so much sleep and so much run queue.
struct Script {
    locks: Locks,
    at_lock: AtLock,
    now_ns: u64,
    window_start_ns: u64,
}

impl Script {
    fn new() -> Self {
        Self { locks: locks(), at_lock: AtLock::default(), now_ns: 1_000_000 * US, window_start_ns: 0 }
    }

    fn step(&mut self, gap_cpu_us: u64, call: Call, blocked_us: u64, run_queue_us: u64) -> Part {
        self.told((0, None, 0), gap_cpu_us, call, blocked_us, run_queue_us).part
    }

    /// A step with what the kernel side reports: flags, the time since the attempt began, and for how long
    /// the one before went on.
    fn told(
        &mut self,
        (flags, lead_ns, tail_ns): (u32, Option<u64>, u64),
        gap_cpu_us: u64,
        call: Call,
        blocked_us: u64,
        run_queue_us: u64,
    ) -> Followed {
        let gap = Account { cpu_ns: gap_cpu_us * US, ..Account::default() };
        let inside = Account { cpu_ns: US, run_queue_ns: run_queue_us * US, blocked_ns: blocked_us * US };
        let take_lead_ns = lead_ns.map(|lead_ns| u32::try_from(lead_ns).unwrap());
        let take_tail_ns = u32::try_from(tail_ns).unwrap();
        let enter_ns = self.now_ns + gap.total_ns();
        self.now_ns = enter_ns + inside.total_ns();
        let slice = Slice {
            enter_ns,
            exit_ns: self.now_ns,
            inside,
            gap,
            call_switches: 1,
            flags,
            lock: LockSeen { take_lead_ns, take_tail_ns, ..LockSeen::default() },
            ..blank(call)
        };
        self.locks.follow(&mut self.at_lock, &slice, self.window_start_ns)
    }

    /// A wait that the kernel side reports as one to take the lock.
    fn told_wait(&mut self, (flags, tail_ns): (u32, u64), lead_ns: u64, gap_cpu_us: u64) -> Followed {
        let (address, operation) = WAIT;
        let call = Call::FutexWait { address, operation, has_timeout: true };
        self.told((flags | FLAG_TAKE_FOLLOWED, Some(lead_ns), tail_ns), gap_cpu_us, call, 100, 0)
    }

    fn wait(&mut self, gap_cpu_us: u64, blocked_us: u64) -> Part {
        let (address, operation) = WAIT;
        self.step(gap_cpu_us, Call::FutexWait { address, operation, has_timeout: true }, blocked_us, 0)
    }

    fn finish(mut self) -> Gil {
        let episode = self.at_lock.episode.take();
        self.locks.end(2, episode, self.window_start_ns);
        self.locks.finish(|_| String::new())
    }
}

#[test]
fn sleeps_of_one_attempt_are_one_wait_from_the_first_entry_to_the_last_exit() {
    let mut script = Script::new();
    assert_eq!(script.wait(900, 5000), Part::First);
    assert_eq!(script.wait(4, 5000), Part::Again);
    let mutex = Call::FutexWait { address: LOCK + 80, operation: 128, has_timeout: false };
    assert_eq!(script.step(3, mutex, 20, 7), Part::Again);
    let gil = script.finish();
    assert_eq!((gil.waits.count(), gil.sleeps, gil.past_interval), (1, 3, 1));
    assert_eq!(gil.waits.sum_ns(), (5000 + 1 + 4 + 5000 + 1 + 3 + 20 + 7 + 1) * US);
    assert_eq!(gil.run_queue_ns, 7 * US);
    assert_eq!((gil.thread_count, gil.threads[0].total_ns), (1, gil.waits.sum_ns()));
}

#[test]
fn another_call_or_a_stretch_of_computing_ends_a_wait() {
    let mut script = Script::new();
    script.wait(0, 100);
    assert_eq!(script.step(1, Call::Sleep, 10, 0), Part::None);
    assert_eq!(script.wait(1, 100), Part::First);
    assert_eq!(script.wait(51, 100), Part::First, "who ran for 51 µs had the lock");
    assert_eq!(script.wait(50, 100), Part::Again);
    let elsewhere = Call::FutexWait { address: 9, operation: 393, has_timeout: true };
    assert_eq!(script.step(1, elsewhere, 10, 0), Part::None);
    assert_eq!(script.finish().waits.count(), 3);
}

#[test]
fn where_every_call_is_followed_only_another_call_ends_a_wait() {
    let mut script = Script::new();
    script.told_wait((0, 0), 0, 900);
    assert_eq!(
        script.told_wait((0, 0), 0, 300).part,
        Part::Again,
        "an interrupt, or time that a hypervisor took"
    );
    let next = script.told_wait((FLAG_TAKE_OVER, 0), 0, 2);
    assert_eq!(next.part, Part::First, "it had the lock and gave it up");
    assert_eq!(script.told_wait((0, 0), 0, 1001).part, Part::First);
    assert_eq!(script.finish().waits.count(), 3);
}

#[test]
fn a_wait_begins_at_the_probe_and_ends_with_the_last_call_of_the_attempt() {
    let mut script = Script::new();
    let first = script.told_wait((0, 0), 7 * US, 900);
    assert_eq!((first.part, first.tail_ns), (Part::First, 0));
    let next = script.told((FLAG_TAKE_OVER, None, 16 * US), 40, Call::Sleep, 10, 0);
    assert_eq!(next, Followed { part: Part::None, tail_ns: 16 * US, ended: None });
    assert_eq!(script.finish().waits.sum_ns(), (7 + 101 + 16) * US);
}

#[test]
fn two_waits_never_overlap_whatever_the_probes_say() {
    let mut script = Script::new();
    script.told_wait((0, 0), 0, 900);
    // The probe's time lies before the end of the previous wait, and the tail reaches into this one.
    let next = script.told_wait((FLAG_TAKE_OVER, 48 * US), 500 * US, 50);
    assert_eq!(next.tail_ns, 48 * US);
    script.told_wait((FLAG_TAKE_OVER, 90 * US), 0, 50);
    let gil = script.finish();
    assert_eq!((gil.waits.count(), gil.waits.sum_ns()), (3, (101 + 48 + 2 + 101 + 50 + 101) * US));
}

#[test]
fn the_inside_of_the_condition_variable_belongs_to_a_wait_but_begins_none() {
    let mut script = Script::new();
    let inner = Call::FutexWait { address: LOCK + 64, operation: 128, has_timeout: false };
    assert_eq!(script.step(3, inner, 20, 0), Part::Handover);
    script.wait(3, 100);
    assert_eq!(script.step(3, inner, 20, 0), Part::Again);
    assert_eq!(script.wait(3, 100), Part::Again);
    assert_eq!(script.step(51, inner, 20, 0), Part::Handover, "who computed had the lock, and gives it up");
    assert_eq!(script.finish().waits.count(), 1);
}

#[test]
fn who_waits_for_the_mutex_to_give_the_lock_up_does_not_want_it() {
    let mut script = Script::new();
    let mutex = Call::FutexWait { address: LOCK + 80, operation: 128, has_timeout: false };
    assert_eq!(script.told((FLAG_GIVES_UP, None, 0), 3, mutex, 20, 0).part, Part::Handover);
    assert_eq!(script.finish().waits.count(), 0);
}

#[test]
fn a_wait_elsewhere_in_memory_is_one_where_a_probe_says_so() {
    let mut script = Script::new();
    let stack = Call::FutexWait { address: 0x7fff_0000, operation: 128, has_timeout: true };
    assert_eq!(script.told((FLAG_TAKE_FOLLOWED, Some(US), 0), 3, stack, 20, 0).part, Part::First);
    assert_eq!(script.step(3, stack, 20, 0), Part::None);
    assert_eq!(script.finish().waits.sum_ns(), (1 + 21) * US);
}

#[test]
fn who_waits_for_the_next_holder_after_a_forced_switch_does_not_want_the_lock() {
    for (distance, operation, wants) in [
        (64, 137, true),
        (76, 137, true),
        (48, 128, false),
        (80, 128, true),
        (80, 129, false),
        (119, 128, true),
        (120, 128, false),
        (160, 393, false),
        (168, 128, false),
        (31, 137, false),
        (u64::MAX, 137, false),
    ] {
        assert_eq!(is_take_wait(distance, operation), wants, "{distance} {operation}");
    }
}

/// glibc's `pthread_mutex_t` has 48 bytes there, not 40 (sysdeps/aarch64/nptl/bits/pthreadtypes-arch.h); its
/// condition variable has 48 on both.
#[test]
fn what_a_lock_of_arm64_is_waited_for_on_is_told_by_the_same_bounds() {
    const COND: u64 = 32;
    const MUTEX: u64 = COND + 48;
    const SWITCH_COND: u64 = MUTEX + 48;
    const SWITCH_MUTEX: u64 = SWITCH_COND + 48;
    const SIGNALS: u64 = 40;
    const GROUP_REFS: u64 = 16;
    const GROUP_SIZE: u64 = 32;
    let locks = locks();
    for (distance, operation, on) in [
        (COND + SIGNALS, 137, On::Take),
        (COND + SIGNALS + 4, 137, On::Take),
        (COND + GROUP_REFS, 128, On::Inner),
        (MUTEX, 128, On::Take),
        (SWITCH_COND + SIGNALS, 393, On::Handover),
        (SWITCH_COND + SIGNALS + 4, 393, On::Handover),
        (SWITCH_COND + GROUP_REFS + 4, 128, On::Handover),
        (SWITCH_COND + GROUP_SIZE, 128, On::Handover),
        (SWITCH_MUTEX, 128, On::Switch),
    ] {
        let slice = blank(Call::FutexWait { address: LOCK + distance, operation, has_timeout: false });
        assert_eq!(locks.lock_of(&slice).map(|found| found.1), Some(on), "{distance} {operation}");
    }
}

#[test]
fn a_forked_worker_waits_at_its_parents_address_until_it_executes_something_else() {
    let mut script = Script::new();
    script.locks.fork(1, 5);
    let slice = |tgid| {
        let (address, operation) = WAIT;
        let call = Call::FutexWait { address, operation, has_timeout: true };
        Slice { tgid, ..blank(call) }
    };
    assert!(script.locks.lock_of(&slice(5)).is_some());
    script.locks.exec(5);
    assert!(script.locks.lock_of(&slice(5)).is_none());
    assert!(script.locks.lock_of(&slice(1)).is_some());
}

#[test]
fn a_process_that_gets_the_number_of_another_has_its_parents_locks_and_nothing_of_that_one() {
    let lock = |address| InterpreterLock { address, interpreter: 0, interval_us: 5000 };
    let waits_at = |locks: &Locks, tgid, address| {
        let call = Call::FutexWait { address: address + 72, operation: WAIT.1, has_timeout: true };
        locks.is_wait(&Slice { tgid, ..blank(call) })
    };
    const BEFORE: u64 = 0x20_0000;
    // The parent, whether the child then waits at the parent's lock and at that of the process before it, and
    // which thread has the number 3 there.
    for (what, parent, expected, thread) in [
        ("its parent is Python", 1, (true, false), 3),
        ("its parent is not", 2, (false, false), 3),
        ("its parent is in another PID namespace", 3, (true, false), 0),
        ("a thread of its own is made", 5, (false, true), 70),
    ] {
        let mut locks = locks();
        let foreign_numbers = true;
        locks.see(InterpreterSeen {
            tgid: 3,
            locks: vec![lock(LOCK)],
            foreign_numbers,
            ..InterpreterSeen::default()
        });
        locks.see(InterpreterSeen {
            tgid: 5,
            locks: vec![lock(BEFORE)],
            foreign_numbers,
            ..InterpreterSeen::default()
        });
        locks.number(&ThreadNumbers { tgid: 5, numbers: vec![(3, 70)] });
        locks.fork(parent, 5);
        assert_eq!((waits_at(&locks, 5, LOCK), waits_at(&locks, 5, BEFORE)), expected, "{what}");
        assert_eq!(locks.thread(5, 3), thread, "{what}");
        assert!(waits_at(&locks, 1, LOCK), "{what}: the parent keeps its own");
    }
}

#[test]
fn a_thread_of_another_pid_namespace_is_known_as_soon_as_it_is_made_and_others_need_no_table() {
    let mut locks = locks();
    let foreign = InterpreterSeen { tgid: 5, foreign_numbers: true, ..InterpreterSeen::default() };
    locks.see(foreign);
    // Number there, here, and which thread that number is of from then on. The last has the same in both, by
    // chance.
    for (number, tid, thread) in [(7, 5007, 5007), (0, 5008, 0), (5009, 5009, 5009)] {
        locks.born((5, tid), number);
        assert_eq!(locks.thread(5, number), thread);
    }
    locks.born((1, 12), 12);
    assert_eq!((locks.thread(1, 12), locks.numbers.thread(1, 12)), (12, None));
    // A process of that namespace forks: the child's interpreter calls its only thread by its number there.
    locks.fork(5, 6);
    locks.born((6, 6), 40);
    assert_eq!((locks.thread(6, 40), locks.thread(6, 7)), (6, 0));
}

fn blank(call: Call) -> Slice {
    Slice { tid: 2, system_call: 202, ..Slice::blank(call) }
}

#[test]
fn what_lies_before_the_window_does_not_count() {
    let mut script = Script::new();
    script.window_start_ns = u64::MAX;
    script.wait(0, 100);
    script.step(0, Call::Sleep, 1, 0);
    script.window_start_ns = script.now_ns + 40 * US;
    script.wait(0, 100);
    let gil = script.finish();
    assert_eq!((gil.waits.count(), gil.waits.sum_ns()), (1, 61 * US));
}

#[test]
fn the_reason_for_no_measurement_names_what_was_refused_before_what_is_missing() {
    let with = |change: fn(&mut InterpreterSeen)| {
        let mut seen = InterpreterSeen { tgid: 3, ..InterpreterSeen::default() };
        change(&mut seen);
        seen
    };
    let none = with(|_| {});
    let free = with(|seen| seen.free_threaded = true);
    let refused = with(|seen| seen.refused = Some("Python 4.0 is not known".to_owned()));
    let found = with(|seen| seen.locks = vec![InterpreterLock::default()]);
    let reason = |seen: &[&InterpreterSeen]| not_measured(seen.iter().copied());
    assert_eq!(reason(&[&none, &refused, &found]), None);
    assert!(reason(&[&none, &refused]).is_some_and(|text| text.starts_with("Python 4.0 is not known")));
    assert!(reason(&[&none, &free]).is_some_and(|text| text.contains("no GIL")));
    assert!(reason(&[&none]).is_some_and(|text| text.contains("no process")));
    assert!(reason(&[]).is_some());
}

/// Several threads and one lock whose holders are known; each thread has its own clock.
struct Threads {
    locks: Locks,
    threads: std::collections::BTreeMap<Tid, (AtLock, u64)>,
}

impl Threads {
    fn new() -> Self {
        let mut locks = Locks::default();
        let lock = InterpreterLock { address: LOCK, interpreter: 0, interval_us: 5000 };
        let thread_number_at = Some(160);
        locks.see(InterpreterSeen {
            tgid: 1,
            locks: vec![lock],
            thread_number_at,
            ..InterpreterSeen::default()
        });
        Self { locks, threads: std::collections::BTreeMap::new() }
    }

    /// The thread's next slice: it computes, then it is in `call` for so long.
    fn call(&mut self, tid: Tid, gap_cpu_us: u64, call: Call, asleep_us: u64, flags: u32) -> Part {
        self.told((tid, gap_cpu_us), call, (asleep_us, 0), 0, (flags, None))
    }

    /// The thread's next slice waits for the lock, which `holder` has.
    fn wait(&mut self, tid: Tid, gap_cpu_us: u64, slept: (u64, i64), holder: Tid) -> Part {
        let (address, operation) = WAIT;
        let call = Call::FutexWait { address, operation, has_timeout: true };
        self.told((tid, gap_cpu_us), call, slept, holder, (0, None))
    }

    /// The thread's next slice waits for the lock on musl, where a probe identified the wait.
    fn wait_on_stack(&mut self, tid: Tid, gap_cpu_us: u64, slept: (u64, i64), holder: Tid) -> Part {
        let call = Call::FutexWait { address: 0x7fff_0000, operation: 128, has_timeout: true };
        self.told((tid, gap_cpu_us), call, slept, holder, (FLAG_TAKE_FOLLOWED, Some(0)))
    }

    fn told(
        &mut self,
        (tid, gap_cpu_us): (Tid, u64),
        call: Call,
        (asleep_us, result): (u64, i64),
        holder_tid: Tid,
        (flags, take_lead_ns): (u32, Option<u32>),
    ) -> Part {
        let (at_lock, now_ns) = self.threads.entry(tid).or_default();
        let gap = Account { cpu_ns: gap_cpu_us * US, ..Account::default() };
        let inside = Account { blocked_ns: asleep_us * US, ..Account::default() };
        let enter_ns = *now_ns + gap.total_ns();
        *now_ns = enter_ns + inside.total_ns();
        let slice = Slice {
            tid,
            enter_ns,
            exit_ns: *now_ns,
            inside,
            gap,
            call_switches: 1,
            flags,
            result,
            lock: LockSeen { take_lead_ns, holder_tid, switches: 7, ..LockSeen::default() },
            ..blank(call)
        };
        self.locks.follow(at_lock, &slice, 0).part
    }

    /// Waits so far that came after a forced and after a voluntary release.
    fn releases(&self) -> (u64, u64) {
        let lock = self
            .locks
            .clone()
            .measures
            .into_map()
            .into_values()
            .next()
            .map(Measure::finish)
            .unwrap_or_default();
        (lock.after_forced, lock.after_voluntary)
    }
}

const TIMED_OUT: (u64, i64) = (5000, -110);
const GIVES_UP: Call = Call::FutexWait { address: LOCK + 80, operation: 128, has_timeout: false };
const NEXT_HOLDER: Call = Call::FutexWait { address: LOCK + 160, operation: 393, has_timeout: false };

#[test]
fn a_release_is_forced_where_another_had_asked_for_the_lock_and_nothing_else_was_done_since() {
    // Thread 2 asks after an interval; thread 3 stops computing a moment later, and waits in its turn.
    let asked = || {
        let mut threads = Threads::new();
        threads.wait(2, 0, TIMED_OUT, 3);
        threads
    };
    let mut threads = asked();
    threads.wait(3, 5010, (100, 0), 2);
    assert_eq!(threads.releases(), (1, 1), "asked");

    // On musl threads wait on their own stacks.
    let mut threads = Threads::new();
    threads.wait_on_stack(2, 0, TIMED_OUT, 3);
    threads.wait_on_stack(3, 5010, (100, 0), 2);
    assert_eq!(threads.releases(), (1, 1), "asked, on musl");

    // A third thread, asleep when the lock was given up, asks too late.
    let mut threads = asked();
    threads.wait(4, 5005, TIMED_OUT, 3);
    threads.wait(3, 5010, (9000, 0), 2);
    assert_eq!(threads.releases(), (1, 2), "asked, and once more too late");

    // In between it slept for the mutex, and until another had taken the lock.
    let mut threads = asked();
    threads.call(3, 5010, GIVES_UP, 20, FLAG_GIVES_UP);
    threads.call(3, 1, NEXT_HOLDER, 30, 0);
    threads.wait(3, 2, (100, 0), 2);
    assert_eq!(threads.releases(), (1, 1), "asked, and slept on its way");

    let mut threads = asked();
    threads.call(3, 5010, GIVES_UP, 20, FLAG_GIVES_UP);
    threads.call(3, 1, Call::Sleep, 30, 0);
    threads.wait(3, 2, (100, 0), 2);
    assert_eq!(threads.releases(), (0, 2), "it made a call, for which it had given the lock up");

    let mut threads = Threads::new();
    threads.wait(3, 9000, (100, 0), 2);
    assert_eq!(threads.releases(), (0, 1), "it computed for long, and nobody asked");

    let mut threads = asked();
    threads.call(3, 5010, Call::Sleep, 30, 0);
    threads.wait(3, 2, (100, 0), 2);
    assert_eq!(threads.releases(), (0, 2), "asked before its last call");

    let mut threads = Threads::new();
    threads.wait(2, 0, (4000, 0), 3);
    threads.wait(3, 5010, (100, 0), 2);
    assert_eq!(threads.releases(), (0, 2), "the other was woken before it had waited for an interval");
}

#[test]
fn who_takes_the_lock_may_wait_for_the_mutex_of_a_forced_switch_as_well() {
    let mutex = Call::FutexWait { address: LOCK + 168, operation: 128, has_timeout: false };
    let mut threads = Threads::new();
    assert_eq!(threads.wait(2, 0, (100, 0), 3), Part::First);
    assert_eq!(threads.call(2, 3, mutex, 20, 0), Part::Again);
    assert_eq!(threads.call(2, 51, mutex, 20, 0), Part::Handover, "it had the lock meanwhile");
    assert_eq!(threads.call(3, 3, mutex, 20, 0), Part::Handover, "it did not want the lock");
}

#[test]
fn locks_and_threads_of_a_process_for_which_there_is_no_room_are_counted() {
    let mut locks = Locks::default();
    let lock = InterpreterLock { address: LOCK, interpreter: 0, interval_us: 5000 };
    let all = vec![lock; MAX_LOCKS + 1];
    locks.see(InterpreterSeen { tgid: 1, locks: all, ..InterpreterSeen::default() });
    assert_eq!((locks.seen[&1].locks.len(), locks.evicted()), (MAX_LOCKS, 1));
    let numbers = (1..).map(|number| (number, number)).take(MAX_WAITERS + 1).collect();
    locks.number(&ThreadNumbers { tgid: 1, numbers });
    let last = MAX_WAITERS as Tid;
    let found = |locks: &Locks, number| locks.numbers.thread(1, number);
    assert_eq!((found(&locks, last), found(&locks, last + 1), locks.evicted()), (Some(last), None, 2));
}

proptest! {
    /// In whatever order futex events come: nothing panics, and each wait lies within its thread's time. The
    /// waits of a thread do not overlap, and a second run gives the same.
    #[test]
    fn any_order_of_futex_events_gives_waits_that_fit_into_the_thread_s_time(
        events in prop::collection::vec((0u64..200, 0u64..240, any::<u32>(), 0u64..6000, 0u64..50, any::<bool>()), 0..200),
    ) {
        let run = || {
            let mut script = Script::new();
            let start_ns = script.now_ns;
            let mut in_waits_ns = 0;
            for (gap_us, distance, operation, blocked_us, run_queue_us, wake) in &events {
                let before_ns = script.now_ns;
                // Half of the operations are those that matter.
                let operation = if operation % 2 == 0 { [128, 137, 393, 129][(*operation as usize / 2) % 4] } else { *operation };
                let address = LOCK.wrapping_add(*distance);
                let call = if *wake {
                    Call::FutexWake { address, operation }
                } else {
                    Call::FutexWait { address, operation, has_timeout: true }
                };
                match script.step(*gap_us, call, *blocked_us, *run_queue_us) {
                    Part::None | Part::Handover => {}
                    Part::First => in_waits_ns += script.now_ns - before_ns - gap_us * US,
                    Part::Again => in_waits_ns += script.now_ns - before_ns,
                }
            }
            let whole_ns = script.now_ns - start_ns;
            (script.finish(), in_waits_ns, whole_ns)
        };
        let (gil, in_waits_ns, whole_ns) = run();
        prop_assert_eq!(gil.waits.sum_ns(), in_waits_ns);
        prop_assert!(in_waits_ns <= whole_ns);
        prop_assert!(gil.run_queue_ns <= in_waits_ns);
        prop_assert!(gil.waits.count() <= gil.sleeps);
        let (again, ..) = run();
        prop_assert_eq!(format!("{:?}", gil.threads), format!("{:?}", again.threads));
    }
}
