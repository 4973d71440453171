//! Processes of the target: which exist, their names, when they ended.
//!
//! In: facts about processes and listeners, lifecycle events. Out: names and parents for the timeline and the
//! snapshot, and the facts from which the server is recognised.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::bounded::BoundedMap;
use crate::event::{Change, Lifecycle, Tid};
use crate::fact::{ListenerSeen, ProcessSeen};
use crate::loop_kind::{Loaded, LoopKind};

/// Processes and threads remembered at once.
const MAX_ENTRIES: usize = 65_536;
/// Bytes of text kept of all processes together: each child begins with a copy of its parent's.
const MAX_TEXT_BYTES: usize = 128 << 20;
/// Environment variables kept of one process.
const MAX_VARIABLES: usize = 64;
/// How long after its end facts about a process can arrive. They are read for many processes at once, and
/// reported one by one.
const LATE_NS: u64 = 10_000_000_000;

/// Inodes from here on stand for listeners of which only the call that made them is known.
const UNKNOWN_INODE: u64 = 1 << 63;

/// All processes seen in the window.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    /// What was seen of each, in order of first sight.
    pub seen: Vec<ProcessSeen>,
    /// Listeners, one entry per process and descriptor.
    pub listeners: Vec<ListenerSeen>,
    /// Where each process stands in `seen`.
    places: FxHashMap<Tid, usize>,
    /// How many processes in `seen` each has started.
    children: FxHashMap<Tid, usize>,
    /// Where each listener stands in `listeners`, by process and descriptor.
    listener_places: FxHashMap<(Tid, i32), usize>,
    /// Bytes of text in `seen`.
    text_bytes: usize,
    /// Names of threads.
    pub names: BoundedMap<Tid, String, MAX_ENTRIES>,
    /// Processes that ended in the window, with the kernel's exit code.
    pub ended: FxHashMap<Tid, i64>,
    /// Event-loop runtimes that processes have loaded.
    loaded: FxHashMap<Tid, Loaded>,
    /// For each of these in which nothing else serves (gevent): the first thread that read a request.
    /// `None`: another thread did, too.
    readers: FxHashMap<Tid, Option<Tid>>,
    /// Processes that ended shortly before the window. Facts that arrive late about them belong to nobody.
    gone: FxHashMap<Tid, u64>,
    /// Threads that ended in the window.
    ended_threads: FxHashSet<Tid>,
    /// Other entries that found no place.
    evicted: u64,
    /// Number of listeners so far of which only the call that made them was known.
    unknown: u64,
}

impl Processes {
    /// A process was seen. A second sight of it replaces the first, but for the environment that its program
    /// began with: a title is written over that.
    pub fn see(&mut self, process: &ProcessSeen) {
        for (tid, name) in &process.threads {
            self.name(*tid, name);
        }
        self.name(process.tgid, &process.comm);
        if let Some(known) = self.places.get(&process.tgid).and_then(|place| self.seen.get_mut(*place)) {
            self.text_bytes = self.text_bytes.saturating_sub(text_bytes(known));
            let before = std::mem::replace(known, process.clone());
            has_one_less(&mut self.children, before.parent_tgid);
            *self.children.entry(process.parent_tgid).or_default() += 1;
            self.evicted += u64::from(!keep_environment(known, before));
            self.text_bytes = self.text_bytes.saturating_add(text_bytes(known));
        } else if self.seen.len() < MAX_ENTRIES {
            self.enter(process.clone());
        } else {
            self.evicted += 1;
            return;
        }
        self.note_loaded(process.tgid, process);
        if !self.loaded(process.tgid).first(false).is_alone() {
            self.readers.remove(&process.tgid);
        }
    }

    /// Whether a process is in `seen`.
    pub fn is_seen(&self, tgid: Tid) -> bool {
        self.places.contains_key(&tgid)
    }

    fn enter(&mut self, process: ProcessSeen) {
        self.text_bytes = self.text_bytes.saturating_add(text_bytes(&process));
        self.places.insert(process.tgid, self.seen.len());
        *self.children.entry(process.parent_tgid).or_default() += 1;
        self.seen.push(process);
    }

    fn keep_processes(&mut self, keeps: impl Fn(Tid) -> bool) {
        self.seen.retain(|process| keeps(process.tgid));
        self.places = self.seen.iter().zip(0..).map(|(process, place)| (process.tgid, place)).collect();
        self.text_bytes = self.seen.iter().map(text_bytes).sum();
        self.children.clear();
        for process in &self.seen {
            *self.children.entry(process.parent_tgid).or_default() += 1;
        }
    }

