//! The account of a thread: partitions its wall time into CPU, run queue and sleep, per segment.
//!
//! In: what the hooks saw. Out: [`ThreadAccount`]s. A segment is a call or the gap before it. An account is
//! changed by its thread itself, by `sched_switch` and by `sched_wakeup` only, so there is never more than
//! one writer. `sched_waking` runs outside the run-queue lock and touches nothing but the waker and when it
//! began to wake.

use core::ops::{Deref, DerefMut};

use aya_ebpf::bindings::task_struct;
use aya_ebpf::helpers::generated::bpf_get_current_task_btf;
use profiler_common::account::{BLOCKED, ENTRY_UNKNOWN, FREE, NOT_IN_CALL, RUNNABLE, RUNNING, ThreadAccount};
use profiler_common::gap_sleep::are_alike;
use profiler_common::loss;
use profiler_common::record::detail::Words;
use profiler_common::record::slice::{FLAG_GAP_BLOCKED_MIXED, FLAG_WAKE_MISSED, NO_CALL, PAGE_FAULT};
use profiler_common::system_call::{EPOLL_PWAIT, EPOLL_PWAIT2, EPOLL_WAIT};

use crate::emit;
use crate::kernel::task;
use crate::maps::{ACCOUNTS, CPU, FREE_INDEXES, TASKS};
use crate::order;

/// Pointer to an element of `ACCOUNTS`.
pub type Account = *mut ThreadAccount;

/// The account of `task`, if it is followed.
#[inline(always)]
pub fn of(task: *mut task_struct) -> Option<Account> {
    at(index_of(task))
}

/// The account with this index, if it is one.
#[inline(always)]
pub fn at(index: u32) -> Option<Account> {
    if index == 0 { None } else { ACCOUNTS.get_ptr_mut(index.wrapping_sub(1)) }
}

/// Index (from 1) of the account of `task`; 0: it is not followed.
#[inline(always)]
pub fn index_of(task: *mut task_struct) -> u32 {
    if task::has_no_storage(task) {
        return 0;
    }
    // SAFETY: the look-up succeeded.
    TASKS.get(task).map_or(0, |storage| unsafe { *storage })
}

/// The account of the thread that runs here, if it is followed. The last switch on this CPU has looked it up;
/// only a thread that was adopted while it ran must be asked itself.
#[inline(always)]
pub fn current() -> Option<Account> {
    let cpu = CPU.get_ptr(0)?;
    // SAFETY: the look-up succeeded; the element is this CPU's own.
    let index = unsafe { (*cpu).current };
    if index != 0 {
        return at(index);
    }
    // SAFETY: the helper has no preconditions.
    of(unsafe { bpf_get_current_task_btf() })
}

/// The account of the thread that runs on this CPU, without asking the thread itself: `None` also where it
/// was adopted while it ran and has not left its CPU since. For what every unobserved call of the machine
/// passes through.
#[inline(always)]
pub fn current_cheaply() -> Option<Account> {
    let cpu = CPU.get_ptr(0)?;
    // SAFETY: the look-up succeeded; the element is this CPU's own.
    at(unsafe { (*cpu).current })
}

/// An account that is being changed: a reader sees an odd sequence until this is dropped.
pub struct Change(Account);

/// Begins a change of `account`.
///
/// # Safety
/// `account` is an element of `ACCOUNTS` and this program is its only writer.
#[inline(always)]
pub unsafe fn change(account: Account) -> Change {
    // SAFETY: as the caller promises.
    unsafe {
        let sequence = sequence(account);
        sequence.write_volatile(sequence.read_volatile() | 1);
    }
    // A reader that sees any of the change sees that it has begun.
    order::barrier();
    Change(account)
}

/// # Safety
/// As for [`change`].
#[inline(always)]
unsafe fn sequence(account: Account) -> *mut u32 {
    // SAFETY: as the caller promises.
    unsafe { &raw mut (*account).lock_sequence }
}

impl Deref for Change {
    type Target = ThreadAccount;

    #[inline(always)]
    fn deref(&self) -> &ThreadAccount {
        // SAFETY: `change` was promised an element, and elements live as long as the map.
        unsafe { &*self.0 }
    }
}

impl DerefMut for Change {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut ThreadAccount {
        // SAFETY: as above; there is no other writer.
        unsafe { &mut *self.0 }
    }
}

impl Drop for Change {
    #[inline(always)]
    fn drop(&mut self) {
        // A reader that sees that the change is over sees all of it.
        order::barrier();
        // SAFETY: as in `change`.
        unsafe {
            let sequence = sequence(self.0);
            // Even, whatever another writer did meanwhile: an odd one would stay for good, and readers would
            // wait for its end.
            sequence.write_volatile((sequence.read_volatile() | 1).wrapping_add(1));
        }
    }
}

