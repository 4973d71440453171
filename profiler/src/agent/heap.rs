//! Memory that the allocator keeps.
//!
//! In: nothing. Out: it is the kernel's again.

/// Attaching reads the kernel's types, tens of megabytes that the allocator would keep.
pub(super) fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers, and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
