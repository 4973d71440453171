//! The only place that writes records, so that no record and no loss goes uncounted.
//!
//! In: what a record holds. Out: the record in this CPU's ring, or one more in the loss counter of its kind.
//! The reader is never woken: it has a timer.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::helpers::generated::bpf_probe_read_user;
use profiler_common::account::ThreadAccount;
use profiler_common::limits::COMM_BYTES;
use profiler_common::loss;
use profiler_common::record::connection::ConnectionRecord;
use profiler_common::record::detail::FutexSleep;
use profiler_common::record::frames::FramesRecord;
use profiler_common::record::head::HeadRecord;
use profiler_common::record::lifecycle::LifecycleRecord;
use profiler_common::record::light::{LightEndRecord, LightRecord};
use profiler_common::record::sleep::SleepRecord;
use profiler_common::record::slice::{FLAG_WAKE_MISSED, SliceRecord, Undecided};
use profiler_common::record::taken::{MAX_STINTS, Stint, TakenRecord};
use profiler_common::record::task::TaskRecord;
use profiler_common::record::timer::TimerRecord;
use profiler_common::record::wake::WakeRecord;
use profiler_common::record::{
    KIND_CONNECTION, KIND_HEAD, KIND_LIFECYCLE, KIND_LIGHT, KIND_LIGHT_END, KIND_SLEEP, KIND_SLICE,
    KIND_TAKEN, KIND_TASK, KIND_TIMER, KIND_WAKE, RecordHeader,
};
use profiler_common::ring::{CHUNK_BYTES, RingState, after};
use profiler_common::system_call::FUTEX;

use crate::maps::{Cpu, ITERATORS_RING, LOSSES, RECORDS, RING_CAPACITY, RING_CHUNKS, RING_STATES, TAKEN};
use crate::order;

/// Counts one loss of the given cause (`profiler_common::loss`).
#[inline(always)]
pub fn lose(cause: u32) {
    if let Some(counter) = LOSSES.get_ptr_mut(cause) {
        count(counter);
    }
}

/// Adds one to an element of a map.
#[inline(always)]
pub fn count(counter: *mut u64) {
    // SAFETY: the pointer comes from a successful look-up. Atomic although per CPU: iterators can be
    // preempted, hooks interrupted by others. The result must stay unused on this target.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, 1) };
}

/// Who writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// A hook: nothing else of ours runs on its CPU meanwhile.
    Hook,
    /// An iterator: hooks may run in between, so it has a ring of its own.
    Iterator,
}

/// Room for one record in a ring that nobody else writes to until it is given back.
struct Room {
    cpu: u32,
    state: *mut RingState,
    position: u64,
    at: *mut u8,
}

/// Room for a record of `length_bytes`; `None`: it is lost, and counted as `full` if the ring was full.
#[inline(always)]
fn reserve(writer: Writer, length_bytes: u64, full: u32) -> Option<Room> {
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let ring = if writer == Writer::Iterator { ITERATORS_RING.load() } else { cpu };
    let (Some(state), Some(taken)) = (RING_STATES.get_ptr_mut(ring), TAKEN.get_ptr(ring)) else {
        lose(full);
        return None;
    };
    // SAFETY: the look-ups succeeded. `busy` is set before the position is read: who comes in between sees
    // it.
    let (position, taken) = unsafe {
        let busy = &raw mut (*state).busy;
        if busy.read_volatile() != 0 {
            lose(loss::RING_BUSY);
            return None;
        }
        busy.write_volatile(1);
        ((&raw const (*state).written).read_volatile(), taken.read_volatile())
    };
    let in_use = position.wrapping_sub(taken).wrapping_add(length_bytes);
    let chunks = RING_CHUNKS.load();
    let chunk = (position / CHUNK_BYTES) as u32 & chunks.wrapping_sub(1);
    let element = match RECORDS.get_ptr_mut(ring.wrapping_mul(chunks).wrapping_add(chunk)) {
        Some(element) if in_use <= u64::from(RING_CAPACITY.load()) => element,
        _ => {
            // SAFETY: as above.
            unsafe { (&raw mut (*state).busy).write_volatile(0) };
            lose(full);
            return None;
        }
    };
    // SAFETY: the mask keeps the place inside the element, with room behind it for the longest record.
    let at = unsafe { element.cast::<u8>().add((position & (CHUNK_BYTES - 1)) as usize) };
    Some(Room { cpu, state, position, at })
}

