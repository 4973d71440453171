//! A thread waited for a CPU for long, and got one: who had that CPU before.
//!
//! In: nothing. Out: [`TakenRecord`], and behind it as many [`Stint`]s as it says. It is written as the
//! thread gets the CPU, which the header names, with the `time_ns` of that moment. A stint is told once,
//! with the first wait that ends on its CPU after it: so what a wait overlaps may stand in records before.

use super::RecordHeader;
use crate::limits::COMM_BYTES;
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A shorter wait in the run queue leaves no record.
pub const LONG_NS: u64 = 1_000_000;
/// A shorter stint is not kept: whose it was is not known.
pub const SHORTEST_NS: u64 = 100_000;
/// Stints kept of one CPU (a power of two).
pub const MAX_STINTS: usize = 16;

/// [`TakenRecord::flags`]: the thread's cgroup had used up its quota as it lost its CPU.
pub const THROTTLED: u32 = 1;
/// [`TakenRecord::flags`]: the thread was moved to this CPU while it waited, or that is not known: whose this
/// CPU was does not say what it waited for.
pub const MIGRATED: u32 = 2;

/// [`Stint::flags`]: a thread of the target.
pub const OURS: u32 = 1;

/// A wait for a CPU; the header names the thread that waited.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct TakenRecord {
    /// Common header.
    pub header: RecordHeader,
    /// When the thread had become ready to run.
    pub since_ns: u64,
    /// [`THROTTLED`], [`MIGRATED`].
    pub flags: u32,
    /// Stints behind the record, in order.
    pub count: u32,
}

/// A stretch in which a thread had a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct Stint {
    /// When it got the CPU.
    pub from_ns: u64,
    /// When it left it.
    pub until_ns: u64,
    /// How long it ran, as the scheduler counts: what a hypervisor took is not in it.
    pub ran_ns: u64,
    /// Its process; 0: the CPU was idle.
    pub tgid: u32,
    /// The thread.
    pub tid: u32,
    /// [`OURS`].
    pub flags: u32,
    /// Always 0.
    pub reserved: u32,
    /// Its name; zeros if it is one of the target's.
    pub comm: [u8; COMM_BYTES],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_layout_is_pinned() {
        assert_eq!(size_of::<TakenRecord>(), 40);
        assert_eq!(size_of::<Stint>(), 56);
        assert_eq!(core::mem::offset_of!(Stint, comm), 40);
        assert!(MAX_STINTS.is_power_of_two());
    }
}
