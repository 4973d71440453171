//! Every kind of record and every kind of call, by example; and garbage.

use profiler_common::record::connection::{ACCEPTED, ConnectionRecord, SEEDED};
use profiler_common::record::detail::Opened;
use profiler_common::record::detail::{Futex, Poll, Select, Words};
use profiler_common::record::evidence::{ACCEPT_FAILED, EvidenceRecord, RESET_RECEIVED, RESET_SENT, SIGNAL};
use profiler_common::record::frames::{Frame, FramesRecord, UNSTABLE};
use profiler_common::record::head::{HeadRecord, INBOUND, OUTBOUND};
use profiler_common::record::lifecycle::{Death, EXIT, FORK, LifecycleRecord};
use profiler_common::record::plaintext::PlaintextRecord;
use profiler_common::record::sleep::PIPE;
use profiler_common::record::slice::{
    FLAG_BACK_END, FLAG_CLIENT, FLAG_PEEKS, FLAG_STATUS_LINE, FLAG_TAKES_LOCK, SliceRecord, Undecided,
};
use profiler_common::record::taken::{MIGRATED, OURS, Stint, THROTTLED, TakenRecord};
use profiler_common::record::task::TaskRecord;
use profiler_common::record::timer::TimerRecord;
use profiler_common::record::{
    KIND_CONNECTION, KIND_EVIDENCE, KIND_FRAMES, KIND_HEAD, KIND_LIFECYCLE, KIND_PLAINTEXT, KIND_SLICE,
    KIND_TAKEN, KIND_TASK, KIND_TIMER, KIND_WAITER_FRAMES, RecordHeader,
};
use profiler_common::system_call as number;
use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::call::{Outcome, call};
use super::{Malformed, decode, slice, slice_in_place};
use crate::event::{
    Body, Call, Change, CpuStint, CpuTaken, Event, Evidence, LockSeen, Plaintext, Slice, TaskSeen, TimerSeen,
};
use crate::fact::{Account, DescriptorClass};

fn header(kind: u16, length_bytes: usize) -> RecordHeader {
    RecordHeader {
        kind,
        length_bytes: u16::try_from(length_bytes).unwrap(),
        cpu: 1,
        time_ns: 5_000,
        tgid: 10,
        tid: 11,
    }
}

fn record_number(system_call: u32) -> u16 {
    u16::try_from(system_call).unwrap()
}

fn slice_record() -> SliceRecord {
    SliceRecord {
        header: header(KIND_SLICE, size_of::<SliceRecord>()),
        enter_ns: 4_000,
        detail: [7, 0xdead, 8192, 3_999],
        result: 100,
        call_cpu_ns: 1,
        call_run_queue_ns: 2,
        call_blocked_ns: 997,
        gap_cpu_ns: 4,
        gap_run_queue_ns: 5,
        gap_blocked_ns: 6,
        gap_fault_ns: 3,
        folded_ns: 2,
        sequence: 42,
        folded_calls: 8,
        call_switches: 9,
        gap_switches: 10,
        waker_tid: 12,
        gap_blocked_call: -1,
        take_tail_ns: 13,
        system_call: record_number(number::RECVFROM),
        flags: FLAG_CLIENT as u16,
    }
}

#[test]
fn every_field_of_a_slice_arrives() {
    let event = decode(slice_record().as_bytes()).unwrap();
    assert_eq!(event.time_ns, 5_000);
    let Body::Slice(slice) = event.body else { panic!("not a slice") };
    assert_eq!((slice.tgid, slice.tid, slice.sequence), (10, 11, 42));
    assert_eq!(slice.call, Call::Read { fd: 7, asked_bytes: 8192, arrival_ns: 3_999 });
    assert_eq!((slice.system_call, slice.result, slice.enter_ns), (number::RECVFROM, 100, 4_000));
    assert_eq!(slice.inside, Account { cpu_ns: 1, run_queue_ns: 2, blocked_ns: 997 });
    assert_eq!(slice.gap, Account { cpu_ns: 4, run_queue_ns: 5, blocked_ns: 6 });
    assert_eq!((slice.in_gap.fault_ns, slice.in_gap.blocked_call), (3, -1));
    assert_eq!((slice.in_gap.folded_ns, slice.in_gap.folded_calls), (2, 8));
    assert_eq!((slice.call_switches, slice.in_gap.switches, slice.woken.by_tid), (9, 10, 12));
    assert_eq!(
        (slice.flags, slice.lock.take_tail_ns, slice.undecided),
        (FLAG_CLIENT, 13, Undecided::NOTHING)
    );
}