/// Charges the time since the last change to the current state. Returns `now_ns`, or the time of that change
/// if it is later, so that sums stay exact. (The clock may step back by nanoseconds between CPUs.)
#[inline(always)]
pub fn settle(account: &mut ThreadAccount, now_ns: u64) -> u64 {
    let since = account.state_since_ns;
    if now_ns <= since {
        return since;
    }
    let elapsed = now_ns.wrapping_sub(since);
    account.state_since_ns = now_ns;
    if account.state == RUNNING {
        account.cpu_ns = account.cpu_ns.wrapping_add(elapsed);
        account.total_cpu_ns = account.total_cpu_ns.wrapping_add(elapsed);
    } else if account.state == RUNNABLE {
        account.run_queue_ns = account.run_queue_ns.wrapping_add(elapsed);
        account.total_run_queue_ns = account.total_run_queue_ns.wrapping_add(elapsed);
    } else {
        account.blocked_ns = account.blocked_ns.wrapping_add(elapsed);
        account.total_blocked_ns = account.total_blocked_ns.wrapping_add(elapsed);
        if account.system_call == NOT_IN_CALL && account.blocked_in_call == PAGE_FAULT {
            account.gap_fault_ns = account.gap_fault_ns.wrapping_add(elapsed);
        }
    }
    now_ns
}

/// The end of what the account has as the thread's state was not seen: all of that is undecided.
#[inline(always)]
fn end_was_not_seen(account: &mut ThreadAccount, now_ns: u64) {
    account.flags |= FLAG_WAKE_MISSED;
    emit::lose(loss::WAKE_MISSED);
    let elapsed_ns = now_ns.saturating_sub(account.state_since_ns);
    if account.system_call == NOT_IN_CALL {
        account.gap_undecided_ns = account.gap_undecided_ns.wrapping_add(elapsed_ns);
    } else {
        account.call_undecided_ns = account.call_undecided_ns.wrapping_add(elapsed_ns);
    }
}

/// What was undecided of a call that is part of a gap now.
#[inline(always)]
fn undecided_joins_the_gap(account: &mut ThreadAccount) {
    if account.flags & FLAG_WAKE_MISSED != 0 {
        account.gap_undecided_ns = account.gap_undecided_ns.wrapping_add(account.call_undecided_ns);
        account.call_undecided_ns = 0;
    }
}

/// [`settle`] of a thread that surely runs. If its account has it elsewhere, the switch to it was not seen:
/// what it did since is undecided. Seen where the kernel runs no program while a thread that it protects has
/// the CPU.
#[inline(always)]
pub fn settle_running(account: &mut ThreadAccount, now_ns: u64) -> u64 {
    if account.state != RUNNING {
        end_was_not_seen(account, now_ns);
        // All of the time is undecided: that the thread was ready at the end says nothing of when it ran.
        account.state = BLOCKED;
        settle(account, now_ns);
        account.state = RUNNING;
        account.switches = account.switches.wrapping_add(1);
    }
    settle(account, now_ns)
}

/// The thread leaves its CPU. `registers_call` is what its saved registers show (only asked for when it
/// blocks outside an observed call).
#[inline(always)]
pub fn switch_out(account: &mut ThreadAccount, now_ns: u64, blocks: bool, registers_call: i32) {
    settle_running(account, now_ns);
    if !blocks {
        account.state = RUNNABLE;
        return;
    }
    account.state = BLOCKED;
    if account.system_call != NOT_IN_CALL {
        return;
    }
    account.blocked_in_call = registers_call;
    if registers_call == PAGE_FAULT {
        return;
    }
    if account.gap_blocked_call != NO_CALL && !are_alike(account.gap_blocked_call, registers_call) {
        account.flags |= FLAG_GAP_BLOCKED_MIXED;
    }
    account.gap_blocked_call = registers_call;
}

/// The thread gets a CPU.
#[inline(always)]
pub fn switch_in(account: &mut ThreadAccount, now_ns: u64) {
    if account.state == BLOCKED {
        // Its wakeup was not: the whole wait stays "asleep".
        end_was_not_seen(account, now_ns);
    }
    settle(account, now_ns);
    account.state = RUNNING;
    account.switches = account.switches.wrapping_add(1);
}

/// The thread has been switched out and sleeps. A thread that is woken before that runs on, and writes to its
/// account itself, whatever lock its waker holds.
#[inline(always)]
pub fn has_left_its_cpu(account: Account) -> bool {
    // SAFETY: `Account`s point to elements of `ACCOUNTS`, which live as long as the map.
    unsafe { (&raw const (*account).state).read_volatile() == BLOCKED }
}

