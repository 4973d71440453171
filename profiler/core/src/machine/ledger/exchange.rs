//! Bytes on a connection: requests begin, advance and finish.
//!
//! In: reads and writes that moved bytes, ends of connections. Out: requests in their connection's queue, and
//! finished ones.

use smallvec::smallvec;

use crate::event::Slice;
use crate::machine::join::front;
use crate::machine::ledger::context::{LedgerContext, LedgerEvent};
use crate::machine::ledger::{finish, lasting, slots, turn, unattributed};
use crate::machine::runtime::job;
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::http1::{ResponseHead, Step};
use crate::machine::wire::kept::Kept;
use crate::machine::wire::origin::Side;
use crate::machine::wire::request::{Active, Beginning, Wants};
use crate::model::lasting::Became;
use crate::model::request::Framing;
use crate::model::request_start::RequestStart;
use crate::phase::Phase;

/// Pipelined requests followed on one connection.
const MAX_PIPELINED: usize = 1024;

/// Bytes that a call moved.
#[derive(Clone, Copy, Debug)]
pub(in crate::machine) struct Bytes<'a> {
    /// How many.
    pub moved: u64,
    /// The first of them, as far as captured.
    pub captured: &'a [u8],
}

/// A read moved bytes.
pub(in crate::machine) fn read(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    number: u32,
    slice: &Slice,
    arrival_ns: u64,
    bytes: &Bytes<'_>,
) {
    let Some(connection) = context.wire.connections.get_mut(number) else { return };
    // The server has ended its direction. Whatever still comes is drained and dropped, and is no request.
    if connection.shut {
        // Where an encrypted request ends is not known. The verdict judges these bytes by their time.
        if connection.inbound.is_encrypted() || !connection.inbound.in_message() {
            let signs = &mut connection.signs;
            signs.discarded_bytes = signs.discarded_bytes.saturating_add(bytes.moved);
        }
        return;
    }
    if lasting::receives(connection, slice.tid, bytes.moved) {
        return;
    }
    let lasting = connection.lasting();
    if lasting == Some(Became::Upgraded) {
        return advance(context, thread, number, slice);
    }
    let open_end = connection.outbound.until_turn() || lasting.is_some();
    let after_response = !connection.is_private()
        && connection.requests.front().is_none_or(|active| active.response.has_begun);
    let wall_clock_offset_ns = context.world.wall_clock_offset_ns;
    let steps = connection.inbound.push(bytes.moved, bytes.captured, after_response);
    // A handshake asks for nothing.
    let asks = steps.iter().any(|step| !step.outside);
    if !connection.signs.has_read {
        connection.signs.has_read = asks;
        context.events.push(LedgerEvent::Reads(slice.tgid));
    }
    for step in steps {
        if step.outside {
            continue;
        }
        if step.begins {
            if open_end
                && context.wire.connections.front(number).is_some_and(|active| active.response.has_begun)
            {
                turn::ended_unseen(context.view(), thread, number);
                finish::turn(context, number);
            }
            begin(context, thread, number, slice, arrival_ns, false);
        }
        let Some(connection) = context.wire.connections.get_mut(number) else { return };
        let Some(active) = connection.requests.back_mut() else { continue };
        active.request.http.bytes_in = active.request.http.bytes_in.saturating_add(step.bytes);
        active.request.http.framing.note(step.not_http, step.inferred);
        // The connection was open before us, and its first bytes are no head. The request's beginning was not
        // seen.
        active.request.seen.truncated |= step.mid_message;
        active.request.times.start_is_arrival &= !step.mid_message;
        if let Some(head) = step.head {
            active.request.http.method = head.method;
            active.request.http.path = head.path;
            active.request.http.trace_context = head.trace_context;
            active.request.http.request_start =
                RequestStart::new(head.request_start, active.request.times.start_ns, wall_clock_offset_ns);
            active.response.to_head = head.is_head;
            active.request.times.service_start_ns = Some(slice.exit_ns);
        }
    }
    thread.signs.reads = true;
    context.world.processes.reads(slice.tgid, slice.tid);
    front::name(context.wire, context.join, number);
    context.wire.plaintexts.read(&context.wire.connections, slice.tid, number);
    let Some(connection) = context.wire.connections.get_mut(number) else { return };
    connection.last_read_ns = slice.exit_ns;
    if connection.requests.front().is_some_and(|active| !active.response.has_begun) {
        advance(context, thread, number, slice);
        turn::has_read(context, thread, number, slice);
    }
}