#[test]
fn what_is_undecided_of_a_slice_follows_it() {
    let undecided = Undecided { call_ns: 40, gap_ns: 5 };
    let whole = size_of::<SliceRecord>() + size_of::<Undecided>();
    let record = SliceRecord { header: header(KIND_SLICE, whole), ..slice_record() };
    let bytes = [record.as_bytes(), undecided.as_bytes()].concat();
    let Body::Slice(slice) = decode(&bytes).unwrap().body else { panic!("not a slice") };
    assert_eq!((slice.undecided, slice.in_gap.fault_ns), (undecided, 3));
    assert_eq!(slice_in_place(&bytes), None);
    let cut = Malformed::TooShort { kind: KIND_SLICE, have_bytes: whole - 1, need_bytes: whole };
    assert_eq!(decode(&bytes[..whole - 1]), Err(cut));
    let longer = SliceRecord { header: header(KIND_SLICE, whole + 8), ..record };
    let length_bytes = whole + 8;
    let bytes = [longer.as_bytes(), &[0; 24]].concat();
    assert_eq!(decode(&bytes), Err(Malformed::BadLength { kind: KIND_SLICE, length_bytes }));
}

#[test]
fn the_record_of_a_slice_is_seen_where_it_lies_if_it_lies_as_it_must_and_is_one() {
    let whole = slice_record();
    assert_eq!(slice_in_place(whole.as_bytes()), Some(&whole));
    let Body::Slice(decoded) = decode(whole.as_bytes()).unwrap().body else { panic!("not a slice") };
    assert_eq!(slice(&whole, Undecided::NOTHING), decoded);
    // One byte further on, where no number of eight bytes may begin.
    let mut moved = [SliceRecord::default(); 2];
    moved.as_mut_bytes()[1..=size_of::<SliceRecord>()].copy_from_slice(whole.as_bytes());
    let moved = &moved.as_bytes()[1..];
    assert_eq!(slice_in_place(moved), None);
    assert_eq!(decode(moved), decode(whole.as_bytes()));
    assert_eq!(slice_in_place(&whole.as_bytes()[..size_of::<SliceRecord>() - 8]), None, "cut off");
    let longer = SliceRecord { header: header(KIND_SLICE, size_of::<SliceRecord>() + 8), ..whole };
    assert_eq!(slice_in_place(longer.as_bytes()), None, "it claims to be longer");
    let other = SliceRecord { header: header(KIND_HEAD, size_of::<SliceRecord>()), ..whole };
    assert_eq!(slice_in_place(other.as_bytes()), None, "of another kind");
}

fn head_bytes(captured: &[u8], slack: usize) -> Vec<u8> {
    let record = HeadRecord {
        header: header(KIND_HEAD, size_of::<HeadRecord>() + captured.len() + slack),
        fd: 9,
        direction: OUTBOUND,
        sequence: 43,
        offset_bytes: 17,
        captured_bytes: u32::try_from(captured.len()).unwrap(),
        reserved: 0,
    };
    let mut bytes = record.as_bytes().to_vec();
    bytes.extend_from_slice(captured);
    bytes.resize(bytes.len() + slack, 0);
    bytes
}

