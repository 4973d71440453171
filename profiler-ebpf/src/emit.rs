//! The only place that writes to the ring buffer, so that no record and no loss goes uncounted.
//!
//! In: what a record holds. Out: the record in the ring, or one more in the loss counter of its kind. The reader is
//! never woken: it has a timer.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_ringbuf_output};
use profiler_common::account::ThreadAccount;
use profiler_common::limits::COMM_BYTES;
use profiler_common::loss;
use profiler_common::record::connection::ConnectionRecord;
use profiler_common::record::head::HeadRecord;
use profiler_common::record::lifecycle::LifecycleRecord;
use profiler_common::record::slice::SliceRecord;
use profiler_common::record::{KIND_CONNECTION, KIND_HEAD, KIND_LIFECYCLE, KIND_SLICE, RecordHeader};

use crate::maps::{EMITTED, HEAD_MASK, HEAD_SCRATCH, LOSSES, RECORDS};

const SUBMIT: u64 = BPF_RB_NO_WAKEUP as u64;

/// Counts one loss of the given cause (`profiler_common::loss`).
#[inline(always)]
pub fn lose(cause: u32) {
    if let Some(counter) = LOSSES.get_ptr_mut(cause) {
        add_one(counter);
    }
}

#[inline(always)]
fn emitted(kind: u32) {
    if let Some(counter) = EMITTED.get_ptr_mut(kind) {
        add_one(counter);
    }
}

/// Atomic although per CPU: iterators can be preempted. The result must stay unused on this target.
#[inline(always)]
fn add_one(counter: *mut u64) {
    // SAFETY: the pointer comes from a map look-up that succeeded.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, 1) };
}

/// Writes the header in place.
///
/// # Safety
/// `header` points into a reservation.
#[inline(always)]
unsafe fn write_header<T>(header: *mut RecordHeader, kind: u16, who: (u32, u32), time_ns: u64) {
    // SAFETY: as the caller promises.
    unsafe {
        (*header).kind = kind;
        (*header).length_bytes = size_of::<T>() as u16;
        (*header).cpu = bpf_get_smp_processor_id();
        (*header).time_ns = time_ns;
        (*header).tgid = who.0;
        (*header).tid = who.1;
    }
}

