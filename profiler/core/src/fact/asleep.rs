//! A thread that is asleep, as one look from outside saw it.
//!
//! In: nothing (the patrol of `session` looks several times a second). Out: [`AsleepSeen`]. Every name and
//! path in it is hostile input.

use serde::{Deserialize, Serialize};

/// A thread that has slept for less is not looked at.
pub const LOOKED_AT_NS: u64 = 50_000_000;

/// What a thread that had slept for long was in. It slept on while it was looked at, so all of this was true
/// at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsleepSeen {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// When it went to sleep.
    pub since_ns: u64,
    /// Number of its system call on this machine's `x86_64` table; `None`: it is in none (a page fault), or
    /// that could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_call: Option<u32>,
    /// First three arguments of the call.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub arguments: [u64; 3],
    /// How it sleeps.
    #[serde(default)]
    pub state: SleepState,
    /// Who traces it (`TracerPid`), or stopped it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<OtherProcess>,
    /// What it waits for, where that can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectSeen>,
    /// Where in Python it is, by the number of a [`PlaceSeen`](super::place::PlaceSeen) before; `None`: it
    /// runs no Python, or that could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u32>,
    /// Locks of Python that it has taken by `with`: the addresses of their words, as futex(2) has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<u64>,
    /// The thread of its process that has the lock for which it waits, as that lock says (`RLock`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_taken_by: Option<u32>,
}

impl AsleepSeen {
    /// Locks of one thread that are told.
    pub const MAX_LOCKS: usize = 8;
}

const fn is_nothing(arguments: &[u64; 3]) -> bool {
    matches!(arguments, [0, 0, 0])
}

/// How a thread sleeps: by its state and by the kernel's stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SleepState {
    /// In its call, and can be woken by a signal (`S`).
    #[default]
    Interruptible,
    /// In its call, and cannot (`D`).
    Uninterruptible,
    /// Stopped by a signal (`T`).
    Stopped,
    /// Stopped by who traces it (`t`).
    Traced,
    /// Its cgroup is frozen.
    Frozen,
    /// Its cgroup is above `memory.high`: it sleeps on the way out of a call.
    MemoryHigh,
    /// It waits for the lock of its process's map of memory.
    MemoryMap,
    /// It waits for a page of memory.
    PageFault,
}

/// A process at the other end of something, or that holds or stops something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OtherProcess {
    /// Process.
    pub tgid: u32,
    /// Its name. Hostile input.
    pub comm: String,
    /// State of its main thread: `R`, `S`, `D`, `T` …; `None`: not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<char>,
    /// System call that its main thread is in; `None`: none, or not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_call: Option<u32>,
}

/// What a sleep is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum ObjectSeen {
    /// A file or a directory.
    File(FileSeen),
    /// A lock on a file.
    FileLock {
        /// The file.
        file: FileSeen,
        /// Who holds the lock (`/proc/locks`); empty: nobody was found.
        holders: Vec<OtherProcess>,
    },
    /// A pipe or a FIFO.
    Pipe {
        /// Inode; 0: not known.
        inode: u64,
        /// Path of a FIFO; empty: it has none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        path: String,
        /// Processes at the other end, those of the target too; empty: nobody was found.
        others: Vec<OtherProcess>,
    },
    /// A UNIX socket.
    Unix {
        /// Inode; 0: not known.
        inode: u64,
        /// Path of the listener, where it has one.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        path: String,
        /// Inode of the listener at which nobody has accepted the connection yet; `None`: somebody has, or it
        /// is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waits_at: Option<u64>,
        /// Processes at the other end; empty: nobody was found.
        others: Vec<OtherProcess>,
    },
    /// A TCP connection.
    Tcp {
        /// Inode; 0: not known.
        inode: u64,
        /// Own address.
        local: String,
        /// The other end's.
        peer: String,
        /// How it stands.
        state: ConnectionState,
        /// Processes of this host at the other end; empty: none was found.
        others: Vec<OtherProcess>,
    },
    /// A terminal or another device.
    Device {
        /// Path.
        path: String,
    },
    /// An eventfd, a timer and their like: the kernel's name of its kind.
    Anonymous {
        /// Such as `eventfd`.
        name: String,
    },
    /// A child process.
    Child(OtherProcess),
    /// A process that stopped or traces another.
    By(OtherProcess),
}

