//! What a message of light mode does to the request on its connection.
//!
//! In: bytes received or sent, the first of them captured, and what their thread did before. Out: a request
//! that begins, advances, or has its answer.

use crate::event::{Call, InGap, Light, LockSeen, Slice, Woken};
use crate::machine::lock::gil_held::Held;
use crate::machine::product::summary::Summary;
use crate::machine::time::sleeps::Sleeping;
use crate::machine::wire::http1::{RequestHead, Steps};
use crate::machine::wire::light_socket::{LightRequest, Socket};
use crate::machine::wire::origin::Side;
use crate::machine::wire::state::Wire;
use crate::model::lasting::Became;
use crate::model::request::{Framing, Http, OnGil, Request, Seen, Stretch, Times};
use crate::model::request_start::RequestStart;
use crate::phase::{Phase, Phases};
use profiler_common::record::slice::{FLAG_WAKE_MISSED, NO_CALL, Undecided};

/// Stretches kept of one request; more are joined into the last.
const MAX_STRETCHES: usize = 16;
/// `HTTP/1.1 100 Continue` with its empty line: the request continues after it. No response is that short.
pub(super) const INTERIM_BYTES: u64 = 25;
/// `Status: 200 Continue` with its empty line: so mod_wsgi's daemon asks for the body.
pub(super) const DAEMON_INTERIM_BYTES: u64 = 24;

/// Bytes that a thread moved.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    /// The record of it.
    pub(super) light: &'a Light,
    /// The first of them, as far as captured.
    pub(super) captured: &'a [u8],
    /// What the thread did since it moved bytes before.
    pub(super) done: (&'a Slice, &'a Sleeping),
    /// When it was moved.
    pub(super) time_ns: u64,
}

/// The request whose answer is over, as these bytes of its client begin another.
pub(super) fn is_followed(socket: &mut Socket, steps: &Steps<RequestHead>) -> Option<LightRequest> {
    let begins = steps.iter().any(|step| step.begins && !step.outside);
    let is_over =
        |active: &mut LightRequest| active.is_responding || active.request.lasting() == Some(Became::Stream);
    if begins { socket.active.take_if(is_over) } else { None }
}

/// A client's bytes were received.
pub(super) fn received(
    (wire, summary): (&mut Wire, &mut Summary),
    wall_clock_offset_ns: Option<i64>,
    socket: &mut Socket,
    message: &Message<'_>,
    steps: Steps<RequestHead>,
) {
    let Message { light, done, time_ns, .. } = *message;
    if steps.iter().all(|step| step.outside) {
        // These bytes are no request. Their time belongs to a request that waits for its answer.
        if is_unanswered(socket) {
            advance(socket, done, time_ns);
        }
        return;
    }
    let begins = steps.iter().any(|step| step.begins && !step.outside);
    match &socket.active {
        // What is still read of a request whose answer is under way: its time ends with what is sent.
        Some(active) if active.is_responding => {}
        Some(_) => advance(socket, done, time_ns),
        None => {
            socket.outbound.turn();
            // Of bytes behind a handshake it is not known when they arrived.
            let is_behind = steps.first().is_some_and(|step| step.outside);
            let light = &Light { arrival_ns: if is_behind { 0 } else { light.arrival_ns }, ..*light };
            // What is not HTTP shows no beginning. Such a connection is known since it was made.
            let begins = begins || socket.life.side.is_private() && socket.begun == 0;
            let begun = &mut socket.begun;
            let counts = (wire, summary);
            let mut active =
                begin(counts, begun, (socket.connection, socket.life.side), light, time_ns, !begins);
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
            http.request_start = RequestStart::new(head.request_start, start_ns, wall_clock_offset_ns);
            active.to_head = head.is_head;
        }
    }
}

