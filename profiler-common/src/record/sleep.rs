//! The sleep of a thread in light mode: in which call it slept, on what, and from when to when.
//!
//! In: nothing. Out: [`SleepRecord`]. It is written as the thread gets a CPU again, with the `time_ns` of
//! that moment, and comes before the light slice that the sleep lies in. Its law: since the thread's light
//! slice before, it had been on a CPU for `cpu_ns` when it went to sleep.

use super::RecordHeader;
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `detail::Sleep::object`: the call names no descriptor, several, or one that is not open.
pub const NO_OBJECT: u16 = 0;
/// `detail::Sleep::object`: a connection that a traced listener accepted.
pub const CLIENT: u16 = 1;
/// `detail::Sleep::object`: a listener.
pub const LISTENER: u16 = 2;
/// `detail::Sleep::object`: another socket.
pub const SOCKET: u16 = 3;
/// `detail::Sleep::object`: a pipe, or one end of a `socketpair`.
pub const PIPE: u16 = 4;
/// `detail::Sleep::object`: a file of a file system.
pub const FILE: u16 = 5;
/// `detail::Sleep::object`: an object without a file system (eventfd, timerfd and their like).
pub const ANONYMOUS: u16 = 6;
/// `detail::Sleep::object`: something else: a terminal, another device.
pub const OTHER: u16 = 7;

/// `detail::Sleep::events` of a wait until something can be read, as poll has it.
pub const READABLE: u32 = 1;
/// `detail::Sleep::events` of a wait until something can be written.
pub const WRITABLE: u32 = 4;

/// One sleep. `header.time_ns` is the moment at which the thread got a CPU again.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct SleepRecord {
    /// Common header.
    pub header: RecordHeader,
    /// When the thread left its CPU.
    pub start_ns: u64,
    /// When it was woken: from then on it waited for a CPU.
    pub woken_ns: u64,
    /// Time on a CPU between the thread's light slice before (or its adoption) and this sleep.
    pub cpu_ns: u64,
    /// What it slept on: [`super::detail::Sleep`], of a futex [`super::detail::FutexSleep`].
    pub detail: [u64; 4],
    /// Number of the system call; [`super::slice::PAGE_FAULT`] outside one; [`super::slice::NO_CALL`] where
    /// it cannot be told (a task of 32 bits).
    pub system_call: i32,
    /// Number of the thread's light slices before.
    pub sequence: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_layout_is_pinned() {
        assert_eq!(size_of::<SleepRecord>(), 88);
        assert_eq!(core::mem::offset_of!(SleepRecord, detail), 48);
        assert_eq!(core::mem::offset_of!(SleepRecord, system_call), 80);
    }
}
