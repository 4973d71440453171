//! A timer of an event loop that came due while the loop was busy.
//!
//! In: nothing. Out: [`TimerRecord`]. The loop's thread writes it as it begins to look, with the `time_ns` of
//! that entry. The loop runs the timer once it has looked.

use super::RecordHeader;
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The timer; the header names the loop's thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct TimerRecord {
    /// Common header.
    pub header: RecordHeader,
    /// The task that sleeps until then, as in [`TaskRecord`](super::task::TaskRecord).
    pub task: u64,
    /// When it was due.
    pub due_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timer_layout_is_pinned() {
        assert_eq!(size_of::<TimerRecord>(), 40);
        assert_eq!(core::mem::offset_of!(TimerRecord, task), 24);
        assert_eq!(core::mem::offset_of!(TimerRecord, due_ns), 32);
    }
}
