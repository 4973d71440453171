//! Who waits for which listener, and how.
//!
//! In: calls that slept, the calls that threads are inside at both ends of the window, descriptors. Out:
//! [`Found`] of each listener. A wait shows only its place. The first waits look up what the descriptor is,
//! and what an epoll instance waits for: a thread may make an instance for each wait. The end looks it
//! up again, when more is known.

use crate::bounded::BoundedMap;
use crate::event::{Call, Slice, Tid};
use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::fact::DescriptorClass;
use crate::machine::world::descriptor::EPOLLONESHOT;
use crate::machine::world::state::World;
use crate::model::waiter::{How, Lock, Waiters as Row};
use rustc_hash::FxHashMap;

/// Threads whose waits are kept.
const MAX_THREADS: usize = 16_384;
/// Places kept in which one thread waits. One with more makes an instance for each wait: the first show how.
const MAX_PLACES: usize = 8;
/// Waits in one place that look up their listener.
const MAX_LOOKS: u8 = 2;
/// Locks kept of one thread: a server has one or two around its accept. What is left out was seldom met.
const MAX_LOCKS: usize = 8;
/// Listeners kept of one thread.
const MAX_WAYS: usize = 16;
/// Depth of nested epoll instances: the kernel allows five.
const MAX_DEPTH: usize = 5;
/// Entries of interest lists looked at for one wait, of all nested instances together: two of the longest
/// lists kept.
const MAX_ENTRIES: usize = 8192;
/// include/uapi/linux/eventpoll.h.
const EPOLLEXCLUSIVE: u32 = 1 << 28;
/// See [`EPOLLEXCLUSIVE`].
const EPOLLET: u32 = 1 << 31;

/// Waits of the window.
#[derive(Clone, Debug, Default)]
pub struct ListenerWaits {
    threads: BoundedMap<Tid, Thread, MAX_THREADS>,
    /// Places in which a thread was first seen to wait: process, place, since when. `found`: the listeners
    /// that were found there at once.
    fresh: Vec<(Tid, WaitedIn, u64)>,
    found: Vec<(Tid, u64, u64)>,
    /// Places and listeners that found no place.
    evicted: u64,
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
    /// Waits that came right after a lock; and by lock, as far as there is room.
    locked: u64,
    locks: Vec<((Lock, u64), u64)>,
    /// The call before was a sleep for this lock.
    came_from: Option<(Lock, u64)>,
    /// Since that sleep it has made an epoll instance, to wait in it.
    prepares: bool,
    /// The thread waited for several descriptors that were not read. The next accept shows for which one.
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

    /// Where at least half of its waits come out of a lock: the one that most come out of, of equals the
    /// last.
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
        // The state at the end is known best. For an instance that is gone by then, what was found at the
        // time counts.
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
        let thread = self.threads.get_or_default(slice.tid)?;
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
        let all = ways.len();
        ways.truncate(MAX_WAYS.saturating_sub(thread.ways.len()));
        thread.ways.extend(&ways);
        self.evict(all.saturating_sub(ways.len()));
        if is_fresh && self.fresh.len() < MAX_THREADS {
            self.fresh.push((slice.tgid, place, slice.enter_ns));
        } else {
            self.evict(usize::from(is_fresh));
        }
        if self.found.len() < MAX_THREADS {
            self.found.extend(ways.iter().map(|(inode, _)| (slice.tgid, *inode, slice.enter_ns)));
        } else {
            self.evict(ways.len());
        }
    }

    const fn evict(&mut self, count: usize) {
        self.evicted = self.evicted.saturating_add(count as u64);
    }

    /// What found no place.
    pub const fn evicted(&self) -> u64 {
        self.threads.evicted() + self.evicted
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
                // A thread that came out of a lock is behind it if others show what the lock is for, however
                // seldom it slept there.
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
        // A lock has one holder. The only thread never seen to wait for the lock is the one that always got
        // it at once.
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
        WaitedIn::Epoll(fd) => listeners_in(world, tgid, fd),
    }
}

/// Listeners in an epoll instance and in those within it, each way once. Instances may hold each other: each
/// is looked into once, those that lie least deep first.
fn listeners_in(world: &World, tgid: Tid, epoll_fd: i32) -> Vec<(u64, How)> {
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    let mut instances = vec![(epoll_fd, 0)];
    let mut visited = BTreeSet::from([epoll_fd]);
    let mut looked_into = 0;
    let mut entries = MAX_ENTRIES;
    while let Some(&(epoll_fd, depth)) = instances.get(looked_into) {
        looked_into += 1;
        let Some(instance) = world.descriptors.get(tgid, epoll_fd) else { continue };
        // Needed for listeners alone. Both lists may be long; of equals the first counts.
        let ways_of = LazyCell::new(|| instance.ways.iter().rev().copied().collect::<FxHashMap<i32, u32>>());
        for &fd in instance.interest.iter().take(entries) {
            match world.descriptors.class(tgid, fd) {
                Some(DescriptorClass::Listener) => {
                    let Some(inode) = world.processes.listener_inode(tgid, fd) else { continue };
                    let ways = ways_of.get(&fd).copied().unwrap_or(0);
                    let how = How::Epoll {
                        exclusive: ways & EPOLLEXCLUSIVE != 0,
                        one_shot: ways & EPOLLONESHOT != 0,
                        edge_triggered: ways & EPOLLET != 0,
                        shared: instance.shared,
                        nested: depth > 0,
                    };
                    if known.insert((inode, how)) {
                        found.push((inode, how));
                    }
                }
                Some(DescriptorClass::Epoll) if depth < MAX_DEPTH && visited.insert(fd) => {
                    instances.push((fd, depth + 1));
                }
                _ => {}
            }
        }
        entries = entries.saturating_sub(instance.interest.len());
    }
    found
}

#[cfg(test)]
mod tests;
