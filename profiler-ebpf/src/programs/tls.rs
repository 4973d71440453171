//! Probes in the server's OpenSSL (`--tls`): what is asked and answered on connections whose server does the
//! TLS itself.
//!
//! In: calls of `SSL_read` and `SSL_write`, with and without `_ex`. Out: plaintext records: the first bytes
//! of what begins like a request, as it has been received, and of what begins with a status line, as it is
//! about to be sent. They can be preempted anywhere. So they write to a ring that takes any number of
//! writers, and keep what they need in the thread's own storage: none of them needs a stack.

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_ktime_get_ns, bpf_probe_read_user};
use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use profiler_common::limits::MAX_PLAINTEXT_BYTES;
use profiler_common::loss;
use profiler_common::record::KIND_PLAINTEXT;
use profiler_common::record::head::{INBOUND, OUTBOUND};
use profiler_common::record::plaintext::PlaintextRecord;

use crate::account::{self, Account};
use crate::emit;
use crate::empty;
use crate::maps::{PLAINTEXTS, PLAINTEXTS_EMITTED, Plaintext, TLS_CALLS, TlsCall};

/// Fewest bytes that are looked at: no request and no status line has less.
const LEAST_BYTES: u64 = 8;
/// Most bytes of a request, as a bit mask.
const REQUEST_MASK: u64 = MAX_PLAINTEXT_BYTES as u64 - 1;
/// Most bytes of a response, as a bit mask: its status line is all that is asked of it.
const RESPONSE_MASK: u64 = 63;
/// `HTTP/1.`, and `HTTP/`: how responses begin.
const STATUS_LINE: u64 = u64::from_le_bytes(*b"HTTP/1.\0");
const RESPONSE: u64 = u64::from_le_bytes(*b"HTTP/\0\0\0");
/// `BPF_RB_NO_WAKEUP`: the reader has a timer.
const NO_WAKEUP: u64 = 1;

/// `SSL_read(session, buffer, room)` is called. It returns how many bytes it got.
#[uprobe]
pub fn tls_reads(ctx: ProbeContext) -> u32 {
    if !empty::bodies_left_out() {
        calls(&ctx, false);
    }
    0
}

/// `SSL_read_ex(session, buffer, room, count)` is called. It says at `count` how many bytes it got.
#[uprobe]
pub fn tls_reads_ex(ctx: ProbeContext) -> u32 {
    if !empty::bodies_left_out() {
        calls(&ctx, true);
    }
    0
}

/// Either returns.
#[uretprobe]
pub fn tls_returns(ctx: RetProbeContext) -> u32 {
    if empty::bodies_left_out() {
        return 0;
    }
    let Some(account) = account::current() else { return 0 };
    // SAFETY: the helper has no preconditions.
    let Some(call) = TLS_CALLS.get(unsafe { bpf_get_current_task_btf() }) else { return 0 };
    let result = ctx.ret::<u64>() as i32;
    // SAFETY: the look-up succeeded, and the storage is this thread's own.
    unsafe {
        let count_at = (*call).count_at;
        // Without the call there is nothing to be told, as where the probes were placed while it waited.
        let is_ours = (*call).buffer != 0;
        if is_ours && result > 0 {
            (*call).moved_bytes = result as u64;
            if count_at == 0 || copy(&raw mut (*call).moved_bytes, count_at) {
                tell(account, call, INBOUND);
            }
        }
        (*call).buffer = 0;
    }
    0
}

/// `SSL_write(session, buffer, count)` is called, or `SSL_write_ex`.
#[uprobe]
pub fn tls_writes(ctx: ProbeContext) -> u32 {
    if empty::bodies_left_out() {
        return 0;
    }
    let Some(account) = account::current() else { return 0 };
    // SAFETY: the helper has no preconditions.
    let Some(call) = TLS_CALLS.get_or_make(unsafe { bpf_get_current_task_btf() }) else { return 0 };
    // SAFETY: the look-up succeeded, and the storage is this thread's own.
    unsafe {
        (*call).session = ctx.arg(0).unwrap_or(0);
        (*call).buffer = ctx.arg(1).unwrap_or(0);
        // An `int` of `SSL_write`: its upper half is anything.
        (*call).moved_bytes = ctx.arg::<u64>(2).unwrap_or(0) & 0x7fff_ffff;
        tell(account, call, OUTBOUND);
        (*call).buffer = 0;
    }
    0
}

