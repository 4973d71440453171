//! Requests of light mode from messages: their turns, heads, sleeps, and the laws that hold for all of them.
//!
//! In: light slices, heads and sleeps made by hand. Out: assertions.

use profiler_common::record::slice::FLAG_WAKE_MISSED;
use profiler_common::system_call::{ACCEPT4, CLOCK_NANOSLEEP, EPOLL_WAIT, FUTEX, RECVFROM};
use proptest::prelude::*;

use super::message::{DAEMON_INTERIM_BYTES, INTERIM_BYTES};
use super::*;
use crate::event::{Head, LightEnd, SleptOn, Tid};
use crate::fact::{Account, InterpreterLock, InterpreterSeen};
use crate::machine::join::topology::Topology;
use crate::model::request::Request;

fn light(what: LightWhat, tid: Tid, since_ns: u64, time_ns: u64, arrival_ns: u64) -> (Light, u64) {
    let cpu_ns = (time_ns - since_ns) / 3;
    let account = Account { cpu_ns, run_queue_ns: 0, blocked_ns: time_ns - since_ns - cpu_ns };
    let light = Light {
        is_unix: false,
        tgid: 1,
        tid,
        what,
        socket: 7,
        generation: 0,
        bytes: 100,
        arrival_ns,
        account,
        sequence: 0,
        switches: 1,
        flags: 0,
    };
    (light, time_ns)
}

fn run(lights: &[(Light, u64)]) -> Vec<Request> {
    let told: Vec<_> = lights.iter().map(|(light, time_ns)| (Some(*light), *time_ns)).collect();
    run_with_ends(&told)
}

/// Requests of these light slices; `None` in place of one: the connection is closed.
fn run_with_ends(lights: &[(Option<Light>, u64)]) -> Vec<Request> {
    let mut state = State::new(false);
    (state.window_start_ns, state.watch_start_ns) = (0, 0);
    let mut requests = Vec::new();
    let mut sink = |entry: Entry| {
        if let Entry::Request(request) = entry {
            requests.push(*request);
        }
    };
    for (light, time_ns) in lights {
        match light {
            Some(light) => state.light(light, *time_ns, &mut sink),
            None => state.light_closed(&CLOSED, *time_ns, &mut sink),
        }
    }
    state.end_light_window((&[], &[]), lights.last().map_or(0, |(_, time_ns)| *time_ns), &mut sink);
    requests
}

/// The end of the connection that all light slices here are of.
const CLOSED: LightEnd = LightEnd {
    tgid: 1,
    socket: (7, 0),
    established_ns: 0,
    error: 0,
    by_send: false,
    is_unused: false,
    is_unix: false,
    ports: (0, 0),
};

#[test]
fn a_request_waited_for_what_its_thread_slept_for() {
    const WAIT_BITSET: u32 = 9;
    let mut state = State::new(false);
    (state.window_start_ns, state.watch_start_ns) = (0, 0);
    let lock = InterpreterLock { address: 0x1000, ..InterpreterLock::default() };
    state.gil.see(InterpreterSeen { tgid: 1, locks: vec![lock], ..InterpreterSeen::default() });
    let (mut received, received_ns) = light(LightWhat::Received, 1, 0, 100, 100);
    let (mut sent, sent_ns) = light(LightWhat::Sent, 1, 100, 1_000, 0);
    (received.sequence, sent.sequence) = (1, 2);
    let of_gil = Slept {
        system_call: FUTEX.cast_signed(),
        argument: 0x1020,
        events: WAIT_BITSET,
        start_ns: 200,
        woken_ns: 400,
        cpu_ns: 100,
        sequence: 1,
        ..Slept::blank()
    };
    let of_another = Slept { argument: 0x9020, start_ns: 500, woken_ns: 900, cpu_ns: 200, ..of_gil };
    let mut found = None;
    let mut sink = |entry: Entry| {
        if let Entry::Request(request) = entry {
            found = Some(request);
        }
    };
    state.light(&received, received_ns, &mut sink);
    state.slept(&of_gil, 400, &mut sink);
    state.slept(&of_another, 900, &mut sink);
    state.light(&sent, sent_ns, &mut sink);
    state.end_light_window((&[], &[]), sent_ns, &mut sink);
    let phases: Vec<_> = found.expect("a request").phases.iter().collect();
    assert_eq!(phases, [(Phase::Cpu, 300), (Phase::GilWait, 200), (Phase::LockWait, 400)]);
}

