//! Socket hooks: when a connection to a traced listener is there, and when bytes reach it.
//!
//! In: `inet_sock_set_state`, `sk_data_ready` (from Linux 6.3). Out: `SOCKETS`, and the cause of the next
//! wakeups.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use super::socket::{Beginning, listener_at, listens, renew, user_of};
use super::{back_end, evidence, light, queue};
use crate::account;
use crate::cause;
use crate::empty;
use crate::kernel::sock;
use crate::maps::{LISTENERS, SOCKET_CLOSED, SOCKET_WAITING, SOCKETS, Socket, UNIX_LISTENERS};

/// Not 0 where this kernel has no `sk_data_ready`: then a connection's own state change stands for its
/// announcement, and of several listeners on one port the one that became known last gets the count.
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
    }
    if ctx.arg::<i32>(2) == i32::from(sock::CLOSE_WAIT) {
        evidence::client_ended(ctx.arg(0));
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
        // A port of the same number in another network namespace is another listener's.
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
    // A UNIX peer queues its bytes first and calls this hook without a lock. A reader that was faster has
    // them, and no later read may take their arrival for its own. Its own stays unknown.
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
    // A UNIX connection has no state change to be seen; before it is accepted it is known by its listener's
    // address.
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

/// A connection waits for a UNIX listener since now: the hook runs inside its client's connect, so it is the
/// last one.
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
