//! What a thread sleeps for in a call that is not observed, by the call's number.
//!
//! In: the numbers of records, which are those of `x86_64` (arch/x86/entry/syscalls/syscall_64.tbl). Out: [`GapSleep`], and whether two calls sleep for the same.

/// What a call that is not observed sleeps for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapSleep {
    /// A file system: its disk, or its locks inside the kernel.
    File,
    /// A lock that processes take on a file (`fcntl`, `flock`).
    FileLock,
    /// The lock of the memory map, or its pages.
    Memory,
    /// The number does not say.
    Unknown,
}

/// What this call sleeps for.
#[must_use]
#[inline(always)]
pub const fn of(system_call: i32) -> GapSleep {
    match system_call {
        72 | 73 => GapSleep::FileLock,
        // stat family, access, fsync, truncate, getdents, rename … chown.
        4..=6
        | 21
        | 74..=95
        | 133
        | 161
        | 162
        | 191..=199
        | 217
        | 221
        | 258..=269
        | 277
        | 280
        | 285
        | 306
        | 316
        | 332 => GapSleep::File,
        // mmap, mprotect, munmap, brk, mremap, msync, madvise.
        9..=12 | 25 | 26 | 28 => GapSleep::Memory,
        _ => GapSleep::Unknown,
    }
}

/// Whether sleeps in both calls are for the same, so that their sum is known whichever of them took it. Of locks it matters which.
#[must_use]
#[inline(always)]
pub const fn are_alike(one: i32, other: i32) -> bool {
    one == other
        || matches!(
            (of(one), of(other)),
            (GapSleep::File, GapSleep::File) | (GapSleep::Memory, GapSleep::Memory)
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sleeps_for_the_same_are_alike() {
        const FSYNC: i32 = 74;
        const FLOCK: i32 = 73;
        const FADVISE: i32 = 221;
        const WAIT4: i32 = 61;
        const WAITID: i32 = 247;
        assert!(are_alike(FSYNC, FADVISE));
        assert!(are_alike(9, 11), "mmap, munmap");
        assert!(are_alike(WAIT4, WAIT4));
        assert!(!are_alike(FSYNC, FLOCK), "which of them it was says whether it waited for its turn");
        assert!(!are_alike(FSYNC, 9));
        assert!(!are_alike(WAIT4, WAITID));
    }
}
