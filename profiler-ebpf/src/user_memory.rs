//! Memory of the process that runs here, read by a program on its behalf.
//!
//! In: user addresses. Out: what stands there, if it can be read. All of it is the process's own: hostile.

use aya_ebpf::helpers::generated::bpf_probe_read_user;

/// The 8 bytes at a user address; 0 if they cannot be read.
#[inline(always)]
pub fn user_word(address: u64) -> u64 {
    word(address).unwrap_or(0)
}

/// The 8 bytes at a user address, if they can be read.
#[inline(always)]
pub fn word(address: u64) -> Option<u64> {
    let mut word = 0_u64;
    // SAFETY: the destination holds 8 bytes.
    let outcome = unsafe { bpf_probe_read_user((&raw mut word).cast(), 8, address as *const _) };
    if outcome == 0 { Some(word) } else { None }
}

/// The 8 bytes at a user address; 0 if `count` is 0 or they cannot be read.
#[inline(always)]
pub fn first_word(address: u64, count: u64) -> u64 {
    if count != 0 && address != 0 { user_word(address) } else { 0 }
}

/// The `struct timespec` at a user address, in nanoseconds; 0 if it cannot be read.
#[inline(always)]
pub fn user_time(address: u64) -> u64 {
    let mut time = [0_u64; 2];
    // SAFETY: the destination holds 16 bytes; on failure the helper leaves zeroes.
    unsafe { bpf_probe_read_user((&raw mut time).cast(), 16, address as *const _) };
    let [seconds, nanoseconds] = time;
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds)
}
