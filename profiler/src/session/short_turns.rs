//! Short turns on the CPU: records are read in bursts, and who shares the reader's CPU should not wait for a
//! whole one.
//!
//! In: records, one after the other. Out: the reading thread gives way after some of them. That alone would
//! cost it much of its share of the CPU: Linux takes a whole turn from who gives way. So it asks for turns
//! that are short.

use std::mem::size_of;
use std::time::{Duration, Instant};

/// The shortest turn that Linux grants (`__setparam_fair` in kernel/sched/syscalls.c, from 6.12 on). The
/// usual one takes some 3 ms.
const TURN_NS: u64 = 100_000;
/// Records between two looks whether somebody waits. With 16 so much of the CPU was given away that rings ran
/// over.
const RECORDS: u64 = 64;
/// A burst that takes longer than this goes on without giving way, or the rings would run over.
const PATIENCE: Duration = Duration::from_millis(20);

/// Asks for short turns, for this thread and those that it starts. Where the kernel knows none (before 6.12),
/// or somebody chose a scheduling policy for this program, all stays as it was.
pub(super) fn ask() {
    // SAFETY: all fields of the structure are integers.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::sched_attr>() as libc::c_uint;
    // SAFETY: the kernel writes at most `size` bytes to a local value.
    let read = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    if read != 0 || i64::from(attributes.sched_policy) != i64::from(libc::SCHED_OTHER) {
        return;
    }
    attributes.size = size;
    attributes.sched_runtime = TURN_NS;
    // SAFETY: the kernel reads `size` bytes of a local value. Whether it heeds them is no matter.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// One burst of reading.
#[derive(Debug)]
pub(super) struct Burst {
    begun: Instant,
    records: u64,
}

impl Burst {
    /// A burst that begins now.
    pub(super) fn begin() -> Self {
        Self { begun: Instant::now(), records: 0 }
    }

    /// Before each record: gives way now and then.
    pub(super) fn next(&mut self) {
        self.records += 1;
        if self.records.is_multiple_of(RECORDS) && self.begun.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
    }

    /// Records so far.
    pub(super) const fn records(&self) -> u64 {
        self.records
    }
}
