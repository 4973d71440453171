//! Processes of the target: which there are, what they are called, when they ended.
//!
//! In: facts about processes and listeners, lifecycle events. Out: names and parents for the timeline and the
//! snapshot, and the facts from which the server is recognised.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::event::{Change, Lifecycle, Tid};
use crate::fact::{ListenerSeen, ProcessSeen};
use crate::loop_kind::{Loaded, LoopKind};

/// Processes and threads remembered at once.
const MAX_ENTRIES: usize = 65_536;
/// How long facts about a process can come after its end: they are read of many at once, and told one after the other.
const LATE_NS: u64 = 10_000_000_000;

/// Inodes from here on stand for listeners of which only the call that made them is known.
const UNKNOWN_INODE: u64 = 1 << 63;

/// All processes seen in the window.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    /// What was seen of each, first sight first.
    pub seen: Vec<ProcessSeen>,
    /// Listeners, one entry per process and descriptor.
    pub listeners: Vec<ListenerSeen>,
    /// Names of threads.
    pub names: FxHashMap<Tid, String>,
    /// Processes that ended in the window, with the kernel's exit code.
    pub ended: FxHashMap<Tid, i64>,
    /// Processes that have runtimes of event loops loaded.
    loaded: FxHashMap<Tid, Loaded>,
    /// The first thread that read a request, of each of these in which nothing else serves (gevent); `None`: another one did, too.
    readers: FxHashMap<Tid, Option<Tid>>,
    /// Processes that ended before the window, a while ago at most: what is told of them late is told of nobody.
    gone: FxHashMap<Tid, u64>,
    /// Threads that ended in the window.
    ended_threads: FxHashSet<Tid>,
    /// Entries that found no place.
    pub evicted: u64,
    /// Listeners so far of which only the call that made them was known.
    unknown: u64,
}

impl Processes {
    /// A process was seen. A second sight of it replaces the first.
    pub fn see(&mut self, process: &ProcessSeen) {
        for (tid, name) in &process.threads {
            self.name(*tid, name);
        }
        self.name(process.tgid, &process.comm);
        self.note_loaded(process.tgid, process);
        if !self.loaded(process.tgid).first(false).is_alone() {
            self.readers.remove(&process.tgid);
        }
        if let Some(known) = self.seen.iter_mut().find(|known| known.tgid == process.tgid) {
            *known = process.clone();
        } else if self.seen.len() < MAX_ENTRIES {
            self.seen.push(process.clone());
        } else {
            self.evicted += 1;
        }
    }

    /// Whether a process has ended and was forgotten: what is told of it only now would be kept for ever.
    #[must_use]
    pub fn is_gone(&self, tgid: Tid) -> bool {
        self.gone.contains_key(&tgid)
    }