#[test]
fn a_plaintext_carries_exactly_its_captured_bytes() {
    let of = |direction, captured_bytes, slack: usize| {
        let length = size_of::<PlaintextRecord>() + 5 + slack;
        let header = header(KIND_PLAINTEXT, length);
        let record = PlaintextRecord { header, session: 77, direction, captured_bytes, moved_bytes: 900 };
        [record.as_bytes(), b"GET /", &[0; 3][..slack]].concat()
    };
    for (direction, inbound, slack) in [(INBOUND, true, 0), (OUTBOUND, false, 3)] {
        let seen = Plaintext { tgid: 10, tid: 11, session: 77, inbound, bytes: b"GET /".to_vec() };
        assert_eq!(decode(&of(direction, 5, slack)).map(|event| event.body), Ok(Body::Plaintext(seen)));
    }
    assert_eq!(decode(&of(2, 5, 0)), Err(Malformed::BadValue { kind: KIND_PLAINTEXT, value: 2 }));
    assert_eq!(decode(&of(0, 6, 0)), Err(Malformed::BadLength { kind: KIND_PLAINTEXT, length_bytes: 53 }));
    let whole = of(0, 5, 0);
    let cut = Malformed::TooShort { kind: KIND_PLAINTEXT, have_bytes: 52, need_bytes: 53 };
    assert_eq!(decode(&whole[..52]), Err(cut));
}

#[test]
fn a_head_carries_exactly_its_captured_bytes() {
    for slack in [0, 5] {
        let Body::Head(head) = decode(&head_bytes(b"HTTP/1.1 200", slack)).unwrap().body else {
            panic!("not a head")
        };
        assert_eq!((head.tgid, head.tid, head.sequence, head.fd), (10, 11, 43, 9));
        assert!(!head.inbound);
        assert_eq!(head.offset_bytes, 17);
        assert_eq!(head.bytes, b"HTTP/1.1 200");
    }
}

#[test]
fn a_head_that_claims_more_than_there_is_is_refused() {
    let mut bytes = head_bytes(b"HTTP/1.1 200", 0);
    let cut = bytes.split_off(50);
    assert!(matches!(decode(&bytes), Err(Malformed::TooShort { kind: KIND_HEAD, .. })));
    bytes.extend_from_slice(&cut);
    bytes[40..44].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert!(matches!(decode(&bytes), Err(Malformed::BadLength { kind: KIND_HEAD, .. })));
    let mut sideways = head_bytes(b"GET", 0);
    sideways[28..32].copy_from_slice(&2_u32.to_ne_bytes());
    assert_eq!(decode(&sideways), Err(Malformed::BadValue { kind: KIND_HEAD, value: 2 }));
}

#[test]
fn connections_and_lifecycle_arrive_whole() {
    let mut record = ConnectionRecord {
        header: header(KIND_CONNECTION, size_of::<ConnectionRecord>()),
        socket: 0xffff_8880,
        established_ns: 4_500,
        generation: 3,
        fd: 9,
        listener_fd: 5,
        origin: ACCEPTED,
        family: 10,
        local_port: 8000,
        peer_port: 54_321,
        delayed_ms: 1_020,
    };
    let Body::Connection(connection) = decode(record.as_bytes()).unwrap().body else { panic!() };
    assert_eq!((connection.fd, connection.listener_fd, connection.seeded), (9, 5, false));
    assert_eq!(connection.socket, (0xffff_8880, 3));
    assert_eq!((connection.established_ns, connection.family), (4_500, 10));
    assert_eq!((connection.local_port, connection.peer_port), (8000, 54_321));
    assert_eq!(connection.delayed_ms, 1_020);
    record.origin = SEEDED;
    let Body::Connection(connection) = decode(record.as_bytes()).unwrap().body else { panic!() };
    assert!(connection.seeded);
    record.origin = 3;
    assert_eq!(decode(record.as_bytes()), Err(Malformed::BadValue { kind: KIND_CONNECTION, value: 3 }));

    let mut record = LifecycleRecord {
        header: header(KIND_LIFECYCLE, size_of::<LifecycleRecord>()),
        what: FORK,
        other_tgid: 20,
        other_tid: 21,
        reserved: 0,
        detail: 0,
        comm: *b"gunicorn\0\0\0\0\0\0\0\0",
    };
    let Body::Lifecycle(lifecycle) = decode(record.as_bytes()).unwrap().body else { panic!() };
    assert_eq!(lifecycle.change, Change::Fork { child_tgid: 20, child_tid: 21, child_number: 0 });
    assert_eq!(lifecycle.comm, "gunicorn");
    for (detail, child_number) in [(7, 7), (u64::MAX, 0), (u64::from(u32::MAX) + 8, 0)] {
        record.detail = detail;
        let Body::Lifecycle(lifecycle) = decode(record.as_bytes()).unwrap().body else { panic!() };
        assert_eq!(lifecycle.change, Change::Fork { child_tgid: 20, child_tid: 21, child_number });
    }
    record.what = EXIT;
    record.detail = Death { exit_code: 9 }.detail();
    record.comm = *b"no closing NUL\xff!";
    let Body::Lifecycle(lifecycle) = decode(record.as_bytes()).unwrap().body else { panic!() };
    assert_eq!(lifecycle.change, Change::Exit { code: 9 });
    assert_eq!(lifecycle.comm, "no closing NUL\u{fffd}!");
}

