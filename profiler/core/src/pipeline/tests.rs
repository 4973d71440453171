//! Scenarios through all machines: what a server does, call by call, and what the report must say of it.
//!
//! In: scripts of threads. Out: assertions. Times are in microseconds in the scripts.

use proptest::prelude::*;

use super::*;
use crate::event::{Call, Connection, Head};
use crate::fact::{Account, EndReason, OpenSlice, Overhead};
use crate::model::request::{Framing, Request};
use crate::model::slot::Holding;
use crate::phase::Phase;

mod back_ends;
mod children;
mod closes;
mod drops;
mod encrypted;
mod ended;
mod ends;
mod evidence;
mod gil;
mod gil_waits;
mod helpers;
mod hostile;
mod lasting;
mod loops;
mod losses;
mod plaintexts;
mod pools;
mod unserved;
mod windows;

const US: u64 = 1000;
const START: u64 = 1_000_000 * US;
const LISTENER: i32 = 3;

/// One thread's script: a clock that only goes on.
struct Script {
    tgid: u32,
    tid: u32,
    now_ns: u64,
    sequence: u32,
    gap: Account,
    events: Vec<Event>,
}

impl Script {
    fn new(tid: u32) -> Self {
        Self { tgid: 1, tid, now_ns: START, sequence: 0, gap: Account::default(), events: Vec::new() }
    }

    /// Runs Python.
    fn cpu(mut self, us: u64) -> Self {
        self.gap.cpu_ns += us * US;
        self
    }

    /// A call with (cpu, run queue, blocked).
    fn call(mut self, call: Call, result: i64, inside: (u64, u64, u64), flags: u32) -> Self {
        let enter_ns = self.now_ns + self.gap.total_ns();
        let inside =
            Account { cpu_ns: inside.0 * US, run_queue_ns: inside.1 * US, blocked_ns: inside.2 * US };
        self.now_ns = enter_ns + inside.total_ns();
        self.sequence += 1;
        let slice = Slice {
            tgid: self.tgid,
            tid: self.tid,
            sequence: self.sequence,
            result,
            enter_ns,
            exit_ns: self.now_ns,
            inside,
            gap: std::mem::take(&mut self.gap),
            flags,
            ..Slice::blank(call)
        };
        self.events.push(Event { time_ns: self.now_ns, body: Body::Slice(slice) });
        self
    }

    /// What the last call was about, on a connection to a back end, was ready at `ready_ns`.
    fn ready(mut self, ready_ns: u64) -> Self {
        if let Some(Body::Slice(slice)) = self.events.last_mut().map(|event| &mut event.body) {
            slice.back_end_ready_ns = ready_ns;
        }
        self
    }

    fn accept(self, fd: i32, inside: (u64, u64, u64)) -> Self {
        let mut script = self.call(Call::Accept { listener_fd: LISTENER }, i64::from(fd), inside, 0);
        let opened = Connection {
            tgid: script.tgid,
            tid: script.tid,
            fd,
            listener_fd: LISTENER,
            seeded: false,
            socket: (1, 1),
            established_ns: 0,
            family: 2,
            local_port: 8000,
            peer_port: 1,
            delayed_ms: 0,
        };
        let place = script.events.len() - 1;
        script.events.insert(place, Event { time_ns: script.now_ns, body: Body::Connection(opened) });
        script
    }

    fn head(mut self, fd: i32, inbound: bool, bytes: &[u8]) -> Self {
        let head = Head {
            tgid: self.tgid,
            tid: self.tid,
            sequence: self.sequence,
            fd,
            inbound,
            offset_bytes: 0,
            bytes: bytes.to_vec(),
        };
        let place = self.events.len() - 1;
        self.events.insert(place, Event { time_ns: self.now_ns, body: Body::Head(head) });
        self
    }

    /// Reads `bytes` of which all are captured.
    fn read(self, fd: i32, bytes: &[u8], arrival_ns: u64, inside: (u64, u64, u64)) -> Self {
        let call = Call::Read { fd, asked_bytes: 8192, arrival_ns };
        self.call(call, bytes.len() as i64, inside, 4).head(fd, true, bytes)
    }

    fn write_head(self, fd: i32, bytes: &[u8], inside: (u64, u64, u64)) -> Self {
        self.call(Call::Write { fd }, bytes.len() as i64, inside, 2 | 4).head(fd, false, bytes)
    }

