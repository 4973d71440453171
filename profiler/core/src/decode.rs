//! From raw kernel records to events: layouts in, meaning out.
//!
//! In: the bytes of one record, as `profiler-common` lays it out (from the ring buffer or from a recording,
//! so hostile). Out: one [`Event`], or why the bytes are no record. Slices are decoded without allocation.

pub mod call;
mod light;
pub(crate) mod open;

pub(crate) use light::slept;

use crate::event::{
    Body, Change, Connection, ConnectionEvidence, CpuStint, CpuTaken, Event, Evidence, Frames, Head, InGap,
    Lifecycle, Plaintext, Sign, Signal, Slice, TaskSeen, TimerSeen, Wake,
};
use crate::fact::Account;
use crate::stream::Item;
use profiler_common::call_kind::Kind;
use profiler_common::record::connection::{self, ConnectionRecord};
use profiler_common::record::detail;
use profiler_common::record::evidence::{self, EvidenceRecord, FailedAccept, SentReset, SentSignal};
use profiler_common::record::frames::{self, FramesRecord, MAX_FRAMES};
use profiler_common::record::head::{self, HeadRecord};
use profiler_common::record::lifecycle::{self, Birth, Death, LifecycleRecord};
use profiler_common::record::plaintext::PlaintextRecord;
use profiler_common::record::slice::{SliceRecord, Undecided};
use profiler_common::record::taken::{self, MAX_STINTS, TakenRecord};
use profiler_common::record::task::TaskRecord;
use profiler_common::record::timer::TimerRecord;
use profiler_common::record::wake::{self, WakeRecord};
use profiler_common::record::{
    KIND_CONNECTION, KIND_EVIDENCE, KIND_FRAMES, KIND_HEAD, KIND_LIFECYCLE, KIND_LIGHT, KIND_LIGHT_END,
    KIND_PLAINTEXT, KIND_SLEEP, KIND_SLICE, KIND_TAKEN, KIND_TASK, KIND_TIMER, KIND_WAITER_FRAMES, KIND_WAKE,
    RecordHeader,
};
use profiler_common::system_call::{FUTEX, kind};
use zerocopy::FromBytes;

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Fewer bytes than the layout of the record's kind has, or than the record itself claims.
    #[error("a record of kind {kind} is cut off: {have_bytes} of {need_bytes} bytes")]
    TooShort {
        /// The record's kind; 0 if not even the header is whole.
        kind: u16,
        /// Bytes that are there.
        have_bytes: usize,
        /// Bytes that should be.
        need_bytes: usize,
    },
    /// A kind that this version does not know.
    #[error("record of unknown kind {kind}")]
    UnknownKind {
        /// The kind.
        kind: u16,
    },
    /// The record's own length does not fit its kind or its captured bytes.
    #[error("a record of kind {kind} claims a length of {length_bytes} bytes")]
    BadLength {
        /// The record's kind.
        kind: u16,
        /// What it claims.
        length_bytes: usize,
    },
    /// A field of a closed list holds a value that is not on it.
    #[error("a record of kind {kind} holds the unknown value {value}")]
    BadValue {
        /// The record's kind.
        kind: u16,
        /// The value.
        value: u32,
    },
}

/// Turns one item of a stream into an event: a record is decoded, a fact only changes its wrapping.
///
/// # Errors
/// [`Malformed`], as [`decode`].
pub fn item<B: AsRef<[u8]>>(item: Item<B>) -> Result<Event, Malformed> {
    match item {
        Item::Kernel(bytes) => decode(bytes.as_ref()),
        Item::Fact(record) => Ok(Event { time_ns: record.time_ns, body: Body::Fact(Box::new(record.fact)) }),
    }
}

/// The record of a slice of which nothing is undecided, where it lies; `None`: the bytes are something else,
/// or do not lie as a record must. Then [`decode`] takes them.
#[inline]
pub(crate) fn slice_in_place(bytes: &[u8]) -> Option<&SliceRecord> {
    let (record, _) = SliceRecord::ref_from_prefix(bytes).ok()?;
    let header = &record.header;
    let is_slice = header.kind == KIND_SLICE && usize::from(header.length_bytes) == size_of::<SliceRecord>();
    is_slice.then_some(record)
}