#[test]
fn each_kind_of_evidence_reads_the_words_of_its_detail() {
    let found = |what| {
        let record = EvidenceRecord {
            header: header(KIND_EVIDENCE, size_of::<EvidenceRecord>()),
            what,
            detail: [9, (-24_i32).cast_unsigned(), 30],
            sender_comm: *b"systemd\0\0\0\0\0\0\0\0\0",
            ..EvidenceRecord::default()
        };
        let Body::Evidence(found) = decode(record.as_bytes()).unwrap().body else { panic!() };
        *found
    };
    let Evidence::Signal(signal) = found(SIGNAL) else { panic!() };
    assert_eq!((signal.tgid, signal.number, signal.by_kernel), (10, 9, false));
    assert_eq!((signal.sender_tgid, signal.sender_comm.as_str()), (30, "systemd"));
    assert_eq!(found(ACCEPT_FAILED), Evidence::AcceptFailed { tgid: 10, listener_fd: 9, result: -24 });
    for (what, closed_by) in [(RESET_SENT, 30), (RESET_RECEIVED, 0)] {
        let Evidence::Connection(connection) = found(what) else { panic!() };
        assert_eq!(connection.closed_by, closed_by);
    }
}

#[test]
fn what_is_no_record_says_why() {
    assert!(matches!(decode(&[]), Err(Malformed::TooShort { kind: 0, have_bytes: 0, .. })));
    assert_eq!(decode(&[99, 0, 0, 0]), Err(Malformed::UnknownKind { kind: 99 }));
    let mut record = slice_record();
    assert!(matches!(decode(&record.as_bytes()[..167]), Err(Malformed::TooShort { have_bytes: 167, .. })));
    record.header.length_bytes = 160;
    assert_eq!(decode(record.as_bytes()), Err(Malformed::BadLength { kind: KIND_SLICE, length_bytes: 160 }));
}

fn open(system_call: u32, detail: Words) -> Call {
    call(system_call, &detail, Outcome::default())
}

const fn poll(only_fd: Option<i32>, low_fds: u64, for_write: bool, is_sleep: bool) -> Call {
    Call::Poll { only_fd, low_fds, for_write, is_sleep }
}

#[test]
fn poll_names_its_only_descriptor_and_what_for() {
    let of = |system_call, count, fd: i32, events: u64| {
        let first = u64::from(fd.cast_unsigned()) | events << 32;
        open(system_call, Poll { count, first }.words())
    };
    assert_eq!(of(number::POLL, 1, 6, 1), poll(Some(6), 0, false, false));
    assert_eq!(of(number::PPOLL, 1, 6, 4), poll(Some(6), 0, true, false));
    assert_eq!(of(number::POLL, 1, 6, 5), poll(Some(6), 0, false, false));
    assert_eq!(of(number::POLL, 2, 6, 4), poll(None, 0, false, false));
    assert_eq!(of(number::POLL, 0, 0, 0), poll(None, 0, false, true));
    assert_eq!(of(number::POLL, 1, -1, 1), poll(None, 0, false, true));
    // Not readable: nothing is claimed.
    assert_eq!(of(number::POLL, 1, 0, 0), poll(None, 0, false, false));
}