    /// What kind of loop a process may run, by what it has loaded; gevent's where one thread alone reads requests. What is loaded says nothing of
    /// what threads do: those of a pool take requests each for itself, whatever the application imports.
    #[must_use]
    pub fn loop_kind(&self, tgid: Tid) -> &'static LoopKind {
        self.loaded(tgid).first(self.readers.get(&tgid) == Some(&None))
    }

    fn loaded(&self, tgid: Tid) -> Loaded {
        self.loaded.get(&tgid).copied().unwrap_or_default()
    }

    fn note_loaded(&mut self, tgid: Tid, process: &ProcessSeen) {
        let loaded = Loaded::of(process);
        if loaded.is_nothing() {
            self.loaded.remove(&tgid);
        } else if self.loaded.len() < MAX_ENTRIES {
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

    /// Whether a process has a loop loaded that uses io_uring for other things than what requests wait for.
    #[must_use]
    pub fn has_rings_of_loop(&self, tgid: Tid) -> bool {
        self.loaded(tgid).have_rings()
    }

    /// A listener was seen.
    pub fn listen(&mut self, listener: &ListenerSeen) {
        let known = self.listeners.iter().any(|other| (other.tgid, other.fd) == (listener.tgid, listener.fd));
        if !known && self.listeners.len() < MAX_ENTRIES {
            self.listeners.push(listener.clone());
        } else if !known {
            self.evicted += 1;
        }
    }

    /// The listener that a process has at a descriptor.
    #[must_use]
    pub fn listener(&self, tgid: Tid, fd: i32) -> Option<&ListenerSeen> {
        self.listeners.iter().find(|seen| (seen.tgid, seen.fd) == (tgid, fd))
    }

    /// A call has made a listener; which one it is will be told.
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

    /// What this descriptor is has become known: all copies of it are the same. Whether nothing was known before.
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

    /// Keeps what is known of a listener under a number that no descriptor has (below 0), and says which; its descriptor may
    /// mean another one from now on. `None`: there is none, or no place.
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
        self.listeners.push(ListenerSeen { fd: aside, ..seen });
        Some(aside)
    }

    /// The descriptor is no listener any more.
    pub fn no_longer(&mut self, tgid: Tid, fd: i32) {
        self.listeners.retain(|seen| (seen.tgid, seen.fd) != (tgid, fd));
    }

    /// Inode of the listener that a process has at a descriptor; `None`: not known.
    #[must_use]
    pub fn listener_inode(&self, tgid: Tid, fd: i32) -> Option<u64> {
        let seen = self.listener(tgid, fd)?;
        Some(seen.inode).filter(|inode| *inode != 0 && *inode < UNKNOWN_INODE)
    }

    /// Whether a process holds the listener.
    #[must_use]
    pub fn holds(&self, tgid: Tid, inode: u64) -> bool {
        self.listeners.iter().any(|seen| seen.fd >= 0 && (seen.tgid, seen.inode) == (tgid, inode))
    }

    /// A thread's life changes. Returns the process that was born, if one was.
    pub fn change(&mut self, lifecycle: &Lifecycle) -> Option<Tid> {
        match lifecycle.change {
            Change::Fork { child_tgid, child_tid } => {
                self.gone.remove(&child_tgid);
                self.ended_threads.remove(&child_tid);
                self.name(child_tid, &lifecycle.comm);
                if child_tgid == child_tid && !self.seen.iter().any(|known| known.tgid == child_tgid) {
                    let parent = self.seen.iter().find(|known| known.tgid == lifecycle.tgid).cloned();
                    let child = ProcessSeen {
                        tgid: child_tgid,
                        parent_tgid: lifecycle.tgid,
                        comm: lifecycle.comm.clone(),
                        threads: vec![(child_tid, lifecycle.comm.clone())],
                        ..parent.unwrap_or_default()
                    };
                    if self.seen.len() < MAX_ENTRIES {
                        self.note_loaded(child_tgid, &child);
                        self.seen.push(child);
                        self.inherit_listeners(lifecycle.tgid, child_tgid);
                    } else {
                        self.evicted += 1;
                    }
                    return Some(child_tgid);
                }
            }
            Change::Exit { code } => {
                if self.ended_threads.len() < MAX_ENTRIES {
                    self.ended_threads.insert(lifecycle.tid);
                }
                if lifecycle.tid == lifecycle.tgid
                    && self.seen.iter().any(|known| known.tgid == lifecycle.tgid)
                {
                    self.ended.insert(lifecycle.tgid, code);
                }
            }
            Change::Exec | Change::Adopted => {
                self.gone.remove(&lifecycle.tgid);
                self.name(lifecycle.tid, &lifecycle.comm);
            }
        }
        None
    }

    /// The next window begins at `time_ns`: what has ended is forgotten, but for the parents of what lives: by them a server is
    /// recognised.
    pub fn roll(&mut self, time_ns: u64) {
        let mut ended = std::mem::take(&mut self.ended);
        let parents: FxHashSet<Tid> =
            self.seen.iter().filter(|p| !ended.contains_key(&p.tgid)).map(|p| p.parent_tgid).collect();
        self.gone.retain(|_, since_ns| since_ns.saturating_add(LATE_NS) > time_ns);
        let forgotten = ended.keys().filter(|tgid| !parents.contains(tgid));
        self.gone.extend(forgotten.take(MAX_ENTRIES).map(|tgid| (*tgid, time_ns)));
        ended.retain(|tgid, _| parents.contains(tgid));
        self.ended = ended;
        let gone = &self.gone;
        self.seen.retain(|process| !gone.contains_key(&process.tgid));
        let known: FxHashSet<Tid> = self.seen.iter().map(|process| process.tgid).collect();
        self.loaded.retain(|tgid, _| known.contains(tgid));
        self.readers.retain(|tgid, _| known.contains(tgid));
        // What was closed has been in the window that ends.
        self.listeners.retain(|listener| !gone.contains_key(&listener.tgid) && listener.fd >= 0);
        for tid in std::mem::take(&mut self.ended_threads) {
            if !known.contains(&tid) {
                self.names.remove(&tid);
            }
        }
        self.evicted = 0;
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
        if !name.is_empty() && (self.names.len() < MAX_ENTRIES || self.names.contains_key(&tid)) {
            self.names.insert(tid, name.to_owned());
        }
    }
}
