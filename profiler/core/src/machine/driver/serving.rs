//! Joins threads with connections: which request a thread serves, and what its time is for.
//!
//! In: slices in the order of time, with the capture that came before them. Out: requests that begin, advance and
//! finish; pieces of time given to requests or to slots; timeline slices.

use profiler_common::record::slice::{FLAG_CLIENT, FLAG_STATUS_LINE};
use profiler_common::system_call::IO_URING_SETUP;

use crate::event::{Call, Slice, Tid};
use crate::fact::DescriptorClass;
use crate::machine::driver::state::State;
use crate::machine::join::front;
use crate::machine::ledger::exchange::{self, Bytes};
use crate::machine::ledger::finish;
use crate::machine::ledger::foreign;
use crate::machine::ledger::gil_party;
use crate::machine::ledger::gil_party::Because;
use crate::machine::ledger::strand;
use crate::machine::ledger::turn;
use crate::machine::lock::gil::Part;
use crate::machine::runtime::candidates::runs_loop;
use crate::machine::runtime::handoff;
use crate::machine::runtime::job;
use crate::machine::runtime::thread::Thread;
use crate::machine::time::piece::Piece;
use crate::machine::wire::ending::How;
use crate::machine::wire::request::Wants;
use crate::machine::world::classify::{Idle, Meaning, Touch, classify};
use crate::machine::world::descriptor::EPOLL_CTL_DEL;
use crate::machine::world::errno::{EAGAIN, EINTR};
use crate::model::slot::Holding;
use crate::phase::Phase;
use crate::timeline::{Entry, ThreadState};

/// The slice of a write to a client that begins with a status line.
const STATUS_LINE: u32 = FLAG_CLIENT | FLAG_STATUS_LINE;
/// include/uapi/linux/eventpoll.h.
const EPOLLOUT: u32 = 4;
/// Threads followed at once.
const MAX_THREADS: usize = 16_384;

