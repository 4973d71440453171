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
pub const FLAG_STATUS_LINE: u32 = 2;
/// [`SliceRecord::flags`] without [`FLAG_CLIENT`]: the descriptor is a connection that its process began, to
/// a back end, and the record says when what the call was about became ready ([`SliceRecord::extra`]). With
/// [`FLAG_CLIENT`] the bit is [`FLAG_STATUS_LINE`].
pub const FLAG_BACK_END: u32 = 2;
/// [`SliceRecord::flags`]: the descriptor is a connection that a traced listener accepted.
pub const FLAG_CLIENT: u32 = 4;
/// [`SliceRecord::flags`]: a wakeup inside this slice, or a switch to the thread, was not seen. Some of what
/// is blocked by this account may have been run queue, or time on a CPU. How much at most: [`Undecided`].
pub const FLAG_WAKE_MISSED: u32 = 8;

/// [`SliceRecord::flags`]: the call waits to take an interpreter lock that the programs know. Every call that
/// the thread makes after it is looked at: the next slice says with [`FLAG_TAKE_OVER`] and [`take_tail_ns`]
/// how it went on.
pub const FLAG_TAKE_FOLLOWED: u32 = 16;
/// [`SliceRecord::flags`]: since its last wait for the interpreter lock, and before this call, the thread
/// made a call that is none of the attempt to take the lock. So it had the lock.
pub const FLAG_TAKE_OVER: u32 = 32;
/// [`SliceRecord::flags`]: the call waits on the memory of an interpreter lock to give the lock up, not to
/// take it.
pub const FLAG_GIVES_UP: u32 = 64;

/// [`SliceRecord::flags`]: the call waits to take an interpreter lock that the programs know; `extra` has
/// [`take_lead_ns`] and [`TAKE_HAS_TIMEOUT`] then.
pub const FLAG_TAKES_LOCK: u32 = 128;

/// Lowest bit of [`SliceRecord::flags`] that holds the time of [`take_tail_ns`].
pub const TAIL_SHIFT: u32 = 8;
/// Its unit, as a power of two of nanoseconds.
pub const TAIL_UNIT_SHIFT: u32 = 4;
/// Its largest value.
pub const TAIL_MAX: u32 = (1 << (32 - TAIL_SHIFT)) - 1;

/// The thread's last slice is a wait for the interpreter lock: how long after it the attempt to take the lock
/// went on. That is up to the end of its last call on the lock's memory; with `--gil=full` up to its very
/// end. In nanoseconds, to 16 ns; up to 268 ms. 0: no longer.
pub const fn take_tail_ns(flags: u32) -> u64 {
    ((flags >> TAIL_SHIFT) as u64) << TAIL_UNIT_SHIFT
}

/// [`SliceRecord::arguments`], third, of a `futex`: the low 32 bits are the thread that held the interpreter
/// lock.
pub const HOLDER_KNOWN: u64 = 1 << 63;
/// The same argument, together with [`HOLDER_KNOWN`]: the 30 bits above the thread are [`SWITCHES_MASK`] of
/// the number of times that the lock had passed from one thread to another.
pub const SWITCHES_KNOWN: u64 = 1 << 62;
/// The part of that number which is kept.
pub const SWITCHES_MASK: u32 = (1 << 30) - 1;
/// [`SliceRecord::extra`] of a slice with [`FLAG_TAKES_LOCK`]: the wait has a limit of time.
pub const TAKE_HAS_TIMEOUT: u64 = 1 << 63;

/// How long before this wait for the interpreter lock the attempt began, in nanoseconds, as a probe in the
/// interpreter saw it. 0: there is none, or not before this wait.
pub const fn take_lead_ns(extra: u64) -> u64 {
    extra & !TAKE_HAS_TIMEOUT
}

/// Unit of [`woken_ago_ns`], as a power of two of nanoseconds.
const AGO_UNIT_SHIFT: u32 = 4;

/// [`SliceRecord::arguments`], second, of a `futex` that takes no interpreter lock: its operation, and how
/// long before its end the thread was woken.
#[inline(always)]
pub const fn with_woken_ago(operation: u64, ago_ns: u64) -> u64 {
    let units = ago_ns >> AGO_UNIT_SHIFT;
    if units > u32::MAX as u64 { operation & 0xffff_ffff } else { operation & 0xffff_ffff | units << 32 }
}

