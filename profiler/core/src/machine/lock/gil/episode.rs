//! One attempt to take a lock: where it begins, what belongs to it, where it ends.
//!
//! In: slices, with what the kernel side reports of the time around them. Out: [`Episode`]s that never overlap.

use profiler_common::record::slice::{FLAG_TAKE_FOLLOWED, FLAG_TAKE_OVER, NO_CALL, PAGE_FAULT, take_tail_ns};

use crate::event::{Slice, Tid};
use crate::fact::InterpreterLock;
use crate::machine::lock::gil_measure::Attempt;

/// Most CPU time between two sleeps of one attempt, where not every call in between is seen. It allows for a few µs of looking at the flag, and for interrupts.
/// A thread that ran for longer had the lock meanwhile.
const LOOP_MAX_CPU_NS: u64 = 50_000;
/// The same where every call is seen: a thread that had the lock and gave it up to a waiter made a call.
const FOLLOWED_LOOP_MAX_CPU_NS: u64 = 1_000_000;

/// The part of a lock's memory that a call waits on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// Only a thread that wants the lock waits here.
    Take,
    /// The inside of the condition variable. Takers wait here now and then, and so do threads that give the lock up.
    Inner,
    /// The mutex, or the inside of the condition variable, to give the lock up.
    GivesUp,
    /// The mutex of a forced switch. A thread that takes the lock needs it for a moment. A thread that gave the lock up holds it until it sleeps.
    Switch,
    /// Only a thread that was forced to give the lock up waits here.
    Handover,
}

/// One attempt to take a lock: all its sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Episode {
    pub(super) tgid: Tid,
    pub(super) lock: InterpreterLock,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) run_queue_ns: u64,
    pub(super) sleeps: u64,
    pub(super) attempt: Attempt,
    /// By how much its last sleep extended a request for the lock that was not honoured.
    pub(super) not_honoured_ns: u64,
    /// Every call after its last sleep is looked at.
    is_followed: bool,
    /// Its thread had been forced to give the lock up before.
    pub(super) is_after_forced: bool,
}

impl Episode {
    /// The first sleep.
    pub(super) fn begin(slice: &Slice, exit_ns: u64, lock: InterpreterLock) -> Self {
        Self {
            tgid: slice.tgid,
            lock,
            start_ns: begin_ns(slice),
            end_ns: exit_ns,
            run_queue_ns: slice.inside.run_queue_ns,
            sleeps: 1,
            attempt: Attempt::default(),
            not_honoured_ns: 0,
            is_followed: slice.flags & FLAG_TAKE_FOLLOWED != 0,
            is_after_forced: false,
        }
    }

    /// A further sleep.
    pub(super) const fn sleep_again(&mut self, slice: &Slice, exit_ns: u64) {
        self.end_ns = exit_ns;
        self.run_queue_ns = self
            .run_queue_ns
            .saturating_add(slice.gap.run_queue_ns)
            .saturating_add(slice.inside.run_queue_ns);
        self.sleeps = self.sleeps.saturating_add(1);
        self.is_followed = slice.flags & FLAG_TAKE_FOLLOWED != 0;
    }

    /// Whether a wait for `lock` is a further sleep of this attempt. Only a look at the flag may have happened in between.
    pub(super) fn continues_with(&self, slice: &Slice, lock: InterpreterLock, on: On) -> bool {
        let max_cpu_ns = match on {
            On::Take if self.is_followed => FOLLOWED_LOOP_MAX_CPU_NS,
            On::Take | On::Inner | On::Switch => LOOP_MAX_CPU_NS,
            On::GivesUp | On::Handover => return false,
        };
        self.lock.address == lock.address
            && self.tgid == slice.tgid
            && self.end_ns == slice.gap_start_ns()
            && matches!(slice.in_gap.blocked_call, NO_CALL | PAGE_FAULT)
            && slice.flags & FLAG_TAKE_OVER == 0
            && slice.gap.cpu_ns <= max_cpu_ns
    }

    /// The slice after its last sleep shows how long the attempt continued. Returns the part of that time in the window.
    pub(super) fn continued(&mut self, slice: &Slice, window_start_ns: u64) -> u64 {
        let tail_ns = take_tail_ns(slice.flags).min(slice.gap.total_ns());
        if tail_ns == 0 || self.end_ns != slice.gap_start_ns() {
            return 0;
        }
        let counts_from_ns = self.end_ns.max(window_start_ns);
        self.end_ns = self.end_ns.saturating_add(tail_ns);
        self.run_queue_ns = self.run_queue_ns.saturating_add(slice.gap.run_queue_ns.min(tail_ns));
        self.end_ns.saturating_sub(counts_from_ns)
    }

    /// The next window begins in the middle of it. Its sums so far have been counted.
    pub fn roll(&mut self) {
        (self.run_queue_ns, self.sleeps) = (0, 0);
        self.attempt = Attempt::default();
    }

    /// By how much its last sleep extended a request for the lock that was not honoured.
    #[must_use]
    pub const fn not_honoured_ns(&self) -> u64 {
        self.not_honoured_ns
    }

    /// Whether its thread had been forced to give the lock up before it.
    #[must_use]
    pub const fn is_after_forced(&self) -> bool {
        self.is_after_forced
    }

    /// Start and end, in nanoseconds.
    #[must_use]
    pub const fn span(&self) -> (u64, u64) {
        (self.start_ns, self.end_ns)
    }
}

/// When an attempt began, by the slice that is its first sleep.
pub(super) const fn begin_ns(slice: &Slice) -> u64 {
    let Some(lead_ns) = slice.lock.take_lead_ns else { return slice.enter_ns };
    // The tail of the attempt before belongs to that attempt.
    let earliest_ns = slice.gap_start_ns().saturating_add(take_tail_ns(slice.flags));
    let begin_ns = slice.enter_ns.saturating_sub(lead_ns);
    if begin_ns > earliest_ns {
        begin_ns
    } else if earliest_ns < slice.enter_ns {
        earliest_ns
    } else {
        slice.enter_ns
    }
}
