//! Sorts events by time: records come from several CPUs and are only almost in order.
//!
//! In: [`Event`]s in the order of arrival. Out: the same in the order of `time_ns`; equal times keep the
//! order of arrival. An event is ready once the newest time seen is the hold-back beyond it. An event older
//! than one that is ready comes late: it is counted and dropped. No time is ever altered. What is late
//! depends only on the order of arrival, not on when [`Order::release`] is called. So a replay drops what the
//! live run dropped.

mod store;

use std::collections::VecDeque;

use crate::event::{Body, Event};
use store::Store;

/// Most events that wait for their time. Beyond it the oldest becomes ready early (counted).
pub const MAX_HELD_EVENTS: usize = 131_072;

/// What the sorting cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderCounts {
    /// Events dropped because a later one was ready already.
    pub late_events: u64,
    /// Events made ready before their time because too many waited.
    pub forced_events: u64,
}

/// Where an event waits.
#[derive(Clone, Copy, Debug)]
struct Queued {
    time_ns: u64,
    /// Its number in the store.
    arrival: u64,
}

/// The sorting stage.
#[derive(Clone, Debug)]
pub struct Order {
    hold_back_ns: u64,
    max_held: usize,
    newest_ns: u64,
    /// What is not later than this is ready: the hold-back before the newest time.
    until_ns: u64,
    /// Time of the last event that was found to be ready.
    ready_ns: u64,
    /// How many at the front of `queue` were found to be ready. What time made ready since then is found
    /// when it matters.
    ready: usize,
    /// Sorted by time. Small elements: an insertion moves 16 bytes an event, not a whole event.
    queue: VecDeque<Queued>,
    store: Store,
    counts: OrderCounts,
}

impl OrderCounts {
    /// What was counted since `earlier`.
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            late_events: self.late_events.saturating_sub(earlier.late_events),
            forced_events: self.forced_events.saturating_sub(earlier.forced_events),
        }
    }
}

impl Order {
    /// A stage that holds each event back until something `hold_back_ns` newer was seen.
    pub fn new(hold_back_ns: u64) -> Self {
        Self::with_bound(hold_back_ns, MAX_HELD_EVENTS)
    }

    fn with_bound(hold_back_ns: u64, max_held: usize) -> Self {
        Self {
            hold_back_ns,
            max_held,
            newest_ns: 0,
            until_ns: 0,
            ready_ns: 0,
            ready: 0,
            queue: VecDeque::new(),
            store: Store::default(),
            counts: OrderCounts::default(),
        }
    }

    /// Takes one event, in the order of arrival. Call [`Self::release`] after each batch: ready events wait
    /// for it.
    pub fn push(&mut self, event: Event) {
        let Event { time_ns, body } = event;
        self.push_with(time_ns, || body);
    }

    /// Takes one event, in the order of arrival, that is made only where it is kept.
    // Inlined into the caller, so that an event is written straight to where it waits.
    #[inline]
    pub fn push_with(&mut self, time_ns: u64, body: impl FnOnce() -> Body) {
        if time_ns < self.until_ns.max(self.ready_ns) && self.is_late(time_ns) {
            self.counts.late_events = self.counts.late_events.saturating_add(1);
            return;
        }
        if self.store.is_full() && self.queue.len() < self.store.size() / 2 {
            self.close_holes();
        }
        let (arrival, place) = self.store.next_place();
        // The place is empty. The compiler sees that, so it drops nothing before the write, and copies once.
        if let Some(place @ None) = place {
            *place = Some(Event { time_ns, body: body() });
        }
        self.line_up(Queued { time_ns, arrival });
    }

    /// Whether something later is ready already.
    #[cold]
    fn is_late(&mut self, time_ns: u64) -> bool {
        self.find_ready();
        time_ns < self.ready_ns
    }

    /// Moves the held events together, in the order of time. An event that waits while others pass it leaves
    /// holes behind it.
    #[cold]
    fn close_holes(&mut self) {
        let mut before = std::mem::take(&mut self.store);
        for place in &mut self.queue {
            if let Some(event) = before.get_mut(place.arrival).and_then(Option::take) {
                place.arrival = self.store.push(event);
            }
        }
    }

    /// Puts a place where it belongs by its time, and marks what is ready by that.
    #[inline]
    fn line_up(&mut self, place: Queued) {
        let time_ns = place.time_ns;
        match self.queue.back() {
            Some(last) if last.time_ns > time_ns => self.insert(place),
            _ => self.queue.push_back(place),
        }
        if time_ns > self.newest_ns {
            self.newest_ns = time_ns;
            self.until_ns = time_ns.saturating_sub(self.hold_back_ns);
        }
        if self.queue.len() > self.max_held {
            self.force();
        }
    }

