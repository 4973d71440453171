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
    BackEndUnix,
    /// Its process computes, instead of waiting itself.
    BackEndComputes,
    /// Its process is stopped again and again.
    BackEndStopped,
    /// It takes no connection.
    BackEndUnreached,
    /// It acknowledges nothing.
    BackEndDead,
    /// It does not read what is sent.
    BackEndFull,
    Sleep,
    SlowClient,
    /// Requests that do not end, each of which has a slot.
    Stream,
    /// The same after a change of protocol.
    Upgraded,
    /// A named pipe that nobody opens for writing.
    Fifo,
    /// A disk, by reading past the page cache.
    Disk,
    /// A disk that hangs at times, by a descriptor.
    DiskStalled,
    /// A file system that hangs at times, by a path.
    PathStalled,
    /// The same, by a page of a mapped file.
    MappingStalled,
    NameServer,
    FileLock,
    Sqlite,
    Child,
    /// It writes into a pipe that its parent, which waits for it, does not read.
    ChattyChild,
    /// With the GIL.
    Computing,
    /// In C code that releases the GIL.
    Hashing,
    FullPipe,
    Stopped,
    Traced,
    Frozen,
    /// A lock that a thread took with it.
    Forgotten,
    /// Two locks, taken in both orders.
    Cycle,
    Nothing,
}

/// All of them.
pub(crate) const LEAVES: &[Leaf] = &[
    Leaf::BackEndSlow,
    Leaf::BackEndHung,
    Leaf::BackEndUnix,
    Leaf::BackEndComputes,
    Leaf::BackEndStopped,
    Leaf::BackEndUnreached,
    Leaf::BackEndDead,
    Leaf::BackEndFull,
    Leaf::Sleep,
    Leaf::SlowClient,
    Leaf::Stream,
    Leaf::Upgraded,
    Leaf::Fifo,
    Leaf::Disk,
    Leaf::DiskStalled,
    Leaf::PathStalled,
    Leaf::MappingStalled,
    Leaf::NameServer,
    Leaf::FileLock,
    Leaf::Sqlite,
    Leaf::Child,
    Leaf::ChattyChild,
    Leaf::Computing,
    Leaf::Hashing,
    Leaf::FullPipe,
    Leaf::Stopped,
    Leaf::Traced,
    Leaf::Frozen,
    Leaf::Forgotten,
    Leaf::Cycle,
    Leaf::Nothing,
];

