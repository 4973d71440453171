//! What the kernel says of connections beside calls.
//!
//! In: a sign, the socket, what is particular. Out: an event.

use super::*;
use crate::event::{ConnectionEvidence, Evidence, Sign};

/// Evidence of a connection of port 8000 that is in no queue; `particular` says what else is so.
pub(super) fn connection_evidence(
    sign: Sign,
    socket: (u64, u32),
    time_ns: u64,
    particular: impl FnOnce(&mut ConnectionEvidence),
) -> Event {
    let mut evidence = ConnectionEvidence {
        sign,
        socket,
        is_waiting: false,
        is_taken: false,
        only_ports: false,
        established_ns: 0,
        unread_bytes: 0,
        unacknowledged_bytes: 0,
        local_port: 8000,
        peer_port: 1,
        closed_by: 0,
    };
    particular(&mut evidence);
    Event { time_ns, body: Body::Evidence(Box::new(Evidence::Connection(evidence))) }
}
