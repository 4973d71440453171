//! What there is to see at one moment.
//!
//! In: a snapshot as if the window ended now, its findings, what the threads do, the latest finished
//! requests. Out: [`Shown`], which the screen draws. Immutable: a paused screen keeps the one it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;
use profiler_core::model::now::Now;
use profiler_core::model::request::Request;
use profiler_core::timeline::ThreadState;

/// One moment of a run.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Aggregates of the window.
    pub snapshot: Arc<Snapshot>,
    /// What the rules say of them.
    pub findings: Arc<Vec<Finding>>,
    /// What every thread does now.
    pub now: Now,
    /// The application's lines at which threads are, by thread, as far as they were looked at. Hostile input.
    pub lines: BTreeMap<u32, String>,
    /// Requests that ended lately, and the slowest, newest first.
    pub kept: Vec<Arc<Kept>>,
    /// Requests that ended in each of the latest seconds, oldest first.
    pub rates: Vec<u64>,
    /// Where it comes from.
    pub source: Source,
}

/// Where the moment comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A running server.
    Live {
        /// Length at which a window ends and the next begins.
        window_ns: u64,
        /// The window ended this long ago, and the one after it is too young to be judged; `None`: it goes
        /// on.
        ended_ago_ns: Option<u64>,
    },
    /// A recording.
    Recording {
        /// How far it has played, from the start of its window.
        position_ns: u64,
        /// Its length; `None`: not known.
        length_ns: u64,
        /// How many times as fast as it was recorded; 0: as fast as it can be read.
        speed: u32,
        /// The recording stands still.
        paused: bool,
        /// The recording has ended.
        ended: bool,
    },
}

impl Default for Source {
    fn default() -> Self {
        Self::Live { window_ns: 0, ended_ago_ns: None }
    }
}

/// A finished request with what its threads did meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The request.
    pub request: Request,
    /// Shape of its path: with its method and status, its endpoint. Hostile input.
    pub shape: String,
    /// What its threads did, in order; neighbours of the same kind are one.
    pub parts: Vec<Part>,
    /// Some parts were not kept: there were too many.
    pub thinned: bool,
}

/// A stretch of a thread's time within a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Thread.
    pub tid: u32,
    /// Start.
    pub start_ns: u64,
    /// End.
    pub end_ns: u64,
    /// What it did.
    pub state: ThreadState,
}
