//! Who had the interpreter lock.
//!
//! In: nothing by itself. Out: holders, as threads and as numbers of contenders.

use crate::event::Tid;

/// Who had the lock: the number of a contender, and the thread; zeroes: not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HeldBy {
    /// Number of the contender that the thread was just then.
    pub contender: u32,
    /// The thread.
    pub tid: Tid,
}

impl HeldBy {
    /// Not known.
    pub const UNKNOWN: Self = Self { contender: 0, tid: 0 };
}

/// Who had the lock in one stretch of waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// As it began.
    pub first: HeldBy,
    /// The lock passed to another meanwhile: since when, and to whom.
    pub then: Option<(u64, HeldBy)>,
}

impl Holders {
    /// Nobody: the call is no wait for the lock, or no holder is known.
    pub const NONE: Self = Self { first: HeldBy::UNKNOWN, then: None };

    /// As it ended.
    pub fn last(&self) -> HeldBy {
        self.then.map_or(self.first, |(_, by)| by)
    }
}
