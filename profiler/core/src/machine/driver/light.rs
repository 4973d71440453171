//! Light mode. Requests come from the turns of traffic on each client's socket (of TLS without handshakes), threads from their light slices.
//!
//! In: light slices, and the sleeps that lie in them. Out: finished requests, threads' totals. A request begins with bytes received after bytes were sent, or on a new connection. It ends
//! with the last bytes sent before the next are received, and is finished when that is known. Its time is that of the threads that moved its bytes: on a
//! CPU, waiting for one, or asleep. What they sleep for is told by the call in which they do, where that is recorded; else it is
//! [`Phase::Unexplained`]. Before anybody has read it, it waits ([`Phase::PoolWait`]).

use crate::event::{Call, InGap, Light, LightWhat, LockSeen, Slept, Slice, Woken};
use crate::fact::Sight;
use crate::machine::driver::follow;
use crate::machine::driver::state::State;
use crate::machine::product::summary::Summary;
use crate::machine::time::sleeps::Sleeping;
use crate::machine::wire::light_socket::{Active, For, Socket};
use crate::machine::wire::state::Wire;
use crate::machine::world::sleep::{self, is_for_lock};
use crate::model::request::{Framing, Http, OnGil, Request, Seen, Stretch, Times};
use crate::phase::{Phase, Phases};
use crate::timeline::Entry;
use profiler_common::record::slice::{FLAG_WAKE_MISSED, NO_CALL, Undecided};

/// Connections followed at once; one more is counted and not followed.
const MAX_SOCKETS: usize = 65_536;
/// Stretches kept of one request; more are joined into the last.
const MAX_STRETCHES: usize = 16;
/// `HTTP/1.1 100 Continue` with its empty line: the request continues after it. No response is that short.
const INTERIM_BYTES: u64 = 25;

/// What light mode cannot show besides phases, for the report.
#[must_use]
pub const fn not_told(sight: Sight) -> &'static str {
    if matches!(sight, Sight::Messages) { MESSAGES_ALONE } else { WITH_SLEEPS }
}

const WITH_SLEEPS: &str = "light mode does not hook system calls: methods, paths, statuses, slots, accepts and event loops are \
     not known. A request is what is received and then sent on a connection: pipelined requests count as one, a body that is \
     read while the response is being sent as further ones. What a thread slept for is known from the call in which it slept. \
     `unexplained` is a wait for one of several descriptors, or for an end that was not seen, or time of a thread that did other \
     things too";

/// The same of a recording of an older version.
const MESSAGES_ALONE: &str = "light mode does not hook system calls: methods, paths, statuses, slots, accepts and event loops are \
     not known. A request is what is received and then sent on a connection: pipelined requests count as one, a body that is \
     read while the response is being sent as further ones. `unexplained` is time asleep, or spent by a thread that did other \
     things too";

/// A thread slept, and got a CPU again at `time_ns`.
pub fn slept(state: &mut State, slept: &Slept, time_ns: u64) {
    let is_for_gil = is_for_lock(slept) && state.gil.is_taken_at(slept.tgid, slept.argument, slept.events);
    let phase = if is_for_gil { Phase::GilWait } else { sleep::phase(slept) };
    state.time.sleeps.add(slept, phase, time_ns);
}

