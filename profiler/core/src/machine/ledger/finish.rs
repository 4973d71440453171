//! Requests leave: their thread turns to something else, their response is over, their connection is gone.
//!
//! In: a thread that turns away, ends of responses and of connections. Out: requests that are finished, or left.

use crate::event::Tid;
use crate::machine::driver::state::State;
use crate::machine::join::front;
use crate::machine::ledger::gil_party;
use crate::machine::lock::gil_held::Held;
use crate::machine::runtime::candidates::{left, runs_loop};
use crate::machine::runtime::thread::Thread;
use crate::machine::time::capacity::Wait;
use crate::machine::wire::connection::Side;
use crate::machine::wire::ending::{Ended, How};
use crate::phase::{Phase, Phases};
use crate::timeline::Entry;

/// A thread leaves the request it serves: one with an open end is over, any other goes on without an owner, with the
/// thread's time up to `until_ns`.
pub(in crate::machine) fn leave(
    state: &mut State,
    thread: &mut Thread,
    tid: Tid,
    until_ns: u64,
    sink: &mut dyn FnMut(Entry),
) {
    let Some((number, id)) = thread.serving.take() else { return };
    let runs_loop = runs_loop(state.view(), thread);
    let Some(connection) = state.wire.connections.get_mut(number) else { return };
    let Some(place) = connection.requests.iter().position(|active| active.request.id == id) else { return };
    // A loop turns to others between any two pieces of a response, which it passes on or makes itself.
    let is_front = connection.side == Side::Front;
    let passes_on = thread.is_loop() && is_front && !state.join.links.has_all(id);
    let open_end = connection.outbound.until_turn() && !passes_on;
    let may_go_on = open_end && !is_front && connection.outbound.may_go_on() && runs_loop;
    if connection.requests.get(place).is_some_and(|active| active.owner.is_some_and(|owner| owner != tid)) {
        // Another thread has taken it over already.
        thread.signs.hands_over = true;
        return;
    }
    if let Some(active) = connection.requests.get_mut(place)
        && !(active.responding && open_end && !may_go_on)
    {
        let event_loop = thread.event_loop.as_ref();
        active.pauses(open_end, event_loop.map(|known| known.last_chunks).unwrap_or_default());
        let mut phases = Phases::default();
        let is_own = active.owner == Some(tid);
        if is_own && until_ns > active.cursor_ns {
            let from_ns = active.cursor_ns;
            let mut held = Held::default();
            phases = thread.pending.take_until(until_ns, from_ns, &mut held);
            active.parting = Some((from_ns.saturating_add(phases.total_ns()), phases, held));
            if active.responding && !open_end {
                active.part();
            }
            state.hold_for_request(thread, from_ns, &phases);
        }
        if is_own {
            left(state.view(), thread, (number, id), &phases);
        }
        if let Some(active) = state.wire.connections.get_mut(number).and_then(|c| c.requests.get_mut(place)) {
            thread.signs.hands_over |= !active.responding;
            active.owner = None;
            active.left_by = Some(tid);
        }
        return;
    }
    connection.outbound.turn();
    finish_front(state, number, sink);
}

/// The response under way, if its end is open, is over: the server turned to something else.
pub(in crate::machine) fn shut(state: &mut State, number: u32, sink: &mut dyn FnMut(Entry)) {
    let Some(connection) = state.wire.connections.get_mut(number) else { return };
    if connection.outbound.until_turn() && connection.requests.front().is_some_and(|active| active.responding)
    {
        connection.outbound.turn();
        finish_front(state, number, sink);
    }
}

/// The oldest request of a connection is finished: it ended where its time is explained to.
pub(in crate::machine) fn finish_front(state: &mut State, number: u32, sink: &mut dyn FnMut(Entry)) {
    let Some(connection) = state.wire.connections.get_mut(number) else { return };
    let Some(mut active) = connection.requests.pop_front() else { return };
    if active.may_have_ended {
        // It did not go on: what its thread did after the last piece was for nobody.
        active.parting = None;
    }
    active.part();
    connection.finished = connection.finished.saturating_add(1);
    if let Some(next) = connection.requests.front_mut() {
        next.behind_until_ns = active.cursor_ns;
    }
    active.request.end_ns = active.cursor_ns;
    if !active.waited.is_empty() && !active.request.open {
        let (tgid, inode) = (connection.tgid, connection.listener_inode);
        state.time.capacity.waited(Wait { tgid, inode, spans: std::mem::take(&mut active.waited) });
    }
    if active.responding {
        connection.signs.answers(&active.request);
    }
    active.request.gil_holders = gil_party::holders(state, &active.held);
    active.request.gil_waits = gil_party::waits(state, &active.held);
    let request = &mut active.request;
    if let Some(owner) = active.owner
        && let Some(thread) = state.runtime.threads.get_mut(owner)
        && thread.serving.is_some_and(|(_, id)| id == request.id)
    {
        thread.serving = None;
    }
    // The front end's half of it may be over by that.
    if let Some(before) = front::finished(state, number, active, sink) {
        shut(state, before, sink);
    }
}

/// A connection is gone at `at_ns`; what is left on it ends with it.
pub(in crate::machine) fn end_connection(
    state: &mut State,
    number: u32,
    how: How,
    at_ns: u64,
    sink: &mut dyn FnMut(Entry),
) {
    let ended =
        state.wire.connections.get_mut(number).map(|connection| Box::new(Ended::of(connection, how, at_ns)));
    loop {
        let Some(connection) = state.wire.connections.get_mut(number) else { return };
        let Some(active) = connection.requests.front_mut() else { break };
        if !active.responding {
            // Read and never answered: whether it waited for a thread or was dropped, nobody can tell.
            active.pass(at_ns, Phase::Unexplained);
        }
        finish_front(state, number, sink);
    }
    if let Some(id) = state.wire.connections.close(number) {
        state.join.links.connection_gone(id);
    }
    if let Some(ended) = ended {
        state.product.drops.ended(ended, sink);
    }
}