impl Room {
    /// Hands the record over: what was written before is there when the reader sees the new position.
    #[inline(always)]
    fn commit(self, length_bytes: u64, kind: usize) {
        order::barrier();
        // SAFETY: the state comes from a look-up that succeeded.
        unsafe {
            (*self.state).emitted[kind] = (*self.state).emitted[kind].wrapping_add(1);
            (&raw mut (*self.state).written).write_volatile(after(self.position, length_bytes));
            (&raw mut (*self.state).busy).write_volatile(0);
        }
    }

    /// Leaves the ring as it was.
    #[inline(always)]
    fn give_back(self) {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.state).busy).write_volatile(0) };
    }

    /// Writes the header in place.
    #[inline(always)]
    fn write_header(&self, kind: u16, length_bytes: u64, who: (u32, u32), time_ns: u64) {
        let header = self.at.cast::<RecordHeader>();
        // SAFETY: the room holds a whole record.
        unsafe {
            (*header).kind = kind;
            (*header).length_bytes = length_bytes as u16;
            (*header).cpu = self.cpu;
            (*header).time_ns = time_ns;
            (*header).tgid = who.0;
            (*header).tid = who.1;
        }
    }
}

/// Emits the slice that ends now; `account` is settled up to `time_ns` and still holds the call's segment.
/// `last` is the last word of the call's detail.
#[inline(always)]
pub fn slice(account: *mut ThreadAccount, time_ns: u64, result: i64, last: u64, flags: u32) {
    const LENGTH: u64 = size_of::<SliceRecord>() as u64;
    const WITH_UNDECIDED: u64 = LENGTH + size_of::<Undecided>() as u64;
    let is_undecided = flags & FLAG_WAKE_MISSED != 0;
    let length_bytes = if is_undecided { WITH_UNDECIDED } else { LENGTH };
    let Some(room) = reserve(Writer::Hook, length_bytes, loss::RING_FULL_SLICE) else { return };
    let record = room.at.cast::<SliceRecord>();
    // SAFETY: the room holds a whole record, `account` is an element of ACCOUNTS.
    unsafe {
        let of = &*account;
        room.write_header(KIND_SLICE, length_bytes, (of.tgid, of.tid), time_ns);
        (*record).enter_ns = of.enter_ns;
        (*record).detail[0] = of.detail[0];
        (*record).detail[1] = of.detail[1];
        (*record).detail[2] = of.detail[2];
        (*record).detail[3] = last;
        (*record).result = result;
        (*record).call_cpu_ns = of.cpu_ns;
        (*record).call_run_queue_ns = of.run_queue_ns;
        (*record).call_blocked_ns = of.blocked_ns;
        (*record).gap_cpu_ns = of.gap_cpu_ns;
        (*record).gap_run_queue_ns = of.gap_run_queue_ns;
        (*record).gap_blocked_ns = of.gap_blocked_ns;
        (*record).gap_fault_ns = of.gap_fault_ns;
        (*record).folded_ns = of.folded_ns;
        (*record).sequence = of.sequence;
        (*record).folded_calls = of.folded_calls;
        (*record).call_switches = of.switches;
        (*record).gap_switches = of.gap_switches;
        (*record).waker_tid = if of.switches | of.gap_switches == 0 { 0 } else { of.waker_tid };
        (*record).gap_blocked_call = of.gap_blocked_call;
        (*record).take_tail_ns = of.take_tail_ns;
        (*record).system_call = of.system_call as u16;
        (*record).flags = flags as u16;
        if is_undecided {
            let undecided = record.add(1).cast::<Undecided>();
            (*undecided).call_ns = of.call_undecided_ns;
            (*undecided).gap_ns = of.gap_undecided_ns;
        }
    }
    room.commit(length_bytes, loss::EMITTED_SLICE as usize);
}

