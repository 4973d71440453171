//! All facts of a set of processes, in the order in which they enter the stream.
//!
//! In: processes. Out: [`ServerFacts`]. What vanishes meanwhile is skipped.

use std::collections::{HashMap, HashSet};

use profiler_core::fact::{DescriptorClass, DescriptorSeen, Fact, ListenerSeen, ProcessSeen};
use profiler_core::server::{Observed, Role, recognise};

use super::descriptor::{Listening, descriptors, listeners, open_files, socket_inode};
use super::process::process_seen;
use super::same::is_same_file;
use super::socket::{Socket, sockets};
use super::{Proc, read, served};

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

    /// What this one look shows: the workers there are, and how they wait for connections. Masters' event
    /// loops do not count: gunicorn's has one for its control socket.
    pub fn observed(&self, roles: &[(u32, Role)]) -> Observed {
        let workers = roles.iter().filter(|(_, role)| *role == Role::Worker).count();
        let seen =
            Observed { worker_processes: u32::try_from(workers).unwrap_or(u32::MAX), ..Observed::default() };
        let is_worker = |tgid: u32| roles.contains(&(tgid, Role::Worker));
        let mut held = self.listeners.iter().filter(|seen| is_worker(seen.tgid)).peekable();
        if held.peek().is_none() {
            return seen;
        }
        let in_epoll = held.any(|listener| {
            let of_process = self.descriptors.iter().filter(|seen| seen.tgid == listener.tgid);
            of_process
                .filter(|seen| seen.class == DescriptorClass::Epoll)
                .any(|epoll| epoll.interest.contains(&listener.fd))
        });
        Observed { listener_in_epoll: Some(in_epoll), ..seen }
    }
}

/// Reads everything about these processes. New processes can be read later with the same listeners' view by
/// passing the whole tree again.
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
    find_shared(&mut facts.descriptors);
    note_programs(proc, &mut facts);
    facts
}

/// Where command lines and files tell of no server, the frames of the threads may.
fn note_programs(proc: &Proc, facts: &mut ServerFacts) {
    if !recognise(&facts.processes, &facts.listeners).server.is_unknown() {
        return;
    }
    let listen: HashSet<u32> = facts.listeners.iter().map(|listener| listener.tgid).collect();
    served::note(proc, &mut facts.processes, |tgid| listen.contains(&tgid));
}

/// Marks epoll instances that several processes have: an instance that was made before a fork has the same
/// number in both.
fn find_shared(descriptors: &mut [DescriptorSeen]) {
    let mut by_number: HashMap<i32, Vec<usize>> = HashMap::new();
    for (place, seen) in
        descriptors.iter().enumerate().filter(|(_, seen)| seen.class == DescriptorClass::Epoll)
    {
        by_number.entry(seen.fd).or_default().push(place);
    }
    for places in by_number.into_values() {
        let who: Vec<(usize, u32, i32)> = places
            .iter()
            .filter_map(|place| descriptors.get(*place).map(|seen| (*place, seen.tgid, seen.fd)))
            .collect();
        // Neighbours alone: a hostile target can have thousands of processes. What forks inherit they inherit
        // in a row.
        for pair in who.windows(2) {
            let [(one, tgid, fd), (other, other_tgid, _)] = *pair else { continue };
            if is_same_file(tgid, other_tgid, fd) {
                for place in [one, other] {
                    if let Some(seen) = descriptors.get_mut(place) {
                        seen.shared = true;
                    }
                }
            }
        }
    }
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
    // The neighbour of a nameless UNIX socket shows whether it is half of a pair.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(tgid: u32, fd: i32) -> ListenerSeen {
        ListenerSeen { tgid, fd, ..ListenerSeen::default() }
    }

    fn epoll(tgid: u32, interest: &[i32]) -> DescriptorSeen {
        DescriptorSeen {
            tgid,
            fd: 9,
            class: DescriptorClass::Epoll,
            interest: interest.to_vec(),
            interest_events: Vec::new(),
            shared: false,
            local_port: 0,
        }
    }

    #[test]
    fn only_a_worker_that_holds_its_listener_in_epoll_shows_an_event_loop() {
        let roles = [(1, Role::Master), (2, Role::Worker)];
        let of = |listeners: &[ListenerSeen], descriptors: &[DescriptorSeen]| {
            let facts = ServerFacts {
                listeners: listeners.to_vec(),
                descriptors: descriptors.to_vec(),
                ..ServerFacts::default()
            };
            facts.observed(&roles).listener_in_epoll
        };
        let both = [listener(1, 3), listener(1, 5), listener(2, 3)];
        assert_eq!(of(&both, &[epoll(1, &[5]), epoll(2, &[3, 7])]), Some(true));
        assert_eq!(of(&both, &[epoll(1, &[3, 5]), epoll(2, &[7])]), Some(false));
        assert_eq!(of(&[listener(1, 3)], &[epoll(1, &[3])]), None);
    }

    #[test]
    fn facts_of_a_process_that_is_gone_are_left_out() {
        let facts = server_facts(&Proc::default(), &[u32::MAX, std::process::id()]);
        assert_eq!(facts.processes.len(), 1);
        assert!(facts.hidden.is_empty());
        let kinds: Vec<bool> = facts.into_facts().map(|fact| matches!(fact, Fact::ProcessSeen(_))).collect();
        assert!(kinds.len() > 1 && kinds.first() == Some(&true));
    }
}
