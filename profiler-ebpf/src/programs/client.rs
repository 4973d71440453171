//! What system calls mean for client connections: accepted, read, written, closed; head capture and arrival.
//!
//! In: an observed call with its arguments and result. Out: `DESCRIPTORS`, `SOCKETS`, connection and head
//! records, and what the slice says about it (flags, arrival). Heads are copied, not parsed: a capture is
//! armed where the direction of traffic turns.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use profiler_common::limits::{MAX_REQUEST_HEAD_BYTES, MAX_RESPONSE_HEAD_BYTES};
use profiler_common::loss;
use profiler_common::record::connection::{ACCEPTED, SEEDED};
use profiler_common::record::head::{INBOUND, OUTBOUND};
use profiler_common::record::slice::{FLAG_CLIENT, FLAG_STATUS_LINE};

use super::socket;
use crate::emit::{self, Connection, Head, Writer};
use crate::kernel::sock;
use crate::maps::{CLIENT, DESCRIPTORS, Descriptor, DescriptorKey, SOCKET_CLOSED, SOCKETS};

/// Where a transfer's bytes are in user memory.
#[derive(Clone, Copy)]
pub struct Buffer {
    /// User address.
    pub address: u64,
    /// Room there; `u64::MAX` where only the result bounds it.
    pub length: u64,
}

/// A call on a client connection that is ending.
#[derive(Clone, Copy)]
pub struct Transfer {
    /// Process and thread.
    pub who: (u32, u32),
    /// Descriptor.
    pub fd: u32,
    /// Exit of the call.
    pub now_ns: u64,
    /// Bytes moved, above 0.
    pub moved: u64,
    /// Of a read: how much it got of what it asked for.
    pub got: Got,
    /// Sequence of the slice; 0: there will be none (entry unknown), so nothing is captured.
    pub sequence: u32,
}

/// The descriptor's connection, if it is a client's.
#[inline(always)]
pub fn of(tgid: u32, fd: u32) -> Option<*mut Descriptor> {
    // SAFETY: the look-up succeeded.
    any(tgid, fd).filter(|descriptor| unsafe { (**descriptor).role } == CLIENT)
}

/// The descriptor's connection, a client's or to a back end.
#[inline(always)]
pub fn any(tgid: u32, fd: u32) -> Option<*mut Descriptor> {
    let descriptor = DESCRIPTORS.get_ptr_mut(&DescriptorKey { tgid, fd })?;
    // SAFETY: the look-up succeeded.
    if unsafe { (*descriptor).socket } == 0 { None } else { Some(descriptor) }
}

/// A number means something new now (or nothing): a close that was not seen must not outlive it.
#[inline(always)]
pub fn forget(tgid: u32, fd: u32) {
    if let Some(descriptor) = any(tgid, fd) {
        // SAFETY: the look-up succeeded.
        unsafe { (*descriptor).socket = 0 };
    }
}

/// The descriptor is about to be closed or replaced. At entry, because after it another thread may get the
/// number. Says whether it was a client's.
#[inline(always)]
pub fn closes(tgid: u32, fd: u32) -> bool {
    let Some(descriptor) = any(tgid, fd) else { return false };
    // SAFETY: the look-up succeeded.
    let (sk, is_client) = unsafe {
        let sk = (*descriptor).socket;
        (*descriptor).socket = 0;
        (sk, (*descriptor).role == CLIENT)
    };
    if let Some(socket) = SOCKETS.get_ptr_mut(&sk) {
        // SAFETY: the look-up succeeded.
        unsafe { (*socket).stage = SOCKET_CLOSED };
        if !is_client {
            socket::ended(socket);
        }
    }
    is_client
}

/// How a connection becomes known.
#[derive(Clone, Copy)]
pub enum Source {
    /// accept took it from the listener of this descriptor.
    Accepted(i32),
    /// The iterator found it open.
    Seeded,
}

/// A connection becomes known: stores its state, emits its record.
#[inline(always)]
pub fn begins(who: (u32, u32), fd: u32, sk: u64, source: Source, now_ns: u64) {
    let Some(state) = socket::accepted(sk) else { return };
    let Some(ends) = sock::ends(sk) else { return };
    let family = ends.family;
    let is_tcp = family == sock::AF_INET || family == sock::AF_INET6;
    let (local_port, peer_port) = if is_tcp { (ends.local_port, ends.peer_port) } else { (0, 0) };
    if is_tcp {
        socket::serves(local_port);
    }
    open(DescriptorKey { tgid: who.0, fd }, sk, is_tcp, CLIENT);
    // SAFETY: the look-up succeeded.
    let (established_ns, generation, delayed_ms) =
        unsafe { ((*state).established_ns, (*state).generation, (*state).delayed_ms as u16) };
    let connection = Connection {
        socket: sk,
        established_ns,
        generation,
        fd: fd as i32,
        listener_fd: match source {
            Source::Accepted(listener_fd) => listener_fd,
            Source::Seeded => -1,
        },
        origin: match source {
            Source::Accepted(_) => ACCEPTED,
            Source::Seeded => SEEDED,
        },
        family,
        local_port,
        peer_port,
        delayed_ms,
    };
    let writer = match source {
        Source::Accepted(_) => Writer::Hook,
        Source::Seeded => Writer::Iterator,
    };
    emit::connection(writer, &connection, who, now_ns);
}

