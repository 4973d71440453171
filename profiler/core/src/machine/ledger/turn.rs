//! An event loop turns from one request to another.
//!
//! In: the calls of a thread that waits for listeners. Out: which request its time belongs to, as far as
//! descriptors show; what a parked request waited for. The time belongs to the request whose connection or
//! back end it touched last, from that touch on. Where two requests may have run between two touches, that
//! time is explained for neither.

mod stream;
mod turning;
mod who;

pub(in crate::machine) use stream::{ended_unseen, note_last_chunk};
pub(in crate::machine) use turning::turn_to;
pub(in crate::machine) use who::{asked_alone, is_owner_runnable};

use crate::event::{Call, Slice, Tid};
use crate::fact::DescriptorClass;
use crate::loop_kind::LoopTasks;
use crate::machine::ledger::context::LedgerContext;
use crate::machine::runtime::candidates::{left_by, may_run, others_may_run, running};
use crate::machine::runtime::event_loop::{EventLoop, Had};
use crate::machine::runtime::handoff;
use crate::machine::runtime::state::RuntimeView;
use crate::machine::runtime::task;
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::request::{RequestKey, TakenTime, Wants};
use crate::machine::world::interest::Interest;
use crate::phase::Phase;
use crate::rule::Rule;

/// Whether a call waits for whatever of a set is ready.
const fn is_look(slice: &Slice) -> bool {
    match slice.call {
        Call::EpollWait { .. } => true,
        Call::Poll { is_sleep, only_fd, .. } => !is_sleep && only_fd.is_none(),
        _ => false,
    }
}

/// The thread waits for listeners and whatever else is ready. It must have left what it served before.
pub(in crate::machine) fn polls(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice) {
    context.runtime.tasks.polls(slice.tid);
    let Some(event_loop) = thread.event_loop.as_deref_mut().filter(|_| is_look(slice)) else { return };
    event_loop.has_looked(slice, context.window_start_ns);
    if event_loop.recognition.confirmed {
        let lacks_pool = !context.runtime.pools.has_loop(slice.tgid, slice.tid);
        let did_lack_it = std::mem::replace(&mut event_loop.lacks_pool, lacks_pool);
        if lacks_pool && !did_lack_it {
            context.evict();
        }
    }
}

/// Whether a descriptor of this class is among these, of which each has a bit.
fn has_class(view: RuntimeView<'_>, tgid: Tid, low_fds: u64, class: DescriptorClass) -> bool {
    (0..64)
        .filter(|bit| low_fds & (1 << bit) != 0)
        .any(|fd| view.world.descriptors.class(tgid, fd) == Some(class))
}

/// The thread is about to wait. What it waits for may show that it runs a loop.
pub(in crate::machine) fn recognise(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice) {
    if !is_look(slice) {
        return;
    }
    let view = context.view();
    let interest = match slice.call {
        Call::EpollWait { epoll_fd, .. } => view.world.descriptors.interest(slice.tgid, epoll_fd),
        _ => Interest::default(),
    };
    // Clients, or what is asked for them.
    let serves_several = |is_told: bool| match slice.call {
        Call::EpollWait { .. } => interest.listener && (is_told || interest.clients + interest.backends > 0),
        Call::Poll { low_fds, .. } => has_class(view, slice.tgid, low_fds, DescriptorClass::Client),
        _ => false,
    };
    // On the thread that reads requests, only a loop on gevent waits in epoll for a listener and for nothing
    // else.
    let goes_round = view.runtime.tasks.goes_round(slice.tid);
    let loaded = view.world.processes.loop_kind(slice.tgid);
    let is_alone = loaded.is_alone() && matches!(slice.call, Call::EpollWait { .. });
    let may_be_hub = is_alone && (goes_round || !view.runtime.tasks.follows(slice.tid));
    let awaits_listener = match slice.call {
        Call::EpollWait { .. } => interest.listener,
        Call::Poll { low_fds, .. } => has_class(view, slice.tgid, low_fds, DescriptorClass::Listener),
        _ => false,
    };
    let left = thread.serving.filter(|key| awaits_listener && is_unanswered(view, *key));
    let reads = thread.signs.reads;
    let event_loop = thread.event_loop.get_or_insert_default();
    event_loop.recognition.has_tasks = goes_round;
    if is_alone || !loaded.is_alone() || event_loop.recognition.loaded.is(loaded) {
        event_loop.recognition.may_be_of(loaded, interest.is_one_shot);
    }
    event_loop.recognition.has_left = left.or(event_loop.recognition.has_left);
    event_loop.recognition.is_hub &= !serves_several(false);
    if event_loop.recognition.is_hub && !may_be_hub && !goes_round {
        // Other threads of its process read requests as well, or it is always in one greenlet. So it is a
        // thread of a pool.
        (event_loop.recognition.confirmed, event_loop.recognition.is_hub) = (false, false);
    }
    // Other threads wait like that too, while all their clients have sent more than one request at once.
    if !event_loop.recognition.confirmed && reads && serves_several(may_be_hub || goes_round) {
        let has_room = begin(view, event_loop, slice.tid);
        event_loop.recognition.is_hub = !serves_several(false);
        if !has_room {
            context.crowd();
        }
    }
}

