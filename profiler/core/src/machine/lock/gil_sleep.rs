//! A sleep of light mode as the slice that a full trace would have of it, for what follows waits for
//! interpreter locks.
//!
//! In: a [`Slept`], where its thread's sleep before ended. Out: a [`Slice`] whose call is the sleep. What its
//! thread did in between is its gap: calls that did not sleep are part of it.

use profiler_common::record::slice::{FLAG_GIVES_UP, NO_CALL, Undecided};
use profiler_common::system_call::FUTEX;

use crate::event::{Call, InGap, LockSeen, Slept, Slice, Tid, Woken};
use crate::fact::{Account, InterpreterLock};
use crate::machine::lock::gil::{COMMAND, COND, FUTEX_WAIT, FUTEX_WAIT_BITSET, MUTEX, SWITCH_COND};
use crate::machine::lock::gil_measure::END_NOT_SEEN;
use crate::machine::world::errno::ETIMEDOUT;

/// Where who signals the condition variable waits for others to leave it (`__g_refs`, glibc up to 2.40).
const GROUP_REFS: std::ops::Range<u64> = COND + 16..COND + 24;

/// Where the part of a thread's time that a sleep follows began: the end of the sleep before, or of the light
/// slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// When that was.
    pub at_ns: u64,
    /// Time on a CPU in the light slice up to then.
    pub cpu_ns: u64,
}

/// The slice of a sleep that ended at `end_ns`. `holder`: the thread that [`Slept::lock`] means. `since`:
/// where its gap began, if that is known.
pub fn slice_of(slept: &Slept, end_ns: u64, since: Option<Since>, holder: Tid) -> Slice {
    let call = if slept.system_call == FUTEX.cast_signed() {
        let has_timeout = slept.lock.is_some_and(|lock| lock.until_ns > 0);
        Call::FutexWait { address: slept.argument, operation: slept.events, has_timeout }
    } else {
        Call::Other
    };
    Slice {
        tgid: slept.tgid,
        tid: slept.tid,
        sequence: slept.sequence,
        call,
        system_call: slept.system_call.cast_unsigned(),
        result: result(slept),
        enter_ns: slept.start_ns,
        exit_ns: end_ns,
        inside: Account {
            cpu_ns: 0,
            run_queue_ns: end_ns.saturating_sub(slept.woken_ns),
            blocked_ns: slept.woken_ns.saturating_sub(slept.start_ns),
        },
        gap: gap(slept, since).unwrap_or_default(),
        undecided: Undecided::NOTHING,
        call_switches: 1,
        back_end_ready_ns: 0,
        flags: 0,
        in_gap: InGap {
            fault_ns: 0,
            blocked_call: NO_CALL,
            folded_ns: 0,
            folded_calls: 0,
            switches: 0,
            woken_by_tid: 0,
        },
        lock: LockSeen {
            holder_tid: holder,
            last_holder_tid: ended_by(slept),
            switches: slept.lock.map_or(0, |lock| lock.switches),
            take_lead_ns: None,
            take_tail_ns: 0,
        },
        woken: Woken::default(),
    }
}

/// [`FLAG_GIVES_UP`], if it is a sleep of a thread that gives `lock` up: by the rules of the kernel programs
/// for calls that are hooked (`profiler-ebpf/src/take.rs`).
pub fn gives_up(slept: &Slept, lock: &InterpreterLock, holder: Tid) -> u32 {
    let Some(then) = slept.lock.filter(|_| slept.events & COMMAND == FUTEX_WAIT) else { return 0 };
    let place = slept.argument.wrapping_sub(lock.address);
    let is_own = holder == slept.tid;
    let holds = (MUTEX..SWITCH_COND).contains(&place) && then.is_locked && is_own;
    let signals = GROUP_REFS.contains(&place) && !then.is_locked && (is_own || holder == 0);
    if holds || signals { FLAG_GIVES_UP } else { 0 }
}

/// How the sleep ended, as its call's result: a wait that lasted as long as it could was not woken.
fn result(slept: &Slept) -> i64 {
    match slept.lock.map(|lock| lock.until_ns) {
        None | Some(0) => END_NOT_SEEN,
        Some(until_ns) if slept.woken_ns >= until_ns => ETIMEDOUT,
        Some(_) => 0,
    }
}

/// Who had the lock as the sleep ended: on the condition variable whoever gives it up wakes who waits. 0: not
/// known.
fn ended_by(slept: &Slept) -> Tid {
    let was_woken = slept.events & COMMAND == FUTEX_WAIT_BITSET && result(slept) != ETIMEDOUT;
    slept.lock.filter(|_| was_woken).map_or(0, |lock| lock.woken_by)
}