    fn write(self, fd: i32, bytes: i64, inside: (u64, u64, u64)) -> Self {
        self.call(Call::Write { fd }, bytes, inside, 4)
    }

    fn job_wait(self, inside: (u64, u64, u64)) -> Self {
        self.call(Call::FutexWait { address: 9, operation: 393, has_timeout: false }, 0, inside, 0)
    }

    fn select(self, inside: (u64, u64, u64)) -> Self {
        let call = Call::Poll { only_fd: Some(LISTENER), low_fds: 8, for_write: false, is_sleep: false };
        self.call(call, 1, inside, 0)
    }
}

struct Outcome {
    requests: Vec<Request>,
    /// What else was put on the timeline.
    entries: Vec<Entry>,
    snapshot: Snapshot,
}

fn run(scripts: Vec<Script>, end_us: u64) -> Outcome {
    let mut pipeline = Pipeline::new(Settings { thread_slices: true });
    let (mut requests, mut entries) = (Vec::new(), Vec::new());
    let mut sink = |entry| match entry {
        Entry::Request(request) => requests.push(*request),
        other => entries.push(other),
    };
    let fact = |time_ns, fact| Event { time_ns, body: Body::Fact(Box::new(fact)) };
    let mut events = vec![
        fact(START, Fact::Attached(Attached { arrival_measured: true, ..Attached::default() })),
        fact(START, Fact::WindowStarted),
        fact(
            START,
            Fact::DescriptorSeen(DescriptorSeen {
                tgid: 1,
                fd: LISTENER,
                class: DescriptorClass::Listener,
                interest: Vec::new(),
                interest_events: Vec::new(),
                shared: false,
                local_port: 0,
            }),
        ),
    ];
    for script in scripts {
        events.extend(script.events);
    }
    events.push(fact(START + end_us * US, Fact::WindowEnded { reason: EndReason::Duration }));
    events.sort_by_key(|event| event.time_ns);
    for event in events {
        pipeline.machines.event(&mut Some(event), &mut sink);
    }
    let snapshot = pipeline.finish(&mut sink);
    for request in &requests {
        assert_eq!(request.phases.total_ns(), request.total_ns(), "{request:?}");
    }
    assert_eq!(snapshot.coverage.conservation.requests_broken, 0);
    for slot in &snapshot.slots.observed {
        assert!(slot.busy_ns() <= slot.length_ns(), "{slot:?}");
    }
    Outcome { requests, entries, snapshot }
}

const GET: &[u8] = b"GET /a HTTP/1.1\r\n\r\n";
const OK5: &[u8] = b"HTTP/1.1 200 xx\r\nContent-Length: 5\r\n\r\n";

fn us(request: &Request, phase: Phase) -> u64 {
    request.phases.get(phase) / US
}

/// ```text
/// sync worker: select … accept, python, recv (bytes arrived before accept), python, send head, send body,
/// close
/// ```
#[test]
fn a_sync_request_is_accounted_from_its_arrival_to_its_last_write() {
    let script = Script::new(1).select((1, 2, 997)).accept(9, (10, 0, 0)).cpu(20);
    let arrival = script.now_ns - 3 * US;
    let script = script
        .read(9, GET, arrival, (5, 0, 0))
        .cpu(100)
        .call(Call::Sleep, 0, (1, 0, 50), 0)
        .cpu(10)
        .write_head(9, OK5, (6, 0, 0))
        .write(9, 5, (4, 0, 0))
        .cpu(30)
        .call(Call::Close { fd: 9 }, 0, (2, 0, 0), 0)
        .select((1, 0, 500));
    let outcome = run(vec![script], 3000);
    let request = &outcome.requests[0];
    assert_eq!(outcome.requests.len(), 1);
    assert_eq!(
        (request.http.method.as_str(), request.http.path.as_str(), request.http.status),
        ("GET", "/a", 200)
    );
    assert_eq!(request.total_ns() / US, 3 + 20 + 5 + 100 + 51 + 10 + 10);
    assert_eq!(us(request, Phase::AcceptQueue), 3);
    assert_eq!(us(request, Phase::Cpu), 131);
    assert_eq!(us(request, Phase::ReadHead), 5);
    assert_eq!(us(request, Phase::Sleep), 50);
    assert_eq!(us(request, Phase::Write), 10);
    assert_eq!(us(request, Phase::Unexplained), 0);
    let slot = &outcome.snapshot.slots.observed[0];
    assert_eq!(slot.held_ns(Holding::Request) / US, 20 + 5 + 100 + 51 + 10 + 10);
    assert_eq!(slot.held_ns(Holding::Housekeeping) / US, 32);
}

