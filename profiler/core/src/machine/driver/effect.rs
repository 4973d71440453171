//! What a call does: to descriptors, to connections and to the requests on them.
//!
//! In: a slice whose time has been taken, its capture. Out: requests that begin, advance and finish;
//! descriptors that come and go; accepts that brought nothing.

use profiler_common::record::slice::FLAG_STATUS_LINE;

use crate::event::{Call, Slice};
use crate::fact::DescriptorClass;
use crate::machine::ledger::context::LedgerContext;
use crate::machine::ledger::exchange::{self, Bytes};
use crate::machine::ledger::{finish, foreign, slots, turn};
use crate::machine::product::dropped::Drops;
use crate::machine::runtime::candidates::runs_loop;
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::{asker, handoff, job};
use crate::machine::wire::ending::How;
use crate::machine::wire::request::Wants;
use crate::machine::world::classify::Touch;
use crate::machine::world::descriptor::{EPOLL_CTL_ADD, EPOLL_CTL_DEL};
use crate::machine::world::errno::{EAGAIN, EINTR};
use crate::machine::world::state::World;

/// include/uapi/linux/eventpoll.h.
const EPOLLOUT: u32 = 4;

/// A call on a client's connection.
pub(super) fn touches(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    number: u32,
    slice: &Slice,
    fd: i32,
    touch: Touch,
    captured: Option<&[u8]>,
) {
    slots::make_slot_of_reader(context, thread, number, slice, touch);
    note_end(context, thread, number, slice, touch);
    match touch {
        Touch::Read | Touch::Write => moves(context, thread, number, slice, touch, captured),
        Touch::Shutdown => shutdown(context, thread, number, slice),
        Touch::Close => close(context, thread, slice, fd),
        Touch::Register => register(context, thread, number, slice),
        Touch::WaitReadable | Touch::WaitWritable => {}
    }
    let is_idle =
        context.wire.connections.get(number).is_none_or(|connection| connection.requests.is_empty());
    let takes = matches!(slice.call, Call::EpollControl { operation: EPOLL_CTL_ADD, .. });
    turn::touched(thread, slice.exit_ns, takes && is_idle);
    job::touched(thread, slice.exit_ns);
}

/// An accept. A successful one was reported with its connection, even if its start was not seen.
pub(super) fn accept((world, drops): (&mut World, &mut Drops), slice: &Slice, listener_fd: i32) {
    if slice.result < 0 {
        let listener = (slice.tgid, listener_fd);
        world.count_accept(listener, 1 + usize::from(slice.result != EAGAIN));
        drops.accept_failed(listener, slice.result, slice.exit_ns, || world.descriptors.clients(slice.tgid));
    }
}

/// A call on no client's connection: who the thread works for.
pub(super) fn on_others(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice) {
    if let (Call::FutexWait { .. }, Some(event_loop)) = (slice.call, thread.serving_loop()) {
        event_loop.looks.waits_at_lock(slice);
    }
    if thread.is_loop() && !matches!(slice.call, Call::Make { .. }) {
        foreign::foreign(context, thread, slice);
    } else if matches!(slice.call, Call::Write { .. }) && thread.slot.is_none() {
        handoff::note(&mut context.runtime_context(), thread, slice);
    }
}

/// A call on no client's connection: descriptors that come and go.
pub(super) fn on_descriptors(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice) {
    let tgid = slice.tgid;
    match slice.call {
        Call::Read { fd, .. } | Call::Write { fd } if slice.result > 0 => {
            asker::count(&mut context.runtime_context(), thread, slice);
            let world = &mut context.world;
            let class = world.descriptors.class(tgid, fd);
            if class == Some(DescriptorClass::Wakeup) && matches!(slice.call, Call::Write { .. }) {
                job::tell(thread, slice.exit_ns);
            }
            world.foreign_descriptor_calls =
                world.foreign_descriptor_calls.saturating_add(u64::from(class.is_none()));
        }
        Call::Close { fd } => drop(context.world.descriptors.close(tgid, fd, slice.enter_ns)),
        Call::CloseRange { first, last } if slice.result >= 0 => {
            let last = i32::try_from(last).unwrap_or(i32::MAX).min(context.world.descriptors.highest(tgid));
            for fd in i32::try_from(first).unwrap_or(i32::MAX)..=last {
                close(context, thread, slice, fd);
            }
        }
        Call::Duplicate { fd } if slice.result >= 0 => duplicate(context, thread, slice, fd),
        _ => {
            replace(context, thread, slice);
            context.world.descriptors.follow(slice);
        }
    }
    if thread.is_loop() && matches!(slice.call, Call::Make { .. }) {
        foreign::foreign(context, thread, slice);
    }
}

/// If the client has gone, the thread worked for it up to here, whoever closes the connection.
fn note_end(context: &mut LedgerContext<'_>, thread: &mut Thread, number: u32, slice: &Slice, touch: Touch) {
    if slice.result > 0 || matches!(slice.result, EAGAIN | EINTR) {
        return;
    }
    if slice.result < 0
        && let Some(connection) = context.wire.connections.get_mut(number)
    {
        connection.signs.called(slice.result, touch == Touch::Write, slice.exit_ns);
    }
    let connection = context.wire.connections.get(number);
    if matches!(touch, Touch::Read | Touch::Write)
        && connection.is_some_and(|connection| connection.works_unanswered(slice.tid))
    {
        exchange::advance(context, thread, number, slice);
    }
}

