//! Responses that a loop sends in pieces, where no head gives their length: whether one that it has left in
//! the middle continues.
//!
//! In: writes of last chunks, next requests on the same connections. Out: what is certain of a response of
//! which no more has been written so far.

use crate::machine::runtime::state::RuntimeView;
use crate::machine::runtime::thread::Thread;
use crate::machine::wire::connection::Connection;
use crate::machine::wire::request::LastChunks;

/// The next request on a connection says that the response under way is over.
pub(in crate::machine) fn ended_unseen(view: RuntimeView<'_>, thread: &mut Thread, number: u32) {
    let is_left_open = |connection: &Connection| {
        connection.outbound.may_have_more()
            && !connection.outbound.is_encrypted()
            && connection.requests.front().is_some_and(|front| front.response.may_have_ended)
    };
    if view.wire.connections.get(number).is_some_and(is_left_open)
        && let Some(event_loop) = thread.serving_loop()
    {
        event_loop.recognition.last_chunks = LastChunks::Joined;
    }
}

/// A loop has written to a client: that may have been a last chunk.
pub(in crate::machine) fn note_last_chunk(view: RuntimeView<'_>, thread: &mut Thread, number: u32) {
    if let Some(event_loop) = thread.serving_loop()
        && event_loop.recognition.last_chunks == LastChunks::Unknown
        && view.wire.connections.get(number).is_some_and(|connection| connection.outbound.at_last_chunk())
    {
        event_loop.recognition.last_chunks = LastChunks::Apart;
    }
}