/// Takes one slice.
pub fn slice(state: &mut State, slice: &Slice, exit_ns: u64, sink: &mut dyn FnMut(Entry)) {
    let tid = slice.tid;
    let Some(mut thread) = take_thread(state, slice, exit_ns, sink) else { return };
    state.take_in_hand(tid);
    let head = if state.heads.is_empty() { None } else { state.heads.remove(&tid) };
    let head = head.filter(|head| head.sequence == slice.sequence);
    let repaired;
    let slice = if let Some(sound) = continuity(state, &mut thread, slice, exit_ns) {
        repaired = sound;
        &repaired
    } else {
        slice
    };

    let meaning = meaning_of(state, slice);
    gil_party::note(state, &mut thread, tid);
    let serving = thread.serving;
    let followed = state.gil.follow(&mut thread.gil_wait, slice, exit_ns, state.window_start_ns);
    let part = followed.part;
    gil_party::went_on(&mut thread, followed.tail_ns);
    if let Some(wait) = followed.ended {
        thread.pending.has_waited(*wait);
    }
    let mut because = Because::default();
    if let Some(wait_ns) = part.wait_ns(slice, exit_ns, state.window_start_ns) {
        because = gil_party::held(state, &mut thread, slice, exit_ns, wait_ns);
    } else if thread.serving.is_some() {
        gil_party::settle(state, &mut thread, tid);
    }
    let (meaning, mut gap) = part.apply(meaning, Piece::gap(slice));
    let held_by = because.by;
    gap.held_by = held_by;
    job::waited_for_its_turn(state, &mut thread, slice, &mut gap);
    if gap.length_ns() > 0 {
        state.note_child_wait(&thread, slice, &gap);
        thread.pending.push(gap);
    }
    job::note_feeder(state, &mut thread, slice);
    let idle = waits_for_work(state, &thread, slice, &meaning);
    if idle {
        handoff::waited(state, slice, exit_ns);
    }
    let idle = idle && !handoff::is_within_job(state, &thread, slice);
    if state.wants_slices {
        let state = if idle { ThreadState::Idle } else { meaning.state };
        draw(slice, exit_ns, (state, because), false, sink);
    }
    state.uses_io_uring |= slice.system_call == IO_URING_SETUP && !state.processes.is_on_uvloop(slice.tgid);
    match slice.call {
        Call::EpollWait { .. } if meaning.idle == Idle::Always => state.listener_in_epoll = Some(true),
        Call::Poll { .. } if meaning.idle == Idle::Always => state.listener_in_epoll = Some(false),
        _ => {}
    }
    if idle && meaning.idle == Idle::UnlessServing && thread.serving.is_some() {
        // After a response with an open end: the wait for the next job, or for the interpreter in the middle of it.
        // The connection will tell: what it gets next, and from whom.
        let mut piece = Piece::call(slice, exit_ns, &meaning);
        piece.holding = None;
        thread.pending.push(piece);
        state.was_busy(&thread, slice.enter_ns);
        thread.busy_since_ns = Some(exit_ns);
        thread.work_start_ns = Some(exit_ns);
        thread.engaged = None;
    } else if idle {
        wait_for_work(state, &mut thread, slice, exit_ns, sink);
    } else {
        let mut piece = Piece::call(slice, exit_ns, &meaning);
        piece.holding = Some(holding(state, slice.tgid, &meaning));
        piece.held_by = held_by;
        thread.pending.push(piece);
        // A loop that only hands requests over does not wait for what they need.
        let waits =
            slice.inside.blocked_ns > 0 && matches!(meaning.blocked, Phase::Sleep | Phase::BackendWait);
        if waits && thread.serving.is_some() {
            state.make_slot(&mut thread);
        }
    }
    if !idle && part == Part::None && handoff::is_woken_by_loop(state, &thread, slice) {
        handoff::done(state, &mut thread, slice);
        state.drain(&mut thread);
        handoff::begin(state, &mut thread, slice, exit_ns);
    }
    let captured = head.as_ref().map(|head| head.bytes.as_slice());
    effects(state, &mut thread, (slice, exit_ns), &meaning, captured, sink);
    // A thread waits before it touches the request that it waits for.
    if part == Part::None {
        gil_party::settle(state, &mut thread, tid);
    }
    gil_party::turned(&mut thread, serving, exit_ns);
    state.put_back(tid, thread);
}

pub(in crate::machine) fn take_thread(
    state: &mut State,
    slice: &Slice,
    exit_ns: u64,
    sink: &mut dyn FnMut(Entry),
) -> Option<Box<Thread>> {
    if let Some(thread) = state.threads.take(slice.tid) {
        return Some(thread);
    }
    if state.threads.len() >= MAX_THREADS {
        state.evicted = state.evicted.saturating_add(1);
        return None;
    }
    // Its first slice may say that it began after its end.
    let since_ns = slice.within(0, exit_ns).gap_start_ns();
    let mut thread =
        Box::new(Thread { tgid: slice.tgid, busy_since_ns: Some(since_ns), since_ns, ..Thread::default() });
    if let Some(initial) = state.initial.remove(&slice.tid) {
        begin_within(state, &mut thread, &initial, slice, sink);
    }
    Some(thread)
}

/// A thread that was inside a call when it was first seen: the call ended where its first slice's gap starts.
fn begin_within(
    state: &mut State,
    thread: &mut Thread,
    initial: &Slice,
    next: &Slice,
    sink: &mut dyn FnMut(Entry),
) {
    if initial.system_call == u32::MAX {
        return;
    }
    let meaning = classify(initial, &state.descriptors, |_| false);
    let until_ns = thread.since_ns;
    thread.since_ns = state.watch_start_ns.min(until_ns);
    if meaning.idle == Idle::No && !job::was_for_its_turn(initial.system_call, next) {
        let mut piece = Piece::unknown(thread.since_ns, until_ns);
        piece.holding = Some(holding(state, thread.tgid, &meaning));
        thread.pending.push(piece);
        thread.busy_since_ns = Some(thread.since_ns);
        thread.work_start_ns = Some(thread.since_ns);
        if let Some((fd, Touch::Write)) = meaning.touch
            && let Some(number) = state.descriptors.connection(thread.tgid, fd)
        {
            exchange::write_within(state, thread, (number, initial, until_ns), sink);
        }
    } else {
        thread.work_start_ns = Some(until_ns);
    }
}

