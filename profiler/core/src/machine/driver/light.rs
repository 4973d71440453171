//! Light mode. Requests come from the turns of traffic on each client's socket (of TLS without handshakes), threads from their light slices.
//!
//! In: light slices, and the sleeps that lie in them. Out: finished requests, threads' totals. A request begins with bytes received after bytes were sent, or on a new connection. It ends
//! with the last bytes sent before the next are received, and is finished when that is known. Its time is that of the threads that moved its bytes: on a
//! CPU, waiting for one, or asleep. What they sleep for is told by the call in which they do, where that is recorded; else it is
//! [`Phase::Unexplained`]. Before anybody has read it, it waits ([`Phase::PoolWait`]).

use crate::event::{Call, InGap, Light, LightWhat, LockSeen, Slept, Slice, Tid, Woken};
use crate::fact::OpenSlice;
use crate::machine::driver::follow;
use crate::machine::driver::state::State;
use crate::machine::ledger::gil_party;
use crate::machine::lock::gil::Part;
use crate::machine::lock::gil_held::Held;
use crate::machine::product::summary::Summary;
use crate::machine::time::sleeps::{IdleSleep, Meant, Sleeping};
use crate::machine::wire::ending::How;
use crate::machine::wire::light_socket::{LightRequest, Socket};
use crate::machine::wire::state::Wire;
use crate::machine::world::sleep;
use crate::model::request::{Framing, Http, OnGil, Request, Seen, Stretch, Times};
use crate::model::request_start::RequestStart;
use crate::phase::{Phase, Phases};
use crate::timeline::Entry;
use profiler_common::record::slice::{FLAG_WAKE_MISSED, NO_CALL, Undecided};

pub mod ending;
mod gil;
mod not_told;
mod slots;

pub use not_told::not_told;

/// Connections followed at once; one more is counted and not followed.
const MAX_SOCKETS: usize = 65_536;
/// Stretches kept of one request; more are joined into the last.
const MAX_STRETCHES: usize = 16;
/// `HTTP/1.1 100 Continue` with its empty line: the request continues after it. No response is that short.
const INTERIM_BYTES: u64 = 25;

/// A thread slept, and got a CPU again at `time_ns`.
pub fn slept(state: &mut State, slept: &Slept, time_ns: u64, sink: &mut dyn FnMut(Entry)) {
    let meant = match gil::slept(state, slept, time_ns, sink) {
        Some((part @ (Part::First | Part::Again), held_by)) => {
            Meant { held_by, goes_on: part == Part::Again, ..Meant::new(Phase::GilWait, IdleSleep::No) }
        }
        // To give the lock up: nobody gives it a job so.
        Some(_) => Meant::new(Phase::LockWait, IdleSleep::No),
        None => {
            let phase = sleep::phase(slept);
            Meant::new(phase, idle(slept, phase))
        }
    };
    if meant.idle != IdleSleep::No {
        gil::rests(state, slept.tid);
    }
    state.time.light.sleeps.add(slept, meant, time_ns);
}

/// A thread has ended.
pub fn thread_ends(state: &mut State, tid: Tid, time_ns: u64) {
    if state.time.is_light {
        let sleeping = state.time.light.sleeps.take_last(tid);
        slots::ends(state, tid, &sleeping, time_ns);
    }
}

/// Whether the thread waited for something to do, as its sleep has this phase.
fn idle(slept: &Slept, phase: Phase) -> IdleSleep {
    match phase {
        Phase::LockWait => IdleSleep::ForLock,
        Phase::Unexplained if sleep::is_for_descriptors(slept) => IdleSleep::ForDescriptors,
        _ => IdleSleep::No,
    }
}