/// Decodes one record.
///
/// # Errors
/// [`Malformed`], if `bytes` do not start with a whole record of a known kind.
pub fn decode(bytes: &[u8]) -> Result<Event, Malformed> {
    // The kind comes first in the header. Nearly every record is a slice.
    match bytes.first_chunk::<2>().map(|kind| u16::from_ne_bytes(*kind)) {
        Some(KIND_SLICE) => decode_slice(bytes),
        Some(KIND_HEAD) => decode_head(bytes),
        Some(KIND_CONNECTION) => decode_connection(bytes),
        Some(KIND_LIFECYCLE) => decode_lifecycle(bytes),
        Some(KIND_EVIDENCE) => decode_evidence(bytes),
        Some(KIND_WAKE) => decode_wake(bytes),
        Some(KIND_TASK) => decode_task(bytes),
        Some(KIND_TIMER) => decode_timer(bytes),
        Some(KIND_LIGHT) => light::message(bytes),
        Some(KIND_LIGHT_END) => light::end(bytes),
        Some(KIND_SLEEP) => light::sleep(bytes),
        Some(KIND_PLAINTEXT) => decode_plaintext(bytes),
        Some(KIND_TAKEN) => decode_taken(bytes),
        Some(kind @ (KIND_FRAMES | KIND_WAITER_FRAMES)) => decode_frames(bytes, kind),
        Some(kind) => Err(Malformed::UnknownKind { kind }),
        None => Err(Malformed::TooShort {
            kind: 0,
            have_bytes: bytes.len(),
            need_bytes: size_of::<RecordHeader>(),
        }),
    }
}

/// Reads a record of fixed layout. Its claimed length must be that of the layout.
fn fixed<R: FromBytes>(bytes: &[u8], kind: u16) -> Result<R, Malformed> {
    let too_short = Malformed::TooShort { kind, have_bytes: bytes.len(), need_bytes: size_of::<R>() };
    let (record, _) = R::read_from_prefix(bytes).ok().ok_or(too_short)?;
    let length_bytes = claimed_length(bytes);
    if length_bytes == size_of::<R>() { Ok(record) } else { Err(Malformed::BadLength { kind, length_bytes }) }
}

/// `RecordHeader::length_bytes`, the two bytes after the kind.
fn claimed_length(bytes: &[u8]) -> usize {
    bytes.get(2..4).and_then(<[u8]>::first_chunk).map_or(0, |length| usize::from(u16::from_ne_bytes(*length)))
}

fn decode_slice(bytes: &[u8]) -> Result<Event, Malformed> {
    let (kind, have_bytes) = (KIND_SLICE, bytes.len());
    let too_short = |need_bytes| Malformed::TooShort { kind, have_bytes, need_bytes };
    let (record, after) =
        SliceRecord::read_from_prefix(bytes).ok().ok_or_else(|| too_short(size_of::<SliceRecord>()))?;
    let length_bytes = claimed_length(bytes);
    let undecided = match length_bytes.checked_sub(size_of::<SliceRecord>()) {
        Some(0) => Undecided::NOTHING,
        Some(left_bytes) if left_bytes == size_of::<Undecided>() => {
            Undecided::read_from_prefix(after).ok().ok_or_else(|| too_short(length_bytes))?.0
        }
        _ => return Err(Malformed::BadLength { kind, length_bytes }),
    };
    Ok(Event { time_ns: record.header.time_ns, body: Body::Slice(slice(&record, undecided)) })
}

