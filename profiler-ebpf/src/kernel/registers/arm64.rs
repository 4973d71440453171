//! The registers of arm64: their places in `struct pt_regs` (arch/arm64/include/asm/ptrace.h), the same since
//! Linux 4.20.
//!
//! In: a typed `pt_regs` pointer. Out: system call number, as records have it, arguments and result.

use profiler_common::system_call::arm64;

use super::{Registers, load};

/// Size of a register; `regs` stands first and has 31 of them.
const REGISTER: usize = 8;
const SP: usize = 248;
const PSTATE: usize = 264;
/// The first argument: the result takes its register.
const ORIG_X0: usize = 272;
/// 32 bits; what stands behind them depends on the version.
const SYSCALLNO: usize = 280;

/// `TIF_32BIT`, arch/arm64/include/asm/thread_info.h, in `thread_info.flags`: the thread runs a 32-bit
/// program.
pub const BY_32_BIT_ENTRY: u32 = 1 << 22;

/// Whether they are of a thread in user mode of 64 bits. Those that the kernel made (of io_uring) have no
/// stack in user space.
#[inline(always)]
pub fn is_of_64_bits(registers: Registers) -> bool {
    /// `PSR_MODE_MASK` and `PSR_MODE32_BIT`; `PSR_MODE_EL0t` is 0 (arch/arm64/include/uapi/asm/ptrace.h).
    const MODE: u64 = 0x1f;
    load(registers, PSTATE) & MODE == 0 && load(registers, SP) != 0
}

/// The number that records have for the call that the kernel calls `number`.
#[inline(always)]
pub const fn recorded(number: u32) -> u32 {
    arm64::recorded(number)
}

/// Number of the system call the registers belong to; −1 outside one (`NO_SYSCALL`, which every other entry
/// sets).
#[inline(always)]
pub fn system_call(registers: Registers) -> i32 {
    let number = own_number(registers) as i32;
    if number < 0 { number } else { recorded(number as u32) as i32 }
}

/// Number of the system call the registers belong to, where there is one.
#[inline(always)]
pub fn number(registers: Registers) -> u32 {
    recorded(own_number(registers))
}

#[inline(always)]
fn own_number(registers: Registers) -> u32 {
    // SAFETY: as in `load`; volatile, so that it is one load of 32 bits.
    unsafe { registers.cast::<u8>().add(SYSCALLNO).cast::<u32>().read_volatile() }
}

/// The first three arguments.
#[inline(always)]
pub fn arguments(registers: Registers) -> [u64; 3] {
    [load(registers, ORIG_X0), load(registers, REGISTER), load(registers, 2 * REGISTER)]
}

/// The fourth argument.
#[inline(always)]
pub fn fourth(registers: Registers) -> u64 {
    load(registers, 3 * REGISTER)
}

/// What the call returned, once it has.
#[inline(always)]
pub fn result(registers: Registers) -> i64 {
    load(registers, 0) as i64
}

/// Stack pointer.
#[inline(always)]
pub fn stack(registers: Registers) -> u64 {
    load(registers, SP)
}