impl Leaf {
    /// In tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BackEndSlow => "back end slow",
            Self::BackEndHung => "back end hung",
            Self::BackEndUnix => "back end at a UNIX socket",
            Self::BackEndComputes => "back end that computes",
            Self::BackEndStopped => "back end stopped",
            Self::BackEndUnreached => "back end not connected",
            Self::BackEndDead => "back end that acknowledges nothing",
            Self::BackEndFull => "back end that does not read",
            Self::Sleep => "sleep",
            Self::SlowClient => "slow client",
            Self::Stream => "streams",
            Self::Upgraded => "upgraded connections",
            Self::Fifo => "named pipe without a writer",
            Self::Disk => "disk",
            Self::DiskStalled => "stalled disk by a descriptor",
            Self::PathStalled => "stalled disk by a path",
            Self::MappingStalled => "stalled disk by a mapping",
            Self::NameServer => "name server",
            Self::FileLock => "file lock",
            Self::Sqlite => "SQLite write lock",
            Self::Child => "child",
            Self::ChattyChild => "child at a pipe that nobody reads",
            Self::Computing => "computing with the GIL",
            Self::Hashing => "computing without the GIL",
            Self::FullPipe => "full pipe",
            Self::Stopped => "stopped",
            Self::Traced => "traced",
            Self::Frozen => "frozen",
            Self::Forgotten => "lock never released",
            Self::Cycle => "two locks in both orders",
            Self::Nothing => "healthy",
        }
    }

    /// What a report may call it; nothing: there is none. Who computes waits for CPUs that others have.
    pub(crate) const fn kinds(self) -> &'static [LeafKind] {
        match self {
            Self::BackEndSlow
            | Self::BackEndHung
            | Self::BackEndUnix
            | Self::BackEndComputes
            | Self::BackEndStopped
            | Self::BackEndUnreached
            | Self::BackEndDead
            | Self::BackEndFull => &[LeafKind::BackEnd],
            Self::Sleep => &[LeafKind::Sleep],
            Self::Stream => &[LeafKind::Stream],
            Self::SlowClient => &[LeafKind::Client],
            Self::Upgraded => &[LeafKind::Upgraded],
            Self::Fifo => &[LeafKind::File, LeafKind::Pipe],
            Self::Disk | Self::DiskStalled | Self::PathStalled => &[LeafKind::File],
            Self::MappingStalled => &[LeafKind::PageFault],
            Self::NameServer => &[LeafKind::NameServer],
            Self::FileLock | Self::Sqlite => &[LeafKind::FileLock],
            Self::Child => &[LeafKind::Child],
            Self::ChattyChild => &[LeafKind::Child, LeafKind::NotReleased],
            Self::Computing | Self::Hashing => &[LeafKind::Computing, LeafKind::CpuTaken],
            Self::FullPipe => &[LeafKind::Pipe],
            Self::Stopped | Self::Traced | Self::Frozen => &[LeafKind::StoodStill],
            Self::Forgotten | Self::Cycle => &[LeafKind::NotReleased],
            Self::Nothing => &[],
        }
    }

    /// Whether it is a back end, whose port tells it from the one of the base work.
    pub(crate) const fn is_back_end(self) -> bool {
        matches!(self.kinds(), [LeafKind::BackEnd])
    }

    /// Whether it computes: then the base work's computing counts as well.
    pub(crate) const fn computes(self) -> bool {
        matches!(self, Self::Computing | Self::Hashing)
    }

    /// Whether it stops all processes of the server.
    pub(crate) const fn stops(self) -> bool {
        matches!(self, Self::Stopped | Self::Traced | Self::Frozen)
    }

    /// Whether somebody outside does it to the server, once that is there.
    pub(crate) const fn is_at_the_server(self) -> bool {
        self.stops() || matches!(self, Self::Stream | Self::Upgraded)
    }

    /// Whether it lies on a disk that can be stalled.
    pub(crate) const fn is_stalled(self) -> bool {
        matches!(self, Self::DiskStalled | Self::PathStalled | Self::MappingStalled)
    }

    /// Whether who meets it is there to the end.
    pub(crate) const fn hangs(self) -> bool {
        matches!(
            self,
            Self::BackEndHung
                | Self::BackEndUnreached
                | Self::BackEndDead
                | Self::BackEndFull
                | Self::ChattyChild
        )
    }

    /// Whether each time takes as long as it is told to, or does not end.
    pub(crate) const fn is_of_its_own_length(self) -> bool {
        self.lasts() || self.hangs()
    }

    /// Whether it takes as long as it is told to.
    pub(crate) const fn lasts(self) -> bool {
        self.computes()
            || matches!(
                self,
                Self::BackEndSlow
                    | Self::BackEndUnix
                    | Self::BackEndComputes
                    | Self::NameServer
                    | Self::Sleep
                    | Self::Disk
                    | Self::Child
            )
    }

    /// Whether hops can be around it.
    pub(crate) const fn has_path(self) -> bool {
        let is_of_the_server =
            matches!(self, Self::SlowClient | Self::Stream | Self::Upgraded | Self::Nothing);
        // Under one lock nobody comes to take two in another order.
        !(self.stops() || is_of_the_server || matches!(self, Self::Cycle))
    }

    /// Whether only one at a time gets on.
    pub(crate) const fn is_serial(self) -> bool {
        self.stops()
            || matches!(self, Self::FileLock | Self::Sqlite | Self::Computing | Self::Forgotten | Self::Cycle)
    }

    /// Whether this server can have it, and its witness knows all of it there: after the application's end
    /// Waitress still writes, and gunicorn waits for its client to close.
    pub(crate) const fn fits(self, server: ServerKind) -> bool {
        let ends_with_it = matches!(server, ServerKind::Uwsgi | ServerKind::Cheroot);
        match self {
            Self::SlowClient => ends_with_it,
            Self::Stream | Self::Cycle => !matches!(server, ServerKind::GunicornSync),
            Self::Upgraded => matches!(server, ServerKind::GunicornGthread),
            _ => true,
        }
    }

    /// How long it takes or is held, and how long it is free or not looked after, in ms.
    pub(crate) fn times(self, rng: &mut Rng) -> (u32, u32) {
        match self {
            Self::FileLock | Self::Sqlite => pick(rng, (80, 20), &[(80, 20), (150, 30)]),
            Self::Fifo | Self::FullPipe => (0, pick(rng, 60, &[60, 120])),
            _ if self.stops() || self.is_stalled() || self == Self::BackEndStopped => {
                pick(rng, (300, 500), &[(300, 500), (400, 300)])
            }
            Self::Stream | Self::Upgraded => pick(rng, (1500, 500), &[(1500, 500), (2000, 300)]),
            Self::Computing | Self::Hashing => (pick(rng, 20, &[20, 40]), 0),
            _ if self.lasts() => (pick(rng, 40, &[40, 80, 120]), 0),
            _ => (0, 0),
        }
    }
}
