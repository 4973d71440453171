//! What is known about the end of one connection: signs gathered while it lives, and how it ended.
//!
//! In: failing calls, answers, evidence of the kernel. Out: [`Signs`] of a live connection, [`Ended`] of one that is gone:
//! all that a verdict needs.

use crate::event::{Connection as Opened, ConnectionEvidence, Sign, Tid};
use crate::machine::connection::{Connection, Side};
use crate::machine::http1::ResponseHead;
use crate::machine::request::Active;
use crate::machine::turn;
use crate::model::dropped::Asked;
use crate::model::request::Request;

/// `ECONNRESET`, include/uapi/asm-generic/errno.h.
const ECONNRESET: i64 = -104;
/// `ETIMEDOUT`, in the same file: the client no longer acknowledges anything.
const ETIMEDOUT: i64 = -110;
/// `EPIPE`, include/uapi/asm-generic/errno-base.h.
const EPIPE: i64 = -32;

/// A call that failed because the client had gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// When it returned.
    pub at_ns: u64,
    /// The error's name.
    pub error: &'static str,
    /// It was a write.
    pub writing: bool,
}

/// A response that was written to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// Number of the request.
    pub request: u64,
    /// Status of the response.
    pub status: u16,
    /// Its method and its path, in one piece of memory: tens of thousands are kept for a second.
    names: String,
    method_bytes: usize,
    /// When the request began.
    pub start_ns: u64,
    /// Exit of the first write.
    pub first_write_ns: u64,
    /// Exit of the last write.
    pub end_ns: u64,
    /// What its head said of the connection.
    pub closes: bool,
    /// See [`ResponseHead::connection_first`].
    pub connection_first: bool,
}

/// Signs of a connection's end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signs {
    /// Kernel identity of the socket.
    pub socket: (u64, u32),
    /// Local port and the peer's; 0 for UNIX sockets.
    pub ports: (u16, u16),
    /// The client ended its direction; 0: it did not, before the server.
    pub client_ended_ns: u64,
    /// The client reset it: when, and how many bytes were on their way to it.
    pub reset_received: Option<(u64, u32)>,
    /// The kernel reset it: when, and how many bytes nobody had read.
    pub reset_sent: Option<(u64, u32)>,
    /// The first call that failed because the client had gone.
    pub failed: Option<Failed>,
    /// Something was read.
    pub has_read: bool,
    /// Bytes read after the server had ended its direction, with no request under way: thrown away.
    pub discarded_bytes: u64,
    /// It was accepted only to be closed, as there was no descriptor left.
    pub turned_away: bool,
    /// What the front end met as it connected to the server behind it, where it failed.
    pub behind_failed: Option<&'static str>,
    /// The front end's last connection to the server behind it for this client, as in [`Ended::identity`]; 0: not known.
    pub behind: u64,
    /// What the head of the response under way said.
    pub head: (bool, bool),
    /// The last response that was written to its end.
    pub answered: Option<Answered>,
}

impl Answered {
    /// What was answered.
    pub(super) fn asked(&self) -> Asked {
        let (method, path) = self.names.split_at_checked(self.method_bytes).unwrap_or_default();
        let (method, path) = (method.to_owned(), path.to_owned());
        Asked { request: Some(self.request), method, path, status: self.status }
    }
}

impl Signs {
    /// Signs of a connection that becomes known.
    pub(super) fn of(opened: &Opened) -> Self {
        Self { socket: opened.socket, ports: (opened.local_port, opened.peer_port), ..Self::default() }
    }

    /// The kernel tells something.
    pub(super) fn take(&mut self, evidence: &ConnectionEvidence, at_ns: u64) {
        match evidence.sign {
            Sign::ClientEnded if self.client_ended_ns == 0 => self.client_ended_ns = at_ns,
            Sign::ResetReceived => {
                self.reset_received.get_or_insert((at_ns, evidence.unacknowledged_bytes));
            }
            Sign::ResetSent => {
                self.reset_sent.get_or_insert((at_ns, evidence.unread_bytes));
            }
            Sign::ClientEnded => {}
        }
    }

    /// A read or write on it returned `result`.
    pub(super) fn called(&mut self, result: i64, writing: bool, at_ns: u64) {
        let error = match result {
            ECONNRESET => "ECONNRESET",
            EPIPE => "EPIPE",
            ETIMEDOUT => "ETIMEDOUT",
            _ => return,
        };
        self.failed.get_or_insert(Failed { at_ns, error, writing });
    }

    /// A response's head was written.
    pub(super) const fn responds(&mut self, head: ResponseHead) {
        if !head.interim {
            self.head = (head.closes, head.connection_first);
        }
    }

