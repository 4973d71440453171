//! Accept queues of the target's listeners, read several times a second.
//!
//! In: listeners as they become known, the target's processes. Out: facts where something has changed. A reading asks the
//! kernel for listeners alone, some 20 µs for each family of addresses that the target listens on.

use std::collections::{BTreeMap, BTreeSet};

use profiler_core::fact::queue::{AcceptQueue, AcceptQueues, NetworkCounters};
use profiler_core::fact::{Fact, ListenerSeen};

use crate::fact::Proc;
use crate::fact::network::{self, Namespace};
use crate::fact::socket::diag::{Diag, Family};

/// Network namespaces that are read.
const MAX_NAMESPACES: usize = 16;
/// Listeners that are read.
const MAX_LISTENERS: usize = 1024;

/// One network namespace of the target.
struct Place {
    /// A process in it, by whose `/proc` its counters are read.
    pid: u32,
    diag: Option<Diag>,
    somaxconn: Option<u32>,
}

/// Readers of the queues.
#[derive(Default)]
pub(super) struct Queues {
    places: BTreeMap<Namespace, Place>,
    listeners: BTreeMap<u64, Family>,
    last: Option<AcceptQueues>,
    last_counters: BTreeMap<Namespace, NetworkCounters>,
}

impl Queues {
    /// These are the processes of the target now.
    pub(super) fn follow(&mut self, proc: &Proc, tgids: &[u32]) {
        let mut there = BTreeSet::new();
        for &pid in tgids {
            let Some(namespace) = network::namespace(proc, pid) else { continue };
            there.insert(namespace);
            if let Some(place) = self.places.get_mut(&namespace) {
                place.pid = pid;
            } else if self.places.len() < MAX_NAMESPACES {
                let diag = Diag::of(proc, pid).ok();
                self.places.insert(namespace, Place { pid, diag, somaxconn: network::somaxconn(proc, pid) });
            }
        }
        self.places.retain(|namespace, _| there.contains(namespace));
    }

    /// A fact goes by: it may be a listener.
    pub(super) fn note(&mut self, fact: &Fact) {
        let Fact::ListenerSeen(ListenerSeen { inode, family, .. }) = fact else { return };
        let family = match family.as_str() {
            "tcp" => Family::Ipv4,
            "tcp6" => Family::Ipv6,
            _ => Family::Unix,
        };
        if *inode != 0 && self.listeners.len() < MAX_LISTENERS {
            self.listeners.insert(*inode, family);
        }
    }

    /// Inodes of the listeners that are known.
    pub(super) fn inodes(&self) -> BTreeSet<u64> {
        self.listeners.keys().copied().collect()
    }

    /// A reading, if anything has changed since the one before.
    pub(super) fn changed(&mut self) -> Option<Fact> {
        let now = self.read()?;
        if self.last.as_ref() == Some(&now) {
            return None;
        }
        self.last = Some(now.clone());
        Some(Fact::AcceptQueues(now))
    }

    /// Counters of the namespaces that have changed since they were read last.
    pub(super) fn counters_changed(&mut self, proc: &Proc) -> Vec<Fact> {
        let now = self.counters(proc);
        let last = std::mem::replace(&mut self.last_counters, now.clone());
        let changed = now.into_iter().filter(|(namespace, counters)| last.get(namespace) != Some(counters));
        changed.map(|(_, counters)| Fact::NetworkCounters(counters)).collect()
    }

    /// Queues and counters as they stand, changed or not.
    pub(super) fn all(&self, proc: &Proc) -> Vec<Fact> {
        let counters = self.counters(proc).into_values().map(Fact::NetworkCounters);
        self.read().map(Fact::AcceptQueues).into_iter().chain(counters).collect()
    }

    /// `None`: no queue can be read here.
    fn read(&self) -> Option<AcceptQueues> {
        let mut queues = Vec::new();
        let mut asked = false;
        let families: BTreeSet<Family> = self.listeners.values().copied().collect();
        for diag in self.places.values().filter_map(|place| place.diag.as_ref()) {
            for family in &families {
                let listed = diag.list(*family, true, &mut |inode, socket| {
                    if let Some(queue) = socket.queue().filter(|_| self.listeners.contains_key(&inode)) {
                        let (depth, limit, refused) = (queue.depth, queue.limit, queue.drops);
                        queues.push(AcceptQueue { inode, depth, limit, refused });
                    }
                });
                asked |= listed.is_ok();
            }
        }
        queues.sort_unstable_by_key(|queue| queue.inode);
        asked.then_some(AcceptQueues { queues })
    }

    fn counters(&self, proc: &Proc) -> BTreeMap<Namespace, NetworkCounters> {
        let read = |(namespace, place): (&Namespace, &Place)| {
            let counters = network::counters(proc, place.pid)?;
            Some((
                *namespace,
                NetworkCounters { namespace: *namespace, somaxconn: place.somaxconn, ..counters },
            ))
        };
        self.places.iter().filter_map(read).collect()
    }
}
