//! Sockets that threads wait for: their addresses, how they stand, the other end.
//!
//! In: inodes, the network namespaces of processes. Out: [`Connection`], [`Unix`]. The addresses of a TCP
//! socket are found in a list of all, which is taken no more often than costs a hundredth of a core; from
//! then on it is asked for alone. An other end is one only if the same namespace has a socket with the same
//! two addresses: never beyond address translation.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use profiler_core::fact::asleep::ConnectionState;

use crate::fact::Proc;
use crate::fact::budget::{Budget, Spent};
use crate::fact::network::{Namespace, namespace};
use crate::fact::socket::diag::Diag;
use crate::fact::socket::exact::Listener;
use crate::fact::socket::{Socket, Tcp};

/// So long a list of connections that nobody has accepted serves the sockets that are looked at together.
const TOGETHER: Duration = Duration::from_millis(20);
/// Namespaces asked.
const MAX_NAMESPACES: usize = 16;
/// Sockets of which the addresses are remembered.
const MAX_KNOWN: usize = 65_536;

/// States of TCP (`include/net/tcp_states.h`).
const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
const LISTEN: u8 = 10;
const NEW_SYN_RECV: u8 = 12;
const SYN_RECV: u8 = 3;

/// A TCP socket of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Connection {
    /// Own address.
    pub(super) local: String,
    /// The other end's; empty: it has none.
    pub(super) peer: String,
    /// How it stands.
    pub(super) state: ConnectionState,
    /// Inode of the other end, if that is a socket of the same namespace that somebody has open; of the
    /// listener, where nobody has accepted the connection.
    pub(super) other_end: Option<u64>,
}

/// A UNIX socket of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unix {
    /// Path of the listener.
    pub(super) path: String,
    /// Inode of the other end.
    pub(super) other_end: Option<u64>,
    /// Inode of the listener at which nobody has accepted the connection yet.
    pub(super) waits_at: Option<u64>,
}

/// Asks for sockets.
#[derive(Default)]
pub(super) struct Sockets {
    /// `None`: it cannot be asked.
    namespaces: BTreeMap<Namespace, Option<Diag>>,
    known: BTreeMap<(Namespace, u64), (SocketAddr, SocketAddr)>,
    /// UNIX connections that nobody had accepted a moment ago, in one namespace.
    not_accepted: Option<(Namespace, Instant, BTreeMap<u64, Listener>)>,
    /// For lists.
    budget: Budget,
}

