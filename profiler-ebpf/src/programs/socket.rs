//! Socket hooks: when a connection to a traced listener is there, and when bytes reach it.
//!
//! In: `inet_sock_set_state`, `sk_data_ready` (from Linux 6.3). Out: `SOCKETS`, and the cause of the next wake-ups.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use profiler_common::listener::ListenerCount;
use profiler_common::loss;

use super::{back_end, light, queue};
use crate::account;
use crate::cause;
use crate::emit;
use crate::empty;
use crate::kernel::sock;
use crate::maps::{
    BACK_END_PORT, LISTENER_PORTS, LISTENER_UNKNOWN, LISTENERS, SOCKET_ACCEPTED, SOCKET_BACK_END,
    SOCKET_CLOSED, SOCKET_WAITING, SOCKETS, Socket, UNIX_LISTENERS,
};

/// Not 0 where this kernel has no `sk_data_ready`: then a connection's own state change stands for its announcement,
/// and of several listeners on one port the one that became known last gets the count.
#[unsafe(no_mangle)]
static ANNOUNCED_BY_STATE: Global<u32> = Global::new(0);

/// A UNIX connection whose time was taken so short a while ago is not a new one at an old address.
const JUST_NOW_NS: u64 = 1_000_000;

/// A TCP socket changes its state.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    if empty::bodies_left_out() {
        return 0;
    }
    // A FIN wakes through a change of state too: what is woken next is not the last connection's doing.
    cause::clear_all();
    if light::is_light() {
        light_mode(&ctx);
    } else if ctx.arg::<i32>(2) == i32::from(sock::CLOSE_WAIT) {
        super::evidence::client_ended(ctx.arg(0));
        return 0;
    }
    if ctx.arg::<i32>(2) != i32::from(sock::ESTABLISHED) {
        return 0;
    }
    let sk: sock::TypedSock = ctx.arg(0);
    let before = ctx.arg::<i32>(1);
    if before == i32::from(sock::SYN_SENT) {
        back_end::established(sk);
    }
    if before != i32::from(sock::SYN_RECV) {
        return 0;
    }
    let port = sock::typed_local_port(sk);
    let listener = listener_at(port);
    if listener != 0 {
        // SAFETY: the helper has no preconditions.
        let now_ns = unsafe { bpf_ktime_get_ns() };
        let delayed_ms = queue::delay_ms(sk as u64, port, now_ns);
        renew(sk as u64, Beginning { established_ns: now_ns, data_ns: 0, delayed_ms }, SOCKET_WAITING);
        cause::establish(now_ns, sock::typed_peer_port(sk));
        // The same port of another network namespace is another listener's.
        if ANNOUNCED_BY_STATE.load() != 0 && sock::same_network(sk as u64, listener) {
            cause::announce(listener, now_ns, true);
        }
    }
    0
}

/// What system calls would have told: a listener is there, a connection is closed.
#[inline(always)]
fn light_mode(ctx: &BtfTracePointContext) {
    let (before, after) = (ctx.arg::<i32>(1), ctx.arg::<i32>(2));
    let is_open = before == i32::from(sock::ESTABLISHED) || before == i32::from(sock::CLOSE_WAIT);
    if is_open && after != i32::from(sock::CLOSE_WAIT) {
        light::closed(ctx.arg(0));
    }
    if after == i32::from(sock::LISTEN) && account::current().is_some() {
        let sk: sock::TypedSock = ctx.arg(0);
        listens(sk as u64);
    }
}

