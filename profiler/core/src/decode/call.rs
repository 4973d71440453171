//! What an observed call does: from number and registers to a [`Call`].
//!
//! In: system call number, arguments and `extra` as `SliceRecord` describes them (also those of an open
//! slice, which come as a fact). Out: a [`Call`]. Only numbers and bits are looked at; every input gives some
//! answer.

use profiler_common::call_kind::{Kind, duplicates};
use profiler_common::record::slice::{
    EVENTS_KNOWN, FLAG_BACK_END, FLAG_CLIENT, FLAG_TAKES_LOCK, HOLDER_KNOWN, SWITCHES_KNOWN, SWITCHES_MASK,
    SliceRecord, TAKE_HAS_TIMEOUT, identity, take_lead_ns, woken_ago_ns,
};
use profiler_common::system_call::{EPOLL_PWAIT2, FCNTL, FUTEX, kind};

use crate::event::Call;
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

/// Says what a call does. `arguments` and `extra` are those of `SliceRecord`.
pub const fn call(system_call: u32, arguments: &[u64; 3], extra: u64, outcome: Outcome) -> Call {
    let [first, second, third] = *arguments;
    let Some(kind) = kind(system_call) else { return Call::Other };
    match kind {
        Kind::Read => {
            Call::Read { fd: fd(first), asked_bytes: third, arrival_ns: arrival_ns(extra, outcome) }
        }
        Kind::ReadVector | Kind::ReadMessage => {
            Call::Read { fd: fd(first), asked_bytes: 0, arrival_ns: arrival_ns(extra, outcome) }
        }
        Kind::Write | Kind::WriteVector | Kind::WriteMessage => Call::Write { fd: fd(first) },
        Kind::SendFile => Call::Transfer { from_fd: fd(second), to_fd: fd(first) },
        Kind::Splice => Call::Transfer { from_fd: fd(first), to_fd: fd(third) },
        Kind::Accept => Call::Accept { listener_fd: fd(first) },
        // The limit of epoll_pwait2 lies in memory that was not read.
        Kind::EpollWait if system_call == EPOLL_PWAIT2 => {
            Call::EpollWait { epoll_fd: fd(first), timeout_ms: -1 }
        }
        Kind::EpollWait => Call::EpollWait { epoll_fd: fd(first), timeout_ms: fd(extra) },
        Kind::Futex if outcome.flags & FLAG_TAKES_LOCK != 0 => {
            futex(first, low(second), extra & TAKE_HAS_TIMEOUT)
        }
        Kind::Futex => futex(first, low(second), extra),
        Kind::Poll => poll(low(second), extra),
        Kind::Select => select(fd(first), third, extra),
        Kind::Close => Call::Close { fd: fd(first) },
        Kind::EpollControl => {
            let events = if extra & EVENTS_KNOWN == 0 { 0 } else { low(extra) };
            Call::EpollControl { epoll_fd: fd(first), operation: low(second), fd: fd(third), events }
        }
        Kind::Sleep => Call::Sleep,
        Kind::Marker => Call::Marker,
        Kind::Connect => {
            let (port, family) = (bits_16(extra >> 16), bits_16(extra));
            Call::Connect { fd: fd(first), port, family, identity: connected(second) }
        }
        Kind::Shutdown => Call::Shutdown { fd: fd(first), how: low(second) },
        Kind::CloseRange if low(third) & CLOSE_RANGE_CLOEXEC != 0 => Call::Other,
        Kind::CloseRange => Call::CloseRange { first: low(first), last: low(second) },
        Kind::MakeSocket => Call::Make { class: DescriptorClass::Socket },
        Kind::OpenFile => Call::Make { class: DescriptorClass::File },
        Kind::MakeEpoll => Call::Make { class: DescriptorClass::Epoll },
        Kind::MakeEvent => Call::Make { class: DescriptorClass::Wakeup },
        Kind::UringSetup => Call::Make { class: DescriptorClass::Other },
        Kind::MakeSocketPair | Kind::MakePipe => Call::MakePair { fds: [fd(extra), fd(extra >> 32)] },
        Kind::Duplicate if system_call == FCNTL && !duplicates(second) => Call::Other,
        Kind::Duplicate | Kind::DuplicateOnto => Call::Duplicate { fd: fd(first) },
        Kind::Bind => Call::Bind { fd: fd(first) },
        Kind::Listen => Call::Listen { fd: fd(first), backlog: low(second) },
    }
}

