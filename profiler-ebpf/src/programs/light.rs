//! Light mode: bytes that traced threads receive from clients and send to them. No system call is hooked.
//!
//! In: `sock_recv_length`, `sock_send_length`, ends of connections (by `arrival`). Out: light slices. The
//! socket shows whether it is a client's: its local port is that of a traced listener. Nothing is known of
//! descriptors here. `light_head` captures heads of messages.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use profiler_common::record::light::{END_BY_SEND, END_UNUSED, RECEIVED, SENT};

use super::client::{self, Got};
use super::light_head::{self, Moved};
use super::socket;
use crate::account::{self, Account};
use crate::emit::{self, Light, LightEnd};
use crate::empty;
use crate::kernel::sock::{self, TypedSock};
use crate::maps::{
    SOCKET_ACCEPTED, SOCKET_CLOSED, SOCKET_WAITING, SOCKETS, SPEAKS_UNKNOWN, Socket, UNIX_LISTENERS,
};
use crate::preemption;

/// Not 0 in light mode: the programs that every mode has report then what system calls would have shown.
#[unsafe(no_mangle)]
static LIGHT: Global<u32> = Global::new(0);

/// `MSG_PEEK`: a receive that takes nothing.
const MSG_PEEK: i32 = 2;
/// `-EPIPE`, `-ECONNRESET`, `-ETIMEDOUT`: the other side is gone.
const GONE: [i32; 3] = [-32, -104, -110];
/// How a connection ends.
#[derive(Clone, Copy)]
struct How {
    /// The error by which a call met that the client had gone, as a positive number; 0: this side closed it.
    error: u16,
    /// Flag bits of the record.
    flags: u32,
}

/// This side closed the connection.
const BY_CLOSE: How = How { error: 0, flags: 0 };

/// Whether this is light mode; a constant for the verifier.
#[inline(always)]
pub fn is_light() -> bool {
    LIGHT.load() != 0
}

/// A message was received.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn light_received(ctx: BtfTracePointContext) -> i32 {
    if empty::bodies_left_out() {
        return 0;
    }
    preemption::disabled(|| {
        if ctx.arg::<i32>(2) & MSG_PEEK == 0 {
            moved(ctx.arg(0), ctx.arg(1), RECEIVED);
        }
    });
    0
}

/// A message was sent.
#[btf_tracepoint(function = "sock_send_length")]
pub fn light_sent(ctx: BtfTracePointContext) -> i32 {
    if empty::bodies_left_out() {
        return 0;
    }
    preemption::disabled(|| moved(ctx.arg(0), ctx.arg(1), SENT));
    0
}

#[inline(always)]
fn moved(typed: TypedSock, bytes: i32, what: u32) {
    if bytes <= 0 {
        if bytes == GONE[0] || bytes == GONE[1] || bytes == GONE[2] {
            let flags = if what == SENT { END_BY_SEND } else { 0 };
            ended(typed, How { error: bytes.wrapping_neg() as u16, flags });
        }
        return;
    }
    let Some(account) = account::current() else { return };
    message(account, typed, bytes as u64, what);
}

/// Bytes are moved on the UNIX socket of this inode. Nothing shows such a socket closed: if it is not the one
/// that was known at this address, this is another connection, whose bytes are all that is left to read.
#[inline(always)]
fn renew_unix(state: &mut Socket, inode: u64) {
    if inode != 0 && state.inode != 0 && inode != state.inode {
        state.generation = state.generation.wrapping_add(1);
        (state.speaks, state.capture) = (SPEAKS_UNKNOWN, 0);
    }
    state.inode = inode;
}