impl Sockets {
    /// When the next list may be taken; `None`: now.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.budget.pause()
    }

    /// A TCP socket of a process; `None`: it is not found, or not yet.
    pub(super) fn tcp(&mut self, proc: &Proc, tgid: u32, inode: u64, is_v6: bool) -> Option<Connection> {
        let namespace = namespace(proc, tgid)?;
        self.enter(proc, tgid, namespace)?;
        let diag = self.namespaces.get(&namespace)?.as_ref()?;
        let known = self.known.get(&(namespace, inode)).copied();
        let mut found = known.and_then(|(local, peer)| diag.tcp(local, peer).ok().flatten());
        if found.is_none_or(|tcp| tcp.inode != inode) {
            // New, closed meanwhile, or a listener, which has no pair of addresses.
            self.known.remove(&(namespace, inode));
            found = self.list(namespace, inode, is_v6);
        }
        let tcp = found?;
        let diag = self.namespaces.get(&namespace)?.as_ref()?;
        let mut other_end =
            if tcp.state == LISTEN { None } else { diag.tcp(tcp.peer, tcp.local).ok().flatten() };
        let mut state = state(&tcp);
        // The other end has an inode from accept on. Until then its listener's processes stand there.
        if other_end.is_some_and(|other| other.inode == 0) && is_open(state) {
            state = ConnectionState::NotAccepted;
            let listener = diag.tcp(tcp.peer, nobody(tcp.peer)).ok().flatten();
            other_end = listener.filter(|found| found.state == LISTEN);
        }
        Some(Connection {
            local: said(tcp.local),
            peer: if tcp.state == LISTEN { String::new() } else { said(tcp.peer) },
            state,
            other_end: other_end.map(|other| other.inode).filter(|inode| *inode != 0),
        })
    }

    /// A UNIX socket of a process.
    pub(super) fn unix(&mut self, proc: &Proc, tgid: u32, inode: u64) -> Option<Unix> {
        let namespace = namespace(proc, tgid)?;
        self.enter(proc, tgid, namespace)?;
        let diag = self.namespaces.get(&namespace)?.as_ref()?;
        let Socket::Unix { path, peer, connected, .. } = diag.unix(inode).ok().flatten()? else {
            return None;
        };
        let other_end = peer.filter(|inode| *inode != 0);
        // The other end has an inode from accept on. Who is asked for meanwhile a list of listeners says.
        if connected && other_end.is_none() {
            let listener = self.listener_of(namespace, inode);
            let (waits_at, path) = listener.map_or((None, None), |(listener, path)| (Some(listener), path));
            return Some(Unix { path: path.unwrap_or_default(), other_end, waits_at });
        }
        let of_peer = || match diag.unix(peer?).ok().flatten()? {
            Socket::Unix { path, .. } => path,
            Socket::Tcp { .. } => None,
        };
        Some(Unix { path: path.or_else(of_peer).unwrap_or_default(), other_end, waits_at: None })
    }

    /// Who a UNIX connection waits for to accept it: by a list that serves all sockets that are looked at
    /// together.
    fn listener_of(&mut self, namespace: Namespace, inode: u64) -> Option<Listener> {
        let is_fresh = |(of, at, _): &(Namespace, Instant, BTreeMap<u64, Listener>)| {
            *of == namespace && at.elapsed() < TOGETHER
        };
        if !self.not_accepted.as_ref().is_some_and(is_fresh) && self.budget.pause().is_none() {
            let diag = self.namespaces.get(&namespace)?.as_ref()?;
            let spent = Spent::begin();
            let listed = diag.not_accepted().ok();
            self.budget.spend(spent);
            self.not_accepted = Some((namespace, Instant::now(), listed.unwrap_or_default()));
        }
        let (.., listed) = self.not_accepted.as_ref().filter(|known| is_fresh(known))?;
        listed.get(&inode).cloned()
    }

    fn enter(&mut self, proc: &Proc, tgid: u32, namespace: Namespace) -> Option<()> {
        if !self.namespaces.contains_key(&namespace) {
            if self.namespaces.len() >= MAX_NAMESPACES {
                return None;
            }
            self.namespaces.insert(namespace, Diag::of(proc, tgid).ok());
        }
        Some(())
    }

    /// Takes a list of all sockets, and finds one in it.
    fn list(&mut self, namespace: Namespace, inode: u64, is_v6: bool) -> Option<Tcp> {
        if self.pause().is_some() {
            return None;
        }
        let spent = Spent::begin();
        let diag = self.namespaces.get(&namespace)?.as_ref()?;
        let known = &mut self.known;
        known.retain(|(of, _), _| *of != namespace);
        let mut found = None;
        // What was listed before a failure is true.
        let _ = diag.all_tcp(is_v6, &mut |tcp| {
            if tcp.inode == inode {
                found = Some(tcp);
            }
            if known.len() < MAX_KNOWN && tcp.state != LISTEN {
                known.insert((namespace, tcp.inode), (tcp.local, tcp.peer));
            }
        });
        self.budget.spend(spent);
        found
    }
}

