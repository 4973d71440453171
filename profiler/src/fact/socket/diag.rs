//! Sockets as the kernel's own query interface lists them (`NETLINK_SOCK_DIAG`).
//!
//! In: a network namespace. Out: [`Socket`]s by inode. It asks for the states that are wanted only: listeners
//! are found without a walk through all connections, which the tables of `/proc` always take.

use std::io;
use std::net::SocketAddr;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, TCP_ESTABLISHED, TCP_LISTEN};
use netlink_packet_sock_diag::inet::{self, ExtensionFlags, InetRequest, InetResponse, SocketId};
use netlink_packet_sock_diag::unix::{self, ShowFlags, UnixRequest, UnixResponse, nlas::UnixDiagName};
use netlink_sys::Socket as Netlink;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::namespace::{NamespaceError, inside};
use super::{MAX_PATH_CHARACTERS, Queue, Socket};
use crate::fact::Proc;

/// Bytes of one answer; the kernel sends no more than 32 KiB at once.
const ANSWER_BYTES: usize = 64 * 1024;

/// Why sockets could not be listed this way.
#[derive(Debug, thiserror::Error)]
pub enum DiagError {
    /// The namespace cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The kernel has no such interface, or this process may not use it.
    #[error("the kernel's list of sockets cannot be asked for: {0}")]
    Unavailable(io::Error),
    /// The kernel refuses this family of sockets (its part of the interface is not built in).
    #[error("the kernel does not list these sockets: {0}")]
    Refused(io::Error),
    /// An answer is not what it should be.
    #[error("the kernel's list of sockets cannot be understood")]
    Malformed,
}

/// Whose sockets are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// TCP over IPv4.
    Ipv4,
    /// TCP over IPv6.
    Ipv6,
    /// UNIX.
    Unix,
}

/// A way to ask one network namespace, from any thread.
pub(crate) struct Diag {
    netlink: Netlink,
}

impl Diag {
    /// Asks the namespace of this process from now on.
    pub(crate) fn of(proc: &Proc, pid: u32) -> Result<Self, DiagError> {
        let netlink =
            inside(proc, pid, || Netlink::new(NETLINK_SOCK_DIAG))?.map_err(DiagError::Unavailable)?;
        Ok(Self { netlink })
    }

    /// Every socket of the family, or those alone that listen.
    pub(crate) fn list(
        &self,
        family: Family,
        only_listening: bool,
        each: &mut dyn FnMut(u64, Socket),
    ) -> Result<(), DiagError> {
        self.send(request(family, only_listening), true)?;
        self.receive(true, &mut |message| {
            if let Some((inode, socket)) = socket(message) {
                each(inode, socket);
            }
        })
    }

    /// Asks for all sockets that a message describes, or for one.
    pub(super) fn send(&self, message: SockDiagMessage, is_for_all: bool) -> Result<(), DiagError> {
        let mut header = NetlinkHeader::default();
        header.flags = if is_for_all { NLM_F_REQUEST | NLM_F_DUMP } else { NLM_F_REQUEST };
        let mut message = NetlinkMessage::new(header, message.into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.netlink.send(&bytes, 0).map_err(DiagError::Unavailable)?;
        Ok(())
    }

    /// Takes the answer: of one socket a single message, or that there is no such socket.
    pub(super) fn receive(
        &self,
        is_of_all: bool,
        each: &mut dyn FnMut(SockDiagMessage),
    ) -> Result<(), DiagError> {
        let mut answer = vec![0; ANSWER_BYTES];
        loop {
            let length = self.netlink.recv(&mut &mut answer[..], 0).map_err(DiagError::Unavailable)?;
            let mut rest = answer.get(..length).ok_or(DiagError::Malformed)?;
            while !rest.is_empty() {
                let step = message_bytes(rest).ok_or(DiagError::Malformed)?;
                // One that cannot be understood is left out; what follows it may be.
                if let Ok(message) = NetlinkMessage::<SockDiagMessage>::deserialize(rest) {
                    match message.payload {
                        NetlinkPayload::Done(_) => return Ok(()),
                        NetlinkPayload::Error(error) => {
                            let error = error.to_io();
                            let is_none = !is_of_all && error.kind() == io::ErrorKind::NotFound;
                            return if is_none { Ok(()) } else { Err(DiagError::Refused(error)) };
                        }
                        NetlinkPayload::InnerMessage(message) => each(message),
                        _ => {}
                    }
                }
                rest = rest.get(step..).unwrap_or_default();
            }
            if !is_of_all {
                return Ok(());
            }
        }
    }
}

/// Bytes up to the next message of an answer.
fn message_bytes(answer: &[u8]) -> Option<usize> {
    let length = u32::from_ne_bytes(*answer.first_chunk::<4>()?);
    // No message is shorter than its header.
    let length = usize::try_from(length).ok().filter(|length| *length >= 16)?;
    Some(length.next_multiple_of(4))
}

fn request(family: Family, only_listening: bool) -> SockDiagMessage {
    let of_inet = |family, socket_id| {
        // What has no inode has no descriptor: handshakes under way, and connections that only wait for
        // stragglers.
        let all =
            inet::StateFlags::all().difference(inet::StateFlags::SYN_RECV | inet::StateFlags::TIME_WAIT);
        SockDiagMessage::InetRequest(InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::SKMEMINFO,
            states: if only_listening { inet::StateFlags::LISTEN } else { all },
            socket_id,
        })
    };
    match family {
        Family::Ipv4 => of_inet(AF_INET, SocketId::new_v4()),
        Family::Ipv6 => of_inet(AF_INET6, SocketId::new_v6()),
        Family::Unix => SockDiagMessage::UnixRequest(UnixRequest {
            state_flags: if only_listening { unix::StateFlags::LISTEN } else { unix::StateFlags::all() },
            inode: 0,
            show_flags: ShowFlags::NAME | ShowFlags::RQLEN | ShowFlags::PEER,
            cookie: [0xff; 8],
        }),
    }
}

