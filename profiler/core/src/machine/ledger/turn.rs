//! An event loop turns from one request to another.
//!
//! In: the calls of a thread that waits for listeners. Out: which request its time belongs to, as far as descriptors tell:
//! the one whose connection or back end it touched last, from that touch on; what a parked request waited for. Where
//! two requests may have run between two touches, that time is explained for neither.

mod stream;
mod who;

pub(in crate::machine) use stream::{ended_unseen, note_last_chunk};
use who::{By, by, goes_straight_on, is_private};
pub(in crate::machine) use who::{asked_alone, goes_on};

use crate::event::{Call, Slice, Tid};
use crate::fact::DescriptorClass;
use crate::machine::driver::state::State;
use crate::machine::ledger::finish::leave;
use crate::machine::ledger::strand;
use crate::machine::runtime::candidates::{may_run, running};
use crate::machine::runtime::event_loop::{EventLoop, MAX_PARKED};
use crate::machine::runtime::handoff::{self, Collected};
use crate::machine::runtime::late::Owed;
use crate::machine::runtime::task;
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::connection::{At, Side};
use crate::machine::wire::request::{Active, HandedTo, Place, Wants};
use crate::phase::{Phase, Phases};
use crate::timeline::Entry;

/// Whether a call waits for whatever of a set is ready.
const fn is_look(slice: &Slice) -> bool {
    match slice.call {
        Call::EpollWait { .. } => true,
        Call::Poll { is_sleep, only_fd, .. } => !is_sleep && only_fd.is_none(),
        _ => false,
    }
}

/// The thread waits for listeners and whatever else is ready. What it was about before must have been left.
pub(in crate::machine) fn wait(state: &mut State, thread: &mut Thread, slice: &Slice, exit_ns: u64) {
    state.runtime.tasks.looks(slice.tid);
    let Some(event_loop) = thread.event_loop.as_deref_mut().filter(|_| is_look(slice)) else { return };
    event_loop.wait(slice, exit_ns, state.window_start_ns);
    if event_loop.confirmed {
        let lacks_pool = !state.runtime.pools.has_loop(slice.tgid, slice.tid);
        let did_lack_it = std::mem::replace(&mut event_loop.lacks_pool, lacks_pool);
        state.evicted = state.evicted.saturating_add(u64::from(lacks_pool && !did_lack_it));
    }
}

/// The thread is about to wait: what it waits for may show that it runs a loop.
pub(in crate::machine) fn recognise(state: &State, thread: &mut Thread, slice: &Slice) {
    if !is_look(slice) {
        return;
    }
    // Clients, or what is asked for them.
    let serves_several = |is_told: bool| match slice.call {
        Call::EpollWait { epoll_fd, .. } => {
            let interest = state.world.descriptors.interest(slice.tgid, epoll_fd);
            interest.listener && (is_told || interest.clients + interest.backends > 0)
        }
        Call::Poll { low_fds, .. } => (0..64)
            .filter(|bit| low_fds & (1 << bit) != 0)
            .any(|fd| state.world.descriptors.class(slice.tgid, fd) == Some(DescriptorClass::Client)),
        _ => false,
    };
    // Nothing but a loop on gevent waits in epoll for a listener, and for nothing else, on the thread that reads requests.
    let goes_round = state.runtime.tasks.goes_round(slice.tid);
    let on_gevent =
        state.world.processes.is_on_gevent(slice.tgid) && matches!(slice.call, Call::EpollWait { .. });
    let may_be_hub = on_gevent && (goes_round || !state.runtime.tasks.follows(slice.tid));
    let on_uvloop = state.world.processes.is_on_uvloop(slice.tgid);
    let reads = thread.signs.reads;
    let event_loop = thread.event_loop.get_or_insert_default();
    event_loop.on_gevent =
        on_gevent || event_loop.on_gevent && state.world.processes.is_on_gevent(slice.tgid);
    event_loop.on_uvloop |= on_uvloop;
    event_loop.is_hub &= !serves_several(false);
    if event_loop.is_hub && !may_be_hub && !goes_round {
        // Other threads of its process read requests as well, or it is always in one greenlet: it is one of a pool.
        (event_loop.confirmed, event_loop.is_hub) = (false, false);
    }
    // So do others while all their clients have sent more than one request at once.
    if !event_loop.confirmed && reads && serves_several(may_be_hub || goes_round) {
        begin(state, event_loop, slice.tid);
        event_loop.is_hub = !serves_several(false);
    }
}

