//! The way from a request to a leaf: hops, each a wait that the server's own threads end.
//!
//! In: a source of random numbers, the kind of server. Out: [`Hop`]s.

use std::fmt;

use fastrand::Rng;
use profiler_core::phase::Phase;
use serde_json::{Value, json};

use crate::draw::{pick, word};
use crate::server::ServerKind;

/// Hops of a path at most.
pub(crate) const MOST_HOPS: usize = 3;

/// A kind of hop, as `tests/apps/composed.py` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    Lock,
    RLock,
    /// Of so many.
    Semaphore(u32),
    /// Of so many threads.
    Executor(u32),
    Queue,
    Event,
    /// The name of the file.
    FileLock(String),
    /// The same by `fcntl`.
    RecordLock(String, LockOf),
    Pipe,
    /// A logging handler.
    Log,
    /// A module that is imported for the first time.
    Import,
    Itself,
}

/// Whom a lock by `fcntl` excludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockOf {
    /// Other processes; closing the file anywhere in this one gives it up.
    Process,
    /// Whoever has opened the file himself.
    Opened,
}

impl Hop {
    fn drawn(rng: &mut Rng, server: ServerKind) -> Self {
        let of = if server == ServerKind::GunicornSync { LockOf::Process } else { LockOf::Opened };
        match rng.u32(0..12) {
            0 => Self::Lock,
            1 => Self::RLock,
            2 => Self::Semaphore(pick(rng, 2, &[2, 3])),
            3 => Self::Executor(pick(rng, 1, &[1, 2, 3])),
            4 => Self::Queue,
            5 => Self::Event,
            6 => Self::FileLock(word(rng)),
            7 => Self::Pipe,
            8 => Self::RecordLock(word(rng), of),
            9 => Self::Log,
            10 => Self::Import,
            _ => Self::Itself,
        }
    }

    /// As the application takes it.
    pub(crate) fn plan(&self, directory: &str) -> Value {
        match self {
            Self::Lock => json!(["lock", null]),
            Self::RLock => json!(["rlock", null]),
            Self::Semaphore(count) => json!(["semaphore", count]),
            Self::Executor(count) => json!(["executor", count]),
            Self::Queue => json!(["queue", null]),
            Self::Event => json!(["event", null]),
            Self::FileLock(name) => json!(["file_lock", format!("{directory}/{name}")]),
            Self::RecordLock(name, of) => {
                let of = if *of == LockOf::Process { "process" } else { "opened" };
                json!(["record_lock", [format!("{directory}/{name}"), of]])
            }
            Self::Pipe => json!(["pipe", null]),
            Self::Log => json!(["log", null]),
            Self::Import => json!(["import", null]),
            Self::Itself => json!(["itself", null]),
        }
    }

    /// A file that must be there.
    pub(crate) fn file(&self) -> Option<&str> {
        match self {
            Self::FileLock(name) | Self::RecordLock(name, _) => Some(name),
            _ => None,
        }
    }

    pub(crate) fn is_itself(&self) -> bool {
        *self == Self::Itself
    }

    /// Whether only one at a time gets on.
    pub(crate) fn is_serial(&self) -> bool {
        match self {
            Self::Lock
            | Self::RLock
            | Self::Queue
            | Self::FileLock(_)
            | Self::RecordLock(..)
            | Self::Log
            | Self::Import
            | Self::Pipe => true,
            Self::Executor(threads) => *threads == 1,
            Self::Semaphore(_) | Self::Event | Self::Itself => false,
        }
    }

    /// How many at a time get on: who is beyond keeps the others out, where he is as many.
    pub(crate) fn count(&self) -> u32 {
        match self {
            Self::Semaphore(count) | Self::Executor(count) => *count,
            _ => 1,
        }
    }

    /// Whether others wait while it is taken.
    pub(crate) fn is_exclusive(&self) -> bool {
        !matches!(self, Self::Event | Self::Itself | Self::Import)
    }

    /// What phase a wait there may be: what a descriptor is, a trace may have learnt too late.
    pub(crate) fn phases(&self) -> &'static [Phase] {
        match self {
            Self::FileLock(_) | Self::RecordLock(..) => &[Phase::FileWait, Phase::LockWait],
            Self::Pipe => &[Phase::FileWait, Phase::BackendWait, Phase::LockWait],
            Self::Itself => &[Phase::BackendWait],
            _ => &[Phase::LockWait],
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock => formatter.write_str("lock"),
            Self::RLock => formatter.write_str("RLock"),
            Self::Semaphore(count) => write!(formatter, "semaphore of {count}"),
            Self::Executor(count) => write!(formatter, "executor of {count}"),
            Self::Queue => formatter.write_str("queue"),
            Self::Event => formatter.write_str("event"),
            Self::FileLock(_) => formatter.write_str("lock on a file"),
            Self::RecordLock(_, LockOf::Process) => formatter.write_str("record lock on a file"),
            Self::RecordLock(_, LockOf::Opened) => formatter.write_str("record lock on an opened file"),
            Self::Pipe => formatter.write_str("pipe"),
            Self::Log => formatter.write_str("logging handler"),
            Self::Import => formatter.write_str("first import"),
            Self::Itself => formatter.write_str("request to itself"),
        }
    }
}

/// Up to three hops; a process that serves one request at a time cannot ask itself.
pub(crate) fn drawn_path(rng: &mut Rng, server: ServerKind) -> Vec<Hop> {
    let length = rng.usize(0..=MOST_HOPS);
    let mut hops: Vec<Hop> = Vec::new();
    while hops.len() < length {
        let hop = Hop::drawn(rng, server);
        let is_once = hop.is_itself() || hop == Hop::Import;
        let is_impossible = hop.is_itself() && server == ServerKind::GunicornSync;
        if !(is_impossible || is_once && hops.contains(&hop)) {
            hops.push(hop);
        }
    }
    hops
}
