//! Calls of a loop's thread that are on no client's connection: for which request they are.
//!
//! In: calls on back ends, on wakeup descriptors, on files. Out: the request that made the call resumes, or
//! unattributed work does.

use crate::event::{Call, Slice};
use crate::fact::DescriptorClass;
use crate::machine::ledger::context::LedgerContext;
use crate::machine::ledger::turn::{self, asked_alone, is_owner_runnable};
use crate::machine::ledger::{exchange, finish, in_turn, unattributed};
use crate::machine::runtime::asker::{self, Asker};
use crate::machine::runtime::task;
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::unattributed::BackEnd;
use crate::machine::wire::request::Wants;
use crate::machine::world::descriptor::EPOLL_CTL_DEL;
use crate::machine::world::errno::{EAGAIN, EINPROGRESS};

/// A call of a loop's thread that by itself points to no request. It shows that the present task runs, and so
/// the request of that task. A request that waits for its client or a back end is left out: the read that
/// ends such a wait says more.
fn runs(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice) {
    if in_turn::runs(context, thread, slice).is_some() {
        return;
    }
    let Some((number, id)) = task::at_work(context.view(), thread, slice.tid) else { return };
    let front = context.wire.connections.front(number);
    let waits = front.is_none_or(|active| active.wants != Wants::Unknown);
    if thread.serving != Some((number, id)) && !waits {
        exchange::advance(context, thread, number, slice);
        turn::touched(thread, slice.exit_ns, false);
    }
}

/// A call of a loop's thread on a descriptor that is no client's. The request that makes it becomes the one
/// that the thread serves, if there is one.
pub(in crate::machine) fn foreign(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice) {
    let tgid = slice.tgid;
    let Some(event_loop) = thread.serving_loop() else { return };
    let fd = match slice.call {
        Call::Accept { .. } => {
            // Accepting is the loop's own work.
            event_loop.touched.until_ns = slice.exit_ns;
            event_loop.has_heard(None);
            unattributed::leave(thread, slice.enter_ns, context.window_start_ns);
            finish::leave(context, thread, slice.tid, slice.enter_ns);
            return;
        }
        Call::Make { class: DescriptorClass::Socket } => i32::try_from(slice.result).unwrap_or(-1),
        Call::Read { fd, .. } | Call::Write { fd } | Call::Connect { fd, .. } => fd,
        Call::EpollControl { fd, .. }
            if context.world.descriptors.class(tgid, fd) == Some(DescriptorClass::Wakeup) =>
        {
            event_loop.woken();
            return;
        }
        // Whoever has its back end's answer and takes the descriptor off the loop's list runs. Before the
        // answer, the loop does that itself.
        Call::EpollControl { fd, operation: EPOLL_CTL_DEL, .. }
            if is_owner_runnable(context.view(), event_loop, tgid, fd) =>
        {
            fd
        }
        _ => return runs(context, thread, slice),
    };
    let reads = matches!(slice.call, Call::Read { .. }) && slice.result > 0;
    let only = if reads { asked_alone(context.view(), thread, tgid, fd) } else { None };
    let Some(event_loop) = thread.serving_loop() else { return };
    let Some(descriptor) =
        context.world.descriptors.get(tgid, fd).filter(|known| known.class != DescriptorClass::Other)
    else {
        // Whoever waited for that may resume.
        if reads {
            event_loop.has_read_answer(slice.enter_ns, None);
            event_loop.runs(None, slice.enter_ns, false);
        }
        return runs(context, thread, slice);
    };
    match descriptor.class {
        DescriptorClass::Backend { .. } | DescriptorClass::Socket if reads => {
            event_loop.has_read_answer(slice.enter_ns, only);
        }
        DescriptorClass::Backend { .. } | DescriptorClass::Socket => {}
        DescriptorClass::Wakeup if reads => {
            event_loop.woken();
            return;
        }
        DescriptorClass::Wakeup => {
            runs(context, thread, slice);
            return in_turn::wakes(context, thread, slice);
        }
        _ => return runs(context, thread, slice),
    }
    back_end(context, thread, slice, (fd, descriptor.opened_ns));
}

/// A call on a back end's descriptor: whoever asks there resumes.
fn back_end(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice, back_end: BackEnd) {
    let tgid = slice.tgid;
    let fd = back_end.0;
    let its_turn = in_turn::runs(context, thread, slice);
    let Some(descriptor) = context.world.descriptors.get(tgid, fd) else { return };
    let told = its_turn.or_else(|| task::at_work(context.view(), thread, slice.tid));
    let known = descriptor.owner.filter(|key| context.wire.connections.is_live(*key));
    let owner = told.or_else(|| known.filter(|key| !task::is_another_s(context.view(), thread, slice, *key)));
    if owner.is_none() && unattributed::resume(context, thread, slice, back_end) {
        return;
    }
    let asker = match owner {
        Some(key) => Asker::Known(key),
        None => asker::find(context.view(), thread, slice),
    };
    let key = match asker {
        Asker::Known(key) => {
            if (owner.is_none() || told.is_some())
                && let Some(event_loop) = thread.serving_loop()
            {
                event_loop.paired_surely(fd);
            }
            key
        }
        Asker::Likely(key) => {
            if thread.serving_loop().is_some_and(|event_loop| !event_loop.paired_as_likely(fd)) {
                context.crowd();
            }
            key
        }
        Asker::Unattributed => {
            return unattributed::open_further(context, thread, slice, back_end);
        }
        Asker::OneOf(candidates) => {
            return unattributed::open(context, thread, slice, back_end, &candidates);
        }
        Asker::Nobody => {
            unattributed::leave(thread, slice.enter_ns, context.window_start_ns);
            finish::leave(context, thread, slice.tid, slice.enter_ns);
            let Some(event_loop) = thread.serving_loop() else { return };
            event_loop.touched.until_ns = slice.exit_ns;
            if !matches!(slice.call, Call::Read { .. }) {
                event_loop.runs(None, slice.enter_ns, false);
            }
            return context.world.descriptors.own(tgid, fd, None);
        }
    };
    exchange::advance(context, thread, key.0, slice);
    context.world.descriptors.own(tgid, fd, Some(key));
    turn::touched(thread, slice.exit_ns, false);
    if let Some(active) = context.wire.connections.front_mut(key.0) {
        let asks = matches!(slice.call, Call::Write { .. }) && slice.result > 0;
        let waits = asks || matches!(slice.result, EAGAIN | EINPROGRESS);
        active.wants = if waits { Wants::Backend } else { Wants::Unknown };
        let task = context.runtime.tasks.beside_loop(slice.tid).filter(|_| waits);
        if let Some((task, event_loop)) = task.zip(thread.serving_loop()) {
            event_loop.tasks.asks(task, key);
        }
    }
}