/// The thread, which slept, is put in a run queue.
#[inline(always)]
pub fn wake(account: &mut ThreadAccount, now_ns: u64) {
    settle(account, now_ns);
    account.state = RUNNABLE;
}

/// An observed call begins: the segment so far becomes the gap.
#[inline(always)]
pub fn enter(account: &mut ThreadAccount, now_ns: u64, call: i32, detail: Words) {
    let now_ns = settle_running(account, now_ns);
    if account.system_call == NOT_IN_CALL || account.enter_ns == ENTRY_UNKNOWN {
        account.gap_cpu_ns = account.cpu_ns;
        account.gap_run_queue_ns = account.run_queue_ns;
        account.gap_blocked_ns = account.blocked_ns;
        account.gap_switches = account.switches;
    } else {
        // The last call's exit was not seen: its segment joins the gap, so that nothing is missing.
        account.gap_cpu_ns = account.gap_cpu_ns.wrapping_add(account.cpu_ns);
        account.gap_run_queue_ns = account.gap_run_queue_ns.wrapping_add(account.run_queue_ns);
        account.gap_blocked_ns = account.gap_blocked_ns.wrapping_add(account.blocked_ns);
        account.gap_switches = account.gap_switches.wrapping_add(account.switches);
    }
    undecided_joins_the_gap(account);
    clear_segment(account, now_ns);
    account.enter_ns = now_ns;
    account.system_call = call;
    // Who woke it in the gap stays until somebody wakes it in the call.
    set_detail(account, detail);
}

/// Word by word: an array as a whole is copied by a loop over bytes.
#[inline(always)]
pub fn set_detail(account: &mut ThreadAccount, detail: Words) {
    account.detail[0] = detail[0];
    account.detail[1] = detail[1];
    account.detail[2] = detail[2];
    account.detail[3] = detail[3];
}

/// The call left no slice of its own: it and the gap before it become the current gap.
#[inline(always)]
pub fn fold(account: &mut ThreadAccount, now_ns: u64) {
    account.folded_calls = account.folded_calls.wrapping_add(1);
    account.folded_ns = account.folded_ns.wrapping_add(now_ns.wrapping_sub(account.enter_ns));
    let gap_ns =
        account.gap_cpu_ns.wrapping_add(account.gap_run_queue_ns).wrapping_add(account.gap_blocked_ns);
    account.segment_start_ns = account.enter_ns.wrapping_sub(gap_ns);
    account.cpu_ns = account.cpu_ns.wrapping_add(account.gap_cpu_ns);
    account.run_queue_ns = account.run_queue_ns.wrapping_add(account.gap_run_queue_ns);
    account.blocked_ns = account.blocked_ns.wrapping_add(account.gap_blocked_ns);
    account.switches = account.switches.wrapping_add(account.gap_switches);
    undecided_joins_the_gap(account);
    account.system_call = NOT_IN_CALL;
    account.enter_ns = ENTRY_UNKNOWN;
}

/// A new gap begins now, with nothing in it.
#[inline(always)]
pub fn restart(account: &mut ThreadAccount, now_ns: u64) {
    clear_segment(account, now_ns);
    account.system_call = NOT_IN_CALL;
    account.enter_ns = ENTRY_UNKNOWN;
    account.gap_blocked_call = NO_CALL;
    zero(&mut account.cause_listener);
    zero(&mut account.gap_cpu_ns);
    zero(&mut account.gap_run_queue_ns);
    zero(&mut account.gap_blocked_ns);
    zero(&mut account.gap_switches);
    zero(&mut account.gap_fault_ns);
    zero(&mut account.folded_ns);
    zero(&mut account.folded_calls);
    if account.flags & FLAG_WAKE_MISSED != 0 {
        account.call_undecided_ns = 0;
        account.gap_undecided_ns = 0;
    }
    zero(&mut account.flags);
    zero(&mut account.waker_tid);
    zero(&mut account.take_lock);
    zero(&mut account.take_mark);
    zero(&mut account.take_flags);
    zero(&mut account.take_tail_ns);
    zero(&mut account.take_aside);
}

#[inline(always)]
fn clear_segment(account: &mut ThreadAccount, now_ns: u64) {
    account.segment_start_ns = now_ns;
    zero(&mut account.cpu_ns);
    zero(&mut account.run_queue_ns);
    zero(&mut account.blocked_ns);
    zero(&mut account.switches);
}

/// Volatile, because neighbours that are zeroed together become a call of `memset`, which on this target is a
/// loop over bytes: it took a tenth of all time spent here.
#[inline(always)]
fn zero<T: Default>(field: &mut T) {
    // SAFETY: a reference to write to.
    unsafe { core::ptr::from_mut(field).write_volatile(T::default()) };
}

