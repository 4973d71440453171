//! What happens next: a queue of events by time.
//!
//! In: events with their times. Out: the same in order; at one moment in the order in which they were planned, so that a run is the same
//! every time. A binary heap of the standard library: crates for such simulations count time in floating point, or run a process for each request.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A request arrives.
    Arrival(usize),
    /// A core's thread has done its work or used its turn; void if the core's turn is another by then.
    Turn { core: usize, turn: u64 },
    /// A thread has waited long enough.
    Woken(usize),
    /// Who waits for the lock of a process asks for it; void if it has changed hands since.
    LockWanted { process: usize, stint: u64 },
    /// A thread that was woken for a lock can run.
    Ready(usize),
    /// Another program of the machine wants to run, by the number of the stretch of time.
    Burst(usize),
}

/// The events to come.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    planned: u64,
}

impl Agenda {
    pub(super) fn plan(&mut self, at_ns: u64, event: Event) {
        self.planned += 1;
        self.heap.push(Reverse((at_ns, self.planned, event)));
    }

    pub(super) fn next(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|Reverse((at_ns, _, event))| (at_ns, event))
    }
}