/// What a light slice says of its socket.
pub struct Light {
    /// Address of the socket.
    pub socket: u64,
    /// Connections on this address before.
    pub generation: u32,
    /// One of `profiler_common::record::light`'s constants.
    pub what: u32,
    /// Bytes moved.
    pub bytes: u64,
    /// See the record.
    pub arrival_ns: u64,
    /// Address family.
    pub family: u16,
    /// Host order.
    pub local_port: u16,
}

/// Emits the light slice that ends now: that of `account`, which is settled up to `time_ns`. It is counted as
/// a slice: where there are light ones there are no others.
#[inline(always)]
pub fn light(account: *mut ThreadAccount, of: &Light, time_ns: u64) {
    const LENGTH: u64 = size_of::<LightRecord>() as u64;
    let Some(room) = reserve(Writer::Hook, LENGTH, loss::RING_FULL_SLICE) else { return };
    let record = room.at.cast::<LightRecord>();
    // SAFETY: the room holds a whole record, `account` is an element of ACCOUNTS.
    unsafe {
        let thread = &*account;
        room.write_header(KIND_LIGHT, LENGTH, (thread.tgid, thread.tid), time_ns);
        (*record).socket = of.socket;
        (*record).bytes = of.bytes;
        (*record).arrival_ns = of.arrival_ns;
        (*record).since_ns = thread.segment_start_ns;
        (*record).cpu_ns = thread.cpu_ns;
        (*record).run_queue_ns = thread.run_queue_ns;
        (*record).blocked_ns = thread.blocked_ns;
        (*record).generation = of.generation;
        (*record).what = of.what;
        (*record).sequence = thread.sequence;
        (*record).switches = thread.switches;
        (*record).flags = thread.flags;
        (*record).family = of.family;
        (*record).local_port = of.local_port;
    }
    room.commit(LENGTH, loss::EMITTED_SLICE as usize);
}

/// What the end of a connection says of it.
pub struct LightEnd {
    /// Address of the socket.
    pub socket: u64,
    /// When the handshake was done.
    pub established_ns: u64,
    /// Connections on this address before.
    pub generation: u32,
    /// Flag bits of the record.
    pub flags: u32,
    /// See the record.
    pub error: u16,
    /// Address family.
    pub family: u16,
    /// Host order.
    pub local_port: u16,
    /// Host order.
    pub peer_port: u16,
}

/// Emits the end of a connection, as process `tgid` ran. It is counted as a slice, as light ones are.
#[inline(always)]
pub fn light_end(tgid: u32, of: &LightEnd, time_ns: u64) {
    const LENGTH: u64 = size_of::<LightEndRecord>() as u64;
    let Some(room) = reserve(Writer::Hook, LENGTH, loss::RING_FULL_SLICE) else { return };
    let record = room.at.cast::<LightEndRecord>();
    // SAFETY: the room holds a whole record.
    unsafe {
        room.write_header(KIND_LIGHT_END, LENGTH, (tgid, 0), time_ns);
        (*record).socket = of.socket;
        (*record).established_ns = of.established_ns;
        (*record).generation = of.generation;
        (*record).flags = of.flags;
        (*record).error = of.error;
        (*record).family = of.family;
        (*record).local_port = of.local_port;
        (*record).peer_port = of.peer_port;
    }
    room.commit(LENGTH, loss::EMITTED_SLICE as usize);
}

