//! The clock: 99 times a second, on each CPU, who computes there and where in Python.
//!
//! In: a `perf_event` of each CPU (`cpu-clock`). Out: samples in a ring of their own, of threads of traced
//! processes alone. It interrupts our other programs too, so it shares nothing with them that they write.

use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_get_current_task_btf, bpf_ktime_get_ns};
use aya_ebpf::macros::perf_event;
use aya_ebpf::programs::PerfEventContext;
use profiler_common::gil::FrameWay;
use profiler_common::loss;
use profiler_common::stack::{StackFrame, StackSample, TOLD_AGAIN_NS};

use crate::account;
use crate::emit;
use crate::empty;
use crate::lock;
use crate::maps::{SAMPLES, TARGETS, TOLD_STACKS};
use crate::stack::{self, Scratch};

/// `BPF_RB_NO_WAKEUP` (include/uapi/linux/bpf.h): the reader has a timer.
const NO_WAKEUP: u64 = 1;
/// Tells the verifier how many frames there are at most.
const COUNT_MASK: u64 = 63;

/// The clock ticks.
#[perf_event]
pub fn clock(_: PerfEventContext) -> u32 {
    if empty::bodies_left_out() {
        return 0;
    }
    // SAFETY: the helper has no preconditions.
    let who = unsafe { bpf_get_current_pid_tgid() };
    let tgid = (who >> 32) as u32;
    if tgid == 0 || TARGETS.get_ptr(&tgid).is_none() {
        return 0;
    }
    if let Some(scratch) = stack::scratch() {
        // SAFETY: the scratch is this CPU's, and no other program's.
        unsafe { sample(scratch, tgid, who as u32) };
    }
    0
}

/// # Safety
/// `scratch` is this CPU's, and nobody else's meanwhile.
#[inline(always)]
unsafe fn sample(scratch: *mut Scratch, tgid: u32, tid: u32) {
    // SAFETY: as the caller promises; the helpers have no preconditions.
    unsafe {
        let time_ns = bpf_ktime_get_ns();
        // The process is part of what distinguishes stacks: addresses are its own.
        (*scratch).sample = StackSample { time_ns, tgid, tid, stack: u64::from(tgid), flags: 0, count: 0 };
        if let Some(lock) = lock::main(tgid)
            && lock.frame_way() != 0
        {
            let task = bpf_get_current_task_btf();
            stack::read(scratch, lock, FrameWay::unpack(lock.frame_way()), task, account::of(task));
        }
        hand_over(scratch, time_ns);
    }
}

/// Hands the sample over, with its frames if they were not told lately.
///
/// # Safety
/// As for [`sample`].
#[inline(always)]
unsafe fn hand_over(scratch: *mut Scratch, now_ns: u64) {
    // SAFETY: as the caller promises; `output` copies no more than there is.
    unsafe {
        let stack = if (*scratch).sample.count == 0 { 0 } else { (*scratch).sample.stack };
        (*scratch).sample.stack = stack;
        let told_ns = TOLD_STACKS.get_ptr(&stack).map_or(0, |told_ns| *told_ns);
        let is_told = told_ns != 0 && now_ns.wrapping_sub(told_ns) < TOLD_AGAIN_NS;
        if is_told {
            (*scratch).sample.count = 0;
        }
        let count = u64::from((*scratch).sample.count) & COUNT_MASK;
        let bytes = size_of::<StackSample>() as u64 + count * size_of::<StackFrame>() as u64;
        let filled = core::slice::from_raw_parts(scratch.cast::<u8>(), bytes as usize);
        if SAMPLES.output_untyped(filled, NO_WAKEUP).is_err() {
            emit::lose(loss::RING_FULL_SAMPLE);
        } else if count > 0 {
            let _ = TOLD_STACKS.insert(&stack, &now_ns, 0);
        }
    }
}