/// Takes one light slice.
pub fn take(state: &mut State, light: &Light, time_ns: u64, sink: &mut dyn FnMut(Entry)) {
    if light.what == LightWhat::Closed {
        if let Some(active) = state.wire.light.open.remove(&light.socket).and_then(|socket| socket.active) {
            end(state, active, time_ns, sink);
        }
        return;
    }
    let head = if state.heads.is_empty() { None } else { state.heads.remove(&light.tid) };
    let head = head.filter(|head| head.sequence == light.sequence);
    let captured = head.as_ref().map_or(&[][..], |head| head.bytes.as_ref());
    let sleeping = state.time.sleeps.take(light.tid, light.sequence);
    let mut slice = slice_of(light, time_ns);
    if let Some(mut thread) = follow::take_thread(state, &slice, time_ns, sink) {
        if let Some(repaired) = follow::continuity(state, &mut thread, &slice, time_ns) {
            slice = *repaired;
        }
        // None of this time belongs to a call. A request gets its part below.
        thread.drain(state.window_start_ns);
        state.put_back(light.tid, thread);
    }
    let Some(mut socket) = enter(state, light, time_ns, sink) else { return };
    let same_turn = light.account.blocked_ns == 0;
    let (is_outside, arrival_ns) = match light.what {
        LightWhat::Sent => (socket.sends_no_answer(light.bytes, same_turn), 0),
        _ => match socket.receives(light.bytes, captured) {
            For::Nothing => (true, 0),
            For::Request => (false, light.arrival_ns),
            For::RequestBehind => (false, 0),
        },
    };
    let light = &Light { arrival_ns, ..*light };
    match light.what {
        // These bytes are no request and no answer. Their time belongs to a request that waits for its answer.
        _ if is_outside => {
            if is_unanswered(&socket) {
                advance(&mut socket, (&slice, &sleeping), time_ns);
            }
        }
        LightWhat::Sent if light.bytes == INTERIM_BYTES && is_unanswered(&socket) => {
            advance(&mut socket, (&slice, &sleeping), time_ns);
        }
        LightWhat::Sent => {
            if socket.active.is_none() {
                // Its beginning was before the watch, or is lost.
                let counts = (&mut state.wire, &mut state.product.summary);
                socket.active =
                    Some(begin(counts, &mut socket.begun, socket.connection, light, time_ns, true));
            }
            advance(&mut socket, (&slice, &sleeping), time_ns);
            if let Some(active) = &mut socket.active {
                active.is_responding = true;
                active.request.times.first_write_ns.get_or_insert(time_ns);
                active.request.times.end_ns = time_ns;
                active.request.http.bytes_out = active.request.http.bytes_out.saturating_add(light.bytes);
                (active.request.tgid, active.request.tid) = (light.tgid, light.tid);
            }
        }
        _ => {
            if let Some(over) = socket.active.take_if(|active| active.is_responding) {
                end(state, over, time_ns, sink);
            }
            match &mut socket.active {
                Some(_) => advance(&mut socket, (&slice, &sleeping), time_ns),
                None => {
                    let counts = (&mut state.wire, &mut state.product.summary);
                    let active = begin(counts, &mut socket.begun, socket.connection, light, time_ns, false);
                    socket.active = Some(active);
                }
            }
            if let Some(active) = &mut socket.active {
                active.request.http.bytes_in = active.request.http.bytes_in.saturating_add(light.bytes);
            }
        }
    }
    if let Some(active) = &mut socket.active {
        active.owner = light.tid;
    }
    state.wire.light.open.insert(light.socket, socket);
}

/// The window ends at `end_ns`, with what the threads were in the middle of.
pub fn end_window(state: &mut State, open: &[Slice], end_ns: u64, sink: &mut dyn FnMut(Entry)) {
    let sockets = std::mem::take(&mut state.wire.light.open);
    let mut active: Vec<Active> = sockets.into_values().filter_map(|socket| socket.active).collect();
    active.sort_by_key(|active| active.request.id);
    for mut active in active {
        if !active.is_responding {
            if let Some(slice) = open.iter().find(|slice| slice.tid == active.owner) {
                let sleeping = state.time.sleeps.take(slice.tid, slice.sequence.wrapping_add(1));
                cover(&mut active, (slice, &sleeping), slice.enter_ns.min(end_ns));
            }
            active.request.seen.open = true;
        }
        end(state, active, end_ns, sink);
    }
}

/// The connection that a light slice is about; `None`: there is no room for it.
fn enter(state: &mut State, light: &Light, time_ns: u64, sink: &mut dyn FnMut(Entry)) -> Option<Socket> {
    match state.wire.light.open.remove(&light.socket) {
        Some(socket) if socket.generation == light.generation => return Some(socket),
        // The address is another connection's now, though nobody saw the end of the one before.
        Some(Socket { active: Some(active), .. }) => end(state, active, time_ns, sink),
        Some(_) => {}
        None if state.wire.light.open.len() >= MAX_SOCKETS => {
            state.evicted = state.evicted.saturating_add(1);
            return None;
        }
        None => {}
    }
    let connection = state.wire.connections.count_one();
    Some(Socket::new(light.generation, connection))
}

fn is_unanswered(socket: &Socket) -> bool {
    socket.active.as_ref().is_some_and(|active| !active.is_responding)
}

fn begin(
    (wire, summary): (&mut Wire, &mut Summary),
    begun: &mut u32,
    connection: u64,
    light: &Light,
    time_ns: u64,
    truncated: bool,
) -> Active {
    let is_arrival = !truncated && light.arrival_ns > 0 && light.arrival_ns <= time_ns;
    let start_ns = if is_arrival { light.arrival_ns } else { time_ns };
    let mut phases = Phases::default();
    phases.add(Phase::PoolWait, time_ns.saturating_sub(start_ns));
    summary.begin();
    let id = wire.request_count;
    wire.request_count = wire.request_count.saturating_add(1);
    let index_on_connection = *begun;
    *begun = begun.saturating_add(1);
    Active {
        request: Request {
            id,
            connection,
            index_on_connection,
            tgid: light.tgid,
            tid: light.tid,
            slot: None,
            phases,
            stretches: Vec::new(),
            round_trips: crate::model::round_trips::RoundTrips::default(),
            times: Times {
                start_ns,
                start_is_arrival: is_arrival,
                service_start_ns: (!truncated).then_some(time_ns),
                end_ns: time_ns,
                ..Times::default()
            },
            http: Http { framing: Framing::Inferred, ..Http::default() },
            gil: OnGil::default(),
            seen: Seen { truncated, ..Seen::default() },
        },
        covered_ns: time_ns,
        is_responding: false,
        owner: light.tid,
    }
}

