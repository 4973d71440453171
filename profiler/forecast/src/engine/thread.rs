//! A thread of the simulated server: a slot, or one that dispatches.
//!
//! In: the engine. Out: its state.

use profiler_core::phase::Phase;

use crate::load::Work;

/// How far a slot is with a request: what it does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// It has just taken it.
    Taken,
    /// It is awake.
    PickedUp,
    /// This segment of the row.
    Segment(usize),
    /// The response was sent: this segment of what comes after it.
    After(usize),
}

/// What a dispatching thread has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// It hands over the connection that it accepts next, if another process has not accepted that by then.
    Any,
    /// It hands this request over.
    Dispatch(usize),
    /// It does what comes once a slot is done with a request.
    After,
}

/// What a thread is there for at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Nothing.
    Idle,
    /// It serves a request.
    Serve { request: usize, piece: Piece },
    /// It dispatches: this segment of the errand is next.
    Errand { errand: Errand, at: usize },
    /// It is a front end's: this segment of the leg is next.
    Front { request: usize, leg: Leg, at: usize },
    /// It is another program's.
    Other,
}

/// A part of what a front end does for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leg {
    /// Until it asks for a slot.
    There,
    /// From the slot's last byte to its own.
    Back,
    /// After that.
    Then,
}

/// A thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thread {
    pub(super) process: usize,
    pub(super) job: Job,
    pub(super) work: Work,
    /// How much of its work is left.
    pub(super) left_ns: u64,
    /// How much of its turn on the core it has used.
    pub(super) used_ns: u64,
    /// Where it runs now.
    pub(super) core: Option<usize>,
    /// Where it ran last.
    pub(super) last_core: usize,
    /// While it waits for the lock: how often that had changed hands as it began to count the switch
    /// interval.
    pub(super) switches: u64,
    /// Changes whenever it begins to count.
    pub(super) count: u64,
    /// When it did.
    pub(super) counts_since_ns: u64,
}

impl Thread {
    pub(super) const fn new(process: usize, core: usize) -> Self {
        let work = Work::Wait(Phase::Unexplained);
        Self {
            process,
            job: Job::Idle,
            work,
            left_ns: 0,
            used_ns: 0,
            core: None,
            last_core: core,
            switches: 0,
            count: 0,
            counts_since_ns: 0,
        }
    }
}
