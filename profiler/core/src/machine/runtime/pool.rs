//! The pool of threads behind one event loop: which thread works for which request, and which jobs are done
//! but not handled by the loop.
//!
//! In: nothing by itself; `handoff` changes it. Out: its tables, each bounded there.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

use crate::event::Tid;
use crate::machine::runtime::givers::Givers;
use crate::machine::runtime::handed::Handed;
use crate::machine::runtime::own_threads::OwnThreads;
use crate::machine::runtime::report::Reports;
use crate::machine::time::piece::Pending;
use crate::machine::wire::request::RequestKey;

/// What a thread did up to its last note.
#[derive(Clone, Debug)]
pub struct Job {
    pub(super) tid: Tid,
    /// Where the thread began: the end of its wait, or of the job before.
    pub(super) begin_ns: u64,
    /// The request that the loop had touched last when it woke the thread.
    pub(super) woken_for: Option<RequestKey>,
    /// Only the order of several showed which request that was.
    pub(super) by_order: bool,
    /// The request that it is known to be of.
    pub(super) key: Option<RequestKey>,
    /// The loop made its thread for that request, so nothing else keeps the thread waiting. From this moment
    /// on the request waited for the loop to give the thread this job.
    pub(super) ready_ns: Option<u64>,
    /// When the thread began to write its first note.
    pub(super) told_ns: u64,
    /// Its last note.
    pub(super) noted_ns: u64,
    pub(super) pieces: Pending,
    /// When the loop woke the thread, and when the timer came due that may have resumed its initiator.
    pub(super) handed: Handed,
}

impl Job {
    /// Whether the job was done lately, and nobody is known to have handed it over.
    pub(super) fn is_free(&self, recent_ns: u64) -> bool {
        self.key.is_none() && self.woken_for.is_none() && self.noted_ns >= recent_ns
    }
}

/// The pool of a process that has a loop.
#[derive(Clone, Debug)]
pub struct Pool {
    /// The loop's thread.
    pub loop_tid: Tid,
    /// Other threads answer what the loop has read.
    pub answers_elsewhere: bool,
    /// Another loop of the process wakes this one: it works for the requests that this one reads.
    pub has_other_loop: bool,
    pub(super) jobs: VecDeque<Job>,
    /// Which thread works for which request.
    pub(super) working: Vec<(Tid, RequestKey)>,
    /// Where threads were seen to wait, until two were at the same address: that is the queue of jobs. Not
    /// all pools have one. Where each thread waits at an address of its own, waits within a job look
    /// like waits for one.
    pub(super) addresses: VecDeque<(u64, Tid, u64)>,
    pub(super) queue: Option<u64>,
    /// Threads with a job whose initiator is not known, or is known by order alone.
    pub(super) open: FxHashSet<Tid>,
    pub(super) own: OwnThreads,
    /// Jobs that the loop gave for one of several requests: the last ones that may not have been handled.
    pub(super) given: VecDeque<Handed>,
    /// Threads that a known Python task gave a job, and that have not reported it yet: which, and when they
    /// began.
    pub(super) at_work: Vec<(Tid, u64, u64)>,
    pub(super) givers: Givers,
    /// Whether its threads wait for the loop to take what they report, and then go on.
    pub(super) reports: Reports,
}

impl Pool {
    /// The pool of the process whose loop this thread runs.
    pub fn of(loop_tid: Tid) -> Self {
        Self {
            loop_tid,
            answers_elsewhere: false,
            has_other_loop: false,
            jobs: VecDeque::new(),
            working: Vec::new(),
            addresses: VecDeque::new(),
            queue: None,
            open: FxHashSet::default(),
            own: OwnThreads::default(),
            given: VecDeque::new(),
            at_work: Vec::new(),
            givers: Givers::default(),
            reports: Reports::default(),
        }
    }
}
