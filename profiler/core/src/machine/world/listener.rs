//! Listeners: how long connections waited before anybody accepted them, and what their arrival set in motion.
//!
//! In: connections, waits and accepts, the kernel side's cumulative counts. Out: waits and returns without a
//! connection, by process and descriptor; counts of the window by inode.

use std::collections::hash_map::Entry;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::bounded::BoundedMap;
use crate::event::{Call, Connection, Slice, Tid};
use crate::fact::{ListenerCounts, ListenerWakes};
use crate::machine::world::errno::EAGAIN;
use crate::machine::world::living::Living;
use crate::model::latency::Latency;

/// Listeners (as each process sees them) whose waits are kept; each takes some 20 KiB.
const MAX_WAITS: usize = 1024;
/// Listeners whose counts are kept: as many as the kernel side has.
const MAX_COUNTS: usize = 1024;

/// Threads whose place in the accept loop is kept: as many as are followed; others are counted there.
const MAX_THREADS: usize = 16_384;

/// What is known of the window's listeners.
#[derive(Clone, Debug, Default)]
pub struct Listeners {
    waits: BoundedMap<(Tid, i32), Latency, MAX_WAITS>,
    empty: BoundedMap<(Tid, i32), EmptyReturns, MAX_WAITS>,
    loops: FxHashMap<Tid, Loop>,
    counts: BoundedMap<u64, Count, MAX_COUNTS>,
    /// Listeners in the last counts of the kernel side.
    told: FxHashSet<u64>,
}

/// Waits that returned although another thread had taken the connection: the first accept after them found
/// nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmptyReturns {
    /// How many.
    pub count: u64,
    /// On-CPU time from the wait's return to the accept's, and from there to the next call.
    pub cpu_ns: u64,
}

/// Where a thread is in its accept loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loop {
    /// This wait has returned, and nothing was accepted yet.
    Returned(Call),
    /// The first accept found nothing.
    FoundNothing((Tid, i32)),
}

/// First and last reading of a listener.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// Before the window; all zero for a listener that came later.
    before: ListenerWakes,
    last: ListenerWakes,
}

impl Listeners {
    /// A connection was accepted at `time_ns`. One whose handshake was not seen is not counted.
    pub fn accepted(&mut self, opened: &Connection, time_ns: u64, in_window: bool) {
        if !in_window || opened.established_ns == 0 {
            return;
        }
        if let Some(waits) = self.waits.get_or_default((opened.tgid, opened.listener_fd)) {
            waits.record(time_ns.saturating_sub(opened.established_ns));
        }
    }

    /// The thread was found inside this call. A wait that began before tracing leaves no slice. Whether it
    /// returned for nothing or by timeout is not distinguished. This leaves at most one doubtful return
    /// for each thread.
    pub fn found_inside(&mut self, slice: &Slice) {
        let waits = matches!(slice.call, Call::Poll { is_sleep: false, .. } | Call::EpollWait { .. });
        if waits && self.loops.len() < MAX_THREADS {
            self.loops.insert(slice.tid, Loop::Returned(slice.call));
        }
    }

    /// An observed call ended.
    pub fn slice(&mut self, slice: &Slice, in_window: bool) {
        let key = match slice.call {
            Call::Poll { is_sleep: false, .. } | Call::EpollWait { .. } => None,
            Call::Accept { listener_fd } => Some((slice.tgid, listener_fd)),
            _ => return,
        };
        let Some(key) = key else {
            let before = self.wait(slice, in_window);
            if let Some(Loop::FoundNothing(key)) = before
                && let Some(empty) = self.empty.get_mut(&key)
            {
                empty.cpu_ns = empty.cpu_ns.saturating_add(slice.gap.cpu_ns);
            }
            return;
        };
        let before = self.loops.remove(&slice.tid);
        let waited = matches!(before, Some(Loop::Returned(wait)) if may_wait_for(wait, key.1));
        if !waited || slice.result != EAGAIN {
            return;
        }
        if let Some(empty) = self.empty.get_or_default(key) {
            empty.count = empty.count.saturating_add(1);
            empty.cpu_ns = empty.cpu_ns.saturating_add(slice.gap.cpu_ns).saturating_add(slice.inside.cpu_ns);
            self.loops.insert(slice.tid, Loop::FoundNothing(key));
        }
    }