/// The thread of `account`, which runs here, has moved so many bytes of a message.
#[inline(always)]
fn message(account: Account, typed: TypedSock, bytes: u64, what: u32) {
    let sk = typed as u64;
    let family = sock::typed_family(typed);
    let is_tcp = family == sock::AF_INET || family == sock::AF_INET6;
    let local_port = if is_tcp { sock::typed_local_port(typed) } else { 0 };
    // A reset takes the port away, and over loopback comes before the call that it answers has ended.
    let is_reset = is_tcp && local_port == 0;
    if is_tcp && !is_reset && socket::listener_at(local_port) == 0 {
        return;
    }
    // Nothing shows a UNIX socket closed: at its address may be another by now, which serves nobody.
    if !is_tcp && UNIX_LISTENERS.get_ptr(&sock::unix_address(sk)).is_none() {
        return;
    }
    let state = match SOCKETS.get_ptr_mut(&sk) {
        // SAFETY: the look-up succeeded.
        Some(state) => match unsafe { (*state).stage } {
            SOCKET_ACCEPTED => Some(state),
            // What is still read or sent after the end is no request, and no answer to one.
            SOCKET_CLOSED => None,
            _ if is_reset => None,
            _ => socket::accepted(sk),
        },
        // Of UNIX sockets only those are known that belong to a traced listener.
        None if is_tcp && !is_reset => socket::accepted(sk),
        None => None,
    };
    let Some(state) = state else { return };
    if !is_tcp {
        // SAFETY: the look-up succeeded.
        renew_unix(unsafe { &mut *state }, sock::inode(sk));
    }
    let arrival_ns = if what == RECEIVED { client::arrival(sk, is_tcp, Got::UNKNOWN) } else { 0 };
    // SAFETY: the look-up succeeded; the thread itself runs here, so this is its account's only writer.
    unsafe {
        let light = Light {
            socket: sk,
            generation: (*state).generation,
            what,
            bytes,
            arrival_ns,
            family,
            local_port,
        };
        let mut change = account::change(account);
        let now_ns = account::settle_running(&mut change, bpf_ktime_get_ns());
        change.sequence = change.sequence.wrapping_add(1);
        let moved = Moved { who: (change.tgid, change.tid), sequence: change.sequence, bytes, now_ns };
        if what == RECEIVED {
            light_head::received(state, &moved);
        } else {
            light_head::sent(state, &moved);
        }
        emit::light(account, &light, now_ns);
        account::restart(&mut change, now_ns);
    }
    if is_reset {
        ended(typed, BY_CLOSE);
    }
}

/// A connection was open before. Its descriptor is of no use here: nobody would see it closed.
#[inline(always)]
pub fn seed(sk: u64) {
    // SAFETY: the look-up succeeded.
    let is_new = SOCKETS.get_ptr(&sk).is_none_or(|state| unsafe { (*state).stage } == SOCKET_WAITING);
    if is_new {
        let _ = socket::accepted(sk);
    }
}

/// A connection of a traced listener is closed on this side. Where that resets it the socket has lost its
/// port, and `evidence` reports it.
#[inline(always)]
pub fn closed(typed: TypedSock) {
    if socket::listener_at(sock::typed_local_port(typed)) != 0 {
        preemption::disabled(|| ended(typed, BY_CLOSE));
    }
}

/// A connection is closed, or a call met that the other side has reset or left it. From a reset nothing
/// could be emitted: it comes in the middle of anything, and the socket has lost its port by then.
#[inline(always)]
fn ended(typed: TypedSock, how: How) {
    let sk = typed as u64;
    let Some(state) = SOCKETS.get_ptr_mut(&sk) else { return };
    // SAFETY: the look-up succeeded.
    unsafe {
        let stage = (*state).stage;
        // Accepted, and nothing was moved on it.
        let is_unused = stage == SOCKET_WAITING && sock::is_taken(sk);
        if stage != SOCKET_ACCEPTED && !is_unused {
            return;
        }
        (*state).stage = SOCKET_CLOSED;
        let family = sock::typed_family(typed);
        let is_tcp = family == sock::AF_INET || family == sock::AF_INET6;
        let (local_port, peer_port) =
            if is_tcp { (sock::typed_local_port(typed), sock::typed_peer_port(typed)) } else { (0, 0) };
        let end = LightEnd {
            socket: sk,
            established_ns: (*state).established_ns,
            generation: (*state).generation,
            flags: how.flags | if is_unused { END_UNUSED } else { 0 },
            error: how.error,
            family,
            local_port,
            peer_port,
        };
        emit::light_end((bpf_get_current_pid_tgid() >> 32) as u32, &end, bpf_ktime_get_ns());
    }
}
