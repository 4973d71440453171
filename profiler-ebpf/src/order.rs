//! The order in which other CPUs see what a program reads and writes.
//!
//! In: nothing. Out: a full barrier. x86 keeps stores in order, and loads, so there it only stops the
//! compiler. arm64 keeps neither. BPF has no barrier of its own (acquire and release came with Linux 6.15),
//! but every atomic operation that gives a result is one (Documentation/bpf/standardization/instruction-set.
//! rst; arch/arm64/net/bpf_jit_comp.c).

use core::sync::atomic::{Ordering, compiler_fence};

/// What was read and written before is so for every CPU before what comes after.
#[inline(always)]
pub fn barrier() {
    compiler_fence(Ordering::SeqCst);
    full();
}

/// A barrier where x86 needs nothing, not even a hint to the compiler: between accesses that are volatile.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
pub fn full() {
    let mut word = 0_u64;
    // SAFETY: the word is this program's own; the operation adds nothing to it. Written as assembly, as LLVM
    // makes it without its result, which is no barrier, or refuses it for the oldest instruction set.
    unsafe {
        core::arch::asm!(
            "{result} = atomic_fetch_add((u64 *)({word} + 0), {result})",
            word = in(reg) &raw mut word,
            result = inout(reg) 0_u64 => _,
        );
    }
    compiler_fence(Ordering::SeqCst);
}

/// A barrier where x86 needs nothing, not even a hint to the compiler: between accesses that are volatile.
#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
pub const fn full() {}