    /// Finds what time has made ready.
    fn find_ready(&mut self) {
        if self.hold_back_ns > self.newest_ns {
            return;
        }
        while let Some(next) = self.queue.get(self.ready).filter(|next| next.time_ns <= self.until_ns) {
            self.ready_ns = next.time_ns;
            self.ready = self.ready.saturating_add(1);
        }
    }

    /// Makes the next event ready where too many wait.
    #[cold]
    fn force(&mut self) {
        self.find_ready();
        if self.queue.len().saturating_sub(self.ready) > self.max_held
            && let Some(next) = self.queue.get(self.ready)
        {
            self.ready_ns = next.time_ns;
            self.ready = self.ready.saturating_add(1);
            self.counts.forced_events = self.counts.forced_events.saturating_add(1);
        }
    }

    /// Hands over what is ready, in order. Each event stays where it lies, to be taken or only looked at.
    pub fn release(&mut self, each: &mut impl FnMut(&mut Option<Event>)) {
        while let Some(arrival) = self.take_ready() {
            if let Some(kept) = self.store.get_mut(arrival) {
                each(kept);
                *kept = None;
            }
            self.store.shrink();
        }
    }

    /// Takes the next event that is ready out of the queue: its number in the store.
    fn take_ready(&mut self) -> Option<u64> {
        let next = self.queue.front()?;
        if self.ready > 0 {
            self.ready -= 1;
        } else if self.hold_back_ns <= self.newest_ns && next.time_ns <= self.until_ns {
            self.ready_ns = next.time_ns;
        } else {
            return None;
        }
        self.queue.pop_front().map(|next| next.arrival)
    }

    /// Hands over everything that is held, in order; what comes earlier from now on is late.
    pub fn release_all(&mut self, each: &mut impl FnMut(&mut Option<Event>)) {
        if let Some(last) = self.queue.back() {
            self.ready_ns = last.time_ns;
        }
        self.ready = self.queue.len();
        self.release(each);
    }

    /// Hands over everything that is left, in order: the stream has ended.
    pub fn finish(mut self, each: &mut impl FnMut(&mut Option<Event>)) -> OrderCounts {
        self.release_all(each);
        self.counts
    }

    /// Forgets what is not ready and later than `until_ns`, without counting it: for a look at a run as if it
    /// ended there.
    pub fn cut(&mut self, until_ns: u64) {
        self.find_ready();
        let keep = self.queue.partition_point(|place| place.time_ns <= until_ns).max(self.ready);
        let cut: Vec<u64> = self.queue.drain(keep..).map(|place| place.arrival).collect();
        for arrival in cut {
            if let Some(kept) = self.store.get_mut(arrival) {
                *kept = None;
            }
        }
        self.store.shrink();
        self.newest_ns = self.newest_ns.min(until_ns.max(self.ready_ns));
        self.until_ns = self.newest_ns.saturating_sub(self.hold_back_ns);
    }

    /// What the sorting cost so far.
    pub const fn counts(&self) -> OrderCounts {
        self.counts
    }

    /// Events that wait, ready or not.
    pub fn held_events(&self) -> usize {
        self.queue.len()
    }