    fn take_out(&mut self, tgid: Tid) {
        let Some(place) = self.places.remove(&tgid).filter(|place| *place < self.seen.len()) else { return };
        let process = self.seen.remove(place);
        self.text_bytes = self.text_bytes.saturating_sub(text_bytes(&process));
        has_one_less(&mut self.children, process.parent_tgid);
        self.places.values_mut().filter(|other| **other > place).for_each(|other| *other -= 1);
    }

    fn enter_listener(&mut self, listener: ListenerSeen) {
        self.listener_places.insert((listener.tgid, listener.fd), self.listeners.len());
        self.listeners.push(listener);
    }

    fn keep_listeners(&mut self, keeps: impl Fn(&ListenerSeen) -> bool) {
        self.listeners.retain(keeps);
        let places = self.listeners.iter().zip(0..);
        self.listener_places = places.map(|(seen, place)| ((seen.tgid, seen.fd), place)).collect();
    }

    /// What a child begins with: all that its parent is, as far as there is room for another copy of its
    /// text.
    fn inherited(&mut self, parent: Tid) -> ProcessSeen {
        let Some(parent) = self.places.get(&parent).and_then(|place| self.seen.get(*place)) else {
            return ProcessSeen::default();
        };
        if self.text_bytes.saturating_add(text_bytes(parent)) > MAX_TEXT_BYTES {
            self.evicted += 1;
            return ProcessSeen::default();
        }
        parent.clone()
    }

    /// Whether a process has ended and was forgotten. Facts that arrive about it only now would be kept for
    /// ever.
    pub fn is_gone(&self, tgid: Tid) -> bool {
        self.gone.contains_key(&tgid)
    }

