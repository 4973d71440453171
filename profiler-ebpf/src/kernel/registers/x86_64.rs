//! The registers of `x86_64`: their places are part of the kernel's ABI (arch/x86/include/uapi/asm/ptrace.h).
//!
//! In: a typed `pt_regs` pointer. Out: system call number, arguments and result.

use super::{Registers, load};

const R10: usize = 56;
const AX: usize = 80;
const DX: usize = 96;
const SI: usize = 104;
const DI: usize = 112;
const ORIG_AX: usize = 120;
const CS: usize = 136;
const SP: usize = 152;

/// `TS_COMPAT`, arch/x86/include/asm/thread_info.h, in `thread_info.status`: set before the hooks at a call's
/// entry, taken back after those at its end.
pub const BY_32_BIT_ENTRY: u32 = 2;

/// Whether they are of a thread in the code segment of 64-bit programs. Those that the kernel made (of
/// io_uring) have no stack in user space.
#[inline(always)]
pub fn is_of_64_bits(registers: Registers) -> bool {
    /// `__USER_CS`, arch/x86/include/asm/segment.h.
    const USER_CS: u64 = 0x33;
    load(registers, CS) & 0xffff == USER_CS && load(registers, SP) != 0
}

/// The number that records have for the call that the kernel calls `number`.
#[inline(always)]
pub const fn recorded(number: u32) -> u32 {
    number
}

/// Number of the system call the registers belong to; −1 outside one (page fault, interrupt).
#[inline(always)]
pub fn system_call(registers: Registers) -> i32 {
    load(registers, ORIG_AX) as i32
}

/// Number of the system call the registers belong to, where there is one.
#[inline(always)]
pub fn number(registers: Registers) -> u32 {
    // SAFETY: as in `load`; volatile, so that it is one load of 32 bits.
    unsafe { registers.cast::<u8>().add(ORIG_AX).cast::<u32>().read_volatile() }
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
