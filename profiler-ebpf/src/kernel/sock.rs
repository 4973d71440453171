//! Fields of `struct sock` and what is around it.
//!
//! In: the address of a `struct sock`. Out: family, ports, state, unread bytes. Every read goes through the
//! helper, so an address that is no socket any more yields `None` or nonsense, never a fault.

use aya_ebpf::Global;

use super::packet::{self, combined};
use super::{MISSING, field, typed};

#[unsafe(no_mangle)]
static SOCK_FAMILY: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_STATE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_LOCAL_PORT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_PEER_PORT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TCP_RECEIVE_NEXT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TCP_COPIED: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TCP_WRITTEN: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TCP_UNACKNOWLEDGED: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static UNIX_ADDRESS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static UNIX_PEER: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_SOCKET: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCKET_FILE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(super) static FILE_INODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static INODE_NUMBER: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_RECEIVE_QUEUE_LENGTH: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_RECEIVE_QUEUE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_RECEIVE_QUEUE_LAST: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_BACKLOG: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_MAX_BACKLOG: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_PEER_ADDRESS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_PEER_ADDRESS_V6: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_NETWORK: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_DEFERRED: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_TYPE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static QUEUE_FIRST: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static REQUEST_NEXT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static REQUEST_SOCKET: Global<u32> = Global::new(0);

/// `AF_UNIX`.
pub const AF_UNIX: u16 = 1;
/// `AF_INET`.
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;

/// `TCP_ESTABLISHED`, for UNIX sockets too.
pub const ESTABLISHED: u8 = 1;
/// `TCP_SYN_SENT`.
pub const SYN_SENT: u8 = 2;
/// `TCP_SYN_RECV`.
pub const SYN_RECV: u8 = 3;
/// `TCP_TIME_WAIT`: no full socket any more.
pub const TIME_WAIT: u8 = 6;
/// `TCP_CLOSE`: the socket is no connection any more.
pub const CLOSE: u8 = 7;
/// `TCP_NEW_SYN_RECV`: no full socket yet.
pub const NEW_SYN_RECV: u8 = 12;
/// `TCP_CLOSE_WAIT`: the peer has sent its FIN.
pub const CLOSE_WAIT: u8 = 8;
/// `TCP_LISTEN`, for UNIX sockets too.
pub const LISTEN: u8 = 10;

/// Address family.
#[inline(always)]
pub fn family(sk: u64) -> u16 {
    field(sk, &SOCK_FAMILY).unwrap_or(0)
}

/// TCP state (`include/net/tcp_states.h`).
#[inline(always)]
pub fn state(sk: u64) -> u8 {
    field(sk, &SOCK_STATE).unwrap_or(0)
}

/// Whether this side of a TCP connection has sent its FIN: `TCP_FIN_WAIT1`, `TCP_FIN_WAIT2`, `TCP_CLOSING`.
#[inline(always)]
pub fn is_shut(sk: u64) -> bool {
    matches!(state(sk), 4 | 5 | 11)
}

/// A `struct sock` whose type the verifier knows: its fields need no helper.
pub type TypedSock = *const core::ffi::c_void;

/// Address family.
#[inline(always)]
pub fn typed_family(sk: TypedSock) -> u16 {
    // SAFETY: the verifier knows the pointer's type and checks the load.
    unsafe { typed(sk, &SOCK_FAMILY) }
}

/// TCP state.
#[inline(always)]
pub fn typed_state(sk: TypedSock) -> u8 {
    // SAFETY: as above.
    unsafe { typed(sk, &SOCK_STATE) }
}

/// Local port, host order.
#[inline(always)]
pub fn typed_local_port(sk: TypedSock) -> u16 {
    // SAFETY: as above.
    unsafe { typed(sk, &SOCK_LOCAL_PORT) }
}

/// Peer's port, host order.
#[inline(always)]
pub fn typed_peer_port(sk: TypedSock) -> u16 {
    // SAFETY: as above.
    u16::from_be(unsafe { typed(sk, &SOCK_PEER_PORT) })
}

/// Local port, host order.
#[inline(always)]
pub fn local_port(sk: u64) -> u16 {
    field(sk, &SOCK_LOCAL_PORT).unwrap_or(0)
}

/// Peer's port, host order.
#[inline(always)]
pub fn peer_port(sk: u64) -> u16 {
    u16::from_be(field(sk, &SOCK_PEER_PORT).unwrap_or(0))
}

/// The two ends of a connection.
pub struct Ends {
    /// Address family.
    pub family: u16,
    /// Host order; only of TCP.
    pub local_port: u16,
    /// Host order; only of TCP.
    pub peer_port: u16,
}

