//! What became of the threads that connections woke.
//!
//! In: wakeups, and the next calls of the woken threads. Out: [`Woken`] by the listener's inode, and entries
//! of the timeline. A thread that slept again is done. A thread whose call returned has until its next sleep
//! to accept.

use crate::bounded::BoundedMap;
use crate::event::{Call, Slice, Tid, Wake};
use crate::machine::world::errno::EAGAIN;
use crate::model::wake::{Outcome, Woken};
use crate::timeline::Entry;

/// Listeners whose woken threads are counted: as many as the kernel side knows.
const MAX_LISTENERS: usize = 1024;
/// Threads that have returned and have not called accept yet.
const MAX_PENDING: usize = 16_384;

/// What is known of the window's wakeups.
#[derive(Clone, Debug, Default)]
pub struct Wakes {
    listeners: BoundedMap<u64, Woken, MAX_LISTENERS>,
    returned: BoundedMap<Tid, (Wake, u64), MAX_PENDING>,
}

impl Wakes {
    /// A wakeup ended at `time_ns`.
    pub fn wake(&mut self, wake: &Wake, time_ns: u64, in_window: bool, sink: &mut dyn FnMut(Entry)) {
        // Its earlier wait returned, and it has slept since.
        self.end(wake.tid, Outcome::DidNotAccept, in_window, sink);
        if wake.slept_again {
            self.add(wake, time_ns, Outcome::SleptAgain, in_window, sink);
        } else if let Some(result) = wake.accept_result {
            self.add(wake, time_ns, of_accept(result), in_window, sink);
        } else {
            self.returned.insert(wake.tid, (*wake, time_ns));
        }
    }

    /// An observed call ended.
    #[inline]
    pub fn slice(&mut self, slice: &Slice, in_window: bool, sink: &mut dyn FnMut(Entry)) {
        if !self.returned.is_empty() {
            self.called(slice, in_window, sink);
        }
    }

    fn called(&mut self, slice: &Slice, in_window: bool, sink: &mut dyn FnMut(Entry)) {
        match slice.call {
            Call::Accept { .. } => self.end(slice.tid, of_accept(slice.result), in_window, sink),
            // The wait that this wakeup ended is recognised by its time.
            Call::Poll { .. } | Call::EpollWait { .. } if slice.call_switches > 0 => {
                let is_later = self
                    .returned
                    .get(&slice.tid)
                    .is_some_and(|(_, returned_ns)| slice.enter_ns >= *returned_ns);
                if is_later {
                    self.end(slice.tid, Outcome::DidNotAccept, in_window, sink);
                }
            }
            _ => {}
        }
    }

    /// The thread has ended.
    pub fn forget(&mut self, tid: Tid) {
        self.returned.remove(&tid);
    }

    /// The next window begins. Threads that have returned and not called accept yet stay.
    pub fn roll(&mut self) {
        self.listeners.clear();
    }

    /// What became of the threads that connections to the listener woke.
    pub fn of(&self, inode: u64) -> Option<&Woken> {
        self.listeners.get(&inode)
    }

    fn end(&mut self, tid: Tid, outcome: Outcome, in_window: bool, sink: &mut dyn FnMut(Entry)) {
        if let Some((wake, returned_ns)) = self.returned.remove(&tid) {
            self.add(&wake, returned_ns, outcome, in_window, sink);
        }
    }

    fn add(
        &mut self,
        wake: &Wake,
        end_ns: u64,
        outcome: Outcome,
        in_window: bool,
        sink: &mut dyn FnMut(Entry),
    ) {
        if !in_window {
            return;
        }
        sink(Entry::Wake { wake: *wake, end_ns, outcome });
        let Some(woken) = self.listeners.get_or_default(wake.listener_inode) else { return };
        let count = match outcome {
            Outcome::Accepted => &mut woken.accepted,
            Outcome::SleptAgain => &mut woken.slept_again,
            Outcome::FoundNothing => &mut woken.found_nothing,
            Outcome::DidNotAccept => &mut woken.did_not_accept,
        };
        *count = count.saturating_add(1);
        if outcome != Outcome::Accepted {
            woken.losers = woken.losers.plus(wake.since);
            woken.losers_switches = woken.losers_switches.saturating_add(u64::from(wake.switches));
        } else if wake.switches == 1 {
            // The thread got its CPU once and kept it: all time that it did not run, it waited before that.
            let until_end_ns = end_ns.saturating_sub(wake.woken_ns);
            woken.until_running.record(until_end_ns.saturating_sub(wake.since.cpu_ns));
        }
    }

    /// What found no place.
    pub const fn evicted(&self) -> u64 {
        self.listeners.evicted() + self.returned.evicted()
    }
}