/// Bytes, a FIN, or (for a listener) a connection reached a socket.
#[btf_tracepoint(function = "sk_data_ready")]
pub fn sk_data_ready(ctx: BtfTracePointContext) -> i32 {
    if empty::bodies_left_out() {
        return 0;
    }
    let typed: sock::TypedSock = ctx.arg(0);
    let sk = typed as u64;
    if sock::typed_state(typed) == sock::LISTEN {
        let is_tcp = sock::typed_family(typed) != sock::AF_UNIX;
        // SAFETY: the helper has no preconditions.
        let now_ns = unsafe { bpf_ktime_get_ns() };
        if !is_tcp {
            arrive_at_unix(sk, now_ns);
        }
        cause::announce(sk, now_ns, is_tcp);
        return 0;
    }
    cause::clear();
    let family = sock::typed_family(typed);
    let is_tcp = family == sock::AF_INET || family == sock::AF_INET6;
    if is_tcp && user_of(sock::typed_local_port(typed)) == 0 {
        return 0;
    }
    let is_unix = family == sock::AF_UNIX;
    // A UNIX peer queues its bytes first and calls this hook without a lock: a reader that was faster has them, and no
    // later read may take their arrival for its own. Its own stays unknown.
    if is_unix && sock::queue_is_empty(sk) {
        return 0;
    }
    if let Some(socket) = SOCKETS.get_ptr_mut(&sk) {
        // SAFETY: the look-up succeeded. Softirqs of one connection do not run at the same time.
        unsafe {
            if (*socket).stage != SOCKET_CLOSED {
                arrive(&mut *socket, bpf_ktime_get_ns());
                return 0;
            }
        }
    }
    // A UNIX connection has no state change to be seen; before it is accepted it is known by its listener's address.
    if is_unix && sock::state(sk) == sock::ESTABLISHED {
        let address = sock::unix_address(sk);
        if address != 0 && UNIX_LISTENERS.get_ptr(&address).is_some() {
            // SAFETY: the helper has no preconditions.
            let data_ns = unsafe { bpf_ktime_get_ns() };
            renew(sk, Beginning { established_ns: 0, data_ns, delayed_ms: 0 }, SOCKET_WAITING);
        }
    }
    0
}

/// A connection waits for a UNIX listener since now: the hook runs inside its client's connect, so it is the last one.
#[inline(always)]
fn arrive_at_unix(listener: u64, now_ns: u64) {
    if LISTENERS.get_ptr(&listener).is_none() {
        return;
    }
    let sk = sock::last_arrival(listener);
    if sk == 0 {
        return;
    }
    if let Some(known) = SOCKETS.get_ptr(&sk) {
        // Another client was between its place in the queue and this hook: that connection has its time.
        // SAFETY: the look-up succeeded.
        let is_known = unsafe {
            (*known).stage == SOCKET_WAITING && now_ns.wrapping_sub((*known).established_ns) < JUST_NOW_NS
        };
        if is_known {
            return;
        }
    }
    renew(sk, Beginning { established_ns: now_ns, data_ns: 0, delayed_ms: 0 }, SOCKET_WAITING);
}

#[inline(always)]
fn arrive(socket: &mut Socket, now_ns: u64) {
    if socket.first_data_ns == 0 {
        socket.first_data_ns = now_ns;
    }
    socket.last_data_ns = now_ns;
}

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
struct Beginning {
    /// When the handshake was done; 0: not seen.
    established_ns: u64,
    /// When its first byte came; 0: not yet.
    data_ns: u64,
    /// For how long its client had been refused.
    delayed_ms: u32,
}

/// A new connection lives at the address `sk`. The kernel gives addresses of sockets out again and again, so the element
/// is most often there.
#[inline(always)]
fn renew(sk: u64, beginning: Beginning, stage: u32) {
    let Beginning { established_ns, data_ns, delayed_ms } = beginning;
    if let Some(before) = SOCKETS.get_ptr_mut(&sk) {
        // SAFETY: the look-up succeeded. Nobody else writes it between the end of one connection and its successor's
        // first byte.
        unsafe {
            (*before).established_ns = established_ns;
            (*before).first_data_ns = data_ns;
            (*before).last_data_ns = data_ns;
            (*before).generation = (*before).generation.wrapping_add(1);
            (*before).stage = stage;
            (*before).delayed_ms = delayed_ms;
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
        // SAFETY: the look-up succeeded. A listener that appears at this moment on another CPU tells of itself again
        // with its first connection.
        unsafe {
            if *user == 0 {
                *user = BACK_END_PORT;
            }
        }
    }
    Some(socket)
}

/// The same is closed: what comes to its port is nobody's again.
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
