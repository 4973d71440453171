//! Who waits for which listener, and how.
//!
//! In: calls that slept, the calls that threads are inside at both ends of the window, descriptors. Out: [`Found`] of each listener. A wait shows only its
//! place. The first waits look up what the descriptor is, and what an epoll instance waits for: a thread may make an instance for each wait. The end looks it
//! up again, when more is known.

use crate::event::{Call, Slice, Tid};
use std::collections::{BTreeMap, BTreeSet};

use crate::fact::DescriptorClass;
use crate::machine::world::descriptor::EPOLLONESHOT;
use crate::machine::world::state::World;
use crate::model::waiter::{How, Lock, Waiters as Row};
use rustc_hash::FxHashMap;

/// Threads whose waits are kept.
const MAX_THREADS: usize = 16_384;
/// Places kept in which one thread waits.
const MAX_PLACES: usize = 8;
/// Waits in one place that look up their listener.
const MAX_LOOKS: u8 = 2;
/// Locks kept of one thread: a server has one or two around its accept.
const MAX_LOCKS: usize = 8;
/// Listeners kept of one thread.
const MAX_WAYS: usize = 16;
/// Depth of nested epoll instances: the kernel allows five.
const MAX_DEPTH: usize = 5;
/// include/uapi/linux/eventpoll.h.
const EPOLLEXCLUSIVE: u32 = 1 << 28;
/// See [`EPOLLEXCLUSIVE`].
const EPOLLET: u32 = 1 << 31;

/// Waits of the window.
#[derive(Clone, Debug, Default)]
pub struct ListenerWaits {
    threads: FxHashMap<Tid, Thread>,
    /// Places in which a thread was first seen to wait: process, place, since when. `found`: the listeners that were found there at once.
    fresh: Vec<(Tid, WaitedIn, u64)>,
    found: Vec<(Tid, u64, u64)>,
}

/// Where a thread has waited.
#[derive(Clone, Debug, Default)]
struct Thread {
    tgid: Tid,
    /// Places, and how many waits looked up what they are.
    places: Vec<(WaitedIn, u8)>,
    /// What was found there.
    ways: Vec<(u64, How)>,
    /// Waits that may have been for a listener.
    waits: u64,
    /// Those of them that came right after a lock; and by lock, as far as there is room.
    locked: u64,
    locks: Vec<((Lock, u64), u64)>,
    /// The call before was a sleep for this lock.
    came_from: Option<(Lock, u64)>,
    /// Since that sleep it has made an epoll instance, to wait in it.
    prepares: bool,
    /// It waited for several descriptors that were not read. The next accept shows for which one.
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

impl Thread {
    /// A wait came right after this lock. Beyond the bound it takes the place of one that was met once.
    fn came_out_of(&mut self, lock: (Lock, u64)) {
        self.locked = self.locked.saturating_add(1);
        if let Some((_, waits)) = self.locks.iter_mut().find(|(known, _)| *known == lock) {
            *waits = waits.saturating_add(1);
        } else if self.locks.len() < MAX_LOCKS {
            self.locks.push((lock, 1));
        } else if let Some(once) = self.locks.iter_mut().find(|(_, waits)| *waits == 1) {
            *once = (lock, 1);
        }
    }

    /// Where at least half of its waits come out of a lock: the one that most come out of, of equals the last.
    fn usual_lock(&self) -> Option<(Lock, u64)> {
        let is_usual = self.locked > 0 && self.locked.saturating_mul(2) >= self.waits;
        self.locks.iter().filter(|_| is_usual).max_by_key(|(_, waits)| *waits).map(|(lock, _)| *lock)
    }