/// A read from a client, or a write to it.
fn moves(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    number: u32,
    slice: &Slice,
    touch: Touch,
    captured: Option<&[u8]>,
) {
    let moved = u64::try_from(slice.result).unwrap_or(0);
    let bytes = Bytes { moved, captured: captured.unwrap_or_default() };
    match (touch, slice.call) {
        (Touch::Read, Call::Read { arrival_ns, .. }) if moved > 0 => {
            exchange::read(context, thread, number, slice, arrival_ns, &bytes);
        }
        (Touch::Read, Call::Read { .. }) if slice.result == EAGAIN => {
            match turn::read_beside(context.view(), thread, number) {
                // The request that reads beside others may be waiting.
                Some(true) => {}
                Some(false) => exchange::advance(context, thread, number, slice),
                None => turn::would_block(context, thread, number, Wants::ClientRead),
            }
        }
        (Touch::Write, _) if moved > 0 => {
            let status_line = slice.flags & FLAG_STATUS_LINE != 0;
            exchange::write(context, thread, number, slice, status_line, &bytes);
        }
        (Touch::Write, _) if slice.result == EAGAIN => {
            turn::would_block(context, thread, number, Wants::ClientWrite);
        }
        _ => {}
    }
}

/// The server ends its direction of a connection.
fn shutdown(context: &mut LedgerContext<'_>, thread: &mut Thread, number: u32, slice: &Slice) {
    if !matches!(slice.call, Call::Shutdown { how: 1.., .. }) {
        return;
    }
    let connection = context.wire.connections.get_mut(number);
    if connection.is_some_and(|connection| connection.works_to_the_end(slice.tid)) {
        exchange::advance(context, thread, number, slice);
    }
    finish::shut(context, number);
    if context.wire.connections.get(number).is_some_and(|connection| connection.lasting().is_some()) {
        finish::turn(context, number);
    }
    if let Some(connection) = context.wire.connections.get_mut(number) {
        connection.shut = true;
        if connection.signs.shut_ns == 0 {
            connection.signs.shut_ns = slice.exit_ns;
        }
    }
}

/// A connection is put on an interest list, or taken off it.
fn register(context: &mut LedgerContext<'_>, thread: &mut Thread, number: u32, slice: &Slice) {
    // A loop also registers a connection in the middle of a response, to learn when its client takes more.
    if !runs_loop(context.view(), thread) {
        finish::shut(context, number);
    }
    if let Call::EpollControl { operation, events, .. } = slice.call
        && slice.result >= 0
    {
        let awaits_writable = operation != EPOLL_CTL_DEL && events & EPOLLOUT != 0;
        if awaits_writable && turn::asks_to_answer(context.view(), thread, number, slice.tid) {
            exchange::advance(context, thread, number, slice);
        }
        turn::register(context, thread, number, awaits_writable);
    }
    // A loop that takes a connection off its list hands it over; a slot that does so only tidies up.
    let hands_over = matches!(slice.call, Call::EpollControl { operation: EPOLL_CTL_DEL, .. });
    if hands_over
        && thread.slot.is_none()
        && let Some(connection) = context.wire.connections.get_mut(number)
    {
        connection.dispatched_ns = slice.exit_ns;
    }
    context.world.descriptors.follow(slice);
}

/// A descriptor is copied to another number; what had that number is closed.
fn duplicate(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice, fd: i32) {
    let made = i32::try_from(slice.result).unwrap_or(-1);
    if made == fd {
        return;
    }
    close(context, thread, slice, made);
    context.world.descriptors.follow(slice);
    let copied = context.world.descriptors.connection(slice.tgid, made);
    if let Some(connection) = copied.and_then(|number| context.wire.connections.get_mut(number)) {
        connection.copies = connection.copies.saturating_add(1);
    }
}

/// The call made descriptors, so connections that had their numbers are closed. A close on another thread may
/// still be on its way back from the kernel: it frees the number before it returns.
fn replace(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice) {
    let made = match slice.call {
        Call::Make { .. } => [i32::try_from(slice.result).unwrap_or(-1), -1],
        Call::MakePair { fds } => fds,
        _ => return,
    };
    for fd in made.into_iter().filter(|fd| *fd >= 0 && slice.result >= 0) {
        if context.world.descriptors.connection(slice.tgid, fd).is_some() {
            close(context, thread, &Slice { enter_ns: slice.exit_ns, ..*slice }, fd);
        }
    }
}

fn close(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice, fd: i32) {
    let Some(descriptor) = context.world.descriptors.close(slice.tgid, fd, slice.enter_ns) else { return };
    let Some(number) = descriptor.connection else { return };
    if let Some(connection) =
        context.wire.connections.get_mut(number).filter(|connection| connection.copies > 0)
    {
        connection.copies -= 1;
        return;
    }
    // No response was sent, or the front end waits for its end: the server's time up to the close is the
    // request's.
    if context.wire.connections.get(number).is_some_and(|connection| connection.works_unanswered(slice.tid))
        || context
            .wire
            .connections
            .get_mut(number)
            .is_some_and(|connection| connection.works_to_the_end(slice.tid))
    {
        exchange::advance(context, thread, number, slice);
    }
    finish::end_connection(context, number, How::Closed, slice.exit_ns);
    if thread.serving.is_some_and(|(serving, _)| serving == number) {
        thread.serving = None;
    }
}