#[test]
fn select_names_its_only_descriptor_when_nothing_else_can_be_in_the_sets() {
    let of = |system_call, count, write_set, readable| {
        open(system_call, Select { count, write_set, readable }.words())
    };
    assert_eq!(of(number::SELECT, 0, 0, 0), poll(None, 0, false, true));
    assert_eq!(of(number::SELECT, 6, 0, 1 << 5), poll(Some(5), 1 << 5, false, false));
    assert_eq!(of(number::PSELECT6, 64, 0, 1 << 5), poll(Some(5), 1 << 5, false, false));
    assert_eq!(of(number::PSELECT6, 64, 0, 1 << 63), poll(Some(63), 1 << 63, false, false));
    // More words than were read, a second reader, or a writer beyond the reader.
    assert_eq!(of(number::SELECT, 65, 0, 1 << 5), poll(None, 1 << 5, false, false));
    assert_eq!(of(number::SELECT, 8, 0, 0b1010_0000), poll(None, 0b1010_0000, false, false));
    assert_eq!(of(number::SELECT, 9, 1, 1 << 5), poll(None, 1 << 5, false, false));
    assert_eq!(of(number::SELECT, 6, 1, 1 << 5), poll(Some(5), 1 << 5, false, false));
    // Bits beyond the asked ones are stack garbage.
    assert_eq!(of(number::SELECT, 6, 0, 1 << 5 | 1 << 6), poll(Some(5), 1 << 5, false, false));
    assert_eq!(of(number::SELECT, -1, 0, u64::MAX), poll(None, 0, false, false));
}

#[test]
fn futex_waits_are_told_from_wakes() {
    let of = |operation, has_timeout| {
        let futex = Futex { address: 0x7000, operation, has_timeout, ..Futex::default() };
        open(number::FUTEX, futex.words())
    };
    for command in [0, 6, 9, 11, 13] {
        let operation = command | 128 | 256;
        assert_eq!(
            of(operation, false),
            Call::FutexWait { address: 0x7000, operation: operation.into(), has_timeout: false }
        );
    }
    assert_eq!(of(0x189, true), Call::FutexWait { address: 0x7000, operation: 0x189, has_timeout: true });
    for command in [1, 2, 3, 4, 5, 7, 8, 10, 12] {
        let woken = Call::FutexWake { address: 0x7000, operation: command.into() };
        assert_eq!(of(command, true), woken);
    }
}

/// A futex call that took 1000 ns.
fn futex_slice(futex: Futex, flags: u32) -> Slice {
    let record = SliceRecord {
        system_call: record_number(number::FUTEX),
        detail: futex.words(),
        flags: flags as u16,
        ..slice_record()
    };
    let Body::Slice(slice) = decode(record.as_bytes()).unwrap().body else { panic!("not a slice") };
    slice
}

#[test]
fn a_wait_for_the_interpreter_lock_says_who_had_it_and_when_the_attempt_began() {
    let futex = Futex {
        address: 0x7000,
        operation: 0x89,
        holder_tid: 77,
        last_holder_tid: 4321,
        switches: 5,
        lead_ns: 6,
        ..Futex::default()
    };
    let lock = futex_slice(futex, FLAG_TAKES_LOCK).lock;
    let expected = LockSeen {
        holder_tid: 77,
        last_holder_tid: 4321,
        switches: 5,
        take_lead_ns: Some(6),
        take_tail_ns: 13,
    };
    assert_eq!(lock, expected);
    assert_eq!(futex_slice(futex, 0).lock, LockSeen { take_lead_ns: None, ..expected }, "to give it up");
    let other = SliceRecord { detail: futex.words(), ..slice_record() };
    let Body::Slice(other) = decode(other.as_bytes()).unwrap().body else { panic!("not a slice") };
    assert_eq!(other.lock, LockSeen { take_tail_ns: 13, ..LockSeen::default() }, "another call");
}

#[test]
fn a_wait_in_a_futex_tells_when_it_was_ended_if_that_can_be() {
    let woken = |woken_ago_ns| {
        let futex = Futex { address: 0x7000, operation: 0x89, woken_ago_ns, ..Futex::default() };
        let woken = futex_slice(futex, 0).woken;
        (woken.by_tid, woken.at_ns)
    };
    assert_eq!(woken(32), (12, 4_968));
    assert_eq!(woken(1_000), (12, 4_000));
    assert_eq!(woken(1_001), (12, 0), "before the call");
    assert_eq!(woken(0), (12, 0), "not known");
}