    /// The listeners that it has waited for, and how.
    fn ways(&self, world: &World) -> Vec<(u64, How)> {
        let mut ways: Vec<(u64, How)> = Vec::new();
        for (place, _) in &self.places {
            ways.extend(listeners_at(world, self.tgid, *place));
        }
        // The state at the end is known best. For an instance that is gone by then, what was found at the time counts.
        let gone = self.ways.iter().filter(|(inode, _)| !ways.iter().any(|(known, _)| known == inode));
        let gone: Vec<(u64, How)> = gone.copied().collect();
        ways.extend(gone);
        // A thread that waits for it elsewhere slept in accept for the socket's lock, not for a connection.
        let elsewhere: Vec<u64> =
            ways.iter().filter(|(_, how)| *how != How::Accept).map(|(inode, _)| *inode).collect();
        ways.retain(|(inode, how)| *how != How::Accept || !elsewhere.contains(inode));
        ways
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitedIn {
    Accept(i32),
    Poll(i32),
    Epoll(i32),
}

impl ListenerWaits {
    /// An observed call ended. `is_gil_wait`: whether it is a wait for an interpreter lock.
    pub fn slice(&mut self, slice: &Slice, world: &World, is_gil_wait: impl FnOnce(&Slice) -> bool) {
        let slept = slice.inside.blocked_ns > 0;
        match slice.call {
            Call::Accept { .. } | Call::Poll { .. } | Call::EpollWait { .. } => {
                self.waited(slice, slept, world)
            }
            Call::FutexWait { address, .. } if slept && !is_gil_wait(slice) => {
                if let Some(thread) = self.thread(slice) {
                    thread.came_from = Some((Lock::Futex, address));
                    thread.prepares = false;
                }
            }
            // mod_wsgi's threads make an epoll instance for each wait.
            Call::Make { class: DescriptorClass::Epoll } => {
                if let Some(thread) = self.threads.get_mut(&slice.tid) {
                    thread.prepares = true;
                }
            }
            Call::EpollControl { .. }
                if self.threads.get(&slice.tid).is_some_and(|thread| thread.prepares) => {}
            _ => {
                if let Some(thread) = self.threads.get_mut(&slice.tid) {
                    thread.came_from = None;
                }
            }
        }
    }

    /// The thread is inside this call at one end of the window.
    pub fn inside(&mut self, slice: &Slice, world: &World) {
        if matches!(slice.call, Call::Accept { .. } | Call::Poll { .. } | Call::EpollWait { .. }) {
            self.waited(slice, true, world);
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

    fn waited(&mut self, slice: &Slice, slept: bool, world: &World) {
        let is_listener =
            |fd: &i32| world.descriptors.class(slice.tgid, *fd) == Some(DescriptorClass::Listener);
        let Some(thread) = self.thread(slice) else { return };
        let lock = lock_of_gap(slice).or(thread.came_from.take());
        let place = match slice.call {
            Call::Accept { listener_fd } if slept => Some(WaitedIn::Accept(listener_fd)),
            Call::Accept { listener_fd } => {
                std::mem::take(&mut thread.polled).then_some(WaitedIn::Poll(listener_fd))
            }
            Call::EpollWait { epoll_fd, .. } if slept => Some(WaitedIn::Epoll(epoll_fd)),
            Call::Poll { only_fd: Some(fd), .. } if slept => Some(fd).filter(is_listener).map(WaitedIn::Poll),
            Call::Poll { low_fds, .. } if slept && low_fds != 0 => {
                (0..64).filter(|fd| low_fds >> fd & 1 == 1).find(is_listener).map(WaitedIn::Poll)
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
                thread.came_out_of(lock);
            }
        }
        let Some(place) = place else { return };
        let is_fresh = !thread.places.iter().any(|(known, _)| *known == place);
        if is_fresh && thread.places.len() < MAX_PLACES {
            thread.places.push((place, 0));
        }
        let Some((_, looks)) = thread.places.iter_mut().find(|(known, _)| *known == place) else { return };
        if *looks >= MAX_LOOKS {
            return;
        }
        *looks += 1;
        let mut ways = listeners_at(world, slice.tgid, place);
        ways.retain(|way| !thread.ways.contains(way));
        ways.truncate(MAX_WAYS.saturating_sub(thread.ways.len()));
        thread.ways.extend(&ways);
        if is_fresh && self.fresh.len() < MAX_THREADS {
            self.fresh.push((slice.tgid, place, slice.enter_ns));
        }
        if self.found.len() < MAX_THREADS {
            self.found.extend(ways.iter().map(|(inode, _)| (slice.tgid, *inode, slice.enter_ns)));
        }
    }

    /// Reports who waits for which listener since when, as far as it was not reported before.
    pub fn acceptors(&mut self, world: &World, mut accepts: impl FnMut(u64, Tid, u64)) {
        for (tgid, inode, since_ns) in std::mem::take(&mut self.found) {
            accepts(inode, tgid, since_ns);
        }
        for (tgid, place, since_ns) in std::mem::take(&mut self.fresh) {
            for (inode, _) in listeners_at(world, tgid, place) {
                accepts(inode, tgid, since_ns);
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

    /// Who waits for each listener, by inode; `open`: the call that every thread is inside at the end.
    #[must_use]
    pub fn finish(&self, world: &World, open: &[Slice]) -> FxHashMap<u64, Found> {
        let mut found: BTreeMap<(u64, How), BTreeSet<(Tid, Tid)>> = BTreeMap::new();
        let ways_of: BTreeMap<Tid, Vec<(u64, How)>> =
            self.threads.iter().map(|(tid, thread)| (*tid, thread.ways(world))).collect();
        // Locks whose holder waits, by kind and address, with the listeners behind them.
        let mut behind: BTreeMap<(Lock, u64), BTreeSet<u64>> = BTreeMap::new();
        for (tid, ways) in &ways_of {
            if let Some(lock) = self.threads.get(tid).and_then(Thread::usual_lock) {
                behind.entry(lock).or_default().extend(ways.iter().map(|(inode, _)| inode));
            }
        }
        // Threads that wait without a lock in between, by listener.
        let mut free: BTreeMap<u64, BTreeSet<Tid>> = BTreeMap::new();
        for (tid, ways) in &ways_of {
            let Some(thread) = self.threads.get(tid) else { continue };
            for &(inode, how) in ways {
                // A thread that came out of a lock is behind it if others show what the lock is for, however seldom it slept there.
                let is_behind =
                    |lock: &(Lock, u64)| behind.get(lock).is_some_and(|those| those.contains(&inode));
                let how = match thread.locks.iter().map(|(lock, _)| *lock).find(is_behind) {
                    Some(lock) => How::Lock(lock.0),
                    None => {
                        free.entry(inode).or_default().insert(*tid);
                        how
                    }
                };
                found.entry((inode, how)).or_default().insert((thread.tgid, *tid));
            }
        }
        // A lock has one holder. The only thread never seen to wait for the lock is the one that always got it at once.
        for (lock, inodes) in &behind {
            for inode in inodes {
                let Some(tid) = free.get(inode).filter(|those| those.len() == 1).and_then(BTreeSet::first)
                else {
                    continue;
                };
                let Some(thread) = self.threads.get(tid) else { continue };
                let who = (thread.tgid, *tid);
                for (_, threads) in found.iter_mut().filter(|((of, _), _)| of == inode) {
                    threads.remove(&who);
                }
                found.entry((*inode, How::Lock(lock.0))).or_default().insert(who);
            }
        }
        found.retain(|_, threads| !threads.is_empty());
        // A thread that has not moved all the while sits in a lock. Others have shown what that lock is for.
        for slice in open.iter().filter(|slice| !self.threads.contains_key(&slice.tid)) {
            let lock = match slice.call {
                Call::FutexWait { address, .. } => Some((Lock::Futex, address)),
                _ => lock_of_gap(slice),
            };
            let Some(lock) = lock else { continue };
            for inode in behind.get(&lock).into_iter().flatten() {
                if world.processes.holds(slice.tgid, *inode) {
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

/// The lock for which the thread slept right before the call, in a call that is not observed.
fn lock_of_gap(slice: &Slice) -> Option<(Lock, u64)> {
    lock_of(slice.in_gap.blocked_call)
}

/// The lock that an unobserved call may wait for.
pub(in crate::machine) const fn lock_of(system_call: i32) -> Option<(Lock, u64)> {
    // By the numbers of x86_64.
    match system_call {
        65 | 220 => Some((Lock::Semaphore, 0)),
        72 => Some((Lock::Fcntl, 0)),
        73 => Some((Lock::Flock, 0)),
        _ => None,
    }
}

fn listeners_at(world: &World, tgid: Tid, place: WaitedIn) -> Vec<(u64, How)> {
    let inode = |fd: i32| world.processes.listener_inode(tgid, fd);
    match place {
        WaitedIn::Accept(fd) => inode(fd).map(|inode| (inode, How::Accept)).into_iter().collect(),
        WaitedIn::Poll(fd) => inode(fd).map(|inode| (inode, How::Poll)).into_iter().collect(),
        WaitedIn::Epoll(fd) => {
            let mut found = Vec::new();
            in_instance(world, tgid, fd, 0, &mut found);
            found
        }
    }
}

fn in_instance(world: &World, tgid: Tid, epoll_fd: i32, depth: usize, found: &mut Vec<(u64, How)>) {
    let Some(instance) = world.descriptors.get(tgid, epoll_fd) else { return };
    for &fd in &instance.interest {
        match world.descriptors.class(tgid, fd) {
            Some(DescriptorClass::Listener) => {
                let Some(inode) = world.processes.listener_inode(tgid, fd) else { continue };
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
                in_instance(world, tgid, fd, depth + 1, found);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::InGap;
    use crate::fact::{Account, ListenerSeen};

    const INODE: u64 = 77;

    /// Processes 1 to 4 hold a listener at 3; each has an epoll instance at 4 with it.
    fn state(events: u32) -> World {
        let mut state = World::default();
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

    fn rows(waits: &ListenerWaits, state: &World, open: &[Slice]) -> Vec<(String, u32)> {
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
    fn each_way_to_wait_is_distinguished() {
        let state = state(EPOLLEXCLUSIVE);
        let mut waits = ListenerWaits::default();
        waits.slice(&slice(1, EPOLL, 1), &state, |_| false);
        waits.slice(&slice(2, ACCEPT, 1), &state, |_| false);
        waits.slice(&slice(3, SELECT, 1), &state, |_| false);
        // What it polled was not read: accept shows it. A look that does not sleep is no wait.
        waits.slice(&slice(4, POLL, 1), &state, |_| false);
        waits.slice(&slice(4, ACCEPT, 0), &state, |_| false);
        let expected = [("in accept", 1), ("in poll or select", 2), ("in epoll, exclusive", 1)];
        assert_eq!(rows(&waits, &state, &[]), expected.map(|(how, count)| (how.to_owned(), count)));
    }

    #[test]
    fn accept_that_sleeps_for_the_socket_s_lock_is_no_wait_for_a_connection() {
        let state = state(0);
        let mut waits = ListenerWaits::default();
        waits.slice(&slice(1, EPOLL, 1), &state, |_| false);
        waits.slice(&slice(1, ACCEPT, 1), &state, |_| false);
        assert_eq!(rows(&waits, &state, &[]), [("in epoll".to_owned(), 1)]);
    }

    #[test]
    fn instance_in_an_instance_leads_to_the_listener() {
        let mut state = state(0);
        state.descriptors.open(1, 6, DescriptorClass::Epoll, 0);
        // A circle, which only a hostile server has.
        state.descriptors.set_interest(1, 6, vec![4, 6], &[]);
        let mut waits = ListenerWaits::default();
        waits.slice(&slice(1, Call::EpollWait { epoll_fd: 6, timeout_ms: -1 }, 1), &state, |_| false);
        assert_eq!(rows(&waits, &state, &[]), [("in epoll, instance in instance".to_owned(), 1)]);
    }

    #[test]
    fn those_behind_a_lock_are_told_by_who_came_out_of_it() {
        let state = state(0);
        let mut waits = ListenerWaits::default();
        for _ in 0..3 {
            waits.slice(&slice(1, LOCK, 1), &state, |_| false);
            waits.slice(&slice(1, EPOLL, 1), &state, |_| false);
            waits.slice(&slice(1, ACCEPT, 0), &state, |_| false);
        }
        // One sits in the same lock all the time; another in a lock of its own.
        let elsewhere = Call::FutexWait { address: 0x9000, operation: 0, has_timeout: false };
        let open = [slice(2, LOCK, 1), slice(3, elsewhere, 1)];
        assert_eq!(rows(&waits, &state, &open), [("behind a lock (futex)".to_owned(), 2)]);
        let flock =
            Slice { in_gap: InGap { blocked_call: 73, ..slice(4, ACCEPT, 1).in_gap }, ..slice(4, ACCEPT, 1) };
        let mut waits = ListenerWaits::default();
        waits.slice(&flock, &state, |_| false);
        assert_eq!(rows(&waits, &state, &[]), [("behind a lock (flock)".to_owned(), 1)]);
    }

    #[test]
    fn a_lock_that_a_thread_comes_out_of_once_is_not_the_one_that_it_waits_behind() {
        let state = state(0);
        let other = Call::FutexWait { address: 0x9000, operation: 0, has_timeout: false };
        let mut waits = ListenerWaits::default();
        // Two threads take turns behind one lock; in the end each comes out of a lock of its own.
        for lock in [LOCK, LOCK, LOCK, other] {
            for who in [1, 2] {
                waits.slice(&slice(who, lock, 1), &state, |_| false);
                waits.slice(&slice(who, EPOLL, 1), &state, |_| false);
            }
        }
        let behind = |threads: u32| [("behind a lock (futex)".to_owned(), threads)];
        // Those that sit in the lock are behind it, and one that sits in the other is not.
        assert_eq!(rows(&waits, &state, &[slice(3, LOCK, 1), slice(4, LOCK, 1)]), behind(4));
        assert_eq!(rows(&waits, &state, &[slice(3, other, 1)]), behind(2));
    }

    #[test]
    fn instance_that_a_thread_makes_for_each_wait_is_told_by_what_was_in_it_then() {
        let mut state = state(0);
        let mut waits = ListenerWaits::default();
        for events in [0, EPOLLEXCLUSIVE] {
            state.descriptors.open(1, 9, DescriptorClass::Epoll, 0);
            state.descriptors.set_interest(1, 9, vec![3], &[events]);
            let wait = Call::EpollWait { epoll_fd: 9, timeout_ms: -1 };
            waits.slice(&slice(1, wait, 1), &state, |_| false);
            state.descriptors.close(1, 9, u64::MAX);
        }
        let told = [("in epoll".to_owned(), 1), ("in epoll, exclusive".to_owned(), 1)];
        assert_eq!(rows(&waits, &state, &[]), told);
        // One that exists at the end is reported as it is then.
        waits.slice(&slice(2, EPOLL, 1), &state, |_| false);
        state.descriptors.share(2, 4);
        let told = rows(&waits, &state, &[]);
        assert_eq!(
            told.iter().filter(|(how, _)| how == "in epoll, one instance for all").count(),
            1,
            "{told:?}"
        );
        assert_eq!(told.iter().map(|(_, threads)| threads).sum::<u32>(), 3, "{told:?}");
    }

    #[test]
    fn the_one_who_never_had_to_wait_for_the_lock_around_accept_is_behind_it_too() {
        let state = state(0);
        let mut waits = ListenerWaits::default();
        for tid in 1..=3 {
            if tid != 3 {
                waits.slice(&slice(tid, LOCK, 1), &state, |_| false);
            }
            waits.slice(&slice(tid, EPOLL, 1), &state, |_| false);
        }
        // Most often it got in at once; the others show the lock.
        for _ in 0..10 {
            waits.slice(&slice(2, EPOLL, 1), &state, |_| false);
        }
        assert_eq!(rows(&waits, &state, &[]), [("behind a lock (futex)".to_owned(), 3)]);
        // Two cannot both hold it.
        waits.slice(&slice(4, EPOLL, 1), &state, |_| false);
        let told = [("in epoll".to_owned(), 2), ("behind a lock (futex)".to_owned(), 2)];
        assert_eq!(rows(&waits, &state, &[]), told);
    }

    #[test]
    fn instance_made_after_the_lock_is_part_of_the_wait_and_one_that_is_changed_is_not() {
        let state = state(0);
        let make = Call::Make { class: DescriptorClass::Epoll };
        let control = Call::EpollControl { epoll_fd: 4, operation: 1, fd: 3, events: 1 };
        for (between, told) in [(&[make, control][..], "behind a lock (futex)"), (&[control], "in epoll")] {
            let mut waits = ListenerWaits::default();
            waits.slice(&slice(1, LOCK, 1), &state, |_| false);
            between.iter().for_each(|call| waits.slice(&slice(1, *call, 0), &state, |_| false));
            waits.slice(&slice(1, EPOLL, 1), &state, |_| false);
            assert_eq!(rows(&waits, &state, &[]), [(told.to_owned(), 1)]);
        }
    }

    #[test]
    fn lock_that_is_seldom_before_a_wait_is_not_around_accept() {
        let state = state(0);
        let mut waits = ListenerWaits::default();
        for number in 0..10 {
            if number == 0 {
                waits.slice(&slice(1, LOCK, 1), &state, |_| false);
            }
            waits.slice(&slice(1, EPOLL, 1), &state, |_| false);
        }
        assert_eq!(rows(&waits, &state, &[]), [("in epoll".to_owned(), 1)]);
    }
}
