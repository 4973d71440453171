//! Records in the rings: a common header, then one layout per kind.
//!
//! In: nothing. Out: the layouts. Every record starts with [`RecordHeader`]; `kind` says which layout
//! follows.

pub mod connection;
pub mod detail;
pub mod evidence;
pub mod frames;
pub mod head;
pub mod lifecycle;
pub mod light;
pub mod plaintext;
pub mod sleep;
pub mod slice;
pub mod taken;
pub mod task;
pub mod timer;
pub mod wake;

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`RecordHeader::kind`] of a [`slice::SliceRecord`].
pub const KIND_SLICE: u16 = 1;
/// [`RecordHeader::kind`] of a [`head::HeadRecord`] followed by its captured bytes.
pub const KIND_HEAD: u16 = 2;
/// [`RecordHeader::kind`] of a [`lifecycle::LifecycleRecord`].
pub const KIND_LIFECYCLE: u16 = 3;
/// [`RecordHeader::kind`] of a [`connection::ConnectionRecord`].
pub const KIND_CONNECTION: u16 = 4;
/// [`RecordHeader::kind`] of a [`wake::WakeRecord`].
pub const KIND_WAKE: u16 = 5;
/// [`RecordHeader::kind`] of an [`evidence::EvidenceRecord`].
pub const KIND_EVIDENCE: u16 = 6;
/// [`RecordHeader::kind`] of a [`frames::FramesRecord`].
pub const KIND_FRAMES: u16 = 7;
/// [`RecordHeader::kind`] of a [`light::LightEndRecord`].
pub const KIND_LIGHT_END: u16 = 8;
/// [`RecordHeader::kind`] of a [`light::LightRecord`].
pub const KIND_LIGHT: u16 = 9;
/// [`RecordHeader::kind`] of a [`frames::FramesRecord`] with the frames of the waiter itself.
pub const KIND_WAITER_FRAMES: u16 = 10;
/// [`RecordHeader::kind`] of a [`task::TaskRecord`].
pub const KIND_TASK: u16 = 11;
/// [`RecordHeader::kind`] of a [`sleep::SleepRecord`].
pub const KIND_SLEEP: u16 = 12;
/// [`RecordHeader::kind`] of a [`plaintext::PlaintextRecord`] followed by its captured bytes.
pub const KIND_PLAINTEXT: u16 = 13;
/// [`RecordHeader::kind`] of a [`taken::TakenRecord`] followed by its stints.
pub const KIND_TAKEN: u16 = 14;
/// [`RecordHeader::kind`] of a [`timer::TimerRecord`].
pub const KIND_TIMER: u16 = 15;

/// What every record begins with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct RecordHeader {
    /// One of the `KIND_` constants.
    pub kind: u16,
    /// Length of the whole record in bytes, header included.
    pub length_bytes: u16,
    /// CPU that wrote the record.
    pub cpu: u32,
    /// `CLOCK_MONOTONIC`: when what the record is about ended (a slice: exit of its call).
    pub time_ns: u64,
    /// Process of the thread concerned, as the initial PID namespace numbers it.
    pub tgid: u32,
    /// Thread concerned, as the initial PID namespace numbers it.
    pub tid: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_layout_is_pinned() {
        assert_eq!(size_of::<RecordHeader>(), 24);
        assert_eq!(core::mem::offset_of!(RecordHeader, time_ns), 8);
        assert_eq!(core::mem::offset_of!(RecordHeader, tid), 20);
    }
}