    /// A wait ended: where its thread is now. Returns where it was before.
    fn wait(&mut self, slice: &Slice, in_window: bool) -> Option<Loop> {
        if !in_window || slice.result <= 0 {
            return self.loops.remove(&slice.tid);
        }
        let has_room = self.loops.len() < MAX_THREADS;
        match self.loops.entry(slice.tid) {
            Entry::Occupied(mut known) => Some(known.insert(Loop::Returned(slice.call))),
            Entry::Vacant(place) => {
                if has_room {
                    place.insert(Loop::Returned(slice.call));
                }
                None
            }
        }
    }

    /// What was counted for a process's descriptor belongs to another key from now on.
    pub fn set_aside(&mut self, from: (Tid, i32), to: (Tid, i32)) {
        if let Some(waits) = self.waits.remove(&from)
            && let Some(sums) = self.waits.get_or_default(to)
        {
            sums.merge(&waits);
        }
        if let Some(empty) = self.empty.remove(&from)
            && let Some(sums) = self.empty.get_or_default(to)
        {
            sums.count = sums.count.saturating_add(empty.count);
            sums.cpu_ns = sums.cpu_ns.saturating_add(empty.cpu_ns);
        }
    }

    /// The thread has ended.
    pub fn forget(&mut self, tid: Tid) {
        self.loops.remove(&tid);
    }

    /// Cumulative counts, read before the window or in it.
    pub fn count(&mut self, counts: &ListenerCounts, in_window: bool) {
        self.told = counts.listeners.iter().take(MAX_COUNTS).map(|wakes| wakes.inode).collect();
        for wakes in &counts.listeners {
            let Some(count) = self.counts.get_or_default(wakes.inode) else { continue };
            count.last = *wakes;
            if !in_window {
                count.before = *wakes;
            }
        }
    }

    /// The next window begins. What was counted up to now is no part of it. The threads' places in their
    /// loops stay.
    pub fn roll(&mut self, living: &Living) {
        self.waits.clear();
        self.empty.clear();
        // The kernel side still counts for some that are not known yet: they may have been made a moment ago.
        let told = &self.told;
        self.counts.retain(|inode, _| living.listener(*inode) || told.contains(inode));
        for count in self.counts.values_mut() {
            count.before = count.last;
        }
    }

    /// Waits of connections that the process accepted from its descriptor.
    pub fn accept_wait(&self, tgid: Tid, fd: i32) -> Option<&Latency> {
        self.waits.get(&(tgid, fd))
    }

    /// Waits of the process for this descriptor that returned for nothing.
    pub fn empty_returns(&self, tgid: Tid, fd: i32) -> EmptyReturns {
        self.empty.get(&(tgid, fd)).copied().unwrap_or_default()
    }

    /// What was counted in the window.
    pub fn wakes(&self, inode: u64) -> Option<ListenerWakes> {
        let count = self.counts.get(&inode)?;
        Some(count.last.since(&count.before))
    }

    /// What found no place.
    pub const fn evicted(&self) -> u64 {
        self.waits.evicted() + self.empty.evicted() + self.counts.evicted()
    }
}

