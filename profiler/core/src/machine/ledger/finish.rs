//! Requests leave: their thread serves something else, their response is over, or their connection is gone.
//!
//! In: a thread that leaves its request, ends of responses and of connections. Out: requests that are
//! finished, or left.

use crate::event::Tid;
use crate::machine::join::front;
use crate::machine::ledger::context::{Finished, LedgerContext, LedgerEvent};
use crate::machine::lock::gil_held::Held;
use crate::machine::runtime::candidates::{left, runs_loop};
use crate::machine::runtime::thread::{Lasted, Thread};
use crate::machine::time::capacity::ArrivalWait;
use crate::machine::wire::ending::{Ended, How};
use crate::machine::wire::origin::Side;
use crate::model::lasting::Became;
use crate::phase::{Phase, Phases};

/// A thread leaves the request it serves. A request with an open end is over. Any other continues without an
/// owner, with the thread's time up to `until_ns`.
pub(in crate::machine) fn leave(
    context: &mut LedgerContext<'_>,
    thread: &mut Thread,
    tid: Tid,
    until_ns: u64,
) {
    let Some((number, id)) = thread.serving.take() else { return };
    let runs_loop = runs_loop(context.view(), thread);
    let Some(connection) = context.wire.connections.get_mut(number) else { return };
    let Some(index) = connection.requests.iter().position(|active| active.request.id == id) else { return };
    // A loop may serve other requests between any two pieces of a response, whether it passes them on or
    // makes them itself.
    let is_front = connection.origin.side == Side::Front;
    let passes_on = thread.is_loop() && is_front && !context.join.links.has_all(id);
    // A thread that turns from a stream to something else is done with it.
    let has_open_end =
        connection.outbound.until_turn() || connection.lasting() == Some(Became::Stream) && !runs_loop;
    let open_end = has_open_end && !passes_on;
    let may_continue = open_end && !is_front && connection.outbound.may_have_more() && runs_loop;
    if connection.requests.get(index).is_some_and(|active| active.owner.is_some_and(|owner| owner != tid)) {
        // Another thread has taken it over already.
        thread.signs.hands_over = true;
        return;
    }
    if let Some(active) = connection.requests.get_mut(index)
        && !(active.response.has_begun && open_end && !may_continue)
    {
        let event_loop = thread.event_loop.as_ref();
        active.pauses(open_end, event_loop.map(|known| known.recognition.last_chunks).unwrap_or_default());
        let mut phases = Phases::default();
        let is_own = active.owner == Some(tid);
        if is_own && until_ns > active.cursor_ns {
            let from_ns = active.cursor_ns;
            let mut held = Held::default();
            phases = thread.pending.take_until(until_ns, from_ns, &mut held);
            active.parting = Some((from_ns.saturating_add(phases.total_ns()), phases, held));
            if active.response.has_begun && !open_end {
                active.part();
            }
            let became = active.request.lasting();
            thread.hold_for(context.window_start_ns, (from_ns, &phases), became);
        }
        if is_own && !left(context.view(), thread, (number, id), &phases) {
            context.crowd();
        }
        if let Some(active) = context.wire.connections.get_mut(number).and_then(|c| c.requests.get_mut(index))
        {
            thread.signs.hands_over |= !active.response.has_begun;
            active.owner = None;
            active.left_by = Some(tid);
        }
        return;
    }
    connection.outbound.turn();
    finish_front(context, number);
}

/// The response under way is over if its end is open: the server began something else.
pub(in crate::machine) fn shut(context: &mut LedgerContext<'_>, number: u32) {
    if context.wire.connections.get(number).is_some_and(|connection| connection.outbound.until_turn()) {
        turn(context, number);
    }
}

/// The response under way is over: its client asks for something else, or the server has ended its direction.
pub(in crate::machine) fn turn(context: &mut LedgerContext<'_>, number: u32) {
    let Some(connection) = context.wire.connections.get_mut(number) else { return };
    if connection.requests.front().is_some_and(|active| active.response.has_begun) {
        connection.outbound.turn();
        finish_front(context, number);
    }
}

/// The oldest request of a connection is finished. It ended at the point up to which its time is explained.
pub(in crate::machine) fn finish_front(context: &mut LedgerContext<'_>, number: u32) {
    let Some(connection) = context.wire.connections.get_mut(number) else { return };
    let Some(mut active) = connection.requests.pop_front() else { return };
    if active.response.may_have_ended {
        // The response was not resumed: what its thread did after the last piece was for no request.
        active.parting = None;
    }
    active.part();
    connection.finished = connection.finished.saturating_add(1);
    if let Some(next) = connection.requests.front_mut() {
        next.behind_until_ns = active.cursor_ns;
    }
    active.request.times.end_ns = active.cursor_ns;
    let (listener_inode, peer) = (connection.origin.listener_inode, connection.origin.identity);
    if !active.waited.spans.is_empty() && !active.request.seen.open {
        let spans = active.waited.spans.clone();
        context.time.capacity.waited(ArrivalWait { tgid: connection.tgid, inode: listener_inode, spans });
    }
    if active.response.has_begun {
        connection.signs.answers(&active.request);
    }
    let (side, evidence) = (connection.origin.side, front::evidence(connection, &active));
    if let Some(owner) = active.owner
        && let Some(thread) = context.runtime.threads.get_mut(owner)
        && thread.serving.is_some_and(|(_, id)| id == active.request.id)
    {
        thread.serving = None;
        if let Some(became) = active.request.lasting() {
            let (request, until_ns) = (active.request.id, active.cursor_ns);
            thread.has_lasted(Lasted { became, request, until_ns });
        }
    }
    context.events.push(LedgerEvent::Finished(Finished { side, listener_inode, peer, evidence, active }));
}

