//! Sockets of a network namespace, by inode.
//!
//! In: the namespace of a process, by the kernel's query interface (`diag`), or where that is missing by
//! `/proc/PID/net` (`text`). Out: [`Socket`]s. A busy host has hundreds of thousands: only wanted ones are
//! kept.

pub mod diag;
pub(super) mod exact;
pub mod namespace;
mod text;

use std::collections::HashMap;
use std::net::SocketAddr;

use super::Proc;
use diag::{Diag, Family};
pub(crate) use exact::Tcp;

/// Sockets kept.
const MAX_SOCKETS: usize = 262_144;
/// Characters kept of a path.
const MAX_PATH_CHARACTERS: usize = 256;

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// IPv4 or IPv6.
    Tcp {
        /// Address family is IPv6.
        v6: bool,
        /// Own address.
        local: SocketAddr,
        /// Peer.
        remote: SocketAddr,
        /// State as the kernel numbers them (10: listening).
        state: u8,
        /// Accept queue of a listener, where it is known.
        queue: Option<Queue>,
    },
    /// UNIX stream or datagram.
    Unix {
        /// Bound path; accepted sockets show their listener's. `@` begins an abstract one.
        path: Option<String>,
        /// Listening.
        listening: bool,
        /// Connected.
        connected: bool,
        /// Inode of the other end, where the kernel says it.
        peer: Option<u64>,
        /// Accept queue of a listener, where it is known.
        queue: Option<Queue>,
    },
}

/// The accept queue of a listener at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Connections that wait to be accepted.
    pub depth: u32,
    /// Most that may wait: what the server asked for, or the namespace's `somaxconn` if that is less. The
    /// kernel lets one more in.
    pub limit: u32,
    /// Packets of handshakes that the kernel has refused for this listener since it began to listen (it
    /// counts modulo 2³²). `None`: not known, as of UNIX listeners, whose clients are made to wait
    /// instead.
    pub drops: Option<u32>,
}

impl Socket {
    /// TCP state LISTEN.
    const LISTEN: u8 = 10;

    /// Whether it listens.
    pub const fn is_listening(&self) -> bool {
        match self {
            Self::Tcp { state, .. } => *state == Self::LISTEN,
            Self::Unix { listening, .. } => *listening,
        }
    }

    /// Its accept queue, if it is a listener and the kernel reports it.
    pub const fn queue(&self) -> Option<Queue> {
        match self {
            Self::Tcp { queue, .. } | Self::Unix { queue, .. } => *queue,
        }
    }
}

/// The sockets that the namespace of a process holds, of those that `wanted` accepts.
pub fn sockets(proc: &Proc, pid: u32, wanted: &dyn Fn(u64, &Socket) -> bool) -> HashMap<u64, Socket> {
    list(proc, pid, false, wanted)
}

/// The sockets that listen, of those that the namespace of a process holds and `wanted` accepts: that is
/// quick, however many connections there are.
pub fn listening(proc: &Proc, pid: u32, wanted: &dyn Fn(u64, &Socket) -> bool) -> HashMap<u64, Socket> {
    list(proc, pid, true, wanted)
}

fn list(
    proc: &Proc,
    pid: u32,
    only_listening: bool,
    wanted: &dyn Fn(u64, &Socket) -> bool,
) -> HashMap<u64, Socket> {
    let mut result = HashMap::new();
    // A `/proc` that is made up is no namespace of this kernel.
    let diag = if proc.is_real() { Diag::of(proc, pid).ok() } else { None };
    for family in [Family::Ipv4, Family::Ipv6, Family::Unix] {
        let mut take = |inode: u64, socket: Socket| {
            if result.len() < MAX_SOCKETS && wanted(inode, &socket) {
                result.insert(inode, socket);
            }
        };
        let listed = diag.as_ref().is_some_and(|diag| diag.list(family, only_listening, &mut take).is_ok());
        if !listed {
            text::list(proc, pid, family, &mut |inode, socket| {
                if socket.is_listening() || !only_listening {
                    take(inode, socket);
                }
            });
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_our_own_is_found_and_its_limit_known() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let found = listening(&Proc::default(), std::process::id(), &|_, _| true);
        let is_ours = |socket: &&Socket| matches!(socket, Socket::Tcp { local, .. } if *local == address);
        let ours = found.values().find(is_ours).expect("listener");
        assert!(ours.queue().is_some_and(|queue| queue.limit > 0), "{ours:?}");
    }

    #[test]
    fn both_ways_to_list_name_the_same_sockets() {
        let directory = tempfile::tempdir().expect("directory");
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let _near = std::net::TcpStream::connect(tcp.local_addr().expect("address")).expect("connect");
        let _far = tcp.accept().expect("accept");
        let _unix = std::os::unix::net::UnixListener::bind(directory.path().join("a b")).expect("bind");
        let (proc, own) = (Proc::default(), std::process::id());
        let files = crate::fact::descriptor::open_files(&proc, own).expect("own descriptors");
        let inodes: Vec<u64> =
            files.iter().filter_map(|(_, link)| crate::fact::descriptor::socket_inode(link)).collect();
        let by_query = sockets(&proc, own, &|inode, _| inodes.contains(&inode));
        let mut by_text = HashMap::new();
        for family in [Family::Ipv4, Family::Ipv6, Family::Unix] {
            text::list(&proc, own, family, &mut |inode, socket| {
                by_text.insert(inode, socket);
            });
        }
        assert!(by_query.len() >= 4, "{by_query:?}");
        for (inode, mut socket) in by_query {
            // Other tests open and close sockets meanwhile.
            let (Socket::Tcp { queue, .. } | Socket::Unix { queue, .. }) = &mut socket;
            *queue = None;
            if let Some(other) = by_text.get(&inode) {
                assert_eq!(&socket, other);
            }
        }
    }
}
