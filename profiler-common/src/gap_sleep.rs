//! What a thread sleeps for in a call that is not observed, by the call's number.
//!
//! In: the numbers of records, which are those of `x86_64` (arch/x86/entry/syscalls/syscall_64.tbl). Out:
//! [`GapSleep`], and whether two calls sleep for the same.

/// `clone`: a `vfork` where its first argument has [`CLONE_VFORK`].
pub const CLONE: i32 = 56;
/// `vfork`: the thread sleeps until its child has a program of its own, or has ended.
pub const VFORK: i32 = 58;
/// `wait4`: the thread sleeps until a child has ended.
pub const WAIT4: i32 = 61;
/// `waitid`: the same.
pub const WAITID: i32 = 247;
/// `clone3`: as `clone`, where the word at its first argument has that flag.
pub const CLONE3: i32 = 435;
/// The thread sleeps as in a `vfork` (include/uapi/linux/sched.h).
pub const CLONE_VFORK: u64 = 0x4000;

/// What a call that is not observed sleeps for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapSleep {
    /// A file system: its disk, or its locks inside the kernel.
    File,
    /// A lock that processes take on a file (`fcntl`, `flock`).
    FileLock,
    /// The lock of the memory map, or its pages.
    Memory,
    /// A child process: that it begins, or that it ends.
    Child,
    /// The number does not say.
    Unknown,
}

/// What this call sleeps for.
#[inline(always)]
pub const fn of(system_call: i32) -> GapSleep {
    match system_call {
        VFORK | WAIT4 | WAITID => GapSleep::Child,
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

/// Whether sleeps in both calls are for the same, so that their sum is known whichever of them took it. Of
/// locks it matters which.
#[inline(always)]
pub const fn are_alike(one: i32, other: i32) -> bool {
    one == other
        || matches!(
            (of(one), of(other)),
            (GapSleep::File, GapSleep::File)
                | (GapSleep::Memory, GapSleep::Memory)
                | (GapSleep::Child, GapSleep::Child)
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
        assert!(are_alike(FSYNC, FADVISE));
        assert!(are_alike(9, 11), "mmap, munmap");
        assert!(are_alike(WAIT4, WAIT4));
        assert!(!are_alike(FSYNC, FLOCK), "which of them it was says whether it waited for its turn");
        assert!(!are_alike(FSYNC, 9));
        assert!(are_alike(VFORK, WAIT4), "its child begins, and ends");
        assert!(!are_alike(WAITID, FLOCK));
        assert!(!are_alike(CLONE, CLONE3), "they wait for no child");
    }
}
