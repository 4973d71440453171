//! Streams that no kernel should send: whatever they hold, nothing panics and every request adds up.
//!
//! In: records and facts with arbitrary times, threads, kinds, orders and losses, through the whole pipeline.
//! Out: assertions on every request and on the snapshot.

use profiler_common::record::connection::ConnectionRecord;
use profiler_common::record::head::HeadRecord;
use profiler_common::record::lifecycle::LifecycleRecord;
use profiler_common::record::plaintext::PlaintextRecord;
use profiler_common::record::slice::{SliceRecord, Undecided};
use profiler_common::record::task::TaskRecord;
use profiler_common::record::timer::TimerRecord;
use profiler_common::record::{
    KIND_CONNECTION, KIND_HEAD, KIND_LIFECYCLE, KIND_PLAINTEXT, KIND_SLICE, KIND_TASK, KIND_TIMER,
    RecordHeader,
};
use profiler_common::system_call::OBSERVED;
use zerocopy::IntoBytes as _;

use super::*;
use crate::fact::container::Container;
use crate::fact::machine::MachineCpu;
use crate::fact::{
    CgroupCpu, CgroupMemory, FactRecord, InterpreterLock, InterpreterSeen, ListenerCounts, ListenerSeen,
    ListenerWakes, Overhead, ProcessSeen, ThreadTotals,
};
use crate::finding::threshold::Thresholds;

/// Mostly a moment of a window of two seconds, now and then any number at all.
fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => (0..2_000_000_u64).prop_map(|us| START + us * US),
        2 => (0..4_u64).prop_map(|ms| START + ms * 1_000_000),
        1 => prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()],
    ]
}

/// Mostly a stretch of up to a second, now and then any number at all.
fn length() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0), 8 => 0..1_000_000_000_u64, 1 => prop_oneof![Just(u64::MAX), any::<u64>()]]
}

/// A few processes and threads, so that records meet.
fn who() -> impl Strategy<Value = (u32, u32)> {
    prop_oneof![
        12 => (1..3_u32, 0..3_u32).prop_map(|(tgid, thread)| (tgid, tgid + 10 * thread)),
        1 => any::<(u32, u32)>(),
    ]
}

fn fd() -> impl Strategy<Value = u32> {
    prop_oneof![20 => 3..9_u32, 1 => any::<u32>()]
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let messages: &[&[u8]] = &[
        GET,
        OK5,
        b"POST /up HTTP/1.1\r\nContent-Length: 3000\r\n\r\n",
        b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 x\r\n\r\n",
        b"HTTP/1.1 200 x\r\nContent-Length: 18446744073709551615\r\n\r\n",
        b"GET /a HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n",
        b"\x17\x03\x03\x00\x05xxxxx",
        b"garbage",
        b"",
    ];
    prop_oneof![
        12 => proptest::sample::select(messages).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
    ]
}

fn header(kind: u16, length_bytes: usize, time_ns: u64, (tgid, tid): (u32, u32)) -> RecordHeader {
    let length_bytes = u16::try_from(length_bytes).unwrap_or(u16::MAX);
    RecordHeader { kind, length_bytes, cpu: 0, time_ns, tgid, tid }
}

fn slice() -> impl Strategy<Value = Vec<u8>> {
    let accounts = proptest::array::uniform7(length());
    let words = (fd(), fd(), prop_oneof![4 => fd().prop_map(u64::from), 1 => any::<u64>()], length());
    let observed = proptest::sample::select(OBSERVED).prop_map(|call| u16::try_from(call).unwrap_or(0));
    let call = prop_oneof![20 => observed, 1 => any::<u16>()];
    let result = prop_oneof![4 => -12..200_i64, 1 => any::<i64>()];
    let rest = (0..12_u32, 0..512_u16, prop_oneof![Just(-2), Just(-1), 0..300_i32], 0..30_u32);
    // A slice that keeps its laws, or one that does not.
    (time(), who(), any::<[bool; 2]>(), accounts, words, call, result, rest).prop_map(
        |(time_ns, who, [is_sound, has_undecided], accounts, words, system_call, result, rest)| {
            let [cpu, run_queue, blocked, gap_cpu, gap_run_queue, gap_blocked, fault] = accounts;
            let (sequence, flags, gap_blocked_call, waker_tid) = rest;
            let inside_ns = cpu.saturating_add(run_queue).saturating_add(blocked);
            let enter_ns = if is_sound { time_ns.saturating_sub(inside_ns) } else { words.3 };
            let length_bytes =
                size_of::<SliceRecord>() + if has_undecided { size_of::<Undecided>() } else { 0 };
            let record = SliceRecord {
                header: header(KIND_SLICE, length_bytes, time_ns, who),
                enter_ns,
                detail: [
                    u64::from(words.0),
                    u64::from(words.1) | words.2 << 32,
                    words.2,
                    if flags & 4 == 0 { words.2 } else { words.3.wrapping_add(START) },
                ],
                result,
                call_cpu_ns: cpu,
                call_run_queue_ns: run_queue,
                call_blocked_ns: blocked,
                gap_cpu_ns: gap_cpu,
                gap_run_queue_ns: gap_run_queue,
                gap_blocked_ns: gap_blocked,
                gap_fault_ns: fault,
                folded_ns: fault,
                sequence,
                folded_calls: waker_tid,
                call_switches: waker_tid,
                gap_switches: u32::MAX,
                waker_tid,
                gap_blocked_call,
                take_tail_ns: u32::try_from(fault).unwrap_or(u32::MAX),
                system_call,
                flags,
            };
            if !has_undecided {
                return record.as_bytes().to_vec();
            }
            let undecided = Undecided { call_ns: fault, gap_ns: words.2 };
            [record.as_bytes(), undecided.as_bytes()].concat()
        },
    )
}

