//! Connections that become something else: another protocol, or a stream of events.
//!
//! In: the head of a response that says so, bytes on such a connection. Out: the request, which is over with
//! that head; from there on the connection keeps its thread under the same number, until it ends.

use crate::event::Tid;
use crate::machine::ledger::context::{LedgerContext, LedgerEvent};
use crate::machine::ledger::finish;
use crate::machine::wire::connection::Connection;
use crate::machine::wire::origin::Side;
use crate::machine::wire::request::{Active, Beginning};
use crate::model::lasting::Became;
use crate::model::request::Http;

/// The head of the oldest request's response says what the connection becomes. Returns the number under which
/// it lasts.
pub(in crate::machine) fn begin(context: &mut LedgerContext<'_>, number: u32, became: Became) -> Option<u64> {
    let side = context.wire.connections.get(number)?.origin.side;
    if side != Side::Whole {
        // It is one half of a request, and stays that.
        let front = context.wire.connections.front_mut(number)?;
        (front.request.http.became, front.request.seen.lasts) = (Some(became), true);
        return Some(front.request.id);
    }
    // What follows belongs to the number that is known everywhere; what is over gets another.
    let id_of_request = context.wire.next_request(side);
    let connection = context.wire.connections.get_mut(number)?;
    let outbound = connection.outbound.clone();
    let front = connection.requests.front_mut()?;
    front.request.http.became = Some(became);
    let lasting = lasting(front);
    let id = std::mem::replace(&mut front.request.id, id_of_request);
    context.events.push(LedgerEvent::Lasts(lasting.request.clone()));
    finish::finish_front(context, number);
    let connection = context.wire.connections.get_mut(number)?;
    connection.outbound = outbound;
    connection.requests.push_front(Box::new(lasting));
    Some(id)
}

/// What goes on under the number of a request, from where its time is explained on.
fn lasting(front: &Active) -> Active {
    let Active { request, cursor_ns, .. } = front;
    let beginning = Beginning {
        id: request.id,
        connection: request.connection,
        index: request.index_on_connection,
        start_ns: *cursor_ns,
        start_is_arrival: false,
        accepted_ns: None,
        truncated: false,
        dispatched_ns: 0,
    };
    let mut lasting = Active::new(&beginning, request.tgid, request.tid);
    lasting.request.http = Http { bytes_in: 0, bytes_out: 0, ..request.http.clone() };
    (lasting.request.seen.lasts, lasting.request.slot) = (true, request.slot);
    lasting.request.times.first_write_ns = Some(*cursor_ns);
    (lasting.owner, lasting.response) = (front.owner, front.response);
    (lasting.task, lasting.on_loop, lasting.pooled) = (front.task, front.on_loop, front.pooled);
    (lasting.handed_to, lasting.wants) = (front.handed_to, front.wants);
    lasting
}

/// Bytes came on a connection. Returns whether they are for another thread, which serves what the connection
/// has become.
pub(in crate::machine) fn receives(connection: &mut Connection, tid: Tid, bytes: u64) -> bool {
    if let Some(front) = connection.requests.front_mut().filter(|front| front.request.lasting().is_some()) {
        front.request.http.bytes_in = front.request.http.bytes_in.saturating_add(bytes);
    }
    connection.lasts_for_another(tid) && connection.lasting() == Some(Became::Upgraded)
}

/// Bytes were sent on a connection. Returns whether that was by another thread than the one that serves what
/// the connection has become.
pub(in crate::machine) fn sends(connection: &mut Connection, tid: Tid, bytes: u64) -> bool {
    let is_another = connection.lasts_for_another(tid) && connection.lasting() == Some(Became::Upgraded);
    if is_another && let Some(front) = connection.requests.front_mut() {
        front.request.http.bytes_out = front.request.http.bytes_out.saturating_add(bytes);
    }
    is_another
}
