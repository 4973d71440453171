//! Birth, death and change of traced threads.
//!
//! In: nothing. Out: [`LifecycleRecord`].

use super::RecordHeader;
use crate::limits::COMM_BYTES;
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`LifecycleRecord::what`]: the header's thread made the thread `other_tid` of process `other_tgid`.
pub const FORK: u32 = 1;
/// [`LifecycleRecord::what`]: the header's thread ended.
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
    /// Of [`FORK`] a [`Birth`], of [`EXIT`] a [`Death`]; else 0.
    pub detail: u64,
    /// Name of the header's thread (the child's on fork), NUL-padded.
    pub comm: [u8; COMM_BYTES],
}

/// Of [`FORK`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Birth {
    /// The number that the child has in its own PID namespace, which is what `gettid` tells it; 0: not known.
    pub own_number: u32,
}

impl Birth {
    /// Of a detail. What is no number of a thread is not known.
    #[expect(clippy::cast_possible_truncation, reason = "it fits")]
    pub const fn of(detail: u64) -> Self {
        Self { own_number: if detail > u32::MAX as u64 { 0 } else { detail as u32 } }
    }

    /// As a detail.
    #[inline(always)]
    pub const fn detail(self) -> u64 {
        self.own_number as u64
    }
}

/// Of [`EXIT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Death {
    /// `exit_code` as the kernel keeps it (signal in the low 7 bits).
    pub exit_code: i64,
}

impl Death {
    /// Of a detail.
    pub const fn of(detail: u64) -> Self {
        Self { exit_code: detail.cast_signed() }
    }

    /// As a detail.
    #[inline(always)]
    pub const fn detail(self) -> u64 {
        self.exit_code.cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifecycle_layout_is_pinned() {
        assert_eq!(size_of::<LifecycleRecord>(), 64);
        assert_eq!(core::mem::offset_of!(LifecycleRecord, detail), 40);
        assert_eq!(core::mem::offset_of!(LifecycleRecord, comm), 48);
    }

    #[test]
    fn a_detail_is_read_as_it_was_written() {
        for own_number in [0, 7, u32::MAX] {
            assert_eq!(Birth::of(Birth { own_number }.detail()), Birth { own_number });
        }
        for exit_code in [0, 3 << 8, 9, -1] {
            assert_eq!(Death::of(Death { exit_code }.detail()), Death { exit_code });
        }
        assert_eq!(Birth::of(u64::from(u32::MAX) + 8), Birth { own_number: 0 });
    }
}
