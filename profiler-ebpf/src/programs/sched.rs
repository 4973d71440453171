//! Scheduler hooks: when a traced thread leaves a CPU, becomes runnable, gets a CPU, and who woke it.
//!
//! In: `sched_switch`, `sched_wakeup`, `sched_waking`. Out: accounts, and what connections to listeners woke.
//! A run-queue wait starts at `sched_wakeup`, as in schedstat; `sched_waking` comes too early and on the
//! waker's CPU, but only there `current` is the waker.

use aya_ebpf::bindings::task_struct;
use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use profiler_common::account::RUNNABLE;
use profiler_common::gap_sleep::{CLONE, CLONE_VFORK, CLONE3, VFORK};
use profiler_common::record::slice::{OTHER_TABLE, PAGE_FAULT};
use profiler_common::system_call::FUTEX;

use super::{light, sleep};
use crate::account::{self, Account};
use crate::cause;
use crate::empty;
use crate::kernel::{registers, task};
use crate::maps::{CPU, Cpu};
use crate::stints;
use crate::take;
use crate::user_memory::user_word;

/// A CPU goes from one thread to another.
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    if empty::bodies_left_out() {
        return 0;
    }
    let previous: *mut task_struct = ctx.arg(1);
    let next: *mut task_struct = ctx.arg(2);
    let Some(cpu) = CPU.get_ptr_mut(0) else { return 0 };
    // SAFETY: the look-up succeeded; the element is this CPU's own.
    unsafe { cause::clear_on(cpu) };
    let (left, index) = (running(cpu, previous), account::index_of(next));
    // SAFETY: as above.
    let is_watched = unsafe { (*cpu).watched } != 0;
    if left.is_none() && index == 0 && !is_watched {
        // SAFETY: as above.
        unsafe { (*cpu).current = 0 };
        return 0;
    }
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if is_watched {
        // SAFETY: as above.
        unsafe { stints::left(cpu, previous, left.is_some(), now_ns) };
    }
    if let Some(account) = left {
        // The argument is a `bool` in a 64-bit slot: only its lowest bit is defined.
        let preempted = ctx.arg::<u64>(0) & 1 == 1;
        let blocks = !preempted && task::state(previous) != 0;
        let mut call = PAGE_FAULT;
        if blocks && light::is_light() {
            call = as_vfork(sleep::call(previous, registers::of(previous)), previous);
        } else if blocks {
            call = registers::system_call(registers::of(previous));
            if call < 0 {
                call = PAGE_FAULT;
            } else if task::is_in_32_bit_call(previous) {
                call = OTHER_TABLE;
            } else {
                call = as_vfork(call, previous);
            }
        }
        // SAFETY: under the run-queue lock this is the account's only writer.
        unsafe {
            let mut change = account::change(account);
            account::switch_out(&mut change, now_ns, blocks, call);
            if !blocks {
                stints::loses(&mut change, previous);
                stints::watch(cpu, now_ns);
            }
            if blocks && light::is_light() {
                sleep::begins(&mut change, previous, registers::of(previous), call);
            }
        }
        if blocks {
            cause::sleeps(account);
        }
    }
    // SAFETY: as above.
    unsafe { (*cpu).current = index };
    if let Some(account) = account::at(index) {
        // SAFETY: under the run-queue lock this is the account's only writer.
        unsafe {
            let mut change = account::change(account);
            let (state, since_ns) = (change.state, change.state_since_ns);
            account::switch_in(&mut change, now_ns);
            if state == RUNNABLE {
                stints::comes(cpu, (account, next), since_ns, previous, left.is_some());
            }
            if light::is_light() {
                sleep::ends(account, state, since_ns);
            } else if change.take_lock != 0 {
                take::resumed(&mut change, registers::of(next));
            }
        }
    }
    0
}

/// The call that the current thread sleeps in: whatever waits until its child has a program of its own is a
/// `vfork`.
#[inline(always)]
fn as_vfork(call: i32, current: *mut task_struct) -> i32 {
    if call != CLONE && call != CLONE3 {
        return call;
    }
    let [first, ..] = registers::arguments(registers::of(current));
    let flags = if call == CLONE3 { user_word(first) } else { first };
    if flags & CLONE_VFORK != 0 { VFORK } else { call }
}

/// The account of the thread that ran on this CPU until now.
#[inline(always)]
fn running(cpu: *mut Cpu, previous: *mut task_struct) -> Option<Account> {
    // SAFETY: the pointer comes from a successful look-up.
    match unsafe { (*cpu).current } {
        // The thread had no account when it came to this CPU; it may have been adopted since.
        0 => account::of(previous),
        index => account::at(index),
    }
}

/// A thread enters a run queue.
#[btf_tracepoint(function = "sched_wakeup")]
pub fn sched_wakeup(ctx: BtfTracePointContext) -> i32 {
    if empty::bodies_left_out() {
        return 0;
    }
    let thread: *mut task_struct = ctx.arg(0);
    if let Some(account) = account::of(thread) {
        if account::has_left_its_cpu(account) {
            // SAFETY: the run-queue lock is held and the thread is off its CPU, so this is the account's only
            // writer.
            unsafe {
                let mut change = account::change(account);
                account::wake(&mut change, bpf_ktime_get_ns());
                stints::waits(&mut change, thread);
            }
        } else {
            cause::enqueued(account);
        }
    }
    0
}

/// Somebody wakes a thread: `current` is the waker (0 where an interrupt did it on an idle CPU).
#[btf_tracepoint(function = "sched_waking")]
pub fn sched_waking(ctx: BtfTracePointContext) -> i32 {
    if empty::bodies_left_out() {
        return 0;
    }
    if let Some(account) = account::of(ctx.arg(0)) {
        // SAFETY: these fields are written here and, while the thread runs, by itself.
        unsafe {
            (&raw mut (*account).waker_tid).write_volatile(bpf_get_current_pid_tgid() as u32);
            if light::is_light() {
                return 0;
            }
            if (*account).system_call == FUTEX as i32 {
                (&raw mut (*account).waking_ns).write_volatile(bpf_ktime_get_ns());
            }
        }
        cause::wakes(account);
    }
    0
}
