//! What happens next: a queue of events by time.
//!
//! In: events with their times. Out: the same in order; at one moment in the order in which they were
//! planned, so that a run is the same every time. A binary heap of the standard library: crates for such
//! simulations count time in floating point, or run a process for each request.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

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

/// When, its number in the order of planning, and what.
type Planned = (u64, u64, Event);

/// The events to come.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// Requests that arrive whatever happens, the next one last. They are known from the beginning; in the
    /// heap they would make it deep.
    arrivals: Vec<(u64, usize)>,
    heap: BinaryHeap<Reverse<Planned>>,
    /// Intervals that threads count while they wait for a lock. All are as long, so they end in the order in
    /// which they begin: a heap would sort them for nothing.
    intervals: VecDeque<Planned>,
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
        let planned = (at_ns, self.planned, event);
        let is_last = self.intervals.back().is_none_or(|last| last.0 <= at_ns);
        if matches!(event, Event::LockWanted { .. }) && is_last {
            self.intervals.push_back(planned);
        } else {
            self.heap.push(Reverse(planned));
        }
    }

    /// The next event. An arrival comes before what was planned for the same moment.
    pub(super) fn next(&mut self) -> Option<(u64, Event)> {
        let of_heap = self.heap.peek().map(|Reverse((at_ns, number, _))| (*at_ns, *number));
        let of_intervals = self.intervals.front().map(|(at_ns, number, _)| (*at_ns, *number));
        let planned_ns = of_heap.into_iter().chain(of_intervals).min().map(|(at_ns, _)| at_ns);
        if let Some((at_ns, request)) =
            self.arrivals.pop_if(|(at_ns, _)| planned_ns.is_none_or(|planned_ns| *at_ns <= planned_ns))
        {
            return Some((at_ns, Event::Arrival(request)));
        }
        let is_interval = of_intervals.is_some_and(|first| of_heap.is_none_or(|other| first < other));
        let (at_ns, _, event) = if is_interval {
            self.intervals.pop_front()?
        } else {
            self.heap.pop().map(|Reverse(planned)| planned)?
        };
        Some((at_ns, event))
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
        let interval = |thread| Event::LockWanted { thread, count: 0 };
        agenda.plan(5, interval(1));
        agenda.plan(9, interval(2));
        agenda.plan(7, interval(3));
        agenda.plan(9, Event::Ready(4));
        let all: Vec<(u64, Event)> = std::iter::from_fn(|| agenda.next()).collect();
        let expected = [
            (1, Event::Arrival(1)),
            (4, Event::Woken(2)),
            (5, Event::Arrival(0)),
            (5, Event::Arrival(2)),
            (5, Event::Woken(1)),
            (5, Event::Arrival(4)),
            (5, interval(1)),
            (7, interval(3)),
            (9, Event::Arrival(3)),
            (9, interval(2)),
            (9, Event::Ready(4)),
        ];
        assert_eq!(all, expected);
    }
}