/// Keeps what a read is called with until it returns.
#[inline(always)]
fn calls(ctx: &ProbeContext, has_count: bool) {
    if account::current().is_none() {
        return;
    }
    // SAFETY: the helper has no preconditions.
    let Some(call) = TLS_CALLS.get_or_make(unsafe { bpf_get_current_task_btf() }) else { return };
    // SAFETY: the look-up succeeded, and the storage is this thread's own.
    unsafe {
        (*call).session = ctx.arg(0).unwrap_or(0);
        (*call).buffer = ctx.arg(1).unwrap_or(0);
        (*call).count_at = if has_count { ctx.arg(3).unwrap_or(0) } else { 0 };
    }
}

/// Emits what a call moves, if it begins as a message does.
///
/// # Safety
/// `account` and `call` are those of the thread that runs here.
#[inline(always)]
unsafe fn tell(account: Account, call: *mut TlsCall, direction: u32) {
    // SAFETY: as the caller promises.
    unsafe {
        let (buffer, moved) = ((*call).buffer, (*call).moved_bytes);
        if moved < LEAST_BYTES || !copy(&raw mut (*call).first, buffer) {
            return;
        }
        let is_outbound = direction == OUTBOUND;
        if !begins_message((*call).first, is_outbound) {
            return;
        }
        let Some(mut room) = PLAINTEXTS.reserve(0) else {
            return emit::lose(loss::RING_FULL_PLAINTEXT);
        };
        let mask = if is_outbound { RESPONSE_MASK } else { REQUEST_MASK };
        let length = if moved > mask { mask } else { moved } & REQUEST_MASK;
        let at: *mut Plaintext = room.as_mut_ptr();
        let bytes = (&raw mut (*at).bytes).cast();
        if bpf_probe_read_user(bytes, length as u32, buffer as *const _) != 0 {
            room.discard(NO_WAKEUP);
            return emit::lose(loss::HEAD_UNREADABLE);
        }
        // Field by field: a record that is put together first needs a stack.
        let record = &raw mut (*at).record;
        (*record).header.kind = KIND_PLAINTEXT;
        (*record).header.length_bytes = (size_of::<PlaintextRecord>() as u64 + length) as u16;
        (*record).header.cpu = 0;
        (*record).header.time_ns = bpf_ktime_get_ns();
        (*record).header.tgid = (*account).tgid;
        (*record).header.tid = (*account).tid;
        (*record).session = (*call).session;
        (*record).direction = direction;
        (*record).captured_bytes = length as u32;
        (*record).moved_bytes = moved;
        room.submit(NO_WAKEUP);
    }
    if let Some(emitted) = PLAINTEXTS_EMITTED.get_ptr_mut(0) {
        emit::count(emitted);
    }
}

/// Whether the first bytes of a message may be these: a method's first letter, or a status line.
#[inline(always)]
fn begins_message(first: u64, is_outbound: bool) -> bool {
    if is_outbound {
        first & 0x00ff_ffff_ffff_ffff == STATUS_LINE
    } else {
        // Who reads a response is a client, as a server is of its back ends.
        (first as u8).is_ascii_uppercase() && first & 0x00ff_ffff_ffff != RESPONSE
    }
}

/// Copies 8 bytes of the process to `to`, which is in a map: no stack is needed. Whether they could be read.
///
/// # Safety
/// `to` is in a map's value.
#[inline(always)]
unsafe fn copy(to: *mut u64, address: u64) -> bool {
    // SAFETY: as the caller promises.
    unsafe { bpf_probe_read_user(to.cast(), 8, address as *const _) == 0 }
}