/// Of a `futex` that takes no interpreter lock: how long before its end its waker was about to wake the
/// thread. That is on the waker's CPU; the thread may have been queued later. In nanoseconds, to 16 ns, up to
/// 68 s; 0: not known. `second` is [`SliceRecord::arguments`]' second.
pub const fn woken_ago_ns(second: u64) -> u64 {
    second >> 32 << AGO_UNIT_SHIFT
}

/// Of a slice with [`FLAG_WAKE_MISSED`], how much of its sleep is undecided at most, as one word in the place
/// of [`SliceRecord::gap_fault_ns`]. In units of 16 ns, rounded up; each of its numbers reaches to 34 s, and
/// what does not fit is "all of it".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecided(pub u64);

impl Undecided {
    /// The two highest bits: nothing of the gap is undecided, and the lower number is the gap's sleep in page
    /// faults.
    const KNOWN: u64 = 0b10 << 62;
    /// The same two: the lower number is what is undecided of the gap. Some of the gap's sleep was in page
    /// faults, and it is not known how much (in older recordings: it may have been).
    const IN_GAP: u64 = 0b11 << 62;
    /// The same two: as before, and none of the gap's sleep was in page faults.
    const IN_GAP_BESIDE_NO_FAULT: u64 = 0b01 << 62;
    /// Those two bits. Neither is set in the oldest recordings: the word is the sleep in page faults, and all
    /// sleep is undecided.
    const KINDS: u64 = 0b11 << 62;
    const BITS: u32 = 31;
    const MAX: u64 = (1 << Self::BITS) - 1;
    const UNIT_SHIFT: u32 = 4;

    /// Nothing is undecided.
    pub const NOTHING: Self = Self(Self::KNOWN);
    /// All sleep is.
    pub const ALL: Self = Self(0);

    /// The word for what is undecided of the call and of the gap, and the gap's sleep in page faults. Where
    /// something is undecided of the gap, only whether there was such sleep is kept.
    #[inline(always)]
    pub const fn new(call_ns: u64, gap_ns: u64, gap_fault_ns: u64) -> Self {
        let kind_and_lower = if gap_ns == 0 {
            Self::KNOWN | Self::units(gap_fault_ns)
        } else if gap_fault_ns == 0 {
            Self::IN_GAP_BESIDE_NO_FAULT | Self::units(gap_ns)
        } else {
            Self::IN_GAP | Self::units(gap_ns)
        };
        Self(Self::units(call_ns) << Self::BITS | kind_and_lower)
    }

    /// What is undecided of the call; `u64::MAX`: all its sleep.
    pub const fn call_ns(self) -> u64 {
        if self.0 & Self::KINDS == 0 { u64::MAX } else { Self::nanoseconds(self.0 >> Self::BITS) }
    }

    /// What is undecided of the gap; `u64::MAX`: all its sleep.
    pub const fn gap_ns(self) -> u64 {
        match self.0 & Self::KINDS {
            0 => u64::MAX,
            Self::KNOWN => 0,
            _ => Self::nanoseconds(self.0),
        }
    }

    /// The gap's sleep in page faults, up to 15 ns more than it was; 0 where something is undecided of the
    /// gap.
    pub const fn gap_fault_ns(self) -> u64 {
        if self.0 & Self::KINDS == Self::KNOWN { Self::nanoseconds(self.0) } else { 0 }
    }

    /// Whether some of the gap's sleep may have been in page faults beside [`Self::gap_fault_ns`].
    pub const fn may_have_slept_in_faults(self) -> bool {
        matches!(self.0 & Self::KINDS, 0 | Self::IN_GAP)
    }

    #[inline(always)]
    const fn units(ns: u64) -> u64 {
        // Up to there the sum cannot overflow.
        if ns >= Self::MAX << Self::UNIT_SHIFT {
            return Self::MAX;
        }
        (ns + (1 << Self::UNIT_SHIFT) - 1) >> Self::UNIT_SHIFT
    }

    const fn nanoseconds(units: u64) -> u64 {
        match units & Self::MAX {
            Self::MAX => u64::MAX,
            units => units << Self::UNIT_SHIFT,
        }
    }
}

/// Set in `SliceRecord::extra` of an `epoll_ctl` whose lower half is what `struct epoll_event` asks for (0:
/// none, or not readable). Without it the word is that structure's address, as older versions recorded it.
pub const EVENTS_KNOWN: u64 = 1 << 63;