/// Takes one light slice.
pub fn take(state: &mut State, light: &Light, time_ns: u64, sink: &mut dyn FnMut(Entry)) {
    if light.what == LightWhat::Closed {
        return ending::closed(state, light, time_ns, sink);
    }
    let head = if state.heads.is_empty() { None } else { state.heads.remove(&light.tid) };
    let head = head.filter(|head| head.sequence == light.sequence);
    let captured = head.as_ref().map_or(&[][..], |head| head.bytes.as_ref());
    let sleeping = state.time.light.sleeps.take(light.tid, light.sequence);
    let mut slice = slice_of(light, time_ns);
    let mut is_first = false;
    if let Some(mut thread) = follow::take_thread(state, &slice, time_ns, sink) {
        if !thread.row.has_begun {
            is_first = true;
            // A sleep for the interpreter lock may have shown it first.
            thread.since_ns = thread.since_ns.min(slice.gap_start_ns());
        }
        if let Some(repaired) = follow::continuity(state, &mut thread, &slice, time_ns) {
            slice = *repaired;
        }
        // None of this time belongs to a call. A request gets its part below.
        thread.drain(state.window_start_ns);
        if state.time.is_light {
            gil::moves(state, &mut thread, &slice, time_ns);
        }
        state.put_back(light.tid, thread);
    }
    let Some(mut socket) = enter(state, light, time_ns, sink) else { return };
    socket.life.tgid = light.tgid;
    let begun_before = socket.begun;
    let in_hands_of =
        socket.active.as_ref().filter(|active| !active.is_responding).map(|active| active.owner);
    let message = Message { light, captured, done: (&slice, &sleeping), time_ns };
    match light.what {
        LightWhat::Sent => sent(state, &mut socket, &message),
        _ => received(state, &mut socket, &message, sink),
    }
    let (mut moved, mut for_request, mut begun_ns) = (None, None, u64::MAX);
    if let Some(active) = &mut socket.active {
        active.owner = light.tid;
        let request = active.request.id;
        if let Some(before) = in_hands_of.filter(|before| *before != light.tid) {
            gil::handed_over(state, before, request);
            state.time.light.passed_on = state.time.light.passed_on.saturating_add(1);
        }
        // What waits for its beginning is known from where its thread turned to it on.
        let has_turned = light.what == LightWhat::Sent || sleeping.turned_ns(&slice, 0).is_some();
        let is_over = active.is_answered;
        for_request = active.last.take();
        begun_ns = active.request.times.start_ns;
        moved = Some(gil::MovedMessage { socket: light.socket, request, is_over, has_turned });
    }
    state.wire.light.open.insert(light.socket, socket);
    if state.time.is_light {
        let worked = slots::Worked {
            sleeping: &sleeping,
            from_ns: slice.gap_start_ns(),
            blocked_ns: slice.gap.blocked_ns,
            is_first,
            on: (light.socket, begun_before > 0),
            begun_ns,
            for_request,
            at_ns: time_ns,
        };
        slots::worked(state, light.tid, &worked);
        gil::moved(state, light.tid, moved.as_ref(), time_ns);
    }
}

/// Bytes that a thread moved.
#[derive(Clone, Copy)]
struct Message<'a> {
    light: &'a Light,
    /// The first of them, as far as captured.
    captured: &'a [u8],
    /// What the thread did since it moved bytes before.
    done: (&'a Slice, &'a Sleeping),
    time_ns: u64,
}

/// A client's bytes were received.
fn received(state: &mut State, socket: &mut Socket, message: &Message<'_>, sink: &mut dyn FnMut(Entry)) {
    let Message { light, captured, done, time_ns } = *message;
    let steps = socket.receives(light.bytes, captured);
    if !socket.life.signs.has_read {
        // A handshake asks for nothing.
        socket.life.signs.has_read = steps.iter().any(|step| !step.outside);
        state.product.drops.serves(light.tgid);
    }
    if steps.iter().all(|step| step.outside) {
        // These bytes are no request. Their time belongs to a request that waits for its answer.
        if is_unanswered(socket) {
            advance(socket, done, time_ns);
        }
        return;
    }
    let begins = steps.iter().any(|step| step.begins && !step.outside);
    if begins && let Some(over) = socket.active.take_if(|active| active.is_responding) {
        socket.life.signs.answers(&over.request);
        end(state, over, time_ns, sink);
    }
    match &socket.active {
        // What is still read of a request whose answer is under way: its time ends with what is sent.
        Some(active) if active.is_responding => {}
        Some(_) => advance(socket, done, time_ns),
        None => {
            socket.outbound.turn();
            // Of bytes behind a handshake it is not known when they arrived.
            let is_behind = steps.first().is_some_and(|step| step.outside);
            let light = &Light { arrival_ns: if is_behind { 0 } else { light.arrival_ns }, ..*light };
            let counts = (&mut state.wire, &mut state.product.summary);
            let begun = &mut socket.begun;
            let mut active = begin(counts, begun, socket.connection, light, time_ns, !begins);
            turn_to(&mut active, done, time_ns);
            socket.active = Some(active);
        }
    }
    let Some(active) = &mut socket.active else { return };
    let http = &mut active.request.http;
    http.bytes_in = http.bytes_in.saturating_add(light.bytes);
    for step in steps.into_iter().filter(|step| !step.outside) {
        // Pipelined: the request behind it counts with it.
        let is_another = step.begins && active.has_begun;
        active.behind = active.behind.saturating_add(usize::from(is_another));
        active.has_begun = true;
        http.framing.note(step.not_http, step.inferred || is_another);
        active.request.seen.truncated |= step.mid_message;
        active.request.times.start_is_arrival &= !step.mid_message;
        if let Some(head) = step.head
            && !is_another
        {
            http.method = head.method;
            http.path = head.path;
            http.trace_context = head.trace_context;
            let start_ns = active.request.times.start_ns;
            http.request_start =
                RequestStart::new(head.request_start, start_ns, state.world.wall_clock_offset_ns);
            active.to_head = head.is_head;
        }
    }
}