fn head() -> impl Strategy<Value = Vec<u8>> {
    (time(), who(), fd(), 0..3_u32, 0..12_u32, message()).prop_map(
        |(time_ns, who, fd, direction, sequence, message)| {
            let length_bytes = size_of::<HeadRecord>() + message.len();
            let record = HeadRecord {
                header: header(KIND_HEAD, length_bytes, time_ns, who),
                fd: fd.cast_signed(),
                direction,
                sequence,
                offset_bytes: 0,
                captured_bytes: u32::try_from(message.len()).unwrap_or(0),
                reserved: 0,
            };
            [record.as_bytes(), &message].concat()
        },
    )
}

fn plaintext() -> impl Strategy<Value = Vec<u8>> {
    (time(), who(), 0..3_u64, 0..3_u32, message()).prop_map(|(time_ns, who, session, direction, message)| {
        let record = PlaintextRecord {
            header: header(KIND_PLAINTEXT, size_of::<PlaintextRecord>() + message.len(), time_ns, who),
            session,
            direction,
            captured_bytes: u32::try_from(message.len()).unwrap_or(0),
            moved_bytes: time_ns,
        };
        [record.as_bytes(), &message].concat()
    })
}

fn connection() -> impl Strategy<Value = Vec<u8>> {
    (time(), who(), fd(), fd(), 0..4_u32, time(), any::<u16>()).prop_map(
        |(time_ns, who, fd, listener_fd, origin, established_ns, port)| {
            let record = ConnectionRecord {
                header: header(KIND_CONNECTION, size_of::<ConnectionRecord>(), time_ns, who),
                socket: u64::from(fd),
                established_ns,
                generation: origin,
                fd: fd.cast_signed(),
                listener_fd: listener_fd.cast_signed(),
                origin,
                family: port % 12,
                local_port: 8000 + port % 2,
                peer_port: port,
                delayed_ms: 0,
            };
            record.as_bytes().to_vec()
        },
    )
}

fn lifecycle() -> impl Strategy<Value = Vec<u8>> {
    (time(), who(), 0..6_u32, who(), any::<u64>()).prop_map(|(time_ns, who, what, other, detail)| {
        let record = LifecycleRecord {
            header: header(KIND_LIFECYCLE, size_of::<LifecycleRecord>(), time_ns, who),
            what,
            other_tgid: other.0,
            other_tid: other.1,
            reserved: 0,
            detail,
            comm: *b"python\0\0\0\0\0\0\0\0\0\0",
        };
        record.as_bytes().to_vec()
    })
}

fn task() -> impl Strategy<Value = Vec<u8>> {
    (time(), who(), 0..5_u64).prop_map(|(time_ns, who, task)| {
        let record = TaskRecord { header: header(KIND_TASK, size_of::<TaskRecord>(), time_ns, who), task };
        record.as_bytes().to_vec()
    })
}

fn timer() -> impl Strategy<Value = Vec<u8>> {
    (time(), who(), 0..5_u64, time()).prop_map(|(time_ns, who, task, due_ns)| {
        let header = header(KIND_TIMER, size_of::<TimerRecord>(), time_ns, who);
        TimerRecord { header, task, due_ns }.as_bytes().to_vec()
    })
}

fn account() -> impl Strategy<Value = Account> {
    (length(), length(), length()).prop_map(|(cpu_ns, run_queue_ns, blocked_ns)| Account {
        cpu_ns,
        run_queue_ns,
        blocked_ns,
    })
}