#[test]
fn reads_know_their_arrival_only_on_client_connections_that_gave_bytes() {
    let read = |result, flags| call(number::READ, &[4, 0, 10, 777], Outcome { result, flags });
    assert_eq!(read(5, FLAG_CLIENT), Call::Read { fd: 4, asked_bytes: 10, arrival_ns: 777 });
    for (result, flags) in [(0, FLAG_CLIENT), (-11, FLAG_CLIENT), (5, 0)] {
        assert_eq!(read(result, flags), Call::Read { fd: 4, asked_bytes: 10, arrival_ns: 0 });
    }
    let vectored = call(number::READV, &[4, 0, 2, 777], Outcome { result: 5, flags: FLAG_CLIENT });
    assert_eq!(vectored, Call::Read { fd: 4, asked_bytes: 0, arrival_ns: 777 });
    let looks = call(number::RECVFROM, &[4, 0, 1, 0], Outcome { result: 1, flags: FLAG_CLIENT | FLAG_PEEKS });
    let looked = Call::Poll { only_fd: Some(4), low_fds: 0, for_write: false, is_sleep: false };
    assert_eq!(looks, looked, "it takes nothing");
}

#[test]
fn calls_on_back_ends_know_since_when_they_could_go_on_and_no_other_call_does() {
    let ready_ns = |system_call, result, flags| {
        let detail = [7, 0xdead, 4_500, 3_999];
        let (system_call, flags) = (record_number(system_call), flags as u16);
        let record = SliceRecord { system_call, result, flags, detail, ..slice_record() };
        let Body::Slice(slice) = decode(record.as_bytes()).unwrap().body else { panic!("not a slice") };
        slice.back_end_ready_ns
    };
    for call in [number::READ, number::RECVMSG, number::WRITE, number::SENDTO, number::SENDFILE] {
        assert_eq!(ready_ns(call, 100, FLAG_BACK_END), 3_999);
        // The end of the stream came at some moment, too.
        assert_eq!(ready_ns(call, 0, FLAG_BACK_END), 3_999);
        for (result, flags) in [(-11, FLAG_BACK_END), (100, 0), (100, FLAG_CLIENT | FLAG_STATUS_LINE)] {
            assert_eq!(ready_ns(call, result, flags), 0);
        }
    }
    assert_eq!(ready_ns(number::CONNECT, 0, FLAG_BACK_END), 4_500);
    assert_eq!(ready_ns(number::CONNECT, 0, 0), 0);
    assert_eq!(ready_ns(number::EPOLL_WAIT, 1, FLAG_BACK_END), 0);
    let record = SliceRecord { detail: [7, 0, 1, 5_001], flags: FLAG_BACK_END as u16, ..slice_record() };
    let Body::Slice(slice) = decode(record.as_bytes()).unwrap().body else { panic!("not a slice") };
    assert_eq!(slice.back_end_ready_ns, 0, "after the call");
}

