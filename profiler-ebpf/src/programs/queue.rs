//! Full accept queues: handshakes that find no room, and how long that kept their clients.
//!
//! In: `tcp_conn_request` (a SYN), `tcp_v4_syn_recv_sock` and `tcp_v6_syn_recv_sock` (the ACK that ends a
//! handshake), looked at as they are entered; `unix_find_other` (a client's `connect` over a UNIX socket) as
//! it returns. Out: `QUEUES`, `REFUSED`, and when a connection came. The kernel refuses silently over TCP:
//! the client tries again after a second, so the first refusal is remembered by the client's address and port
//! until it is connected. Over UNIX sockets the client is told, or waits.

use core::ffi::c_void;
use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::{bpf_get_func_ret, bpf_ktime_get_ns};
use aya_ebpf::macros::{fentry, fexit};
use aya_ebpf::programs::{FEntryContext, FExitContext};
use profiler_common::loss;
use profiler_common::queue::QueueCount;

use crate::emit;
use crate::empty;
use crate::kernel::{packet, sock};
use crate::maps::{QUEUES, REFUSED, REFUSED_ANY};

/// A client that tries again after so long is another: the kernel's own attempts end before.
const LONGEST_NS: u64 = 200_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// A SYN reached a listener.
#[fentry(function = "tcp_conn_request")]
pub fn tcp_conn_request(ctx: FEntryContext) -> i32 {
    if !empty::bodies_left_out() {
        attempt(ctx.arg(2), ctx.arg(3), At::Begin);
    }
    0
}

/// The last packet of a handshake over IPv4 reached a listener.
#[fentry(function = "tcp_v4_syn_recv_sock")]
pub fn tcp_v4_syn_recv_sock(ctx: FEntryContext) -> i32 {
    if !empty::bodies_left_out() {
        attempt(ctx.arg(0), ctx.arg(1), At::End);
    }
    0
}

/// The last packet of a handshake over IPv6 reached a listener; one of both kinds hands on what came over
/// IPv4.
#[fentry(function = "tcp_v6_syn_recv_sock")]
pub fn tcp_v6_syn_recv_sock(ctx: FEntryContext) -> i32 {
    if !empty::bodies_left_out() {
        attempt(ctx.arg(0), ctx.arg(1), At::EndOverIpv6);
    }
    0
}

/// A client has found the UNIX socket that it names; what the kernel does next depends on how many wait
/// there.
#[fexit(function = "unix_find_other")]
pub fn unix_find_other(ctx: FExitContext) -> i32 {
    if empty::bodies_left_out() {
        return 0;
    }
    let mut listener = 0_u64;
    // SAFETY: the context is this program's own. Which argument comes last differs between kernels; the
    // helper knows.
    if unsafe { bpf_get_func_ret(ctx.as_ptr(), &raw mut listener) } != 0 {
        return 0;
    }
    // An error is no listener's address.
    if let Some(count) = QUEUES.get_ptr_mut(&listener)
        && sock::unix_queue_is_full(listener)
    {
        // SAFETY: the look-up succeeded.
        unsafe { add(&raw mut (*count).refused_at_begin) };
    }
    0
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Begin,
    End,
    EndOverIpv6,
}

#[inline(always)]
fn attempt(listener: sock::TypedSock, packet: *const c_void, at: At) {
    // As `sk_acceptq_is_full` has it.
    if sock::typed_backlog(listener) <= sock::typed_max_backlog(listener) {
        return;
    }
    let Some(count) = QUEUES.get_ptr_mut(&(listener as u64)) else { return };
    let Some(from) = packet::sender(packet as u64) else { return };
    if at == At::EndOverIpv6 && !from.is_ipv6 {
        return;
    }
    // SAFETY: the look-up succeeded.
    unsafe {
        match at {
            At::Begin => add(&raw mut (*count).refused_at_begin),
            At::End | At::EndOverIpv6 => add(&raw mut (*count).refused_at_end),
        }
    }
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let key = client(from.address, from.port, sock::typed_local_port(listener));
    if let Some(since_ns) = REFUSED.get_ptr(&key) {
        // SAFETY: the look-up succeeded.
        if now_ns.wrapping_sub(unsafe { *since_ns }) < LONGEST_NS {
            return;
        }
    }
    // SAFETY: the look-up succeeded.
    unsafe { add(&raw mut (*count).delayed) };
    if REFUSED.insert(&key, &now_ns, 0).is_err() {
        emit::lose(loss::SOCKET_TABLE_FULL);
    }
    if let Some(any) = REFUSED_ANY.get_ptr_mut(0) {
        // SAFETY: the look-up succeeded.
        unsafe { *any = 1 };
    }
}

/// A connection on the port `local_port` is made: for how long its client had been refused, in ms.
#[inline(always)]
pub fn delay_ms(sk: u64, local_port: u16, now_ns: u64) -> u32 {
    // SAFETY: the look-up succeeded.
    if REFUSED_ANY.get_ptr(0).is_none_or(|any| unsafe { *any == 0 }) {
        return 0;
    }
    let Some(peer) = sock::peer(sk) else { return 0 };
    let key = client(peer.address, peer.port, local_port);
    let Some(since_ns) = REFUSED.get_ptr(&key) else { return 0 };
    // SAFETY: the look-up succeeded.
    let delay_ns = now_ns.wrapping_sub(unsafe { *since_ns });
    let _ = REFUSED.remove(&key);
    if delay_ns >= LONGEST_NS {
        return 0;
    }
    let delay_ms = delay_ns / NS_PER_MS;
    // What is less than a millisecond is a delay too.
    if delay_ms == 0 {
        1
    } else if delay_ms > u64::from(u16::MAX) {
        u32::from(u16::MAX)
    } else {
        delay_ms as u32
    }
}

#[inline(always)]
fn client(address: u32, port: u16, local_port: u16) -> u64 {
    u64::from(address) << 32 | u64::from(port) << 16 | u64::from(local_port)
}

/// A traced process listens on the socket.
#[inline(always)]
pub fn listens(sk: u64, inode: u64) {
    if let Some(known) = QUEUES.get_ptr(&sk) {
        // SAFETY: the look-up succeeded. Another inode: the address is another listener's now.
        if unsafe { (*known).inode } == inode {
            return;
        }
    }
    let count = QueueCount {
        inode,
        refused_at_begin: 0,
        refused_at_end: 0,
        delayed: 0,
        is_deferred: u64::from(sock::is_deferred(sk)),
    };
    if QUEUES.insert(&sk, &count, 0).is_err() {
        emit::lose(loss::SOCKET_TABLE_FULL);
    }
}

/// Several CPUs count for one listener. The result must stay unused on this target.
///
/// # Safety
/// `counter` points into a map element.
#[inline(always)]
unsafe fn add(counter: *mut u64) {
    // SAFETY: as the caller promises.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, 1) };
}