/// A client was sent bytes.
pub(super) fn sent(counts: (&mut Wire, &mut Summary), socket: &mut Socket, message: &Message<'_>) {
    let Message { light, captured, done, time_ns } = *message;
    let same_turn = light.account.blocked_ns == 0;
    let Some(steps) = socket.sends(light.bytes, captured, same_turn) else {
        if is_unanswered(socket) {
            advance(socket, done, time_ns);
        }
        return;
    };
    let is_interim = match captured {
        [] if socket.life.side.is_private() => light.bytes == DAEMON_INTERIM_BYTES,
        [] => light.bytes == INTERIM_BYTES,
        _ => steps.iter().all(|step| step.head.is_some_and(|head| head.interim)),
    };
    if is_interim && is_unanswered(socket) {
        return advance(socket, done, time_ns);
    }
    if socket.active.is_none() {
        // Its beginning was before the watch, or is lost.
        socket.active = Some(begin(
            counts,
            &mut socket.begun,
            (socket.connection, socket.life.side),
            light,
            time_ns,
            true,
        ));
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
            (http.status, http.became) = (head.status, head.became);
        }
    }
}

/// Its first bytes are read. The request waited until its thread turned to it. From then on the thread worked
/// for the request.
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
    (connection, side): (u64, Side),
    light: &Light,
    time_ns: u64,
    truncated: bool,
) -> LightRequest {
    let is_arrival = !truncated && light.arrival_ns > 0 && light.arrival_ns <= time_ns;
    let start_ns = if is_arrival { light.arrival_ns } else { time_ns };
    let is_in_front = side == Side::Front;
    if !is_in_front {
        summary.begin();
    }
    let id = wire.request_count;
    wire.request_count = wire.request_count.saturating_add(1);
    let index_on_connection = *begun;
    *begun = begun.saturating_add(1);
    LightRequest {
        request: Box::new(Request {
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
        }),
        covered_ns: time_ns,
        is_responding: false,
        is_answered: false,
        is_in_front,
        has_begun: false,
        to_head: false,
        behind: 0,
        owner: light.tid,
        left_ns: 0,
        held: Held::default(),
        last: None,
    }
}

fn advance(socket: &mut Socket, done: (&Slice, &Sleeping), time_ns: u64) {
    if let Some(active) = &mut socket.active {
        cover(active, done, time_ns);
    }
}

/// Adds a thread's time up to `until_ns` to a request, from its previous light slice on. Before that slice
/// the thread moved another connection's bytes: time from the request's last bytes up to there is
/// unexplained.
pub(super) fn cover(active: &mut LightRequest, (slice, sleeping): (&Slice, &Sleeping), until_ns: u64) {
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

/// What a thread did for a request up to `until_ns`, and since when: without what the request waited for it
/// before.
fn own_part(phases: &Phases, until_ns: u64) -> (u64, Phases) {
    let mut own = *phases;
    own.take(Phase::PoolWait, u64::MAX);
    (until_ns.saturating_sub(own.total_ns()), own)
}

/// A light slice as a gap without a call behind it. Of what its thread slept `known_ns` is in the records of
/// single sleeps, each of which has its wakeup. Where one was not seen, the rest is undecided.
pub(super) fn slice_of(light: &Light, known_ns: u64, time_ns: u64) -> Slice {
    let rest_ns = light.account.blocked_ns.saturating_sub(known_ns);
    Slice {
        tgid: light.tgid,
        tid: light.tid,
        sequence: light.sequence,
        call: Call::Other,
        system_call: u32::MAX,
        result: 0,
        enter_ns: time_ns,
        exit_ns: time_ns,
        inside: crate::fact::Account::default(),
        gap: light.account,
        undecided: Undecided {
            call_ns: 0,
            gap_ns: if light.flags & FLAG_WAKE_MISSED == 0 { 0 } else { rest_ns },
        },
        call_switches: 0,
        back_end_ready_ns: 0,
        flags: light.flags,
        in_gap: InGap {
            fault_ns: 0,
            blocked_call: NO_CALL,
            folded_ns: 0,
            folded_calls: 0,
            switches: light.switches,
            woken_by_tid: 0,
        },
        lock: LockSeen::default(),
        woken: Woken::default(),
    }
}
