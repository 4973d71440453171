//! One socket: asked for by what distinguishes it, without a walk through all others.
//!
//! In: a TCP connection's two addresses, or a UNIX socket's inode. Out: how it stands.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags, Timer,
};
use netlink_packet_sock_diag::unix::{self, ShowFlags, UnixRequest};

use super::Socket;
use super::diag::{Diag, DiagError, unix_socket};

/// No cookie: what is asked for need not be the very socket that was seen before.
const NO_COOKIE: [u8; 8] = [0xff; 8];

/// A TCP socket at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tcp {
    /// Inode; 0: nobody has it open.
    pub(crate) inode: u64,
    /// Own address.
    pub(crate) local: SocketAddr,
    /// The other end's.
    pub(crate) peer: SocketAddr,
    /// State as the kernel numbers them.
    pub(crate) state: u8,
    /// How often the oldest that is not acknowledged was sent again.
    pub(crate) retransmits: u8,
    /// It has something to send, and the other end's window is closed.
    pub(crate) probes_window: bool,
    /// Bytes that were written and are not acknowledged, sent or not.
    pub(crate) unacknowledged_bytes: u32,
}

impl Tcp {
    fn of(header: &InetResponseHeader) -> Self {
        let id = &header.socket_id;
        Self {
            inode: u64::from(header.inode),
            local: SocketAddr::new(id.source_address, id.source_port),
            peer: SocketAddr::new(id.destination_address, id.destination_port),
            state: header.state,
            retransmits: match header.timer {
                Some(Timer::Retransmit(_, times)) => times,
                _ => 0,
            },
            probes_window: matches!(header.timer, Some(Timer::Probe(_))),
            unacknowledged_bytes: header.send_queue,
        }
    }
}

impl Diag {
    /// The connection between two addresses, seen from the first; `None`: there is none in this namespace.
    pub(crate) fn tcp(&self, local: SocketAddr, peer: SocketAddr) -> Result<Option<Tcp>, DiagError> {
        let base = match local.ip() {
            IpAddr::V4(_) => SocketId::new_v4(),
            IpAddr::V6(_) => SocketId::new_v6(),
        };
        let socket_id = SocketId {
            source_address: local.ip(),
            source_port: local.port(),
            destination_address: peer.ip(),
            destination_port: peer.port(),
            cookie: NO_COOKIE,
            ..base
        };
        self.send(inet(local.is_ipv6(), socket_id, StateFlags::all()), false)?;
        let mut found = None;
        self.receive(false, &mut |message| {
            if let SockDiagMessage::InetResponse(response) = message {
                found = Some(Tcp::of(&response.header));
            }
        })?;
        // A listener on the port answers too, where there is no connection.
        // One of IPv6 may hold a connection of IPv4, and says so in IPv6.
        let ends = |local: SocketAddr, peer: SocketAddr| {
            [local, peer].map(|end| (end.ip().to_canonical(), end.port()))
        };
        Ok(found.filter(|tcp| ends(tcp.local, tcp.peer) == ends(local, peer)))
    }

    /// Every TCP socket of the namespace that a process has open.
    pub(crate) fn all_tcp(&self, is_v6: bool, each: &mut dyn FnMut(Tcp)) -> Result<(), DiagError> {
        let socket_id = if is_v6 { SocketId::new_v6() } else { SocketId::new_v4() };
        let states = StateFlags::all().difference(StateFlags::SYN_RECV | StateFlags::TIME_WAIT);
        self.send(inet(is_v6, socket_id, states), true)?;
        self.receive(true, &mut |message| {
            if let SockDiagMessage::InetResponse(response) = message
                && response.header.inode != 0
            {
                each(Tcp::of(&response.header));
            }
        })
    }

    /// The UNIX socket with this inode; `None`: there is none in this namespace.
    pub(crate) fn unix(&self, inode: u64) -> Result<Option<Socket>, DiagError> {
        let Ok(inode) = u32::try_from(inode) else { return Ok(None) };
        let request = UnixRequest {
            state_flags: unix::StateFlags::all(),
            inode,
            show_flags: ShowFlags::NAME | ShowFlags::PEER,
            cookie: NO_COOKIE,
        };
        self.send(SockDiagMessage::UnixRequest(request), false)?;
        let mut found = None;
        self.receive(false, &mut |message| {
            if let SockDiagMessage::UnixResponse(response) = message {
                found = Some(unix_socket(&response));
            }
        })?;
        Ok(found.filter(|(known, _)| *known == u64::from(inode)).map(|(_, socket)| socket))
    }

