//! The kernel programs: pair, filter, fold, count. No policy and no parsing.
//!
//! In: tracepoint arguments and registers. Out: records of `profiler-common` in the ring buffer.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![cfg_attr(bpf_target_arch = "aarch64", feature(asm_experimental_arch))]
#![allow(
    internal_features,
    reason = "aya-ebpf has no atomic addition; core::intrinsics is the only way to one"
)]

mod account;
mod cause;
mod emit;
mod empty;
mod frames;
mod kernel;
mod lock;
mod maps;
mod order;
mod preemption;
mod programs;
mod stack;
mod stints;
mod take;
mod task;
mod timers;
mod user_memory;
mod waits;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The licence the kernel asks for before it lends GPL-only helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