/// Emits the sleep from which the thread of `account` comes back; it was woken at `woken_ns`, the account is
/// settled up to `time_ns`. From `sched_switch` only, as [`wake`].
#[inline(always)]
pub fn sleep(account: *mut ThreadAccount, woken_ns: u64, time_ns: u64) {
    const LENGTH: u64 = size_of::<SleepRecord>() as u64;
    let Some(room) = reserve(Writer::Hook, LENGTH, loss::RING_FULL_SLEEP) else { return };
    let record = room.at.cast::<SleepRecord>();
    // SAFETY: the room holds a whole record, `account` is an element of ACCOUNTS.
    unsafe {
        let of = &*account;
        room.write_header(KIND_SLEEP, LENGTH, (of.tgid, of.tid), time_ns);
        (*record).start_ns = of.take_since_ns;
        (*record).woken_ns = woken_ns;
        (*record).cpu_ns = of.cpu_ns;
        (*record).detail[0] = of.detail[0];
        (*record).detail[1] = if of.blocked_in_call == FUTEX as i32 {
            FutexSleep::woken_by(of.detail[1], of.waker_tid)
        } else {
            of.detail[1]
        };
        // The place of a socket that there is none of.
        let has_socket = of.detail[2] != 0 || of.blocked_in_call == FUTEX as i32;
        (*record).detail[2] = if has_socket { of.detail[2] } else { u64::from(of.waker_tid) };
        (*record).detail[3] = of.detail[3];
        (*record).system_call = of.blocked_in_call;
        (*record).sequence = of.sequence;
    }
    room.commit(LENGTH, loss::EMITTED_SLEEP as usize);
}

/// Emits the wait for a CPU of the thread of `account`, which is settled, with the stints of `cpu` that were
/// not told yet. From `sched_switch` only, as [`wake`].
///
/// # Safety
/// `cpu` is this CPU's element.
#[inline(always)]
pub unsafe fn taken(account: *mut ThreadAccount, cpu: *mut Cpu, since_ns: u64, flags: u32) {
    const LENGTH: u64 = size_of::<TakenRecord>() as u64;
    const STINT: u64 = size_of::<Stint>() as u64;
    const MOST: u64 = LENGTH + STINT * MAX_STINTS as u64;
    let Some(room) = reserve(Writer::Hook, MOST, loss::RING_FULL_TAKEN) else { return };
    let record = room.at.cast::<TakenRecord>();
    // SAFETY: the room holds a whole record with all stints, `account` is an element of ACCOUNTS; the mask
    // keeps the place of a stint inside.
    unsafe {
        let kept = (*cpu).stints_kept;
        let untold = kept.wrapping_sub((*cpu).stints_told);
        let count = if untold > MAX_STINTS as u32 { MAX_STINTS as u32 } else { untold };
        let first = kept.wrapping_sub(count);
        let stints = (&raw const (*cpu).stints).cast::<Stint>();
        for place in 0..MAX_STINTS as u32 {
            if place >= count {
                break;
            }
            let from =
                stints.add((first.wrapping_add(place) & (MAX_STINTS as u32 - 1)) as usize).cast::<u64>();
            let to = record.add(1).cast::<Stint>().add(place as usize).cast::<u64>();
            for word in 0..STINT as usize / 8 {
                to.add(word).write_volatile(from.add(word).read_volatile());
            }
        }
        (*cpu).stints_told = kept;
        let length_bytes = LENGTH + STINT * u64::from(count);
        room.write_header(
            KIND_TAKEN,
            length_bytes,
            ((*account).tgid, (*account).tid),
            (*account).state_since_ns,
        );
        (*record).since_ns = since_ns;
        (*record).flags = flags;
        (*record).count = count;
        room.commit(length_bytes, loss::EMITTED_TAKEN as usize);
    }
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
    pub detail: u64,
    /// Kernel address of the name.
    pub comm: u64,
}

/// Emits a lifecycle record.
#[inline(always)]
pub fn lifecycle(writer: Writer, event: &Lifecycle, time_ns: u64) {
    const LENGTH: u64 = size_of::<LifecycleRecord>() as u64;
    let Some(room) = reserve(writer, LENGTH, loss::RING_FULL_LIFECYCLE) else { return };
    let record = room.at.cast::<LifecycleRecord>();
    // SAFETY: the room holds a whole record; an unreadable name leaves zeroes.
    unsafe {
        room.write_header(KIND_LIFECYCLE, LENGTH, event.who, time_ns);
        (*record).what = event.what;
        (*record).other_tgid = event.other.0;
        (*record).other_tid = event.other.1;
        (*record).reserved = 0;
        (*record).detail = event.detail;
        crate::kernel::read_bytes((&raw mut (*record).comm).cast(), COMM_BYTES as u32, event.comm);
    }
    room.commit(LENGTH, loss::EMITTED_LIFECYCLE as usize);
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
    /// For how long the client had been refused.
    pub delayed_ms: u16,
}