/// ```text
/// main:   accept ─┐ wakes
/// pool:   futex ──┴─ run queue, python, recv, python, send
/// ```
#[test]
fn a_pool_thread_s_request_waited_from_accept_to_the_thread_s_wake_up() {
    let main = Script::new(1).select((1, 0, 999)).accept(9, (10, 0, 0)).cpu(15).select((1, 0, 5000));
    let accepted = START + 1010 * US;
    let pool = Script::new(2)
        .job_wait((2, 50, 1008))
        .cpu(40)
        .read(9, GET, accepted - 5 * US, (5, 0, 0))
        .cpu(100)
        .write_head(9, OK5, (6, 0, 0))
        .write(9, 5, (4, 0, 0))
        .cpu(10)
        .job_wait((2, 0, 400));
    let outcome = run(vec![main, pool], 7000);
    let request = &outcome.requests[0];
    assert_eq!(us(request, Phase::AcceptQueue), 5);
    assert_eq!(us(request, Phase::PoolWait), 50);
    assert_eq!(us(request, Phase::Cpu), 140);
    assert_eq!(request.tid, 2);
    assert_eq!(outcome.snapshot.slots.observed.len(), 1, "the acceptor is no slot");
    assert_eq!(outcome.snapshot.slots.busy_ns() / US, 40 + 5 + 100 + 10 + 10);
}

#[test]
fn a_pool_thread_that_takes_the_next_job_without_sleeping_made_it_wait() {
    let main =
        Script::new(1).select((1, 0, 999)).accept(9, (0, 0, 0)).accept(10, (0, 0, 0)).select((1, 0, 5000));
    let accepted = START + 1000 * US;
    let pool = Script::new(2)
        .job_wait((0, 0, 1000))
        .read(9, GET, accepted, (5, 0, 0))
        .cpu(100)
        .write_head(9, OK5, (5, 0, 0))
        .write(9, 5, (5, 0, 0))
        .call(Call::Write { fd: 20 }, 1, (5, 0, 0), 0)
        .cpu(30)
        .read(10, GET, accepted, (5, 0, 0))
        .cpu(10)
        .write_head(10, OK5, (5, 0, 0))
        .write(10, 5, (5, 0, 0));
    let outcome = run(vec![main, pool], 7000);
    let second = &outcome.requests[1];
    assert_eq!(us(second, Phase::PoolWait), 5 + 100 + 5 + 5 + 5);
    assert_eq!(us(second, Phase::Cpu), 40);
    assert_eq!(second.total_ns() / US, 120 + 30 + 5 + 10 + 10);
}

/// ```text
/// main:   accept 9, accept 10 … busy …            epoll_ctl(DEL 10) wakes
/// pool:   futex, epoll on 9: the client closes, then 10 without sleeping
/// ```
#[test]
fn time_on_a_silent_connection_is_not_the_next_request_s() {
    let main =
        Script::new(1).select((0, 0, 1000)).accept(9, (0, 0, 0)).accept(10, (0, 0, 0)).select((1, 0, 5000));
    let accepted = START + 1000 * US;
    let poll = |fd| Call::Poll { only_fd: Some(fd), low_fds: 0, for_write: false, is_sleep: false };
    let pool = Script::new(2)
        .job_wait((0, 0, 1000))
        .call(poll(9), 1, (0, 0, 700), 0)
        .call(Call::Read { fd: 9, asked_bytes: 9, arrival_ns: 0 }, 0, (1, 0, 0), 4)
        .cpu(20)
        .call(poll(10), 1, (1, 0, 0), 0)
        .read(10, GET, accepted, (5, 0, 0))
        .write_head(10, OK5, (5, 0, 0))
        .write(10, 5, (5, 0, 0));
    let outcome = run(vec![main, pool], 7000);
    let request = &outcome.requests[0];
    assert_eq!(us(request, Phase::PoolWait), 701);
    assert_eq!(us(request, Phase::Cpu), 20);
    assert_eq!(us(request, Phase::ReadHead), 6);
    assert_eq!(outcome.snapshot.slots.held_ns(Holding::FirstByte) / US, 701);
}

