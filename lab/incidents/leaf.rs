//! What stands behind an incident.
//!
//! In: nothing. Out: the kinds of leaves, what a report may call each, and how long they take.

use fastrand::Rng;
use profiler_core::model::chain::LeafKind;

use crate::draw::pick;
use crate::server::ServerKind;

/// A kind of leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    BackEndSlow,
    BackEndHung,
    Sleep,
    SlowClient,
    /// A named pipe that nobody opens for writing.
    Fifo,
    /// A disk, by reading past the page cache.
    Disk,
    FileLock,
    Sqlite,
    Child,
    /// With the GIL.
    Computing,
    /// In C code that releases the GIL.
    Hashing,
    FullPipe,
    Stopped,
    /// A lock that a thread took with it.
    Forgotten,
    Nothing,
}

/// All of them.
pub(crate) const LEAVES: &[Leaf] = &[
    Leaf::BackEndSlow,
    Leaf::BackEndHung,
    Leaf::Sleep,
    Leaf::SlowClient,
    Leaf::Fifo,
    Leaf::Disk,
    Leaf::FileLock,
    Leaf::Sqlite,
    Leaf::Child,
    Leaf::Computing,
    Leaf::Hashing,
    Leaf::FullPipe,
    Leaf::Stopped,
    Leaf::Forgotten,
    Leaf::Nothing,
];

impl Leaf {
    /// In tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BackEndSlow => "back end slow",
            Self::BackEndHung => "back end hung",
            Self::Sleep => "sleep",
            Self::SlowClient => "slow client",
            Self::Fifo => "named pipe without a writer",
            Self::Disk => "disk",
            Self::FileLock => "file lock",
            Self::Sqlite => "SQLite write lock",
            Self::Child => "child",
            Self::Computing => "computing with the GIL",
            Self::Hashing => "computing without the GIL",
            Self::FullPipe => "full pipe",
            Self::Stopped => "stopped",
            Self::Forgotten => "lock never released",
            Self::Nothing => "healthy",
        }
    }

    /// What a report may call it; nothing: there is none. Who computes waits for CPUs that others have.
    pub(crate) const fn kinds(self) -> &'static [LeafKind] {
        match self {
            Self::BackEndSlow | Self::BackEndHung => &[LeafKind::BackEnd],
            Self::Sleep => &[LeafKind::Sleep],
            Self::SlowClient => &[LeafKind::Client],
            Self::Fifo => &[LeafKind::File, LeafKind::Pipe],
            Self::Disk => &[LeafKind::File],
            Self::FileLock | Self::Sqlite => &[LeafKind::FileLock],
            Self::Child => &[LeafKind::Child],
            Self::Computing | Self::Hashing => &[LeafKind::Computing, LeafKind::CpuTaken],
            Self::FullPipe => &[LeafKind::Pipe],
            Self::Stopped => &[LeafKind::StoodStill],
            Self::Forgotten => &[LeafKind::NotReleased],
            Self::Nothing => &[],
        }
    }

    /// Whether it is a back end, whose port tells it from the one of the base work.
    pub(crate) const fn has_port(self) -> bool {
        matches!(self, Self::BackEndSlow | Self::BackEndHung)
    }

    /// Whether it computes: then the base work's computing counts as well.
    pub(crate) const fn computes(self) -> bool {
        matches!(self, Self::Computing | Self::Hashing)
    }

    /// Whether it takes as long as it is told to.
    pub(crate) const fn lasts(self) -> bool {
        self.computes() || matches!(self, Self::BackEndSlow | Self::Sleep | Self::Disk | Self::Child)
    }

    /// Whether hops can be around it.
    pub(crate) const fn has_path(self) -> bool {
        !matches!(self, Self::SlowClient | Self::Stopped | Self::Nothing)
    }

    /// Whether only one at a time gets on.
    pub(crate) const fn is_serial(self) -> bool {
        matches!(self, Self::FileLock | Self::Sqlite | Self::Computing | Self::Stopped | Self::Forgotten)
    }

    /// Whether its witness knows all of it there: after the application's end Waitress still writes, and
    /// gunicorn's sync worker waits for its client to close.
    pub(crate) const fn fits(self, server: ServerKind) -> bool {
        let goes_on = matches!(server, ServerKind::Waitress | ServerKind::GunicornSync);
        !(matches!(self, Self::SlowClient) && goes_on)
    }

    /// How long it takes or is held, and how long it is free or not looked after, in ms.
    pub(crate) fn times(self, rng: &mut Rng) -> (u32, u32) {
        match self {
            Self::FileLock | Self::Sqlite => pick(rng, (80, 20), &[(80, 20), (150, 30)]),
            Self::Fifo | Self::FullPipe => (0, pick(rng, 60, &[60, 120])),
            Self::Stopped => pick(rng, (300, 500), &[(300, 500), (400, 300)]),
            Self::Computing | Self::Hashing => (pick(rng, 20, &[20, 40]), 0),
            Self::BackEndSlow | Self::Sleep | Self::Disk | Self::Child => (pick(rng, 40, &[40, 80, 120]), 0),
            Self::BackEndHung | Self::SlowClient | Self::Forgotten | Self::Nothing => (0, 0),
        }
    }
}
