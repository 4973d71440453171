//! Keeps the CPU for as long as a program changes what others on this CPU change too.
//!
//! In: what to do. Out: its result. Up to Linux 7.1 every program of ours that writes records runs with preemption disabled. Later ones run those at
//! system calls preemptible: `sched_switch` would come in the middle of a change to the same account, and whoever runs meanwhile would
//! find the ring of this CPU busy.

use profiler_common::preemption::{DISABLE, ENABLE};

/// Does `body` without being preempted, where the kernel lends what that takes.
#[inline(always)]
pub fn disabled<T>(body: impl FnOnce() -> T) -> T {
    call::<DISABLE>();
    let result = body();
    call::<ENABLE>();
    result
}

/// Calls a helper that has neither arguments nor a result.
#[inline(always)]
fn call<const NUMBER: u32>() {
    // SAFETY: user space has put a call of a function of the kernel's in its place, or an instruction that does nothing.
    unsafe {
        let helper: unsafe extern "C" fn() = core::mem::transmute(NUMBER as usize);
        helper();
    }
}
