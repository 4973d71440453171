//! Which greenlet or asyncio task an event loop's thread works for from a call on.
//!
//! In: nothing. Out: [`TaskRecord`]. The thread itself writes it as an observed call begins, with the
//! `time_ns` of that entry. It does so where the task is another than the one told last for the thread. From
//! here on the thread's calls are this task's.

use super::RecordHeader;
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The task that goes on; the header names its thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct TaskRecord {
    /// Common header.
    pub header: RecordHeader,
    /// The address of what only this task has while it lives (its `contextvars.Context`, or the first chunk
    /// of its stack of frames). Once it is over another may have the same. 0: the thread works for none.
    pub task: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_layout_is_pinned() {
        assert_eq!(size_of::<TaskRecord>(), 32);
        assert_eq!(core::mem::offset_of!(TaskRecord, task), 24);
    }
}