/// Requests of a server behind a front end whose protocol is private. The window ends at 2,000.
fn run_behind(lights: &[(Light, u64)]) -> Vec<Request> {
    let mut state = State::new(false);
    (state.window_start_ns, state.watch_start_ns) = (0, 0);
    state.join.topology = Topology::PrivateOverUnix;
    let mut requests = Vec::new();
    let mut sink = |entry: Entry| {
        if let Entry::Request(request) = entry {
            requests.push(*request);
        }
    };
    for (light, time_ns) in lights {
        state.light(light, *time_ns, &mut sink);
    }
    state.end_light_window((&[], &[]), 2_000, &mut sink);
    requests
}

fn in_front(what: LightWhat, since_ns: u64, time_ns: u64) -> (Light, u64) {
    light(what, 1, since_ns, time_ns, since_ns)
}

fn behind(what: LightWhat, since_ns: u64, time_ns: u64) -> (Light, u64) {
    let (light, time_ns) = light(what, 2, since_ns, time_ns, since_ns);
    (Light { tgid: 2, socket: 8, is_unix: true, ..light }, time_ns)
}

#[test]
fn a_request_that_goes_through_a_front_end_is_the_one_of_the_server_behind_it() {
    let requests = run_behind(&[
        in_front(LightWhat::Received, 10, 100),
        behind(LightWhat::Received, 150, 200),
        behind(LightWhat::Sent, 200, 900),
        // The end of the body, which its server reads after it has answered.
        behind(LightWhat::Received, 910, 920),
        in_front(LightWhat::Sent, 100, 1_000),
    ]);
    let of = |request: &Request| (request.tgid, request.times.start_ns, request.times.end_ns);
    assert_eq!(requests.iter().map(of).collect::<Vec<_>>(), [(2, 150, 900)]);
    let seen = requests[0].seen;
    assert!(!seen.truncated && !seen.open);
}

#[test]
fn a_daemon_that_asks_for_the_body_has_not_answered() {
    let (asks, time_ns) = behind(LightWhat::Sent, 200, 300);
    let asks = (Light { bytes: DAEMON_INTERIM_BYTES, ..asks }, time_ns);
    let requests = run_behind(&[
        in_front(LightWhat::Received, 10, 100),
        behind(LightWhat::Received, 150, 200),
        asks,
        behind(LightWhat::Received, 310, 320),
    ]);
    assert!(matches!(requests.as_slice(), [Request { tgid: 2, seen, .. }] if seen.open), "{requests:?}");
}

#[test]
fn where_a_wakeup_was_not_seen_only_the_sleep_without_a_record_is_undecided() {
    for (flags, known_ns, undecided_ns) in
        [(0, 300, 0), (FLAG_WAKE_MISSED, 300, 300), (FLAG_WAKE_MISSED, 600, 0)]
    {
        let mut state = State::new(false);
        (state.window_start_ns, state.watch_start_ns) = (0, 0);
        let (mut received, received_ns) = light(LightWhat::Received, 1, 0, 900, 0);
        (received.sequence, received.flags) = (1, flags);
        let slept = Slept {
            system_call: CLOCK_NANOSLEEP.cast_signed(),
            tid: 1,
            start_ns: 100,
            woken_ns: 100 + known_ns,
            cpu_ns: 100,
            ..Slept::blank()
        };
        state.slept(&slept, 100 + known_ns, &mut |_| {});
        state.light(&received, received_ns, &mut |_| {});
        assert_eq!(state.time.conservation.undecided_ns, undecided_ns, "{known_ns}");
    }
}

