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
    /// The call that failed was a write.
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
    /// The connection was accepted only to be closed, as there was no descriptor left.
    pub turned_away: bool,
    /// What the front end met when it failed to connect to the server behind it.
    pub behind_failed: Option<&'static str>,
    /// The front end's last connection to the server behind it for this client, as in `Origin::identity`; 0:
    /// not known.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::wire::request::{Active, Beginning};
    use crate::machine::world::errno::EAGAIN;

    fn evidence(sign: Sign, bytes: u32) -> ConnectionEvidence {
        ConnectionEvidence {
            sign,
            socket: (1, 0),
            is_waiting: false,
            is_taken: false,
            only_ports: false,
            established_ns: 0,
            unread_bytes: bytes,
            unacknowledged_bytes: bytes + 1,
            local_port: 8000,
            peer_port: 40_000,
            closed_by: 0,
        }
    }

    fn request(method: &str, path: &str, first_write_ns: Option<u64>) -> Request {
        let mut request = Active::new(&Beginning::at(5, 100), 1, 1).request;
        (request.http.method, request.http.path) = (method.to_owned(), path.to_owned());
        (request.times.first_write_ns, request.times.end_ns, request.http.status) =
            (first_write_ns, 300, 201);
        *request
    }

    #[test]
    fn the_first_sign_of_each_kind_counts() {
        for (sign, client_ended_ns, received, sent) in [
            (Sign::ClientEnded, 10, None, None),
            (Sign::ResetReceived, 0, Some((10, 4)), None),
            (Sign::ResetSent, 0, None, Some((10, 3))),
        ] {
            let mut signs = Signs::default();
            signs.take(&evidence(sign, 3), 10);
            signs.take(&evidence(sign, 8), 20);
            let told = (signs.client_ended_ns, signs.reset_received, signs.reset_sent);
            assert_eq!(told, (client_ended_ns, received, sent), "{sign:?}");
        }
    }

    #[test]
    fn only_errors_of_a_client_that_is_gone_are_its_sign() {
        for (what, calls, expected) in [
            ("bytes moved", &[(5, true)][..], None),
            ("nothing more came", &[(0, false)], None),
            ("nothing is there now", &[(EAGAIN, false)], None),
            ("reset", &[(ECONNRESET, false)], Some(("ECONNRESET", false, 10))),
            ("nobody reads", &[(EPIPE, true)], Some(("EPIPE", true, 10))),
            ("no answer from its host", &[(ETIMEDOUT, false)], Some(("ETIMEDOUT", false, 10))),
            ("the first one counts", &[(EPIPE, true), (ECONNRESET, false)], Some(("EPIPE", true, 10))),
            ("what moved before does not", &[(5, false), (EPIPE, true)], Some(("EPIPE", true, 20))),
        ] {
            let mut signs = Signs::default();
            for (at_ns, (result, writing)) in (1..).map(|turn| turn * 10).zip(calls) {
                signs.called(*result, *writing, at_ns);
            }
            let failed = signs.failed.map(|failed| (failed.error, failed.writing, failed.at_ns));
            assert_eq!(failed, expected, "{what}");
        }
    }

    #[test]
    fn the_client_is_gone_since_the_first_of_its_signs() {
        let failed = |at_ns| Some(Failed { at_ns, error: "EPIPE", writing: true });
        for (what, client_ended_ns, reset_received, failed, expected) in [
            ("it is there", 0, None, None, 0),
            ("it ended", 7, None, None, 7),
            ("it reset", 0, Some((8, 0)), None, 8),
            ("a call failed", 0, None, failed(9), 9),
            ("it ended first", 7, Some((8, 0)), failed(9), 7),
            ("it reset first", 9, Some((7, 0)), failed(8), 7),
            ("a call failed first", 9, Some((8, 0)), failed(7), 7),
        ] {
            let signs = Signs { client_ended_ns, reset_received, failed, ..Signs::default() };
            assert_eq!(signs.client_gone_ns(), expected, "{what}");
        }
        let closed_by_server = Signs { reset_sent: Some((5, 1)), shut_ns: 4, ..Signs::default() };
        assert_eq!(closed_by_server.client_gone_ns(), 0, "that was the server");
    }

    #[test]
    fn what_an_interim_head_says_is_not_of_the_response() {
        let head = |interim| ResponseHead {
            status: 200,
            interim,
            closes: true,
            connection_first: true,
            became: None,
        };
        let mut signs = Signs::default();
        signs.responds(head(true));
        assert_eq!(signs.head, (false, false));
        signs.responds(head(false));
        signs.answers(&request("GET", "/", Some(200)));
        assert_eq!(
            signs.answered.map(|answered| (answered.closes, answered.connection_first)),
            Some((true, true))
        );
    }

    #[test]
    fn the_last_answer_is_remembered_with_its_own_names() {
        let mut signs = Signs::default();
        for (method, path, first_write_ns, expected_ns) in [
            ("OPTIONS", "/long/path", Some(200), 200),
            ("GET", "/", None, 300),
            ("", "", Some(200), 200),
            ("POST", "/größe", Some(200), 200),
        ] {
            signs.answers(&request(method, path, first_write_ns));
            let answered = signs.answered.as_ref().unwrap();
            let asked =
                Asked { request: Some(5), method: method.to_owned(), path: path.to_owned(), status: 201 };
            assert_eq!(answered.asked(), asked);
            let times = (answered.start_ns, answered.first_write_ns, answered.end_ns);
            assert_eq!(times, (100, expected_ns, 300), "{method} {path}");
        }
    }
}