/// Of the loop's time up to this call this was a request's.
pub(in crate::machine) fn attribute(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    number: u32,
    slice: &Slice,
    taken: &TakenTime,
) {
    let TakenTime { from_ns, phases } = taken;
    task::note(&mut context.runtime_context(), thread, number, slice);
    let active = context.wire.connections.front_mut(number);
    if let (Some(event_loop), Some(active)) = (thread.serving_loop(), active) {
        if !matches!(slice.call, Call::Read { .. }) {
            // The request runs.
            active.on_loop.answered_ns = None;
            let writes = matches!(slice.call, Call::Write { .. });
            event_loop.runs(active.request.times.service_start_ns, slice.enter_ns, writes);
            let is_clients = |fd| context.world.descriptors.connection(slice.tgid, fd) == Some(number);
            let answers = matches!(slice.call, Call::Write { fd } if is_clients(fd));
            if answers && !active.response.has_begun {
                event_loop.in_turn.answers((number, active.request.id));
            }
            if matches!(slice.call, Call::EpollControl { fd, .. } if is_clients(fd)) {
                event_loop.asks_to_answer(active.request.times.service_start_ns);
            }
        }
        event_loop
            .share(active.request.id, phases, || (&active.request.http.method, &active.request.http.path));
        let read_ns = active.request.times.service_start_ns.unwrap_or(0);
        let (from_ns, until_ns) = (*from_ns, from_ns.saturating_add(phases.total_ns()));
        let acted_ns = slice.enter_ns.max(from_ns);
        let (request, is_run) = (active.request.id, !matches!(slice.call, Call::Read { .. }));
        event_loop.had(Had { from_ns, until_ns, acted_ns, request, read_ns, is_run });
    }
}

/// The iteration ends with a wait, and no request was touched since its beginning. If just one request may
/// have run meanwhile, the iteration's time is attributed to it.
pub(in crate::machine) fn untouched(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice) {
    if thread.serving.is_some() || !Rule::AloneInIteration.holds() {
        return;
    }
    // Where other threads answer, an iteration without a touch says nothing of what they do for the requests
    // that the loop has left.
    if context
        .runtime
        .pools
        .get(slice.tgid)
        .is_some_and(|pool| pool.answers_elsewhere && pool.loop_tid == slice.tid)
    {
        return;
    }
    let Some(event_loop) = thread.serving_loop() else { return };
    let Some(from_ns) = event_loop.untouched_since_ns().filter(|from_ns| *from_ns < slice.enter_ns) else {
        return;
    };
    // A request whose thread is not known yet waits for that thread, whatever the loop does.
    if handoff::has_open_threads(context.view(), slice.tgid) {
        return;
    }
    let Some((number, id)) = running(context.view(), event_loop, None) else { return };
    // What was asked meanwhile may be its own.
    let may_be_unattributed = event_loop.unattributed.may_be(id);
    let Some(active) = context.wire.connections.active_mut((number, id)) else { return };
    if active.wants != Wants::Unknown || may_be_unattributed {
        return;
    }
    active.part();
    if active.cursor_ns > from_ns {
        return;
    }
    let iteration_start_ns = event_loop.looks.iteration_start_ns();
    turning::pass_unseen(active, event_loop, iteration_start_ns);
    for (until_ns, phase) in
        event_loop.explain(false, active.cursor_ns, iteration_start_ns, Wants::Unknown, 0)
    {
        event_loop.pass(active, until_ns, phase);
    }
    // The request may have begun before the loop took connections on its list.
    active.pass(from_ns, Phase::Unexplained);
    let phases = thread.pending.take_until(slice.enter_ns, from_ns, &mut active.held);
    let until_ns = from_ns.saturating_add(phases.total_ns());
    active.spend(from_ns, until_ns, &phases);
    active.cursor_ns = until_ns;
    thread.hold_for_request(context.window_start_ns, from_ns, &phases);
    if let (Some(event_loop), Some(active)) = (thread.serving_loop(), context.wire.connections.front(number))
    {
        event_loop.share(id, &phases, || (&active.request.http.method, &active.request.http.path));
        event_loop.left.before.retain(|key| *key != (number, id));
    }
}