/// [`SliceRecord::gap_blocked_call`]: the thread did not block in the gap outside a page fault.
pub const NO_CALL: i32 = -2;
/// A call number meaning "one of the 32-bit table": what it sleeps for is not known.
pub const OTHER_TABLE: i32 = i32::MAX;
/// A call number meaning "page fault" (the kernel has −1 in the registers outside a system call).
pub const PAGE_FAULT: i32 = -1;

/// What the second argument of a `connect` says of its connection.
pub mod identity {
    /// Above every port, below every user address.
    pub const PORTS: u64 = 65_536;
    /// Set in every kernel address, in no user address.
    pub const KERNEL_ADDRESS: u64 = 1 << 63;
}

/// One observed system call with the gap before it. `header.time_ns` is the call's exit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct SliceRecord {
    /// Common header; `time_ns` is the exit of the call.
    pub header: RecordHeader,
    /// Entry of the call, `CLOCK_MONOTONIC`.
    pub enter_ns: u64,
    /// The call's first three arguments, as in the registers. Of a `futex` the second and the third are cut
    /// to their 32 bits. Where the call waits to take an interpreter lock, the third is [`HOLDER_KNOWN`]
    /// and, in the low 32 bits, the thread that held the lock at entry. If the lock was free just then,
    /// it is the thread that held it last. It is named by the number that it gives itself. The second
    /// then has, in the high 32 bits, the thread that held it last at exit (0: not known). Where the
    /// call takes no such lock, the second has [`woken_ago_ns`] there. Of a `connect` that connected or
    /// is under way the second is the connection's identity ([`identity`]). Below 65,536 that is the own
    /// TCP port, with the highest bit set the address of the UNIX socket at the other end. It is a user
    /// address where the identity is not known. With [`FLAG_BACK_END`] the third of a `connect` is
    /// when the connection was made that an earlier `connect` had begun (0: not known).
    pub arguments: [u64; 3],
    /// What the call returned: a value, or −errno.
    pub result: i64,
    /// Depends on the call:
    /// - read kinds with `result > 0` on a client connection: `arrival_ns`, when the first byte not seen by
    ///   an earlier read reached the socket (0: not known);
    /// - with [`FLAG_BACK_END`], of read kinds: the same, also where `result` is 0 (the end of the stream
    ///   came then). Of write kinds: when the connection was made, if this is the first call after a connect
    ///   that did not wait for that (else 0);
    /// - `epoll_ctl`: [`EVENTS_KNOWN`] and the events;
    /// - `poll`, `ppoll`: the first `struct pollfd`, read at entry (fd in the low 32 bits, events in the
    ///   next 16);
    /// - `select`, `pselect6`: the first 64 bits of the read set, read at entry;
    /// - `socketpair`, `pipe2`, `pipe`: the two descriptors, read at exit (first in the low 32 bits);
    /// - `connect`: address family in the low 16 bits, port (host order) in the next 16, IPv4 address
    ///   (network order) in the high 32;
    /// - `futex`: the timeout pointer (0: waits for ever), or what [`FLAG_TAKES_LOCK`] says;
    /// - everything else: the fourth argument.
    pub extra: u64,
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
    /// The part of `gap_blocked_ns` spent in page faults; with [`FLAG_WAKE_MISSED`] an [`Undecided`]
    /// instead.
    pub gap_fault_ns: u64,
    /// Wall time of the observed calls that were folded into the gap (a part of the gap, not beside it).
    pub folded_ns: u64,
    /// Number of this slice among its thread's slices, from 1; a hole means lost slices.
    pub sequence: u32,
    /// System call number ([`crate::system_call`]).
    pub system_call: u32,
    /// Observed calls folded into the gap (futex calls that never slept).
    pub folded_calls: u32,
    /// Times the thread was switched in during the call.
    pub call_switches: u32,
    /// Times the thread was switched in during the gap.
    pub gap_switches: u32,
    /// Thread that last woke this one during the call; 0 if nobody did.
    pub waker_tid: u32,
    /// The unobserved call in which the thread last blocked during the gap; [`NO_CALL`] if none. A `clone`
    /// or `clone3` that waits for its child is `vfork`.
    pub gap_blocked_call: i32,
    /// `FLAG_` bits.
    pub flags: u32,
}