/// A client was sent bytes.
fn sent(state: &mut State, socket: &mut Socket, message: &Message<'_>) {
    let Message { light, captured, done, time_ns } = *message;
    let same_turn = light.account.blocked_ns == 0;
    let Some(steps) = socket.sends(light.bytes, captured, same_turn) else {
        if is_unanswered(socket) {
            advance(socket, done, time_ns);
        }
        return;
    };
    let is_interim = match captured {
        [] => light.bytes == INTERIM_BYTES,
        _ => steps.iter().all(|step| step.head.is_some_and(|head| head.interim)),
    };
    if is_interim && is_unanswered(socket) {
        return advance(socket, done, time_ns);
    }
    if socket.active.is_none() {
        // Its beginning was before the watch, or is lost.
        let counts = (&mut state.wire, &mut state.product.summary);
        socket.active = Some(begin(counts, &mut socket.begun, socket.connection, light, time_ns, true));
    }
    advance(socket, done, time_ns);
    let Some(active) = &mut socket.active else { return };
    active.is_responding = true;
    (active.request.tgid, active.request.tid) = (light.tgid, light.tid);
    active.request.times.first_write_ns.get_or_insert(time_ns);
    active.request.times.end_ns = time_ns;
    let http = &mut active.request.http;
    http.bytes_out = http.bytes_out.saturating_add(light.bytes);
    for step in steps {
        http.framing.note(step.not_http, step.inferred);
        active.is_answered = step.complete;
        if let Some(head) = step.head {
            socket.life.signs.responds(head);
            // The answer to a request behind it.
            let is_another = !head.interim && http.status != 0;
            active.behind = active.behind.saturating_sub(usize::from(is_another));
        }
        if let Some(head) = step.head.filter(|head| !head.interim && http.status == 0) {
            http.status = head.status;
        }
    }
}

