//! Who waited for the interpreter lock, and for how long.
//!
//! In: facts about interpreters, episodes of waiting. Out: [`Gil`], a part of the snapshot. By endpoint the waits are in
//! the phases of requests.

use super::latency::Latency;
use crate::fact::InterpreterSeen;

/// How waits for the lock are seen.
pub const METHOD: &str = "system calls: waits on the lock's own futexes";

/// What that is known to miss, as measured against the entry and exit of the interpreter's own function.
pub const KNOWN_ERROR: &str = "a wait is seen 3 to 5 µs late and ends a few µs early; two waits with less than 50 µs of \
     computing and no observed system call between them count as one";

/// The interpreter lock over one window.
#[derive(Clone, Debug, Default)]
pub struct Gil {
    /// Why waits were not measured; `None`: they were.
    pub not_measured: Option<String>,
    /// The interpreters of the target's processes, by process.
    pub interpreters: Vec<InterpreterSeen>,
    /// Waits, each from its first sleep's start to its last sleep's end (run queue included).
    pub waits: Latency,
    /// The part of them in which the waiter was ready but had no CPU.
    pub run_queue_ns: u64,
    /// Waits longer than the interpreter's switch interval.
    pub past_interval: u64,
    /// Sleeps that the waits consisted of.
    pub sleeps: u64,
    /// The threads that waited longest, longest first (bounded).
    pub threads: Vec<Waiter>,
    /// Threads that waited at all.
    pub thread_count: u64,
    /// Whether the holders were read, in one process at least.
    pub holders_known: bool,
    /// Who made whom wait, costliest first (bounded).
    pub edges: Vec<Edge>,
    /// Waiting time of the pairs that are not listed.
    pub other_edges_ns: u64,
}

/// One side of an edge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// Threads while they serve requests of one endpoint: method and path shape (empty: no head was read). Hostile input.
    Endpoint(String),
    /// A thread while it serves no request.
    Thread {
        /// Process.
        tgid: u32,
        /// Thread.
        tid: u32,
        /// Name. Hostile input.
        comm: String,
    },
    /// It could not be told.
    Unknown,
}

/// Waiting of one party while another had the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Who waited.
    pub waiter: Party,
    /// Who had the lock when the waiter went to sleep.
    pub holder: Party,
    /// Time waited, run queue included.
    pub total_ns: u64,
    /// Stretches of waiting that the time consists of.
    pub waits: u64,
}

/// One thread that waited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiter {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// Name. Hostile input.
    pub comm: String,
    /// Waits.
    pub waits: u64,
    /// Their sum.
    pub total_ns: u64,
    /// The part of it in which the thread was ready but had no CPU.
    pub run_queue_ns: u64,
    /// The longest.
    pub longest_ns: u64,
}