/// Checks a slice against those before it; one that breaks the laws comes back as what of it can be true.
pub(in crate::machine) fn continuity(
    state: &mut State,
    thread: &mut Thread,
    slice: &Slice,
    exit_ns: u64,
) -> Option<Box<Slice>> {
    let before_ns = thread.last_exit_ns;
    let continuity = thread.continue_with(slice, exit_ns);
    let repaired = continuity.broken.then(|| Box::new(slice.within(before_ns, exit_ns)));
    let sound = repaired.as_deref().unwrap_or(slice);
    state.add_up(thread, sound);
    let laws = &mut state.conservation;
    laws.slices = laws.slices.saturating_add(1);
    laws.slices_broken = laws.slices_broken.saturating_add(u64::from(continuity.broken));
    laws.undecided_ns = laws.undecided_ns.saturating_add(continuity.undecided_ns);
    state.sequence_holes = state.sequence_holes.saturating_add(u64::from(continuity.missing));
    if let Some((from_ns, to_ns)) = continuity.hole {
        let to_ns = to_ns.min(sound.gap_start_ns());
        thread.pending.push(Piece::unknown(from_ns, to_ns));
        if continuity.missing > 0 {
            state.tasks.forget(slice.tid);
            state.drops.lost.between(from_ns, to_ns);
        }
        if let Some((number, _)) = thread.serving
            && let Some(active) = state.connections.get_mut(number).and_then(|c| c.requests.front_mut())
        {
            active.request.lossy = true;
        }
    }
    repaired
}

/// What a slice's call means, as its connection stands now.
pub(in crate::machine) fn meaning_of(state: &State, slice: &Slice) -> Meaning {
    classify(slice, &state.descriptors, |fd| {
        let number = state.descriptors.connection(slice.tgid, fd);
        number.and_then(|number| state.connections.get(number)).is_some_and(|c| c.inbound.head_complete())
    })
}

/// Whether a call is a wait for work, given what its thread is about.
pub(in crate::machine) fn waits_for_work(
    state: &State,
    thread: &Thread,
    slice: &Slice,
    meaning: &Meaning,
) -> bool {
    match meaning.idle {
        Idle::Always => true,
        // Where a loop waits for more than its own descriptors tell, it still is its wait.
        Idle::UnlessServing => {
            thread.is_loop() && meaning.blocked == Phase::Unexplained
                || !is_serving(state, thread)
                    && (job::is_for_next(state, thread, slice) || handoff::is_at_queue(state, thread, slice))
        }
        Idle::No => false,
    }
}

/// Whether a thread is within a request, as far as can be told: one whose response has an open end and has begun may
/// be over already.
pub(in crate::machine) fn is_serving(state: &State, thread: &Thread) -> bool {
    thread.serving.and_then(|(number, id)| {
        let connection = state.connections.get(number)?;
        let active = connection.requests.iter().find(|active| active.request.id == id)?;
        let open_end = connection.outbound.until_turn();
        Some(connection.is_private() || !job::may_be_over(thread, active, open_end))
    }) == Some(true)
}

/// The call waits for work: what came before it is over.
fn wait_for_work(
    state: &mut State,
    thread: &mut Thread,
    slice: &Slice,
    exit_ns: u64,
    sink: &mut dyn FnMut(Entry),
) {
    turn::untouched(state, thread, slice);
    strand::leave(state, thread, slice.enter_ns);
    // A loop's first wait may be one in the middle of a response.
    turn::recognise(state, thread, slice);
    finish::leave(state, thread, slice.tid, slice.enter_ns, sink);
    handoff::done(state, thread, slice);
    state.drain(thread);
    state.was_busy(thread, slice.enter_ns);
    thread.busy_since_ns = Some(exit_ns);
    thread.work_start_ns = Some(exit_ns);
    thread.engaged = None;
    turn::wait(state, thread, slice, exit_ns);
    handoff::begin(state, thread, slice, exit_ns);
}

