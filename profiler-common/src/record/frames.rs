//! Where in Python the holder of an interpreter lock was as another thread began to wait for it, and where
//! one that waits for long is.
//!
//! In: nothing. Out: [`FramesRecord`]. It is written as the wait's call begins, with the `time_ns` of that
//! entry, by which the slice of the call is found. Whose frames they are the kind says: `KIND_FRAMES` the
//! holder's, `KIND_WAITER_FRAMES` those of the thread that waits, at most once in an attempt to take the
//! lock, at its first call from [`LONG_NS`] on. In light mode a sleep stands for the call, and it is the
//! first one after a sleep of that length.

use super::RecordHeader;
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Frames of one record at most, the innermost first.
pub const MAX_FRAMES: usize = 8;

/// From here on a thread's waiting for the lock is long. It is a little less than the default switch interval
/// (5 ms): after that, a thread that waits for the condition variable looks at the lock again, and waits
/// again.
pub const LONG_NS: u64 = 4_000_000;

/// [`FramesRecord::flags`]: the holder went on while its frames were read, so they are of different moments.
pub const UNSTABLE: u32 = 1;
/// [`FramesRecord::flags`]: there are further frames.
pub const CUT: u32 = 2;
/// [`FramesRecord::flags`]: a frame could not be read.
pub const UNREADABLE: u32 = 4;

/// One frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct Frame {
    /// Address of its code object.
    pub code: u64,
    /// Address of the instruction that it is at.
    pub instruction: u64,
}

/// One sample; the header names the thread that waits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct FramesRecord {
    /// Common header.
    pub header: RecordHeader,
    /// Frames that are there.
    pub count: u32,
    /// [`UNSTABLE`], [`CUT`], [`UNREADABLE`].
    pub flags: u32,
    /// The frames, innermost first; what is behind the last means nothing.
    pub frames: [Frame; MAX_FRAMES],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_layout_is_pinned() {
        assert_eq!(size_of::<FramesRecord>(), 160);
        assert_eq!(core::mem::offset_of!(FramesRecord, frames), 32);
    }
}
