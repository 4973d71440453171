//! Accept queues over time: depth, time full, refusals, and how many waited when each connection came.
//!
//! In: readings of the queues, accepted connections, in order. Out: a [`Queue`] for each listener of the
//! window, and the counts of each network namespace.
//!
//! A queue is served first come, first served. The connections that waited when another came are those
//! accepted after that moment and up to its own accept. So no reading is needed, and none is missed. An
//! accept ends some microseconds after it took its connection, so a connection on its way out may count as
//! waiting. The count never exceeds the room of the queue.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

use crate::bounded::{BoundedMap, push_if_room, push_newest};
use crate::event::Connection;
use crate::fact::queue::{AcceptQueue, AcceptQueues, NetworkCounters, QueueCounts, Refusals};
use crate::machine::world::living::Living;
use crate::model::latency::Latency;
use crate::model::queue::{Delays, Network, Queue};

/// Listeners whose queues are kept: as many as the kernel side has.
const MAX_QUEUES: usize = 1024;
/// Accepts remembered of each listener: no more than these can count as waiting when a connection came.
/// Hardly any queue is longer.
pub const MAX_ACCEPTS: usize = 16_384;
const NS_PER_MS: u64 = 1_000_000;
/// Network namespaces whose counts are kept.
const MAX_NETWORKS: usize = 16;

/// What is known of the window's accept queues, by inode of their listener.
#[derive(Clone, Debug, Default)]
pub struct Queues {
    queues: BoundedMap<u64, Watched, MAX_QUEUES>,
    /// Why the last reading lacks some of them.
    not_read: Option<String>,
    /// Listeners of the last reading.
    read: FxHashSet<u64>,
    /// Listeners in the last counts of the kernel side.
    counted_for: FxHashSet<u64>,
    /// First and last counts of each namespace.
    networks: Vec<(NetworkCounters, NetworkCounters)>,
    /// Namespaces that found no place.
    networks_evicted: u64,
}

/// What the kernel side could see of full queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Clients that TCP listeners refused, and how long that delayed them.
    pub delays: bool,
    /// Clients that found a UNIX listener's queue full.
    pub full_unix_queues: bool,
}

#[derive(Clone, Debug, Default)]
struct Watched {
    /// Last reading, and since when it stands; `None`: never read.
    last: Option<(AcceptQueue, u64)>,
    /// Refusals before the window; `None`: the listener was made in it.
    refused_before: Option<u32>,
    window: Queue,
    /// Refusals that the kernel side counted: before the window (all zero for a listener made in it), and
    /// last.
    refusals: (Refusals, Refusals),
    /// Delays of clients whose connections were accepted in the window.
    delay: Latency,
    /// When connections were accepted, ascending.
    accepts: VecDeque<u64>,
}

impl Queues {
    /// A reading, at `time_ns`.
    pub fn read(&mut self, reading: &AcceptQueues, time_ns: u64, in_window: bool) {
        self.not_read.clone_from(&reading.not_read);
        self.read = reading.queues.iter().take(MAX_QUEUES).map(|queue| queue.inode).collect();
        for queue in &reading.queues {
            let Some(watched) = self.queues.get_or_default(queue.inode) else { continue };
            watched.settle(time_ns, in_window);
            watched.last = Some((*queue, time_ns));
            if !in_window {
                watched.refused_before = queue.refused;
            }
        }
        // One that is gone has no queue any more.
        for (inode, watched) in self.queues.iter_mut() {
            if watched.last.is_some() && !self.read.contains(inode) {
                watched.settle(time_ns, in_window);
                if let Some((last, since_ns)) = &mut watched.last {
                    (last.depth, *since_ns) = (0, time_ns);
                }
            }
        }
    }

    /// Counts of the kernel side.
    pub fn count(&mut self, counts: &QueueCounts, in_window: bool) {
        self.counted_for = counts.listeners.iter().take(MAX_QUEUES).map(|refusals| refusals.inode).collect();
        for refusals in &counts.listeners {
            let Some(watched) = self.queues.get_or_default(refusals.inode) else { continue };
            watched.refusals.1 = *refusals;
            if !in_window {
                watched.refusals.0 = *refusals;
            }
        }
    }