/// Emits the slice that ends now; `account` is settled up to `time_ns` and still holds the call's segment.
#[inline(always)]
pub fn slice(account: *mut ThreadAccount, time_ns: u64, result: i64, extra: u64, flags: u32) {
    let Some(mut entry) = RECORDS.reserve_untyped::<SliceRecord>(0) else {
        lose(loss::RING_FULL_SLICE);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: `record` is a reservation of this size, `account` an element of ACCOUNTS.
    unsafe {
        let of = &*account;
        write_header::<SliceRecord>(&raw mut (*record).header, KIND_SLICE, (of.tgid, of.tid), time_ns);
        (*record).enter_ns = of.enter_ns;
        (*record).arguments[0] = of.arguments[0];
        (*record).arguments[1] = of.arguments[1];
        (*record).arguments[2] = of.arguments[2];
        (*record).result = result;
        (*record).extra = extra;
        (*record).call_cpu_ns = of.cpu_ns;
        (*record).call_run_queue_ns = of.run_queue_ns;
        (*record).call_blocked_ns = of.blocked_ns;
        (*record).gap_cpu_ns = of.gap_cpu_ns;
        (*record).gap_run_queue_ns = of.gap_run_queue_ns;
        (*record).gap_blocked_ns = of.gap_blocked_ns;
        (*record).gap_fault_ns = of.gap_fault_ns;
        (*record).folded_ns = of.folded_ns;
        (*record).sequence = of.sequence;
        (*record).system_call = of.system_call as u32;
        (*record).folded_calls = of.folded_calls;
        (*record).call_switches = of.switches;
        (*record).gap_switches = of.gap_switches;
        (*record).waker_tid = if of.switches == 0 { 0 } else { of.waker_tid };
        (*record).gap_blocked_call = of.gap_blocked_call;
        (*record).flags = flags;
    }
    entry.submit(SUBMIT);
    emitted(loss::EMITTED_SLICE);
}

/// What a lifecycle record says.
pub struct Lifecycle {
    /// One of `profiler_common::record::lifecycle`'s constants.
    pub what: u32,
    /// Process and thread concerned.
    pub who: (u32, u32),
    /// Process and thread of the child.
    pub other: (u32, u32),
    /// See the record.
    pub value: i64,
    /// Kernel address of the name.
    pub comm: u64,
}

/// Emits a lifecycle record.
#[inline(always)]
pub fn lifecycle(event: &Lifecycle, time_ns: u64) {
    let Some(mut entry) = RECORDS.reserve_untyped::<LifecycleRecord>(0) else {
        lose(loss::RING_FULL_LIFECYCLE);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: `record` is a reservation of this size; an unreadable name leaves zeroes.
    unsafe {
        write_header::<LifecycleRecord>(&raw mut (*record).header, KIND_LIFECYCLE, event.who, time_ns);
        (*record).what = event.what;
        (*record).other_tgid = event.other.0;
        (*record).other_tid = event.other.1;
        (*record).reserved = 0;
        (*record).value = event.value;
        crate::kernel::read_bytes((&raw mut (*record).comm).cast(), COMM_BYTES as u32, event.comm);
    }
    entry.submit(SUBMIT);
    emitted(loss::EMITTED_LIFECYCLE);
}

/// What a connection record says, beside its header.
pub struct Connection {
    /// Address of the socket.
    pub socket: u64,
    /// When the handshake was done.
    pub established_ns: u64,
    /// Connections on this address before.
    pub generation: u32,
    /// Descriptor.
    pub fd: i32,
    /// Descriptor of the listener.
    pub listener_fd: i32,
    /// `profiler_common::record::connection::{ACCEPTED, SEEDED}`.
    pub origin: u32,
    /// Address family.
    pub family: u16,
    /// Host order.
    pub local_port: u16,
    /// Host order.
    pub peer_port: u16,
}

/// Emits a connection record for the given process and thread.
#[inline(always)]
pub fn connection(of: &Connection, who: (u32, u32), time_ns: u64) {
    let Some(mut entry) = RECORDS.reserve_untyped::<ConnectionRecord>(0) else {
        lose(loss::RING_FULL_CONNECTION);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: `record` is a reservation of this size.
    unsafe {
        write_header::<ConnectionRecord>(&raw mut (*record).header, KIND_CONNECTION, who, time_ns);
        (*record).socket = of.socket;
        (*record).established_ns = of.established_ns;
        (*record).generation = of.generation;
        (*record).fd = of.fd;
        (*record).listener_fd = of.listener_fd;
        (*record).origin = of.origin;
        (*record).family = of.family;
        (*record).local_port = of.local_port;
        (*record).peer_port = of.peer_port;
        (*record).reserved = 0;
    }
    entry.submit(SUBMIT);
    emitted(loss::EMITTED_CONNECTION);
}

/// What a head record says, beside its header and bytes.
pub struct Head {
    /// Descriptor.
    pub fd: i32,
    /// `profiler_common::record::head::{INBOUND, OUTBOUND}`.
    pub direction: u32,
    /// Sequence of the slice of the same call.
    pub sequence: u32,
    /// Bytes captured before.
    pub offset_bytes: u32,
}

/// Emits `length` bytes (at most [`HEAD_MASK`]) of user memory at `address` as a head record.
#[inline(always)]
pub fn head(of: &Head, who: (u32, u32), time_ns: u64, address: u64, length: u64) {
    let length = length & HEAD_MASK;
    let Some(scratch) = HEAD_SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: `scratch` is this CPU's element (preemption is off in these programs); the mask bounds the copies.
    let outcome = unsafe {
        let bytes = (&raw mut (*scratch).bytes).cast();
        if bpf_probe_read_user(bytes, length as u32, address as *const _) != 0 {
            lose(loss::HEAD_UNREADABLE);
            return;
        }
        let record = &raw mut (*scratch).record;
        write_header::<HeadRecord>(&raw mut (*record).header, KIND_HEAD, who, time_ns);
        (*record).header.length_bytes = (size_of::<HeadRecord>() as u64 + length) as u16;
        (*record).fd = of.fd;
        (*record).direction = of.direction;
        (*record).sequence = of.sequence;
        (*record).offset_bytes = of.offset_bytes;
        (*record).captured_bytes = length as u32;
        (*record).reserved = 0;
        let ring = core::ptr::from_ref(&RECORDS).cast_mut().cast();
        bpf_ringbuf_output(ring, scratch.cast(), size_of::<HeadRecord>() as u64 + length, SUBMIT)
    };
    if outcome == 0 { emitted(loss::EMITTED_HEAD) } else { lose(loss::RING_FULL_HEAD) }
}
