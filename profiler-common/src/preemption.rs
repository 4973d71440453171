//! How programs that Linux may preempt keep their CPU, where it lends them the functions for that.
//!
//! In: nothing. Out: the numbers of helpers that do not exist. The programs call these; before the kernel
//! sees them, user space puts calls of the kernel's `bpf_preempt_disable` and `bpf_preempt_enable` (Linux
//! 6.10), `bpf_local_irq_save` and `bpf_local_irq_restore` (6.14) in their place, or nothing.

/// Stands for `bpf_preempt_disable`.
pub const DISABLE: u32 = 0x7773_0001;
/// Stands for `bpf_preempt_enable`.
pub const ENABLE: u32 = 0x7773_0002;
/// Stands for `bpf_local_irq_save`.
pub const SAVE: u32 = 0x7773_0003;
/// Stands for `bpf_local_irq_restore`.
pub const RESTORE: u32 = 0x7773_0004;
