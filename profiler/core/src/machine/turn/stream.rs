//! Responses that a loop sends in pieces, of no length that their head says: whether one that it has left in the middle goes on.
//!
//! In: writes of last chunks, next requests on the same connections. Out: what is sure of a response of which no more was written so far.

use crate::machine::connection::Connection;
use crate::machine::request::{Active, LastChunks};
use crate::machine::state::State;
use crate::machine::thread::Thread;

/// The next request on a connection says that the response under way is over.
pub(in crate::machine) fn ended_unseen(state: &State, thread: &mut Thread, number: u32) {
    let goes_on = |connection: &Connection| {
        connection.outbound.may_go_on()
            && !connection.outbound.is_encrypted()
            && connection.requests.front().is_some_and(|front| front.may_have_ended)
    };
    if state.connections.get(number).is_some_and(goes_on)
        && let Some(event_loop) = thread.serving_loop()
    {
        event_loop.last_chunks = LastChunks::Joined;
    }
}

/// A loop has written to a client: that may have been a last chunk.
pub(in crate::machine) fn note_last_chunk(state: &State, thread: &mut Thread, number: u32) {
    if let Some(event_loop) = thread.serving_loop()
        && event_loop.last_chunks == LastChunks::Unknown
        && state.connections.get(number).is_some_and(|connection| connection.outbound.at_last_chunk())
    {
        event_loop.last_chunks = LastChunks::Apart;
    }
}

/// Whether a response that a loop has left in the middle goes on, beyond doubt: it ends with its connection; or it is sent in chunks, did go on after
/// a pause, and the loop was never seen to write a last chunk that cannot be told.
pub(in crate::machine) fn surely_goes_on(connection: &Connection, active: &Active) -> bool {
    let outbound = &connection.outbound;
    let is_told = || outbound.may_go_on() && active.has_gone_on && active.last_chunks != LastChunks::Joined;
    active.may_have_ended && !outbound.is_encrypted() && (outbound.ends_with_connection() || is_told())
}

/// Whether a response in chunks that a loop has left in the middle lacks its end, as the loop writes last chunks by themselves.
pub(in crate::machine) fn lacks_its_end(connection: &Connection) -> bool {
    let outbound = &connection.outbound;
    let is_told = |active: &Active| active.may_have_ended && active.last_chunks == LastChunks::Apart;
    outbound.may_go_on()
        && !outbound.ends_with_connection()
        && !outbound.is_encrypted()
        && connection.requests.front().is_some_and(is_told)
}
