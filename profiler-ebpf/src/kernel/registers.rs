//! The saved user registers of a thread (`struct pt_regs`), one file for each architecture.
//!
//! In: a typed `pt_regs` pointer. Out: system call number, arguments and result; of calls by the 32-bit entry
//! they mean something else (`task::is_in_32_bit_call`).

use aya_ebpf::bindings::task_struct;
use aya_ebpf::helpers::generated::bpf_task_pt_regs;

#[cfg(bpf_target_arch = "aarch64")]
mod arm64;
#[cfg(not(bpf_target_arch = "aarch64"))]
mod x86_64;

#[cfg(bpf_target_arch = "aarch64")]
pub use arm64::*;
#[cfg(not(bpf_target_arch = "aarch64"))]
pub use x86_64::*;

/// Pointer to `struct pt_regs` whose type the verifier knows.
pub type Registers = *const core::ffi::c_void;

#[inline(always)]
fn load(registers: Registers, offset: usize) -> u64 {
    // SAFETY: the verifier knows the pointer's type and checks the load.
    unsafe { *registers.cast::<u8>().add(offset).cast::<u64>() }
}

/// Registers of a task that is not running in user space.
#[inline(always)]
pub fn of(task: *mut task_struct) -> Registers {
    // SAFETY: the verifier checks that `task` is a task.
    let registers = unsafe { bpf_task_pt_regs(task) };
    registers as u64 as *const _
}