/// A write moved bytes.
pub(in crate::machine) fn write(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    number: u32,
    slice: &Slice,
    status_line: bool,
    bytes: &Bytes<'_>,
) {
    let Some(connection) = context.wire.connections.get_mut(number) else { return };
    if lasting::sends(connection, slice.tid, bytes.moved) {
        return;
    }
    let is_encrypted = connection.inbound.is_encrypted();
    if is_encrypted && !answers_encrypted(context, thread, number, slice, bytes.moved) {
        return;
    }
    let Some(connection) = context.wire.connections.get_mut(number) else { return };
    if connection.requests.is_empty() && connection.finished > 0 && !status_line {
        // Bytes after a finished response, without a status line, answer nothing. An example is a body sent
        // to HEAD.
        return;
    }
    if connection.requests.is_empty() {
        // A response to a request that was not seen: it began before us, or the server speaks first.
        thread.make_slot(context.time);
        begin(context, thread, number, slice, 0, true);
    }
    let Some(connection) = context.wire.connections.get_mut(number) else { return };
    let front = connection.requests.front();
    let to_head = front.is_some_and(|active| active.response.to_head);
    connection.outbound.answers(front.map_or("", |active| active.request.http.method.as_str()));
    let steps = if is_encrypted {
        smallvec![connection.outbound.push_encrypted(bytes.moved)]
    } else {
        connection.outbound.push(bytes.moved, bytes.captured, status_line, to_head)
    };
    let answers = |step: &Step<ResponseHead>| step.bytes > 0 && !step.head.is_some_and(|head| head.interim);
    if steps.iter().any(answers) {
        slots::make_slot_of_answerer(context, thread, number, slice.tid);
    }
    let mut advanced = None;
    for step in steps {
        answer(context, thread, number, slice, &step, bytes.moved, &mut advanced);
    }
    turn::note_last_chunk(context.view(), thread, number);
    let front = context.wire.connections.front(number);
    thread.serving =
        front.filter(|active| Some(active.request.id) == advanced).map(|a| (number, a.request.id));
}

/// Whether a write on an encrypted connection answers a request.
fn answers_encrypted(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    number: u32,
    slice: &Slice,
    moved: u64,
) -> bool {
    let Some(connection) = context.wire.connections.get_mut(number) else { return false };
    let front = connection.requests.front();
    let answered = front.is_some_and(|active| active.response.has_begun);
    let since_ns = front.filter(|_| answered).map_or(connection.last_read_ns, |active| active.cursor_ns);
    // Since it was given to a request, the thread has waited for nothing.
    let same_turn = thread.job.work_start_ns.is_none_or(|start_ns| start_ns <= since_ns);
    let is_no_answer = connection.inbound.is_no_answer(moved, answered, same_turn);
    if connection.requests.is_empty() || is_no_answer && answered {
        // A handshake, tickets for later connections, a farewell.
        return false;
    }
    if is_no_answer {
        advance(context, thread, number, slice);
    }
    !is_no_answer
}

/// A part of a response. `advanced`: the request that has received the thread's time up to this write.
fn answer(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    number: u32,
    slice: &Slice,
    step: &Step<ResponseHead>,
    moved: u64,
    advanced: &mut Option<u64>,
) {
    if step.bytes == 0 {
        if step.complete {
            finish::finish_front(context, number);
        }
        return;
    }
    let front = context.wire.connections.front(number);
    let Some(id) = front.map(|active| active.request.id) else {
        return context.events.push(LedgerEvent::Impossible("response_without_request"));
    };
    if advanced.is_none() {
        advance(context, thread, number, slice);
    } else if *advanced != Some(id)
        && let Some(active) = context.wire.connections.front_mut(number)
    {
        // A second response in the same write: until now its request waited behind the first.
        active.pass(slice.exit_ns, Phase::PoolWait);
    }
    *advanced = Some(id);
    let Some(connection) = context.wire.connections.get_mut(number) else { return };
    let is_private = connection.is_private();
    let is_inner = matches!(connection.origin.side, Side::Inner { .. });
    let awaits_writable = connection.awaits_writable && thread.is_loop();
    let Some(active) = connection.requests.front_mut() else { return };
    // A front end waits for that end, whichever thread brings it about.
    active.response.ends_with_connection |= is_inner && connection.outbound.ends_with_connection();
    let in_private = is_private && front::is_interim(active, moved);
    let request = &mut active.request;
    request.http.bytes_out = request.http.bytes_out.saturating_add(step.bytes);
    request.times.first_write_ns.get_or_insert(slice.exit_ns);
    if !active.response.has_begun {
        (request.tgid, request.tid) = (thread.tgid, slice.tid);
    }
    request.http.framing.note(step.not_http, step.inferred);
    // A loop that waits until its client takes more was not done.
    active.wants = if awaits_writable { Wants::ClientWrite } else { Wants::Unknown };
    let interim = in_private || step.head.is_some_and(|head| head.interim);
    if let Some(head) = step.head {
        connection.signs.responds(head);
        if !head.interim {
            request.http.status = head.status;
        }
    }
    active.response.has_begun |= !interim;
    if step.complete {
        finish::finish_front(context, number);
    } else if let Some(became) = step.head.and_then(|head| head.became) {
        *advanced = lasting::begin(context, number, became).or(*advanced);
    }
}