/// Whether the wait can have been for this descriptor. A wait for one client alone, for example, cannot.
fn may_wait_for(wait: Call, fd: i32) -> bool {
    match wait {
        Call::Poll { only_fd: Some(only), .. } => only == fd,
        Call::Poll { low_fds, .. } if low_fds != 0 => fd >= 64 || low_fds >> fd.clamp(0, 63) & 1 == 1,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Account;

    fn counts(inode: u64, arrivals: u64, woken: u64) -> ListenerCounts {
        ListenerCounts {
            listeners: vec![ListenerWakes { inode, arrivals, woken, ..ListenerWakes::default() }],
        }
    }

    #[test]
    fn what_was_counted_before_the_window_is_no_part_of_it() {
        let mut listeners = Listeners::default();
        listeners.count(&counts(4, 10, 80), false);
        listeners.count(&counts(4, 12, 96), true);
        listeners.count(&counts(4, 110, 880), true);
        let wakes = listeners.wakes(4).unwrap();
        assert_eq!((wakes.arrivals, wakes.woken), (100, 800));
    }

    #[test]
    fn listener_that_came_within_the_window_counts_from_its_beginning() {
        let mut listeners = Listeners::default();
        listeners.count(&counts(4, 10, 80), false);
        listeners.count(&counts(5, 3, 3), true);
        assert_eq!(listeners.wakes(5).unwrap().arrivals, 3);
        assert_eq!(listeners.wakes(4).unwrap().arrivals, 0);
        assert!(listeners.wakes(6).is_none());
    }

    #[test]
    fn waits_are_those_of_connections_whose_handshake_was_seen_within_the_window() {
        let mut listeners = Listeners::default();
        listeners.accepted(&Connection::accepted(1_000), 2_000, false);
        listeners.accepted(&Connection::accepted(0), 2_000, true);
        assert!(listeners.accept_wait(7, 5).is_none());
        listeners.accepted(&Connection::accepted(1_000), 51_001_000, true);
        let waits = listeners.accept_wait(7, 5).unwrap();
        assert_eq!((waits.count(), waits.sum_ns()), (1, 51_000_000));
    }

    fn slice(call: Call, result: i64, gap_cpu_ns: u64) -> Slice {
        let account = |cpu_ns| Account { cpu_ns, ..Account::default() };
        let (inside, gap) = (account(2), account(gap_cpu_ns));
        Slice { tgid: 7, tid: 8, result, inside, gap, ..Slice::blank(call) }
    }

    #[test]
    fn accept_that_ends_a_loop_is_no_return_for_nothing_but_one_that_begins_it_is() {
        let mut listeners = Listeners::default();
        let wait = Call::EpollWait { epoll_fd: 4, timeout_ms: -1 };
        let accept = Call::Accept { listener_fd: 5 };
        let linger = Call::Poll { only_fd: Some(9), low_fds: 0, for_write: false, is_sleep: false };
        for (call, result, gap_cpu_ns) in [
            // One that got a connection, and then looked for another.
            (wait, 1, 1),
            (accept, 9, 10),
            (accept, EAGAIN, 100),
            // One that came too late, and went back to wait.
            (wait, 1, 1_000),
            (accept, EAGAIN, 10_000),
            (wait, 0, 100_000),
            // One that waited for a client to close, then looked for another connection.
            (linger, 1, 1),
            (accept, EAGAIN, 1_000_000),
            // Nobody called it.
            (accept, EAGAIN, 1_000_000),
        ] {
            listeners.slice(&slice(call, result, gap_cpu_ns), true);
        }
        assert_eq!(listeners.empty_returns(7, 5), EmptyReturns { count: 1, cpu_ns: 110_002 });
        assert_eq!(listeners.empty_returns(7, 6), EmptyReturns::default());
    }

    #[test]
    fn wait_that_began_before_the_attach_can_return_for_nothing_too() {
        let mut listeners = Listeners::default();
        listeners.found_inside(&slice(Call::EpollWait { epoll_fd: 4, timeout_ms: -1 }, -4, 0));
        listeners.slice(&slice(Call::Accept { listener_fd: 5 }, EAGAIN, 0), true);
        listeners.found_inside(&slice(Call::Sleep, -4, 0));
        listeners.slice(&slice(Call::Accept { listener_fd: 5 }, EAGAIN, 0), true);
        assert_eq!(listeners.empty_returns(7, 5).count, 1);
    }

    #[test]
    fn table_of_waits_stays_bounded() {
        let mut listeners = Listeners::default();
        for tgid in 0..2 * MAX_WAITS as u32 {
            listeners.accepted(&Connection { tgid, ..Connection::accepted(1_000) }, 2_000, true);
        }
        assert_eq!((listeners.waits.len(), listeners.evicted()), (MAX_WAITS, MAX_WAITS as u64));
    }

    #[test]
    fn what_finds_no_place_is_counted() {
        let mut listeners = Listeners::default();
        let poll = Call::EpollWait { epoll_fd: 4, timeout_ms: -1 };
        for tgid in 0..=MAX_WAITS as u32 {
            for (call, result) in [(poll, 1), (Call::Accept { listener_fd: 5 }, EAGAIN)] {
                listeners.slice(&Slice { tgid, result, ..Slice::blank(call) }, true);
            }
        }
        assert_eq!((listeners.empty.len(), listeners.evicted()), (MAX_WAITS, 1), "returns for nothing");
        let wakes = |inode| ListenerWakes { inode, ..ListenerWakes::default() };
        let all = (0..=MAX_COUNTS as u64).map(wakes).collect();
        listeners.count(&ListenerCounts { listeners: all }, true);
        assert_eq!((listeners.counts.len(), listeners.evicted()), (MAX_COUNTS, 2), "a listener");
    }
}
