//! The sleep of a thread in light mode: in which call it slept, on what, and from when to when.
//!
//! In: nothing. Out: [`SleepRecord`]. It is written as the thread gets a CPU again, with the `time_ns` of
//! that moment, and comes before the light slice that the sleep lies in. Its law: since the thread's light
//! slice before, it had been on a CPU for `cpu_ns` when it went to sleep.

use super::RecordHeader;
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`SleepRecord::object`]: the call names no descriptor, several, or one that is not open.
pub const NO_OBJECT: u32 = 0;
/// [`SleepRecord::object`]: a connection that a traced listener accepted.
pub const CLIENT: u32 = 1;
/// [`SleepRecord::object`]: a listener.
pub const LISTENER: u32 = 2;
/// [`SleepRecord::object`]: another socket, as [`SleepRecord::peer`] has it.
pub const SOCKET: u32 = 3;
/// [`SleepRecord::object`]: a pipe, or one end of a `socketpair`.
pub const PIPE: u32 = 4;
/// [`SleepRecord::object`]: a file of a file system.
pub const FILE: u32 = 5;
/// [`SleepRecord::object`]: an object without a file system (eventfd, timerfd and their like).
pub const ANONYMOUS: u32 = 6;
/// [`SleepRecord::object`]: something else: a terminal, another device.
pub const OTHER: u32 = 7;

/// [`SleepRecord::events`] of a wait until something can be read, as poll has it.
pub const READABLE: u32 = 1;
/// [`SleepRecord::events`] of a wait until something can be written.
pub const WRITABLE: u32 = 4;

/// [`SleepRecord::events`] of a sleep on a client's connection, beside what poll waits for: this side has
/// ended it (a FIN was sent), and the thread waits for the client to do so.
pub const SHUT: u32 = 1 << 31;

/// [`SleepRecord::socket`] of a `futex` on the memory of an interpreter lock. The low 32 bits say who had the
/// lock as the thread went to sleep, by the number that thread gives itself (who had it last, where the lock
/// was free just then). The 30 bits above have [`super::slice::SWITCHES_MASK`] of the number of times that
/// the lock had passed from one thread to another.
pub const HOLDER_KNOWN: u64 = 1 << 63;
/// The same word: the lock was taken.
pub const LOCKED: u64 = 1 << 62;

/// [`SleepRecord::object`] of a `futex`: below is the thread that woke this one, or that ran where an
/// interrupt did; 0: none.
pub const WAKER_KNOWN: u32 = 1 << 31;

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
    /// The descriptor that the call is about, where it is one; of a futex its address; of poll and select
    /// how many descriptors they were given; of other calls the first argument.
    pub argument: u64,
    /// Kernel address of the socket, if it is one; of a futex what [`HOLDER_KNOWN`] says, or 0.
    pub socket: u64,
    /// Its other end: address family, port at bit 16, IPv4 address at bit 32 in network order. Of a futex on
    /// the memory of an interpreter lock until when it would wait at most, `CLOCK_MONOTONIC`. 0: none,
    /// or not known.
    pub peer: u64,
    /// Number of the system call; [`super::slice::PAGE_FAULT`] outside one; [`super::slice::NO_CALL`] where
    /// it cannot be told (a task of 32 bits).
    pub system_call: i32,
    /// What the descriptor stands for; of a futex what [`WAKER_KNOWN`] says, or 0.
    pub object: u32,
    /// Of poll and select on one descriptor what they wait for; of a futex its operation.
    pub events: u32,
    /// Number of the thread's light slices before.
    pub sequence: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_layout_is_pinned() {
        assert_eq!(size_of::<SleepRecord>(), 88);
        assert_eq!(core::mem::offset_of!(SleepRecord, argument), 48);
        assert_eq!(core::mem::offset_of!(SleepRecord, system_call), 72);
    }
}
