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
        // A response whose end nobody announced is over with its connection, unless its process died in it.
        // An encrypted one counts as over: nobody can know.
        let is_whole = how == How::Closed && !is_cut || connection.outbound.is_encrypted();
        let over = |active: &&Active| {
            let has_open_end = open_end || active.request.lasting().is_some();
            active.response.has_begun && has_open_end && is_whole
        };
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

    /// Since when the client waited: for its last request, or else since its connection was made; 0: not
    /// known.
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

#[cfg(test)]
impl Ended {
    /// For tests: a connection made at 10, accepted at 20 and closed by its thread. Something was read, but
    /// no whole head.
    pub(in crate::machine) fn in_head(id: u64, at_ns: u64) -> Self {
        Self {
            at_ns,
            how: How::Closed,
            id,
            tgid: 7,
            origin: Origin { accepted_ns: Some(20), established_ns: 10, ..Origin::default() },
            in_request: false,
            is_encrypted: false,
            quiet_bytes: None,
            unfinished: None,
            signs: Signs { has_read: true, ..Signs::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Connection as Opened;
    use crate::machine::wire::connection::Connections;
    use crate::machine::wire::request::{Beginning, LastChunks};

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\n";
    const SIZED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";

    /// A connection with two requests, the first of which a loop has left in the middle of its response: what
    /// was written of it, head and further bytes.
    fn connection(written: Option<(&str, u64)>) -> Connection {
        let mut connections = Connections::default();
        let number = connections.open(&Opened::accepted(5), 10).unwrap();
        let connection = connections.get_mut(number).unwrap();
        for id in [1, 2] {
            connection.requests.push_back(Box::new(Active::new(&Beginning::at(id, id * 100), 1, 1)));
        }
        if let Some((head, bytes)) = written {
            let response = &mut connection.requests[0].response;
            (response.has_begun, response.may_have_ended) = (true, true);
            response.last_chunks = LastChunks::Apart;
            connection.requests[0].request.times.first_write_ns = Some(150);
            connection.outbound.push(head.len() as u64, head.as_bytes(), true, false);
            connection.outbound.push(bytes, b"", false, false);
        }
        connection.clone()
    }

    /// The request that was answered, and of the unfinished one: its number, whether it responds, bytes owed,
    /// whether in its head, whether it is cut.
    type Observed = (Option<u64>, Option<(u64, bool, Option<u64>, bool, bool)>);

    fn told(ended: &Ended) -> Observed {
        let answered = ended.signs.answered.as_ref().map(|answered| answered.request);
        let unfinished = ended.unfinished.as_ref().map(|request| {
            let id = request.asked.request.unwrap();
            (id, request.responding, request.owed_bytes, request.in_head, request.is_cut)
        });
        (answered, unfinished)
    }

    #[test]
    fn a_response_whose_end_nobody_announced_is_over_with_its_connection_unless_its_process_died() {
        use How::{Closed, ProcessGone};
        for (what, written, how, expected) in [
            ("nothing is written", None, Closed, (None, Some((1, false, None, false, false)))),
            ("a part", Some((SIZED, 4)), Closed, (None, Some((1, true, Some(5), false, false)))),
            ("its head", Some(("HTTP/1.1 200", 0)), Closed, (None, Some((1, true, None, true, false)))),
            ("until the end", Some((UNTIL_CLOSE, 4)), Closed, (Some(1), None)),
            ("died", Some((UNTIL_CLOSE, 4)), ProcessGone, (None, Some((1, true, None, false, false)))),
            ("without last chunk", Some((CHUNKED, 4)), Closed, (None, Some((1, true, None, false, true)))),
            ("with last chunk", Some((CHUNKED, 5)), Closed, (Some(1), None)),
            ("died after it", Some((CHUNKED, 5)), ProcessGone, (None, Some((1, true, None, false, false)))),
        ] {
            let mut connection = connection(written);
            connection.requests.truncate(1);
            assert_eq!(told(&Ended::of(&mut connection, how, 900)), expected, "{what}");
        }
        // Of an encrypted response nobody can know more.
        let mut encrypted = connection(None);
        encrypted.requests.truncate(1);
        encrypted.requests[0].response.has_begun = true;
        let _ = encrypted.outbound.push_encrypted(100);
        assert_eq!(told(&Ended::of(&mut encrypted, ProcessGone, 900)), (Some(1), None));
    }

    #[test]
    fn the_request_behind_one_that_is_over_with_the_connection_is_the_unfinished_one() {
        let ended = Ended::of(&mut connection(Some((UNTIL_CLOSE, 4))), How::Closed, 900);
        let expected: Observed = (Some(1), Some((2, false, None, false, false)));
        assert_eq!(told(&ended), expected);
        let unfinished = ended.unfinished.as_ref().unwrap();
        assert_eq!((unfinished.start_ns, unfinished.first_write_ns, unfinished.count), (200, 0, 2));
        assert_eq!(ended.asked().and_then(|asked| asked.request), Some(2));
        let ended = Ended::of(&mut connection(Some((SIZED, 4))), How::Closed, 900);
        let unfinished = ended.unfinished.as_ref().unwrap();
        assert_eq!((unfinished.start_ns, unfinished.first_write_ns, unfinished.count), (100, 150, 2));
    }

    #[test]
    fn a_client_waits_since_its_last_request_or_since_its_connection_was_made() {
        for (what, unfinished_ns, answered_ns, established_ns, accepted_ns, expected) in [
            ("the first request waited in the accept queue", Some(50), None, 20, Some(30), 20),
            ("its handshake was not seen", Some(50), None, 0, Some(30), 30),
            ("neither was its accept", Some(50), None, 0, None, 50),
            ("it is accepted after its first byte", Some(50), None, 0, Some(70), 50),
            ("a later request", Some(50), Some(40), 20, Some(30), 50),
            ("all is answered", None, Some(40), 20, Some(30), 40),
            ("nothing is asked", None, None, 20, Some(30), 20),
            ("nothing is known", None, None, 0, None, 0),
        ] {
            let mut connection = connection(None);
            (connection.origin.established_ns, connection.origin.accepted_ns) = (established_ns, accepted_ns);
            connection.requests.truncate(usize::from(unfinished_ns.is_some()));
            for active in &mut connection.requests {
                active.request.times.start_ns = unfinished_ns.unwrap_or(0);
            }
            if let Some(start_ns) = answered_ns {
                connection.signs.answers(&Active::new(&Beginning::at(0, start_ns), 1, 1).request);
            }
            assert_eq!(Ended::of(&mut connection, How::Closed, 900).waits_since_ns(), expected, "{what}");
        }
    }

    #[test]
    fn a_connection_without_a_request_at_hand_is_about_its_last_answer() {
        let mut connection = connection(None);
        connection.requests.clear();
        assert_eq!(Ended::of(&mut connection, How::Closed, 900).asked(), None);
        connection.signs.answers(&Active::new(&Beginning::at(7, 100), 1, 1).request);
        let ended = Ended::of(&mut connection, How::Closed, 900);
        assert_eq!(ended.asked().and_then(|asked| asked.request), Some(7));
    }
}