/// Decodes the record of a slice.
// Called from one hot place: inlined there, it writes each field to where the event waits, and copies
// nothing.
#[inline(always)]
pub(crate) fn slice(record: &SliceRecord, undecided: Undecided) -> Slice {
    let system_call = u32::from(record.system_call);
    let flags = u32::from(record.flags);
    let outcome = call::Outcome { result: record.result, flags };
    let futex = (system_call == FUTEX).then(|| detail::Futex::of(&record.detail));
    Slice {
        tgid: record.header.tgid,
        tid: record.header.tid,
        sequence: record.sequence,
        call: call::call(system_call, &record.detail, outcome),
        system_call,
        result: record.result,
        enter_ns: record.enter_ns,
        exit_ns: record.header.time_ns,
        inside: Account {
            cpu_ns: record.call_cpu_ns,
            run_queue_ns: record.call_run_queue_ns,
            blocked_ns: record.call_blocked_ns,
        },
        gap: Account {
            cpu_ns: record.gap_cpu_ns,
            run_queue_ns: record.gap_run_queue_ns,
            blocked_ns: record.gap_blocked_ns,
        },
        undecided,
        call_switches: record.call_switches,
        back_end_ready_ns: call::back_end_ready_ns(record),
        flags,
        in_gap: InGap {
            fault_ns: record.gap_fault_ns,
            blocked_call: record.gap_blocked_call,
            folded_ns: record.folded_ns,
            folded_calls: record.folded_calls,
            switches: record.gap_switches,
            woken_by_tid: call::woken_in_gap(record),
        },
        lock: call::lock_seen(futex.as_ref(), flags, record.take_tail_ns),
        woken: call::woken(futex.as_ref(), record),
    }
}

fn decode_head(bytes: &[u8]) -> Result<Event, Malformed> {
    let (record, captured) =
        with_captured(bytes, KIND_HEAD, |record: &HeadRecord| (record.header, record.captured_bytes))?;
    Ok(Event {
        time_ns: record.header.time_ns,
        body: Body::Head(Head {
            tgid: record.header.tgid,
            tid: record.header.tid,
            sequence: record.sequence,
            fd: record.fd,
            inbound: is_inbound(record.direction, KIND_HEAD)?,
            offset_bytes: record.offset_bytes,
            bytes: captured.to_vec(),
        }),
    })
}

fn decode_plaintext(bytes: &[u8]) -> Result<Event, Malformed> {
    let (record, captured) = with_captured(bytes, KIND_PLAINTEXT, |record: &PlaintextRecord| {
        (record.header, record.captured_bytes)
    })?;
    Ok(Event {
        time_ns: record.header.time_ns,
        body: Body::Plaintext(Plaintext {
            tgid: record.header.tgid,
            tid: record.header.tid,
            session: record.session,
            inbound: is_inbound(record.direction, KIND_PLAINTEXT)?,
            bytes: captured.to_vec(),
        }),
    })
}

/// Reads a record that captured bytes follow, as many as `lengths` says beside the header.
fn with_captured<R: FromBytes>(
    bytes: &[u8],
    kind: u16,
    lengths: impl Fn(&R) -> (RecordHeader, u32),
) -> Result<(R, &[u8]), Malformed> {
    let need_bytes = size_of::<R>();
    let too_short = |need_bytes| Malformed::TooShort { kind, have_bytes: bytes.len(), need_bytes };
    let (record, after) = R::read_from_prefix(bytes).ok().ok_or_else(|| too_short(need_bytes))?;
    let (header, captured) = lengths(&record);
    let captured = usize::try_from(captured).unwrap_or(usize::MAX);
    let length_bytes = usize::from(header.length_bytes);
    // The reserved space may be larger than what was captured, never smaller.
    if length_bytes < need_bytes.saturating_add(captured) {
        return Err(Malformed::BadLength { kind, length_bytes });
    }
    let captured = after.get(..captured).ok_or_else(|| too_short(need_bytes.saturating_add(captured)))?;
    Ok((record, captured))
}

/// Whether captured bytes came from the client.
const fn is_inbound(direction: u32, kind: u16) -> Result<bool, Malformed> {
    match direction {
        head::INBOUND => Ok(true),
        head::OUTBOUND => Ok(false),
        value => Err(Malformed::BadValue { kind, value }),
    }
}

