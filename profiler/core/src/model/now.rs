//! What the threads of the target are doing at one moment, for the live screen.
//!
//! In: looks at threads, joined with what the machines know of them. Out: [`Now`]. Nothing of it is part of a
//! report: it is true for a moment only.

use crate::event::Tid;
use crate::model::slot::Holding;
use crate::model::thread_state::ThreadState;

/// Where the kernel's scheduler has a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduled {
    /// On a CPU.
    Running,
    /// Ready, without a CPU.
    Runnable,
    /// Asleep.
    Asleep,
}

/// All threads and all requests in flight.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Now {
    /// When, `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// Threads that could be looked at, by process and thread.
    pub threads: Vec<ThreadNow>,
    /// Requests that have begun and not ended, oldest first.
    pub requests: Vec<RequestNow>,
}

/// One thread.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadNow {
    /// Process.
    pub tgid: Tid,
    /// Thread.
    pub tid: Tid,
    /// Name. Hostile input.
    pub comm: String,
    /// Dense number of the slot it is; `None`: it has read no request so far.
    pub slot: Option<u32>,
    /// What it is doing.
    pub state: ThreadState,
    /// What holds it while it waits for a client and serves no request.
    pub holding: Option<Holding>,
    /// Since when it has been in this call, or out of any.
    pub since_ns: u64,
    /// Name of the call it is in; `None`: it is in none.
    pub call: Option<&'static str>,
    /// The request that it serves, by id; `None`: none, or the machines are not as far as the look.
    pub request: Option<u64>,
    /// The thread that held the interpreter lock when it began to wait for it; 0: not known, or no such
    /// wait.
    pub holder_tid: Tid,
}

/// One request in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestNow {
    /// Dense number.
    pub id: u64,
    /// Method; empty if no head was read.
    pub method: String,
    /// Path without the query. Hostile input.
    pub path: String,
    /// Its first byte, or first sight.
    pub start_ns: u64,
    /// Process.
    pub tgid: Tid,
    /// The thread that works on it; `None`: it waits for one.
    pub tid: Option<Tid>,
    /// Its response has begun.
    pub responding: bool,
}
