//! Which requests may be running on an event loop, as far as its calls show, and what resumes them.
//!
//! In: calls of a loop's thread, what is known of requests and descriptors. Out: requests that may run, in
//! the order in which the loop resumes them; what a call says of the request that makes it.

use crate::event::{Call, Slice};
use crate::machine::runtime::candidates::may_run;
use crate::machine::runtime::event_loop::EventLoop;
use crate::machine::runtime::state::RuntimeView;
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
        /// What is ready is a back end's answer.
        back_end: bool,
    },
    /// The request writes, or closes: what ran before may have been for it.
    Running {
        /// When the connection to a back end was made that it waited for, and by which it resumes. 0: it
        /// resumes by something else, or that is not known.
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

/// Whether a request resumes by what it got in the iteration before, or by a connection that was made. Then
/// no thread can have resumed it. On asyncio a thread's note resumes a request one iteration after the loop
/// handles the note, at the earliest.
pub(super) fn goes_straight_on(view: RuntimeView<'_>, thread: &Thread, key: RequestKey, by: By) -> bool {
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

/// Whether a back end's descriptor belongs to a request, or to unattributed work, that is not known to wait
/// for anything.
pub(in crate::machine) fn is_owner_runnable(
    view: RuntimeView<'_>,
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
    view: RuntimeView<'_>,
    thread: &Thread,
    (tgid, fd): (u32, i32),
    key: RequestKey,
) -> bool {
    let read_ns = view.wire.connections.service_start_ns(key);
    let known = view.world.descriptors.get(tgid, fd).filter(|known| known.owner == Some(key));
    let is_sure = thread.event_loop.as_ref().is_some_and(|event_loop| event_loop.is_sure(fd));
    is_sure && known.zip(read_ns).is_some_and(|(known, read_ns)| known.opened_ns > read_ns)
}

/// The only request that an answer of a back end resumes: it waits for that answer, and no other request has
/// used the connection.
pub(in crate::machine) fn asked_alone(
    view: RuntimeView<'_>,
    thread: &Thread,
    tgid: u32,
    fd: i32,
) -> Option<u64> {
    let key = view.world.descriptors.get(tgid, fd)?.owner?;
    let is_asked = view.wire.connections.active(key)?.wants == Wants::Backend;
    (is_asked && is_private(view, thread, (tgid, fd), key)).then_some(key.1)
}

pub(super) fn by(view: RuntimeView<'_>, slice: &Slice, number: u32) -> By {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Connection as Opened;
    use crate::fact::DescriptorClass;
    use crate::machine::runtime::state::Runtime;
    use crate::machine::wire::request::{Active, Beginning};
    use crate::machine::wire::state::Wire;
    use crate::machine::world::state::World;

    /// Of the client, of another client, of a back end, of one that is not known.
    const CLIENT: i32 = 9;
    const OTHER: i32 = 10;
    const BACK_END: i32 = 12;
    const KEY: RequestKey = (0, 5);

    /// A request of connection 0, read at 110, and a back end's descriptor that was opened then.
    fn stages(opened_ns: u64, owner: Option<RequestKey>) -> (World, Wire, Runtime) {
        let (mut world, mut wire) = (World::default(), Wire::default());
        for (fd, number) in [(CLIENT, 0), (OTHER, 1)] {
            assert_eq!(wire.connections.open(&Opened::accepted(5), 10), Some(number));
            world.descriptors.open_client(1, fd, 10, number);
        }
        let mut active = Active::new(&Beginning::at(KEY.1, 100), 1, 1);
        active.request.times.service_start_ns = Some(110);
        wire.connections.get_mut(0).unwrap().requests.push_back(Box::new(active));
        world.descriptors.open(1, BACK_END, DescriptorClass::Backend { port: 5432 }, opened_ns);
        world.descriptors.own(1, BACK_END, owner);
        (world, wire, Runtime::default())
    }

    fn slice(call: Call) -> Slice {
        Slice { back_end_ready_ns: 60, ..Slice::blank(call) }
    }

    #[test]
    fn a_read_shows_what_was_ready_and_all_else_that_the_request_runs() {
        let (world, wire, runtime) = stages(50, None);
        let view = RuntimeView { world: &world, wire: &wire, runtime: &runtime };
        let read = |fd| Call::Read { fd, asked_bytes: 1, arrival_ns: 40 };
        let control = |fd| Call::EpollControl { epoll_fd: 4, operation: 1, fd, events: 1 };
        let connect = |fd| Call::Connect { fd, port: 5432, family: 2, identity: 0 };
        let running = |made_ns, back_end| By::Running { made_ns, back_end };
        for (what, call, expected) in [
            ("its client's bytes", read(CLIENT), By::Readiness { arrival_ns: 40, back_end: false }),
            ("its back end's answer", read(BACK_END), By::Readiness { arrival_ns: 60, back_end: true }),
            ("it answers", Call::Write { fd: CLIENT }, running(0, None)),
            ("it asks", Call::Write { fd: BACK_END }, running(60, Some(BACK_END))),
            ("it connects", connect(BACK_END), running(60, Some(BACK_END))),
            ("it registers its client", control(CLIENT), running(0, None)),
            ("it registers its back end", control(BACK_END), running(0, Some(BACK_END))),
            ("it closes its back end", Call::Close { fd: BACK_END }, running(0, None)),
        ] {
            let told = by(view, &slice(call), 0);
            assert_eq!(told, expected, "{what}");
            assert_eq!(told.is_running(), !matches!(call, Call::Read { .. }), "{what}");
        }
    }

    #[test]
    fn an_answer_resumes_one_request_alone_where_that_made_the_connection_and_waits_for_it() {
        for (what, opened_ns, owner, wants, likely, expected) in [
            ("it made it and waits", 111, Some(KEY), Wants::Backend, false, Some(5)),
            ("the connection was there as it was read", 110, Some(KEY), Wants::Backend, false, None),
            ("it waits for nothing known", 111, Some(KEY), Wants::Unknown, false, None),
            ("nobody owns it", 111, None, Wants::Backend, false, None),
            ("a request before owned it", 111, Some((0, 4)), Wants::Backend, false, None),
            ("only order shows whose it is", 111, Some(KEY), Wants::Backend, true, None),
        ] {
            let (world, mut wire, runtime) = stages(opened_ns, owner);
            wire.connections.get_mut(0).unwrap().requests[0].wants = wants;
            let mut event_loop = EventLoop::default();
            if likely {
                assert!(event_loop.paired_as_likely(BACK_END));
            }
            let thread = Thread { event_loop: Some(Box::new(event_loop)), ..Thread::default() };
            let view = RuntimeView { world: &world, wire: &wire, runtime: &runtime };
            assert_eq!(asked_alone(view, &thread, 1, BACK_END), expected, "{what}");
        }
    }

    #[test]
    fn a_back_ends_owner_may_run_where_it_waits_for_nothing_known() {
        for (what, owner, wants, fd, expected) in [
            ("it may", Some(KEY), Wants::Unknown, BACK_END, true),
            ("it waits", Some(KEY), Wants::Backend, BACK_END, false),
            ("it is over", Some((0, 4)), Wants::Unknown, BACK_END, false),
            ("nobody owns it", None, Wants::Unknown, BACK_END, false),
            ("there is no such descriptor", Some(KEY), Wants::Unknown, BACK_END + 1, false),
        ] {
            let (world, mut wire, runtime) = stages(111, owner);
            wire.connections.get_mut(0).unwrap().requests[0].wants = wants;
            let view = RuntimeView { world: &world, wire: &wire, runtime: &runtime };
            assert_eq!(is_owner_runnable(view, &EventLoop::default(), 1, fd), expected, "{what}");
        }
    }
}