/// The window ends at `end_ns`, with what the threads were in the middle of.
pub fn end_window(
    state: &mut State,
    (open, slices): (&[OpenSlice], &[Slice]),
    end_ns: u64,
    sink: &mut dyn FnMut(Entry),
) {
    if state.time.is_light {
        for open in open {
            if let Some(asleep) = slots::under_way(state, open, end_ns) {
                slept(state, &asleep, end_ns, sink);
            }
        }
        let tids: Vec<Tid> = state.runtime.threads.tids().collect();
        for tid in tids {
            let sleeping = state.time.light.sleeps.last(tid);
            slots::ends(state, tid, &sleeping, end_ns);
        }
        gil::end_window(state);
    }
    let sockets = std::mem::take(&mut state.wire.light.open);
    state.wire.light.left_open = sockets.values().filter(|socket| !socket.life.is_judged).count() as u64;
    let mut active: Vec<LightRequest> = sockets.into_values().filter_map(|socket| socket.active).collect();
    active.sort_by_key(|active| active.request.id);
    for mut active in active {
        if !active.is_responding {
            if let Some(slice) = slices.iter().find(|slice| slice.tid == active.owner) {
                let sleeping = state.time.light.sleeps.take(slice.tid, slice.sequence);
                cover(&mut active, (slice, &sleeping), slice.enter_ns.min(end_ns));
                slots::works(state, slice.tid, active.last.take());
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
        Some(before) => ending::ends(state, before, How::Closed, time_ns, sink),
        None if state.wire.light.open.len() >= MAX_SOCKETS => {
            state.evicted = state.evicted.saturating_add(1);
            return None;
        }
        None => {}
    }
    let connection = state.wire.connections.count_one();
    let mut socket = Socket::new(light.generation, connection);
    if state.wire.light.tells_ends && !light.is_unix {
        let known = state.product.drops.opened_light((light.socket, light.generation), time_ns);
        (socket.life.signs, socket.life.origin) = known;
    }
    socket.life.is_unix = light.is_unix;
    Some(socket)
}

/// Its first bytes are read. The request waited until its thread turned to it; what the thread did from then on was for the request.
fn turn_to(active: &mut LightRequest, (slice, sleeping): (&Slice, &Sleeping), time_ns: u64) {
    let start_ns = active.request.times.start_ns;
    let turned_ns = sleeping.turned_ns(slice, start_ns).unwrap_or(time_ns).min(time_ns);
    active.request.phases.add(Phase::PoolWait, turned_ns - start_ns);
    active.covered_ns = turned_ns;
    cover(active, (slice, sleeping), time_ns);
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
) -> LightRequest {
    let is_arrival = !truncated && light.arrival_ns > 0 && light.arrival_ns <= time_ns;
    let start_ns = if is_arrival { light.arrival_ns } else { time_ns };
    summary.begin();
    let id = wire.request_count;
    wire.request_count = wire.request_count.saturating_add(1);
    let index_on_connection = *begun;
    *begun = begun.saturating_add(1);
    LightRequest {
        request: Request {
            id,
            connection,
            index_on_connection,
            tgid: light.tgid,
            tid: light.tid,
            slot: None,
            phases: Phases::default(),
            stretches: Vec::new(),
            round_trips: crate::model::round_trips::RoundTrips::default(),
            times: Times {
                start_ns,
                start_is_arrival: is_arrival,
                service_start_ns: (!truncated).then_some(time_ns),
                end_ns: time_ns,
                ..Times::default()
            },
            http: Http {
                framing: if truncated { Framing::Inferred } else { Framing::Exact },
                ..Http::default()
            },
            gil: OnGil::default(),
            seen: Seen { truncated, ..Seen::default() },
        },
        covered_ns: time_ns,
        is_responding: false,
        is_answered: false,
        has_begun: false,
        to_head: false,
        behind: 0,
        owner: light.tid,
        held: Held::default(),
        last: None,
    }
}

fn advance(socket: &mut Socket, done: (&Slice, &Sleeping), time_ns: u64) {
    if let Some(active) = &mut socket.active {
        cover(active, done, time_ns);
    }
}

/// Adds a thread's time up to `until_ns` to a request, from its previous light slice on. Before that slice the thread moved another connection's bytes: time
/// from the request's last bytes up to there is unexplained.
fn cover(active: &mut LightRequest, (slice, sleeping): (&Slice, &Sleeping), until_ns: u64) {
    let from_ns = active.covered_ns;
    if until_ns <= from_ns {
        return;
    }
    let start_ns = slice.gap_start_ns().clamp(from_ns, until_ns);
    active.request.phases.add(Phase::Unexplained, start_ns - from_ns);
    let done = sleeping.done_from(slice, from_ns, slice.tid == active.owner);
    active.request.phases.add_all(&done.phases);
    active.request.round_trips.add_all(&done.back_ends);
    active.held.add_all(&done.held);
    active.last = Some(own_part(&done.phases, until_ns));
    active.covered_ns = until_ns;
    let stretch = Stretch { tgid: slice.tgid, tid: slice.tid, start_ns, end_ns: until_ns };
    let is_full = active.request.stretches.len() >= MAX_STRETCHES;
    match active.request.stretches.last_mut() {
        Some(last) if is_full || last.tid == slice.tid && last.end_ns == start_ns => last.end_ns = until_ns,
        _ => active.request.stretches.push(stretch),
    }
}

/// What a thread did for a request up to `until_ns`, and since when: without what the request waited for it before.
fn own_part(phases: &Phases, until_ns: u64) -> (u64, Phases) {
    let mut own = Phases::default();
    phases.iter().filter(|(phase, _)| *phase != Phase::PoolWait).for_each(|(phase, ns)| own.add(phase, ns));
    (until_ns.saturating_sub(own.total_ns()), own)
}

/// A request is over: with its last bytes sent, or without an answer at `at_ns`.
fn end(state: &mut State, mut active: LightRequest, at_ns: u64, sink: &mut dyn FnMut(Entry)) {
    if !active.is_responding {
        active.request.phases.add(Phase::Unexplained, at_ns.saturating_sub(active.covered_ns));
        active.request.times.end_ns = at_ns.max(active.covered_ns);
    }
    active.request.gil.holders = gil_party::holders(&state.world, &state.gil, &active.held);
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
mod tests;