    /// Whether the listener holds connections back until their first data arrive.
    pub fn is_deferred(&self, inode: u64) -> bool {
        self.queues.get(&inode).is_some_and(|watched| watched.refusals.1.is_deferred)
    }

    /// Counts of a namespace.
    pub fn network(&mut self, counters: &NetworkCounters, in_window: bool) {
        let is_same = |(first, _): &&mut (NetworkCounters, _)| first.namespace == counters.namespace;
        if let Some((first, last)) = self.networks.iter_mut().find(is_same) {
            *last = *counters;
            if !in_window {
                *first = *counters;
            }
        } else {
            let both = (*counters, *counters);
            push_if_room(&mut self.networks, MAX_NETWORKS, both, &mut self.networks_evicted);
        }
    }

    /// What found no place.
    pub const fn evicted(&self) -> u64 {
        self.queues.evicted() + self.networks_evicted
    }

    /// A connection was accepted at `time_ns`.
    pub fn accepted(&mut self, inode: u64, opened: &Connection, time_ns: u64, in_window: bool) {
        let established_ns = opened.established_ns;
        let Some(watched) = self.queues.get_or_default(inode) else { return };
        push_newest(&mut watched.accepts, MAX_ACCEPTS, time_ns);
        if established_ns == 0 || !in_window {
            return;
        }
        let before = watched.accepts.partition_point(|accepted_ns| *accepted_ns <= established_ns);
        let waited = u32::try_from(watched.accepts.len().saturating_sub(before)).unwrap_or(u32::MAX);
        watched.window.at_arrival.add(waited.min(watched.room()), 1);
        if opened.delayed_ms > 0 {
            watched.delay.record(u64::from(opened.delayed_ms).saturating_mul(NS_PER_MS));
        }
    }

    /// The window begins.
    pub fn start(&mut self, time_ns: u64) {
        for watched in self.queues.values_mut() {
            if let Some((_, since_ns)) = &mut watched.last {
                *since_ns = time_ns;
            }
        }
    }

    /// The next window begins: what was counted up to now is no part of it.
    pub fn roll(&mut self, time_ns: u64, living: &Living) {
        let (read, counted) = (&self.read, &self.counted_for);
        let is_told = |inode: &u64| read.contains(inode) || counted.contains(inode);
        self.queues.retain(|inode, _| living.listener(*inode) || is_told(inode));
        for watched in self.queues.values_mut() {
            watched.window = Queue::default();
            watched.delay = Latency::default();
            watched.refusals.0 = watched.refusals.1;
            if let Some((last, since_ns)) = &mut watched.last {
                *since_ns = time_ns;
                watched.refused_before = last.refused;
            }
        }
        for (first, last) in &mut self.networks {
            *first = *last;
        }
    }

    /// The queue of a listener up to `end_ns`; `None`: it was never read.
    pub fn finish(&self, inode: u64, end_ns: u64, measured: Measured) -> Option<Queue> {
        let mut watched = self.queues.get(&inode)?.clone();
        watched.settle(end_ns, true);
        let (last, _) = watched.last?;
        let refused = last
            .refused
            .map(|refused| u64::from(refused.wrapping_sub(watched.refused_before.unwrap_or_default())));
        let (before, now) = &watched.refusals;
        let counted = now.since(before);
        // For a listener that defers accept, the kernel also counts every acknowledgement without data, which
        // is no refusal. Refusals are those that our own programs counted. Otherwise they are the
        // kernel's count without these, and no more than overflowed.
        let refused = match refused {
            Some(_) if now.is_deferred && measured.delays => {
                Some(counted.at_begin.saturating_add(counted.at_end))
            }
            Some(_) if now.is_deferred && self.networks.is_empty() => None,
            Some(refused) if now.is_deferred => {
                let on_purpose = self.counted(|counters| counters.deferred);
                let overflows = self.counted(|counters| counters.listen_overflows);
                Some(refused.saturating_sub(on_purpose).min(overflows))
            }
            // Only for UNIX listeners does the kernel count nothing.
            None => measured.full_unix_queues.then_some(counted.at_begin),
            refused => refused,
        };
        let delays = (measured.delays && last.refused.is_some()).then(|| Delays {
            attempts: counted.at_begin.saturating_add(counted.at_end),
            attempts_at_end: counted.at_end,
            clients: counted.delayed,
            delay: watched.delay,
        });
        Some(Queue { limit: last.limit, depth: last.depth, refused, delays, ..watched.window })
    }

