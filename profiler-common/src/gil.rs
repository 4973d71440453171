//! What both sides know of interpreter locks. These are the slots of the map `GIL_PROBES`: how often traced
//! threads hit the probes in the interpreter's code. Then how the locks of sub-interpreters are found, and
//! the ways to a thread's frames, to whether garbage is collected, and to the task that it works for.
//!
//! In: nothing. Out: slot numbers, [`block_key`], [`FrameWay`], [`CollectingWay`], [`TaskWay`].

/// A thread was about to wait for the lock.
pub const WAITED: u32 = 0;
/// A thread began to take the lock (`--gil=full`).
pub const ENTERED: u32 = 1;
/// A thread had taken it (`--gil=full`).
pub const LEFT: u32 = 2;
/// Number of slots.
pub const GIL_PROBE_SLOTS: u32 = 3;

/// Length of a lock's memory (`struct _gil_runtime_state`), CPython 3.8 to 3.15 on `x86_64` with glibc.
pub const LOCK_BYTES: u64 = 208;
/// Locks of sub-interpreters are looked up by blocks of memory of this length; a lock is in two at most.
pub const BLOCK_BYTES: u64 = 256;
/// Room for blocks, of all processes.
pub const MAX_LOCK_BLOCKS: u32 = 4096;

/// Bits of the fifth word of an element of the map `INTERPRETERS`: the map `LOCKS` has further locks of the
/// process.
pub const HAS_OTHER_LOCKS: u64 = 1;
/// Its interpreter calls threads by the numbers of another PID namespace.
pub const FOREIGN_NUMBERS: u64 = 2;
/// Its C library has those who wait for a condition variable wait on their own stacks, not on its memory
/// (musl).
pub const WAITED_FOR_ON_STACK: u64 = 4;
/// Lowest bit of the number by which its interpreter may still call its main thread; 0 there: none is known.
pub const INHERITED_NUMBER_SHIFT: u32 = 32;

/// Key of the map `LOCKS` for the block that an address is in. Addresses 1 TiB apart may share a key: what is
/// found has to be looked at.
#[inline(always)]
pub const fn block_key(tgid: u32, address: u64) -> u64 {
    (tgid as u64) << 32 | (address / BLOCK_BYTES) & 0xffff_ffff
}

/// [`FrameWay::kind`]: frames of CPython 3.11.
pub const FRAMES_3_11: u64 = 1;
/// [`FrameWay::kind`]: frames of CPython 3.12 and 3.13.
pub const FRAMES_3_12: u64 = 2;
/// [`FrameWay::kind`]: frames of CPython 3.14 and 3.15.
pub const FRAMES_3_14: u64 = 3;
/// [`FrameWay::kind`]: frames of CPython 3.10, which are objects.
pub const FRAMES_3_10: u64 = 4;
/// [`FrameWay::kind`]: frames of CPython 3.8 and 3.9, which are objects.
pub const FRAMES_3_8: u64 = 5;

/// How the innermost frame of a thread is found from its `PyThreadState`, and what frames look like. It is
/// the fourth word of an element of `INTERPRETERS`, where 0 says that frames are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameWay {
    /// Distance in bytes in the `PyThreadState` of the frame's address, or of what leads to it (below 256).
    pub at: u64,
    /// What is there is the frame's address; else the address of what has it.
    pub is_direct: bool,
    /// Distance in bytes of the frame's address there (below 256).
    pub through: u64,
    /// One of the `FRAMES_` constants.
    pub kind: u64,
}

impl FrameWay {
    /// As one word.
    pub const fn pack(self) -> u64 {
        self.at & 0xff | (self.through & 0xff) << 8 | (self.is_direct as u64) << 16 | self.kind << 24
    }

    /// From one word.
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self {
            at: word & 0xff,
            is_direct: word >> 16 & 1 == 1,
            through: word >> 8 & 0xff,
            kind: word >> 24 & 0xff,
        }
    }
}