/// Emits a connection record for the given process and thread.
#[inline(always)]
pub fn connection(writer: Writer, of: &Connection, who: (u32, u32), time_ns: u64) {
    const LENGTH: u64 = size_of::<ConnectionRecord>() as u64;
    let Some(room) = reserve(writer, LENGTH, loss::RING_FULL_CONNECTION) else { return };
    let record = room.at.cast::<ConnectionRecord>();
    // SAFETY: the room holds a whole record.
    unsafe {
        room.write_header(KIND_CONNECTION, LENGTH, who, time_ns);
        (*record).socket = of.socket;
        (*record).established_ns = of.established_ns;
        (*record).generation = of.generation;
        (*record).fd = of.fd;
        (*record).listener_fd = of.listener_fd;
        (*record).origin = of.origin;
        (*record).family = of.family;
        (*record).local_port = of.local_port;
        (*record).peer_port = of.peer_port;
        (*record).delayed_ms = of.delayed_ms;
    }
    room.commit(LENGTH, loss::EMITTED_CONNECTION as usize);
}

/// Emits what came at `time_ns` of the wakeup that `account` remembers; the account is settled up to there.
/// From `sched_switch` and the exit of calls only: neither comes in the middle of another record.
#[inline(always)]
pub fn wake(account: *mut ThreadAccount, listener_inode: u64, outcome: u32, result: i32, time_ns: u64) {
    const LENGTH: u64 = size_of::<WakeRecord>() as u64;
    let Some(room) = reserve(Writer::Hook, LENGTH, loss::RING_FULL_WAKE) else { return };
    let record = room.at.cast::<WakeRecord>();
    // SAFETY: the room holds a whole record, `account` is an element of ACCOUNTS.
    unsafe {
        let of = &*account;
        room.write_header(KIND_WAKE, LENGTH, (of.tgid, of.tid), time_ns);
        let announced_ns = of.cause_woken_ns.wrapping_sub(u64::from(of.cause_announced_before_ns));
        (*record).listener_inode = listener_inode;
        (*record).announced_ns = announced_ns;
        (*record).woken_ns = of.cause_woken_ns;
        (*record).established_ns = match of.cause_established_before_ns {
            u32::MAX => 0,
            before_ns => announced_ns.wrapping_sub(u64::from(before_ns)),
        };
        (*record).cpu_ns = of.cpu_ns.wrapping_sub(of.cause_cpu_ns);
        (*record).run_queue_ns = of.run_queue_ns.wrapping_sub(of.cause_run_queue_ns);
        (*record).switches = of.switches.wrapping_sub(of.cause_switches);
        (*record).outcome = outcome;
        (*record).system_call = of.system_call as u32;
        (*record).argument = of.detail[0] as i32;
        (*record).peer_port = of.cause_peer_port;
        (*record).reserved = 0;
        (*record).result = result;
    }
    room.commit(LENGTH, loss::EMITTED_WAKE as usize);
}

/// Emits frames, as of `begun_ns`, when the thread of `account` began to wait for the lock: by `kind` the
/// holder's, or its own. `fill` writes them, their number and flags.
#[inline(always)]
pub fn frames(account: *mut ThreadAccount, kind: u16, begun_ns: u64, fill: impl FnOnce(*mut FramesRecord)) {
    const LENGTH: u64 = size_of::<FramesRecord>() as u64;
    let Some(room) = reserve(Writer::Hook, LENGTH, loss::RING_FULL_FRAMES) else { return };
    let record = room.at.cast::<FramesRecord>();
    // SAFETY: `account` is an element of ACCOUNTS, the room holds a whole record.
    unsafe {
        room.write_header(kind, LENGTH, ((*account).tgid, (*account).tid), begun_ns);
    }
    fill(record);
    room.commit(LENGTH, loss::EMITTED_FRAMES as usize);
}