/// A thread slept from 50 to 130 in this call; a request that had arrived at 100 was read at 200.
fn read_after(system_call: u32) -> Vec<(Phase, u64)> {
    let mut state = State::new(false);
    (state.window_start_ns, state.watch_start_ns) = (0, 0);
    let (mut received, received_ns) = light(LightWhat::Received, 1, 0, 200, 100);
    received.sequence = 1;
    received.account = Account { cpu_ns: 120, run_queue_ns: 0, blocked_ns: 80 };
    let asleep = Slept {
        system_call: system_call.cast_signed(),
        tid: 1,
        start_ns: 50,
        woken_ns: 130,
        cpu_ns: 50,
        sequence: 0,
        ..Slept::blank()
    };
    state.slept(&asleep, 130, &mut |_| {});
    let mut found = Vec::new();
    let mut sink = |entry: Entry| {
        if let Entry::Request(request) = entry {
            found = request.phases.iter().collect();
        }
    };
    state.light(&received, received_ns, &mut sink);
    state.end_light_window((&[], &[]), received_ns, &mut sink);
    found
}

#[test]
fn a_request_waits_until_its_thread_is_woken_for_it_and_not_until_it_is_read() {
    let woken = [(Phase::PoolWait, 30), (Phase::Cpu, 70)];
    for idle in [EPOLL_WAIT, ACCEPT4, FUTEX] {
        assert_eq!(read_after(idle), woken, "call {idle}");
    }
    // Who slept for something else was not waiting for work: when it turned to the request is not known.
    assert_eq!(read_after(CLOCK_NANOSLEEP), [(Phase::PoolWait, 100)]);
}

#[test]
fn request_is_what_is_received_and_then_sent() {
    use LightWhat::{Received, Sent};
    let requests = run(&[
        light(Received, 1, 0, 100, 90),
        light(Received, 1, 100, 130, 0),
        light(Sent, 1, 130, 160, 0),
        light(Sent, 1, 160, 190, 0),
        light(Received, 1, 190, 300, 280),
        light(Sent, 1, 300, 330, 0),
    ]);
    let spans: Vec<_> =
        requests.iter().map(|request| (request.times.start_ns, request.times.end_ns)).collect();
    assert_eq!(spans, [(90, 190), (280, 330)]);
    let phases = &requests[0].phases;
    assert_eq!(
        [Phase::PoolWait, Phase::Cpu, Phase::Unexplained].map(|phase| phases.get(phase)),
        [10, 30, 60],
        "read ten after its arrival; a third of each slice on a CPU"
    );
    assert_eq!((requests[0].http.bytes_in, requests[0].http.bytes_out), (200, 200));
}

#[test]
fn interim_response_does_not_end_a_request() {
    use LightWhat::{Received, Sent};
    let (mut interim, time_ns) = light(Sent, 1, 100, 110, 0);
    interim.bytes = INTERIM_BYTES;
    let requests = run(&[
        light(Received, 1, 0, 100, 100),
        (interim, time_ns),
        light(Received, 1, 110, 130, 0),
        light(Sent, 1, 130, 160, 0),
    ]);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].total_ns(), 60);
}