/// The window ends at `end_ns`: so does the oldest request of a connection. Unless its response may be over
/// already, it is open. One whose client has reset the connection waits no longer than that, or than a thread
/// worked for it. Returns whether there was one.
pub(in crate::machine) fn end_open(context: &mut LedgerContext<'_>, number: u32, end_ns: u64) -> bool {
    let continues = context.wire.connections.get(number).is_some_and(|connection| {
        connection.requests.front().is_some_and(|active| connection.surely_continues(active))
    });
    let Some(connection) = context.wire.connections.get_mut(number) else { return false };
    let open_end = connection.outbound.until_turn();
    let reset_ns = connection.signs.reset_received.map(|(at_ns, _)| at_ns);
    let Some(active) = connection.requests.front_mut() else { return false };
    let over = active.response.has_begun && open_end && !continues && !active.request.seen.open;
    if !over {
        active.pass(reset_ns.map_or(end_ns, |at_ns| at_ns.min(end_ns)), active.unattended());
        active.request.seen.open = true;
    }
    finish_front(context, number);
    true
}

/// A connection is gone at `at_ns`; what is left on it ends with it.
pub(in crate::machine) fn end_connection(context: &mut LedgerContext<'_>, number: u32, how: How, at_ns: u64) {
    let ended = context
        .wire
        .connections
        .get_mut(number)
        .map(|connection| Box::new(Ended::of(connection, how, at_ns)));
    loop {
        let Some(connection) = context.wire.connections.get_mut(number) else { return };
        let Some(active) = connection.requests.front_mut() else { break };
        if active.request.lasting().is_some() {
            active.pass(at_ns, Phase::Unexplained);
        } else if !active.response.has_begun {
            // The request was read and never answered: nobody can tell whether it waited for a thread or was
            // dropped.
            active.pass(at_ns, Phase::Unexplained);
        }
        finish_front(context, number);
    }
    context.wire.connections.close(number);
    context.events.extend(ended.map(LedgerEvent::Ended));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Connection;
    use crate::machine::ledger::context::TestLedger;
    use crate::machine::wire::request::{Active, Beginning};

    /// A request that began at this moment, and whether its response had begun.
    type Asked = (u64, bool);

    /// A connection, the first, with these requests on it.
    fn ledger(requests: &[Asked]) -> TestLedger {
        let mut ledger = TestLedger::default();
        let number = ledger.wire.connections.open(&Connection::accepted(0), 10);
        assert_eq!(number, Some(0));
        for (id, (start_ns, has_begun)) in (1..).zip(requests.iter().copied()) {
            let beginning = Beginning { connection: 0, ..Beginning::at(id, start_ns) };
            let mut active = Active::new(&beginning, 7, 8);
            active.response.has_begun = has_begun;
            active.pass(start_ns + 50, Phase::Cpu);
            if let Some(connection) = ledger.wire.connections.get_mut(0) {
                connection.requests.push_back(Box::new(active));
            }
        }
        ledger
    }

    #[test]
    fn what_ends_is_told_in_order_with_its_time_up_to_there() {
        type Act = fn(&mut LedgerContext<'_>);
        let closes: Act = |context| end_connection(context, 0, How::Closed, 400);
        let finishes: Act = |context| finish_front(context, 0);
        let shuts: Act = |context| shut(context, 0);
        let cases: &[(&[Asked], Act, &[&str])] = &[
            (&[(100, true)], finishes, &["request 1 until 150: cpu 50"]),
            // The one behind it continues.
            (&[(100, true), (120, false)], finishes, &["request 1 until 150: cpu 50"]),
            (&[], finishes, &[]),
            // An answer of known length is not over because its thread leaves.
            (&[(100, true)], shuts, &[]),
            (&[], closes, &["connection 0 ended at 400"]),
            (&[(100, true)], closes, &["request 1 until 150: cpu 50", "connection 0 ended at 400"]),
            // Read and never answered: why is not known.
            (
                &[(100, true), (120, false)],
                closes,
                &[
                    "request 1 until 150: cpu 50",
                    "request 2 until 400: cpu 50, unexplained 230",
                    "connection 0 ended at 400",
                ],
            ),
        ];
        for (requests, act, expected) in cases {
            let mut ledger = ledger(requests);
            act(&mut ledger.context());
            assert_eq!(ledger.take_events(), *expected, "{requests:?}");
        }
    }

    #[test]
    fn a_request_that_nobody_works_for_ends_with_the_window_or_as_its_client_resets_it() {
        for (reset_ns, expected) in [
            (None, "request 1 until 400: pool_wait 250, cpu 50"),
            (Some(120), "request 1 until 150: cpu 50"),
            (Some(300), "request 1 until 300: pool_wait 150, cpu 50"),
            (Some(500), "request 1 until 400: pool_wait 250, cpu 50"),
        ] {
            let mut ledger = ledger(&[(100, false)]);
            let connection = ledger.wire.connections.get_mut(0).unwrap();
            connection.signs.reset_received = reset_ns.map(|at_ns| (at_ns, 0));
            assert!(end_open(&mut ledger.context(), 0, 400));
            assert_eq!(ledger.take_events(), [expected], "{reset_ns:?}");
        }
    }

    #[test]
    fn a_connection_that_is_not_there_tells_nothing() {
        let mut ledger = TestLedger::default();
        end_connection(&mut ledger.context(), 3, How::ProcessGone, 400);
        finish_front(&mut ledger.context(), 3);
        assert_eq!(ledger.take_events(), Vec::<String>::new());
    }
}
