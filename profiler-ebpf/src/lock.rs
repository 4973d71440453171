//! Which interpreter lock an address belongs to.
//!
//! In: what user space told of the process. Out: [`Lock`]. A process with one interpreter, as nearly all are, costs one look-up.

use profiler_common::gil::{
    FOREIGN_NUMBERS, HAS_OTHER_LOCKS, INHERITED_NUMBER_SHIFT, LOCK_BYTES, WAITED_FOR_ON_STACK, block_key,
};

use crate::maps::{INTERPRETERS, LOCKS};

/// A lock, and what is known of its process.
#[derive(Clone, Copy)]
pub struct Lock {
    /// Its address.
    pub address: u64,
    /// An element of [`INTERPRETERS`].
    process: *const [u64; 6],
}

/// The lock whose memory `address` is in, of process `tgid`; where it is in none, that of the main interpreter.
#[inline(always)]
pub fn of(tgid: u32, address: u64) -> Option<Lock> {
    let process = INTERPRETERS.get_ptr(&tgid)?;
    // SAFETY: the look-up succeeded.
    let [main, .., bits, _] = unsafe { *process };
    let mut lock = Lock { address: main, process };
    if bits & HAS_OTHER_LOCKS != 0
        && address.wrapping_sub(main) >= LOCK_BYTES
        && let Some(other) = LOCKS.get_ptr(&block_key(tgid, address))
    {
        // SAFETY: as above.
        let other = unsafe { *other };
        if address.wrapping_sub(other) < LOCK_BYTES {
            lock.address = other;
        }
    }
    Some(lock)
}

/// The lock of the main interpreter of process `tgid`.
#[inline(always)]
pub fn main(tgid: u32) -> Option<Lock> {
    let process = INTERPRETERS.get_ptr(&tgid)?;
    // SAFETY: the look-up succeeded.
    Some(Lock { address: unsafe { (*process)[0] }, process })
}

impl Lock {
    /// Whether it is the main interpreter's.
    #[inline(always)]
    pub fn is_main(self) -> bool {
        // SAFETY: elements of a map live as long as the map.
        self.address == unsafe { (*self.process)[0] }
    }

    /// Distance of a thread's number in its `PyThreadState`, or of what leads to it; 0: not known.
    #[inline(always)]
    pub fn thread_number_at(self) -> u64 {
        // SAFETY: as above.
        unsafe { (*self.process)[1] }
    }

    /// How far the number is from where the word there points; 0: it is there itself.
    #[inline(always)]
    pub fn thread_number_through(self) -> u64 {
        // SAFETY: as above.
        unsafe { (*self.process)[2] }
    }

    /// The interpreter calls threads by the numbers of another PID namespace.
    #[inline(always)]
    pub fn has_foreign_numbers(self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.process)[4] & FOREIGN_NUMBERS != 0 }
    }

    /// The number by which the interpreter may still call the main thread of its process; 0: none is known.
    #[inline(always)]
    pub fn inherited_number(self) -> u32 {
        // SAFETY: as above.
        (unsafe { (*self.process)[4] } >> INHERITED_NUMBER_SHIFT) as u32
    }

    /// Who waits for it does so on its own stack, as musl has it.
    #[inline(always)]
    pub fn is_waited_for_on_stack(self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.process)[4] & WAITED_FOR_ON_STACK != 0 }
    }

    /// The way to the task that a thread works for, packed; 0: it is not read.
    #[inline(always)]
    pub fn task_way(self) -> u64 {
        // SAFETY: as above.
        unsafe { (*self.process)[5] }
    }

    /// The way to a thread's frames, packed; 0: they are not read.
    #[inline(always)]
    pub fn frame_way(self) -> u64 {
        // SAFETY: as above.
        unsafe { (*self.process)[3] }
    }
}
