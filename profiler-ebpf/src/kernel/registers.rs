//! The saved user registers of x86_64 (`struct pt_regs`): their places are part of the kernel's ABI.
//!
//! In: a typed `pt_regs` pointer. Out: system call number, arguments and result.

use aya_ebpf::bindings::task_struct;
use aya_ebpf::helpers::generated::bpf_task_pt_regs;

/// Pointer to `struct pt_regs` whose type the verifier knows.
pub type Registers = *const core::ffi::c_void;

const R10: usize = 56;
const AX: usize = 80;
const DX: usize = 96;
const SI: usize = 104;
const DI: usize = 112;
const ORIG_AX: usize = 120;
const SP: usize = 152;

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

/// Number of the system call the registers belong to; −1 outside one (page fault, interrupt).
#[inline(always)]
pub fn system_call(registers: Registers) -> i32 {
    load(registers, ORIG_AX) as i32
}

/// The first three arguments.
#[inline(always)]
pub fn arguments(registers: Registers) -> [u64; 3] {
    [load(registers, DI), load(registers, SI), load(registers, DX)]
}

/// The fourth argument.
#[inline(always)]
pub fn fourth(registers: Registers) -> u64 {
    load(registers, R10)
}

/// What the call returned, once it has.
#[inline(always)]
pub fn result(registers: Registers) -> i64 {
    load(registers, AX) as i64
}

/// Stack pointer.
#[inline(always)]
pub fn stack(registers: Registers) -> u64 {
    load(registers, SP)
}