const fn of_accept(result: i64) -> Outcome {
    match result {
        0.. => Outcome::Accepted,
        EAGAIN => Outcome::FoundNothing,
        _ => Outcome::DidNotAccept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Account;

    const INODE: u64 = 7;

    fn wake(tid: Tid, slept_again: bool) -> Wake {
        let since = Account { cpu_ns: 30, run_queue_ns: 200, blocked_ns: 0 };
        Wake {
            tgid: 1,
            tid,
            listener_inode: INODE,
            woken_ns: 1_000,
            since,
            switches: 1,
            slept_again,
            ..Wake::default()
        }
    }

    fn call(tid: Tid, call: Call, result: i64, (enter_ns, switches): (u64, u32)) -> Slice {
        Slice { tid, result, enter_ns, call_switches: switches, ..Slice::blank(call) }
    }

    const ACCEPT: Call = Call::Accept { listener_fd: 5 };
    const WAIT: Call = Call::EpollWait { epoll_fd: 4, timeout_ms: -1 };

    #[test]
    fn winner_and_losers_of_one_connection_are_distinguished() {
        let mut wakes = Wakes::default();
        let mut entries = Vec::new();
        let sink: &mut dyn FnMut(Entry) = &mut |entry| entries.push(entry);
        for tid in 1..=4 {
            wakes.wake(&wake(tid, tid == 4), 1_500, true, sink);
            if tid != 4 {
                // The wait that returned; then one that only looks.
                wakes.slice(&call(tid, WAIT, 1, (500, 1)), true, sink);
                wakes.slice(&call(tid, WAIT, 0, (1_600, 0)), true, sink);
            }
        }
        wakes.slice(&call(1, ACCEPT, 9, (1_600, 0)), true, sink);
        wakes.slice(&call(1, ACCEPT, EAGAIN, (1_700, 0)), true, sink);
        wakes.slice(&call(2, ACCEPT, EAGAIN, (1_600, 0)), true, sink);
        wakes.slice(&call(3, WAIT, 1, (1_700, 1)), true, sink);
        let woken = wakes.of(INODE).unwrap();
        let counts = (woken.accepted, woken.slept_again, woken.found_nothing, woken.did_not_accept);
        assert_eq!((counts, woken.in_vain()), ((1, 1, 1, 1), 3));
        assert_eq!((woken.losers.cpu_ns, woken.losers.run_queue_ns, woken.losers_switches), (90, 600, 3));
        // 500 ns from wakeup to the wait's return, 30 of them on the CPU.
        assert_eq!((woken.until_running.count(), woken.until_running.sum_ns()), (1, 470));
        assert_eq!(entries.len(), 4);
    }

    #[test]
    fn thread_that_never_slept_has_no_latency_and_one_before_the_window_no_count() {
        let mut wakes = Wakes::default();
        let sink: &mut dyn FnMut(Entry) = &mut |_| {};
        wakes.wake(&Wake { switches: 0, ..wake(1, false) }, 1_500, true, sink);
        wakes.slice(&call(1, ACCEPT, 9, (1_600, 0)), true, sink);
        wakes.wake(&wake(2, true), 1_500, false, sink);
        let woken = wakes.of(INODE).unwrap();
        assert_eq!((woken.accepted, woken.slept_again, woken.until_running.count()), (1, 0, 0));
        wakes.wake(&wake(3, false), 1_500, true, sink);
        wakes.roll();
        wakes.slice(&call(3, ACCEPT, 9, (1_600, 0)), true, sink);
        assert_eq!(wakes.of(INODE).unwrap().accepted, 1, "it counts where its outcome becomes known");
    }

    #[test]
    fn accept_that_returns_needs_no_further_call() {
        let mut wakes = Wakes::default();
        let sink: &mut dyn FnMut(Entry) = &mut |_| {};
        for (tid, result) in [(1, 9), (2, EAGAIN), (3, -4)] {
            wakes.wake(&Wake { accept_result: Some(result), ..wake(tid, false) }, 1_500, true, sink);
        }
        let woken = wakes.of(INODE).unwrap();
        assert_eq!((woken.accepted, woken.found_nothing, woken.did_not_accept), (1, 1, 1));
    }

    #[test]
    fn tables_stay_bounded() {
        let mut wakes = Wakes::default();
        let sink: &mut dyn FnMut(Entry) = &mut |_| {};
        for number in 0..40_000 {
            wakes.wake(&wake(number, false), 1, true, sink);
            let slept = Wake { listener_inode: u64::from(number), ..wake(0, true) };
            wakes.wake(&slept, 1, true, sink);
        }
        assert!(wakes.returned.len() <= MAX_PENDING && wakes.listeners.len() <= MAX_LISTENERS);
    }

    #[test]
    fn what_finds_no_place_is_counted() {
        let mut wakes = Wakes::default();
        let sink: &mut dyn FnMut(Entry) = &mut |_| {};
        for inode in 0..=MAX_LISTENERS as u64 {
            wakes.wake(&Wake { listener_inode: inode, ..wake(1, true) }, 1, true, sink);
        }
        assert_eq!((wakes.listeners.len(), wakes.evicted()), (MAX_LISTENERS, 1), "a listener");
        for tid in 0..=MAX_PENDING as u32 {
            wakes.wake(&wake(tid, false), 1, true, sink);
        }
        assert_eq!((wakes.returned.len(), wakes.evicted()), (MAX_PENDING, 2), "a thread");
    }
}