#[test]
fn every_other_call_is_what_its_manual_says() {
    let make = |class| Call::Make { class };
    let pair = u64::from(3_u32) | u64::from(4_u32) << 32;
    let table = [
        (number::ACCEPT4, [5, 0, 0], 0, Call::Accept { listener_fd: 5 }),
        (number::ACCEPT, [5, 0, 0], 0, Call::Accept { listener_fd: 5 }),
        (number::SENDMSG, [8, 0, 0], 0, Call::Write { fd: 8 }),
        (number::SENDFILE, [8, 9, 0], 0, Call::Transfer { from_fd: 9, to_fd: 8 }),
        (number::SPLICE, [8, 0, 9], 0, Call::Transfer { from_fd: 8, to_fd: 9 }),
        (number::EPOLL_PWAIT2, [4, 0, 0], 0, Call::EpollWait { epoll_fd: 4, timeout_ms: -1 }),
        (number::EPOLL_CTL, [4, 1, 7], 0, Call::EpollControl { epoll_fd: 4, operation: 1, fd: 7, events: 0 }),
        (number::CLOCK_NANOSLEEP, [0, 0, 0], 0, Call::Sleep),
        (
            number::CONNECT,
            [7, 40_000, 0],
            0x0100_007f_1538_0002,
            Call::Connect { fd: 7, port: 5432, family: 2, identity: 40_000 },
        ),
        (number::CONNECT, [7, 0, 0], 1, Call::Connect { fd: 7, port: 0, family: 1, identity: 0 }),
        (
            number::CONNECT,
            [7, 0xffff_8881_0000_4000, 0],
            1,
            Call::Connect { fd: 7, port: 0, family: 1, identity: 0xffff_8881_0000_4000 },
        ),
        (number::SHUTDOWN, [7, 1, 0], 0, Call::Shutdown { fd: 7, how: 1 }),
        (number::CLOSE, [u64::MAX, 0, 0], 0, Call::Close { fd: -1 }),
        (number::CLOSE_RANGE, [3, 0xffff_ffff, 0], 0, Call::CloseRange { first: 3, last: u32::MAX }),
        (number::CLOSE_RANGE, [3, 0xffff_ffff, 4], 0, Call::Other),
        (number::SOCKET, [2, 1, 0], 0, make(DescriptorClass::Socket)),
        (number::EPOLL_CREATE1, [0, 0, 0], 0, make(DescriptorClass::Epoll)),
        (number::EVENTFD2, [0, 0, 0], 0, make(DescriptorClass::Wakeup)),
        (number::OPENAT, [0, 0, 0], 0, make(DescriptorClass::File)),
        (number::OPENAT, [0, 0, 0], Opened::word(PIPE), make(DescriptorClass::Wakeup)),
        (number::OPENAT, [0, 0, 0], PIPE.into(), make(DescriptorClass::File)),
        (number::IO_URING_SETUP, [0, 0, 0], 0, make(DescriptorClass::Other)),
        (number::PIPE2, [0, 0, 0], pair, Call::MakePair { fds: [3, 4] }),
        (number::DUP2, [3, 9, 0], 0, Call::Duplicate { fd: 3 }),
        (number::FCNTL, [3, 1030, 0], 0, Call::Duplicate { fd: 3 }),
        (number::FCNTL, [3, 4, 0], 0, Call::Other),
        (number::BIND, [3, 0, 0], 0, Call::Bind { fd: 3 }),
        (number::LISTEN, [3, 2048, 0], 0, Call::Listen { fd: 3, backlog: 2048 }),
        (number::GETRUSAGE, [0, 0, 0], 0, Call::Marker),
        (9999, [1, 2, 3], 4, Call::Other),
    ];
    for (system_call, [first, second, third], last, expected) in table {
        assert_eq!(
            open(system_call, [first, second, third, last]),
            expected,
            "{}",
            number::name(system_call)
        );
    }
}

#[test]
fn every_observed_call_has_a_meaning() {
    for system_call in number::OBSERVED {
        if *system_call != number::FCNTL {
            assert_ne!(open(*system_call, [1, 0, 0, 0]), Call::Other, "{}", number::name(*system_call));
        }
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0_u16..13) {
        let mut bytes = bytes;
        let _ = decode(&bytes);
        for (slot, value) in bytes.iter_mut().zip(kind.to_ne_bytes()) {
            *slot = value;
        }
        let _ = decode(&bytes);
    }

    #[test]
    fn garbage_inside_a_slice_still_decodes(body in proptest::collection::vec(any::<u8>(), 164)) {
        let mut bytes = vec![1, 0, 168, 0];
        bytes.extend_from_slice(&body);
        let event = decode(&bytes).unwrap();
        let is_slice = matches!(event.body, Body::Slice(_));
        prop_assert!(is_slice);
    }
}

#[test]
fn frames_are_the_holders_or_the_waiters_as_their_kind_says() {
    for (kind, of_waiter) in [(KIND_FRAMES, false), (KIND_WAITER_FRAMES, true)] {
        let mut record = FramesRecord { count: 1, flags: UNSTABLE, ..FramesRecord::default() };
        let length_bytes = u16::try_from(size_of::<FramesRecord>()).expect("short");
        record.header = RecordHeader { kind, length_bytes, time_ns: 5, tgid: 1, tid: 2, ..record.header };
        record.frames[0] = Frame { code: 16, instruction: 24 };
        let event = decode(record.as_bytes()).expect("whole");
        let Body::Frames(found) = event.body else { panic!("{event:?}") };
        assert_eq!((event.time_ns, found.tgid, found.tid), (5, 1, 2));
        assert_eq!((found.frames.as_slice(), found.unstable), ([(16, 24)].as_slice(), true));
        assert_eq!(found.of_waiter, of_waiter);
        record.count = 9;
        assert_eq!(decode(record.as_bytes()), Err(Malformed::BadValue { kind, value: 9 }));
    }
}