/// Of the loop's time up to this call this was a request's.
pub(in crate::machine) fn took(
    state: &mut State,
    thread: &mut Thread,
    number: u32,
    slice: &Slice,
    phases: &Phases,
) {
    task::note(&mut state.hand(), thread, number, slice);
    let active = state.wire.connections.get(number).and_then(|connection| connection.requests.front());
    if let (Some(event_loop), Some(active)) = (thread.serving_loop(), active) {
        if !matches!(slice.call, Call::Read { .. }) {
            let writes = matches!(slice.call, Call::Write { .. });
            event_loop.runs(active.request.service_start_ns, slice.enter_ns, writes);
        }
        event_loop.share(active.request.id, phases, || (&active.request.method, &active.request.path));
    }
}

/// A request that is not the one that the thread is about is touched: the one it leaves gets its time up to there, this
/// one's wait is explained. Returns where this one's own time begins.
pub(in crate::machine) fn turn_to(
    state: &mut State,
    thread: &mut Thread,
    at: At<'_>,
    id: u64,
    sink: &mut dyn FnMut(Entry),
) -> u64 {
    let (number, slice, _) = at;
    let by = by(state, slice, number);
    let left_behind = thread.serving.filter(|place| *place != (number, id));
    let is_its_own = match by {
        By::Running { back_end: Some(fd), .. } => is_private(state, thread, (slice.tgid, fd), (number, id)),
        By::Running { back_end: None, .. } => !matches!(slice.call, Call::Make { .. }),
        By::Readiness { .. } => false,
    };
    let read_ns =
        state.wire.connections.get(number).and_then(|c| c.requests.front()?.request.service_start_ns);
    let Some(event_loop) = thread.serving_loop() else { return slice.gap_start_ns() };
    let is_first = event_loop.is_fresh();
    let free_from_ns = event_loop.touched_ns.min(slice.enter_ns);
    event_loop.touched_ns = slice.enter_ns;
    match by {
        By::Readiness { back_end: true, .. } => event_loop.has_answer(slice.enter_ns),
        By::Readiness { .. } => event_loop.has_heard(Some((id, read_ns))),
        By::Running { .. } => {}
    }
    event_loop.left.comes_back((number, id));
    let (mut doubtful, mut picks_up) = (false, false);
    let runs_strand = event_loop.strands.current_runs();
    let own_start_ns = match by {
        By::Readiness { .. } if is_first => free_from_ns,
        By::Readiness { .. } => slice.enter_ns,
        By::Running { .. } => {
            doubtful = runs_strand || left_behind.is_some_and(|place| may_run(state.view(), place));
            picks_up = doubtful && event_loop.defers() && by.picks_up(slice);
            if doubtful { slice.enter_ns } else { free_from_ns }
        }
    };
    if picks_up {
        event_loop.lies_between(slice.enter_ns.saturating_sub(free_from_ns));
        doubtful = false;
    }
    let left_ns = if doubtful { free_from_ns } else { own_start_ns };
    strand::leave(state, thread, left_ns);
    leave(state, thread, slice.tid, left_ns, sink);
    if doubtful && let Some((other, _)) = left_behind {
        // Either of the two ran.
        if let Some(active) = state.wire.connections.get_mut(other).and_then(|c| c.requests.front_mut()) {
            active.pass(slice.enter_ns, Phase::Unexplained);
        }
    }
    let window_start_ns = state.window_start_ns;
    if let Some(event_loop) = thread.serving_loop() {
        event_loop.left.turns_to((number, id), slice.enter_ns);
    }
    // Threads of the pool may have worked for it meanwhile: where they did, it then waited for the loop.
    let recent = thread.serving_loop().map(|event_loop| (event_loop.looks.recent_ns(), event_loop.on_gevent));
    let (recent_ns, on_gevent) = recent.unwrap_or_default();
    let may_be_told = by.is_running() && !goes_straight_on(state, thread, (number, id), by);
    let task = state.runtime.tasks.of(slice.tid);
    let collected = if may_be_told {
        handoff::collect(
            &mut state.hand(),
            slice.tgid,
            (number, id),
            (recent_ns, slice.enter_ns),
            (on_gevent, task),
        )
    } else {
        Collected::Nothing
    };
    let at_work =
        if may_be_told { handoff::at_work(state.view(), slice.tgid, (number, id), task) } else { None };
    let asked = has_asked(state, thread, (number, id), task);
    // The thread has handed back what it did, without a note; maybe after another job of this request. Where only their order told whose thread
    // it is, that one goes on before it has told of its job speaks against it.
    let left = state.wire.connections.active((number, id)).map(|active| (active.wants, active.cursor_ns));
    let handed_back = at_work.zip(left).filter(|(by, (wants, cursor_ns))| {
        let is_later = by.begin_ns > *cursor_ns;
        let is_only = collected == Collected::Nothing && *wants == Wants::Unknown && !by.by_order;
        is_only || collected != Collected::Nothing && is_later
    });
    // Elsewhere another thread may have taken the job than the one that was woken for it.
    let on_uvloop = thread.event_loop.as_deref().is_some_and(|event_loop| event_loop.on_uvloop);
    let is_sure = on_uvloop || task.is_some() && state.runtime.pools.tasks_tell(slice.tgid);
    let surely_back = handed_back.map(|(handed_to, _)| handed_to).filter(|_| is_sure);
    let handed = handed_back.and_then(|(handed_to, _)| state.runtime.threads.get(handed_to.tid));
    let handed = handed.map(|thread| thread.pooled.handed).unwrap_or_default();
    // This very task woke it.
    let owed_by = surely_back.filter(|_| task.is_some() && handed.task == task);
    if let Some(handed_to) = surely_back {
        handoff::take_back(&mut state.hand(), slice.tgid, (number, id), handed_to);
    }
    let (Some(event_loop), Some(connection)) =
        (thread.event_loop.as_deref_mut(), state.wire.connections.get_mut(number))
    else {
        return own_start_ns;
    };
    let is_whole = connection.side == Side::Whole;
    let Some(active) = connection.requests.front_mut() else { return own_start_ns };
    let mut owed = None;
    let (By::Readiness { arrival_ns, .. } | By::Running { made_ns: arrival_ns, .. }) = by;
    if active.left_by.is_none() && active.owner.is_none() {
        // Its first bytes: they wait from their arrival on, whoever could have read them.
        if active.request.start_is_arrival {
            event_loop.arrived(active.request.start_ns, slice.enter_ns, window_start_ns);
        }
        active.pass(own_start_ns, Phase::LoopWait);
    } else if collected != Collected::Nothing {
        event_loop.paired(collected == Collected::ByOrder);
        if let Some((handed_to, _)) = handed_back {
            active.pass(handed_to.begin_ns.min(own_start_ns), Phase::LoopWait);
            owed = owe(active, (number, id), owed_by, event_loop.told_between(own_start_ns));
        } else {
            // The loop has gone on since with whatever told it so: then it was something else that the request waited for.
            active.pass(recent_ns.min(own_start_ns), Phase::Unexplained);
        }
        active.pass(own_start_ns, Phase::LoopWait);
    } else if let Some((handed_to, _)) = handed_back {
        event_loop.paired(false);
        // Its thread may have been woken once more since, and have worked for it before.
        active.pass(handed.woken_ns.min(own_start_ns), Phase::Unexplained);
        active.pass(handed_to.begin_ns.min(own_start_ns), Phase::PoolWait);
        owed = owe(active, (number, id), owed_by, event_loop.told_between(own_start_ns));
        active.pass(own_start_ns, Phase::LoopWait);
    } else {
        let mut wants = active.wants;
        if wants == Wants::ClientRead && by.is_running() {
            // It goes on without what its client may still send.
            wants = Wants::Unknown;
        }
        let wants = match (wants, by) {
            (Wants::Unknown, By::Readiness { back_end: true, .. } | By::Running { made_ns: 1.., .. }) => {
                Wants::Backend
            }
            (Wants::Unknown, By::Readiness { arrival_ns: 1.., .. }) => Wants::ClientRead,
            (wants, _) => wants,
        };
        if wants != Wants::Unknown {
            event_loop.has_answer(slice.enter_ns);
        } else if is_first {
            event_loop.goes_on_first();
        }
        let known_until_ns = if doubtful { free_from_ns } else { own_start_ns };
        for (until_ns, phase) in
            event_loop.explain(asked, active.cursor_ns, known_until_ns, wants, arrival_ns)
        {
            active.pass(until_ns, phase);
        }
        active.pass(own_start_ns, Phase::Unexplained);
    }
    if is_its_own {
        event_loop.surely_runs(id);
    }
    if let Some(part) = owed.filter(|_| is_whole && event_loop.defers())
        && state.runtime.late.owe(part)
    {
        active.stretch(slice.tgid, part.tid, part.from_ns, part.until_ns);
    }
    active.wants = Wants::Unknown;
    active.handed_to = None;
    if by.is_running() {
        active.ran_ns = slice.enter_ns;
    }
    own_start_ns
}

