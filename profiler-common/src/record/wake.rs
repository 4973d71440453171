//! A connection to a traced listener woke a traced thread: when, and what came of it.
//!
//! In: nothing. Out: [`WakeRecord`]. It is written when its outcome is known: as the thread goes back to
//! sleep inside the call, or as the call returns (then before the call's own records, with its `time_ns`).

use super::RecordHeader;
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`WakeRecord::outcome`]: the thread went back to sleep inside the same call.
pub const SLEPT_AGAIN: u32 = 1;
/// [`WakeRecord::outcome`]: the call returned.
pub const RETURNED: u32 = 2;

/// One wakeup; the header names the thread that was woken, and the moment at which it slept again or
/// returned.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct WakeRecord {
    /// Common header.
    pub header: RecordHeader,
    /// Inode of the listening socket; 0 if it could not be read.
    pub listener_inode: u64,
    /// When the kernel announced the connection to the listener.
    pub announced_ns: u64,
    /// When the thread was woken.
    pub woken_ns: u64,
    /// End of the connection's handshake (with deferred accept: its first data); 0 where it was not seen
    /// (UNIX).
    pub established_ns: u64,
    /// On-CPU time from the wakeup to the end.
    pub cpu_ns: u64,
    /// Run-queue time from the wakeup to the end.
    pub run_queue_ns: u64,
    /// Switch-ins from the wakeup to the end; 0: the thread was not asleep yet.
    pub switches: u32,
    /// [`SLEPT_AGAIN`] or [`RETURNED`].
    pub outcome: u32,
    /// Number of the call in which it waited.
    pub system_call: u32,
    /// First argument of that call: the listener of an accept, the epoll instance of an `epoll_wait`.
    pub argument: i32,
    /// Port of the connection's other end, host order; 0 where it was not seen (UNIX).
    pub peer_port: u16,
    /// Always 0.
    pub reserved: u16,
    /// What the call returned, if it did: a wait that began before the programs were attached leaves no
    /// slice.
    pub result: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_layout_is_pinned() {
        assert_eq!(size_of::<WakeRecord>(), 96);
        assert_eq!(core::mem::offset_of!(WakeRecord, switches), 72);
        assert_eq!(core::mem::offset_of!(WakeRecord, peer_port), 88);
    }
}