fn open_slice() -> impl Strategy<Value = Fact> {
    let call = proptest::option::of(proptest::sample::select(OBSERVED));
    let times = (prop_oneof![1 => Just(0), 4 => time()], time(), length());
    (who(), 0..12_u32, call, times, fd(), account(), account()).prop_map(
        |((tgid, tid), sequence, system_call, (enter_ns, gap_start_ns, fault), fd, call, gap)| {
            Fact::OpenSlice(OpenSlice {
                tgid,
                tid,
                sequence,
                system_call,
                gap_start_ns,
                enter_ns,
                detail: [u64::from(fd), u64::from(fd), u64::from(fd), 0],
                call,
                gap,
                gap_fault_ns: fault,
                gap_blocked_call: -1,
                call_undecided_ns: fault,
                gap_undecided_ns: enter_ns % 3,
            })
        },
    )
}

fn seen() -> impl Strategy<Value = Fact> {
    let class = prop_oneof![
        Just(DescriptorClass::Listener),
        Just(DescriptorClass::Client),
        Just(DescriptorClass::Backend { port: 80 }),
        Just(DescriptorClass::Socket),
        Just(DescriptorClass::Wakeup),
        Just(DescriptorClass::Epoll),
        Just(DescriptorClass::File),
    ];
    prop_oneof![
        (who(), fd(), class, proptest::collection::vec(fd(), 0..3)).prop_map(
            |((tgid, _), fd, class, interest)| {
                let interest = interest.into_iter().map(u32::cast_signed).collect();
                Fact::DescriptorSeen(DescriptorSeen {
                    tgid,
                    fd: fd.cast_signed(),
                    class,
                    interest,
                    interest_events: Vec::new(),
                    shared: false,
                    local_port: 0,
                })
            }
        ),
        (who(), fd(), 0..3_u64).prop_map(|((tgid, _), fd, inode)| {
            Fact::ListenerSeen(ListenerSeen {
                tgid,
                fd: fd.cast_signed(),
                inode,
                family: "tcp".to_owned(),
                address: "127.0.0.1:8000".to_owned(),
                port: 8000,
                backlog: u32::MAX,
            })
        }),
        (who(), any::<bool>()).prop_map(|((tgid, parent_tgid), front_end)| {
            let command_line = ["gunicorn", "--workers", "4294967295", "--threads", "4294967295", "a:b"];
            Fact::ProcessSeen(ProcessSeen {
                tgid,
                parent_tgid,
                comm: "gunicorn".to_owned(),
                command_line: command_line.map(str::to_owned).to_vec(),
                front_end,
                ..ProcessSeen::default()
            })
        }),
        (who(), 0..8_u64).prop_map(|((tgid, _), address)| {
            let lock = InterpreterLock { address, interpreter: 0, interval_us: u64::MAX };
            Fact::InterpreterSeen(InterpreterSeen { tgid, locks: vec![lock], ..InterpreterSeen::default() })
        }),
    ]
}

fn counted() -> impl Strategy<Value = Fact> {
    prop_oneof![
        any::<[u64; 3]>().prop_map(|[lost, emitted, received]| {
            let lost = LOSS_NAMES.iter().map(|name| ((*name).to_owned(), lost)).collect();
            let emitted = vec![("slice".to_owned(), emitted), ("head".to_owned(), emitted)];
            Fact::Counters(Counters { lost, emitted, recursion_misses: Vec::new(), received })
        }),
        (0..3_u64, any::<[u64; 4]>()).prop_map(
            |(inode, [arrivals, woken, slept_again, slept_again_cpu_ns])| {
                let wakes = ListenerWakes {
                    inode,
                    arrivals,
                    woken,
                    slept_again,
                    slept_again_cpu_ns,
                    slept_again_run_queue_ns: woken,
                };
                Fact::ListenerCounts(ListenerCounts { listeners: vec![wakes, wakes] })
            }
        ),
        any::<[u64; 4]>().prop_map(|[period_us, quota_us, throttled_periods, throttled_ns]| {
            let quota_us = Some(quota_us);
            let cgroup = "/a".to_owned();
            Fact::CgroupCpu(CgroupCpu { cgroup, quota_us, period_us, throttled_periods, throttled_ns })
        }),
        any::<[Option<u64>; 2]>().prop_map(|[limit_bytes, used_bytes]| {
            Fact::CgroupMemory(CgroupMemory { cgroup: "/a".to_owned(), limit_bytes, used_bytes })
        }),
        any::<String>().prop_map(|id| Fact::Container(Container { id, ..Container::default() })),
        any::<[u64; 5]>().prop_map(|[read_ns, idle_ns, stolen_ns, switches, profiler_ns]| {
            let cpus = 2;
            Fact::MachineCpu(MachineCpu { read_ns, cpus, idle_ns, stolen_ns, switches, profiler_ns })
        }),
        (who(), time(), time(), account(), any::<[u64; 2]>()).prop_map(
            |((tgid, tid), since_ns, until_ns, ours, [kernel_cpu_ns, kernel_run_queue_ns])| {
                Fact::ThreadTotals(ThreadTotals {
                    tgid,
                    tid,
                    since_ns,
                    until_ns,
                    ours,
                    kernel_cpu_ns,
                    kernel_run_queue_ns,
                })
            }
        ),
        any::<[u64; 5]>().prop_map(
            |[profiler_cpu_ns, target_cpu_ns, bpf_run_ns, bpf_runs, bpf_sampled_ns]| {
                Fact::Overhead(Overhead {
                    profiler_cpu_ns,
                    target_cpu_ns,
                    bpf_run_ns,
                    bpf_runs,
                    bpf_sampled_ns,
                    stolen_ns: u64::MAX,
                    interrupt_ns: u64::MAX,
                })
            }
        ),
    ]
}