/// The descriptor is a connection from now on, of this role.
#[inline(always)]
pub fn open(key: DescriptorKey, sk: u64, is_tcp: bool, role: u16) {
    // A connection that was open before us is most likely idle between two requests: armed as well.
    let (inbound_left, outbound_left, last_direction) = (MAX_REQUEST_HEAD_BYTES, 0, INBOUND);
    if let Some(before) = DESCRIPTORS.get_ptr_mut(&key) {
        // SAFETY: the look-up succeeded. The number is this process's, which has just got it back.
        unsafe {
            (*before).inbound_left = inbound_left;
            (*before).outbound_left = outbound_left;
            (*before).last_direction = last_direction;
            (*before).is_tcp = u16::from(is_tcp);
            (*before).role = role;
            (*before).socket = sk;
        }
        return;
    }
    let descriptor = Descriptor {
        socket: sk,
        inbound_left,
        outbound_left,
        last_direction,
        is_tcp: u16::from(is_tcp),
        role,
    };
    if DESCRIPTORS.insert(&key, &descriptor, 0).is_err() {
        emit::lose(loss::SOCKET_TABLE_FULL);
    }
}

/// accept returned `fd`.
#[inline(always)]
pub fn accept(who: (u32, u32), fd: u32, listener_fd: i32, now_ns: u64) {
    match crate::kernel::file::socket_of(fd) {
        Some(sk) => begins(who, fd, sk, Source::Accepted(listener_fd), now_ns),
        None => {
            forget(who.0, fd);
            emit::lose(loss::SOCKET_UNRESOLVED);
        }
    }
}

/// The iterator found an open connection.
#[inline(always)]
pub fn seed(who: (u32, u32), fd: u32, sk: u64, now_ns: u64) {
    if let Some(known) = of(who.0, fd) {
        // SAFETY: the look-up succeeded.
        if unsafe { (*known).socket } == sk {
            return;
        }
    }
    begins(who, fd, sk, Source::Seeded, now_ns);
}

/// Bytes were read from the client: captures a head, returns when the first of them arrived (0: not known).
#[inline(always)]
pub fn read(descriptor: *mut Descriptor, transfer: Transfer, buffer: Option<Buffer>) -> u64 {
    // SAFETY: the pointer comes from a successful look-up. Two threads that use one connection at the same
    // time only spoil its capture.
    unsafe {
        if (*descriptor).last_direction == OUTBOUND {
            (*descriptor).last_direction = INBOUND;
            (*descriptor).inbound_left = MAX_REQUEST_HEAD_BYTES;
            (*descriptor).outbound_left = 0;
        }
        let left = (*descriptor).inbound_left;
        if left > 0 {
            match buffer {
                Some(buffer) if transfer.sequence != 0 => {
                    let taken = take(transfer, buffer, left, MAX_REQUEST_HEAD_BYTES, INBOUND);
                    (*descriptor).inbound_left = left.wrapping_sub(taken);
                }
                _ => (*descriptor).inbound_left = 0,
            }
        }
    }
    // SAFETY: the pointer comes from a successful look-up.
    let (sk, is_tcp) = unsafe { ((*descriptor).socket, (*descriptor).is_tcp != 0) };
    arrival(sk, is_tcp, transfer.got)
}

/// Bytes were written to the client: captures a response head; returns the flags of the slice.
#[inline(always)]
pub fn write(descriptor: *mut Descriptor, transfer: Transfer, buffer: Option<Buffer>) -> u32 {
    let mut flags = 0;
    // SAFETY: as in `read`.
    unsafe {
        (*descriptor).last_direction = OUTBOUND;
        let Some(buffer) = buffer else {
            (*descriptor).outbound_left = 0;
            return 0;
        };
        if starts_with_status_line(transfer.moved, buffer) {
            flags = FLAG_STATUS_LINE;
            (*descriptor).outbound_left = MAX_RESPONSE_HEAD_BYTES;
        }
        let left = (*descriptor).outbound_left;
        if left > 0 && transfer.sequence != 0 {
            let taken = take(transfer, buffer, left, MAX_RESPONSE_HEAD_BYTES, OUTBOUND);
            (*descriptor).outbound_left = left.wrapping_sub(taken);
        } else {
            (*descriptor).outbound_left = 0;
        }
    }
    flags
}