fn socket(message: SockDiagMessage) -> Option<(u64, Socket)> {
    match message {
        SockDiagMessage::InetResponse(response) => Some(inet_socket(&response)),
        SockDiagMessage::UnixResponse(response) => Some(unix_socket(&response)),
        _ => None,
    }
    .filter(|(inode, _)| *inode != 0)
}

fn inet_socket(response: &InetResponse) -> (u64, Socket) {
    let InetResponse { header, nlas } = response;
    let id = &header.socket_id;
    let drops = nlas.iter().find_map(|attribute| match attribute {
        inet::nlas::Nla::MemInfo(memory) => Some(memory.drops),
        _ => None,
    });
    let queue = (header.state == TCP_LISTEN).then_some(Queue {
        depth: header.recv_queue,
        limit: header.send_queue,
        drops,
    });
    let socket = Socket::Tcp {
        v6: header.family == AF_INET6,
        local: SocketAddr::new(id.source_address, id.source_port),
        remote: SocketAddr::new(id.destination_address, id.destination_port),
        state: header.state,
        queue,
    };
    (u64::from(header.inode), socket)
}

pub(super) fn unix_socket(response: &UnixResponse) -> (u64, Socket) {
    let path = response.name().map(|name| match name {
        UnixDiagName::Pathname(path) => path.to_string_lossy().into_owned(),
        // As the tables of /proc show it.
        UnixDiagName::Abstract(name) => {
            let name: Vec<u8> = name.iter().map(|byte| if *byte == 0 { b'@' } else { *byte }).collect();
            format!("@{}", String::from_utf8_lossy(&name))
        }
    });
    let listening = response.header.state == TCP_LISTEN;
    let queue = response
        .number_of_pending_connection()
        .zip(response.max_number_of_pending_connection())
        .map(|(depth, limit)| Queue { depth, limit, drops: None });
    let socket = Socket::Unix {
        path: path.map(|path| path.chars().take(MAX_PATH_CHARACTERS).collect()),
        listening,
        connected: response.header.state == TCP_ESTABLISHED,
        peer: response.peer().map(u64::from),
        queue,
    };
    (u64::from(response.header.inode), socket)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::{TcpListener, TcpStream};
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn listed(family: Family, only_listening: bool) -> HashMap<u64, Socket> {
        let diag = Diag::of(&Proc::default(), std::process::id()).expect("sock_diag");
        let mut all = HashMap::new();
        diag.list(family, only_listening, &mut |inode, socket| {
            all.insert(inode, socket);
        })
        .expect("list");
        all
    }

    #[test]
    fn queue_of_a_listener_is_what_nobody_has_accepted_yet() {
        for (family, address) in [(Family::Ipv4, "127.0.0.1:0"), (Family::Ipv6, "[::1]:0")] {
            let listener = TcpListener::bind(address).expect("bind");
            let to = listener.local_addr().expect("address");
            let _waiting: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(to).expect("connect")).collect();
            let is_ours = |socket: &&Socket| matches!(socket, Socket::Tcp { local, .. } if *local == to);
            let all = listed(family, true);
            let ours = all.values().find(is_ours).expect("listener");
            let queue = ours.queue().expect("queue");
            assert_eq!((queue.depth, queue.drops), (3, Some(0)));
            assert!(queue.limit > 0, "{queue:?}");
            assert!(all.values().all(Socket::is_listening), "only listeners were asked for");
        }
    }

    #[test]
    fn queue_of_a_unix_listener_is_known_by_its_path_and_by_its_abstract_name() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("a b.sock");
        let listener = UnixListener::bind(&path).expect("bind");
        let _waiting: Vec<UnixStream> =
            (0..2).map(|_| UnixStream::connect(&path).expect("connect")).collect();
        let name = format!("wsgi-trace-diag-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("name");
        let _abstract = UnixListener::bind_addr(&address).expect("bind");
        let all = listed(Family::Unix, true);
        let of = |wanted: &str| {
            let named =
                |socket: &&Socket| matches!(socket, Socket::Unix { path: Some(path), .. } if path == wanted);
            all.values().find(named).and_then(Socket::queue)
        };
        assert_eq!(of(&path.to_string_lossy()).map(|queue| queue.depth), Some(2));
        assert_eq!(of(&format!("@{name}")).map(|queue| queue.depth), Some(0));
        drop(listener);
    }

    #[test]
    fn answer_that_is_cut_off_is_no_message() {
        assert_eq!(message_bytes(&[1, 0]), None);
        assert_eq!(message_bytes(&4_u32.to_ne_bytes()), None);
        assert_eq!(message_bytes(&17_u32.to_ne_bytes()), Some(20));
    }
}
