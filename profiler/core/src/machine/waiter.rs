//! Who waits for which listener, and how.
//!
//! In: calls that slept, what threads are in the middle of at both ends of the window, descriptors. Out: [`Found`] of a
//! listener. What a descriptor is, and what an epoll instance waits for, is asked at the end: a wait says only where.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::event::{Call, Slice, Tid};
use crate::fact::DescriptorClass;
use crate::machine::state::State;
use crate::model::waiter::{How, Lock, Waiters as Row};

/// Threads whose waits are kept.
const MAX_THREADS: usize = 16_384;
/// Places in which one thread waits that are kept.
const MAX_PLACES: usize = 8;
/// Instances in one another: the kernel allows five.
const MAX_DEPTH: usize = 5;
/// include/uapi/linux/eventpoll.h.
const EPOLLEXCLUSIVE: u32 = 1 << 28;
/// See [`EPOLLEXCLUSIVE`].
const EPOLLONESHOT: u32 = 1 << 30;
/// See [`EPOLLEXCLUSIVE`].
const EPOLLET: u32 = 1 << 31;

/// Waits of the window.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    threads: FxHashMap<Tid, Thread>,
    /// Places in which a thread was seen to wait for the first time: process, place, since when.
    fresh: Vec<(Tid, Place, u64)>,
}

/// Where a thread has waited.
#[derive(Clone, Debug, Default)]
struct Thread {
    tgid: Tid,
    places: Vec<Place>,
    /// Waits that may have been for a listener, and those of them right after a lock.
    waits: u64,
    locked: u64,
    lock: Option<(Lock, u64)>,
    /// The call before was a sleep for this lock.
    came_from: Option<(Lock, u64)>,
    /// It waited for several descriptors that were not read: the next accept says for which.
    polled: bool,
}

/// Who waits for one listener.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// By the way they wait.
    pub rows: Vec<Row>,
    /// Their processes.
    pub processes: BTreeSet<Tid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Accept(i32),
    Poll(i32),
    Epoll(i32),
}

impl Waits {
    /// An observed call ended.
    pub fn slice(&mut self, slice: &Slice, state: &State) {
        let slept = slice.inside.blocked_ns > 0;
        match slice.call {
            Call::Accept { .. } | Call::Poll { .. } | Call::EpollWait { .. } => {
                self.waited(slice, slept, state)
            }
            Call::FutexWait { address, .. } if slept && !state.gil.is_wait(slice) => {
                if let Some(thread) = self.thread(slice) {
                    thread.came_from = Some((Lock::Futex, address));
                }
            }
            _ => {
                if let Some(thread) = self.threads.get_mut(&slice.tid) {
                    thread.came_from = None;
                }
            }
        }
    }

    /// The thread is inside this call at one end of the window.
    pub fn inside(&mut self, slice: &Slice, state: &State) {
        if matches!(slice.call, Call::Accept { .. } | Call::Poll { .. } | Call::EpollWait { .. }) {
            self.waited(slice, true, state);
        }
    }

    fn thread(&mut self, slice: &Slice) -> Option<&mut Thread> {
        if self.threads.len() >= MAX_THREADS && !self.threads.contains_key(&slice.tid) {
            return None;
        }
        let thread = self.threads.entry(slice.tid).or_default();
        thread.tgid = slice.tgid;
        Some(thread)
    }

    fn waited(&mut self, slice: &Slice, slept: bool, state: &State) {
        let is_listener =
            |fd: &i32| state.descriptors.class(slice.tgid, *fd) == Some(DescriptorClass::Listener);
        let Some(thread) = self.thread(slice) else { return };
        let lock = lock_of_gap(slice).or(thread.came_from.take());
        let place = match slice.call {
            Call::Accept { listener_fd } if slept => Some(Place::Accept(listener_fd)),
            Call::Accept { listener_fd } => {
                std::mem::take(&mut thread.polled).then_some(Place::Poll(listener_fd))
            }
            Call::EpollWait { epoll_fd, .. } if slept => Some(Place::Epoll(epoll_fd)),
            Call::Poll { only_fd: Some(fd), .. } if slept => Some(fd).filter(is_listener).map(Place::Poll),
            Call::Poll { low_fds, .. } if slept && low_fds != 0 => {
                (0..64).filter(|fd| low_fds >> fd & 1 == 1).find(is_listener).map(Place::Poll)
            }
            Call::Poll { is_sleep: false, only_fd: None, .. } if slept => {
                thread.polled = true;
                None
            }
            _ => None,
        };
        if place.is_some() {
            thread.waits = thread.waits.saturating_add(1);
            if let Some(lock) = lock {
                thread.locked = thread.locked.saturating_add(1);
                thread.lock = Some(lock);
            }
        }
        if let Some(place) = place.filter(|place| !thread.places.contains(place))
            && thread.places.len() < MAX_PLACES
        {
            thread.places.push(place);
            if self.fresh.len() < MAX_THREADS {
                self.fresh.push((slice.tgid, place, slice.enter_ns));
            }
        }
    }

