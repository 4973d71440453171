//! Accept queues of the target's listeners, read several times a second.
//!
//! In: listeners as they become known, the target's processes. Out: facts where something has changed;
//! listeners that are closed. A reading asks the kernel for listeners alone, some 20 µs for each family of
//! addresses that the target listens on.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use profiler_core::fact::queue::{AcceptQueue, AcceptQueues, NetworkCounters};
use profiler_core::fact::{Fact, ListenerSeen};

use super::recent::{Readings, Sockets};
use crate::fact::Proc;
use crate::fact::network::{self, Namespace};
use crate::fact::socket::Queue;
use crate::fact::socket::diag::{Diag, DiagError, Family};

/// Network namespaces that are read.
const MAX_NAMESPACES: usize = 16;
/// Listeners that are read.
const MAX_LISTENERS: usize = 1024;

/// One network namespace of the target.
struct TargetNamespace {
    /// A process in it, by whose `/proc` its counters are read.
    pid: u32,
    /// How its sockets are asked for, or why they cannot be.
    diag: Result<Diag, String>,
    somaxconn: Option<u32>,
}

/// One listener.
struct Known {
    family: Family,
    /// The kernel has listed it: it is closed once the kernel does so no more.
    is_listed: bool,
    /// Processes that were seen to hold it.
    holders: BTreeSet<u32>,
}

/// What the kernel lists.
#[derive(Default)]
struct Listing {
    queues: Vec<AcceptQueue>,
    /// Known listeners that are open, also those whose queue the kernel does not report.
    open: BTreeSet<u64>,
    /// Something was asked for.
    is_any: bool,
    /// Why not everything was listed.
    failed: Option<String>,
}

fn listed(family: Family, diag: &Diag) -> Result<Vec<(u64, Option<Queue>)>, DiagError> {
    let mut sockets = Vec::new();
    diag.list(family, true, &mut |inode, socket| sockets.push((inode, socket.queue())))?;
    Ok(sockets)
}

/// Readers of the queues.
#[derive(Default)]
pub(super) struct Queues {
    readings: Readings,
    namespaces: BTreeMap<Namespace, TargetNamespace>,
    listeners: BTreeMap<u64, Known>,
    /// Listeners that were closed, until that is asked for.
    closed: BTreeSet<u64>,
    last: Option<AcceptQueues>,
    last_counters: BTreeMap<Namespace, NetworkCounters>,
}

impl Queues {
    /// Readers that share what they read with others.
    pub(super) fn sharing(readings: Readings) -> Self {
        Self { readings, ..Self::default() }
    }

    /// These are the processes of the target now.
    pub(super) fn follow(&mut self, proc: &Proc, tgids: &[u32]) {
        let mut there = BTreeSet::new();
        for &pid in tgids {
            let Some(namespace) = network::namespace(proc, pid) else { continue };
            there.insert(namespace);
            if let Some(known) = self.namespaces.get_mut(&namespace) {
                known.pid = pid;
            } else if self.namespaces.len() < MAX_NAMESPACES {
                let diag = Diag::of(proc, pid).map_err(|error| error.to_string());
                self.namespaces.insert(
                    namespace,
                    TargetNamespace { pid, diag, somaxconn: network::somaxconn(proc, pid) },
                );
            }
        }
        self.namespaces.retain(|namespace, _| there.contains(namespace));
    }

    /// A fact goes by: it may be a listener.
    pub(super) fn note(&mut self, fact: &Fact) {
        let Fact::ListenerSeen(ListenerSeen { inode, family, tgid, .. }) = fact else { return };
        let family = match family.as_str() {
            "tcp" => Family::Ipv4,
            "tcp6" => Family::Ipv6,
            _ => Family::Unix,
        };
        if *inode == 0 || self.listeners.len() >= MAX_LISTENERS && !self.listeners.contains_key(inode) {
            return;
        }
        let new = Known { family, is_listed: false, holders: BTreeSet::new() };
        self.listeners.entry(*inode).or_insert(new).holders.insert(*tgid);
    }

    /// Listeners that were closed since this was asked last; `tgids` are the processes of the target now. To
    /// be asked before what the kernel side counted is read for the last time.
    pub(super) fn take_closed(&mut self, tgids: &[u32]) -> BTreeSet<u64> {
        let closed = &mut self.closed;
        self.listeners.retain(|inode, known| {
            known.holders.retain(|tgid| tgids.contains(tgid));
            let is_held = !known.holders.is_empty();
            if !is_held {
                closed.insert(*inode);
            }
            is_held
        });
        std::mem::take(&mut self.closed)
    }