    /// UNIX connections that nobody has accepted, by the inode of the client's end: inode and path of the
    /// listener that each waits at.
    ///
    /// # Errors
    /// If the kernel does not list them.
    pub(crate) fn not_accepted(&self) -> Result<BTreeMap<u64, Listener>, DiagError> {
        let request = UnixRequest {
            state_flags: unix::StateFlags::LISTEN,
            inode: 0,
            show_flags: ShowFlags::NAME | ShowFlags::ICONS,
            cookie: NO_COOKIE,
        };
        self.send(SockDiagMessage::UnixRequest(request), true)?;
        let mut found = BTreeMap::new();
        self.receive(true, &mut |message| {
            // `sk_diag_dump_icons` (net/unix/diag.c) lists the clients' ends.
            if let SockDiagMessage::UnixResponse(response) = message
                && let Some(waiting) = response.pending_connections()
                && let (listener, Socket::Unix { path, .. }) = unix_socket(&response)
            {
                let clients = waiting.iter().map(|client| u64::from(*client));
                found.extend(clients.map(|client| (client, (listener, path.clone()))));
            }
        })?;
        Ok(found)
    }
}

/// Inode and path of a UNIX listener.
pub(crate) type Listener = (u64, Option<String>);

fn inet(is_v6: bool, socket_id: SocketId, states: StateFlags) -> SockDiagMessage {
    SockDiagMessage::InetRequest(InetRequest {
        family: if is_v6 { AF_INET6 } else { AF_INET },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states,
        socket_id,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::fact::Proc;

    fn inode(file: &impl std::os::fd::AsRawFd) -> u64 {
        std::fs::metadata(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("descriptor").ino()
    }

    #[test]
    fn both_ends_of_a_connection_are_found_by_their_addresses() {
        let diag = Diag::of(&Proc::default(), std::process::id()).expect("sock_diag");
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).expect("bind");
            let mut near = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
            let (far, peer) = listener.accept().expect("accept");
            let local = near.peer_addr().expect("address");
            near.write_all(b"x").expect("write");
            let found = diag.tcp(peer, local).expect("query").expect("our end");
            assert_eq!((found.inode, found.state, found.retransmits), (inode(&near), 1, 0));
            let found = diag.tcp(local, peer).expect("query").expect("the other end");
            assert_eq!(found.inode, inode(&far));
            drop((near, far));
            assert_eq!(diag.tcp(peer, peer).expect("query"), None, "no such connection");
            let mut listed = Vec::new();
            diag.all_tcp(address.starts_with('['), &mut |tcp| listed.push(tcp.inode)).expect("list");
            assert!(listed.contains(&inode(&listener)));
        }
    }

    #[test]
    fn an_end_of_another_family_is_found_too() {
        // A listener for both families: the connection is IPv6 there, and IPv4 here.
        let Ok(listener) = TcpListener::bind("[::]:0") else { return };
        let port = listener.local_addr().expect("address").port();
        let near = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        let (far, _) = listener.accept().expect("accept");
        let diag = Diag::of(&Proc::default(), std::process::id()).expect("sock_diag");
        let (local, peer) = (near.local_addr().expect("address"), near.peer_addr().expect("address"));
        assert_eq!(diag.tcp(peer, local).expect("query").map(|tcp| tcp.inode), Some(inode(&far)));
        let (local, peer) = (far.local_addr().expect("address"), far.peer_addr().expect("address"));
        assert_eq!(diag.tcp(peer, local).expect("query").map(|tcp| tcp.inode), Some(inode(&near)));
    }

    #[test]
    fn a_unix_socket_is_found_by_its_inode_with_its_other_end() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).expect("bind");
        let near = UnixStream::connect(&path).expect("connect");
        let (far, _) = listener.accept().expect("accept");
        let diag = Diag::of(&Proc::default(), std::process::id()).expect("sock_diag");
        let found = diag.unix(inode(&near)).expect("query").expect("our end");
        assert!(matches!(found, Socket::Unix { peer: Some(peer), path: None, .. } if peer == inode(&far)));
        let found = diag.unix(inode(&far)).expect("query").expect("the other end");
        assert!(matches!(found, Socket::Unix { path: Some(found), .. } if found == path.to_string_lossy()));
        assert_eq!(diag.unix(u64::MAX).expect("query"), None);
        drop(far);
        let of_closed = diag.unix(near.as_raw_fd().unsigned_abs().into()).expect("query");
        assert_eq!(of_closed, None, "a number that is no socket's");
    }
}