impl SliceRecord {
    /// What is undecided of its sleep.
    pub const fn undecided(&self) -> Undecided {
        if self.flags & FLAG_WAKE_MISSED == 0 { Undecided::NOTHING } else { Undecided(self.gap_fault_ns) }
    }

    /// The gap's sleep in page faults, as far as it is known.
    pub const fn known_gap_fault_ns(&self) -> u64 {
        if self.flags & FLAG_WAKE_MISSED == 0 { self.gap_fault_ns } else { self.undecided().gap_fault_ns() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slice_layout_is_pinned() {
        assert_eq!(size_of::<SliceRecord>(), 168);
        assert_eq!(core::mem::offset_of!(SliceRecord, enter_ns), 24);
        assert_eq!(core::mem::offset_of!(SliceRecord, result), 56);
        assert_eq!(core::mem::offset_of!(SliceRecord, call_cpu_ns), 72);
        assert_eq!(core::mem::offset_of!(SliceRecord, sequence), 136);
        assert_eq!(core::mem::offset_of!(SliceRecord, flags), 164);
    }

    #[test]
    fn what_is_undecided_comes_back_and_never_less_of_it() {
        for ns in [0, 1, 15, 16, 17, 5_000, (Undecided::MAX - 1) << 4, (Undecided::MAX << 4) - 16] {
            let back = |found_ns: u64| found_ns >= ns && found_ns - ns < 16;
            assert!(back(Undecided::new(ns, 7, 9).call_ns()), "{ns}");
            assert!(back(Undecided::new(7, ns, 9).gap_ns()), "{ns}");
            assert!(back(Undecided::new(7, 0, ns).gap_fault_ns()), "{ns}");
        }
        for ns in [Undecided::MAX << 4, u64::MAX] {
            assert_eq!(Undecided::new(ns, ns, 0).call_ns(), u64::MAX);
            assert_eq!(Undecided::new(ns, ns, 0).gap_ns(), u64::MAX);
        }
        assert_eq!(Undecided::NOTHING, Undecided::new(0, 0, 0));
        let in_the_call = Undecided::new(100, 0, 64);
        assert_eq!((in_the_call.call_ns(), in_the_call.gap_ns(), in_the_call.gap_fault_ns()), (112, 0, 64));
        let in_the_gap = Undecided::new(0, 100, 64);
        assert_eq!((in_the_gap.call_ns(), in_the_gap.gap_ns(), in_the_gap.gap_fault_ns()), (0, 112, 0));
    }

    #[test]
    fn beside_undecided_sleep_it_is_known_whether_any_was_in_page_faults() {
        for call_ns in [0, 100, u64::MAX] {
            for gap_ns in [1, 100, u64::MAX] {
                let beside = |fault_ns: u64| Undecided::new(call_ns, gap_ns, fault_ns);
                assert!(!beside(0).may_have_slept_in_faults());
                assert!(beside(1).may_have_slept_in_faults());
                let numbers = |word: Undecided| (word.call_ns(), word.gap_ns(), word.gap_fault_ns());
                assert_eq!(numbers(beside(0)), numbers(beside(1)));
            }
            assert!(!Undecided::new(call_ns, 0, 64).may_have_slept_in_faults());
        }
        assert!(Undecided::ALL.may_have_slept_in_faults());
        assert!(!Undecided::NOTHING.may_have_slept_in_faults());
    }

    #[test]
    fn all_sleep_of_an_older_recording_s_slice_is_undecided() {
        for older in [Undecided(1_000), Undecided::ALL] {
            assert_eq!((older.call_ns(), older.gap_ns(), older.gap_fault_ns()), (u64::MAX, u64::MAX, 0));
        }
    }

    #[test]
    fn lead_and_tail_share_their_words_with_other_things_and_disturb_none() {
        assert_eq!(take_lead_ns(TAKE_HAS_TIMEOUT | 77), 77);
        assert_eq!(take_tail_ns(u32::MAX >> (32 - TAIL_SHIFT)), 0);
        assert_eq!(take_tail_ns(TAIL_MAX << TAIL_SHIFT), 16 * u64::from(TAIL_MAX));
        let flags = [FLAG_TAKE_FOLLOWED, FLAG_TAKE_OVER, FLAG_GIVES_UP, FLAG_TAKES_LOCK];
        assert!(flags.iter().all(|flag| *flag < 1 << TAIL_SHIFT));
    }
}
