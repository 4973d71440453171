//! What a thread did in one stretch of its time.
//!
//! In: pieces of threads' time. Out: [`Segment`]s, at least a millisecond long, or the sums of several that
//! are shorter.

use crate::event::Tid;
use crate::machine::lock::gil_holder::Holders;
use crate::machine::time::capacity::Span;
use crate::machine::time::short::Short;
use crate::model::chain::{Held, Object};
use crate::phase::Phase;
use profiler_common::gap_sleep::{self, GapSleep};
use profiler_common::system_call::{OPEN, OPENAT, OPENAT2};

/// A stretch of a thread's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine) struct Segment {
    /// Start.
    pub start_ns: u64,
    /// End.
    pub end_ns: u64,
    /// The request that it served: its number, plus 1; 0: none.
    pub request: u64,
    /// What it did.
    pub did: Did,
}

/// What it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine) enum Did {
    /// It ran; the phase of that.
    Ran(Phase),
    /// It computed inside the kernel, in one call.
    InKernel { system_call: i32, object: Object },
    /// It was ready, and had no CPU, at some time in this span.
    Queued(Span),
    /// It slept.
    Slept(SegmentSleep),
    /// Several things, each shorter than [`LONG_NS`].
    Short(Short),
    /// It slept, or waited for a CPU, in a call that is no wait for work: which of both was not seen.
    AsleepOrReady,
    /// Not known.
    Unseen,
}

impl Did {
    /// Whether it is not known what the thread did.
    pub(in crate::machine) const fn is_unseen(&self) -> bool {
        matches!(self, Self::AsleepOrReady | Self::Unseen)
    }

    /// Both, one after the other, as one; `None`: they differ.
    pub(super) fn with(self, next: &Self) -> Option<Self> {
        match (self, *next) {
            (Self::Queued(span), Self::Queued(next)) => {
                Some(Self::Queued((span.0.min(next.0), span.1.max(next.1))))
            }
            (did, next) => (did == next).then_some(did),
        }
    }
}

/// A sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine) struct SegmentSleep {
    /// Its phase.
    pub phase: Phase,
    /// It waited for work.
    pub is_idle: bool,
    /// Its system call; −1: not known, or none.
    pub system_call: i32,
    /// What it waited for.
    pub object: Object,
    /// What distinguishes the connection from all others (0: not known, or none).
    pub connection: u64,
    /// The other end of the connection may be a listener of the target: its port is one's.
    pub is_own_port: bool,
    /// Who ended it.
    pub end: SleepEnd,
    /// It began before the trace.
    pub since_before: bool,
    /// It was on the way out of an observed call, where hardly anything sleeps but a stop.
    pub is_way_out: bool,
    /// A look saw it held from outside: it waited for nothing.
    pub held: Option<Held>,
    /// A sleep between two looks at a file lock.
    pub polls_file_lock: bool,
}

/// Who ended a sleep, as far as threads of the target may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine) enum SleepEnd {
    /// Whoever it was, it was no thread of the target: a peer, a device, a timer.
    Outside,
    /// This thread.
    Thread(Tid),
    /// A thread that had the interpreter lock.
    Holders(Holders),
    /// Its own limit of time.
    Limit,
    /// It has not ended.
    Open,
    /// Not known.
    Unknown,
}

/// Whether a call waits for a lock on a file.
pub(in crate::machine) fn is_file_lock(system_call: i32) -> bool {
    gap_sleep::of(system_call) == GapSleep::FileLock
}

/// Whether a call opens a file by its path.
pub(in crate::machine) fn opens(system_call: i32) -> bool {
    [OPEN, OPENAT, OPENAT2].contains(&system_call.cast_unsigned())
}

impl Segment {
    /// Length.
    pub(in crate::machine) const fn length_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }

    /// It waited for work.
    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.did, Did::Slept(SegmentSleep { is_idle: true, .. }))
    }

    /// Others that waited for its thread meanwhile waited for that.
    pub(super) const fn is_busy(&self) -> bool {
        match self.did {
            Did::Short(short) => short.busy_ns() > 0,
            _ => !self.is_idle(),
        }
    }

    /// It waited for a lock that was not released: it has not ended, or only by its own limit.
    pub(super) fn is_unreleased(&self) -> bool {
        matches!(
            self.did,
            Did::Slept(SegmentSleep { phase: Phase::LockWait, end: SleepEnd::Open | SleepEnd::Limit, .. })
        )
    }
}