/// What distinguishes the connection of a connect from others; 0: a user address stands there, nothing is
/// known.
const fn connected(second: u64) -> u64 {
    if second < identity::PORTS || second & identity::KERNEL_ADDRESS != 0 { second } else { 0 }
}

/// `extra` of a read is an arrival only on a client connection and only when something was read.
const fn arrival_ns(extra: u64, outcome: Outcome) -> u64 {
    if outcome.result > 0 && outcome.flags & FLAG_CLIENT != 0 { extra } else { 0 }
}

/// When what a call on a back end's connection is about became ready; 0: not known, or another call. A call
/// cannot be about what comes after it.
pub(crate) const fn back_end_ready_ns(record: &SliceRecord) -> u64 {
    if record.flags & (FLAG_CLIENT | FLAG_BACK_END) != FLAG_BACK_END {
        return 0;
    }
    let [_, _, third] = record.arguments;
    let ready_ns = match kind(record.system_call) {
        Some(
            Kind::Read
            | Kind::ReadVector
            | Kind::ReadMessage
            | Kind::Write
            | Kind::WriteVector
            | Kind::WriteMessage
            | Kind::SendFile
            | Kind::Splice,
        ) if record.result >= 0 => record.extra,
        Some(Kind::Connect) => third,
        _ => 0,
    };
    if ready_ns <= record.header.time_ns { ready_ns } else { 0 }
}

/// Who held the interpreter lock that a futex call waits for; 0 where that is not known.
pub(crate) const fn holder(system_call: u32, arguments: &[u64; 3]) -> u32 {
    let [_, _, third] = *arguments;
    if system_call == FUTEX && third & HOLDER_KNOWN != 0 { low(third) } else { 0 }
}

/// Who was the last to have that lock when the call ended; 0 where that is not known.
pub(crate) const fn last_holder(system_call: u32, arguments: &[u64; 3]) -> u32 {
    let [_, second, third] = *arguments;
    if system_call == FUTEX && third & HOLDER_KNOWN != 0 { low(second >> 32) } else { 0 }
}

/// When somebody was about to wake the thread that waited in a `futex`; 0 where that is not known.
pub(crate) const fn woken_ns(record: &SliceRecord) -> u64 {
    if record.system_call != FUTEX || record.waker_tid == 0 {
        return 0;
    }
    let [_, second, third] = record.arguments;
    let takes_lock = record.flags & FLAG_TAKES_LOCK != 0 || third & HOLDER_KNOWN != 0;
    let ago_ns = woken_ago_ns(second);
    if takes_lock || ago_ns == 0 {
        return 0;
    }
    let woken_ns = record.header.time_ns.saturating_sub(ago_ns);
    if woken_ns < record.enter_ns { 0 } else { woken_ns }
}

/// How often the interpreter lock had changed hands when the call began to wait for it, if that was read.
pub(crate) const fn lock_switches(system_call: u32, arguments: &[u64; 3]) -> Option<u32> {
    let [_, _, third] = *arguments;
    let known = HOLDER_KNOWN | SWITCHES_KNOWN;
    if system_call == FUTEX && third & known == known { Some(low(third >> 32) & SWITCHES_MASK) } else { None }
}

/// Whether the call waits to take an interpreter lock as the kernel programs know it, and how long before it
/// the attempt began, in nanoseconds.
pub(crate) const fn take(system_call: u32, flags: u32, extra: u64) -> Option<u64> {
    if system_call == FUTEX && flags & FLAG_TAKES_LOCK != 0 { Some(take_lead_ns(extra)) } else { None }
}

const fn futex(address: u64, operation: u32, timeout: u64) -> Call {
    // FUTEX_PRIVATE_FLAG (128) and FUTEX_CLOCK_REALTIME (256) are not part of the command.
    match operation & 127 {
        // WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2.
        0 | 6 | 9 | 11 | 13 => Call::FutexWait { address, operation, has_timeout: timeout != 0 },
        _ => Call::FutexWake { address, operation },
    }
}

/// `first` is the first `struct pollfd`; 0 if it could not be read.
const fn poll(count: u32, first: u64) -> Call {
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

/// `count` is the highest descriptor of all sets plus one; `read_word` the first word of the read set.
const fn select(count: i32, write_set: u64, read_word: u64) -> Call {
    let low_fds = match count {
        ..=0 => 0,
        1..=63 => read_word & ((1 << count) - 1),
        _ => read_word,
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

#[expect(clippy::cast_possible_truncation, reason = "packed fields of 16 bits")]
const fn bits_16(value: u64) -> u16 {
    value as u16
}