/// Until when the request that the thread serves surely had the loop. From then on another request may have
/// had it. Then that time is explained for neither.
pub(in crate::machine) fn leaves_at(view: RuntimeView<'_>, thread: &Thread, slice: &Slice) -> u64 {
    let touched_ns = thread.event_loop.as_deref().map_or(0, |event_loop| event_loop.touched.until_ns);
    if thread.serving.is_some() && touched_ns > 0 && others_may_run(view, thread, thread.serving) {
        touched_ns.min(slice.enter_ns)
    } else {
        slice.enter_ns
    }
}

/// The loop sends what its request wrote, after others may have run as well. Returns until when that request
/// surely had the loop.
pub(in crate::machine) fn is_sent_late(
    view: RuntimeView<'_>,
    thread: &Thread,
    number: u32,
    slice: &Slice,
) -> Option<u64> {
    let Call::Write { fd } = slice.call else { return None };
    let serves_it = thread.serving.is_some_and(|(serving, _)| serving == number);
    let is_late = serves_it
        && thread.as_loop()?.kind().reads_first
        && view.world.descriptors.connection(slice.tgid, fd) == Some(number);
    is_late.then(|| leaves_at(view, thread, slice)).filter(|left_ns| *left_ns < slice.enter_ns)
}

/// A call on a client's connection has ended. `own`: by this call the loop took a connection without a
/// request on its list.
pub(in crate::machine) fn touched(thread: &mut Thread, exit_ns: u64, own: bool) {
    if let Some(event_loop) = thread.event_loop.as_deref_mut() {
        if own && event_loop.defers() && event_loop.untouched_since_ns().is_some() {
            event_loop.touched.own_until_ns = exit_ns;
        }
        event_loop.touched.until_ns = exit_ns;
    }
}

/// A read finds nothing. Does that say that the request waits for its client? Not where a task beside the
/// request's own reads the connection, and the request is complete and not answered yet. `Some`: this is such
/// a case, and the value says whether the request may wait for something by now.
pub(in crate::machine) fn read_beside(view: RuntimeView<'_>, thread: &Thread, number: u32) -> Option<bool> {
    let event_loop = thread.as_loop()?;
    let connection = view.wire.connections.get(number)?;
    let active = connection.requests.front().filter(|active| !active.response.has_begun)?;
    let has_reader = event_loop.kind().tasks == LoopTasks::BesideReader
        && Rule::ReadBeside.holds()
        && !connection.inbound.surely_owes();
    let id = active.request.id;
    has_reader.then(|| event_loop.unattributed.may_be(id) || !may_run(view, (number, id)))
}

/// A client's descriptor had nothing to read, or accepted nothing. The request on it waits for its client.
pub(in crate::machine) fn would_block(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    number: u32,
    wants: Wants,
) {
    // Where others write, the loop sends what they could not.
    if (wants == Wants::ClientWrite || thread.serving_loop().is_some())
        && let Some(active) = context.wire.connections.front_mut(number)
    {
        active.wants = wants;
    }
}