/// How much a read got of what it asked for. No enumeration: Linux 6.1 refuses to copy a payload that is not
/// there.
#[derive(Clone, Copy)]
pub struct Got {
    /// Less, or it is not known how much it asked for.
    pub is_short: bool,
    /// Of less: all that was there when the call began, at this time (0: not known).
    pub all_since_ns: u64,
}

impl Got {
    /// As much: there may be more.
    pub const AS_ASKED: Self = Self { is_short: false, all_since_ns: 0 };
    /// How much the call asked for is not known.
    pub const UNKNOWN: Self = Self { is_short: true, all_since_ns: 0 };
}

/// Whatever else was called on the descriptor: the slice's flag.
#[inline(always)]
pub fn flag(tgid: u32, fd: u32) -> u32 {
    if of(tgid, fd).is_some() { FLAG_CLIENT } else { 0 }
}

/// Captures what the capture still takes; returns how much of its room is used up.
#[inline(always)]
pub fn take(transfer: Transfer, buffer: Buffer, left: u32, limit: u32, direction: u32) -> u32 {
    let mut length = transfer.moved;
    let mut whole = true;
    if length > buffer.length {
        // Further vectors are not captured: the capture ends here, or its offsets would lie.
        length = buffer.length;
        whole = false;
    }
    if length > u64::from(left) {
        length = u64::from(left);
    }
    let head = Head {
        fd: transfer.fd as i32,
        direction,
        sequence: transfer.sequence,
        offset_bytes: limit.wrapping_sub(left),
    };
    let ends_head = emit::head(&head, transfer.who, transfer.now_ns, buffer.address, length);
    // What follows a response's head nobody parses; behind a request's there may be another request.
    if whole && !(ends_head && direction == OUTBOUND) { length as u32 } else { left }
}

/// Whether this much of a buffer begins with a status line.
#[inline(always)]
pub fn starts_with_status_line(moved: u64, buffer: Buffer) -> bool {
    const PREFIX: u64 = u64::from_le_bytes(*b"HTTP/1.\0");
    if moved < 8 || buffer.length < 8 {
        return false;
    }
    let mut first = 0_u64;
    // SAFETY: the destination holds 8 bytes.
    let outcome = unsafe { bpf_probe_read_user((&raw mut first).cast(), 8, buffer.address as *const _) };
    outcome == 0 && first & 0x00ff_ffff_ffff_ffff == PREFIX
}

/// Arrival of the first byte that this read saw and none before it did; leaves what the next read will need.
///
/// Bytes that arrive between the kernel's copy and this hook make a race. A short read (or an empty receive
/// queue) clears the mark, and an arrival in just that moment would be cleared with it. So the mark is
/// cleared first and set again if `last_data_ns` has moved meanwhile. What remains is a window of
/// nanoseconds, in which an arrival is lost and the next read says "not known".
#[inline(always)]
pub fn arrival(sk: u64, is_tcp: bool, got: Got) -> u64 {
    let Some(socket) = SOCKETS.get_ptr_mut(&sk) else { return 0 };
    // SAFETY: the look-up succeeded.
    let (arrived_ns, last_ns) = unsafe {
        (
            (&raw const (*socket).first_data_ns).read_volatile(),
            (&raw const (*socket).last_data_ns).read_volatile(),
        )
    };
    // Nothing came since the call began: less than was asked for is all there was. To ask the socket costs
    // two calls.
    let drained = if !is_tcp || last_ns < got.all_since_ns {
        got.is_short
    } else {
        sock::tcp_is_drained(sk).unwrap_or(got.is_short)
    };
    // SAFETY: as above.
    unsafe {
        if drained {
            (&raw mut (*socket).first_data_ns).write_volatile(0);
            let later_ns = (&raw const (*socket).last_data_ns).read_volatile();
            if later_ns != last_ns {
                (&raw mut (*socket).first_data_ns).write_volatile(later_ns);
            }
        } else {
            (&raw mut (*socket).first_data_ns).write_volatile(last_ns);
        }
    }
    arrived_ns
}

/// The client has sent its FIN, and no byte is left: the mark that the FIN made is no arrival.
#[inline(always)]
pub fn ended(descriptor: *mut Descriptor) {
    // SAFETY: the pointer comes from a successful look-up.
    let sk = unsafe { (*descriptor).socket };
    if let Some(socket) = SOCKETS.get_ptr_mut(&sk) {
        // SAFETY: the look-up succeeded.
        unsafe { (*socket).first_data_ns = 0 };
    }
}