fn decode_connection(bytes: &[u8]) -> Result<Event, Malformed> {
    let record = fixed::<ConnectionRecord>(bytes, KIND_CONNECTION)?;
    let seeded = match record.origin {
        connection::ACCEPTED => false,
        connection::SEEDED => true,
        value => return Err(Malformed::BadValue { kind: KIND_CONNECTION, value }),
    };
    Ok(Event {
        time_ns: record.header.time_ns,
        body: Body::Connection(Connection {
            tgid: record.header.tgid,
            tid: record.header.tid,
            fd: record.fd,
            listener_fd: record.listener_fd,
            seeded,
            socket: (record.socket, record.generation),
            established_ns: record.established_ns,
            family: record.family,
            local_port: record.local_port,
            peer_port: record.peer_port,
            delayed_ms: record.delayed_ms,
        }),
    })
}

fn decode_wake(bytes: &[u8]) -> Result<Event, Malformed> {
    let record = fixed::<WakeRecord>(bytes, KIND_WAKE)?;
    let slept_again = match record.outcome {
        wake::SLEPT_AGAIN => true,
        wake::RETURNED => false,
        value => return Err(Malformed::BadValue { kind: KIND_WAKE, value }),
    };
    let accepts = !slept_again && kind(record.system_call) == Some(Kind::Accept);
    Ok(Event {
        time_ns: record.header.time_ns,
        body: Body::Wake(Wake {
            tgid: record.header.tgid,
            tid: record.header.tid,
            listener_inode: record.listener_inode,
            announced_ns: record.announced_ns,
            woken_ns: record.woken_ns,
            established_ns: record.established_ns,
            since: Account { cpu_ns: record.cpu_ns, run_queue_ns: record.run_queue_ns, blocked_ns: 0 },
            switches: record.switches,
            slept_again,
            accept_result: accepts.then_some(i64::from(record.result)),
            peer_port: record.peer_port,
        }),
    })
}

fn decode_frames(bytes: &[u8], kind: u16) -> Result<Event, Malformed> {
    let record = fixed::<FramesRecord>(bytes, kind)?;
    let count = usize::try_from(record.count).unwrap_or(usize::MAX);
    if count > MAX_FRAMES {
        return Err(Malformed::BadValue { kind, value: record.count });
    }
    let found = record.frames.iter().take(count).map(|frame| (frame.code, frame.instruction));
    Ok(Event {
        time_ns: record.header.time_ns,
        body: Body::Frames(Box::new(Frames {
            tgid: record.header.tgid,
            tid: record.header.tid,
            frames: found.collect(),
            unstable: record.flags & frames::UNSTABLE != 0,
            of_waiter: kind == KIND_WAITER_FRAMES,
        })),
    })
}

fn decode_task(bytes: &[u8]) -> Result<Event, Malformed> {
    let record = fixed::<TaskRecord>(bytes, KIND_TASK)?;
    let seen = TaskSeen { tgid: record.header.tgid, tid: record.header.tid, task: record.task };
    Ok(Event { time_ns: record.header.time_ns, body: Body::Task(seen) })
}

fn decode_timer(bytes: &[u8]) -> Result<Event, Malformed> {
    let record = fixed::<TimerRecord>(bytes, KIND_TIMER)?;
    let TimerRecord { header, task, due_ns } = record;
    let seen = TimerSeen { tgid: header.tgid, tid: header.tid, task, due_ns };
    Ok(Event { time_ns: header.time_ns, body: Body::Timer(seen) })
}

fn decode_taken(bytes: &[u8]) -> Result<Event, Malformed> {
    let stint_bytes = |count: u32| count.saturating_mul(size_of::<taken::Stint>() as u32);
    let (record, after) =
        with_captured(bytes, KIND_TAKEN, |record: &TakenRecord| (record.header, stint_bytes(record.count)))?;
    if usize::try_from(record.count).is_ok_and(|count| count > MAX_STINTS) {
        return Err(Malformed::BadValue { kind: KIND_TAKEN, value: record.count });
    }
    let (each, _) = after.as_chunks::<{ size_of::<taken::Stint>() }>();
    let stints =
        each.iter().filter_map(|bytes| taken::Stint::read_from_bytes(bytes).ok()).map(stint).collect();
    Ok(Event {
        time_ns: record.header.time_ns,
        body: Body::CpuTaken(Box::new(CpuTaken {
            tid: record.header.tid,
            cpu: record.header.cpu,
            since_ns: record.since_ns,
            is_throttled: record.flags & taken::THROTTLED != 0,
            has_moved: record.flags & taken::MIGRATED != 0,
            stints,
        })),
    })
}

