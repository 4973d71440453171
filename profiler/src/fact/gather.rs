//! All facts of a set of processes, in the order in which they enter the stream.
//!
//! In: processes. Out: [`ServerFacts`]. What vanishes meanwhile is skipped.

use std::collections::{HashMap, HashSet};

use profiler_core::fact::{DescriptorClass, DescriptorSeen, Fact, ListenerSeen, ProcessSeen};
use profiler_core::server::Observed;

use super::descriptor::{Listening, descriptors, listeners, open_files, socket_inode};
use super::process::process_seen;
use super::socket::{Socket, sockets};
use super::{Proc, read};

/// What is known of a server's processes at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerFacts {
    /// Its processes.
    pub processes: Vec<ProcessSeen>,
    /// Its listening sockets, one entry for each process that holds one.
    pub listeners: Vec<ListenerSeen>,
    /// Its open descriptors.
    pub descriptors: Vec<DescriptorSeen>,
    /// Processes whose descriptors this user may not look at.
    pub hidden: Vec<u32>,
}

impl ServerFacts {
    /// As facts: processes first, then listeners, then descriptors.
    pub fn into_facts(self) -> impl Iterator<Item = Fact> {
        let processes = self.processes.into_iter().map(Fact::ProcessSeen);
        let listeners = self.listeners.into_iter().map(Fact::ListenerSeen);
        let descriptors = self.descriptors.into_iter().map(Fact::DescriptorSeen);
        processes.chain(listeners).chain(descriptors)
    }

    /// What the open descriptors alone show of how the server waits for connections.
    #[must_use]
    pub fn observed(&self) -> Observed {
        let listener_fds = |tgid: u32| {
            let of_process = move |seen: &&ListenerSeen| seen.tgid == tgid;
            self.listeners.iter().filter(of_process).map(|seen| seen.fd)
        };
        let in_epoll = self.descriptors.iter().any(|seen| {
            seen.class == DescriptorClass::Epoll
                && listener_fds(seen.tgid).any(|listener| seen.interest.contains(&listener))
        });
        // Without an epoll instance that holds it, a listener is waited for in select or poll; a master never waits.
        let known = !self.listeners.is_empty() && self.hidden.is_empty();
        Observed { listener_in_epoll: known.then_some(in_epoll), ..Observed::default() }
    }
}

/// Reads everything about these processes. New processes can be read later with the same listeners' view by passing
/// the whole tree again.
#[must_use]
pub fn server_facts(proc: &Proc, tgids: &[u32]) -> ServerFacts {
    let mut facts = ServerFacts::default();
    let mut open: Vec<(u32, Vec<(i32, String)>)> = Vec::new();
    for &tgid in tgids {
        let files = open_files(proc, tgid).unwrap_or_else(|_| {
            facts.hidden.push(tgid);
            Vec::new()
        });
        match process_seen(proc, tgid, &files) {
            Ok(seen) => {
                facts.processes.push(seen);
                open.push((tgid, files));
            }
            // Gone, not hidden.
            Err(_) => facts.hidden.retain(|hidden| *hidden != tgid),
        }
    }
    let tables = tables(proc, &open);
    let listening = Listening::among(open.iter().flat_map(|(tgid, files)| {
        let table = tables.of(*tgid);
        files.iter().filter_map(move |(_, target)| table?.get(&socket_inode(target)?))
    }));
    let empty = HashMap::new();
    for (tgid, files) in &open {
        let table = tables.of(*tgid).unwrap_or(&empty);
        facts.listeners.extend(listeners(*tgid, files, table));
        facts.descriptors.extend(descriptors(proc, *tgid, files, table, &listening));
    }
    facts
}

/// Socket tables by network namespace: a server's processes nearly always share one.
struct Tables {
    namespace_of: HashMap<u32, String>,
    tables: HashMap<String, HashMap<u64, Socket>>,
}

impl Tables {
    fn of(&self, tgid: u32) -> Option<&HashMap<u64, Socket>> {
        self.tables.get(self.namespace_of.get(&tgid)?)
    }
}

fn tables(proc: &Proc, open: &[(u32, Vec<(i32, String)>)]) -> Tables {
    let inodes: HashSet<u64> =
        open.iter().flat_map(|(_, files)| files).filter_map(|(_, target)| socket_inode(target)).collect();
    // The neighbour of a nameless UNIX socket tells whether it is half of a pair.
    let wanted = |inode: u64, socket: &Socket| {
        inodes.contains(&inode)
            || (matches!(socket, Socket::Unix { path: None, .. })
                && (inodes.contains(&inode.wrapping_add(1)) || inodes.contains(&inode.wrapping_sub(1))))
    };
    let mut result = Tables { namespace_of: HashMap::new(), tables: HashMap::new() };
    for (tgid, _) in open {
        let namespace = read::link(&proc.of(*tgid, "ns/net")).unwrap_or_default();
        let table = result.tables.entry(namespace.clone()).or_insert_with(|| sockets(proc, *tgid, &wanted));
        // The process read first may have ended before its table was opened.
        if table.is_empty() && !inodes.is_empty() {
            *table = sockets(proc, *tgid, &wanted);
        }
        result.namespace_of.insert(*tgid, namespace);
    }
    result
}
