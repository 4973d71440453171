//! What is known of sockets: who uses a port, how a connection began, what stage it is in.
//!
//! In: what hooks and calls show. Out: `SOCKETS`, `LISTENER_PORTS`, `UNIX_LISTENERS`, `LISTENERS`.

use profiler_common::listener::ListenerCount;
use profiler_common::loss;

use super::queue;
use crate::emit;
use crate::kernel::sock;
use crate::maps::{
    BACK_END_PORT, LISTENER_PORTS, LISTENER_UNKNOWN, LISTENERS, SOCKET_ACCEPTED, SOCKET_BACK_END,
    SOCKET_WAITING, SOCKETS, SPEAKS_UNKNOWN, Socket, UNIX_LISTENERS,
};

/// The listener on a local port of TCP; 0: no traced process listens there.
#[inline(always)]
pub fn listener_at(port: u16) -> u64 {
    match user_of(port) {
        BACK_END_PORT => 0,
        listener => listener,
    }
}

/// What a traced process does on a local port of TCP, as [`LISTENER_PORTS`] says it.
#[inline(always)]
pub fn user_of(port: u16) -> u64 {
    // SAFETY: the look-up succeeded.
    LISTENER_PORTS.get_ptr(u32::from(port)).map_or(0, |user| unsafe { *user })
}

/// A traced process has a connection on the port: what comes on it is ours, whoever listens.
#[inline(always)]
pub fn serves(port: u16) {
    if listener_at(port) == 0
        && let Some(listener) = LISTENER_PORTS.get_ptr_mut(u32::from(port))
    {
        // SAFETY: the look-up succeeded.
        unsafe { *listener = LISTENER_UNKNOWN };
    }
}

/// How a connection begins.
pub struct Beginning {
    /// When the handshake was done; 0: not seen.
    pub established_ns: u64,
    /// When its first byte came; 0: not yet.
    pub data_ns: u64,
    /// For how long its client had been refused.
    pub delayed_ms: u32,
}

/// A new connection lives at the address `sk`. The kernel gives addresses of sockets out again and again, so
/// the element is most often there.
#[inline(always)]
pub fn renew(sk: u64, beginning: Beginning, stage: u32) {
    let Beginning { established_ns, data_ns, delayed_ms } = beginning;
    if let Some(before) = SOCKETS.get_ptr_mut(&sk) {
        // SAFETY: the look-up succeeded. Nobody else writes it between the end of one connection and its
        // successor's first byte.
        unsafe {
            (*before).established_ns = established_ns;
            (*before).first_data_ns = data_ns;
            (*before).last_data_ns = data_ns;
            (*before).generation = (*before).generation.wrapping_add(1);
            (*before).stage = stage;
            (*before).delayed_ms = delayed_ms;
            (*before).speaks = SPEAKS_UNKNOWN;
            (*before).capture = 0;
        }
        return;
    }
    let generation = 0;
    let socket = Socket {
        established_ns,
        first_data_ns: data_ns,
        last_data_ns: data_ns,
        generation,
        stage,
        delayed_ms,
        local_port: 0,
        inode: 0,
        speaks: SPEAKS_UNKNOWN,
        capture: 0,
    };
    if SOCKETS.insert(&sk, &socket, 0).is_err() {
        emit::lose(loss::SOCKET_TABLE_FULL);
    }
}

/// The connection at `sk` is accepted (or found open): its state, made if nothing was known.
#[inline(always)]
pub fn accepted(sk: u64) -> Option<*mut Socket> {
    if let Some(socket) = SOCKETS.get_ptr_mut(&sk) {
        // SAFETY: the look-up succeeded.
        unsafe {
            if (*socket).stage == SOCKET_WAITING {
                (*socket).stage = SOCKET_ACCEPTED;
                return Some(socket);
            }
        }
    }
    // Its beginning was not seen (established before the attach, or a UNIX socket without data so far).
    renew(sk, Beginning { established_ns: 0, data_ns: 0, delayed_ms: 0 }, SOCKET_ACCEPTED);
    SOCKETS.get_ptr_mut(&sk)
}

/// A traced process began the connection at `sk`, from this port of TCP (0: of UNIX).
#[inline(always)]
pub fn began(sk: u64, local_port: u16) -> Option<*mut Socket> {
    renew(sk, Beginning { established_ns: 0, data_ns: 0, delayed_ms: 0 }, SOCKET_BACK_END);
    let socket = SOCKETS.get_ptr_mut(&sk)?;
    // SAFETY: the look-up succeeded.
    unsafe { (*socket).local_port = u32::from(local_port) };
    if local_port != 0
        && let Some(user) = LISTENER_PORTS.get_ptr_mut(u32::from(local_port))
    {
        // SAFETY: the look-up succeeded. A listener that appears at this moment on another CPU is noted again
        // with its first connection.
        unsafe {
            if *user == 0 {
                *user = BACK_END_PORT;
            }
        }
    }
    Some(socket)
}

/// A socket to a back end is closed: what comes to its port is nobody's again.
#[inline(always)]
pub fn ended(socket: *mut Socket) {
    // SAFETY: the caller's look-up succeeded.
    let local_port = unsafe { (*socket).local_port };
    if let Some(user) = LISTENER_PORTS.get_ptr_mut(local_port & 0xffff) {
        // SAFETY: the look-up succeeded.
        unsafe {
            if *user == BACK_END_PORT {
                *user = 0;
            }
        }
    }
}

/// A traced process listens on the socket.
#[inline(always)]
pub fn listens(sk: u64) {
    let family = sock::family(sk);
    let outcome = if family == sock::AF_INET || family == sock::AF_INET6 {
        match LISTENER_PORTS.get_ptr_mut(u32::from(sock::local_port(sk))) {
            // SAFETY: the look-up succeeded.
            Some(listener) => unsafe { *listener = sk },
            None => emit::lose(loss::SOCKET_TABLE_FULL),
        }
        Ok(())
    } else if family == sock::AF_UNIX {
        let address = sock::unix_address(sk);
        // Inodes of sockets are numbers of 32 bits.
        if address == 0 { Ok(()) } else { UNIX_LISTENERS.insert(&address, &(sock::inode(sk) as u32), 0) }
    } else {
        Ok(())
    };
    if outcome.is_err() {
        emit::lose(loss::SOCKET_TABLE_FULL);
    }
    count_for(sk);
}

/// Counts for the listener from now on; one that is known keeps its counts.
#[inline(always)]
fn count_for(sk: u64) {
    let inode = sock::inode(sk);
    queue::listens(sk, inode);
    if let Some(known) = LISTENERS.get_ptr(&sk) {
        // SAFETY: the look-up succeeded. Another inode: the address is another listener's now.
        if unsafe { (*known).inode } == inode {
            return;
        }
    }
    let count = ListenerCount {
        inode,
        arrivals: 0,
        woken: 0,
        slept_again: 0,
        slept_again_cpu_ns: 0,
        slept_again_run_queue_ns: 0,
    };
    if LISTENERS.insert(&sk, &count, 0).is_err() {
        emit::lose(loss::SOCKET_TABLE_FULL);
    }
}
