//! Connections that traced processes begin: when they are made, and when what they bring arrives.
//!
//! In: connects, reads and writes that are ending, changes of state, connections found open. Out:
//! `DESCRIPTORS`, `SOCKETS`, the use of a port, and what the slice says about it. A loop reads an answer when
//! it gets to it; only the socket knows since when it was there.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;

use super::client::{self, Got};
use super::socket;
use crate::kernel::sock;
use crate::maps::{
    BACK_END, BACK_END_BEGINS, BACK_END_PORT, Descriptor, DescriptorKey, SOCKET_BACK_END, SOCKETS,
};

/// A connect that connected, or goes on without its thread.
pub struct Begun {
    /// Process.
    pub tgid: u32,
    /// Descriptor.
    pub fd: u32,
    /// Its `struct sock`.
    pub sk: u64,
    /// The connect is still under way.
    pub is_under_way: bool,
}

/// A connect is ending: the connection is known from now on. Of one that an earlier connect had begun, when
/// it was made (0: not known); `None`: it is new, or no stream.
#[inline(always)]
pub fn connects(begun: &Begun, now_ns: u64) -> Option<u64> {
    if let Some(known) = client::any(begun.tgid, begun.fd) {
        // SAFETY: the look-up succeeded.
        let begins = unsafe { (*known).socket == begun.sk && (*known).role == BACK_END_BEGINS };
        if begins {
            return if begun.is_under_way { None } else { Some(made(known)) };
        }
    }
    if !sock::is_stream(begun.sk) {
        return None;
    }
    let role = if begun.is_under_way { BACK_END_BEGINS } else { BACK_END };
    let socket = begin(begun.tgid, begun.fd, begun.sk, role)?;
    // On loopback it is made before connect returns, and its change of state was before anybody knew of it.
    if begun.is_under_way && sock::state(begun.sk) == sock::ESTABLISHED {
        // SAFETY: the look-up succeeded.
        unsafe {
            if (*socket).established_ns == 0 {
                (*socket).established_ns = now_ns;
            }
        }
    }
    None
}

/// The iterator found an open connection that no traced listener accepted.
#[inline(always)]
pub fn seed(tgid: u32, fd: u32, sk: u64) {
    let is_begun = match sock::family(sk) {
        sock::AF_INET | sock::AF_INET6 => true,
        sock::AF_UNIX => sock::has_named_peer(sk),
        _ => false,
    };
    if !is_begun || !sock::is_stream(sk) {
        return;
    }
    if let Some(known) = client::any(tgid, fd) {
        // SAFETY: the look-up succeeded.
        if unsafe { (*known).socket } == sk {
            return;
        }
    }
    let _ = begin(tgid, fd, sk, BACK_END);
}

#[inline(always)]
fn begin(tgid: u32, fd: u32, sk: u64, role: u16) -> Option<*mut crate::maps::Socket> {
    let family = sock::family(sk);
    let is_tcp = family == sock::AF_INET || family == sock::AF_INET6;
    client::open(DescriptorKey { tgid, fd }, sk, is_tcp, role);
    socket::began(sk, if is_tcp { sock::local_port(sk) } else { 0 })
}

/// A TCP connection that some process on this machine began is made.
#[inline(always)]
pub fn established(typed: sock::TypedSock) {
    if socket::user_of(sock::typed_local_port(typed)) != BACK_END_PORT {
        return;
    }
    let Some(socket) = SOCKETS.get_ptr_mut(&(typed as u64)) else { return };
    // SAFETY: the look-up succeeded; the helper has no preconditions.
    unsafe {
        if (*socket).stage == SOCKET_BACK_END {
            (*socket).established_ns = bpf_ktime_get_ns();
        }
    }
}

/// A call on the connection: when it was made, if the process has not been told so far; else 0.
#[inline(always)]
pub fn made(descriptor: *mut Descriptor) -> u64 {
    // SAFETY: the pointer comes from a successful look-up.
    let sk = unsafe {
        if (*descriptor).role != BACK_END_BEGINS {
            return 0;
        }
        (*descriptor).role = BACK_END;
        (*descriptor).socket
    };
    // SAFETY: the look-up succeeded.
    SOCKETS.get_ptr(&sk).map_or(0, |socket| unsafe { (*socket).established_ns })
}

/// Something, or the end of the stream, was read: when the first of it arrived (0: not known).
#[inline(always)]
pub fn read(descriptor: *mut Descriptor, got: Got) -> u64 {
    // SAFETY: the pointer comes from a successful look-up.
    let (sk, is_tcp) = unsafe { ((*descriptor).socket, (*descriptor).is_tcp != 0) };
    client::arrival(sk, is_tcp, got)
}