/// What the thread did from `since` to its sleep; `None`: that is not known.
fn gap(slept: &Slept, since: Option<Since>) -> Option<Account> {
    let since = since?;
    let cpu_ns = slept.cpu_ns.checked_sub(since.cpu_ns)?;
    let run_queue_ns = slept.start_ns.checked_sub(since.at_ns)?.checked_sub(cpu_ns)?;
    Some(Account { cpu_ns, run_queue_ns, blocked_ns: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::LockThen;

    const LOCK: InterpreterLock = InterpreterLock { address: 0x1000, interpreter: 0, interval_us: 5000 };
    const WAIT_BITSET: u32 = 137;

    fn slept(place: u64, operation: u32, then: LockThen) -> Slept {
        Slept {
            tid: 7,
            system_call: FUTEX.cast_signed(),
            argument: LOCK.address + place,
            events: operation,
            start_ns: 1_000,
            woken_ns: 6_000,
            cpu_ns: 90,
            lock: Some(then),
            ..Slept::blank()
        }
    }

    #[test]
    fn a_sleep_is_a_call_and_what_came_before_it_its_gap() {
        let then = LockThen { holder: 9, is_locked: true, switches: 4, until_ns: 6_001, woken_by: 8 };
        let since = Since { at_ns: 900, cpu_ns: 20 };
        let slice = slice_of(&slept(72, WAIT_BITSET, then), 6_100, Some(since), 9);
        let account = |cpu_ns, run_queue_ns, blocked_ns| Account { cpu_ns, run_queue_ns, blocked_ns };
        assert_eq!((slice.gap, slice.inside), (account(70, 30, 0), account(0, 100, 5_000)));
        assert_eq!((slice.gap_start_ns(), slice.enter_ns), (900, 1_000));
        assert_eq!((slice.lock.holder_tid, slice.lock.switches), (9, 4));
        assert_eq!(slice.lock.last_holder_tid, 8);
        for (what, since) in [
            ("nothing is known", None),
            ("more time on a CPU than passed", Some(Since { at_ns: 960, cpu_ns: 20 })),
            ("it ended later", Some(Since { at_ns: 1_001, cpu_ns: 20 })),
            ("its account goes back", Some(Since { at_ns: 900, cpu_ns: 91 })),
        ] {
            let slice = slice_of(&slept(72, WAIT_BITSET, then), 6_100, since, 9);
            assert_eq!((slice.gap, slice.gap_start_ns()), (Account::default(), 1_000), "{what}");
        }
    }

    #[test]
    fn a_wait_that_lasted_as_long_as_it_could_was_not_woken() {
        for (until_ns, expected) in [(0, END_NOT_SEEN), (6_001, 0), (6_000, ETIMEDOUT), (5_000, ETIMEDOUT)] {
            let then = LockThen { until_ns, ..LockThen::default() };
            assert_eq!(result(&slept(72, WAIT_BITSET, then)), expected, "{until_ns}");
        }
        assert_eq!(result(&Slept::blank()), END_NOT_SEEN);
    }

    #[test]
    fn whoever_wakes_a_thread_that_waits_for_the_lock_had_it_last_but_no_timer_and_no_mutex_tells() {
        for (what, place, operation, until_ns, expected) in [
            ("on the condition variable", 72, WAIT_BITSET, 6_001, 8),
            ("without a limit", 72, WAIT_BITSET, 0, 8),
            ("until its time was over", 72, WAIT_BITSET, 6_000, 0),
            ("on the mutex, which waiters have as well", 80, 128, 0, 0),
        ] {
            let then = LockThen { until_ns, woken_by: 8, ..LockThen::default() };
            assert_eq!(ended_by(&slept(place, operation, then)), expected, "{what}");
        }
    }

    #[test]
    fn who_has_the_lock_waits_for_its_mutex_to_give_it_up_and_who_gave_it_up_to_signal() {
        for (what, place, operation, is_locked, holder, expected) in [
            ("to take it", 80, 128, true, 9, false),
            ("the mutex, with the lock", 80, 128, true, 7, true),
            ("the mutex, after it", 80, 128, false, 7, false),
            ("the condition variable", 72, WAIT_BITSET, true, 7, false),
            ("until others have left the variable", 48, 128, false, 7, true),
            ("the same, of which nobody knows who had it", 52, 128, false, 0, true),
            ("another had it since", 48, 128, false, 9, false),
            ("another has it", 48, 128, true, 9, false),
            ("another word of it", 56, 128, false, 7, false),
        ] {
            let then = LockThen { holder, is_locked, ..LockThen::default() };
            let flags = gives_up(&slept(place, operation, then), &LOCK, holder);
            assert_eq!(flags == FLAG_GIVES_UP, expected, "{what}");
        }
        assert_eq!(gives_up(&Slept { lock: None, ..slept(80, 128, LockThen::default()) }, &LOCK, 7), 0);
    }
}