/// What its thread did last for a request is not seen yet: what is to be told later. It told its result at the second of these moments at the latest, and as
/// a rule not before the first.
fn owe(
    active: &mut Active,
    place: Place,
    by: Option<HandedTo>,
    (until_ns, surely_ns): (u64, u64),
) -> Option<Owed> {
    let from_ns = active.cursor_ns;
    active.pass(until_ns, Phase::Unexplained);
    let until_ns = active.cursor_ns;
    active.pass(surely_ns, Phase::Unexplained);
    by.map(|HandedTo { tid, .. }| Owed { place, tid, from_ns, until_ns })
}

/// Whether a request that goes on, in this Python task, may have asked a back end since it was left, of which it is not known that it did.
fn has_asked(state: &State, thread: &Thread, place: Place, task: Option<u64>) -> bool {
    let active = state.wire.connections.active(place);
    let active = active.filter(|active| matches!(active.wants, Wants::Unknown | Wants::ClientRead));
    let event_loop = thread.event_loop.as_deref();
    let is_open = |place| task.is_some() && state.wire.connections.is_open(place);
    active.zip(event_loop).is_some_and(|(active, event_loop)| {
        event_loop.strands.may_have_been(place, active.cursor_ns, is_open)
    })
}

/// The turn ends with a wait and nobody was touched since its beginning: where just one request may have run meanwhile,
/// its time goes to it.
pub(in crate::machine) fn untouched(state: &mut State, thread: &mut Thread, slice: &Slice) {
    if thread.serving.is_some() {
        return;
    }
    // Where other threads answer, what it does without touching anybody tells nothing of what they do for whom it has left.
    if state
        .runtime
        .pools
        .get(slice.tgid)
        .is_some_and(|pool| pool.answers_elsewhere && pool.loop_tid == slice.tid)
    {
        return;
    }
    let Some(event_loop) = thread.serving_loop() else { return };
    if !event_loop.is_fresh() || event_loop.looks.turn_start_ns() >= slice.enter_ns {
        return;
    }
    let from_ns = event_loop.looks.turn_start_ns();
    event_loop.goes_on_first();
    // A request whose thread is not known yet waits for that, whatever the loop does.
    if handoff::has_open_threads(state.view(), slice.tgid) {
        return;
    }
    let Some((number, id)) = running(state.view(), event_loop, None) else { return };
    // What was asked meanwhile may be its own.
    let may_be_strand = event_loop.strands.may_be(id);
    let Some(active) = state.wire.connections.get_mut(number).and_then(|c| c.requests.front_mut()) else {
        return;
    };
    if active.request.id != id || active.wants != Wants::Unknown || may_be_strand {
        return;
    }
    active.part();
    if active.cursor_ns > from_ns {
        return;
    }
    for (until_ns, phase) in event_loop.explain(false, active.cursor_ns, from_ns, Wants::Unknown, 0) {
        active.pass(until_ns, phase);
    }
    let phases = thread.pending.take_until(slice.enter_ns, from_ns, &mut active.held);
    let until_ns = from_ns.saturating_add(phases.total_ns());
    active.spend(from_ns, until_ns, &phases);
    active.cursor_ns = until_ns;
    state.hold_for_request(thread, from_ns, &phases);
    if let (Some(event_loop), Some(active)) = (
        thread.serving_loop(),
        state.wire.connections.get(number).and_then(|connection| connection.requests.front()),
    ) {
        event_loop.share(id, &phases, || (&active.request.method, &active.request.path));
        event_loop.left.before.retain(|place| *place != (number, id));
    }
}