/// Both ends, read at once where the fields are neighbours, as on all kernels so far.
#[inline(always)]
pub fn ends(sk: u64) -> Option<Ends> {
    let start = SOCK_PEER_PORT.load();
    if SOCK_LOCAL_PORT.load() == start.wrapping_add(2) && SOCK_FAMILY.load() == start.wrapping_add(4) {
        let word: u64 = field(sk, &SOCK_PEER_PORT)?;
        return Some(Ends {
            family: (word >> 32) as u16,
            local_port: (word >> 16) as u16,
            peer_port: u16::from_be(word as u16),
        });
    }
    Some(Ends {
        family: field(sk, &SOCK_FAMILY)?,
        local_port: field(sk, &SOCK_LOCAL_PORT)?,
        peer_port: u16::from_be(field(sk, &SOCK_PEER_PORT)?),
    })
}

/// Whether every byte that arrived has been read; `None`: not known.
#[inline(always)]
pub fn tcp_is_drained(sk: u64) -> Option<bool> {
    if TCP_RECEIVE_NEXT.load() == MISSING || TCP_COPIED.load() == MISSING {
        return None;
    }
    let next: u32 = field(sk, &TCP_RECEIVE_NEXT)?;
    let copied: u32 = field(sk, &TCP_COPIED)?;
    Some(next == copied)
}

/// Bytes that arrived and nobody has read; 0 where that cannot be known. Only of full TCP sockets.
#[inline(always)]
pub fn tcp_unread_bytes(sk: u64) -> u32 {
    distance(sk, &TCP_COPIED, &TCP_RECEIVE_NEXT)
}

/// Bytes written and not acknowledged by the peer; 0 where that cannot be known. Only of full TCP sockets.
#[inline(always)]
pub fn tcp_unacknowledged_bytes(sk: u64) -> u32 {
    distance(sk, &TCP_UNACKNOWLEDGED, &TCP_WRITTEN)
}

/// How far one sequence number is behind another.
#[inline(always)]
fn distance(sk: u64, behind: &Global<u32>, ahead: &Global<u32>) -> u32 {
    if behind.load() == MISSING || ahead.load() == MISSING {
        return 0;
    }
    match (field::<u32>(sk, behind), field::<u32>(sk, ahead)) {
        (Some(behind), Some(ahead)) => ahead.wrapping_sub(behind),
        _ => 0,
    }
}

/// The address object of a UNIX socket, which accepted sockets share with their listener; 0 if it has none.
#[inline(always)]
pub fn unix_address(sk: u64) -> u64 {
    if UNIX_ADDRESS.load() == MISSING {
        return 0;
    }
    field(sk, &UNIX_ADDRESS).unwrap_or(0)
}

/// What distinguishes a connection that this socket began from all others (`detail::Connect::identity`): its
/// own TCP port, or the UNIX socket at its other end; 0: not known.
#[inline(always)]
pub fn identity(sk: u64) -> u64 {
    match family(sk) {
        AF_INET | AF_INET6 => u64::from(local_port(sk)),
        AF_UNIX if UNIX_PEER.load() != MISSING => field(sk, &UNIX_PEER).unwrap_or(0),
        _ => 0,
    }
}

/// Whether it is a stream of bytes; false where that cannot be known.
#[inline(always)]
pub fn is_stream(sk: u64) -> bool {
    /// `SOCK_STREAM`, include/linux/net.h.
    const STREAM: u16 = 1;
    SOCK_TYPE.load() != MISSING && field::<u16>(sk, &SOCK_TYPE) == Some(STREAM)
}

/// Whether a UNIX socket is connected to one that has an address: what a connect makes, and `socketpair` does
/// not.
#[inline(always)]
pub fn has_named_peer(sk: u64) -> bool {
    UNIX_PEER.load() != MISSING
        && field::<u64>(sk, &UNIX_PEER).is_some_and(|peer| peer != 0 && unix_address(peer) != 0)
}

/// Whether a reader has taken everything that was queued; false where that cannot be known.
#[inline(always)]
pub fn queue_is_empty(sk: u64) -> bool {
    if SOCK_RECEIVE_QUEUE_LENGTH.load() == MISSING {
        return false;
    }
    field::<u32>(sk, &SOCK_RECEIVE_QUEUE_LENGTH) == Some(0)
}

/// Whether a UNIX listener has no room for another connection (`unix_recvq_full`); false where it cannot be
/// told.
#[inline(always)]
pub fn unix_queue_is_full(listener: u64) -> bool {
    if SOCK_RECEIVE_QUEUE_LENGTH.load() == MISSING || SOCK_MAX_BACKLOG.load() == MISSING {
        return false;
    }
    match (field::<u32>(listener, &SOCK_RECEIVE_QUEUE_LENGTH), field::<u32>(listener, &SOCK_MAX_BACKLOG)) {
        (Some(waiting), Some(limit)) => waiting > limit,
        _ => false,
    }
}

