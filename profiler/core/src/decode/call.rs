//! What an observed call does: from number and detail to a [`Call`], and what else its detail shows.
//!
//! In: system call number and detail (`record::detail`), also those of an open slice, which come as a fact.
//! Out: a [`Call`]. Only numbers and bits are looked at; every input gives some answer.

use profiler_common::call_kind::{Kind, duplicates};
use profiler_common::record::detail::{
    Connect, EpollControl, Futex, Moves, Opened, Poll, Select, Words, pair,
};
use profiler_common::record::sleep::PIPE;
use profiler_common::record::slice::{
    FLAG_BACK_END, FLAG_CLIENT, FLAG_PEEKS, FLAG_TAKES_LOCK, FLAG_WAKE_MISSED, SliceRecord,
};
use profiler_common::system_call::{EPOLL_PWAIT2, FCNTL, kind};

use crate::event::{Call, LockSeen, Woken};
use crate::fact::DescriptorClass;

const POLLIN: u64 = 0x1;
const POLLOUT: u64 = 0x4;
/// The range is marked close-on-exec; nothing is closed.
const CLOSE_RANGE_CLOEXEC: u32 = 4;

/// What is known of a call after its end; all 0 for one that is still open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the call returned: a value, or −errno.
    pub result: i64,
    /// `profiler_common::record::slice::FLAG_` bits.
    pub flags: u32,
}

/// Says what a call does.
pub const fn call(system_call: u32, detail: &Words, outcome: Outcome) -> Call {
    let [first, second, third, fourth] = *detail;
    let Some(kind) = kind(system_call) else { return Call::Other };
    match kind {
        // It takes nothing: it says that something is there, as poll does.
        Kind::Read | Kind::ReadVector | Kind::ReadMessage if outcome.flags & FLAG_PEEKS != 0 => {
            Call::Poll { only_fd: Some(fd(first)), low_fds: 0, for_write: false, is_sleep: false }
        }
        Kind::Read => {
            let arrival_ns = arrival_ns(detail, outcome);
            Call::Read { fd: fd(first), asked_bytes: third, arrival_ns }
        }
        Kind::ReadVector | Kind::ReadMessage => {
            Call::Read { fd: fd(first), asked_bytes: 0, arrival_ns: arrival_ns(detail, outcome) }
        }
        Kind::Write | Kind::WriteVector | Kind::WriteMessage => Call::Write { fd: fd(first) },
        Kind::SendFile => Call::Transfer { from_fd: fd(second), to_fd: fd(first) },
        Kind::Splice => Call::Transfer { from_fd: fd(first), to_fd: fd(third) },
        Kind::Accept => Call::Accept { listener_fd: fd(first) },
        // The limit of epoll_pwait2 lies in memory that was not read.
        Kind::EpollWait if system_call == EPOLL_PWAIT2 => {
            Call::EpollWait { epoll_fd: fd(first), timeout_ms: -1 }
        }
        Kind::EpollWait => Call::EpollWait { epoll_fd: fd(first), timeout_ms: fd(fourth) },
        Kind::Futex => futex(&Futex::of(detail)),
        Kind::Poll => poll(Poll::of(detail)),
        Kind::Select => select(Select::of(detail)),
        Kind::Close => Call::Close { fd: fd(first) },
        Kind::EpollControl => {
            let EpollControl { epoll_fd, operation, fd, events } = EpollControl::of(detail);
            Call::EpollControl { epoll_fd, operation, fd, events }
        }
        Kind::Sleep => Call::Sleep,
        Kind::Marker => Call::Marker,
        Kind::Connect => {
            let Connect { fd, port, family, identity, .. } = Connect::of(detail);
            Call::Connect { fd, port, family, identity }
        }
        Kind::Shutdown => Call::Shutdown { fd: fd(first), how: low(second) },
        Kind::CloseRange if low(third) & CLOSE_RANGE_CLOEXEC != 0 => Call::Other,
        Kind::CloseRange => Call::CloseRange { first: low(first), last: low(second) },
        Kind::MakeSocket => Call::Make { class: DescriptorClass::Socket },
        // A path may be that of a pipe.
        Kind::OpenFile if matches!(Opened::of(fourth), Some(PIPE)) => {
            Call::Make { class: DescriptorClass::Wakeup }
        }
        Kind::OpenFile => Call::Make { class: DescriptorClass::File },
        Kind::MakeEpoll => Call::Make { class: DescriptorClass::Epoll },
        Kind::MakeEvent => Call::Make { class: DescriptorClass::Wakeup },
        Kind::UringSetup => Call::Make { class: DescriptorClass::Other },
        Kind::MakeSocketPair | Kind::MakePipe => Call::MakePair { fds: pair(detail) },
        Kind::Duplicate if system_call == FCNTL && !duplicates(second) => Call::Other,
        Kind::Duplicate | Kind::DuplicateOnto => Call::Duplicate { fd: fd(first) },
        Kind::Bind => Call::Bind { fd: fd(first) },
        Kind::Listen => Call::Listen { fd: fd(first), backlog: low(second) },
    }
}