/// Emits which task the thread of `account` works for, as of the entry of the call that it has begun. Whether
/// the record is there.
#[inline(always)]
pub fn task(account: *mut ThreadAccount, task: u64) -> bool {
    const LENGTH: u64 = size_of::<TaskRecord>() as u64;
    let Some(room) = reserve(Writer::Hook, LENGTH, loss::RING_FULL_TASK) else { return false };
    // SAFETY: `account` is an element of ACCOUNTS, the room holds a whole record.
    unsafe {
        room.write_header(KIND_TASK, LENGTH, ((*account).tgid, (*account).tid), (*account).enter_ns);
        (*room.at.cast::<TaskRecord>()).task = task;
    }
    room.commit(LENGTH, loss::EMITTED_TASK as usize);
    true
}

/// Emits that a timer was due for which a task of the thread's loop sleeps.
#[inline(always)]
pub fn timer(account: *mut ThreadAccount, task: u64, due_ns: u64) {
    const LENGTH: u64 = size_of::<TimerRecord>() as u64;
    let Some(room) = reserve(Writer::Hook, LENGTH, loss::RING_FULL_TASK) else { return };
    // SAFETY: `account` is an element of ACCOUNTS, the room holds a whole record.
    unsafe {
        room.write_header(KIND_TIMER, LENGTH, ((*account).tgid, (*account).tid), (*account).enter_ns);
        (*room.at.cast::<TimerRecord>()).task = task;
        (*room.at.cast::<TimerRecord>()).due_ns = due_ns;
    }
    room.commit(LENGTH, loss::EMITTED_TASK as usize);
}

/// Longest copy of a head, as a bit mask: the verifier understands masks best.
const HEAD_MASK: u64 = 8191;

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

/// The last bytes of a message's head (RFC 9112 section 2.1).
const BLANK_LINE: u32 = u32::from_le_bytes(*b"\r\n\r\n");

/// Emits `length` bytes (at most [`HEAD_MASK`]) of user memory at `address` as a head record. Whether the
/// record is there and its bytes end with a blank line: then the message's head is whole.
#[inline(always)]
pub fn head(of: &Head, who: (u32, u32), time_ns: u64, address: u64, length: u64) -> bool {
    let length = length & HEAD_MASK;
    let length_bytes = size_of::<HeadRecord>() as u64 + length;
    let Some(room) = reserve(Writer::Hook, length_bytes, loss::RING_FULL_HEAD) else { return false };
    let record = room.at.cast::<HeadRecord>();
    // SAFETY: the room holds a whole record, and behind it as many bytes as the mask allows.
    unsafe {
        if bpf_probe_read_user(record.add(1).cast(), length as u32, address as *const _) != 0 {
            room.give_back();
            lose(loss::HEAD_UNREADABLE);
            return false;
        }
        room.write_header(KIND_HEAD, length_bytes, who, time_ns);
        (*record).fd = of.fd;
        (*record).direction = of.direction;
        (*record).sequence = of.sequence;
        (*record).offset_bytes = of.offset_bytes;
        (*record).captured_bytes = length as u32;
        (*record).reserved = 0;
        let is_whole = last_word(record.add(1).cast(), length) == BLANK_LINE && length >= 4;
        room.commit(length_bytes, loss::EMITTED_HEAD as usize);
        is_whole
    }
}

/// The last four of `length` captured bytes; anything if there are fewer.
///
/// # Safety
/// There is room for [`HEAD_MASK`] bytes and three more.
#[inline(always)]
unsafe fn last_word(bytes: *const u8, length: u64) -> u32 {
    // The mask, not the length, tells old verifiers where this is; volatile, so that it stays.
    let at = length.wrapping_sub(4) & HEAD_MASK;
    // SAFETY: as the caller promises.
    unsafe {
        let last = bytes.add(at as usize);
        let byte = |place: usize| last.add(place).read_volatile();
        u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
    }
}