/// Connections that wait for accept.
#[inline(always)]
pub fn typed_backlog(sk: TypedSock) -> u32 {
    // SAFETY: as above.
    unsafe { typed(sk, &SOCK_BACKLOG) }
}

/// Connections that may wait for accept, less one.
#[inline(always)]
pub fn typed_max_backlog(sk: TypedSock) -> u32 {
    // SAFETY: as above.
    unsafe { typed(sk, &SOCK_MAX_BACKLOG) }
}

/// The other end of a TCP connection.
pub struct Peer {
    /// As [`packet::Sender::address`].
    pub address: u32,
    /// Host order.
    pub port: u16,
}

/// Address and port of a TCP connection's peer.
#[inline(always)]
pub fn peer(sk: u64) -> Option<Peer> {
    /// The third word of an IPv6 address that stands for an IPv4 one.
    const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
    let port = u16::from_be(field(sk, &SOCK_PEER_PORT)?);
    if family(sk) != AF_INET6 || SOCK_PEER_ADDRESS_V6.load() == MISSING {
        return Some(Peer { address: field(sk, &SOCK_PEER_ADDRESS)?, port });
    }
    let words: [u32; 4] = field(sk, &SOCK_PEER_ADDRESS_V6)?;
    let is_mapped = words[0] == 0 && words[1] == 0 && words[2] == MAPPED;
    Some(Peer { address: if is_mapped { words[3] } else { combined(words) }, port })
}

/// Whether two sockets are in one network namespace; true where that cannot be known.
#[inline(always)]
pub fn same_network(one: u64, other: u64) -> bool {
    if SOCK_NETWORK.load() == MISSING {
        return true;
    }
    field::<u64>(one, &SOCK_NETWORK) == field::<u64>(other, &SOCK_NETWORK)
}

/// Whether a TCP listener holds connections back until their first data come.
#[inline(always)]
pub fn is_deferred(sk: u64) -> bool {
    let family = family(sk);
    (family == AF_INET || family == AF_INET6)
        && SOCK_DEFERRED.load() != MISSING
        && field::<u8>(sk, &SOCK_DEFERRED).unwrap_or(0) != 0
}

/// The connection that came last of those that wait for a UNIX listener's accept; 0: none waits.
#[inline(always)]
pub fn last_arrival(listener: u64) -> u64 {
    if SOCK_RECEIVE_QUEUE.load() == MISSING || SOCK_RECEIVE_QUEUE_LAST.load() == MISSING {
        return 0;
    }
    let queue = listener.wrapping_add(u64::from(SOCK_RECEIVE_QUEUE.load()));
    match field::<u64>(listener, &SOCK_RECEIVE_QUEUE_LAST) {
        // An empty queue leads back to itself.
        Some(last) if last != queue && last != 0 => packet::socket(last),
        _ => 0,
    }
}

/// What stands first in a listener's accept queue: of TCP a `struct request_sock`, of UNIX a packet; 0: it is
/// empty, or cannot be read.
#[inline(always)]
pub fn first_waiting(listener: u64, is_unix: bool) -> u64 {
    let first = if is_unix { &SOCK_RECEIVE_QUEUE } else { &QUEUE_FIRST };
    if first.load() == MISSING { 0 } else { field(listener, first).unwrap_or(0) }
}

/// The connection that such an element stands for, and the element behind it; `None`: that was the last.
#[inline(always)]
pub fn waiting(listener: u64, element: u64, is_unix: bool) -> Option<(u64, u64)> {
    // The queue of a UNIX listener leads back to itself.
    let end = if is_unix { listener.wrapping_add(u64::from(SOCK_RECEIVE_QUEUE.load())) } else { 0 };
    if element == 0 || element == end {
        return None;
    }
    if is_unix {
        let next = packet::next(element)?;
        return Some((packet::socket(element), next));
    }
    if REQUEST_NEXT.load() == MISSING || REQUEST_SOCKET.load() == MISSING {
        return None;
    }
    Some((field(element, &REQUEST_SOCKET)?, field(element, &REQUEST_NEXT)?))
}

/// Whether somebody has accepted the connection: until then no descriptor stands for it.
#[inline(always)]
pub fn is_taken(sk: u64) -> bool {
    field::<u64>(sk, &SOCK_SOCKET).is_some_and(|socket| socket != 0)
}

/// Inode of a socket that a descriptor stands for; 0: there is none, or it is not known.
#[inline(always)]
pub fn inode(sk: u64) -> u64 {
    inode_of(sk).unwrap_or(0)
}

#[inline(always)]
fn inode_of(sk: u64) -> Option<u64> {
    if INODE_NUMBER.load() == MISSING {
        return None;
    }
    let socket: u64 = field(sk, &SOCK_SOCKET)?;
    let file: u64 = field(socket, &SOCKET_FILE)?;
    let inode: u64 = field(file, &FILE_INODE)?;
    field(inode, &INODE_NUMBER)
}
