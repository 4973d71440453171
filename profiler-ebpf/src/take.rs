//! Attempts to take an interpreter lock: what must be known of a thread beside its waits.
//!
//! In: futex calls, every other call, probes in the interpreter. Out: marks in the thread's account, which
//! its next slice carries. Only the thread itself writes them; where it is interrupted in between, no other
//! program does.

use core::ops::Range;

use profiler_common::account::{NOT_IN_CALL, ThreadAccount};
use profiler_common::gil::LOCK_BYTES;
use profiler_common::record::slice::{FLAG_GIVES_UP, FLAG_TAKE_OVER, FLAG_TAKES_LOCK};
use profiler_common::system_call::FUTEX;

use crate::account::{self, Account};
use crate::frames;
use crate::kernel::registers::{self, Registers};
use crate::lock::{self, Lock};
use crate::user_memory::user_word;

/// `FUTEX_WAIT`, `FUTEX_WAKE` and `FUTEX_WAIT_BITSET` without their flags, include/uapi/linux/futex.h.
const WAIT: u64 = 0;
const WAKE: u64 = 1;
const WAIT_BITSET: u64 = 9;
/// Places in `struct _gil_runtime_state` (`machine/lock/gil.rs` has all): holder, flag, condition variable of
/// takers, mutex, what only who gave up waits for, end.
const LAST_HOLDER: u64 = 8;
const LOCKED: u64 = 16;
pub const COND: u64 = 32;
pub const MUTEX: u64 = 80;
/// Where who signals the condition variable waits for others to leave it (`__g_refs`, glibc up to 2.40;
/// nobody does later). Its other words are waited on by takers too.
const GROUP_REFS: Range<u64> = 48..56;
const SWITCH_COND: u64 = 120;
const SWITCH_MUTEX: u64 = 168;
const END: u32 = LOCK_BYTES as u32;

/// Where musl's mutex has the word that is 0 while nobody has it (`_m_lock`, src/internal/pthread_impl.h).
const MUSL_MUTEX_WORD: u64 = 4;

/// Largest distance of a futex from the stack pointer that is taken for one on the stack: musl waits on
/// those.
const ON_STACK: u64 = 4096;

/// [`ThreadAccount::take_mark`], its lowest bits: a wait on the stack that follows is for the main
/// interpreter's lock. Or it is for something else, as this was another's lock, or the wait that the probe
/// saw begin has been made.
pub const MARK_MAIN: u32 = 1;
pub const MARK_OTHER: u32 = 2;

/// The lock that a futex call may wait for, if it waits: that on whose memory it is, or the main
/// interpreter's.
#[inline(always)]
pub fn lock_of_wait(tgid: u32, arguments: &[u64; 3]) -> Option<Lock> {
    let command = arguments[1] & 127;
    if command == WAIT || command == WAIT_BITSET { lock::of(tgid, arguments[0]) } else { None }
}

/// A futex call that may wait for a lock.
#[derive(Clone, Copy)]
pub struct Wait {
    /// What [`lock_of_wait`] gave.
    pub lock: Lock,
    /// When it began.
    pub now_ns: u64,
}

/// A futex call begins; `wait` is there if it waits. Notes in the account whether it waits to take the lock,
/// and gives its `detail::Futex::lead_ns`.
#[inline(always)]
pub fn futex(account: Account, registers: Registers, arguments: &[u64; 3], wait: Option<Wait>) -> u32 {
    let command = arguments[1] & 127;
    // SAFETY: the look-up succeeded; the thread itself runs here.
    let (thread, mark, begun) = unsafe {
        (*account).take_flags &= !(FLAG_TAKES_LOCK | FLAG_GIVES_UP);
        (*account).take_aside = 0;
        (Thread::of(&*account), (*account).take_mark, (*account).take_begun)
    };
    let Some(Wait { lock, now_ns }) = wait else { return 0 };
    let place = arguments[0].wrapping_sub(lock.address);
    let on_cond = (COND..MUTEX).contains(&place);
    let on_mutex = command == WAIT && (MUTEX..SWITCH_COND).contains(&place);
    // Where it waits says nothing of which lock it is.
    if !on_cond && !on_mutex && !is_on_stack(account, registers, arguments[0], lock) {
        return 0;
    }
    // Who gives the lock up waits there as well, to signal, under the mutex: the lock is free already then,
    // and nobody has had it since. So does who passes on a signal that was not for it.
    let signals =
        GROUP_REFS.contains(&place) && command == WAIT && !is_locked(lock) && !another_had(lock, thread);
    if signals || on_mutex && lock.thread_number_at() != 0 && is_holder(lock, thread) {
        // SAFETY: as above.
        unsafe { (*account).take_flags |= FLAG_GIVES_UP };
        return 0;
    }
    // The mark stays for the next call in case this one never sleeps. SAFETY: as above.
    unsafe {
        (*account).take_flags |= FLAG_TAKES_LOCK;
        if frames::wanted() && (*account).take_lock != lock.address as u32 {
            (*account).take_since_ns = now_ns;
        }
        (*account).take_lock = lock.address as u32;
        if on_cond && command == WAIT_BITSET {
            (*account).take_signals = arguments[0] as u32 & !7;
        }
        // The probe saw one wait begin, and this is it: the next on the stack is for something else (a
        // semaphore). On musl the inside of the condition variable may be waited for before.
        let is_it = !on_mutex && !on_cond || command == WAIT_BITSET;
        if mark & MARK_MAIN != 0 && begun == 0 && is_it {
            (*account).take_mark = mark & !MARK_MAIN | MARK_OTHER;
        }
    }
    // The mark of a wait on the condition variable says nothing of one for the mutex before it.
    if mark == 0 || begun == 0 && on_mutex { 0 } else { (now_ns as u32).wrapping_sub(mark) }
}