    /// A response was written to its end.
    pub(super) fn answers(&mut self, request: &Request) {
        // On a connection that is kept, the memory of the names before.
        let mut names = self.answered.take().map(|before| before.names).unwrap_or_default();
        names.clear();
        names.reserve_exact(request.method.len() + request.path.len());
        names.push_str(&request.method);
        names.push_str(&request.path);
        self.answered = Some(Answered {
            request: request.id,
            status: request.status,
            names,
            method_bytes: request.method.len(),
            start_ns: request.start_ns,
            first_write_ns: request.first_write_ns.unwrap_or(request.end_ns),
            end_ns: request.end_ns,
            closes: self.head.0,
            connection_first: self.head.1,
        });
    }

    /// When the client was first known to be gone; 0: it was not.
    pub(super) fn client_gone_ns(&self) -> u64 {
        [
            self.client_ended_ns,
            self.reset_received.map_or(0, |(at_ns, _)| at_ns),
            self.failed.map_or(0, |failed| failed.at_ns),
        ]
        .into_iter()
        .filter(|at_ns| *at_ns > 0)
        .min()
        .unwrap_or(0)
    }
}

/// How a connection ended on the server's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// A thread closed it.
    Closed,
    /// Its process ended.
    ProcessGone,
}

/// A request that was not answered to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfinished {
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
pub(super) struct Ended {
    /// When the server's side ended.
    pub at_ns: u64,
    /// How.
    pub how: How,
    /// Dense number.
    pub id: u64,
    /// Process.
    pub tgid: Tid,
    /// What stood at its ends.
    pub side: Side,
    /// It was a UNIX socket.
    pub is_unix: bool,
    /// What tells it from others at its other end, as in `Call::Connect`; 0: not known.
    pub identity: u64,
    /// When accept returned it; 0: before we attached.
    pub accepted_ns: u64,
    /// End of its handshake; 0: not seen.
    pub established_ns: u64,
    /// A request was being read.
    pub in_request: bool,
    /// The server does the TLS itself: an alert of the client's looks like a request.
    pub is_encrypted: bool,
    /// The request at hand.
    pub unfinished: Option<Box<Unfinished>>,
    /// Everything else.
    pub signs: Signs,
}

impl Ended {
    /// The connection as it stands when it ends, before its requests are let go.
    pub(super) fn of(connection: &mut Connection, how: How, at_ns: u64) -> Self {
        let open_end = connection.outbound.until_turn();
        let is_cut = turn::lacks_its_end(connection);
        let count = connection.requests.len();
        // A response whose end nobody announced is over where the connection is, unless its process died in it. Of one that is encrypted
        // nobody can tell.
        let is_whole = how == How::Closed && !is_cut || connection.outbound.is_encrypted();
        let over = |active: &&Active| active.responding && open_end && is_whole;
        let front = connection.requests.front();
        let mut signs = std::mem::take(&mut connection.signs);
        if let Some(active) = front.filter(over) {
            signs.answers(&active.request);
        }
        let unfinished = front.filter(|active| !over(active) || count > 1).map(|active| {
            let active = if over(&active) { connection.requests.get(1).unwrap_or(active) } else { active };
            Box::new(Unfinished {
                asked: asked(&active.request),
                start_ns: active.request.start_ns,
                responding: active.responding,
                first_write_ns: active.request.first_write_ns.unwrap_or(0),
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
            side: connection.side,
            is_unix: connection.is_unix,
            identity: connection.identity,
            accepted_ns: connection.accepted_ns.unwrap_or(0),
            established_ns: connection.established_ns,
            in_request: connection.inbound.in_message(),
            is_encrypted: connection.inbound.is_encrypted(),
            unfinished,
            signs,
        }
    }

    /// Since when the client waited: for its last request, or else since its connection was made; 0: not known.
    pub(super) fn waits_since_ns(&self) -> u64 {
        let request_ns = self.unfinished.as_ref().map(|request| request.start_ns);
        let made_ns = if self.established_ns > 0 { self.established_ns } else { self.accepted_ns };
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
    pub(super) fn asked(&self) -> Option<Asked> {
        let unfinished = self.unfinished.as_ref().map(|request| request.asked.clone());
        unfinished.or_else(|| self.signs.answered.as_ref().map(Answered::asked))
    }
}

/// What a request asked for.
pub(super) fn asked(request: &Request) -> Asked {
    Asked {
        request: Some(request.id),
        method: request.method.clone(),
        path: request.path.clone(),
        status: request.status,
    }
}
