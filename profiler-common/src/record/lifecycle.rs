//! Birth, death and change of traced threads.
//!
//! In: nothing. Out: [`LifecycleRecord`].

use super::RecordHeader;
use crate::limits::COMM_BYTES;
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`LifecycleRecord::what`]: the header's thread made the thread `other_tid` of process `other_tgid`.
/// `value` is the number that the child has in its own PID namespace, which is what `gettid` tells it; 0: not
/// known.
pub const FORK: u32 = 1;
/// [`LifecycleRecord::what`]: the header's thread ended. `value` is `exit_code` as the kernel keeps it
/// (signal in the low 7 bits).
pub const EXIT: u32 = 2;
/// [`LifecycleRecord::what`]: the header's process executed another program; `comm` is its new name.
pub const EXEC: u32 = 3;
/// [`LifecycleRecord::what`]: the iterator adopted a thread that was there before the programs were attached.
pub const ADOPTED: u32 = 4;

/// One event in the life of a thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct LifecycleRecord {
    /// Common header.
    pub header: RecordHeader,
    /// [`FORK`], [`EXIT`], [`EXEC`] or [`ADOPTED`].
    pub what: u32,
    /// Process of the child (fork only).
    pub other_tgid: u32,
    /// Thread id of the child (fork only).
    pub other_tid: u32,
    /// Keeps the alignment; always 0.
    pub reserved: u32,
    /// See `what`.
    pub value: i64,
    /// Name of the header's thread (the child's on fork), NUL-padded.
    pub comm: [u8; COMM_BYTES],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifecycle_layout_is_pinned() {
        assert_eq!(size_of::<LifecycleRecord>(), 64);
        assert_eq!(core::mem::offset_of!(LifecycleRecord, comm), 48);
    }
}
