//! Keeps the CPU for as long as a program runs.
//!
//! In: what to do. Out: its result. Up to Linux 7.1 every program of ours that writes records runs with
//! preemption disabled. Later ones can be preempted: `sched_switch` would come in the middle of a change to
//! the same account, and whoever runs meanwhile would find the ring of this CPU busy. And as long as a
//! program is preempted, the kernel skips the same program for every other thread of that CPU
//! (`bpf_prog_get_recursion_context`, include/linux/bpf.h): for a time slice or longer.

use core::mem::MaybeUninit;

use profiler_common::preemption::{DISABLE, ENABLE, RESTORE, SAVE};

/// Does `body` without being preempted, where the kernel lends what that takes.
///
/// To allow preemption again looks at once whether somebody else is to run. That would happen here, within
/// the program. While interrupts are off the kernel does not look (`preempt_schedule`, kernel/sched/core.c),
/// nor when they are on again: so it is left to the next occasion, after the program.
#[inline(always)]
pub fn disabled<T>(body: impl FnOnce() -> T) -> T {
    call::<DISABLE>();
    let result = body();
    let mut interrupts = MaybeUninit::<u64>::uninit();
    call_with::<SAVE>(interrupts.as_mut_ptr());
    call::<ENABLE>();
    call_with::<RESTORE>(interrupts.as_mut_ptr());
    result
}

/// Calls a helper that has neither arguments nor a result.
#[inline(always)]
fn call<const NUMBER: u32>() {
    // SAFETY: user space has put a call of a function of the kernel's in its place, or an instruction that
    // does nothing.
    unsafe {
        let helper: unsafe extern "C" fn() = core::mem::transmute(NUMBER as usize);
        helper();
    }
}

/// Calls a helper whose argument is where it keeps what it needs.
#[inline(always)]
fn call_with<const NUMBER: u32>(kept: *mut u64) {
    // SAFETY: as above; the verifier checks that both calls name the same place on the stack.
    unsafe {
        let helper: unsafe extern "C" fn(*mut u64) = core::mem::transmute(NUMBER as usize);
        helper(kept);
    }
}
