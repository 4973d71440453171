//! What a thread of the player does at a moment, and what it did.
//!
//! In: nothing. Out: [`Doing`], [`Past`].

use crate::event::Tid;
use crate::model::chain::{LeafKind, Object};
use crate::phase::Phase;

/// A sleep that nobody of the target ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outside {
    BackEnd(u16),
    Sleep,
    File(i32),
    FileLock,
    Child,
    Client,
    Pipe(i32),
    Fault,
}

impl Outside {
    /// The leaf.
    pub(super) const fn leaf(self) -> (LeafKind, Object) {
        match self {
            Self::BackEnd(53) => (LeafKind::NameServer, Object::Peer { port: 53 }),
            Self::BackEnd(port) => (LeafKind::BackEnd, Object::Peer { port }),
            Self::Sleep => (LeafKind::Sleep, Object::Unknown),
            Self::File(fd) => (LeafKind::File, Object::Descriptor { fd }),
            Self::FileLock => (LeafKind::FileLock, Object::Unknown),
            Self::Child => (LeafKind::Child, Object::Unknown),
            Self::Client => (LeafKind::Client, Object::Client),
            Self::Pipe(fd) => (LeafKind::Pipe, Object::Descriptor { fd }),
            Self::Fault => (LeafKind::PageFault, Object::Unknown),
        }
    }

    pub(super) const fn phase(self) -> Phase {
        match self {
            Self::BackEnd(_) => Phase::BackendWait,
            Self::Sleep => Phase::Sleep,
            Self::File(_) | Self::FileLock => Phase::FileWait,
            Self::Child => Phase::ChildWait,
            Self::Client => Phase::ClientReadStall,
            Self::Pipe(_) => Phase::LockWait,
            Self::Fault => Phase::FaultWait,
        }
    }

    pub(super) const fn system_call(self) -> i32 {
        match self {
            Self::BackEnd(_) | Self::Client => 45,
            Self::Sleep => 35,
            Self::File(_) => 0,
            Self::FileLock => 73,
            Self::Child => 61,
            Self::Pipe(_) => 1,
            Self::Fault => -1,
        }
    }
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Runs,
    Queued,
    Outside(Outside),
    /// Waits for this lock.
    ForLock(usize),
    /// Waits for a lock that nobody gives back.
    ForNobody,
    /// Waits for this event: the end of helpers, or an answer.
    ForEvent(usize),
    ForGil,
    /// Waits for work.
    Idle,
}

impl Doing {
    /// A wait for a lock, as it is seen from outside.
    pub(super) const fn is_lock_wait(self) -> bool {
        matches!(self, Self::ForLock(_) | Self::ForNobody | Self::ForEvent(_))
    }

    pub(super) const fn phase(self) -> Phase {
        match self {
            Self::Runs => Phase::Cpu,
            Self::Queued => Phase::RunQueue,
            Self::Outside(outside) => outside.phase(),
            Self::ForLock(_) | Self::ForNobody | Self::ForEvent(_) | Self::Idle => Phase::LockWait,
            Self::ForGil => Phase::GilWait,
        }
    }
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SleepEnded {
    /// By itself, or from outside.
    Itself,
    /// This thread ended it.
    By(Tid),
    /// Its limit of time came.
    Limit,
    /// It had not ended when the window did.
    Open,
}

/// What a thread did in a stretch of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past {
    pub from_ns: u64,
    pub until_ns: u64,
    pub doing: Doing,
    pub request: Option<usize>,
    pub end: SleepEnded,
    pub since_before: bool,
}

impl Past {
    /// A wait for a lock that was not released.
    pub(super) const fn is_unreleased(&self) -> bool {
        self.doing.is_lock_wait() && matches!(self.end, SleepEnded::Open | SleepEnded::Limit)
    }
}