/// ```text
/// the loop: A read | B read |      sleeps for B     | A answered | waits for B's back end | B answered
/// later:    C read | computes | C answered
/// ```
#[test]
fn what_a_thread_does_that_serves_several_by_turns_is_for_none_that_is_known() {
    use LightWhat::{Received, Sent};
    let (loop_tid, thread_tid) = (1, 2);
    // Messages: thread, what, socket, since when and when, asleep in between, in which call.
    let of_loop = |other| {
        [
            (loop_tid, Received, 70, 100, 200, 0, 0),
            (other, Received, 71, 200, 300, 0, 0),
            (loop_tid, Sent, 70, if other == loop_tid { 300 } else { 200 }, 900, 500, CLOCK_NANOSLEEP),
            (other, Sent, 71, if other == loop_tid { 900 } else { 300 }, 1_600, 500, RECVFROM),
            (loop_tid, Received, 72, if other == loop_tid { 1_600 } else { 900 }, 2_000, 0, 0),
            (loop_tid, Sent, 72, 2_000, 2_400, 0, 0),
        ]
    };
    let run = |is_unix: bool, messages: &[(Tid, LightWhat, u64, u64, u64, u64, u32)]| {
        let mut state = State::new(false);
        (state.window_start_ns, state.watch_start_ns, state.time.is_light) = (0, 0, true);
        let mut phases = std::collections::BTreeMap::new();
        let mut sink = |entry: Entry| {
            if let Entry::Request(request) = entry {
                phases.insert(request.connection, request.phases.iter().collect::<Vec<_>>());
            }
        };
        let mut sequences = [0; 3];
        for (tid, what, socket, since_ns, time_ns, asleep_ns, call) in messages.iter().copied() {
            let sequence = &mut sequences[tid as usize];
            if asleep_ns > 0 {
                let on = if call == RECVFROM { SleptOn::Socket { port: 5432 } } else { SleptOn::Nothing };
                let system_call = call.cast_signed();
                let (start_ns, woken_ns, cpu_ns) = (since_ns + 50, since_ns + 50 + asleep_ns, 50);
                let of = Slept { tid, start_ns, woken_ns, cpu_ns, system_call, on, ..Slept::blank() };
                state.slept(&Slept { sequence: *sequence, ..of }, woken_ns, &mut sink);
            }
            *sequence += 1;
            let (light, _) = light(what, tid, since_ns, time_ns, time_ns - 10);
            let cpu_ns = time_ns - since_ns - asleep_ns;
            let account = Account { cpu_ns, run_queue_ns: 0, blocked_ns: asleep_ns };
            state.light(
                &Light { sequence: *sequence, socket, is_unix, account, ..light },
                time_ns,
                &mut sink,
            );
        }
        state.end_light_window((&[], &[]), 3_000, &mut sink);
        phases.into_values().collect::<Vec<_>>()
    };
    let of_two = run(false, &of_loop(thread_tid));
    assert_eq!(of_two[0], [(Phase::PoolWait, 10), (Phase::Cpu, 200), (Phase::Sleep, 500)]);
    assert_eq!(of_two[1], [(Phase::PoolWait, 10), (Phase::Cpu, 800), (Phase::BackendWait, 500)]);
    assert_eq!(of_two[2], [(Phase::PoolWait, 10), (Phase::Cpu, 400)]);
    let unknown = |ns| vec![(Phase::PoolWait, 10), (Phase::Unexplained, ns)];
    assert_eq!(run(false, &of_loop(loop_tid)), [unknown(700), unknown(1_300), unknown(400)]);
    // A request whose end nobody would see may have been over: that its thread comes back to it shows that it
    // was not.
    assert_eq!(run(true, &of_loop(loop_tid)), [unknown(700), unknown(1_300), unknown(400)]);
}

/// Messages on one connection that begin with these records, of which each receive has the header of its
/// first.
fn encrypted(messages: &[(LightWhat, &[(u8, u16)])]) -> Vec<Request> {
    let mut state = State::new(false);
    (state.window_start_ns, state.watch_start_ns) = (0, 0);
    let mut requests = Vec::new();
    let mut sink = |entry: Entry| {
        if let Entry::Request(request) = entry {
            requests.push(*request);
        }
    };
    let mut now_ns = 0;
    for (number, (what, records)) in (1..).zip(messages) {
        let (mut light, time_ns) = light(*what, 1, now_ns, now_ns + 100, 0);
        let mut bytes = Vec::new();
        for (kind, payload_bytes) in *records {
            bytes.extend([*kind, 3, 3]);
            bytes.extend(payload_bytes.to_be_bytes());
            bytes.resize(bytes.len() + usize::from(*payload_bytes), crate::redact::FILLER);
        }
        (light.sequence, light.bytes) = (number, bytes.len() as u64);
        if *what == LightWhat::Received {
            bytes.truncate(511);
            let head =
                Head { tgid: 1, tid: 1, sequence: number, fd: -1, inbound: true, offset_bytes: 0, bytes };
            state.heads.insert(1, head);
        }
        state.light(&light, time_ns, &mut sink);
        now_ns = time_ns;
    }
    state.end_light_window((&[], &[]), now_ns, &mut sink);
    requests
}