/// A loop has read from a client. If it had room for more, and what it has is surely only a part of a
/// request, the request waits for its client to send the rest. That holds until the loop does something for
/// the request without the rest.
pub(in crate::machine) fn has_read(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    number: u32,
    slice: &Slice,
) {
    let Call::Read { asked_bytes, .. } = slice.call else { return };
    let has_taken_all = u64::try_from(slice.result).is_ok_and(|moved| moved < asked_bytes);
    let is_beside = context.runtime.tasks.beside_loop(slice.tid).is_some();
    let Some(event_loop) = thread.serving_loop() else { return };
    event_loop.recognition.reads_beside = is_beside;
    let Some(connection) = context.wire.connections.get_mut(number) else { return };
    let surely_owes = connection.inbound.surely_owes();
    let Some(active) = connection.requests.front_mut() else { return };
    if !surely_owes {
        event_loop.in_turn.reads((number, active.request.id));
    } else if has_taken_all {
        active.wants = Wants::ClientRead;
    }
}

/// Whether a request runs as a task asks to be told when its client takes bytes. Who asks that before the
/// response has begun has a part of it: Twisted's transports write one iteration later, whatever they are
/// given. Others write at once, and ask for what the client did not take.
pub(in crate::machine) fn asks_to_answer(
    view: RuntimeView<'_>,
    thread: &Thread,
    number: u32,
    tid: Tid,
) -> bool {
    let Some(connection) = view.wire.connections.get(number) else { return false };
    let is_in_head = connection.requests.len() == 1 && connection.inbound.in_head();
    let is_unanswered = connection.requests.front().is_some_and(|active| !active.response.has_begun);
    Rule::AsksToAnswer.holds()
        && thread.is_loop()
        && is_unanswered
        && !is_in_head
        && !connection.awaits_writable
        && view.runtime.tasks.beside_loop(tid).is_some()
}

/// A loop changes the registration of a client's connection. `awaits_writable`: from now on it waits until
/// the client takes more, and a response under way waits for its client. Otherwise it no longer does.
pub(in crate::machine) fn register(
    context: &mut LedgerContext<'_>,
    thread: &Thread,
    number: u32,
    awaits_writable: bool,
) {
    if !thread.is_loop() {
        return;
    }
    let Some(connection) = context.wire.connections.get_mut(number) else { return };
    let did_await = std::mem::replace(&mut connection.awaits_writable, awaits_writable);
    let Some(active) = connection.requests.front_mut().filter(|active| active.response.has_begun) else {
        return;
    };
    let is_its_own = thread.serving == Some((number, active.request.id));
    match active.wants {
        Wants::Unknown if awaits_writable && is_its_own => active.wants = Wants::ClientWrite,
        Wants::ClientWrite if did_await && !awaits_writable => active.wants = Wants::Unknown,
        _ => {}
    }
}

/// Looks whether the thread proves to run a loop. It does if it turns from one unfinished request to another,
/// or answers a request that it had left to wait for its listener.
pub(in crate::machine) fn confirm(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    key: RequestKey,
) {
    let view = context.view();
    let writes = matches!(slice.call, Call::Write { .. });
    let unfinished = thread.serving.is_some_and(|other| other != key && is_unanswered(view, other));
    if let Some(event_loop) = thread.event_loop.as_deref_mut()
        && !event_loop.recognition.confirmed
        && (unfinished || writes && event_loop.recognition.has_left == Some(key))
        && !begin(view, event_loop, slice.tid)
    {
        context.crowd();
    }
}

/// From now on a thread is known to run a loop. The requests that it has left so far may resume. `false`:
/// there is no room to remember all of them.
fn begin(view: RuntimeView<'_>, event_loop: &mut EventLoop, tid: Tid) -> bool {
    (event_loop.recognition.confirmed, event_loop.recognition.is_hub) = (true, false);
    let left = left_by(view, tid, |active| !active.response.has_begun);
    event_loop.left.park_all(left.map(|(_, key)| key))
}

fn is_unanswered(view: RuntimeView<'_>, key: RequestKey) -> bool {
    view.wire.connections.active(key).is_some_and(|active| !active.response.has_begun)
}
