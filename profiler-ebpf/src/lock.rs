//! Which interpreter lock an address belongs to.
//!
//! In: what user space told of the process, its memory. Out: [`Lock`], and who has it. A process with one
//! interpreter, as nearly all are, costs one look-up.

use core::ops::Range;

use profiler_common::gil::{
    FOREIGN_NUMBERS, HAS_OTHER_LOCKS, INHERITED_NUMBER_SHIFT, LOCK_BYTES, WAITED_FOR_ON_STACK, block_key,
};

use aya_ebpf::helpers::generated::bpf_probe_read_user;

use crate::maps::{INTERPRETERS, LOCKS};
use crate::user_memory::first_word;

/// The condition variable and the mutex of takers, from the lock's address (`machine/lock/gil.rs` tells them
/// apart).
const TAKERS: Range<u64> = 32..120;
/// Distance of `last_holder`; `locked` and `switch_number` follow.
const LAST_HOLDER: u64 = 8;

/// A lock, and what is known of its process.
#[derive(Clone, Copy)]
pub struct Lock {
    /// Its address.
    pub address: u64,
    /// An element of [`INTERPRETERS`].
    process: *const [u64; 6],
}

/// The lock whose memory `address` is in, of process `tgid`; where it is in none, that of the main
/// interpreter.
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

/// Who has a lock.
#[derive(Clone, Copy)]
pub struct Held {
    /// The thread that has it, or had it last, by the number that it gives itself.
    pub thread: u32,
    /// Somebody has it.
    pub is_locked: bool,
    /// How often it has passed from one thread to another.
    pub switches: u64,
}

impl Lock {
    /// Who has the lock that a wait on the futex at `address` is to take, if it is and that can be read.
    #[inline(always)]
    pub fn holder(self, address: u64) -> Option<Held> {
        let (distance, through) = (self.thread_number_at(), self.thread_number_through());
        // Without the distance the lock is followed all the same.
        if distance == 0 || !TAKERS.contains(&address.wrapping_sub(self.address)) {
            return None;
        }
        let mut words = [0_u64; 3];
        let from = self.address.wrapping_add(LAST_HOLDER) as *const _;
        // SAFETY: the destination holds 24 bytes; on failure the helper leaves zeroes.
        unsafe { bpf_probe_read_user((&raw mut words).cast(), 24, from) };
        let [state, locked, switches] = words;
        let mut thread = first_word(state.wrapping_add(distance), state);
        if through != 0 {
            thread = first_word(thread.wrapping_add(through), thread);
        }
        let held = Held { thread: thread as u32, is_locked: locked as u32 == 1, switches };
        if thread == 0 { None } else { Some(held) }
    }

    /// If a state's thread has the lock, how often that has passed from one thread to another.
    #[inline(always)]
    pub fn held_by(self, state: u64) -> Option<u64> {
        let mut words = [0_u64; 3];
        let from = self.address.wrapping_add(LAST_HOLDER) as *const _;
        // SAFETY: the destination holds 24 bytes; on failure the helper leaves zeroes.
        unsafe { bpf_probe_read_user((&raw mut words).cast(), 24, from) };
        let [holder, locked, switches] = words;
        if holder == state && locked as u32 == 1 { Some(switches) } else { None }
    }

    /// Whether it is the only one of its process.
    #[inline(always)]
    pub fn is_only(self) -> bool {
        // SAFETY: elements of a map live as long as the map.
        unsafe { (*self.process)[4] & HAS_OTHER_LOCKS == 0 }
    }

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

    /// The ways to a thread's frames and to the collector, packed; 0: frames are not read.
    #[inline(always)]
    pub fn frame_way(self) -> u64 {
        // SAFETY: as above.
        unsafe { (*self.process)[3] }
    }
}