/// A call on a client's connection has ended.
pub(in crate::machine) fn touched(thread: &mut Thread, exit_ns: u64) {
    if let Some(event_loop) = thread.event_loop.as_deref_mut() {
        event_loop.touched_ns = exit_ns;
    }
}

/// A client's descriptor had nothing to read, or took nothing: the request on it waits for its client.
pub(in crate::machine) fn would_block(state: &mut State, thread: &mut Thread, number: u32, wants: Wants) {
    // Where others write, the loop sends what they could not.
    if (wants == Wants::ClientWrite || thread.serving_loop().is_some())
        && let Some(active) = state.wire.connections.get_mut(number).and_then(|c| c.requests.front_mut())
    {
        active.wants = wants;
    }
}

/// A loop has read what surely is only a part of a request, and less than it had room for: it waits for its client to send the rest, until it does
/// something for the request without that.
pub(in crate::machine) fn has_read(state: &mut State, thread: &Thread, number: u32, slice: &Slice) {
    let Call::Read { asked_bytes, .. } = slice.call else { return };
    let has_taken_all = u64::try_from(slice.result).is_ok_and(|moved| moved < asked_bytes);
    let Some(connection) = state.wire.connections.get_mut(number) else { return };
    if thread.is_loop()
        && has_taken_all
        && connection.inbound.surely_owes()
        && let Some(active) = connection.requests.front_mut()
    {
        active.wants = Wants::ClientRead;
    }
}

