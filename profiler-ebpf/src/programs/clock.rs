//! The clock: 99 times a second, on each CPU, who computes there and where in Python.
//!
//! In: a `perf_event` of each CPU (`cpu-clock`). Out: samples in a ring of their own, of threads of traced
//! processes alone. It interrupts our other programs too, so it shares nothing with them that they write.

use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_get_current_task_btf, bpf_ktime_get_ns};
use aya_ebpf::macros::perf_event;
use aya_ebpf::programs::PerfEventContext;

use crate::account;
use crate::empty;
use crate::maps::TARGETS;
use crate::stack::{self, About, OF_CLOCK};

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
    // SAFETY: the helpers have no preconditions; the clock does not interrupt itself.
    unsafe {
        let task = bpf_get_current_task_btf();
        let time_ns = bpf_ktime_get_ns();
        let about =
            About { tgid, tid: who as u32, time_ns, slept_ns: 0, system_call: 0, drawn_ns: 0, flags: 0 };
        stack::sample(OF_CLOCK, about, task, account::of(task));
    }
    0
}