/// A read has an arrival only on a client connection and only when something was read.
const fn arrival_ns(detail: &Words, outcome: Outcome) -> u64 {
    if outcome.result > 0 && outcome.flags & FLAG_CLIENT != 0 { Moves::of(detail).ready_ns } else { 0 }
}

/// When what a call on a back end's connection is about became ready; 0: not known, or another call. A call
/// cannot be about what comes after it.
pub(super) const fn back_end_ready_ns(record: &SliceRecord) -> u64 {
    if !record.has(FLAG_BACK_END) {
        return 0;
    }
    let ready_ns = match kind(record.system_call as u32) {
        Some(
            Kind::Read
            | Kind::ReadVector
            | Kind::ReadMessage
            | Kind::Write
            | Kind::WriteVector
            | Kind::WriteMessage
            | Kind::SendFile
            | Kind::Splice,
        ) if record.result >= 0 => Moves::of(&record.detail).ready_ns,
        Some(Kind::Connect) => Connect::of(&record.detail).made_ns,
        _ => 0,
    };
    if ready_ns <= record.header.time_ns { ready_ns } else { 0 }
}

/// What a slice shows of an interpreter lock; `futex`: its call is one.
pub(super) const fn lock_seen(futex: Option<&Futex>, flags: u32, take_tail_ns: u32) -> LockSeen {
    let Some(futex) = futex else {
        return LockSeen { holder_tid: 0, last_holder_tid: 0, switches: 0, take_lead_ns: None, take_tail_ns };
    };
    LockSeen {
        holder_tid: futex.holder_tid,
        last_holder_tid: futex.last_holder_tid,
        switches: futex.switches,
        take_lead_ns: if flags & FLAG_TAKES_LOCK == 0 { None } else { Some(futex.lead_ns) },
        take_tail_ns,
    }
}

/// Who woke the thread, and when it was about to, if it waited in a `futex`.
pub(super) const fn woken(futex: Option<&Futex>, record: &SliceRecord) -> Woken {
    let by_tid = if record.call_blocked_ns > 0 && !is_missed(record) { record.waker_tid } else { 0 };
    let ago_ns = match futex {
        Some(futex) => futex.woken_ago_ns as u64,
        None => 0,
    };
    let at_ns = record.header.time_ns.saturating_sub(ago_ns);
    Woken { by_tid, at_ns: if ago_ns == 0 || at_ns < record.enter_ns { 0 } else { at_ns } }
}

/// Who ended the last sleep in the gap: known where the thread did not sleep in the call.
pub(super) const fn woken_in_gap(record: &SliceRecord) -> u32 {
    let slept = record.gap_blocked_ns > record.gap_fault_ns && record.call_blocked_ns == 0;
    if slept && !is_missed(record) { record.waker_tid } else { 0 }
}

/// A wakeup was not seen: the last that was seen may have ended another sleep.
const fn is_missed(record: &SliceRecord) -> bool {
    record.has(FLAG_WAKE_MISSED)
}

const fn futex(&Futex { address, operation, has_timeout, .. }: &Futex) -> Call {
    let operation = operation as u32;
    // FUTEX_PRIVATE_FLAG (128) and FUTEX_CLOCK_REALTIME (256) are not part of the command.
    match operation & 127 {
        // WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2.
        0 | 6 | 9 | 11 | 13 => Call::FutexWait { address, operation, has_timeout },
        _ => Call::FutexWake { address, operation },
    }
}

const fn poll(Poll { count, first }: Poll) -> Call {
    let events = first >> 32 & 0xffff;
    // A negative descriptor is ignored by the kernel: one alone makes the call a sleep.
    let only_is_ignored = count == 1 && fd(first) < 0;
    let only_fd = if count == 1 && first != 0 && !only_is_ignored { Some(fd(first)) } else { None };
    Call::Poll {
        only_fd,
        low_fds: 0,
        for_write: only_fd.is_some() && events & POLLOUT != 0 && events & POLLIN == 0,
        is_sleep: count == 0 || only_is_ignored,
    }
}

const fn select(Select { count, write_set, readable }: Select) -> Call {
    let low_fds = match count {
        ..=0 => 0,
        1..=63 => readable & ((1 << count) - 1),
        _ => readable,
    };
    let only = low_fds.trailing_zeros();
    // Older CPythons pass all three sets, empty or not: the only reader must then be the highest of all.
    let nothing_else = count <= 64 && (write_set == 0 || only.saturating_add(1) == count.cast_unsigned());
    let only_fd = if low_fds.count_ones() == 1 && nothing_else { Some(only.cast_signed()) } else { None };
    Call::Poll { only_fd, low_fds, for_write: false, is_sleep: count == 0 }
}

/// Descriptors are the low half of their register.
#[expect(clippy::cast_possible_truncation, reason = "the kernel takes the low half as well")]
const fn fd(register: u64) -> i32 {
    (register as u32).cast_signed()
}

#[expect(clippy::cast_possible_truncation, reason = "the kernel takes the low half as well")]
const fn low(register: u64) -> u32 {
    register as u32
}