/// ```text
/// main:   busy …   epoll_ctl(DEL 9)  ─┐
/// pool:   futex ──────────────────────┴ recv
/// bytes:     ^
/// ```
#[test]
fn a_kept_alive_request_waits_for_the_loop_until_the_loop_hands_it_over() {
    let main = Script::new(1)
        .select((0, 0, 1000))
        .accept(9, (0, 0, 0))
        .call(Call::Sleep, 0, (0, 0, 500), 0)
        .call(Call::EpollControl { epoll_fd: 5, operation: 2, fd: 9, events: 0 }, 0, (2, 0, 0), 0)
        .select((1, 0, 5000));
    let pool = Script::new(2)
        .job_wait((0, 30, 1500))
        .cpu(10)
        .read(9, GET, START + 1100 * US, (5, 0, 0))
        .write_head(9, OK5, (5, 0, 0))
        .write(9, 5, (5, 0, 0));
    let outcome = run(vec![main, pool], 7000);
    let request = &outcome.requests[0];
    assert_eq!(us(request, Phase::LoopWait), 402);
    assert_eq!(us(request, Phase::PoolWait), 28);
    assert_eq!(us(request, Phase::Cpu), 10);
}

#[test]
fn a_body_that_trickles_in_is_charged_to_the_client() {
    let head = b"POST /up HTTP/1.1\r\nContent-Length: 3000\r\n\r\n";
    let read = Call::Read { fd: 9, asked_bytes: 65536, arrival_ns: 0 };
    let script = Script::new(1).select((0, 0, 10)).accept(9, (0, 0, 0));
    let arrival = script.now_ns;
    let mut script = script.read(9, head, arrival, (1, 0, 0)).cpu(10);
    for _ in 0..3 {
        script = script.call(read, 1000, (2, 1, 1_000_000), 4).cpu(5);
    }
    let script = script.write_head(9, OK5, (5, 0, 0)).write(9, 5, (1, 0, 200_000)).select((0, 0, 10));
    let outcome = run(vec![script], 4_000_000);
    let request = &outcome.requests[0];
    assert_eq!(us(request, Phase::ClientReadStall), 3_000_000);
    assert_eq!(us(request, Phase::ClientWriteStall), 200_000);
    assert_eq!(us(request, Phase::ReadBody), 6);
    assert_eq!(request.http.bytes_in, head.len() as u64 + 3000);
    let slots = &outcome.snapshot.slots;
    assert_eq!(slots.held_ns(Holding::ClientReadStall) / US, 3_000_000);
    assert_eq!(slots.held_ns(Holding::ClientWriteStall) / US, 200_000);
}

#[test]
fn a_silent_connection_and_a_lingering_close_hold_the_slot_and_no_request() {
    let poll = Call::Poll { only_fd: Some(9), low_fds: 0, for_write: false, is_sleep: false };
    let script = Script::new(1).select((0, 0, 10)).accept(9, (0, 0, 0));
    let arrival = script.now_ns + 500 * US;
    let script = script
        .read(9, GET, arrival, (10, 5, 490))
        .cpu(10)
        .write_head(9, OK5, (5, 0, 0))
        .write(9, 5, (5, 0, 0))
        .call(Call::Shutdown { fd: 9, how: 1 }, 0, (1, 0, 0), 0)
        .call(poll, 0, (1, 0, 2_000_000), 0)
        .call(Call::Read { fd: 9, asked_bytes: 65536, arrival_ns: 0 }, 700, (1, 0, 0), 4)
        .call(Call::Close { fd: 9 }, 0, (1, 0, 0), 0)
        .select((0, 0, 10));
    let outcome = run(vec![script], 3_000_000);
    assert_eq!(outcome.requests.len(), 1, "bytes drained after the response are no request");
    let request = &outcome.requests[0];
    assert_eq!(request.total_ns() / US, 5 + 20);
    let slots = &outcome.snapshot.slots;
    assert_eq!(slots.held_ns(Holding::FirstByte) / US, 500);
    assert_eq!(slots.held_ns(Holding::Linger) / US, 2_000_002);
}

