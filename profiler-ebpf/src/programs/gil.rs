//! Probes in the interpreter's own code, where it takes its lock (`--gil=uprobes`, `--gil=full`).
//!
//! In: a thread about to wait for the lock; with `full` every attempt's beginning and end. Out: marks in the
//! thread's account, and how often the probes were hit. They write no record: unlike the other hooks they can
//! be interrupted.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use profiler_common::gil::{ENTERED, LEFT, WAITED};

use crate::account::{self, Account};
use crate::empty;
use crate::lock::{self, Lock};
use crate::maps::GIL_PROBES;
use crate::take;

/// About to wait: the call of `pthread_cond_timedwait`, whose first argument is the lock's condition
/// variable.
#[uprobe]
pub fn gil_waits(ctx: ProbeContext) -> u32 {
    if empty::bodies_left_out() {
        return 0;
    }
    let Some(account) = hit(WAITED) else { return 0 };
    let cond = ctx.arg::<u64>(0).unwrap_or(0);
    // SAFETY: the look-up succeeded; the thread itself runs here.
    unsafe {
        if let Some(lock) = lock_at((*account).tgid, cond, take::COND)
            && (*account).take_begun == 0
        {
            let of = if lock.is_main() { take::MARK_MAIN } else { take::MARK_OTHER };
            (*account).take_mark = now() as u32 & !3 | of;
        }
    }
    0
}

/// The beginning of an attempt.
#[uprobe]
pub fn gil_enters(_ctx: ProbeContext) -> u32 {
    if empty::bodies_left_out() {
        return 0;
    }
    let Some(account) = hit(ENTERED) else { return 0 };
    // SAFETY: as above.
    unsafe {
        if (*account).take_lock != 0 {
            take::over(&mut *account);
        }
        (*account).take_begun = 1;
        (*account).take_mark = now() as u32 & !3 | take::MARK_MAIN;
    }
    0
}

/// A mutex is unlocked: once it is the lock's, the attempt is over but for that call, which wakes others and
/// may lose the CPU to one of them. What the thread does next shows its end, as where there is no probe.
#[uprobe]
pub fn gil_unlocks(ctx: ProbeContext) -> u32 {
    if empty::bodies_left_out() {
        return 0;
    }
    let Some(account) = hit(LEFT) else { return 0 };
    let mutex = ctx.arg::<u64>(0).unwrap_or(0);
    // SAFETY: as above.
    unsafe {
        if lock_at((*account).tgid, mutex, take::MUTEX).is_some() {
            leaves(account);
        }
    }
    0
}

/// An attempt returns.
#[uprobe]
pub fn gil_leaves(_ctx: ProbeContext) -> u32 {
    if empty::bodies_left_out() {
        return 0;
    }
    let Some(account) = hit(LEFT) else { return 0 };
    // SAFETY: as above.
    unsafe {
        leaves(account);
        if (*account).take_lock != 0 {
            take::over(&mut *account);
        }
    }
    0
}

/// The attempt went on up to now, and no other is known to have begun.
///
/// # Safety
/// `account` is that of the thread that runs here.
#[inline(always)]
unsafe fn leaves(account: Account) {
    // SAFETY: as the caller promises.
    unsafe {
        if (*account).take_lock != 0 {
            take::until(&mut *account, now());
        }
        (*account).take_begun = 0;
        (*account).take_mark = 0;
    }
}

/// Counts, and gives the account of the thread that runs here, if it is followed: the probes are in a file
/// that others may run too.
#[inline(always)]
fn hit(what: u32) -> Option<Account> {
    let account = account::current()?;
    if let Some(count) = GIL_PROBES.get_ptr_mut(what) {
        // SAFETY: the look-up succeeded. Interrupted here, a hit may go uncounted; nothing rests on the exact
        // number.
        unsafe { *count = (*count).wrapping_add(1) };
    }
    Some(account)
}

/// The lock of which `address` is at this place: the same function may be called for another purpose.
#[inline(always)]
fn lock_at(tgid: u32, address: u64, place: u64) -> Option<Lock> {
    lock::of(tgid, address).filter(|lock| address.wrapping_sub(lock.address) == place)
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}