/// What holds the thread during a call that is not a request's.
pub(in crate::machine) fn holding(state: &State, tgid: Tid, meaning: &Meaning) -> Holding {
    let connection = meaning
        .touch
        .and_then(|(fd, _)| state.descriptors.connection(tgid, fd))
        .and_then(|number| state.connections.get(number));
    let waits = matches!(
        meaning.touch,
        Some((_, Touch::Read | Touch::Write | Touch::WaitReadable | Touch::WaitWritable))
    );
    match connection {
        Some(connection) if waits && connection.shut => Holding::Linger,
        Some(connection) if waits && connection.requests.is_empty() && connection.begun == 0 => {
            Holding::FirstByte
        }
        Some(connection) if waits && connection.requests.is_empty() => Holding::KeepaliveIdle,
        _ => Holding::Housekeeping,
    }
}

fn effects(
    state: &mut State,
    thread: &mut Thread,
    (slice, exit_ns): (&Slice, u64),
    meaning: &Meaning,
    captured: Option<&[u8]>,
    sink: &mut dyn FnMut(Entry),
) {
    let tgid = slice.tgid;
    if let Call::Accept { listener_fd } = slice.call {
        thread.accepts = true;
        // One that succeeded has told of its connection, also where nobody saw it begin.
        if slice.result < 0 {
            state.count_accept((tgid, listener_fd), 1 + usize::from(slice.result != EAGAIN));
        }
        if slice.result < 0 {
            let clients = || state.descriptors.clients(tgid);
            state.drops.accept_failed(slice, listener_fd, exit_ns, clients);
        }
    }
    let Some((fd, touch)) = meaning.touch else {
        if state.topology.has_front_end()
            && let Some(before) = front::uses_again(state, thread, slice)
        {
            finish::shut(state, before, sink);
        }
        if thread.is_loop() && !matches!(slice.call, Call::Make { .. }) {
            foreign::foreign(state, thread, slice, exit_ns, sink);
        } else if matches!(slice.call, Call::Write { .. }) && thread.slot.is_none() {
            handoff::note(state, thread, slice, exit_ns);
        }
        if state.topology.has_front_end() {
            front::call(state, thread, slice, exit_ns, sink);
        }
        match slice.call {
            Call::Read { fd, .. } | Call::Write { fd } if slice.result > 0 => {
                crate::machine::runtime::asker::count(state, thread, slice);
                let class = state.descriptors.class(tgid, fd);
                if class == Some(DescriptorClass::Wakeup) && matches!(slice.call, Call::Write { .. }) {
                    job::tell(thread, exit_ns);
                }
                state.foreign_descriptor_calls =
                    state.foreign_descriptor_calls.saturating_add(u64::from(class.is_none()));
            }
            Call::Close { fd } => drop(state.descriptors.close(tgid, fd, slice.enter_ns)),
            Call::CloseRange { first, last } if slice.result >= 0 => {
                let last = i32::try_from(last).unwrap_or(i32::MAX).min(state.descriptors.highest(tgid));
                for fd in i32::try_from(first).unwrap_or(i32::MAX)..=last {
                    close(state, thread, slice, fd, exit_ns, sink);
                }
            }
            Call::Duplicate { fd } if slice.result >= 0 => duplicate(state, thread, slice, fd, exit_ns, sink),
            _ => {
                replace(state, thread, slice, exit_ns, sink);
                state.descriptors.follow(slice, exit_ns);
            }
        }
        if thread.is_loop() && matches!(slice.call, Call::Make { .. }) {
            foreign::foreign(state, thread, slice, exit_ns, sink);
        }
        return;
    };
    let Some(number) = state.descriptors.connection(tgid, fd) else { return };
    thread.in_front = front::is_in_front(state, number);
    job::engage(thread, number, slice, touch);
    job::make_slot_of_reader(state, thread, number, slice, touch);
    let moved = u64::try_from(slice.result).unwrap_or(0);
    let bytes = Bytes { moved, captured: captured.unwrap_or_default() };
    // The client has gone: up to here the thread worked for it, whoever closes the connection.
    let has_gone = slice.result <= 0 && !matches!(slice.result, EAGAIN | EINTR);
    if has_gone
        && slice.result < 0
        && let Some(connection) = state.connections.get_mut(number)
    {
        connection.signs.called(slice.result, touch == Touch::Write, exit_ns);
    }
    if matches!(touch, Touch::Read | Touch::Write)
        && has_gone
        && state.connections.get(number).is_some_and(|connection| connection.works_unanswered(slice.tid))
    {
        exchange::advance(state, thread, (number, slice, exit_ns), sink);
    }
    match (touch, slice.call) {
        (Touch::Read, Call::Read { arrival_ns, .. }) => {
            if moved > 0 {
                exchange::read(state, thread, (number, slice, exit_ns), arrival_ns, &bytes, sink);
            } else if slice.result == EAGAIN {
                turn::would_block(state, thread, number, Wants::ClientRead);
            }
        }
        (Touch::Write, _) if moved > 0 => {
            // Without the other flag the bit means something else.
            let status_line = slice.flags & STATUS_LINE == STATUS_LINE;
            exchange::write(state, thread, (number, slice, exit_ns), status_line, &bytes, sink);
        }
        (Touch::Shutdown, Call::Shutdown { how, .. }) if how > 0 => {
            if state
                .connections
                .get_mut(number)
                .is_some_and(|connection| connection.works_to_the_end(slice.tid))
            {
                exchange::advance(state, thread, (number, slice, exit_ns), sink);
            }
            finish::shut(state, number, sink);
            if let Some(connection) = state.connections.get_mut(number) {
                connection.shut = true;
            }
        }
        (Touch::Write, _) if slice.result == EAGAIN => {
            turn::would_block(state, thread, number, Wants::ClientWrite);
        }
        (Touch::Close, _) => close(state, thread, slice, fd, exit_ns, sink),
        (Touch::Register, _) => {
            // A loop also registers a connection in the middle of a response, to be told when its client takes more.
            if !runs_loop(state, thread) {
                finish::shut(state, number, sink);
            }
            if let Call::EpollControl { operation, events, .. } = slice.call
                && slice.result >= 0
            {
                let awaits_writable = operation != EPOLL_CTL_DEL && events & EPOLLOUT != 0;
                turn::register(state, thread, number, awaits_writable);
            }
            // A loop that takes a connection off its list hands it over; a slot that does so only tidies up.
            let hands_over = matches!(slice.call, Call::EpollControl { operation: EPOLL_CTL_DEL, .. });
            if hands_over
                && thread.slot.is_none()
                && let Some(connection) = state.connections.get_mut(number)
            {
                connection.dispatched_ns = exit_ns;
            }
            state.descriptors.follow(slice, exit_ns);
        }
        _ => {}
    }
    turn::touched(thread, exit_ns);
    job::touched(thread, exit_ns);
}