/// Where an interpreter notes that it collects garbage: an `int` that is 1 meanwhile. It is the upper half of
/// the word that has the [`FrameWay`], where 0 says that this is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectingWay {
    /// One for all interpreters, so many bytes before the lock (CPython 3.8; above 0, below 2^30).
    BeforeLock(u32),
    /// One of each interpreter, so many bytes within it (above 0, below 2^30).
    InInterpreter(u32),
}

impl CollectingWay {
    const BEFORE_LOCK: u64 = 1 << 63;
    const AT_SHIFT: u32 = 32;
    const AT_MASK: u64 = 0x3fff_ffff;

    /// As the upper half of a word.
    pub const fn pack(self) -> u64 {
        match self {
            Self::BeforeLock(by) => (by as u64 & Self::AT_MASK) << Self::AT_SHIFT | Self::BEFORE_LOCK,
            Self::InInterpreter(at) => (at as u64 & Self::AT_MASK) << Self::AT_SHIFT,
        }
    }

    /// From the upper half of a word; `None`: it is not read.
    #[inline(always)]
    pub const fn unpack(word: u64) -> Option<Self> {
        let at = (word >> Self::AT_SHIFT & Self::AT_MASK) as u32;
        match (at, word & Self::BEFORE_LOCK) {
            (0, _) => None,
            (_, 0) => Some(Self::InInterpreter(at)),
            _ => Some(Self::BeforeLock(at)),
        }
    }
}

/// What in a `PyThreadState` shows which task the thread works for: the last word of an element of
/// `INTERPRETERS`, where 0 says that tasks are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskWay {
    /// Distance in bytes of what distinguishes threads, as the second word of the element has it (above 0,
    /// below 65,536).
    pub number_at: u64,
    /// How many words behind that the address of the `contextvars.Context` is that runs, which each task has
    /// of its own; 0: it shows nothing. This and the next are below
    /// [`STATE_WORDS`](crate::account::STATE_WORDS).
    pub context: u64,
    /// How many words behind that the address of a chunk of the thread's stack of frames is (`_PyStackChunk`,
    /// Include/cpython/pystate.h), the first of which each task has of its own; 0: it shows nothing. Where
    /// both may show the task, the context does on threads that have one as they wait: loops that run tasks
    /// in contexts do.
    pub chunk: u64,
}

/// [`ThreadAccount::task_by`](crate::account::ThreadAccount::task_by): of both, the context shows the task.
pub const BY_CONTEXT: u32 = 1;
/// [`ThreadAccount::task_by`](crate::account::ThreadAccount::task_by): of both, the chunk shows the task.
pub const BY_CHUNK: u32 = 2;

impl TaskWay {
    /// As one word.
    pub const fn pack(self) -> u64 {
        self.number_at & 0xffff | (self.context & 0xff) << 16 | (self.chunk & 0xff) << 24
    }

    /// From one word.
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self { number_at: word & 0xffff, context: word >> 16 & 0xff, chunk: word >> 24 & 0xff }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn way_to_tasks_survives_being_packed() {
        for (context, chunk) in [(8, 0), (0, 17), (8, 17)] {
            let way = TaskWay { number_at: 160, context, chunk };
            assert_eq!(TaskWay::unpack(way.pack()), way);
            assert_ne!(way.pack(), 0, "0 says that there is none");
        }
    }

    #[test]
    fn way_to_the_collector_is_beside_that_to_frames() {
        let frames = FrameWay { at: 72, is_direct: true, through: 8, kind: FRAMES_3_8 };
        assert_eq!(CollectingWay::unpack(frames.pack()), None, "it is not read");
        for way in [CollectingWay::BeforeLock(608), CollectingWay::InInterpreter(7600)] {
            let word = frames.pack() | way.pack();
            assert_eq!((FrameWay::unpack(word), CollectingWay::unpack(word)), (frames, Some(way)));
        }
    }

    #[test]
    fn way_to_frames_survives_being_packed() {
        for is_direct in [false, true] {
            let way = FrameWay { at: 72, is_direct, through: 8, kind: FRAMES_3_14 };
            assert_eq!(FrameWay::unpack(way.pack()), way);
            assert_ne!(way.pack(), 0, "0 says that there is none");
        }
    }
}
