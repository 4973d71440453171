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
    /// All that a request's client sends before a slot is asked for has come.
    Whole(usize),
    /// A core's thread has done its work or used its turn; void if the core's turn is another by then.
    Turn { core: usize, turn: u64 },
    /// A thread has waited long enough.
    Woken(usize),
    /// A thread that has waited is awake.
    Awake(usize),
    /// A thread has waited for the lock for the switch interval; void if it has begun to count again.
    LockWanted { thread: usize, count: u64 },
    /// A thread that was woken for a lock can run.
    Ready(usize),
    /// Another program of the machine wants to run, by the number of the stretch of time.
    Burst(usize),
}

/// The events to come.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// Requests that arrive whatever happens, the next one last. They are known from the beginning; in the heap they would make it deep.
    arrivals: Vec<(u64, usize)>,
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    planned: u64,
}

impl Agenda {
    /// With the times and numbers of requests that arrive whatever happens.
    pub(super) fn new(mut arrivals: Vec<(u64, usize)>) -> Self {
        arrivals.sort_unstable_by_key(|arrival| Reverse(*arrival));
        Self { arrivals, ..Self::default() }
    }

    pub(super) fn plan(&mut self, at_ns: u64, event: Event) {
        self.planned += 1;
        self.heap.push(Reverse((at_ns, self.planned, event)));
    }

    /// The next event. An arrival comes before what was planned for the same moment.
    pub(super) fn next(&mut self) -> Option<(u64, Event)> {
        let planned_ns = self.heap.peek().map(|Reverse((at_ns, ..))| *at_ns);
        if let Some((at_ns, request)) =
            self.arrivals.pop_if(|(at_ns, _)| planned_ns.is_none_or(|planned_ns| *at_ns <= planned_ns))
        {
            return Some((at_ns, Event::Arrival(request)));
        }
        self.heap.pop().map(|Reverse((at_ns, _, event))| (at_ns, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_then_arrivals_then_as_planned() {
        let mut agenda = Agenda::new(vec![(5, 0), (1, 1), (5, 2), (9, 3)]);
        agenda.plan(5, Event::Woken(1));
        agenda.plan(4, Event::Woken(2));
        agenda.plan(5, Event::Arrival(4));
        let all: Vec<(u64, Event)> = std::iter::from_fn(|| agenda.next()).collect();
        let expected = [
            (1, Event::Arrival(1)),
            (4, Event::Woken(2)),
            (5, Event::Arrival(0)),
            (5, Event::Arrival(2)),
            (5, Event::Woken(1)),
            (5, Event::Arrival(4)),
            (9, Event::Arrival(3)),
        ];
        assert_eq!(all, expected);
    }
}
