//! What a call means for its thread at the moment.
//!
//! In: a slice, what its thread works on, its connection. Out: its meaning, whether it waits for work, how it
//! shows on the timeline, what holds the slot meanwhile.

use crate::event::{Call, Slice, Tid};
use crate::machine::lock::gil::Part;
use crate::machine::runtime::state::RuntimeView;
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::{handoff, job};
use crate::machine::world::classify::{Idle, Meaning, Touch, classify, is_mutex};
use crate::model::slot::Holding;
use crate::phase::Phase;
use crate::timeline::ThreadState;

/// What a slice's call means, as its connection stands now.
pub(in crate::machine) fn meaning_of(view: RuntimeView<'_>, slice: &Slice) -> Meaning {
    classify(slice, &view.world.descriptors, |fd| {
        let number = view.world.descriptors.connection(slice.tgid, fd);
        number.and_then(|number| view.wire.connections.get(number)).is_some_and(|c| c.inbound.head_complete())
    })
}

/// Whether a call closes a file.
pub(super) const fn closes_file(slice: &Slice, meaning: &Meaning) -> bool {
    matches!((slice.call, meaning.state), (Call::Close { .. }, ThreadState::File))
}

/// Whether a call is a wait for work, given what its thread works on.
pub(in crate::machine) fn waits_for_work(
    view: RuntimeView<'_>,
    thread: &Thread,
    slice: &Slice,
    meaning: &Meaning,
) -> bool {
    match meaning.idle {
        Idle::Always => true,
        // The loop's own wait, even where the call's descriptors do not show all that the loop waits for.
        Idle::UnlessServing => {
            thread.is_loop() && meaning.blocked == Phase::Unexplained
                || !is_serving(view, thread)
                    && thread.lasted_at(slice.enter_ns).is_none()
                    && (job::is_for_next(view, thread, slice) || handoff::is_at_queue(view, thread, slice))
        }
        Idle::No => false,
    }
}

/// Whether a master waits for signals, or for the ends of its workers. Its first thread waits in a queue with
/// a limit of time, after which it looks after them. (gunicorn 27: `SimpleQueue.get`, arbiter.py; uvicorn:
/// `Event.wait`, supervisors/multiprocess.py.) It has served nobody, and its process has children. Where
/// another thread of the process ended the wait, it may have been for a lock.
pub(super) fn is_idle_master(view: RuntimeView<'_>, thread: &Thread, slice: &Slice) -> bool {
    let Call::FutexWait { operation, has_timeout: true, .. } = slice.call else { return false };
    let has_served =
        thread.signs.accepts || thread.signs.reads || thread.slot.is_some() || thread.serving.is_some();
    let waker = view.runtime.threads.get(slice.woken.by_tid);
    slice.tid == slice.tgid
        && !is_mutex(operation)
        && !has_served
        && waker.is_none_or(|waker| waker.tgid != slice.tgid)
        && view.world.processes.has_children(slice.tgid)
}

/// How a call shows on the timeline. `idle`: it waits for work; `part`: what it is of a wait for the
/// interpreter lock.
pub(super) fn shown(
    view: RuntimeView<'_>,
    thread: &Thread,
    slice: &Slice,
    idle: bool,
    part: Part,
    meaning: &Meaning,
) -> ThreadState {
    let is_idle = idle || part == Part::None && is_idle_master(view, thread, slice);
    if is_idle { ThreadState::Idle } else { meaning.state }
}

/// Whether a thread is within a request, as far as is known. A request whose response has begun with an open
/// end may be over already.
pub(in crate::machine) fn is_serving(view: RuntimeView<'_>, thread: &Thread) -> bool {
    thread.serving.and_then(|(number, id)| {
        let connection = view.wire.connections.get(number)?;
        let active = connection.requests.iter().find(|active| active.request.id == id)?;
        let open_end = connection.outbound.until_turn();
        Some(connection.is_private() || !job::may_be_over(thread, active, open_end))
    }) == Some(true)
}

/// The connection that a call of the process touches.
#[inline]
pub(in crate::machine) fn touched(view: RuntimeView<'_>, tgid: Tid, meaning: &Meaning) -> Option<u32> {
    meaning.touch.and_then(|(fd, _)| view.world.descriptors.connection(tgid, fd))
}

/// What holds the thread during a call that is not a request's. `number`: the connection that it touches.
#[inline]
pub(in crate::machine) fn holding(view: RuntimeView<'_>, number: Option<u32>, meaning: &Meaning) -> Holding {
    // Most calls wait for no client.
    let Some((_, Touch::Read | Touch::Write | Touch::WaitReadable | Touch::WaitWritable)) = meaning.touch
    else {
        return Holding::Housekeeping;
    };
    match number.and_then(|number| view.wire.connections.get(number)) {
        Some(connection) if connection.shut => Holding::Linger,
        Some(connection) if connection.requests.is_empty() && connection.begun == 0 => Holding::FirstByte,
        Some(connection) if connection.requests.is_empty() => Holding::KeepaliveIdle,
        _ => Holding::Housekeeping,
    }
}
