//! Causes of loss inside the kernel: each is a slot of the per-CPU array `LOSSES`.
//!
//! In: nothing. Out: slot numbers (append only; a retired number stays a hole) and their names.

/// A slice could not be reserved: the ring was full.
pub const RING_FULL_SLICE: u32 = 0;
/// A head capture could not be written: the ring was full.
pub const RING_FULL_HEAD: u32 = 1;
/// A lifecycle record could not be reserved: the ring was full.
pub const RING_FULL_LIFECYCLE: u32 = 2;
/// A connection record could not be reserved: the ring was full.
pub const RING_FULL_CONNECTION: u32 = 3;
/// A thread of the target got no account: all of [`crate::limits::MAX_THREADS`] are taken.
pub const THREAD_TABLE_FULL: u32 = 4;
/// A socket's or descriptor's state could not be stored.
pub const SOCKET_TABLE_FULL: u32 = 5;
/// A thread was switched in while its account said "blocked": its wakeup was not seen, that wait is
/// undecided.
pub const WAKE_MISSED: u32 = 6;
/// The bytes of a head could not be read from the target's memory.
pub const HEAD_UNREADABLE: u32 = 7;
/// A child of a traced thread could not be adopted for another reason than a full table.
pub const FORK_UNADOPTED: u32 = 8;
/// The socket behind an accepted descriptor could not be resolved.
pub const SOCKET_UNRESOLVED: u32 = 9;
/// A record could not be written because another program was in the middle of writing one on the same CPU.
/// That happens only on a kernel that lets one of our programs interrupt another.
pub const RING_BUSY: u32 = 10;
/// A piece of evidence about the end of a connection or process could not be written: its ring was full.
pub const RING_FULL_EVIDENCE: u32 = 11;
/// What a connection woke could not be recorded: the ring was full.
pub const RING_FULL_WAKE: u32 = 12;
/// Where the holder of an interpreter lock was could not be recorded: the ring was full.
pub const RING_FULL_FRAMES: u32 = 13;
/// Which task a thread works for from a call on could not be recorded: the ring was full. It is told at its
/// next call.
pub const RING_FULL_TASK: u32 = 14;
/// What a thread slept in could not be recorded (light mode): the ring was full. That time is `unexplained`.
pub const RING_FULL_SLEEP: u32 = 15;
/// The first bytes of a message on an encrypted connection could not be recorded: the ring was full. Its
/// request has no name.
pub const RING_FULL_PLAINTEXT: u32 = 16;
/// Who had a CPU for which a thread waited could not be recorded: the ring was full.
pub const RING_FULL_TAKEN: u32 = 17;

/// A sample of the clock could not be handed over: its ring was full.
pub const RING_FULL_SAMPLE: u32 = 18;

/// Number of slots in `LOSSES`.
pub const LOSS_CAUSES: u32 = 19;

/// Names of the causes in slot order, as reports print them.
pub const LOSS_NAMES: [&str; 19] = [
    "ring_full_slice",
    "ring_full_head",
    "ring_full_lifecycle",
    "ring_full_connection",
    "thread_table_full",
    "socket_table_full",
    "wake_missed",
    "head_unreadable",
    "fork_unadopted",
    "socket_unresolved",
    "ring_busy",
    "ring_full_evidence",
    "ring_full_wake",
    "ring_full_frames",
    "ring_full_task",
    "ring_full_sleep",
    "ring_full_plaintext",
    "ring_full_taken",
    "ring_full_sample",
];

/// Slots of [`RingState::emitted`](crate::ring::RingState): records handed to the ring, by kind (law 4:
/// generated = received + lost).
pub const EMITTED_SLICE: u32 = 0;
/// See [`EMITTED_SLICE`].
pub const EMITTED_HEAD: u32 = 1;
/// See [`EMITTED_SLICE`].
pub const EMITTED_LIFECYCLE: u32 = 2;
/// See [`EMITTED_SLICE`].
pub const EMITTED_CONNECTION: u32 = 3;
/// See [`EMITTED_SLICE`].
pub const EMITTED_WAKE: u32 = 4;
/// See [`EMITTED_SLICE`].
pub const EMITTED_FRAMES: u32 = 5;
/// See [`EMITTED_SLICE`]; timers of tasks too.
pub const EMITTED_TASK: u32 = 6;
/// See [`EMITTED_SLICE`].
pub const EMITTED_SLEEP: u32 = 7;
/// See [`EMITTED_SLICE`].
pub const EMITTED_TAKEN: u32 = 8;
/// Number of these slots.
pub const EMITTED_KINDS: u32 = 9;
