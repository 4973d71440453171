//! Which requests may be running on an event loop, as far as its calls show, and what resumes them.
//!
//! In: calls of a loop's thread, what is known of requests and descriptors. Out: requests that may run, in the order in which the loop resumes them; what a
//! call says of the request that makes it.

use crate::event::{Call, Slice};
use crate::machine::runtime::candidates::may_run;
use crate::machine::runtime::event_loop::EventLoop;
use crate::machine::runtime::state::View;
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::request::{RequestKey, Wants};
use crate::rule::Rule;

/// How the loop came to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Something that it waited for is ready, and is read. Whatever ran before did not belong to it.
    Readiness {
        /// When it came; 0: not known.
        arrival_ns: u64,
        /// It is a back end's answer.
        back_end: bool,
    },
    /// It writes, or closes: what ran before may have been its.
    Running {
        /// When the connection to a back end was made that it waited for, and by which it resumes. 0: it resumes by something else, or that is not known.
        made_ns: u64,
        /// The back end's descriptor that it uses.
        back_end: Option<i32>,
    },
}

impl By {
    pub(super) const fn is_running(self) -> bool {
        matches!(self, Self::Running { .. })
    }
}

/// Whether a request resumes by what it got in the iteration before, or by a connection that was made. Then no thread can have resumed it. On asyncio a
/// thread's note resumes a request one iteration after the loop handles the note, at the earliest.
pub(super) fn goes_straight_on(view: View<'_>, thread: &Thread, key: RequestKey, by: By) -> bool {
    let Some(active) = view.wire.connections.active(key).filter(|active| active.left_by.is_some()) else {
        return false;
    };
    let is_made = matches!(by, By::Running { made_ns: 1.., .. });
    thread.event_loop.as_ref().is_some_and(|event_loop| {
        Rule::StraightOn.holds()
            && event_loop.passes_on()
            && (is_made || event_loop.looks.was_in_iteration_before(active.cursor_ns))
    })
}

/// Whether a back end's descriptor belongs to a request, or to unattributed work, that is not known to wait for anything.
pub(in crate::machine) fn is_owner_runnable(
    view: View<'_>,
    event_loop: &EventLoop,
    tgid: u32,
    fd: i32,
) -> bool {
    let Some(descriptor) = view.world.descriptors.get(tgid, fd) else { return false };
    match descriptor.owner {
        Some(key) => may_run(view, key),
        None => event_loop.unattributed.is_runnable((fd, descriptor.opened_ns)),
    }
}

/// Whether nobody but this request has used the connection to a back end.
pub(super) fn is_private(
    view: View<'_>,
    thread: &Thread,
    (tgid, fd): (u32, i32),
    (number, id): RequestKey,
) -> bool {
    let front = view.wire.connections.get(number).and_then(|connection| connection.requests.front());
    let read_ns = front
        .filter(|active| active.request.id == id)
        .and_then(|active| active.request.times.service_start_ns);
    let known = view.world.descriptors.get(tgid, fd).filter(|known| known.owner == Some((number, id)));
    let is_sure = thread.event_loop.as_ref().is_some_and(|event_loop| event_loop.is_sure(fd));
    is_sure && known.zip(read_ns).is_some_and(|(known, read_ns)| known.opened_ns > read_ns)
}

/// The only request that an answer of a back end resumes: it waits for that answer, and no other request has used the connection.
pub(in crate::machine) fn asked_alone(view: View<'_>, thread: &Thread, tgid: u32, fd: i32) -> Option<u64> {
    let (number, id) = view.world.descriptors.get(tgid, fd)?.owner?;
    let active = view.wire.connections.get(number)?.requests.front()?;
    let is_asked = active.request.id == id && active.wants == Wants::Backend;
    (is_asked && is_private(view, thread, (tgid, fd), (number, id))).then_some(id)
}

pub(super) fn by(view: View<'_>, slice: &Slice, number: u32) -> By {
    let is_clients = |fd| view.world.descriptors.connection(slice.tgid, fd) == Some(number);
    match slice.call {
        Call::Read { fd, arrival_ns, .. } if is_clients(fd) => By::Readiness { arrival_ns, back_end: false },
        Call::Read { .. } => By::Readiness { arrival_ns: slice.back_end_ready_ns, back_end: true },
        Call::Write { fd } | Call::Connect { fd, .. } if !is_clients(fd) => {
            By::Running { made_ns: slice.back_end_ready_ns, back_end: Some(fd) }
        }
        Call::EpollControl { fd, .. } if !is_clients(fd) => By::Running { made_ns: 0, back_end: Some(fd) },
        _ => By::Running { made_ns: 0, back_end: None },
    }
}