    /// Inodes of the listeners that are known.
    pub(super) fn inodes(&self) -> BTreeSet<u64> {
        self.listeners.keys().copied().collect()
    }

    /// A reading, if anything has changed since the one before.
    pub(super) fn changed(&mut self) -> Option<Fact> {
        let listing = self.list(&|namespace, family, diag| {
            self.readings.sockets.of((namespace, family), || Ok(Rc::new(listed(family, diag)?)))
        });
        self.follow_listing(&listing);
        let now = listing.reading()?;
        if self.last.as_ref() == Some(&now) {
            return None;
        }
        self.last = Some(now.clone());
        Some(Fact::AcceptQueues(now))
    }

    /// Connections that waited for accept at the last reading; `None`: there was none.
    pub(super) fn depth(&self) -> Option<u64> {
        let last = self.last.as_ref().filter(|last| last.not_read.is_none())?;
        Some(last.queues.iter().map(|queue| u64::from(queue.depth)).sum())
    }

    /// A listener that was listed and no longer is has been closed, if everything could be listed.
    fn follow_listing(&mut self, listing: &Listing) {
        let closed = &mut self.closed;
        self.listeners.retain(|inode, known| {
            let is_open = listing.open.contains(inode);
            let ends = listing.is_any && listing.failed.is_none() && known.is_listed && !is_open;
            if ends {
                closed.insert(*inode);
            }
            known.is_listed |= is_open;
            !ends
        });
    }

    /// Counters of the namespaces that have changed since they were read last.
    pub(super) fn counters_changed(&mut self, proc: &Proc) -> Vec<Fact> {
        let now = self.counters(|namespace, pid| {
            let read = || network::counters(proc, pid).ok_or(());
            self.readings.network.of(namespace, read).ok()
        });
        let last = std::mem::replace(&mut self.last_counters, now.clone());
        let changed = now.into_iter().filter(|(namespace, counters)| last.get(namespace) != Some(counters));
        changed.map(|(_, counters)| Fact::NetworkCounters(counters)).collect()
    }

    /// Queues and counters as they stand, changed or not.
    pub(super) fn all(&self, proc: &Proc) -> Vec<Fact> {
        let read = |_, pid| network::counters(proc, pid);
        let counters = self.counters(read).into_values().map(Fact::NetworkCounters);
        self.list(&|_, family, diag| Ok(Rc::new(listed(family, diag)?)))
            .reading()
            .map(Fact::AcceptQueues)
            .into_iter()
            .chain(counters)
            .collect()
    }

    fn list(&self, ask: &dyn Fn(Namespace, Family, &Diag) -> Result<Sockets, DiagError>) -> Listing {
        let mut listing = Listing::default();
        let families: BTreeSet<Family> = self.listeners.values().map(|known| known.family).collect();
        for (namespace, target) in &self.namespaces {
            listing.is_any |= !families.is_empty();
            let diag = match &target.diag {
                Ok(diag) => diag,
                Err(reason) => {
                    listing.failed.get_or_insert_with(|| reason.clone());
                    continue;
                }
            };
            for family in &families {
                let sockets = match ask(*namespace, *family, diag) {
                    Ok(sockets) => sockets,
                    Err(error) => {
                        listing.failed.get_or_insert_with(|| error.to_string());
                        continue;
                    }
                };
                for (inode, queue) in sockets.iter().filter(|(inode, _)| self.listeners.contains_key(inode)) {
                    listing.open.insert(*inode);
                    if let Some(Queue { depth, limit, drops: refused }) = *queue {
                        listing.queues.push(AcceptQueue { inode: *inode, depth, limit, refused });
                    }
                }
            }
        }
        listing.queues.sort_unstable_by_key(|queue| queue.inode);
        listing
    }

    /// `read`: gives the counters of a namespace, by a process in it.
    fn counters(
        &self,
        read: impl Fn(Namespace, u32) -> Option<NetworkCounters>,
    ) -> BTreeMap<Namespace, NetworkCounters> {
        let read = |(namespace, target): (&Namespace, &TargetNamespace)| {
            let counters = read(*namespace, target.pid)?;
            Some((
                *namespace,
                NetworkCounters { namespace: *namespace, somaxconn: target.somaxconn, ..counters },
            ))
        };
        self.namespaces.iter().filter_map(read).collect()
    }
}

impl Listing {
    /// `None`: nothing was asked for.
    fn reading(self) -> Option<AcceptQueues> {
        self.is_any.then_some(AcceptQueues { queues: self.queues, not_read: self.failed })
    }
}
