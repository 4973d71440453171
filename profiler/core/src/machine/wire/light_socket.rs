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