/// An address as everyone writes it: one of IPv4 in IPv6 as that of IPv4.
fn said(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

/// An address of the same family that nobody has: a socket with that peer is a listener.
fn nobody(of: SocketAddr) -> SocketAddr {
    let host: IpAddr = if of.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(host, 0)
}

/// Whether a connection is one that both ends have made, and neither has closed.
const fn is_open(state: ConnectionState) -> bool {
    matches!(state, ConnectionState::Acknowledged | ConnectionState::InFlight | ConnectionState::WindowZero)
}

/// How a connection stands.
const fn state(tcp: &Tcp) -> ConnectionState {
    match tcp.state {
        LISTEN => ConnectionState::Unknown,
        SYN_SENT | SYN_RECV | NEW_SYN_RECV => ConnectionState::Connecting,
        // Having said that nothing more comes, one may wait for the answer.
        ESTABLISHED | FIN_WAIT1 | FIN_WAIT2 => {
            if tcp.retransmits > 0 {
                ConnectionState::Retransmitting
            } else if tcp.probes_window {
                ConnectionState::WindowZero
            } else if tcp.unacknowledged_bytes == 0 {
                ConnectionState::Acknowledged
            } else {
                ConnectionState::InFlight
            }
        }
        _ => ConnectionState::Closed,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn inode(file: &impl std::os::fd::AsRawFd) -> u64 {
        std::fs::metadata(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap().ino()
    }

    fn tcp(state: u8, retransmits: u8, probes_window: bool, unacknowledged_bytes: u32) -> ConnectionState {
        let any = SocketAddr::from(([127, 0, 0, 1], 1));
        super::state(&Tcp {
            inode: 1,
            local: any,
            peer: any,
            state,
            retransmits,
            probes_window,
            unacknowledged_bytes,
        })
    }

    #[test]
    fn a_connection_stands_as_its_state_timer_and_queue_say() {
        assert_eq!(tcp(SYN_SENT, 2, false, 1), ConnectionState::Connecting);
        assert_eq!(tcp(ESTABLISHED, 1, false, 9), ConnectionState::Retransmitting);
        assert_eq!(tcp(ESTABLISHED, 0, true, 9), ConnectionState::WindowZero);
        assert_eq!(tcp(ESTABLISHED, 0, false, 9), ConnectionState::InFlight);
        assert_eq!(tcp(ESTABLISHED, 0, false, 0), ConnectionState::Acknowledged);
        assert_eq!(tcp(FIN_WAIT2, 0, false, 0), ConnectionState::Acknowledged);
        assert_eq!(tcp(8, 0, false, 0), ConnectionState::Closed);
        assert_eq!(tcp(LISTEN, 0, false, 0), ConnectionState::Unknown);
    }

    #[test]
    fn addresses_are_found_once_and_asked_for_from_then_on() {
        let proc = Proc::default();
        let own = std::process::id();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, peer) = listener.accept().unwrap();
        let mut sockets = Sockets::default();
        let found = sockets.tcp(&proc, own, inode(&near), false).unwrap();
        assert_eq!(found.local, peer.to_string());
        assert_eq!(found.peer, listener.local_addr().unwrap().to_string());
        assert_eq!((found.state, found.other_end), (ConnectionState::Acknowledged, Some(inode(&far))));
        assert!(sockets.pause().is_some());
        // No list is needed any more, and none may be taken.
        assert!(sockets.tcp(&proc, own, inode(&near), false).is_some());
        assert!(sockets.tcp(&proc, own, inode(&listener), false).is_none(), "not before the next list");
        // The other end reads nothing, until its window is closed.
        near.set_nonblocking(true).unwrap();
        while near.write(&[0; 65_536]).is_ok() {}
        let full =
            |state: ConnectionState| matches!(state, ConnectionState::WindowZero | ConnectionState::InFlight);
        assert!(full(sockets.tcp(&proc, own, inode(&near), false).unwrap().state));
        drop(far);
        sockets.budget.renew();
        assert!(sockets.tcp(&proc, own, inode(&near), false).is_none_or(|found| found.other_end.is_none()));
    }

    #[test]
    fn a_unix_socket_has_the_path_of_its_listener_at_both_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let near = UnixStream::connect(&path).unwrap();
        let mut sockets = Sockets::default();
        let waits = sockets.unix(&Proc::default(), std::process::id(), inode(&near)).unwrap();
        assert_eq!(
            (waits.other_end, waits.waits_at),
            (None, Some(inode(&listener))),
            "nobody has accepted it"
        );
        assert_eq!(waits.path, path.to_string_lossy());
        let (far, _) = listener.accept().unwrap();
        for (end, other) in [(&near, &far), (&far, &near)] {
            let found = sockets.unix(&Proc::default(), std::process::id(), inode(end)).unwrap();
            assert_eq!(found.path, path.to_string_lossy());
            assert_eq!((found.other_end, found.waits_at), (Some(inode(other)), None));
        }
    }
}
