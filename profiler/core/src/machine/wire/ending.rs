//! How one connection ended.
//!
//! In: a connection as it stands when it ends, with its [`Signs`]. Out: [`Ended`], all that a verdict needs.

use crate::event::Tid;
use crate::machine::wire::connection::Connection;
use crate::machine::wire::origin::Origin;
use crate::machine::wire::request::Active;
use crate::machine::wire::signs::{Answered, Signs};
use crate::model::dropped::Asked;
use crate::model::request::Request;

/// How a connection ended on the server's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine) enum How {
    /// A thread closed it.
    Closed,
    /// Its process ended.
    ProcessGone,
}

/// A request that was not answered to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::machine) struct Unfinished {
    /// The request.
    pub asked: Asked,
    /// When it began.
    pub start_ns: u64,
    /// Its response had begun.
    pub responding: bool,
    /// Exit of the first write.
    pub first_write_ns: u64,
    /// Bytes of the response that never came; `None`: it is not known how many, or even whether.
    pub owed_bytes: Option<u64>,
    /// The head of the response was not whole.
    pub in_head: bool,
    /// Its response is sent in chunks, and the last of them never came.
    pub is_cut: bool,
    /// Requests on the connection that were read and not finished.
    pub count: usize,
}

/// A connection that is gone.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Ended {
    /// When the server's side ended.
    pub at_ns: u64,
    /// How.
    pub how: How,
    /// Dense number.
    pub id: u64,
    /// Process.
    pub tgid: Tid,
    /// How it came about.
    pub origin: Origin,
    /// A request was being read.
    pub in_request: bool,
    /// The server does the TLS itself: an alert of the client's looks like a request.
    pub is_encrypted: bool,
    /// Most bytes that its client's TLS sends without a request; `None`: it does none, or that is not known.
    pub quiet_bytes: Option<u32>,
    /// The request at hand.
    pub unfinished: Option<Box<Unfinished>>,
    /// Everything else.
    pub signs: Signs,
}

impl Ended {
    /// The connection as it stands when it ends, before its requests are let go.
    pub(in crate::machine) fn of(connection: &mut Connection, how: How, at_ns: u64) -> Self {
        let open_end = connection.outbound.until_turn();
        let is_cut = connection.lacks_its_end();
        let count = connection.requests.len();
        // A response whose end nobody announced is over with its connection, unless its process died in it. An encrypted one counts as over: nobody can
        // know.
        let is_whole = how == How::Closed && !is_cut || connection.outbound.is_encrypted();
        let over = |active: &&Active| active.response.has_begun && open_end && is_whole;
        let front = connection.requests.front().map(Box::as_ref);
        let mut signs = std::mem::take(&mut connection.signs);
        if let Some(active) = front.filter(over) {
            signs.answers(&active.request);
        }
        let unfinished = front.filter(|active| !over(active) || count > 1).map(|active| {
            let active =
                if over(&active) { connection.requests.get(1).map_or(active, Box::as_ref) } else { active };
            Box::new(Unfinished {
                asked: asked(&active.request),
                start_ns: active.request.times.start_ns,
                responding: active.response.has_begun,
                first_write_ns: active.request.times.first_write_ns.unwrap_or(0),
                owed_bytes: connection.outbound.owed_bytes(),
                in_head: connection.outbound.in_head(),
                is_cut,
                count,
            })
        });
        Self {
            at_ns,
            how,
            id: connection.id,
            tgid: connection.tgid,
            origin: connection.origin,
            in_request: connection.inbound.in_message(),
            is_encrypted: connection.inbound.is_encrypted(),
            quiet_bytes: connection.inbound.quiet_bytes(),
            unfinished,
            signs,
        }
    }

    /// Since when the client waited: for its last request, or else since its connection was made; 0: not known.
    pub(in crate::machine) fn waits_since_ns(&self) -> u64 {
        let request_ns = self.unfinished.as_ref().map(|request| request.start_ns);
        let made_ns = if self.origin.established_ns > 0 {
            self.origin.established_ns
        } else {
            self.origin.accepted_or_zero_ns()
        };
        let answered_ns = self.signs.answered.as_ref().map(|answered| answered.start_ns);
        match (request_ns, answered_ns) {
            // The first request of a connection waited in the accept queue as well.
            (Some(request_ns), None) if made_ns > 0 => made_ns.min(request_ns),
            (Some(request_ns), _) => request_ns,
            (None, Some(answered_ns)) => answered_ns,
            (None, None) => made_ns,
        }
    }

    /// The request at hand: the unfinished one, else the last that was answered.
    pub(in crate::machine) fn asked(&self) -> Option<Asked> {
        let unfinished = self.unfinished.as_ref().map(|request| request.asked.clone());
        unfinished.or_else(|| self.signs.answered.as_ref().map(Answered::asked))
    }
}

/// What a request asked for.
pub(in crate::machine) fn asked(request: &Request) -> Asked {
    Asked {
        request: Some(request.id),
        method: request.http.method.clone(),
        path: request.http.path.clone(),
        status: request.http.status,
    }
}