fn mark() -> impl Strategy<Value = Fact> {
    prop_oneof![
        4 => Just(Fact::WindowStarted),
        4 => Just(Fact::Tick),
        2 => Just(Fact::WindowRolled),
        1 => Just(Fact::WindowEnded { reason: EndReason::Duration }),
        2 => any::<[bool; 2]>().prop_map(|[arrival_measured, reads_tls]| {
            let programs = if reads_tls { vec![Attached::TLS_READS.to_owned()] } else { Vec::new() };
            Fact::Attached(Attached { arrival_measured, programs, ..Attached::default() })
        }),
        1 => Just(Fact::SessionStarted(SessionStarted { cpu_time_comparable: true, ..SessionStarted::default() })),
    ]
}

/// An item that says of itself what it is decoded to.
#[derive(Clone)]
struct Told(Item<Vec<u8>>);

impl std::fmt::Debug for Told {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match decode::item(self.0.clone()) {
            Ok(event) => write!(formatter, "{event:?}"),
            Err(malformed) => write!(formatter, "{malformed}"),
        }
    }
}

fn item() -> impl Strategy<Value = Told> {
    let fact = |fact: BoxedStrategy<Fact>| {
        (time(), fact).prop_map(|(time_ns, fact)| Item::Fact(Box::new(FactRecord { time_ns, fact })))
    };
    prop_oneof![
        16 => slice().prop_map(Item::Kernel),
        4 => head().prop_map(Item::Kernel),
        2 => plaintext().prop_map(Item::Kernel),
        3 => connection().prop_map(Item::Kernel),
        1 => lifecycle().prop_map(Item::Kernel),
        6 => task().prop_map(Item::Kernel),
        3 => timer().prop_map(Item::Kernel),
        2 => fact(seen().boxed()),
        2 => fact(open_slice().boxed()),
        1 => fact(counted().boxed()),
        2 => fact(mark().boxed()),
    ]
    .prop_map(Told)
}

/// Takes everything through the pipeline in the order given, and checks what must hold whatever came.
fn take(items: Vec<Told>) {
    let mut pipeline = Pipeline::new(Settings { thread_slices: true });
    let mut check = |entry| match entry {
        Entry::Request(request) => assert_eq!(request.phases.total_ns(), request.total_ns(), "{request:?}"),
        Entry::Slice { start_ns, end_ns, .. } => assert!(start_ns <= end_ns, "{start_ns} to {end_ns}"),
        _ => {}
    };
    for (index, Told(item)) in items.into_iter().enumerate() {
        pipeline.push(item, &mut check);
        if index % 64 == 63 {
            let snapshot = pipeline.peek(START + 1_000_000 * US, Vec::new(), EndReason::StillOpen);
            assert_eq!(snapshot.coverage.conservation.requests_broken, 0);
        }
    }
    let (windows, last) = pipeline.finish_windows(&mut check);
    for snapshot in windows.iter().chain([&last]) {
        assert_eq!(snapshot.coverage.conservation.requests_broken, 0);
        for slot in &snapshot.slots.observed {
            assert!(slot.busy_ns() <= slot.length_ns(), "{slot:?}");
        }
        let findings = crate::verdict::findings(snapshot, &Thresholds::default());
        assert!(!findings.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_stream_of_records_makes_anything_panic_or_a_request_not_add_up(
        items in proptest::collection::vec(item(), 0..300)
    ) {
        take(items);
    }
}
