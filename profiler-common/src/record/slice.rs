//! The slice: one observed system call, the gap before it, and the thread's account of both.
//!
//! In: nothing. Out: [`SliceRecord`]. Its laws: `time_ns − enter_ns = call_cpu_ns + call_run_queue_ns +
//! call_blocked_ns`; the gap starts where the thread's previous slice ended, and
//! `enter_ns − gap start = gap_cpu_ns + gap_run_queue_ns + gap_blocked_ns`.

use super::RecordHeader;
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`SliceRecord::flags`]: the thread blocked within the gap in calls that do not wait for the same
/// ([`crate::gap_sleep::are_alike`]).
pub const FLAG_GAP_BLOCKED_MIXED: u32 = 1;
/// [`SliceRecord::flags`]: the call wrote to a client connection and its first bytes are `HTTP/1.`.
pub const FLAG_STATUS_LINE: u32 = 1 << 1;
/// [`SliceRecord::flags`]: the descriptor is a connection that a traced listener accepted.
pub const FLAG_CLIENT: u32 = 1 << 2;
/// [`SliceRecord::flags`]: a wakeup inside this slice, or a switch to the thread, was not seen
/// ([`Undecided`]).
pub const FLAG_WAKE_MISSED: u32 = 1 << 3;
/// [`SliceRecord::flags`]: the call waits to take an interpreter lock that the programs know. Every call that
/// the thread makes after it is looked at: the next slice says with [`FLAG_TAKE_OVER`] and
/// [`SliceRecord::take_tail_ns`] how it went on.
pub const FLAG_TAKE_FOLLOWED: u32 = 1 << 4;
/// [`SliceRecord::flags`]: since its last wait for the interpreter lock, and before this call, the thread
/// made a call that is none of the attempt to take the lock. So it had the lock.
pub const FLAG_TAKE_OVER: u32 = 1 << 5;
/// [`SliceRecord::flags`]: the call waits on the memory of an interpreter lock to give the lock up, not to
/// take it.
pub const FLAG_GIVES_UP: u32 = 1 << 6;
/// [`SliceRecord::flags`]: the call waits to take an interpreter lock that the programs know.
pub const FLAG_TAKES_LOCK: u32 = 1 << 7;
/// [`SliceRecord::flags`]: the descriptor is a connection that its process began, to a back end.
pub const FLAG_BACK_END: u32 = 1 << 8;
/// [`SliceRecord::flags`]: the read was only to look (`MSG_PEEK`): what it returned stays where it is.
pub const FLAG_PEEKS: u32 = 1 << 9;

/// Follows a [`SliceRecord`] of whose sleep some may have been run queue, or time on a CPU. The record's
/// length says whether it does.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct Undecided {
    /// How much of the call's sleep at most.
    pub call_ns: u64,
    /// How much of the gap's sleep at most.
    pub gap_ns: u64,
}

impl Undecided {
    /// Nothing is undecided.
    pub const NOTHING: Self = Self { call_ns: 0, gap_ns: 0 };
}

/// [`SliceRecord::gap_blocked_call`]: the thread did not block in the gap outside a page fault.
pub const NO_CALL: i32 = -2;
/// A call number meaning "one of the 32-bit table": what it sleeps for is not known.
pub const OTHER_TABLE: i32 = i32::MAX;
/// A call number meaning "page fault" (the kernel has −1 in the registers outside a system call).
pub const PAGE_FAULT: i32 = -1;
/// `system_call` of a thread's last slice, which has no call: the thread ends.
pub const THREAD_ENDS: u16 = u16::MAX;

/// One observed system call with the gap before it. `header.time_ns` is the call's exit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct SliceRecord {
    /// Common header; `time_ns` is the exit of the call.
    pub header: RecordHeader,
    /// Entry of the call, `CLOCK_MONOTONIC`.
    pub enter_ns: u64,
    /// What the call was asked for and what was found out about it: [`super::detail`] names its parts by kind
    /// of call.
    pub detail: [u64; 4],
    /// What the call returned: a value, or −errno.
    pub result: i64,
    /// Time on a CPU between entry and exit.
    pub call_cpu_ns: u64,
    /// Time runnable and waiting for a CPU between entry and exit.
    pub call_run_queue_ns: u64,
    /// Time asleep between entry and exit.
    pub call_blocked_ns: u64,
    /// Time on a CPU in the gap before the call.
    pub gap_cpu_ns: u64,
    /// Time runnable and waiting for a CPU in the gap.
    pub gap_run_queue_ns: u64,
    /// Time asleep in the gap (in calls that are not observed or were folded, or in page faults).
    pub gap_blocked_ns: u64,
    /// The part of `gap_blocked_ns` spent in page faults.
    pub gap_fault_ns: u64,
    /// Wall time of the observed calls that were folded into the gap (a part of the gap, not beside it).
    pub folded_ns: u64,
    /// Number of this slice among its thread's slices, from 1; a hole means lost slices.
    pub sequence: u32,
    /// Observed calls folded into the gap (futex calls that never slept).
    pub folded_calls: u32,
    /// Times the thread was switched in during the call.
    pub call_switches: u32,
    /// Times the thread was switched in during the gap.
    pub gap_switches: u32,
    /// Thread that last woke this one: during the call, or, where it did not sleep in that, in the gap. 0 if
    /// nobody did.
    pub waker_tid: u32,
    /// The unobserved call in which the thread last blocked during the gap; [`NO_CALL`] if none. A `clone`
    /// or `clone3` that waits for its child is `vfork`.
    pub gap_blocked_call: i32,
    /// The thread's last slice is a wait for the interpreter lock: how long after it the attempt to take the
    /// lock went on. That is up to the end of its last call on the lock's memory; with `--gil=full` up to its
    /// very end. At most `u32::MAX`; 0: no longer.
    pub take_tail_ns: u32,
    /// System call number ([`crate::system_call`]).
    pub system_call: u16,
    /// `FLAG_` bits; all are of the lower half.
    pub flags: u16,
}

impl SliceRecord {
    /// Whether all of these flags are set.
    pub const fn has(&self, flags: u32) -> bool {
        self.flags as u32 & flags == flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slice_layout_is_pinned() {
        assert_eq!(size_of::<SliceRecord>(), 168);
        assert_eq!(core::mem::offset_of!(SliceRecord, enter_ns), 24);
        assert_eq!(core::mem::offset_of!(SliceRecord, result), 64);
        assert_eq!(core::mem::offset_of!(SliceRecord, call_cpu_ns), 72);
        assert_eq!(core::mem::offset_of!(SliceRecord, sequence), 136);
        assert_eq!(core::mem::offset_of!(SliceRecord, flags), 166);
        assert_eq!(size_of::<Undecided>(), 16);
    }
}
