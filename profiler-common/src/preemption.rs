//! How programs that Linux may preempt keep their CPU, where it lends them the functions for that.
//!
//! In: nothing. Out: the numbers of helpers that do not exist. The programs call these; before the kernel sees them, user space puts calls of the
//! kernel's `bpf_preempt_disable` and `bpf_preempt_enable` (Linux 6.10) in their place, or nothing.

/// Stands for `bpf_preempt_disable`.
pub const DISABLE: u32 = 0x7773_0001;
/// Stands for `bpf_preempt_enable`.
pub const ENABLE: u32 = 0x7773_0002;