    /// What kind of loop a process may run, by what it has loaded. gevent's counts only where a single thread
    /// reads requests. What is loaded does not show what threads do: a pool's threads each take requests
    /// for themselves, whatever the application imports.
    pub fn loop_kind(&self, tgid: Tid) -> &'static LoopKind {
        self.loaded(tgid).first(self.readers.get(&tgid) == Some(&None))
    }

    fn loaded(&self, tgid: Tid) -> Loaded {
        self.loaded.get(&tgid).copied().unwrap_or_default()
    }

    /// What a process has loaded that is in `seen`: there are no more than that has.
    fn note_loaded(&mut self, tgid: Tid, process: &ProcessSeen) {
        let loaded = Loaded::of(process);
        if loaded.is_nothing() {
            self.loaded.remove(&tgid);
        } else {
            self.loaded.insert(tgid, loaded);
        }
    }

    /// A thread has read from a client.
    pub fn reads(&mut self, tgid: Tid, tid: Tid) {
        if self.loaded(tgid).first(false).is_alone() {
            let first = self.readers.entry(tgid).or_insert(Some(tid));
            if *first != Some(tid) {
                *first = None;
            }
        }
    }

    /// Whether a process has loaded a loop that uses io_uring for things that requests do not wait for.
    pub fn has_rings_of_loop(&self, tgid: Tid) -> bool {
        self.loaded(tgid).have_rings()
    }

    /// A listener was seen.
    pub fn listen(&mut self, listener: &ListenerSeen) {
        let known = self.listener_places.contains_key(&(listener.tgid, listener.fd));
        if !known && self.listeners.len() < MAX_ENTRIES {
            self.enter_listener(listener.clone());
        } else if !known {
            self.evicted += 1;
        }
    }

    /// Whether a process has started others that are seen.
    pub fn has_children(&self, tgid: Tid) -> bool {
        self.children.contains_key(&tgid)
    }

    /// The listener that a process has at a descriptor.
    pub fn listener(&self, tgid: Tid, fd: i32) -> Option<&ListenerSeen> {
        self.listeners.get(*self.listener_places.get(&(tgid, fd))?)
    }

    /// A call has made a listener; which one it is becomes known later.
    pub fn listen_unknown(&mut self, tgid: Tid, fd: i32) {
        self.unknown = self.unknown.saturating_add(1);
        let address = "(not known)".to_owned();
        self.listen(&ListenerSeen {
            tgid,
            fd,
            inode: UNKNOWN_INODE | self.unknown,
            address,
            ..ListenerSeen::default()
        });
    }

    /// What this descriptor is has become known. All its copies are the same listener. Returns whether
    /// nothing was known before.
    pub fn identify(&mut self, seen: &ListenerSeen) -> bool {
        let Some(unknown) = self.listener(seen.tgid, seen.fd).map(|known| known.inode) else { return false };
        if unknown < UNKNOWN_INODE {
            return false;
        }
        for copy in self.listeners.iter_mut().filter(|copy| copy.inode == unknown) {
            *copy = ListenerSeen { tgid: copy.tgid, fd: copy.fd, ..seen.clone() };
        }
        true
    }

    /// Keeps what is known of a listener under a number that no descriptor has (below 0), and returns that
    /// number. The descriptor may mean another listener from now on. `None`: there is no listener, or no
    /// room.
    pub fn set_aside(&mut self, tgid: Tid, fd: i32) -> Option<i32> {
        let seen = self.listener(tgid, fd)?.clone();
        let same = |other: &&ListenerSeen| {
            other.tgid == tgid && other.fd < 0 && (other.inode, &other.address) == (seen.inode, &seen.address)
        };
        if let Some(known) = self.listeners.iter().find(same) {
            return Some(known.fd);
        }
        if self.listeners.len() >= MAX_ENTRIES {
            self.evicted += 1;
            return None;
        }
        let lowest = self.listeners.iter().filter(|other| other.tgid == tgid).map(|other| other.fd).min();
        let aside = lowest.unwrap_or(0).min(-1).saturating_sub(1);
        self.enter_listener(ListenerSeen { fd: aside, ..seen });
        Some(aside)
    }

    /// The descriptor is no listener any more.
    pub fn no_longer(&mut self, tgid: Tid, fd: i32) {
        if self.listener_places.contains_key(&(tgid, fd)) {
            self.keep_listeners(|seen| (seen.tgid, seen.fd) != (tgid, fd));
        }
    }

    /// Inode of the listener that a process has at a descriptor; `None`: not known.
    pub fn listener_inode(&self, tgid: Tid, fd: i32) -> Option<u64> {
        let seen = self.listener(tgid, fd)?;
        Some(seen.inode).filter(|inode| *inode != 0 && *inode < UNKNOWN_INODE)
    }

    /// A listener at a TCP port of the target's own.
    pub fn listener_at(&self, port: u16) -> Option<&ListenerSeen> {
        self.listeners.iter().find(|listener| port > 0 && listener.port == port)
    }

    /// A listener of the target's own.
    pub fn listener_of(&self, inode: u64) -> Option<&ListenerSeen> {
        self.listeners.iter().find(|listener| inode > 0 && listener.inode == inode)
    }

    /// Whether a process holds the listener.
    pub fn holds(&self, tgid: Tid, inode: u64) -> bool {
        self.listeners.iter().any(|seen| seen.fd >= 0 && (seen.tgid, seen.inode) == (tgid, inode))
    }

    /// A thread's life changes. Returns the process that was born, if one was.
    pub fn change(&mut self, lifecycle: &Lifecycle) -> Option<Tid> {
        match lifecycle.change {
            Change::Fork { child_tgid, child_tid, .. } => {
                self.gone.remove(&child_tgid);
                self.ended_threads.remove(&child_tid);
                self.name(child_tid, &lifecycle.comm);
                if child_tgid == child_tid && self.ended.remove(&child_tgid).is_some() {
                    self.number_is_given_again(child_tgid);
                }
                if child_tgid == child_tid && !self.is_seen(child_tgid) {
                    if self.seen.len() < MAX_ENTRIES {
                        let child = ProcessSeen {
                            tgid: child_tgid,
                            parent_tgid: lifecycle.tgid,
                            comm: lifecycle.comm.clone(),
                            threads: vec![(child_tid, lifecycle.comm.clone())],
                            ..self.inherited(lifecycle.tgid)
                        };
                        self.note_loaded(child_tgid, &child);
                        self.enter(child);
                        self.inherit_listeners(lifecycle.tgid, child_tgid);
                    } else {
                        self.evicted += 1;
                    }
                    return Some(child_tgid);
                }
            }
            Change::Exit { code } => {
                if self.ended_threads.len() < MAX_ENTRIES {
                    // The name of one without room here stays, in a table that counts.
                    self.ended_threads.insert(lifecycle.tid);
                }
                if lifecycle.tid == lifecycle.tgid && self.is_seen(lifecycle.tgid) {
                    self.ended.insert(lifecycle.tgid, code);
                }
            }
            Change::Exec => {
                self.gone.remove(&lifecycle.tgid);
                self.name(lifecycle.tid, &lifecycle.comm);
                // The new program's has not been read yet.
                let place = self.places.get(&lifecycle.tgid);
                if let Some(known) = place.and_then(|place| self.seen.get_mut(*place)) {
                    self.text_bytes = self.text_bytes.saturating_sub(text_bytes(known));
                    known.environment.clear();
                    self.text_bytes = self.text_bytes.saturating_add(text_bytes(known));
                }
            }
            Change::Adopted => {
                self.gone.remove(&lifecycle.tgid);
                self.name(lifecycle.tid, &lifecycle.comm);
            }
        }
        None
    }

    /// The next window begins at `time_ns`. Ended processes are forgotten, except the parents of living ones:
    /// by them a server is recognised.
    pub fn roll(&mut self, time_ns: u64) {
        let mut ended = std::mem::take(&mut self.ended);
        let parents: FxHashSet<Tid> =
            self.seen.iter().filter(|p| !ended.contains_key(&p.tgid)).map(|p| p.parent_tgid).collect();
        self.gone.retain(|_, since_ns| since_ns.saturating_add(LATE_NS) > time_ns);
        // No more than `seen` had.
        let forgotten = ended.keys().filter(|tgid| !parents.contains(tgid));
        self.gone.extend(forgotten.take(MAX_ENTRIES).map(|tgid| (*tgid, time_ns)));
        ended.retain(|tgid, _| parents.contains(tgid));
        self.ended = ended;
        let gone = std::mem::take(&mut self.gone);
        self.keep_processes(|tgid| !gone.contains_key(&tgid));
        // Closed listeners were part of the window that ends.
        self.keep_listeners(|listener| !gone.contains_key(&listener.tgid) && listener.fd >= 0);
        self.gone = gone;
        let known = &self.places;
        self.loaded.retain(|tgid, _| known.contains_key(tgid));
        self.readers.retain(|tgid, _| known.contains_key(tgid));
        for tid in std::mem::take(&mut self.ended_threads) {
            if !known.contains_key(&tid) {
                self.names.remove(&tid);
            }
        }
    }

    /// Nothing that is known of a process that has ended is true of the next one with its number. Its
    /// listeners stay part of the window, as closed ones.
    fn number_is_given_again(&mut self, tgid: Tid) {
        self.take_out(tgid);
        self.loaded.remove(&tgid);
        self.readers.remove(&tgid);
        let held = self.listeners.iter().filter(|seen| seen.tgid == tgid && seen.fd >= 0);
        let held: Vec<i32> = held.map(|seen| seen.fd).collect();
        for fd in held {
            self.set_aside(tgid, fd);
            self.no_longer(tgid, fd);
        }
    }

    fn inherit_listeners(&mut self, parent: Tid, child: Tid) {
        let inherited: Vec<_> = self
            .listeners
            .iter()
            .filter(|listener| listener.tgid == parent && listener.fd >= 0)
            .map(|listener| ListenerSeen { tgid: child, ..listener.clone() })
            .collect();
        for listener in &inherited {
            self.listen(listener);
        }
    }

    fn name(&mut self, tid: Tid, name: &str) {
        if !name.is_empty() {
            self.names.insert(tid, name.to_owned());
        }
    }

    /// Entries that found no place.
    pub const fn evicted(&self) -> u64 {
        self.names.evicted() + self.evicted
    }
}

