//! Light mode: heads of messages, from the buffer of the call that moved them.
//!
//! In: bytes that the running thread has just moved on a client's socket. Out: head records, each before the
//! light slice with its sequence. The buffer is in the registers that the thread left at the entry of its
//! call, and its bytes were copied a moment ago. Of TLS only the headers of records survive (`redact`):
//! by them handshakes are known to be no requests.

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_user};
use profiler_common::call_kind::Kind;
use profiler_common::limits::{MAX_REQUEST_HEAD_BYTES, MAX_RESPONSE_HEAD_BYTES};
use profiler_common::record::head::{INBOUND, OUTBOUND};
use profiler_common::system_call::kind;

use super::client::{self, Buffer, Got, Transfer};
use super::system_call;
use crate::emit::{self, Head};
use crate::kernel::{registers, task};
use crate::maps::{SPEAKS_PLAIN, SPEAKS_TLS, Socket};

/// [`Socket::capture`]: the last message was sent, not received.
const IS_OUTBOUND: u32 = 1 << 31;
/// [`Socket::capture`]: something was moved.
const HAS_BEGUN: u32 = 1 << 30;
/// [`Socket::capture`]: bytes that the head under way may still take.
const LEFT: u32 = 0xffff;
/// Most bytes of a read that are looked at for headers of records: a client's whole handshake up to TLS 1.2,
/// but for its certificates.
const RECORDS_MAX_BYTES: u64 = 511;

/// A message, or a part of one.
#[derive(Clone, Copy)]
pub struct Moved {
    /// Process and thread.
    pub who: (u32, u32),
    /// Sequence of the light slice that follows.
    pub sequence: u32,
    /// How many bytes.
    pub bytes: u64,
    /// When.
    pub now_ns: u64,
}

/// Bytes were received on the connection of `state`.
#[inline(always)]
pub fn received(state: *mut Socket, moved: &Moved) {
    let Some((fd, buffer)) = current_buffer() else { return not_seen(state) };
    // SAFETY: the caller's look-up succeeded; two threads that use one connection at the same time only spoil
    // its capture.
    unsafe {
        if (*state).speaks != SPEAKS_PLAIN {
            if begins_record(buffer, moved.bytes) {
                (*state).speaks = SPEAKS_TLS;
                let length = if moved.bytes < buffer.length { moved.bytes } else { buffer.length };
                let length = if length > RECORDS_MAX_BYTES { RECORDS_MAX_BYTES } else { length };
                let head = Head { fd, direction: INBOUND, sequence: moved.sequence, offset_bytes: 0 };
                let _ = emit::head(&head, moved.who, moved.now_ns, buffer.address, length);
                return;
            }
            if (*state).speaks == SPEAKS_TLS {
                return;
            }
            (*state).speaks = SPEAKS_PLAIN;
        }
        let capture = (*state).capture;
        let begins = capture & HAS_BEGUN == 0 || capture & IS_OUTBOUND != 0;
        let left = if begins { MAX_REQUEST_HEAD_BYTES } else { capture & LEFT };
        let left = left_after(moved, (fd, buffer), (left, MAX_REQUEST_HEAD_BYTES), INBOUND);
        (*state).capture = HAS_BEGUN | left;
    }
}

/// Bytes were sent on the connection of `state`.
#[inline(always)]
pub fn sent(state: *mut Socket, moved: &Moved) {
    let Some((fd, buffer)) = current_buffer() else { return not_seen(state) };
    // SAFETY: as above.
    unsafe {
        if (*state).speaks == SPEAKS_TLS {
            return;
        }
        let capture = (*state).capture;
        let goes_on = if capture & IS_OUTBOUND != 0 { capture & LEFT } else { 0 };
        let begins = client::starts_with_status_line(moved.bytes, buffer);
        let left = if begins { MAX_RESPONSE_HEAD_BYTES } else { goes_on };
        let left = left_after(moved, (fd, buffer), (left, MAX_RESPONSE_HEAD_BYTES), OUTBOUND);
        (*state).capture = HAS_BEGUN | IS_OUTBOUND | left;
    }
}

/// Captures what the head under way still takes; returns how much it may take after that.
#[inline(always)]
fn left_after(moved: &Moved, (fd, buffer): (i32, Buffer), (left, limit): (u32, u32), direction: u32) -> u32 {
    if left == 0 {
        return 0;
    }
    let transfer = Transfer {
        who: moved.who,
        fd: fd as u32,
        now_ns: moved.now_ns,
        moved: moved.bytes,
        got: Got::UNKNOWN,
        sequence: moved.sequence,
    };
    left.wrapping_sub(client::take(transfer, buffer, left, limit, direction)) & LEFT
}

/// The bytes of a part of a head were not seen: its capture ends.
#[inline(always)]
fn not_seen(state: *mut Socket) {
    // SAFETY: as above.
    unsafe { (*state).capture &= !LEFT };
}

/// The descriptor and the buffer of the call that the thread is in; `None`: its bytes are elsewhere.
#[inline(always)]
fn current_buffer() -> Option<(i32, Buffer)> {
    // SAFETY: the helper has no preconditions.
    let current = unsafe { bpf_get_current_task_btf() };
    let registers = registers::of(current);
    if !registers::is_of_64_bits(registers) || task::is_in_32_bit_call(current) {
        return None;
    }
    let number = registers::system_call(registers) as u32;
    let kind = kind(number)?;
    if !matches!(
        kind,
        Kind::Read
            | Kind::ReadVector
            | Kind::ReadMessage
            | Kind::Write
            | Kind::WriteVector
            | Kind::WriteMessage
    ) {
        return None;
    }
    let arguments = registers::arguments(registers);
    Some((arguments[0] as i32, system_call::buffer(kind, number, arguments)?))
}

/// Whether the bytes begin with the header of a TLS record: types and version as in the core's `tls`.
#[inline(always)]
fn begins_record(buffer: Buffer, bytes: u64) -> bool {
    let mut first = [0_u8; 2];
    if bytes < 2 || buffer.length < 2 {
        return false;
    }
    // SAFETY: the destination holds 2 bytes.
    let outcome = unsafe { bpf_probe_read_user((&raw mut first).cast(), 2, buffer.address as *const _) };
    outcome == 0 && (20..=24).contains(&first[0]) && first[1] == 3
}