    /// Tells who waits for which listener, as far as it was not told before.
    pub fn acceptors(&mut self, state: &mut State) {
        for (tgid, place, since_ns) in std::mem::take(&mut self.fresh) {
            for (inode, _) in listeners_at(state, tgid, place) {
                state.capacity.accepts(inode, tgid, since_ns);
            }
        }
    }

    /// The thread has ended.
    pub fn forget(&mut self, tid: Tid) {
        self.threads.remove(&tid);
    }

    /// The next window begins.
    pub fn roll(&mut self) {
        self.threads.clear();
    }

    /// Who waits for each listener, by inode; `open`: what every thread is in the middle of at the end.
    #[must_use]
    pub fn finish(&self, state: &State, open: &[Slice]) -> FxHashMap<u64, Found> {
        let mut found: BTreeMap<(u64, How), BTreeSet<(Tid, Tid)>> = BTreeMap::new();
        // Locks that let their holder wait, by what and where it is, with the listener behind.
        let mut behind: FxHashMap<(Lock, u64), FxHashSet<u64>> = FxHashMap::default();
        for (tid, thread) in &self.threads {
            let is_locked = thread.locked > 0 && thread.locked.saturating_mul(2) >= thread.waits;
            let ways: Vec<(u64, How)> =
                thread.places.iter().flat_map(|place| listeners_at(state, thread.tgid, *place)).collect();
            for &(inode, how) in &ways {
                // Who waits for it elsewhere slept in accept for the socket's lock, not for a connection.
                let elsewhere = |way: &(u64, How)| way.0 == inode && way.1 != How::Accept;
                if how == How::Accept && ways.iter().any(elsewhere) {
                    continue;
                }
                let how = match thread.lock.filter(|_| is_locked) {
                    Some(lock) => {
                        behind.entry(lock).or_default().insert(inode);
                        How::Lock(lock.0)
                    }
                    None => how,
                };
                found.entry((inode, how)).or_default().insert((thread.tgid, *tid));
            }
        }
        // Who has not moved all the while sits in a lock of which others have shown what it is for.
        for slice in open.iter().filter(|slice| !self.threads.contains_key(&slice.tid)) {
            let lock = match slice.call {
                Call::FutexWait { address, .. } => Some((Lock::Futex, address)),
                _ => lock_of_gap(slice),
            };
            let Some(lock) = lock else { continue };
            for inode in behind.get(&lock).into_iter().flatten() {
                if state.processes.holds(slice.tgid, *inode) {
                    found.entry((*inode, How::Lock(lock.0))).or_default().insert((slice.tgid, slice.tid));
                }
            }
        }
        let mut rows: FxHashMap<u64, Found> = FxHashMap::default();
        for ((inode, how), threads) in found {
            let processes: BTreeSet<Tid> = threads.iter().map(|(tgid, _)| *tgid).collect();
            let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let row = Row { how, threads: count(threads.len()), processes: count(processes.len()) };
            let of_listener = rows.entry(inode).or_default();
            of_listener.rows.push(row);
            of_listener.processes.extend(processes);
        }
        rows
    }
}

/// The lock for which the thread slept right before the call, where that is a call that is not observed.
fn lock_of_gap(slice: &Slice) -> Option<(Lock, u64)> {
    lock_of(slice.gap_blocked_call)
}

/// The lock that a call which is not observed may wait for.
pub(super) const fn lock_of(system_call: i32) -> Option<(Lock, u64)> {
    // By the numbers of x86_64.
    match system_call {
        65 | 220 => Some((Lock::Semaphore, 0)),
        72 => Some((Lock::Fcntl, 0)),
        73 => Some((Lock::Flock, 0)),
        _ => None,
    }
}

fn listeners_at(state: &State, tgid: Tid, place: Place) -> Vec<(u64, How)> {
    let inode = |fd: i32| state.processes.listener_inode(tgid, fd);
    match place {
        Place::Accept(fd) => inode(fd).map(|inode| (inode, How::Accept)).into_iter().collect(),
        Place::Poll(fd) => inode(fd).map(|inode| (inode, How::Poll)).into_iter().collect(),
        Place::Epoll(fd) => {
            let mut found = Vec::new();
            in_instance(state, tgid, fd, 0, &mut found);
            found
        }
    }
}