    /// Puts a place where it belongs. It searches from the back, as disorder is short.
    #[cold]
    fn insert(&mut self, place: Queued) {
        const NEAR: usize = 32;
        let far = self.queue.len().saturating_sub(NEAR);
        let near = self.queue.iter().rev().take(NEAR).position(|other| other.time_ns <= place.time_ns);
        let index = match near {
            Some(back) => self.queue.len().saturating_sub(back),
            None => self.queue.partition_point(|other| other.time_ns <= place.time_ns).min(far),
        };
        self.queue.insert(index, place);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fact::Fact;

    /// Arrival numbers travel in the body of a fact, so that stability shows.
    fn event(time_ns: u64, arrival: u32) -> Event {
        let cgroup = crate::fact::CgroupCpu { period_us: u64::from(arrival), ..Default::default() };
        Event { time_ns, body: Body::Fact(Box::new(Fact::CgroupCpu(cgroup))) }
    }

    fn arrival(event: &Event) -> u64 {
        match &event.body {
            Body::Fact(fact) => match &**fact {
                Fact::CgroupCpu(cgroup) => cgroup.period_us,
                _ => panic!("another fact"),
            },
            _ => panic!("not a fact"),
        }
    }

    fn run(mut order: Order, times: &[u64], chunk: usize) -> (Vec<(u64, u64)>, OrderCounts) {
        let mut out = Vec::new();
        let mut each =
            |event: &mut Option<Event>| out.extend(event.iter().map(|event| (event.time_ns, arrival(event))));
        for (index, time_ns) in times.iter().enumerate() {
            order.push(event(*time_ns, u32::try_from(index).unwrap()));
            if index % chunk == 0 {
                order.release(&mut each);
            }
        }
        let counts = order.finish(&mut each);
        (out, counts)
    }

    #[test]
    fn an_event_is_released_only_when_the_hold_back_has_passed() {
        let mut order = Order::new(100);
        let mut out = Vec::new();
        for time_ns in [50, 0, 99] {
            order.push(event(time_ns, 0));
        }
        order.release(&mut |event| out.extend(event.as_ref().map(|event| event.time_ns)));
        assert_eq!(out, Vec::<u64>::new());
        order.push(event(100, 0));
        order.release(&mut |event| out.extend(event.as_ref().map(|event| event.time_ns)));
        assert_eq!(out, [0]);
        order.push(event(150, 0));
        order.release(&mut |event| out.extend(event.as_ref().map(|event| event.time_ns)));
        assert_eq!(out, [0, 50]);
        assert_eq!(order.held_events(), 3);
    }

    #[test]
    fn an_event_older_than_one_that_is_ready_is_counted_and_dropped() {
        let (out, counts) = run(Order::new(10), &[100, 120, 99, 100, 130], 1);
        assert_eq!(out, [(100, 0), (100, 3), (120, 1), (130, 4)]);
        assert_eq!(counts, OrderCounts { late_events: 1, forced_events: 0 });
    }

    #[test]
    fn the_number_of_held_events_is_bounded() {
        let mut order = Order::with_bound(u64::MAX, 3);
        let mut out = Vec::new();
        for time_ns in [5, 4, 3, 2, 1] {
            order.push(event(time_ns, 0));
            order.release(&mut |event| out.extend(event.as_ref().map(|event| event.time_ns)));
            assert!(order.held_events() <= 3);
        }
        assert_eq!(out, [2]);
        assert_eq!(order.counts(), OrderCounts { late_events: 1, forced_events: 1 });
    }

    #[test]
    fn storage_is_used_again() {
        let mut order = Order::new(10);
        for time_ns in 0..10_000 {
            order.push(event(time_ns, 0));
            order.release(&mut |_| {});
        }
        assert!(order.store.size() < 20, "{}", order.store.size());
    }

    #[test]
    fn an_event_that_waits_while_others_pass_it_does_not_keep_their_storage() {
        let mut order = Order::with_bound(u64::MAX, 3);
        let mut released = 0;
        order.push(event(100, 0));
        for _ in 0..100_000 {
            order.push(event(50, 0));
            order.release(&mut |_| released += 1);
        }
        assert!(order.store.size() < 20, "{}", order.store.size());
        assert_eq!(released + order.held_events(), 100_001);
        let mut last = 0;
        order.finish(&mut |event| last = event.as_ref().map_or(0, |event| event.time_ns));
        assert_eq!(last, 100);
    }

    proptest! {
        #[test]
        fn output_is_sorted_stable_and_complete_but_for_the_late(
            times in proptest::collection::vec(0_u64..500, 0..400),
            hold_back_ns in 0_u64..600,
            bound in 1_usize..100,
            chunk in 1_usize..50,
        ) {
            let (out, counts) = run(Order::with_bound(hold_back_ns, bound), &times, chunk);
            // Sorted by time, equal times by arrival.
            prop_assert!(out.is_sorted());
            prop_assert_eq!(out.len() as u64 + counts.late_events, times.len() as u64);
            for (time_ns, arrival) in &out {
                prop_assert_eq!(times.get(usize::try_from(*arrival).unwrap()), Some(time_ns));
            }
            let mut arrivals: Vec<u64> = out.iter().map(|(_, arrival)| *arrival).collect();
            arrivals.sort_unstable();
            arrivals.dedup();
            prop_assert_eq!(arrivals.len(), out.len());
        }

        #[test]
        fn nothing_is_late_within_the_hold_back(
            jitter in proptest::collection::vec(0_u64..100, 0..400),
        ) {
            let times: Vec<u64> = jitter.iter().zip(0_u64..).map(|(jitter, step)| step * 7 + jitter).collect();
            let (out, counts) = run(Order::new(100), &times, 1);
            prop_assert_eq!(counts, OrderCounts::default());
            prop_assert_eq!(out.len(), times.len());
        }

        #[test]
        fn the_outcome_does_not_depend_on_when_it_is_collected(
            times in proptest::collection::vec(0_u64..500, 0..400),
            hold_back_ns in 0_u64..100,
            chunk in 2_usize..500,
        ) {
            prop_assert_eq!(
                run(Order::with_bound(hold_back_ns, 20), &times, 1),
                run(Order::with_bound(hold_back_ns, 20), &times, chunk)
            );
        }
    }
}