    /// What is not seen of these listeners, as their queues could not be read; `None`: nothing prevented it.
    pub fn blind_spot<'a>(&self, unread: impl Iterator<Item = &'a str>) -> Option<String> {
        let reason = self.not_read.as_ref()?;
        let mut unread: Vec<&str> = unread.collect();
        unread.dedup();
        let first = unread.first()?;
        let others = match unread.len() - 1 {
            0 => String::new(),
            1 => " and that of another listener".to_owned(),
            others => format!(" and those of {others} more listeners"),
        };
        Some(format!(
            "the accept queue of {first}{others} could not be read ({reason}): how deep it was and whether it was full is not known"
        ))
    }

    /// What all namespaces of the target counted in the window.
    fn counted(&self, count: fn(&NetworkCounters) -> u64) -> u64 {
        self.networks.iter().map(|(first, last)| count(&last.since(first))).fold(0, u64::saturating_add)
    }

    /// What each namespace counted in the window.
    pub fn networks(&self) -> Vec<Network> {
        let mut list: Vec<Network> = self.networks.iter().map(|(first, last)| last.since(first)).collect();
        list.sort_by_key(|network| network.namespace);
        list
    }
}

impl Watched {
    /// How many connections the queue can have held: one more than its limit (`sk_acceptq_is_full`,
    /// include/net/sock.h). If a reading was deeper, as after a second `listen`, that depth counts.
    fn room(&self) -> u32 {
        let read = |(last, _): &(AcceptQueue, u64)| last.limit.saturating_add(1).max(last.depth);
        self.last.as_ref().map_or(u32::MAX, read).max(self.window.over_time.max())
    }