/// What was known of the tasks of a thread is void.
#[inline(always)]
pub fn forget_task(account: &mut ThreadAccount) {
    zero(&mut account.has_polled);
    zero(&mut account.told_task);
    zero(&mut account.task_generation);
    zero(&mut account.task_misses);
    zero(&mut account.task_by);
    zero(&mut account.thread_state);
}

/// How a thread is found when it is adopted.
#[derive(Clone, Copy)]
pub struct Start {
    /// Process and thread.
    pub who: (u32, u32),
    /// `RUNNING`, `RUNNABLE` or `BLOCKED`.
    pub state: u32,
    /// The observed call it is inside, or `NOT_IN_CALL`.
    pub call: i32,
    /// The call its registers show while it sleeps (`PAGE_FAULT`: none).
    pub blocked_in_call: i32,
    /// What is known of that call; zeros if it does not sleep.
    pub detail: Words,
}

/// Gives `task` an account; false if it has one already or gets none (counted).
#[inline(always)]
pub fn adopt(task: *mut task_struct, start: Start, now_ns: u64) -> bool {
    let Some(storage) = TASKS.get_or_make(task) else {
        emit::lose(loss::FORK_UNADOPTED);
        return false;
    };
    // SAFETY: the look-up succeeded.
    if unsafe { *storage } != 0 {
        return false;
    }
    let index = match FREE_INDEXES.pop() {
        Ok(Some(index)) => index,
        Ok(None) => {
            emit::lose(loss::THREAD_TABLE_FULL);
            return false;
        }
        Err(_) => {
            emit::lose(loss::FORK_UNADOPTED);
            return false;
        }
    };
    let Some(account) = ACCOUNTS.get_ptr_mut(index.wrapping_sub(1)) else { return false };
    // SAFETY: the index came from the queue, so nobody else writes this element before the storage names it.
    unsafe {
        let mut account = change(account);
        account.generation = account.generation.wrapping_add(1);
        account.tgid = start.who.0;
        account.tid = start.who.1;
        account.state = start.state;
        account.state_since_ns = now_ns;
        account.adopted_ns = now_ns;
        account.sequence = 0;
        account.moves = task::moves(task).unwrap_or(0);
        account.take_begun = 0;
        account.take_since_ns = 0;
        account.take_signals = 0;
        forget_task(&mut account);
        account.has_polled = u32::from(matches!(start.call as u32, EPOLL_WAIT | EPOLL_PWAIT | EPOLL_PWAIT2));
        account.total_cpu_ns = 0;
        account.total_run_queue_ns = 0;
        account.total_blocked_ns = 0;
        restart(&mut account, now_ns);
        account.system_call = start.call;
        set_detail(&mut account, start.detail);
        account.blocked_in_call = start.blocked_in_call;
        if start.state == BLOCKED && start.call == NOT_IN_CALL && start.blocked_in_call != PAGE_FAULT {
            account.gap_blocked_call = start.blocked_in_call;
        }
        drop(account);
        // Another CPU that finds the index finds the account at rest, whichever hook is the next to change
        // it.
        order::full();
        *storage = index;
    }
    true
}

/// The state of a thread adopted at `adopted_ns` was looked at again: it counts if no hook has changed the
/// account since.
#[inline(always)]
pub fn correct(task: *mut task_struct, state: u32, adopted_ns: u64) {
    let Some(account) = of(task) else { return };
    // SAFETY: `of` gives elements of `ACCOUNTS` only. A hook that comes between the look and the write is
    // overruled until its next change; that window is a few instructions.
    unsafe {
        if (*account).state_since_ns == adopted_ns && (*account).state != state {
            change(account).state = state;
        }
    }
}

/// Takes the account of a thread that ended back.
#[inline(always)]
pub fn release(task: *mut task_struct, now_ns: u64) {
    let Some(storage) = TASKS.get(task) else { return };
    // SAFETY: the look-up succeeded.
    let index = unsafe { *storage };
    if index == 0 {
        return;
    }
    // The thread still switches a few times: without an index nothing touches the reused element. It runs
    // here.
    if let Some(cpu) = CPU.get_ptr_mut(0) {
        // SAFETY: the look-up succeeded; the element is this CPU's own.
        unsafe { (*cpu).current = 0 };
    }
    // SAFETY: as above.
    unsafe { *storage = 0 };
    if let Some(account) = at(index) {
        // SAFETY: the ending thread is the only writer.
        let mut account = unsafe { change(account) };
        settle(&mut account, now_ns);
        account.state = FREE;
    }
    if FREE_INDEXES.push(&index, 0).is_err() {
        emit::lose(loss::THREAD_TABLE_FULL);
    }
}