/// A thread was already writing to a client when it was first seen, until the end of `slice`. The request
/// began before us, and only this much of its response is known.
pub(in crate::machine) fn write_within(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    number: u32,
    slice: &Slice,
) {
    if context.wire.connections.get(number).is_none_or(|connection| !connection.requests.is_empty()) {
        return;
    }
    thread.make_slot(context.time);
    begin(context, thread, number, slice, 0, true);
    let Some(connection) = context.wire.connections.get_mut(number) else { return };
    connection.outbound.within();
    if let Some(active) = connection.requests.front_mut() {
        active.response.has_begun = true;
    }
    advance(context, thread, number, slice);
}

/// A request begins on a connection. `unseen`: its first bytes were not seen.
fn begin(
    context: &mut LedgerContext<'_>,
    thread: &Thread,
    number: u32,
    slice: &Slice,
    arrival_ns: u64,
    unseen: bool,
) {
    let arrival_measured = context.world.arrival_measured;
    let Some(connection) = context.wire.connections.get(number) else { return };
    if connection.requests.len() >= MAX_PIPELINED {
        context.evict();
        return;
    }
    let side = connection.origin.side;
    let id = context.wire.next_request(side);
    if !matches!(side, Side::Inner { .. }) {
        context.events.push(LedgerEvent::Began);
    }
    let Some(connection) = context.wire.connections.get_mut(number) else { return };
    // Where the read itself waited, the bytes came at its wakeup. Otherwise they were there when it was
    // entered.
    let waited = slice.inside.blocked_ns > 0;
    let awake_ns = slice.inside.cpu_ns.saturating_add(slice.inside.run_queue_ns);
    let read_at_ns = if waited { slice.exit_ns.saturating_sub(awake_ns) } else { slice.enter_ns };
    let seeded = connection.origin.accepted_ns.is_none();
    let (start_ns, start_is_arrival) = if unseen {
        let known_ns = thread.pending.start_ns().unwrap_or_else(|| slice.gap_start_ns());
        (known_ns.max(context.watch_start_ns.min(slice.enter_ns)), false)
    } else if arrival_ns > 0 {
        (arrival_ns.min(slice.exit_ns), true)
    } else if arrival_measured && connection.last_read_ns > 0 && !waited {
        // The kernel saw no arrival since the last read, so the bytes were there by then.
        (connection.last_read_ns, true)
    } else {
        (read_at_ns, false)
    };
    let beginning = Beginning {
        id,
        connection: connection.id,
        index: connection.begun,
        start_ns,
        start_is_arrival,
        accepted_ns: connection
            .origin
            .accepted_ns
            .filter(|accepted_ns| start_is_arrival && *accepted_ns <= slice.exit_ns),
        truncated: unseen && seeded,
        dispatched_ns: connection.dispatched_ns,
    };
    let mut active = Active::new(&beginning, slice.tgid, slice.tid);
    if unseen {
        active.request.http.framing = Framing::Inferred;
    }
    if matches!(side, Side::Inner { .. }) {
        active.kept = Kept::Tail(Box::default());
    }
    if connection.requests.is_empty() {
        // Hardly any connection has more at once.
        connection.requests.reserve_exact(1);
    }
    connection.requests.push_back(Box::new(active));
    connection.begun = connection.begun.saturating_add(1);
}

/// The oldest request of a connection takes the thread's time up to the end of its last piece.
pub(in crate::machine) fn advance(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    number: u32,
    slice: &Slice,
) {
    let tid = slice.tid;
    let Some(id) = context.wire.connections.front(number).map(|active| active.request.id) else { return };
    if let Some(active) = context.wire.connections.front_mut(number)
        && active.left_by == Some(tid)
    {
        active.part();
    }
    turn::confirm(context, thread, slice, (number, id));
    if thread.is_loop() && thread.serving != Some((number, id)) {
        unattributed::claim(context, thread, slice, (number, id));
    }
    if let Some(left_ns) = turn::is_sent_late(context.view(), thread, number, slice) {
        finish::leave(context, thread, tid, left_ns);
    }
    let own_start_ns = job::take_start_ns(thread, slice);
    let own_start_ns = if thread.is_loop() && thread.serving != Some((number, id)) {
        turn::turn_to(context, thread, number, slice, id)
    } else {
        own_start_ns
    };
    if thread.serving.is_some_and(|serving| serving != (number, id)) {
        finish::leave(context, thread, tid, own_start_ns);
    }
    let window_start_ns = context.window_start_ns;
    let Some(active) = context.wire.connections.front_mut(number) else { return };
    let taken = active.advance(thread.time(tid), own_start_ns, window_start_ns);
    active.request.slot = thread.slot.or(active.request.slot);
    let became = active.request.lasting();
    thread.serving = Some((number, id));
    thread.hold_for(window_start_ns, (taken.from_ns, &taken.phases), became);
    turn::attribute(context, thread, number, slice, &taken);
}
