//! Requests of a loop that run one after the other, each up to its own wakeup of the loop.
//!
//! In: calls of a loop's thread that are on no client's connection. Out: the request whose turn it is has
//! them; after its wakeup the loop has left it.

use crate::event::{Call, Slice};
use crate::machine::ledger::context::LedgerContext;
use crate::machine::ledger::{exchange, finish, turn, unattributed};
use crate::machine::runtime::candidates::may_run;
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::request::RequestKey;
use crate::rule::Rule;

/// The request that makes this call as it is its turn. The thread turns to it, if it does not serve it yet.
///
/// Only within a task: what the loop does between two of them is nobody's.
pub(in crate::machine) fn runs(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
) -> Option<RequestKey> {
    let event_loop = thread.as_loop()?;
    let key = event_loop.in_turn.whose_turn()?;
    if thread.serving == Some(key) && event_loop.in_turn.present() == Some(key) {
        return Some(key);
    }
    if !Rule::UpToOwnWakeup.holds() || !event_loop.defers() {
        return None;
    }
    let tasks = &context.runtime.tasks;
    let Some(task) = tasks.beside_loop(slice.tid) else {
        let is_loop_s = tasks.last(slice.tid).is_some() && thread.serving.is_none();
        if let Some(event_loop) = thread.serving_loop().filter(|_| is_loop_s) {
            event_loop.touched.until_ns = slice.exit_ns;
        }
        return None;
    };
    let is_unanswered = context.wire.connections.active(key).is_some_and(|active| !active.response.has_begun);
    if !is_unanswered || !may_run(context.view(), key) {
        return None;
    }
    thread.serving_loop()?.in_turn.begins(key, task);
    exchange::advance(context, thread, key.0, slice);
    turn::touched(thread, slice.exit_ns, false);
    Some(key)
}

/// The loop's thread wakes its own loop: whoever ran up to here is done, and is answered later.
pub(in crate::machine) fn wakes(context: &mut LedgerContext<'_>, thread: &mut Thread, slice: &Slice) {
    if !matches!(slice.call, Call::Write { .. }) || slice.result <= 0 {
        return;
    }
    let task = context.runtime.tasks.beside_loop(slice.tid);
    let serving = thread.serving;
    let Some(event_loop) = thread.serving_loop() else { return };
    let is_in_turn = serving.is_some() && event_loop.in_turn.present() == serving;
    event_loop.in_turn.wakes(task);
    if is_in_turn {
        event_loop.touched.until_ns = slice.exit_ns;
        unattributed::leave(thread, slice.exit_ns, context.window_start_ns);
        finish::leave(context, thread, slice.tid, slice.exit_ns);
    }
}
