//! What of the place where a server runs decides whether one of its options does anything there.
//!
//! In: a [`Snapshot`]. Out: [`Site`], which goes with every question for advice: an option that does nothing,
//! or harm, for this kind of socket cannot be named then.

use crate::model::{Listener, Process, Snapshot};
use crate::server::Role;
use crate::server::queueing::Load;

/// Where a server runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// Every socket that it listens on is TCP, and its own: nobody else holds it, as systemd does with one
    /// that it passes.
    pub own_tcp: bool,
    /// Somebody else holds a socket that it listens on, and may have opened it: its queue is as long as that
    /// one said.
    pub is_shared: bool,
    /// `net.core.somaxconn`, the least of the server's network namespaces; `None`: not known.
    pub somaxconn: Option<u32>,
    /// Worker processes at the end of the window.
    pub workers: u64,
    /// Workers have listeners of their own for one address (`SO_REUSEPORT`): each has a queue that no other
    /// takes from.
    pub is_split: bool,
    /// With listeners of their own for each worker, requests would wait for a busy worker beside a free one,
    /// and longer than wasted wakeups take now. Neither is known: false.
    pub waits_if_split: bool,
    /// With half of the workers requests would wait for one longer than wasted wakeups take now.
    pub waits_if_fewer: bool,
    /// Requests compute enough to wait for one another's GIL, if they shared one. Half as many processes of
    /// gthread with as many threads answered 43 a second in place of 85 (`make mixes`, seed 213766).
    pub computes: bool,
}

/// Share of service time that is computing or waiting to, from which it does.
const COMPUTING_MIN_RATIO: f64 = 0.1;

impl Site {
    /// The site of this server.
    pub fn of(snapshot: &Snapshot) -> Self {
        let works = |process: &&Process| process.role == Role::Worker.name() && process.exit_code.is_none();
        let workers: Vec<u32> = snapshot.processes.iter().filter(works).map(|process| process.tgid).collect();
        // What no worker holds is not for requests: the control socket of gunicorn 27 is its master's alone.
        let serves = |listener: &&Listener| {
            workers.is_empty() || listener.holders.iter().any(|tgid| workers.contains(tgid))
        };
        let open = snapshot.sockets.listeners.iter().filter(|listener| !listener.is_closed);
        let open: Vec<&Listener> = open.filter(serves).collect();
        let is_own_tcp = |listener: &&Listener| {
            matches!(listener.seen.family.as_str(), "tcp" | "tcp6") && listener.foreign.is_empty()
        };
        let (waits_if_split, waits_if_fewer) = waits(snapshot, &open, workers.len() as u64);
        Self {
            own_tcp: !open.is_empty() && open.iter().all(is_own_tcp),
            is_shared: open.iter().any(|listener| !listener.foreign.is_empty()),
            somaxconn: snapshot.sockets.networks.iter().filter_map(|network| network.somaxconn).min(),
            workers: workers.len() as u64,
            is_split: is_split(&open),
            waits_if_split,
            waits_if_fewer,
            computes: snapshot.requests.phases.computing_ratio() >= COMPUTING_MIN_RATIO,
        }
    }
}

/// Whether requests would lose more by waiting than they do by wasted wakeups: with own listeners, with half
/// of the workers.
fn waits(snapshot: &Snapshot, open: &[&Listener], workers: u64) -> (bool, bool) {
    let Some(load) = Load::of(snapshot, workers) else { return (false, false) };
    let in_vain_ns = open.iter().fold(0_u64, |sum, listener| sum.saturating_add(listener.in_vain_cpu_ns()));
    let is_longer = |wait_ns: f64| wait_ns > in_vain_ns as f64;
    (is_longer(load.wait_with_own_queues_ns()), is_longer(load.wait_with_half_ns()))
}

/// Whether two listeners have one address. The kernel allows that only where both asked for it.
fn is_split(open: &[&Listener]) -> bool {
    let mut places: Vec<(&str, &str, u16)> = Vec::with_capacity(open.len());
    for seen in open.iter().map(|listener| &listener.seen).filter(|seen| seen.port > 0) {
        let place = (seen.family.as_str(), seen.address.as_str(), seen.port);
        if places.contains(&place) {
            return true;
        }
        places.push(place);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::ListenerSeen;
    use crate::model::Sockets;

    fn with(sockets: &[(&str, bool)]) -> Site {
        let listener = |(family, passed): &(&str, bool)| Listener {
            seen: ListenerSeen { family: (*family).to_owned(), ..ListenerSeen::default() },
            foreign: if *passed { vec![(1, "systemd".to_owned())] } else { Vec::new() },
            ..Listener::default()
        };
        Site::of(&Snapshot {
            sockets: Sockets { listeners: sockets.iter().map(listener).collect(), ..Sockets::default() },
            ..Snapshot::default()
        })
    }

    #[test]
    fn one_unix_socket_or_one_that_was_passed_is_enough_not_to_be_its_own_tcp() {
        assert!(with(&[("tcp", false), ("tcp6", false)]).own_tcp);
        assert!(!with(&[]).own_tcp, "sockets that were not seen may be any");
        assert!(!with(&[("unix", false)]).own_tcp);
        assert!(!with(&[("tcp", false), ("unix", false)]).own_tcp);
        assert!(!with(&[("tcp", true)]).own_tcp);
        assert!(with(&[("tcp", false), ("unix", true)]).is_shared);
        assert!(!with(&[("tcp", false), ("unix", false)]).is_shared);
    }

    #[test]
    fn two_listeners_with_one_address_are_queues_of_their_own() {
        let split = |of: &[(u64, &str, u16)]| {
            let listener = |(inode, address, port): &(u64, &str, u16)| Listener {
                seen: ListenerSeen {
                    inode: *inode,
                    address: (*address).to_owned(),
                    port: *port,
                    ..ListenerSeen::default()
                },
                ..Listener::default()
            };
            let listeners = of.iter().map(listener).collect();
            let sockets = Sockets { listeners, ..Sockets::default() };
            Site::of(&Snapshot { sockets, ..Snapshot::default() }).is_split
        };
        assert!(split(&[(1, "0.0.0.0:80", 80), (2, "0.0.0.0:80", 80)]));
        assert!(!split(&[(1, "0.0.0.0:80", 80), (2, "0.0.0.0:81", 81)]));
        assert!(!split(&[(1, "127.0.0.1:80", 80), (2, "127.0.0.2:80", 80)]));
        assert!(!split(&[(1, "", 0), (2, "", 0)]), "UNIX sockets have paths of their own");
    }

    #[test]
    fn socket_that_no_worker_holds_is_not_for_requests() {
        let process = |tgid, role: &str| Process { tgid, role: role.to_owned(), ..Process::default() };
        let listener = |family: &str, holders: &[u32]| Listener {
            seen: ListenerSeen { family: family.to_owned(), ..ListenerSeen::default() },
            holders: holders.to_vec(),
            ..Listener::default()
        };
        let site = Site::of(&Snapshot {
            processes: vec![process(1, "master"), process(2, "worker")],
            sockets: Sockets {
                listeners: vec![listener("tcp", &[1, 2]), listener("unix", &[1])],
                ..Sockets::default()
            },
            ..Snapshot::default()
        });
        assert!(site.own_tcp);
        assert_eq!(site.workers, 1);
    }
}