fn in_instance(state: &State, tgid: Tid, epoll_fd: i32, depth: usize, found: &mut Vec<(u64, How)>) {
    let Some(instance) = state.descriptors.get(tgid, epoll_fd) else { return };
    for &fd in &instance.interest {
        match state.descriptors.class(tgid, fd) {
            Some(DescriptorClass::Listener) => {
                let Some(inode) = state.processes.listener_inode(tgid, fd) else { continue };
                let ways = instance.ways.iter().find(|(of, _)| *of == fd).map_or(0, |(_, events)| *events);
                let how = How::Epoll {
                    exclusive: ways & EPOLLEXCLUSIVE != 0,
                    one_shot: ways & EPOLLONESHOT != 0,
                    edge_triggered: ways & EPOLLET != 0,
                    shared: instance.shared,
                    nested: depth > 0,
                };
                found.push((inode, how));
            }
            Some(DescriptorClass::Epoll) if depth < MAX_DEPTH && fd != epoll_fd => {
                in_instance(state, tgid, fd, depth + 1, found);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Account, ListenerSeen};

    const INODE: u64 = 77;

    /// Process 1 and its children hold a listener at 3; 1 has an instance at 4 with it.
    fn state(events: u32) -> State {
        let mut state = State::new(false);
        for tgid in 1..=4 {
            let listener = ListenerSeen { tgid, fd: 3, inode: INODE, ..ListenerSeen::default() };
            state.processes.listen(&listener);
            state.descriptors.open(tgid, 3, DescriptorClass::Listener, 0);
            state.descriptors.open(tgid, 4, DescriptorClass::Epoll, 0);
            state.descriptors.set_interest(tgid, 4, vec![3], &[events]);
        }
        state
    }

    fn slice(who: Tid, call: Call, blocked_ns: u64) -> Slice {
        let inside = Account { blocked_ns, ..Account::default() };
        Slice { tgid: who, tid: who, inside, ..Slice::blank(call) }
    }

    fn rows(waits: &Waits, state: &State, open: &[Slice]) -> Vec<(String, u32)> {
        let found = waits.finish(state, open);
        found
            .get(&INODE)
            .into_iter()
            .flat_map(|found| &found.rows)
            .map(|row| (row.how.words(), row.threads))
            .collect()
    }

    const ACCEPT: Call = Call::Accept { listener_fd: 3 };
    const EPOLL: Call = Call::EpollWait { epoll_fd: 4, timeout_ms: -1 };
    const LOCK: Call = Call::FutexWait { address: 0x7000, operation: 0, has_timeout: false };
    const SELECT: Call =
        Call::Poll { only_fd: None, low_fds: 1 << 3 | 1 << 9, for_write: false, is_sleep: false };
    const POLL: Call = Call::Poll { only_fd: None, low_fds: 0, for_write: false, is_sleep: false };

    #[test]
    fn each_way_to_wait_is_told_apart() {
        let state = state(EPOLLEXCLUSIVE);
        let mut waits = Waits::default();
        waits.slice(&slice(1, EPOLL, 1), &state);
        waits.slice(&slice(2, ACCEPT, 1), &state);
        waits.slice(&slice(3, SELECT, 1), &state);
        // What it polled was not read: accept tells. A look that does not sleep is no wait.
        waits.slice(&slice(4, POLL, 1), &state);
        waits.slice(&slice(4, ACCEPT, 0), &state);
        let expected = [("in accept", 1), ("in poll or select", 2), ("in epoll, exclusive", 1)];
        assert_eq!(rows(&waits, &state, &[]), expected.map(|(how, count)| (how.to_owned(), count)));
    }

    #[test]
    fn accept_that_sleeps_for_the_socket_s_lock_is_no_wait_for_a_connection() {
        let state = state(0);
        let mut waits = Waits::default();
        waits.slice(&slice(1, EPOLL, 1), &state);
        waits.slice(&slice(1, ACCEPT, 1), &state);
        assert_eq!(rows(&waits, &state, &[]), [("in epoll".to_owned(), 1)]);
    }

    #[test]
    fn instance_in_an_instance_leads_to_the_listener() {
        let mut state = state(0);
        state.descriptors.open(1, 6, DescriptorClass::Epoll, 0);
        // A circle, which only a hostile server has.
        state.descriptors.set_interest(1, 6, vec![4, 6], &[]);
        let mut waits = Waits::default();
        waits.slice(&slice(1, Call::EpollWait { epoll_fd: 6, timeout_ms: -1 }, 1), &state);
        assert_eq!(rows(&waits, &state, &[]), [("in epoll, instance in instance".to_owned(), 1)]);
    }

    #[test]
    fn those_behind_a_lock_are_told_by_who_came_out_of_it() {
        let state = state(0);
        let mut waits = Waits::default();
        for _ in 0..3 {
            waits.slice(&slice(1, LOCK, 1), &state);
            waits.slice(&slice(1, EPOLL, 1), &state);
            waits.slice(&slice(1, ACCEPT, 0), &state);
        }
        // One sits in the same lock all the time; another in a lock of its own.
        let elsewhere = Call::FutexWait { address: 0x9000, operation: 0, has_timeout: false };
        let open = [slice(2, LOCK, 1), slice(3, elsewhere, 1)];
        assert_eq!(rows(&waits, &state, &open), [("behind a lock (futex)".to_owned(), 2)]);
        let flock = Slice { gap_blocked_call: 73, ..slice(4, ACCEPT, 1) };
        let mut waits = Waits::default();
        waits.slice(&flock, &state);
        assert_eq!(rows(&waits, &state, &[]), [("behind a lock (flock)".to_owned(), 1)]);
    }

    #[test]
    fn lock_that_is_seldom_before_a_wait_is_not_around_accept() {
        let state = state(0);
        let mut waits = Waits::default();
        for number in 0..10 {
            if number == 0 {
                waits.slice(&slice(1, LOCK, 1), &state);
            }
            waits.slice(&slice(1, EPOLL, 1), &state);
        }
        assert_eq!(rows(&waits, &state, &[]), [("in epoll".to_owned(), 1)]);
    }
}
