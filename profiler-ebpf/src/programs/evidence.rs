//! Evidence about ends: who ended or reset a connection, who killed a process.
//!
//! In: `inet_sock_set_state` (through `socket`), `tcp_receive_reset`, `tcp_send_reset`, `signal_generate`,
//! `mark_victim`; in light mode the system calls `accept` and `accept4` as they return, which costs no other
//! call anything. Out: evidence records, of connections to ports where a traced process listens and of traced
//! processes alone.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::task_struct;
use aya_ebpf::helpers::generated::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_task_btf, bpf_ktime_get_ns,
};
use aya_ebpf::macros::{btf_tracepoint, fexit};
use aya_ebpf::programs::{BtfTracePointContext, FExitContext};
use profiler_common::limits::COMM_BYTES;
use profiler_common::loss;
use profiler_common::record::evidence::{
    ACCEPT_FAILED, ACCEPT_FAILURES, CLIENT_ENDED, EvidenceRecord, FailedAccept, OUT_OF_MEMORY,
    RESET_RECEIVED, RESET_SENT, SIGCONT, SIGNAL, SIGNALS, STAGE_ACCEPTED, STAGE_CLOSED, STAGE_TAKEN,
    STAGE_UNKNOWN, STAGE_WAITING, SentReset, SentSignal,
};
use profiler_common::record::{KIND_EVIDENCE, RecordHeader};

use super::light;
use super::socket::listener_at;
use crate::emit;
use crate::empty;
use crate::kernel::{self, packet, registers, sock, task};
use crate::maps::{
    EVIDENCE, EVIDENCE_EMITTED, SOCKET_ACCEPTED, SOCKET_BACK_END, SOCKET_CLOSED, SOCKET_WAITING, SOCKETS,
    TARGETS,
};

/// `SEND_SIG_NOINFO` and `SEND_SIG_PRIV` stand in place of an address (include/linux/sched/signal.h).
const NO_INFO: u64 = 0;
/// See [`NO_INFO`]: sent by the kernel.
const PRIVATE: u64 = 1;
/// Distance of `si_code` in `struct kernel_siginfo` (include/uapi/asm-generic/siginfo.h).
const CODE_AT: u64 = 8;
/// `SI_KERNEL`.
const BY_KERNEL: i32 = 0x80;
/// `TRACE_SIGNAL_IGNORED` (include/trace/events/signal.h): the target ignores it, nothing comes of it.
const IGNORED: i32 = 1;

/// The client of a connection has ended its direction before the server did.
#[inline(always)]
pub fn client_ended(sk: sock::TypedSock) {
    of_connection(CLIENT_ENDED, sk, 0);
}

/// A connection was reset by the other end.
#[btf_tracepoint(function = "tcp_receive_reset")]
pub fn tcp_receive_reset(ctx: BtfTracePointContext) -> i32 {
    if !empty::bodies_left_out() {
        of_connection(RESET_RECEIVED, ctx.arg(0), 0);
    }
    0
}

/// The kernel resets a connection: its owner closed it with data unread, or data came after it was closed.
#[btf_tracepoint(function = "tcp_send_reset")]
pub fn tcp_send_reset(ctx: BtfTracePointContext) -> i32 {
    if !empty::bodies_left_out() {
        // The segment that it answers; none where the socket is closed with data unread.
        of_connection(RESET_SENT, ctx.arg(0), raw_argument(&ctx, 1));
    }
    0
}

/// A signal is sent.
#[btf_tracepoint(function = "signal_generate")]
pub fn signal_generate(ctx: BtfTracePointContext) -> i32 {
    if empty::bodies_left_out() {
        return 0;
    }
    let signal: i32 = ctx.arg(0);
    if !(1..=31).contains(&signal) || SIGNALS >> (signal as u32 & 31) & 1 == 0 {
        return 0;
    }
    // A process that ignores it goes on by it all the same.
    if ctx.arg::<i32>(4) == IGNORED && signal as u32 != SIGCONT {
        return 0;
    }
    let target: *mut task_struct = ctx.arg(2);
    let who = task::who(target);
    if TARGETS.get_ptr(&who.0).is_none() {
        return 0;
    }
    let info = raw_argument(&ctx, 1);
    let code = match info {
        NO_INFO => 0,
        PRIVATE => BY_KERNEL,
        info => kernel::read::<i32>(info.wrapping_add(CODE_AT)).unwrap_or(0),
    };
    of_process(SIGNAL, who, signal as u32, code);
    0
}

/// The kernel has chosen a process to die, as memory ran out. It is named by its number (up to Linux 6.7) or
/// its task.
#[btf_tracepoint(function = "mark_victim")]
pub fn mark_victim(ctx: BtfTracePointContext) -> i32 {
    if empty::bodies_left_out() {
        return 0;
    }
    let victim = raw_argument(&ctx, 0);
    let tgid = if victim > u64::from(u32::MAX) { task::tgid_at(victim) } else { victim as u32 };
    if TARGETS.get_ptr(&tgid).is_some() {
        of_process(OUT_OF_MEMORY, (tgid, tgid), 0, BY_KERNEL);
    }
    0
}

/// `accept` returns; the name of the function is that of x86_64.
#[fexit(function = "__x64_sys_accept")]
pub fn accept_returns(ctx: FExitContext) -> i32 {
    if !empty::bodies_left_out() {
        accept_returned(ctx.ret().unwrap_or(0));
    }
    0
}