/// Adds what the sight before shows of the environment and this one no longer does, if both are of the same
/// program. Returns whether there was room.
fn keep_environment(known: &mut ProcessSeen, before: ProcessSeen) -> bool {
    if known.executable != before.executable {
        return true;
    }
    for (name, value) in before.environment {
        if known.environment.len() >= MAX_VARIABLES {
            return false;
        }
        if !known.environment.iter().any(|(other, _)| *other == name) {
            known.environment.push((name, value));
        }
    }
    true
}

fn has_one_less(children: &mut FxHashMap<Tid, usize>, parent: Tid) {
    if let Some(count) = children.get_mut(&parent).filter(|count| **count > 1) {
        *count -= 1;
    } else {
        children.remove(&parent);
    }
}

/// Bytes that a process's text takes, each piece with what it is kept in.
fn text_bytes(process: &ProcessSeen) -> usize {
    let names = [&process.comm, &process.executable].into_iter();
    let versions = [&process.python_version, &process.server_version].into_iter().flatten();
    let paths = [&process.configuration_file, &process.cgroup].into_iter().flatten();
    let lists = process.command_line.iter().chain(&process.mapped_files);
    let threads = process.threads.iter().map(|(_, name)| name);
    let pairs = process.environment.iter().chain(&process.configuration);
    let pairs = pairs.flat_map(|(name, value)| [name, value]);
    let all = names.chain(versions).chain(paths).chain(lists).chain(threads).chain(pairs);
    all.map(|text| text.len() + size_of::<String>()).sum()
}

#[cfg(test)]
mod tests;