/// Whether a wait on the futex at `address` is one on the thread's stack of which a probe has said that it is
/// for the main interpreter's lock.
#[inline(always)]
pub fn is_on_stack(account: Account, registers: Registers, address: u64, lock: Lock) -> bool {
    // SAFETY: the look-up succeeded; the thread itself runs here.
    let mark = unsafe { (*account).take_mark };
    mark & MARK_MAIN != 0
        && lock.is_waited_for_on_stack()
        && address.wrapping_sub(registers::stack(registers)) < ON_STACK
}

/// A thread, by the kernel's numbers.
#[derive(Clone, Copy)]
struct Thread {
    tid: u32,
    tgid: u32,
}

impl Thread {
    #[inline(always)]
    fn of(account: &ThreadAccount) -> Self {
        Self { tid: account.tid, tgid: account.tgid }
    }

    /// Whether the interpreter means it by this number: its own, or, of a main thread, that of the thread
    /// that forked its process.
    #[inline(always)]
    fn is_called(self, lock: Lock, number: u32) -> bool {
        number == self.tid || self.tid == self.tgid && number != 0 && number == lock.inherited_number()
    }
}

/// Whether the thread has the lock whose memory `address` is in, as far as that can be read; where it cannot,
/// it is taken to have it.
#[inline(always)]
fn has_lock(account: &ThreadAccount, address: u64) -> bool {
    lock::of(account.tgid, address)
        .is_none_or(|lock| lock.thread_number_at() == 0 || is_holder(lock, Thread::of(account)))
}

/// Whether another thread was the last to have the lock; false where that cannot be read or compared.
#[inline(always)]
fn another_had(lock: Lock, thread: Thread) -> bool {
    if lock.thread_number_at() == 0 || lock.has_foreign_numbers() {
        return false;
    }
    let last = last_holder(lock);
    last != 0 && !thread.is_called(lock, last)
}

/// Whether the thread has the lock. If it waits for the lock's mutex then, it is about to give it up.
#[inline(always)]
fn is_holder(lock: Lock, thread: Thread) -> bool {
    thread.is_called(lock, last_holder(lock)) && is_locked(lock)
}

/// The thread that was the last to take the lock, by its interpreter's number; 0: that cannot be read.
#[inline(always)]
fn last_holder(lock: Lock) -> u32 {
    let state = user_word(lock.address.wrapping_add(LAST_HOLDER));
    if state == 0 {
        return 0;
    }
    let mut thread = user_word(state.wrapping_add(lock.thread_number_at()));
    let through = lock.thread_number_through();
    if through != 0 {
        thread = user_word(thread.wrapping_add(through));
    }
    thread as u32
}

/// The thread that was the last to take the lock whose memory `address` is in, by its interpreter's number;
/// 0: not known.
#[inline(always)]
pub fn last_holder_at(tgid: u32, address: u64) -> u32 {
    match lock::of(tgid, address) {
        Some(lock) if lock.thread_number_at() != 0 => last_holder(lock),
        _ => 0,
    }
}

#[inline(always)]
fn is_locked(lock: Lock) -> bool {
    user_word(lock.address.wrapping_add(LOCKED)) as u32 == 1
}