impl ObjectSeen {
    /// What distinguishes it from others: all of it but what changes from look to look.
    pub fn identity(&self) -> Self {
        let name = |process: &OtherProcess| OtherProcess { comm: process.comm.clone(), ..<_>::default() };
        match self {
            Self::FileLock { file, .. } => Self::FileLock { file: file.clone(), holders: Vec::new() },
            Self::Pipe { inode, path, .. } => {
                let inode = if path.is_empty() { *inode } else { 0 };
                Self::Pipe { inode, path: path.clone(), others: Vec::new() }
            }
            Self::Unix { path, others, waits_at, .. } => {
                let others = others.iter().filter(|_| path.is_empty()).map(name).collect();
                Self::Unix { inode: 0, path: path.clone(), waits_at: *waits_at, others }
            }
            Self::Tcp { peer, .. } => Self::Tcp {
                inode: 0,
                local: String::new(),
                peer: peer.clone(),
                state: ConnectionState::Unknown,
                others: Vec::new(),
            },
            Self::Child(process) => Self::Child(name(process)),
            Self::By(process) => Self::By(OtherProcess { state: None, system_call: None, ..process.clone() }),
            Self::File(_) | Self::Device { .. } | Self::Anonymous { .. } => self.clone(),
        }
    }

    /// Processes at the other end, or that hold it.
    pub fn processes(&self) -> &[OtherProcess] {
        match self {
            Self::FileLock { holders, .. } => holders,
            Self::Pipe { others, .. } | Self::Unix { others, .. } | Self::Tcp { others, .. } => others,
            Self::Child(process) | Self::By(process) => std::slice::from_ref(process),
            Self::File(_) | Self::Device { .. } | Self::Anonymous { .. } => &[],
        }
    }
}

/// A file, as a descriptor, a path in a call or a mapping shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileSeen {
    /// Path; a part of it may be redacted.
    pub path: String,
    /// It has been deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_deleted: bool,
    /// Where its file system is mounted; empty: not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mount: String,
    /// Kind of the file system (`ext4`, `nfs4`); empty: not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file_system: String,
}

/// How a TCP connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// Not known.
    #[default]
    Unknown,
    /// Not connected yet: the other end has not answered.
    Connecting,
    /// What was sent is not acknowledged, and is sent again.
    Retransmitting,
    /// The other end takes nothing more: its window is zero.
    WindowZero,
    /// All that was sent is acknowledged: the other end has it, and has not answered.
    Acknowledged,
    /// Some of what was sent is on its way.
    InFlight,
    /// Nobody has accepted it at the other end yet, whose processes are those of its listener.
    NotAccepted,
    /// The other end has closed it.
    Closed,
}

/// What the patrol has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patrol {
    /// Sleeps that were looked at.
    pub looks: u64,
    /// Of those: the thread went on meanwhile, so nothing is said of it.
    pub went_on: u64,
    /// Of those: the process is gone, or may not be read.
    pub refused: u64,
    /// Sleeps that were long enough and not looked at, as there were too many at a time.
    pub left_out: u64,
    /// Of looks: there was no time or no room to read where in Python the thread was, or whose code that is.
    #[serde(default)]
    pub unplaced: u64,
}

impl Patrol {
    /// What it has done since it had done `before`.
    #[must_use]
    pub const fn since(&self, before: &Self) -> Self {
        Self {
            looks: self.looks.saturating_sub(before.looks),
            went_on: self.went_on.saturating_sub(before.went_on),
            refused: self.refused.saturating_sub(before.refused),
            left_out: self.left_out.saturating_sub(before.left_out),
            unplaced: self.unplaced.saturating_sub(before.unplaced),
        }
    }
}

impl AsleepSeen {
    /// Whether it did not wait for anything in its call, but was held from outside.
    pub const fn stands_still(&self) -> bool {
        matches!(
            self.state,
            SleepState::Stopped | SleepState::Traced | SleepState::Frozen | SleepState::MemoryHigh
        )
    }
}