#[test]
fn three_pipelined_requests_are_three_requests_and_the_later_ones_waited() {
    let bytes = [GET, GET, GET].concat();
    let script = Script::new(1).select((0, 0, 10)).accept(9, (0, 0, 0));
    let arrival = script.now_ns;
    let mut script = script.read(9, &bytes, arrival, (5, 0, 0));
    for _ in 0..3 {
        script = script.cpu(100).write_head(9, OK5, (5, 0, 0)).write(9, 5, (5, 0, 0));
    }
    let outcome = run(vec![script.select((0, 0, 10))], 1000);
    assert_eq!(outcome.requests.len(), 3);
    let third = &outcome.requests[2];
    assert_eq!(third.total_ns() / US, 5 + 330);
    assert_eq!(us(third, Phase::PoolWait), 5 + 220);
    assert_eq!(us(third, Phase::Cpu), 100);
    assert!(outcome.requests.iter().all(|request| request.http.framing == Framing::Exact));
}

#[test]
fn a_chunked_response_ends_at_its_last_write_whatever_comes_after() {
    let head = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let script = Script::new(1).job_wait((0, 0, 10)).accept(9, (0, 0, 0));
    let arrival = script.now_ns;
    let script = script
        .read(9, GET, arrival, (5, 0, 0))
        .cpu(10)
        .write_head(9, head, (5, 0, 0))
        .cpu(10)
        .write(9, 500, (5, 0, 0))
        .cpu(90)
        .job_wait((0, 0, 5000));
    let outcome = run(vec![script], 9000);
    assert_eq!(outcome.requests.len(), 1);
    assert!(!outcome.requests[0].seen.open);
    assert_eq!(outcome.requests[0].total_ns() / US, 35);
}

#[test]
fn a_request_whose_close_was_lost_ends_where_its_descriptor_serves_another_connection() {
    let script = Script::new(1).select((0, 0, 10)).accept(9, (0, 0, 0));
    let arrival = script.now_ns;
    let script = script.read(9, GET, arrival, (5, 0, 0)).cpu(100);
    // The response and the close are lost.
    let mut script = script.accept(9, (0, 0, 0));
    let taken_ns = script.now_ns;
    let arrival = script.now_ns;
    script = script.read(9, GET, arrival, (5, 0, 0)).cpu(100).write_head(9, OK5, (5, 0, 0));
    script = script.write(9, 5, (5, 0, 0)).select((0, 0, 10));
    let outcome = run(vec![script], 1000);
    assert_eq!(outcome.requests.len(), 2);
    let lost = outcome.requests.iter().find(|request| request.http.status == 0).expect("the first");
    assert!(!lost.seen.open && lost.times.end_ns <= taken_ns, "{lost:?}");
    assert_eq!(outcome.snapshot.requests.open.count, 0);
}

#[test]
fn a_request_in_flight_at_the_end_is_open_and_adds_up() {
    let script = Script::new(1).select((0, 0, 10)).accept(9, (0, 0, 0));
    let arrival = script.now_ns;
    let mut script = script.read(9, GET, arrival, (5, 0, 0)).cpu(100);
    let open = OpenSlice {
        tgid: 1,
        tid: 1,
        sequence: script.sequence,
        system_call: Some(profiler_common::system_call::CLOCK_NANOSLEEP),
        gap_start_ns: script.now_ns,
        enter_ns: script.now_ns + 100 * US,
        gap: std::mem::take(&mut script.gap),
        call: Account { blocked_ns: 885 * US, ..Account::default() },
        gap_blocked_call: -2,
        ..OpenSlice::default()
    };
    script
        .events
        .push(Event { time_ns: START + 1000 * US, body: Body::Fact(Box::new(Fact::OpenSlice(open))) });
    let outcome = run(vec![script], 1000);
    let request = &outcome.requests[0];
    assert!(request.seen.open);
    assert_eq!(us(request, Phase::Sleep), 885);
    assert_eq!(us(request, Phase::Cpu), 100);
    assert_eq!(outcome.snapshot.requests.open.count, 1);
    assert_eq!(outcome.snapshot.slots.busy_ns() / US, 990);
}

