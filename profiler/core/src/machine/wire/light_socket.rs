//! The open connections of light mode, each with its request.
//!
//! In: what `light` learns of them. Out: a table that it bounds.

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::machine::wire::http1::Inbound;
use crate::model::request::Request;
use crate::tls;

/// The open connections of light mode.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    pub(in crate::machine) open: FxHashMap<u64, Socket>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Socket {
    pub(in crate::machine) generation: u32,
    /// Dense number of the connection.
    pub(in crate::machine) connection: u64,
    pub(in crate::machine) begun: u32,
    /// What its client sends, where the server does the TLS itself.
    pub(in crate::machine) encrypted: Option<Box<Inbound>>,
    pub(in crate::machine) active: Option<Active>,
}

/// A request that is not known to be over.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Active {
    pub(in crate::machine) request: Request,
    /// Up to here its phases add up.
    pub(in crate::machine) covered_ns: u64,
    /// Bytes of its response were sent.
    pub(in crate::machine) is_responding: bool,
    /// The thread that moved its last bytes.
    pub(in crate::machine) owner: Tid,
}

/// What received bytes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine) enum For {
    /// No request: a handshake, an alert.
    Nothing,
    /// A request.
    Request,
    /// A request after bytes of no request: when the request itself arrived is not known.
    RequestBehind,
}

impl Socket {
    /// A connection of which nothing came yet.
    pub(in crate::machine) const fn new(generation: u32, connection: u64) -> Self {
        Self { generation, connection, begun: 0, encrypted: None, active: None }
    }

    /// Its request has an answer.
    fn is_answered(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.is_responding)
    }

    /// `bytes` were received, the first of them captured where they begin with a record of TLS. Says what
    /// they are for.
    pub(in crate::machine) fn receives(&mut self, bytes: u64, captured: &[u8]) -> For {
        /// Type of a record of the handshake, with which each connection begins.
        const HANDSHAKE: u8 = 22;
        let after_response = self.active.is_none() || self.is_answered();
        if self.encrypted.is_none() {
            if !tls::begins(captured) {
                return For::Request;
            }
            let is_first = captured.first() == Some(&HANDSHAKE);
            let inbound = if is_first { Inbound::default() } else { Inbound::uncertain() };
            self.encrypted = Some(Box::new(inbound));
        }
        let Some(inbound) = &mut self.encrypted else { return For::Request };
        let steps = inbound.push(bytes, captured, after_response);
        match steps.iter().position(|step| !step.outside) {
            None => For::Nothing,
            Some(0) => For::Request,
            Some(_) => For::RequestBehind,
        }
    }

    /// `bytes` were sent. `same_turn`: by a thread that has not slept since it moved something before. Says whether they are of TLS alone: a handshake,
    /// tickets, a farewell.
    pub(in crate::machine) fn sends_no_answer(&mut self, bytes: u64, same_turn: bool) -> bool {
        let answered = self.is_answered();
        let is_open = self.active.is_some();
        self.encrypted
            .as_mut()
            .is_some_and(|inbound| inbound.is_no_answer(bytes, answered, same_turn) || !is_open)
    }
}

impl Sockets {
    /// Connections that are open now.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.open.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::wire::request::{Active as Begun, Beginning};

    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    const DATA: u8 = 23;

    /// Records as redaction leaves them: type, and bytes behind the header.
    fn records(list: &[(u8, u8)]) -> Vec<u8> {
        let record = |(kind, payload_bytes): &(u8, u8)| {
            let mut bytes = vec![*kind, 3, 3, 0, *payload_bytes];
            bytes.resize(5 + usize::from(*payload_bytes), crate::redact::FILLER);
            bytes
        };
        list.iter().flat_map(record).collect()
    }

    fn receives(socket: &mut Socket, list: &[(u8, u8)]) -> For {
        let bytes = records(list);
        socket.receives(bytes.len() as u64, &bytes)
    }

    fn active(is_responding: bool) -> Active {
        let request = Begun::new(&Beginning::at(1, 100), 1, 1).request;
        Active { request: *request, covered_ns: 100, is_responding, owner: 1 }
    }

    #[test]
    fn what_is_received_is_for_a_request_unless_it_is_of_tls_alone() {
        for (what, list, expected) in [
            ("the handshake of a new connection", &[(HANDSHAKE, 200)][..], For::Nothing),
            ("data of a connection that was there", &[(DATA, 100)], For::Request),
            ("a farewell there", &[(ALERT, 19)], For::Nothing),
            ("data behind an alert", &[(ALERT, 19), (DATA, 100)], For::RequestBehind),
            ("an alert behind data", &[(DATA, 100), (ALERT, 19)], For::Request),
        ] {
            assert_eq!(receives(&mut Socket::new(0, 1), list), expected, "{what}");
        }
        let mut plain = Socket::new(0, 1);
        assert_eq!(plain.receives(20, b"GET / HTTP/1.1\r\n\r\n"), For::Request);
        assert_eq!(plain.receives(500, b""), For::Request, "a body, of which nothing is captured");
        assert!(plain.encrypted.is_none());
    }

    #[test]
    fn a_connection_stays_encrypted_once_it_is() {
        let mut socket = Socket::new(0, 1);
        assert_eq!(receives(&mut socket, &[(HANDSHAKE, 200)]), For::Nothing);
        // Up to TLS 1.2: the change of ciphers, and the client's Finished behind it.
        assert_eq!(receives(&mut socket, &[(20, 1), (HANDSHAKE, 40)]), For::Nothing);
        assert_eq!(receives(&mut socket, &[(DATA, 100)]), For::Request);
    }

    #[test]
    fn what_is_sent_is_an_answer_unless_it_is_of_tls_alone() {
        for (what, active, bytes, same_turn, expected) in [
            ("nothing was asked", None, 1_000, false, true),
            ("a response", Some(active(false)), 1_000, true, false),
            ("100 Continue", Some(active(false)), 47, true, true),
            ("more of the response", Some(active(true)), 1_000, false, false),
            ("a farewell after a pause", Some(active(true)), 24, false, true),
            ("as short a piece at once", Some(active(true)), 24, true, false),
        ] {
            let mut socket = Socket::new(0, 1);
            receives(&mut socket, &[(DATA, 100)]);
            socket.active = active;
            assert_eq!(socket.sends_no_answer(bytes, same_turn), expected, "{what}");
        }
        assert!(!Socket::new(0, 1).sends_no_answer(24, false), "without TLS all bytes are an answer");
    }
}