fn stint(stint: taken::Stint) -> CpuStint {
    CpuStint {
        from_ns: stint.from_ns,
        until_ns: stint.until_ns,
        ran_ns: stint.ran_ns,
        tid: stint.tid,
        is_ours: stint.flags & taken::OURS != 0,
        comm: name(&stint.comm),
    }
}

fn decode_lifecycle(bytes: &[u8]) -> Result<Event, Malformed> {
    let record = fixed::<LifecycleRecord>(bytes, KIND_LIFECYCLE)?;
    let change = match record.what {
        lifecycle::FORK => Change::Fork {
            child_tgid: record.other_tgid,
            child_tid: record.other_tid,
            child_number: Birth::of(record.detail).own_number,
        },
        lifecycle::EXIT => Change::Exit { code: Death::of(record.detail).exit_code },
        lifecycle::EXEC => Change::Exec,
        lifecycle::ADOPTED => Change::Adopted,
        value => return Err(Malformed::BadValue { kind: KIND_LIFECYCLE, value }),
    };
    Ok(Event {
        time_ns: record.header.time_ns,
        body: Body::Lifecycle(Lifecycle {
            tgid: record.header.tgid,
            tid: record.header.tid,
            change,
            comm: name(&record.comm),
        }),
    })
}

fn decode_evidence(bytes: &[u8]) -> Result<Event, Malformed> {
    /// `TCP_TIME_WAIT`, include/net/tcp_states.h: no socket is behind the connection any more.
    const TIME_WAIT: u32 = 6;
    let record = fixed::<EvidenceRecord>(bytes, KIND_EVIDENCE)?;
    let detail = &record.detail;
    let of_connection = |sign, closed_by| {
        Evidence::Connection(ConnectionEvidence {
            sign,
            socket: (record.socket, record.generation),
            is_waiting: record.stage == evidence::STAGE_WAITING,
            is_taken: record.stage == evidence::STAGE_TAKEN,
            only_ports: record.state == TIME_WAIT,
            established_ns: record.established_ns,
            unread_bytes: record.unread_bytes,
            unacknowledged_bytes: record.unacknowledged_bytes,
            local_port: record.local_port,
            peer_port: record.peer_port,
            closed_by,
        })
    };
    let tgid = record.header.tgid;
    let found = match record.what {
        evidence::CLIENT_ENDED => of_connection(Sign::ClientEnded, 0),
        evidence::RESET_RECEIVED => of_connection(Sign::ResetReceived, 0),
        evidence::RESET_SENT => of_connection(Sign::ResetSent, SentReset::of(detail).closer_tgid),
        evidence::SIGNAL => {
            let SentSignal { number, code, sender_tgid } = SentSignal::of(detail);
            let sender_comm = name(&record.sender_comm);
            Evidence::Signal(Signal { tgid, number, by_kernel: code > 0, sender_tgid, sender_comm })
        }
        evidence::OUT_OF_MEMORY => Evidence::OutOfMemory { tgid },
        evidence::ACCEPT_FAILED => {
            let FailedAccept { listener_fd, result } = FailedAccept::of(detail);
            Evidence::AcceptFailed { tgid, listener_fd, result: i64::from(result) }
        }
        value => return Err(Malformed::BadValue { kind: KIND_EVIDENCE, value }),
    };
    Ok(Event { time_ns: record.header.time_ns, body: Body::Evidence(Box::new(found)) })
}

/// A name from the kernel, up to its NUL.
fn name(bytes: &[u8]) -> String {
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests;