/// A descriptor gets another number, in place of what had it.
fn duplicate(
    state: &mut State,
    thread: &mut Thread,
    slice: &Slice,
    fd: i32,
    exit_ns: u64,
    sink: &mut dyn FnMut(Entry),
) {
    let made = i32::try_from(slice.result).unwrap_or(-1);
    if made == fd {
        return;
    }
    close(state, thread, slice, made, exit_ns, sink);
    state.descriptors.follow(slice, exit_ns);
    let copied = state.descriptors.connection(slice.tgid, made);
    if let Some(connection) = copied.and_then(|number| state.connections.get_mut(number)) {
        connection.copies = connection.copies.saturating_add(1);
    }
}

/// The call made descriptors: connections that had their numbers are closed. Their close may still be on its way back from
/// the kernel, on another thread; it frees the number before it returns.
fn replace(state: &mut State, thread: &mut Thread, slice: &Slice, exit_ns: u64, sink: &mut dyn FnMut(Entry)) {
    let made = match slice.call {
        Call::Make { .. } => [i32::try_from(slice.result).unwrap_or(-1), -1],
        Call::MakePair { fds } => fds,
        _ => return,
    };
    for fd in made.into_iter().filter(|fd| *fd >= 0 && slice.result >= 0) {
        if state.descriptors.connection(slice.tgid, fd).is_some() {
            close(state, thread, &Slice { enter_ns: exit_ns, ..*slice }, fd, exit_ns, sink);
        }
    }
}

