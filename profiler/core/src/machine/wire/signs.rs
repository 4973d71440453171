//! Signs of a connection's end, gathered while it lives.
//!
//! In: failing calls, answers, evidence of the kernel. Out: [`Signs`] of a live connection.

use crate::event::{Connection as Opened, ConnectionEvidence, Sign};
use crate::machine::wire::http1::ResponseHead;
use crate::machine::world::errno::{ECONNRESET, EPIPE, ETIMEDOUT};
use crate::model::dropped::Asked;
use crate::model::request::Request;

/// A call that failed because the client had gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine) struct Failed {
    /// When it returned.
    pub at_ns: u64,
    /// The error's name.
    pub error: &'static str,
    /// It was a write.
    pub writing: bool,
}

/// A response that was written to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::machine) struct Answered {
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
pub(in crate::machine) struct Signs {
    /// Kernel identity of the socket.
    pub socket: (u64, u32),
    /// Local port and the peer's; 0 for UNIX sockets.
    pub ports: (u16, u16),
    /// When the client ended its direction; 0: not before the server did.
    pub client_ended_ns: u64,
    /// The client reset it: when, and how many bytes were on their way to it.
    pub reset_received: Option<(u64, u32)>,
    /// The kernel reset it: when, and how many bytes nobody had read.
    pub reset_sent: Option<(u64, u32)>,
    /// The first call that failed because the client had gone.
    pub failed: Option<Failed>,
    /// When the server ended its direction before it closed the connection; 0: it did not.
    pub shut_ns: u64,
    /// Something was read.
    pub has_read: bool,
    /// Bytes read after the server had ended its direction, with no request under way: thrown away.
    pub discarded_bytes: u64,
    /// It was accepted only to be closed, as there was no descriptor left.
    pub turned_away: bool,
    /// What the front end met when it failed to connect to the server behind it.
    pub behind_failed: Option<&'static str>,
    /// The front end's last connection to the server behind it for this client, as in `Origin::identity`; 0: not known.
    pub behind: u64,
    /// What the head of the response under way said.
    pub head: (bool, bool),
    /// The last response that was written to its end.
    pub answered: Option<Answered>,
}

impl Answered {
    /// What was answered.
    pub(in crate::machine) fn asked(&self) -> Asked {
        let (method, path) = self.names.split_at_checked(self.method_bytes).unwrap_or_default();
        let (method, path) = (method.to_owned(), path.to_owned());
        Asked { request: Some(self.request), method, path, status: self.status }
    }
}

impl Signs {
    /// Signs of a connection that becomes known.
    pub(in crate::machine) fn of(opened: &Opened) -> Self {
        Self { socket: opened.socket, ports: (opened.local_port, opened.peer_port), ..Self::default() }
    }

    /// The kernel reports something.
    pub(in crate::machine) fn take(&mut self, evidence: &ConnectionEvidence, at_ns: u64) {
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
    pub(in crate::machine) fn called(&mut self, result: i64, writing: bool, at_ns: u64) {
        let error = match result {
            ECONNRESET => "ECONNRESET",
            EPIPE => "EPIPE",
            ETIMEDOUT => "ETIMEDOUT",
            _ => return,
        };
        self.failed.get_or_insert(Failed { at_ns, error, writing });
    }

    /// A response's head was written.
    pub(in crate::machine) const fn responds(&mut self, head: ResponseHead) {
        if !head.interim {
            self.head = (head.closes, head.connection_first);
        }
    }

    /// A response was written to its end.
    pub(in crate::machine) fn answers(&mut self, request: &Request) {
        // On a kept connection, the memory of the names before is used again.
        let mut names = self.answered.take().map(|before| before.names).unwrap_or_default();
        names.clear();
        names.reserve_exact(request.http.method.len() + request.http.path.len());
        names.push_str(&request.http.method);
        names.push_str(&request.http.path);
        self.answered = Some(Answered {
            request: request.id,
            status: request.http.status,
            names,
            method_bytes: request.http.method.len(),
            start_ns: request.times.start_ns,
            first_write_ns: request.times.first_write_ns.unwrap_or(request.times.end_ns),
            end_ns: request.times.end_ns,
            closes: self.head.0,
            connection_first: self.head.1,
        });
    }

    /// When the client was first known to be gone; 0: it was not.
    pub(in crate::machine) fn client_gone_ns(&self) -> u64 {
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