/// `accept4` returns; the name of the function is that of x86_64.
#[fexit(function = "__x64_sys_accept4")]
pub fn accept4_returns(ctx: FExitContext) -> i32 {
    if !empty::bodies_left_out() {
        accept_returned(ctx.ret().unwrap_or(0));
    }
    0
}

/// Most accepts get a connection, or find none.
#[inline(always)]
fn accept_returned(result: i64) {
    let mut has_failed = false;
    for failure in ACCEPT_FAILURES {
        has_failed |= result == failure;
    }
    if !has_failed {
        return;
    }
    // SAFETY: the helpers have no preconditions.
    let (who, current) = unsafe { (bpf_get_current_pid_tgid(), bpf_get_current_task_btf()) };
    let who = ((who >> 32) as u32, who as u32);
    if TARGETS.get_ptr(&who.0).is_none() {
        return;
    }
    let [listener, ..] = registers::arguments(registers::of(current));
    let mut record = blank(ACCEPT_FAILED, who);
    record.detail = FailedAccept { listener_fd: listener as i32, result: result as i32 }.words();
    emit(&record);
}

/// An argument as a mere number: of one that may be an address, a task or a special value the verifier thinks
/// differently on each kernel.
#[inline(always)]
fn raw_argument(ctx: &BtfTracePointContext, index: u64) -> u64 {
    kernel::read((ctx.as_ptr() as u64).wrapping_add(index.wrapping_mul(8))).unwrap_or(0)
}

#[inline(always)]
fn of_process(what: u32, who: (u32, u32), signal: u32, code: i32) {
    let mut record = blank(what, who);
    // SAFETY: the helpers have no preconditions; the name has room for `COMM_BYTES`.
    unsafe {
        let sender_tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
        record.detail = SentSignal { number: signal, code, sender_tgid }.words();
        bpf_get_current_comm((&raw mut record.sender_comm).cast(), COMM_BYTES as u32);
    }
    emit(&record);
}

#[inline(always)]
fn of_connection(what: u32, sk: sock::TypedSock, packet: u64) {
    // A reset may concern no socket at all.
    if sk.is_null() {
        return;
    }
    let local_port = sock::typed_local_port(sk);
    let state = sock::typed_state(sk);
    let family = sock::typed_family(sk);
    let is_tcp = family == sock::AF_INET || family == sock::AF_INET6;
    if !is_tcp || state == sock::LISTEN || state == sock::NEW_SYN_RECV {
        return;
    }
    let address = sk as u64;
    // A socket that was closed has given its port back: it is known by its address alone.
    let is_ours = match local_port {
        // SAFETY: the look-up succeeded.
        0 => SOCKETS.get_ptr(&address).is_some_and(|socket| unsafe { (*socket).stage } != SOCKET_BACK_END),
        port => listener_at(port) != 0,
    };
    if !is_ours {
        return;
    }
    let mut record = blank(what, (0, 0));
    record.socket = address;
    record.state = u32::from(state);
    record.local_port = local_port;
    record.peer_port = sock::ends(address).map_or(0, |ends| ends.peer_port);
    record.unread_bytes = packet::carried_bytes(packet);
    if state != sock::TIME_WAIT {
        record.unread_bytes = record.unread_bytes.wrapping_add(sock::tcp_unread_bytes(address));
        record.unacknowledged_bytes = sock::tcp_unacknowledged_bytes(address);
        if let Some(socket) = SOCKETS.get_ptr_mut(&address) {
            // SAFETY: the look-up succeeded.
            unsafe {
                record.generation = (*socket).generation;
                record.established_ns = (*socket).established_ns;
                record.stage = match (*socket).stage {
                    SOCKET_WAITING if sock::is_taken(address) => STAGE_TAKEN,
                    SOCKET_WAITING => STAGE_WAITING,
                    SOCKET_ACCEPTED => STAGE_ACCEPTED,
                    SOCKET_CLOSED => STAGE_CLOSED,
                    _ => STAGE_UNKNOWN,
                };
                // No system call shows the close that this is.
                let is_close = what == RESET_SENT && packet == 0 && state == sock::CLOSE;
                if light::is_light() && is_close && matches!(record.stage, STAGE_ACCEPTED | STAGE_TAKEN) {
                    (*socket).stage = SOCKET_CLOSED;
                    let closer_tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
                    record.detail = SentReset { closer_tgid }.words();
                }
            }
        }
    }
    emit(&record);
}

#[inline(always)]
fn blank(what: u32, who: (u32, u32)) -> EvidenceRecord {
    EvidenceRecord {
        header: RecordHeader {
            kind: KIND_EVIDENCE,
            length_bytes: size_of::<EvidenceRecord>() as u16,
            cpu: 0,
            // SAFETY: the helper has no preconditions.
            time_ns: unsafe { bpf_ktime_get_ns() },
            tgid: who.0,
            tid: who.1,
        },
        what,
        ..EvidenceRecord::default()
    }
}

#[inline(always)]
fn emit(record: &EvidenceRecord) {
    /// `BPF_RB_NO_WAKEUP`: the reader has a timer.
    const NO_WAKEUP: u64 = 1;
    if EVIDENCE.output(record, NO_WAKEUP).is_err() {
        emit::lose(loss::RING_FULL_EVIDENCE);
    } else if let Some(emitted) = EVIDENCE_EMITTED.get_ptr_mut(0) {
        emit::count(emitted);
    }
}