fn close(
    state: &mut State,
    thread: &mut Thread,
    slice: &Slice,
    fd: i32,
    exit_ns: u64,
    sink: &mut dyn FnMut(Entry),
) {
    let Some(descriptor) = state.descriptors.close(slice.tgid, fd, slice.enter_ns) else { return };
    let Some(number) = descriptor.connection else { return };
    if let Some(connection) = state.connections.get_mut(number).filter(|connection| connection.copies > 0) {
        connection.copies -= 1;
        return;
    }
    // No response was sent, or the front end waits for its end: the server's time up to the close is the request's.
    if state.connections.get(number).is_some_and(|connection| connection.works_unanswered(slice.tid))
        || state.connections.get_mut(number).is_some_and(|connection| connection.works_to_the_end(slice.tid))
    {
        exchange::advance(state, thread, (number, slice, exit_ns), sink);
    }
    finish::end_connection(state, number, How::Closed, exit_ns, sink);
    if thread.serving.is_some_and(|(serving, _)| serving == number) {
        thread.serving = None;
    }
}

/// Puts a slice on the timeline: the gap, then the call.
pub(in crate::machine) fn draw(
    slice: &Slice,
    exit_ns: u64,
    (state, because): (ThreadState, Because),
    open: bool,
    sink: &mut dyn FnMut(Entry),
) {
    let held_by = Some(because.by.first.tid).filter(|tid| *tid > 0);
    let sites = because.sites;
    let (tgid, tid) = (slice.tgid, slice.tid);
    let gap_start_ns = slice.gap_start_ns();
    if slice.enter_ns > gap_start_ns {
        let gap_state = if slice.gap.run_queue_ns > slice.gap.cpu_ns.saturating_add(slice.gap.blocked_ns) {
            ThreadState::RunQueue
        } else if slice.gap.blocked_ns > slice.gap.cpu_ns {
            ThreadState::Other
        } else {
            ThreadState::Running
        };
        let end_ns = slice.enter_ns;
        let entry = Entry::Slice {
            tgid,
            tid,
            start_ns: gap_start_ns,
            end_ns,
            state: gap_state,
            label: "running",
            fd: None,
            open: false,
            held_by: None,
            sites: None,
        };
        sink(entry);
    }
    let label = profiler_common::system_call::name(slice.system_call);
    let fd = descriptor_of(&slice.call);
    let (start_ns, end_ns) = (slice.enter_ns, exit_ns);
    sink(Entry::Slice { tgid, tid, start_ns, end_ns, state, label, fd, open, held_by, sites });
}

const fn descriptor_of(call: &Call) -> Option<i32> {
    match *call {
        Call::Accept { listener_fd: fd }
        | Call::Read { fd, .. }
        | Call::Write { fd }
        | Call::Transfer { to_fd: fd, .. }
        | Call::EpollWait { epoll_fd: fd, .. }
        | Call::Connect { fd, .. }
        | Call::Shutdown { fd, .. }
        | Call::Close { fd } => Some(fd),
        Call::Poll { only_fd, .. } => only_fd,
        _ => None,
    }
}
