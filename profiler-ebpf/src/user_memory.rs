//! Memory of the process that runs here, read by a program on its behalf.
//!
//! In: user addresses. Out: what stands there, if it can be read. All of it is the process's own: hostile.

use aya_ebpf::helpers::generated::bpf_probe_read_user;

/// The 8 bytes at a user address; 0 if they cannot be read.
#[inline(always)]
pub fn user_word(address: u64) -> u64 {
    let mut word = 0_u64;
    // SAFETY: the destination holds 8 bytes; on failure the helper leaves zeroes.
    unsafe { bpf_probe_read_user((&raw mut word).cast(), 8, address as *const _) };
    word
}