/// A loop registers a client's connection: from now on it waits until the client takes more, or no longer. What is being
/// answered then waits for its client.
pub(in crate::machine) fn register(state: &mut State, thread: &Thread, number: u32, awaits_writable: bool) {
    if !thread.is_loop() {
        return;
    }
    let Some(connection) = state.wire.connections.get_mut(number) else { return };
    let did_await = std::mem::replace(&mut connection.awaits_writable, awaits_writable);
    let Some(active) = connection.requests.front_mut().filter(|active| active.responding) else { return };
    let is_its_own = thread.serving == Some((number, active.request.id));
    match active.wants {
        Wants::Unknown if awaits_writable && is_its_own => active.wants = Wants::ClientWrite,
        Wants::ClientWrite if did_await && !awaits_writable => active.wants = Wants::Unknown,
        _ => {}
    }
}

/// Whether a thread that turns from one unfinished request to another runs a loop: nothing else does that.
pub(in crate::machine) fn confirm(state: &State, thread: &mut Thread, tid: Tid, place: Place) {
    let unfinished = thread.serving.is_some_and(|other| other != place && is_unanswered(state, other));
    if let Some(event_loop) = thread.event_loop.as_deref_mut()
        && !event_loop.confirmed
        && unfinished
    {
        begin(state, event_loop, tid);
    }
}

/// From now on a thread is known to run a loop: what it has left so far may go on.
fn begin(state: &State, event_loop: &mut EventLoop, tid: Tid) {
    (event_loop.confirmed, event_loop.is_hub) = (true, false);
    let left = state.wire.connections.numbers().filter_map(|number| {
        let active = state.wire.connections.get(number)?.requests.front()?;
        let is_left = active.left_by == Some(tid) && active.owner.is_none() && !active.responding;
        (is_left && active.wants == Wants::Unknown).then_some((number, active.request.id))
    });
    event_loop.left.parked.clear();
    event_loop.left.parked.extend(left.take(MAX_PARKED));
}

fn is_unanswered(state: &State, (number, id): Place) -> bool {
    let front = state.wire.connections.get(number).and_then(|connection| connection.requests.front());
    front.is_some_and(|active| active.request.id == id && !active.responding)
}
