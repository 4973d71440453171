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
    /// In C code that keeps it.
    Sorting,
    Collecting,
    /// In C code that keeps the GIL.
    SleepWithGil,
    /// A file that must be gone, looked for again and again.
    PolledFile,
    /// A lock on a file, asked for again and again.
    PolledLock,
    /// The server itself, all of whose slots wait for it, up to a limit of time.
    OwnServer,
    /// The only worker ends now and then, and the next takes long to load.
    Nobody,
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
    Leaf::Sorting,
    Leaf::Collecting,
    Leaf::SleepWithGil,
    Leaf::PolledFile,
    Leaf::PolledLock,
    Leaf::OwnServer,
    Leaf::Nobody,
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
            Self::Sorting => "C code with the GIL",
            Self::Collecting => "garbage collection",
            Self::SleepWithGil => "sleep with the GIL",
            Self::PolledFile => "polled file",
            Self::PolledLock => "polled file lock",
            Self::OwnServer => "the server itself",
            Self::Nobody => "nobody there",
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
            Self::Computing | Self::Hashing | Self::Sorting | Self::Collecting => {
                &[LeafKind::Computing, LeafKind::CpuTaken]
            }
            Self::SleepWithGil => &[LeafKind::Sleep],
            // That it sleeps between two looks is so too.
            Self::PolledFile => &[LeafKind::File, LeafKind::Sleep],
            Self::PolledLock => &[LeafKind::FileLock, LeafKind::Sleep],
            Self::OwnServer => &[LeafKind::NotReleased],
            // What the next worker does meanwhile is so too.
            Self::Nobody => &[LeafKind::NoThread, LeafKind::Sleep],
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
        matches!(self, Self::Computing | Self::Hashing | Self::Sorting | Self::Collecting)
    }

    /// Whether nobody of its process gets on meanwhile.
    pub(crate) fn stops_its_process(self) -> bool {
        self == Self::SleepWithGil
    }

    /// Whether there is no witness of how long.
    pub(crate) fn is_unwitnessed(self) -> bool {
        self == Self::OwnServer
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
                    | Self::SleepWithGil
                    | Self::Disk
                    | Self::Child
            )
    }

    /// Whether hops can be around it.
    pub(crate) const fn has_path(self) -> bool {
        let is_of_the_server = matches!(
            self,
            Self::SlowClient | Self::Stream | Self::Upgraded | Self::OwnServer | Self::Nobody | Self::Nothing
        );
        // Under one lock nobody comes to take two in another order.
        !(self.stops() || is_of_the_server || matches!(self, Self::Cycle))
    }

    /// Whether only one at a time gets on.
    pub(crate) const fn is_serial(self) -> bool {
        self.stops()
            || matches!(
                self,
                Self::FileLock
                    | Self::Sqlite
                    | Self::PolledLock
                    | Self::Computing
                    | Self::Sorting
                    | Self::Collecting
                    | Self::SleepWithGil
                    | Self::Forgotten
                    | Self::Cycle
            )
    }

    /// Whether this server can have it, and its witness knows all of it there: after the application's end
    /// Waitress still writes, and gunicorn waits for its client to close.
    pub(crate) fn fits(self, server: ServerKind) -> bool {
        let ends_with_it =
            matches!(server, ServerKind::Uwsgi | ServerKind::Cheroot | ServerKind::CherootInScript);
        let is_plain = !server.takes_turns() && server != ServerKind::GunicornSync;
        match self {
            Self::SlowClient => ends_with_it,
            Self::Stream => is_plain && server.has_slots() && !server.has_no_files(),
            Self::Cycle => is_plain,
            Self::OwnServer => is_plain && server.has_slots(),
            Self::Upgraded => matches!(server, ServerKind::GunicornGthread),
            Self::Nobody => matches!(server, ServerKind::GunicornSync),
            _ if server.has_no_files() => !self.has_files(),
            // What another greenlet goes on with, and a lock that one waits for, the witness cannot tell.
            _ if server.takes_turns() => {
                self.has_files()
                    && !matches!(self, Self::Fifo | Self::FullPipe | Self::PolledFile | Self::PolledLock)
                    || self.computes()
                    || self.stops()
                    || matches!(self, Self::BackEndSlow | Self::Sleep | Self::SleepWithGil | Self::Nothing)
            }
            _ => true,
        }
    }

    /// Whether it has a file.
    const fn has_files(self) -> bool {
        self.is_stalled()
            || matches!(
                self,
                Self::BackEndUnix
                    | Self::Fifo
                    | Self::FullPipe
                    | Self::Disk
                    | Self::FileLock
                    | Self::PolledFile
                    | Self::PolledLock
                    | Self::Sqlite
            )
    }

    /// Whether a server that takes turns goes on with others meanwhile.
    pub(crate) const fn yields(self) -> bool {
        matches!(self, Self::BackEndSlow | Self::BackEndUnix | Self::Sleep | Self::Nothing)
    }

    /// How long it takes or is held, and how long it is free or not looked after, in ms.
    pub(crate) fn times(self, rng: &mut Rng) -> (u32, u32) {
        match self {
            Self::FileLock | Self::Sqlite | Self::PolledFile | Self::PolledLock => {
                pick(rng, (80, 20), &[(80, 20), (150, 30)])
            }
            Self::Fifo | Self::FullPipe => (0, pick(rng, 60, &[60, 120])),
            _ if self.stops() || self.is_stalled() || self == Self::BackEndStopped => {
                pick(rng, (300, 500), &[(300, 500), (400, 300)])
            }
            Self::Stream | Self::Upgraded => pick(rng, (1500, 500), &[(1500, 500), (2000, 300)]),
            Self::OwnServer => (1500, 0),
            Self::Nobody => (700, 0),
            _ if self.computes() || self == Self::SleepWithGil => (pick(rng, 20, &[20, 40]), 0),
            _ if self.lasts() => (pick(rng, 40, &[40, 80, 120]), 0),
            _ => (0, 0),
        }
    }
}