/// Most CPU time of an attempt after its last sleep: a few µs, with room for interrupts. Who ran for longer
/// had the lock.
const AFTER_SLEEP_MAX_CPU_NS: u64 = 50_000;

/// A futex call that never slept has joined the gap.
#[inline(always)]
pub fn folded(account: &mut ThreadAccount, now_ns: u64) {
    if account.take_lock == 0 {
        return;
    }
    let place = (account.detail[0] as u32).wrapping_sub(account.take_lock);
    let is_wake = account.detail[1] & 127 == WAKE;
    if (COND as u32..END).contains(&place) {
        // Whoever waits wakes on the words of the condition variable too. These are the inner ones, whose
        // places depend on the C library's version, and those for signals. It passes on a signal that
        // was not for it (glibc up to 2.40). Who gives the lock up signals under the mutex, so nobody
        // has taken the lock since.
        let waits_still = is_wake
            && place < MUTEX as u32
            && lock::of(account.tgid, account.detail[0])
                .is_some_and(|lock| another_had(lock, Thread::of(account)));
        let signals = is_wake && account.detail[0] as u32 & !7 == account.take_signals;
        let gives_up = account.take_flags & FLAG_GIVES_UP != 0;
        if gives_up || signals && !waits_still {
            over(account);
        } else if account.cpu_ns <= AFTER_SLEEP_MAX_CPU_NS {
            // Who takes the lock wakes others once it has it, who gives it up once it has it no more.
            let takes = waits_still
                || account.take_flags & FLAG_TAKES_LOCK != 0
                || has_lock(account, account.detail[0]);
            if takes {
                until(account, now_ns);
            } else {
                account.take_aside = 1;
            }
        }
    } else if account.take_flags & FLAG_TAKES_LOCK == 0 {
        if is_wake && account.cpu_ns <= AFTER_SLEEP_MAX_CPU_NS && takes_lock_waited_for_on_stack(account) {
            until(account, now_ns);
        } else {
            over(account);
        }
    }
}

/// Whether the thread has just taken a lock whose waiters sleep on their own stacks (musl), and has not yet
/// left the function that takes it. It then holds the mutex under which it wakes who gave the lock up by
/// force. Nobody but a thread that takes or gives up the lock needs that mutex.
#[inline(always)]
fn takes_lock_waited_for_on_stack(account: &ThreadAccount) -> bool {
    lock::of(account.tgid, account.detail[0]).is_some_and(|lock| {
        lock.is_waited_for_on_stack()
            && lock.address as u32 == account.take_lock
            && lock.thread_number_at() != 0
            && is_holder(lock, Thread::of(account))
            && user_word(lock.address.wrapping_add(SWITCH_MUTEX + MUSL_MUTEX_WORD)) as u32 != 0
    })
}

/// The thread has its CPU back. It may have lost it on its way out of a futex call, most often to the thread
/// that it woke: its registers are those of that call still. Then it has done nothing since, and the attempt
/// went on meanwhile if the call was part of it.
#[inline(always)]
pub fn resumed(account: &mut ThreadAccount, registers: Registers) {
    if account.system_call == NOT_IN_CALL
        && registers::system_call(registers) as u32 == FUTEX
        && account.take_aside == 0
        && account.cpu_ns <= AFTER_SLEEP_MAX_CPU_NS
    {
        until(account, account.state_since_ns);
    }
}

/// The attempt went on up to now, unless it is known to have been over before: this is another one then,
/// without a sleep.
#[inline(always)]
pub fn until(account: &mut ThreadAccount, now_ns: u64) {
    if account.take_flags & FLAG_TAKE_OVER != 0 {
        return;
    }
    let tail_ns = now_ns.wrapping_sub(account.segment_start_ns);
    account.take_tail_ns = if tail_ns > u64::from(u32::MAX) { u32::MAX } else { tail_ns as u32 };
}

/// The attempt is over: whatever wait comes next is another one.
#[inline(always)]
pub fn over(account: &mut ThreadAccount) {
    account.take_lock = 0;
    account.take_flags |= FLAG_TAKE_OVER;
}

/// The thread that runs here makes a call that is not observed.
#[inline(always)]
pub fn made_other_call() {
    let Some(account) = account::current_cheaply() else { return };
    // SAFETY: the look-up succeeded; the thread itself runs here.
    unsafe {
        if (*account).take_lock != 0 {
            over(&mut *account);
        }
    }
}