#[test]
fn handshakes_and_farewells_are_no_requests_where_the_server_does_the_tls() {
    use LightWhat::{Received, Sent};
    let (hello, answer, farewell): (&[_], &[_], &[_]) = (&[(22, 512)], &[(23, 400)], &[(23, 19)]);
    for (rest, tickets) in [
        // TLS 1.3, the request apart from the handshake and read with it; 1.2.
        (&[&[(20, 1), (23, 69)][..], &[(23, 80)]][..], &[(23, 250), (23, 250)][..]),
        (&[&[(20, 1), (23, 69), (23, 80)]], &[]),
        (&[&[(22, 70), (20, 1), (22, 40)], &[(23, 80)]], &[(22, 180), (20, 1), (22, 40)]),
    ] {
        let mut messages = vec![(Received, hello), (Sent, &[(22, 90), (23, 900)][..])];
        for (key, records) in rest.iter().enumerate() {
            messages.push((Received, *records));
            let is_last = key + 1 == rest.len();
            messages.push((Sent, if is_last { answer } else { tickets }));
        }
        messages.extend([
            (Received, &[(23, 90)][..]),
            (Sent, answer),
            (Received, farewell),
            (Sent, farewell),
        ]);
        let requests = encrypted(&messages);
        assert_eq!(requests.len(), 2, "{rest:?}: {requests:?}");
        for request in &requests {
            assert_eq!(request.total_ns(), 100, "{request:?}");
            assert!(!request.seen.open && !request.seen.truncated);
        }
    }
}

#[test]
fn request_without_an_answer_ends_with_its_connection() {
    let (received, received_ns) = light(LightWhat::Received, 1, 0, 100, 100);
    let requests = run_with_ends(&[(Some(received), received_ns), (None, 150)]);
    assert_eq!((requests.len(), requests[0].total_ns(), requests[0].seen.open), (1, 50, false));
    assert_eq!(requests[0].phases.get(Phase::Unexplained), 50);
}

#[test]
fn what_another_thread_did_before_it_took_over_is_not_the_request_s() {
    use LightWhat::{Received, Sent};
    let requests = run(&[light(Received, 1, 0, 100, 100), light(Sent, 2, 40, 160, 0)]);
    assert_eq!(requests[0].total_ns(), 60);
    assert_eq!(requests[0].phases.total_ns(), 60);
}

proptest! {
    #[test]
    fn phases_add_up_whoever_moves_the_bytes(
        steps in proptest::collection::vec((0_u8..8, 1_u32..4, 1_u64..50, any::<bool>()), 1..60),
    ) {
        let mut last = [0_u64; 4];
        let mut now_ns = 0;
        let mut lights = Vec::new();
        for (what, tid, step, arrived) in steps {
            now_ns += step;
            let what = match what {
                0..4 => LightWhat::Received,
                4..7 => LightWhat::Sent,
                _ => {
                    lights.push((None, now_ns));
                    continue;
                }
            };
            let since_ns = std::mem::replace(&mut last[tid as usize], now_ns);
            let arrival_ns = if arrived { now_ns.saturating_sub(step / 2) } else { 0 };
            let (light, time_ns) = light(what, tid, since_ns, now_ns, arrival_ns);
            lights.push((Some(light), time_ns));
        }
        for request in run_with_ends(&lights) {
            prop_assert_eq!(request.phases.total_ns(), request.total_ns());
        }
    }
}