/// The live record of a thread is read a moment after the end of the window: it has entered a call meanwhile.
#[test]
fn a_call_that_was_entered_after_the_end_of_the_window_is_no_part_of_it() {
    for enter_us in [999, 1000, 1005] {
        let script = Script::new(1).select((0, 0, 10)).accept(9, (0, 0, 0));
        let arrival = script.now_ns;
        let mut script = script.read(9, GET, arrival, (5, 0, 0));
        let open = OpenSlice {
            tgid: 1,
            tid: 1,
            sequence: script.sequence,
            system_call: Some(profiler_common::system_call::CLOCK_NANOSLEEP),
            gap_start_ns: script.now_ns,
            enter_ns: START + enter_us * US,
            gap: Account { cpu_ns: START + enter_us * US - script.now_ns, ..Account::default() },
            call: Account { blocked_ns: (1005 - enter_us) * US, ..Account::default() },
            gap_blocked_call: -2,
            ..OpenSlice::default()
        };
        script
            .events
            .push(Event { time_ns: START + 1000 * US, body: Body::Fact(Box::new(Fact::OpenSlice(open))) });
        let outcome = run(vec![script], 1000);
        let request = &outcome.requests[0];
        assert_eq!(request.times.end_ns, START + 1000 * US, "entered at {enter_us}");
        assert_eq!(us(request, Phase::Cpu), enter_us.min(1000) - 15, "entered at {enter_us}");
        assert_eq!(us(request, Phase::Sleep), 1000_u64.saturating_sub(enter_us));
        assert_eq!(outcome.snapshot.slots.busy_ns() / US, 990);
    }
}

fn any_call() -> impl Strategy<Value = (Call, i64)> {
    let fd = 3..12_i32;
    prop_oneof![
        (fd.clone(), -12..9000_i64, 0..3_u64).prop_map(|(fd, result, arrival)| {
            (Call::Read { fd, asked_bytes: 100, arrival_ns: arrival * (START + 100) }, result)
        }),
        (fd.clone(), -12..9000_i64).prop_map(|(fd, result)| (Call::Write { fd }, result)),
        (fd.clone(), 0..3_u32).prop_map(|(fd, how)| (Call::Shutdown { fd, how }, 0)),
        fd.clone().prop_map(|fd| (Call::Close { fd }, 0)),
        (fd.clone(), any::<bool>(), any::<u64>()).prop_map(|(fd, for_write, low_fds)| {
            (Call::Poll { only_fd: (fd > 5).then_some(fd), low_fds, for_write, is_sleep: false }, 1)
        }),
        (fd.clone(), fd.clone(), 1..4_u32).prop_map(|(epoll_fd, fd, operation)| {
            (Call::EpollControl { epoll_fd, operation, fd, events: 0 }, 0)
        }),
        fd.clone().prop_map(|epoll_fd| (Call::EpollWait { epoll_fd, timeout_ms: -1 }, 1)),
        any::<bool>()
            .prop_map(|has_timeout| { (Call::FutexWait { address: 1, operation: 393, has_timeout }, 0) }),
        Just((Call::Sleep, 0)),
        (fd.clone(), -2..3_i64)
            .prop_map(|(fd, r)| (Call::Connect { fd, port: 80, family: 2, identity: 0 }, r)),
        (fd.clone(), fd).prop_map(|(a, b)| (Call::CloseRange { first: a as u32, last: b as u32 }, 0)),
        Just((Call::Make { class: DescriptorClass::File }, 7)),
        Just((Call::Make { class: DescriptorClass::Socket }, 11)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever threads do: no panic, every request adds up, no slot is busier than it is long.
    #[test]
    fn any_sequence_of_calls_adds_up(
        threads in proptest::collection::vec(
            proptest::collection::vec((any_call(), 0..3_u8, (0..50_u64, 0..5_u64, 0..90_u64), 0..40_u64), 0..60),
            1..4,
        )
    ) {
        let mut scripts = Vec::new();
        for (index, calls) in threads.into_iter().enumerate() {
            let mut script = Script::new(index as u32 + 1).accept(9 - index as i32, (1, 0, 0));
            for ((call, result), head, inside, gap) in calls {
                script = script.cpu(gap);
                script = match (head, call) {
                    (1, Call::Read { fd, arrival_ns, .. }) => script.read(fd, GET, arrival_ns, inside),
                    (1, Call::Write { fd }) => script.write_head(fd, OK5, inside),
                    (2, Call::Read { .. } | Call::Write { .. }) => script.accept(8, inside),
                    (_, call) => {
                        let ready_ns = u64::from(head) * (START + inside.2 * 200 * US);
                        script.call(call, result, inside, 0).ready(ready_ns)
                    }
                };
            }
            scripts.push(script);
        }
        let outcome = run(scripts, 20_000);
        prop_assert_eq!(outcome.snapshot.coverage.conservation.slices_broken, 0);
    }
}