#[test]
fn task_of_a_thread_is_told_by_its_record() {
    let length_bytes = u16::try_from(size_of::<TaskRecord>()).expect("short");
    let header = RecordHeader { kind: KIND_TASK, length_bytes, time_ns: 5, tgid: 1, tid: 2, cpu: 0 };
    let record = TaskRecord { header, task: 0x7f00_1234_5000 };
    let seen = TaskSeen { tgid: 1, tid: 2, task: 0x7f00_1234_5000 };
    assert_eq!(decode(record.as_bytes()), Ok(Event { time_ns: 5, body: Body::Task(seen) }));
    let cut = record.as_bytes().get(..31).expect("longer");
    assert_eq!(decode(cut), Err(Malformed::TooShort { kind: KIND_TASK, have_bytes: 31, need_bytes: 32 }));
}

#[test]
fn timer_of_a_task_is_told_by_its_record() {
    let length_bytes = u16::try_from(size_of::<TimerRecord>()).expect("short");
    let header = RecordHeader { kind: KIND_TIMER, length_bytes, time_ns: 5, tgid: 1, tid: 2, cpu: 0 };
    let record = TimerRecord { header, task: 0x7f00_1234_5000, due_ns: 3 };
    let seen = TimerSeen { tgid: 1, tid: 2, task: 0x7f00_1234_5000, due_ns: 3 };
    assert_eq!(decode(record.as_bytes()), Ok(Event { time_ns: 5, body: Body::Timer(seen) }));
    let cut = record.as_bytes().get(..39).expect("longer");
    assert_eq!(decode(cut), Err(Malformed::TooShort { kind: KIND_TIMER, have_bytes: 39, need_bytes: 40 }));
}

#[test]
fn who_had_a_cpu_is_told_by_the_record_of_a_wait_for_it() {
    let mut comm = [0; 16];
    comm[..3].copy_from_slice(b"cc1");
    let stint = Stint { from_ns: 1, until_ns: 4, ran_ns: 2, tgid: 8, tid: 9, flags: 0, reserved: 0, comm };
    let ours = Stint { flags: OURS, comm: [0; 16], ..stint };
    let length = size_of::<TakenRecord>() + 2 * size_of::<Stint>();
    let length_bytes = u16::try_from(length).expect("short");
    let header = RecordHeader { kind: KIND_TAKEN, length_bytes, cpu: 3, time_ns: 5, tgid: 1, tid: 2 };
    let mut record = TakenRecord { header, since_ns: 2, flags: THROTTLED | MIGRATED, count: 2 };
    let stints = [stint.as_bytes(), ours.as_bytes()].concat();
    let bytes = [record.as_bytes(), &stints].concat();
    let told =
        CpuStint { from_ns: 1, until_ns: 4, ran_ns: 2, tid: 9, is_ours: false, comm: "cc1".to_owned() };
    let stints = vec![told.clone(), CpuStint { is_ours: true, comm: String::new(), ..told }];
    let taken = CpuTaken { tid: 2, cpu: 3, since_ns: 2, is_throttled: true, has_moved: true, stints };
    assert_eq!(decode(&bytes), Ok(Event { time_ns: 5, body: Body::CpuTaken(Box::new(taken)) }));
    let need_bytes = length;
    let cut = Malformed::TooShort { kind: KIND_TAKEN, have_bytes: length - 1, need_bytes };
    assert_eq!(decode(&bytes[..length - 1]), Err(cut));
    record.count = 3;
    let more = [record.as_bytes(), &bytes[size_of::<TakenRecord>()..]].concat();
    assert_eq!(decode(&more), Err(Malformed::BadLength { kind: KIND_TAKEN, length_bytes: length }));
}