    /// The last reading was valid until `time_ns`.
    fn settle(&mut self, time_ns: u64, in_window: bool) {
        let Some((last, since_ns)) = &mut self.last else { return };
        let stood_ns = time_ns.saturating_sub(*since_ns);
        *since_ns = (*since_ns).max(time_ns);
        if in_window {
            self.window.over_time.add(last.depth, stood_ns);
            if last.depth > last.limit {
                self.window.full_ns = self.window.full_ns.saturating_add(stood_ns);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Measured = Measured { delays: true, full_unix_queues: true };

    fn reading(depth: u32, refused: u32) -> AcceptQueues {
        AcceptQueues {
            queues: vec![AcceptQueue { inode: 4, depth, limit: 2, refused: Some(refused) }],
            not_read: None,
        }
    }

    #[test]
    fn clients_that_found_the_queue_full_count_within_the_window_with_their_delays() {
        let refusals = |at_begin, at_end, delayed| QueueCounts {
            listeners: vec![Refusals { inode: 4, at_begin, at_end, delayed, is_deferred: true }],
        };
        let mut queues = Queues::default();
        queues.read(&reading(0, 0), 0, false);
        queues.count(&refusals(10, 1, 5), false);
        queues.count(&refusals(30, 3, 9), true);
        queues.accepted(4, &Connection { delayed_ms: 1_020, ..Connection::accepted(10) }, 20, true);
        queues.accepted(4, &Connection::accepted(21), 22, true);
        let delays = queues.finish(4, 30, ALL).unwrap().delays.unwrap();
        assert_eq!((delays.attempts, delays.attempts_at_end, delays.clients), (22, 2, 4));
        assert_eq!((delays.delay.count(), delays.delay.sum_ns()), (1, 1_020_000_000));
        assert_eq!(queues.finish(4, 30, ALL).unwrap().refused, Some(22), "not what the kernel counts there");
        assert_eq!(queues.finish(4, 30, Measured::default()).unwrap().refused, None);
        // 493 by the kernel's count, of which 480 came without data.
        let counted = |listen_overflows, deferred| NetworkCounters {
            listen_overflows,
            deferred,
            ..NetworkCounters::default()
        };
        queues.read(&reading(0, 493), 25, true);
        queues.network(&counted(10, 0), false);
        queues.network(&counted(100, 480), true);
        assert_eq!(queues.finish(4, 30, Measured::default()).unwrap().refused, Some(13));
        queues.network(&counted(17, 480), true);
        assert_eq!(
            queues.finish(4, 30, Measured::default()).unwrap().refused,
            Some(7),
            "no more than overflowed"
        );
        assert!(queues.is_deferred(4) && !queues.is_deferred(5));
        assert!(
            queues.finish(4, 30, Measured::default()).unwrap().delays.is_none(),
            "this kernel does not tell"
        );
        queues.roll(30, &Living::default());
        let delays = queues.finish(4, 30, ALL).unwrap().delays.unwrap();
        assert_eq!((delays.attempts, delays.clients, delays.delay.count()), (0, 0, 0));
    }

    #[test]
    fn clients_that_found_a_unix_listener_full_are_counted_where_they_are_seen() {
        let mut queues = Queues::default();
        let depth = |depth| AcceptQueue { inode: 4, depth, limit: 2, refused: None };
        queues.read(&AcceptQueues { queues: vec![depth(0)], not_read: None }, 0, false);
        let found_full = |at_begin| QueueCounts {
            listeners: vec![Refusals { inode: 4, at_begin, ..Refusals::default() }],
        };
        queues.count(&found_full(5), false);
        queues.count(&found_full(8), true);
        let queue = queues.finish(4, 10, ALL).unwrap();
        assert_eq!((queue.refused, queue.delays.is_none()), (Some(3), true));
        assert_eq!(queues.finish(4, 10, Measured::default()).unwrap().refused, None);
    }

    #[test]
    fn depth_counts_for_as_long_as_it_stood_within_the_window() {
        let mut queues = Queues::default();
        queues.read(&reading(3, 7), 0, false);
        queues.start(100);
        queues.read(&reading(1, 9), 150, true);
        queues.read(&reading(3, 12), 250, true);
        let queue = queues.finish(4, 300, ALL).unwrap();
        assert_eq!((queue.observed_ns(), queue.full_ns), (200, 100));
        assert_eq!((queue.depth, queue.limit, queue.refused), (3, 2, Some(5)));
        assert_eq!((queue.over_time.quantile(0.5), queue.deepest()), (1, 3));
        queues.roll(300, &Living::default());
        let next = queues.finish(4, 310, ALL).unwrap();
        assert_eq!((next.observed_ns(), next.full_ns, next.refused), (10, 10, Some(0)));
    }

    #[test]
    fn listener_that_comes_within_the_window_counts_from_its_beginning_and_one_that_goes_is_empty() {
        let mut queues = Queues::default();
        queues.start(0);
        queues.read(&reading(2, 6), 100, true);
        queues.read(&AcceptQueues::default(), 200, true);
        let queue = queues.finish(4, 300, ALL).unwrap();
        assert_eq!((queue.observed_ns(), queue.depth, queue.refused), (200, 0, Some(6)));
        assert!(queues.finish(5, 300, ALL).is_none());
    }

    #[test]
    fn refusals_are_counted_over_the_end_of_the_kernel_s_counter() {
        let mut queues = Queues::default();
        queues.read(&reading(0, u32::MAX), 0, false);
        queues.read(&reading(0, 4), 10, true);
        assert_eq!(queues.finish(4, 10, ALL).unwrap().refused, Some(5));
    }

    #[test]
    fn no_more_waited_when_a_connection_came_than_the_queue_has_room_for() {
        let mut queues = Queues::default();
        queues.read(&reading(0, 0), 0, false);
        // The first was taken before the fourth came at 13, and its accept ended a little later.
        for (established_ns, accepted_ns) in [(10, 14), (11, 30), (12, 40), (13, 50)] {
            queues.accepted(4, &Connection::accepted(established_ns), accepted_ns, true);
        }
        assert_eq!(queues.finish(4, 60, ALL).unwrap().at_arrival.max(), 3);
    }

    #[test]
    fn what_waited_when_a_connection_came_is_what_was_accepted_from_then_to_its_own_turn() {
        let mut queues = Queues::default();
        queues.read(&reading(0, 0), 0, false);
        // Three come at 10, 11 and 12, and are accepted one by one; the fourth comes when all are gone.
        for (established_ns, accepted_ns) in [(10, 20), (11, 30), (12, 40), (50, 51)] {
            queues.accepted(4, &Connection::accepted(established_ns), accepted_ns, true);
        }
        let queue = queues.finish(4, 60, ALL).unwrap();
        let at_arrival = &queue.at_arrival;
        assert_eq!((at_arrival.weight(), at_arrival.max()), (4, 3));
        assert_eq!((at_arrival.quantile(0.5), at_arrival.quantile(0.75)), (1, 2));
        // One whose arrival was not seen says nothing, but those behind it waited for it.
        queues.accepted(4, &Connection::accepted(0), 70, true);
        queues.accepted(4, &Connection::accepted(65), 80, true);
        assert_eq!(queues.finish(4, 90, ALL).unwrap().at_arrival.weight(), 5);
    }

    #[test]
    fn queues_that_could_not_be_read_are_named_with_the_reason_and_only_those() {
        let mut queues = Queues::default();
        queues.read(&reading(0, 0), 0, true);
        assert_eq!(
            queues.blind_spot(["a:1"].into_iter()),
            None,
            "nothing was in the way: it is told elsewhere"
        );
        let refused = AcceptQueues { not_read: Some("not permitted".to_owned()), ..AcceptQueues::default() };
        queues.read(&refused, 10, true);
        assert_eq!(queues.blind_spot(std::iter::empty()), None);
        for (unread, expected) in [
            (&["a:1"][..], "the accept queue of a:1 could not be read (not permitted)"),
            (
                &["a:1", "a:1", "b:2"],
                "the accept queue of a:1 and that of another listener could not be read (not permitted)",
            ),
        ] {
            let said = queues.blind_spot(unread.iter().copied()).unwrap();
            assert!(said.starts_with(expected), "{said}");
        }
        queues.read(&reading(0, 0), 20, true);
        assert_eq!(queues.blind_spot(["a:1"].into_iter()), None, "it can be read by now");
    }

    #[test]
    fn tables_stay_bounded() {
        let mut queues = Queues::default();
        for inode in 0..2 * MAX_QUEUES as u64 {
            queues.accepted(inode, &Connection::accepted(0), 1, true);
        }
        for accepted_ns in 0..2 * MAX_ACCEPTS as u64 {
            queues.accepted(1, &Connection::accepted(0), accepted_ns, true);
        }
        for namespace in 0..2 * MAX_NETWORKS as u64 {
            queues.network(&NetworkCounters { namespace, ..NetworkCounters::default() }, true);
        }
        assert_eq!(queues.queues.len(), MAX_QUEUES);
        assert_eq!(queues.queues[&1].accepts.len(), MAX_ACCEPTS);
        assert_eq!(queues.networks().len(), MAX_NETWORKS);
        assert_eq!(queues.evicted(), (MAX_QUEUES + MAX_NETWORKS) as u64, "what found no place");
    }
}