fn advance(socket: &mut Socket, done: (&Slice, &Sleeping), time_ns: u64) {
    if let Some(active) = &mut socket.active {
        cover(active, done, time_ns);
    }
}

/// Adds a thread's time up to `until_ns` to a request, from its previous light slice on. Before that slice the thread moved another connection's bytes: time
/// from the request's last bytes up to there is unexplained.
fn cover(active: &mut Active, (slice, sleeping): (&Slice, &Sleeping), until_ns: u64) {
    let from_ns = active.covered_ns;
    if until_ns <= from_ns {
        return;
    }
    let start_ns = slice.gap_start_ns().clamp(from_ns, until_ns);
    active.request.phases.add(Phase::Unexplained, start_ns - from_ns);
    active.request.phases.add_all(&sleeping.phases_from(slice, from_ns, slice.tid == active.owner));
    active.covered_ns = until_ns;
    let stretch = Stretch { tgid: slice.tgid, tid: slice.tid, start_ns, end_ns: until_ns };
    let is_full = active.request.stretches.len() >= MAX_STRETCHES;
    match active.request.stretches.last_mut() {
        Some(last) if is_full || last.tid == slice.tid && last.end_ns == start_ns => last.end_ns = until_ns,
        _ => active.request.stretches.push(stretch),
    }
}

/// A request is over: with its last bytes sent, or without an answer at `at_ns`.
fn end(state: &mut State, mut active: Active, at_ns: u64, sink: &mut dyn FnMut(Entry)) {
    if !active.is_responding {
        active.request.phases.add(Phase::Unexplained, at_ns.saturating_sub(active.covered_ns));
        active.request.times.end_ns = at_ns.max(active.covered_ns);
    }
    state.complete(Box::new(active.request), sink);
}

/// A light slice as a gap without a call behind it.
fn slice_of(light: &Light, time_ns: u64) -> Slice {
    Slice {
        tgid: light.tgid,
        tid: light.tid,
        sequence: light.sequence,
        call: Call::Other,
        system_call: u32::MAX,
        result: 0,
        enter_ns: time_ns,
        inside: crate::fact::Account::default(),
        gap: light.account,
        undecided: if light.flags & FLAG_WAKE_MISSED == 0 { Undecided::NOTHING } else { Undecided::ALL },
        call_switches: 0,
        back_end_ready_ns: 0,
        flags: light.flags,
        in_gap: InGap {
            fault_ns: 0,
            blocked_call: NO_CALL,
            folded_ns: 0,
            folded_calls: 0,
            switches: light.switches,
        },
        lock: LockSeen::default(),
        woken: Woken::default(),
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::system_call::FUTEX;
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Head, Tid};
    use crate::fact::{Account, InterpreterLock, InterpreterSeen};

    fn light(what: LightWhat, tid: Tid, since_ns: u64, time_ns: u64, arrival_ns: u64) -> (Light, u64) {
        let cpu_ns = (time_ns - since_ns) / 3;
        let account = Account { cpu_ns, run_queue_ns: 0, blocked_ns: time_ns - since_ns - cpu_ns };
        let light = Light {
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
        let mut state = State::new(false);
        (state.window_start_ns, state.watch_start_ns) = (0, 0);
        let mut requests = Vec::new();
        let mut sink = |entry: Entry| {
            if let Entry::Request(request) = entry {
                requests.push(*request);
            }
        };
        for (light, time_ns) in lights {
            take(&mut state, light, *time_ns, &mut sink);
        }
        end_window(&mut state, &[], lights.last().map_or(0, |(_, time_ns)| *time_ns), &mut sink);
        requests
    }

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
        take(&mut state, &received, received_ns, &mut sink);
        slept(&mut state, &of_gil, 400);
        slept(&mut state, &of_another, 900);
        take(&mut state, &sent, sent_ns, &mut sink);
        end_window(&mut state, &[], sent_ns, &mut sink);
        let phases: Vec<_> = found.expect("a request").phases.iter().collect();
        assert_eq!(phases, [(Phase::Cpu, 300), (Phase::GilWait, 200), (Phase::LockWait, 400)]);
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

    /// Messages on one connection that begin with these records, of which each receive has the header of its first.
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
            take(&mut state, &light, time_ns, &mut sink);
            now_ns = time_ns;
        }
        end_window(&mut state, &[], now_ns, &mut sink);
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
        let closed = light(LightWhat::Closed, 0, 150, 150, 0);
        let requests = run(&[light(LightWhat::Received, 1, 0, 100, 100), closed]);
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
                    _ => LightWhat::Closed,
                };
                let since_ns = std::mem::replace(&mut last[tid as usize], now_ns);
                let arrival_ns = if arrived { now_ns.saturating_sub(step / 2) } else { 0 };
                lights.push(light(what, tid, since_ns, now_ns, arrival_ns));
            }
            for request in run(&lights) {
                prop_assert_eq!(request.phases.total_ns(), request.total_ns());
            }
        }
    }
}
