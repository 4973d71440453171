//! The open connections of light mode, each with its request.
//!
//! In: what `light` learns of them. Out: a table that it bounds.

use rustc_hash::FxHashMap;
use smallvec::smallvec;

use crate::event::{Light, Tid};
use crate::machine::lock::gil_held::Held;
use crate::machine::wire::ending::{Ended, How, Unfinished, asked};
use crate::machine::wire::http1::{Inbound, Outbound, RequestHead, ResponseHead, Steps};
use crate::machine::wire::origin::{Origin, Side};
use crate::machine::wire::signs::Signs;
use crate::model::dropped::Asked;
use crate::model::request::Request;
use crate::phase::Phases;
use crate::tls;

/// The open connections of light mode.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    /// Boxed, as each message takes one out and puts it back.
    pub(in crate::machine) open: FxHashMap<u64, Box<Socket>>,
    /// Connections that were open as the window ended.
    pub left_open: u64,
}

impl Sockets {
    /// Whether a connection gets a verdict, and has none yet.
    pub(in crate::machine) const fn is_followed(&self, socket: &Socket) -> bool {
        !socket.life.is_unix && !socket.life.is_judged
    }

    /// Whether a thread's message shows that it serves several requests by turns, as an event loop does.
    /// `serving`: socket and request of its message before. Either it has left that one without an answer, or
    /// it comes back to one that it had left so. A request over a UNIX socket may have ended unseen.
    pub(in crate::machine) fn shows_turns(&self, serving: Option<(u64, u64)>, light: &Light) -> bool {
        let lasts = |socket: &u64| {
            let active = self.open.get(socket).and_then(|socket| socket.active.as_ref());
            active.is_some_and(|active| active.request.seen.lasts)
        };
        let seen_to_end = |socket: &u64| self.open.get(socket).is_some_and(|of| !of.life.is_unix);
        let leaves = |(socket, id): (u64, u64)| {
            socket != light.socket
                && seen_to_end(&socket)
                && self.is_unanswered(socket, id)
                && !lasts(&socket)
        };
        let on = self.open.get(&light.socket).filter(|socket| socket.generation == light.generation);
        let unanswered = on.and_then(|socket| socket.active.as_ref()).filter(|active| !active.is_responding);
        let own = unanswered.filter(|active| active.owner == light.tid);
        let comes_back = |serving| own.is_some_and(|active| serving != (light.socket, active.request.id));
        serving.is_some_and(|serving| leaves(serving) || comes_back(serving))
    }

    /// How many connections this process used last.
    pub(in crate::machine) fn count_of(&self, tgid: Tid) -> u64 {
        self.open.values().filter(|socket| socket.life.tgid == tgid).count() as u64
    }

    /// What the process has at hand on its connections, and for how long.
    pub(in crate::machine) fn held(&self, tgid: Tid, at_ns: u64) -> Vec<(Asked, u64)> {
        let own = self.open.values().filter(|socket| socket.life.tgid == tgid);
        let at_hand = own.filter_map(|socket| socket.active.as_ref()).filter(|active| !active.is_answered);
        let mut held: Vec<_> = at_hand.map(|active| &active.request).collect();
        // The order must not depend on a hash.
        held.sort_unstable_by_key(|request| request.id);
        let ran_ns = |start_ns| at_ns.saturating_sub(start_ns);
        held.into_iter().map(|request| (asked(request), ran_ns(request.times.start_ns))).collect()
    }

    /// Takes out the connections of a process that has ended, in their order.
    #[expect(clippy::vec_box, reason = "so they lie in the table, and so they are used")]
    pub(in crate::machine) fn take_of(&mut self, tgid: Tid) -> Vec<Box<Socket>> {
        let own = |socket: &Socket| socket.life.tgid == tgid && !socket.life.is_unix;
        let mut taken: Vec<Box<Socket>> =
            self.open.extract_if(|_, socket| own(socket)).map(|(_, socket)| socket).collect();
        taken.sort_unstable_by_key(|socket| socket.connection);
        taken
    }
}

/// One of them.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Socket {
    pub(in crate::machine) generation: u32,
    /// Dense number of the connection.
    pub(in crate::machine) connection: u64,
    pub(in crate::machine) begun: u32,
    /// Framing of what its client sends; `None`: nothing came yet.
    inbound: Option<Inbound>,
    /// Framing of what it gets.
    pub(in crate::machine) outbound: Outbound,
    pub(in crate::machine) active: Option<LightRequest>,
    /// What stands there is followed to its end.
    pub(in crate::machine) life: LightLife,
}

/// What its end is judged by.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct LightLife {
    /// The process that used it last.
    pub(in crate::machine) tgid: Tid,
    /// Nobody sees it end.
    pub(in crate::machine) is_unix: bool,
    /// What stands at its ends.
    pub(in crate::machine) side: Side,
    /// It waits for its verdict already, or has it.
    pub(in crate::machine) is_judged: bool,
    pub(in crate::machine) origin: Origin,
    pub(in crate::machine) signs: Signs,
}

/// A request that is not known to be over.
#[derive(Clone, Debug)]
pub(in crate::machine) struct LightRequest {
    pub(in crate::machine) request: Box<Request>,
    /// Up to here its phases add up.
    pub(in crate::machine) covered_ns: u64,
    /// Bytes of its response were sent.
    pub(in crate::machine) is_responding: bool,
    /// Its response is known to be over.
    pub(in crate::machine) is_answered: bool,
    /// A front end of the target has it: it counts as the request of the server behind.
    pub(in crate::machine) is_in_front: bool,
    /// Its own first bytes were received: what begins after them is another.
    pub(in crate::machine) has_begun: bool,
    /// It asks for a head only.
    pub(in crate::machine) to_head: bool,
    /// Requests that its client sent behind it and that have no answer yet: they count with it.
    pub(in crate::machine) behind: usize,
    /// The thread that moved its last bytes.
    pub(in crate::machine) owner: Tid,
    /// Of a stream: its thread has turned to another connection, and these were its last bytes before; 0: it
    /// has not.
    pub(in crate::machine) left_ns: u64,
    /// Who had the interpreter lock while it waited for that.
    pub(in crate::machine) held: Held,
    /// What its thread did for it last, and since when.
    pub(in crate::machine) last: Option<(u64, Phases)>,
}

impl Socket {
    /// A connection of which nothing came yet.
    pub(in crate::machine) fn new(generation: u32, connection: u64) -> Self {
        let outbound = Outbound::default();
        let life = LightLife::default();
        Self { generation, connection, begun: 0, inbound: None, outbound, active: None, life }
    }

    /// It ends like this: what its verdict needs.
    pub(in crate::machine) fn ends(&mut self, how: How, at_ns: u64) -> Ended {
        let LightLife { tgid, origin, mut signs, .. } = std::mem::take(&mut self.life);
        self.life.is_judged = true;
        // A response whose end nobody announced is over with its connection, unless its process died in it.
        // An encrypted one counts as over: nobody can know.
        let is_whole = how == How::Closed || self.outbound.is_encrypted();
        let is_over = |active: &LightRequest| active.is_answered || self.outbound.until_turn() && is_whole;
        let mut unfinished = None;
        let has_lasted = |active: &LightRequest| active.request.seen.lasts && is_whole;
        match &self.active {
            Some(active) if has_lasted(active) => {}
            Some(active) if active.is_responding && is_over(active) => {
                signs.answers(&active.request);
                unfinished = (active.behind > 0).then(|| Box::new(Unfinished::behind(active)));
            }
            Some(active) => unfinished = Some(Box::new(Unfinished::of(active, &self.outbound))),
            None => {}
        }
        let inbound = self.inbound.as_ref();
        Ended {
            at_ns,
            how,
            id: self.connection,
            tgid,
            origin,
            in_request: inbound.is_some_and(Inbound::in_message),
            is_encrypted: inbound.is_some_and(Inbound::is_encrypted),
            quiet_bytes: inbound.and_then(Inbound::quiet_bytes),
            unfinished,
            signs,
        }
    }

    /// Its request has an answer.
    fn is_answered(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.is_responding)
    }

    /// `bytes` were received, the first of them captured. Says what they are.
    pub(in crate::machine) fn receives(&mut self, bytes: u64, captured: &[u8]) -> Steps<RequestHead> {
        /// Type of a record of the handshake, with which each connection of TLS begins.
        const HANDSHAKE: u8 = 22;
        // What comes behind the answer on such a connection is still of its only request.
        let is_only = self.life.side.is_private();
        let after_response = self.active.is_none() || self.is_answered() && !is_only;
        let is_handshake = tls::begins(captured) && captured.first() == Some(&HANDSHAKE);
        // Nobody saw the connection made: its first bytes may lie within a message.
        let inbound = self
            .inbound
            .get_or_insert_with(|| if is_handshake { Inbound::default() } else { Inbound::uncertain() });
        inbound.push(bytes, captured, after_response)
    }

    /// `bytes` were sent, the first of them captured. `same_turn`: by a thread that has not slept since it
    /// moved something before. Says what they are; `None`: of TLS alone, which is a handshake, tickets,
    /// or a farewell.
    pub(in crate::machine) fn sends(
        &mut self,
        bytes: u64,
        captured: &[u8],
        same_turn: bool,
    ) -> Option<Steps<ResponseHead>> {
        let answered = self.is_answered();
        if let Some(inbound) = self.inbound.as_mut().filter(|inbound| inbound.is_encrypted()) {
            if inbound.is_no_answer(bytes, answered, same_turn) || self.active.is_none() {
                return None;
            }
            return Some(smallvec![self.outbound.push_encrypted(bytes)]);
        }
        let to_head = self.active.as_ref().is_some_and(|active| active.to_head);
        self.outbound.answers(self.active.as_ref().map_or("", |active| active.request.http.method.as_str()));
        Some(self.outbound.push(bytes, captured, captured.starts_with(STATUS_LINE), to_head))
    }
}

impl Unfinished {
    /// A request that was not answered to its end.
    fn of(active: &LightRequest, outbound: &Outbound) -> Self {
        Self {
            asked: asked(&active.request),
            start_ns: active.request.times.start_ns,
            responding: active.is_responding,
            first_write_ns: active.request.times.first_write_ns.unwrap_or(0),
            owed_bytes: outbound.owed_bytes(),
            in_head: outbound.in_head(),
            is_cut: false,
            count: 1,
        }
    }

    /// Requests that were read with this one, and not answered.
    fn behind(active: &LightRequest) -> Self {
        Self {
            asked: Asked::default(),
            start_ns: active.request.times.start_ns,
            responding: false,
            first_write_ns: 0,
            owed_bytes: None,
            in_head: false,
            is_cut: false,
            count: active.behind,
        }
    }
}

/// With this a response begins (RFC 9112 section 4); redaction keeps it.
const STATUS_LINE: &[u8] = b"HTTP/1.";

impl Sockets {
    /// Connections that are open now.
    pub fn count(&self) -> u64 {
        self.open.len() as u64
    }

    /// The connection of this socket: its dense number, and how many requests came on it. `None`: nothing
    /// came.
    pub(in crate::machine) fn of(&self, (socket, generation): (u64, u32)) -> Option<(u64, u32)> {
        let known = self.open.get(&socket).filter(|known| known.generation == generation)?;
        Some((known.connection, known.begun))
    }

    /// Whether what comes on the connection of this socket belongs to a request that is known.
    pub(in crate::machine) fn is_in_request(&self, (socket, generation): (u64, u32)) -> bool {
        let known = self.open.get(&socket).filter(|known| known.generation == generation);
        known.is_some_and(|known| {
            known.active.as_ref().is_some_and(|active| !active.is_responding)
                || known.inbound.as_ref().is_some_and(Inbound::in_message)
        })
    }

    /// Whether a request came on the connection of this socket.
    pub(in crate::machine) fn has_asked(&self, socket: u64) -> bool {
        self.open.get(&socket).is_some_and(|socket| socket.begun > 0)
    }

    /// Whether the connection of this socket has a request with this number, of whose answer nothing was
    /// sent.
    pub(in crate::machine) fn is_unanswered(&self, socket: u64, id: u64) -> bool {
        let active = self.open.get(&socket).and_then(|socket| socket.active.as_ref());
        active.is_some_and(|active| active.request.id == id && !active.is_responding)
    }

    /// The request on the connection of this socket, if it has this number.
    pub(in crate::machine) fn request(&self, socket: u64, id: u64) -> Option<&Request> {
        let active = self.open.get(&socket)?.active.as_ref()?;
        (active.request.id == id).then_some(active.request.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::wire::request::{Active, Beginning};

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

    /// Of each stretch of bytes whether it is no request.
    fn receives(socket: &mut Socket, list: &[(u8, u8)]) -> Vec<bool> {
        let bytes = records(list);
        let steps = socket.receives(bytes.len() as u64, &bytes);
        let mut outside: Vec<bool> = steps.iter().map(|step| step.outside).collect();
        outside.dedup();
        outside
    }

    fn active(is_responding: bool) -> LightRequest {
        let request = Active::new(&Beginning::at(1, 100), 1, 1).request;
        LightRequest {
            request,
            covered_ns: 100,
            is_responding,
            has_begun: true,
            to_head: false,
            behind: 0,
            owner: 1,
            left_ns: 0,
            is_answered: false,
            is_in_front: false,
            held: Held::default(),
            last: None,
        }
    }

    #[test]
    fn what_is_received_is_for_a_request_unless_it_is_of_tls_alone() {
        for (what, list, is_outside) in [
            ("the handshake of a new connection", &[(HANDSHAKE, 200)][..], &[true][..]),
            ("data of a connection that was there", &[(DATA, 100)], &[false]),
            ("a farewell there", &[(ALERT, 19)], &[true]),
            ("data behind an alert", &[(ALERT, 19), (DATA, 100)], &[true, false]),
            ("an alert behind data", &[(DATA, 100), (ALERT, 19)], &[false, true]),
        ] {
            assert_eq!(receives(&mut Socket::new(0, 1), list), is_outside, "{what}");
        }
    }

    #[test]
    fn heads_say_where_requests_begin_and_what_they_ask() {
        let mut plain = Socket::new(0, 1);
        let head = b"PUT /x HTTP/1.1\r\nContent-Length: 500\r\n\r\n";
        let steps = plain.receives(head.len() as u64, head);
        let [step] = steps.as_slice() else { panic!("{steps:?}") };
        assert!(step.begins && !step.complete && !step.inferred, "{step:?}");
        assert_eq!(step.head.as_ref().map(|head| head.path.as_str()), Some("/x"));
        plain.active = Some(active(true));
        let steps = plain.receives(500, b"");
        assert!(steps.iter().all(|step| !step.begins), "its body, though the answer is under way: {steps:?}");
        let steps = plain.receives(head.len() as u64, head);
        assert!(steps.iter().all(|step| step.begins), "the next request: {steps:?}");
    }

    #[test]
    fn without_heads_a_request_begins_where_traffic_turns() {
        let mut socket = Socket::new(0, 1);
        for (is_responding, begins) in [(None, true), (Some(false), false), (Some(true), true)] {
            socket.active = is_responding.map(active);
            let steps = socket.receives(100, b"");
            let [step] = steps.as_slice() else { panic!("{steps:?}") };
            assert_eq!((step.begins, step.not_http, step.mid_message), (begins, false, false), "{step:?}");
        }
    }

    #[test]
    fn a_connection_stays_encrypted_once_it_is() {
        let mut socket = Socket::new(0, 1);
        assert_eq!(receives(&mut socket, &[(HANDSHAKE, 200)]), [true]);
        // Up to TLS 1.2: the change of ciphers, and the client's Finished behind it.
        assert_eq!(receives(&mut socket, &[(20, 1), (HANDSHAKE, 40)]), [true]);
        assert_eq!(receives(&mut socket, &[(DATA, 100)]), [false]);
    }

    #[test]
    fn what_is_sent_is_an_answer_unless_it_is_of_tls_alone() {
        for (what, active, bytes, same_turn, is_answer) in [
            ("nothing was asked", None, 1_000, false, false),
            ("a response", Some(active(false)), 1_000, true, true),
            ("100 Continue", Some(active(false)), 47, true, false),
            ("more of the response", Some(active(true)), 1_000, false, true),
            ("a farewell after a pause", Some(active(true)), 24, false, false),
            ("as short a piece at once", Some(active(true)), 24, true, true),
        ] {
            let mut socket = Socket::new(0, 1);
            receives(&mut socket, &[(DATA, 100)]);
            socket.active = active;
            assert_eq!(socket.sends(bytes, b"", same_turn).is_some(), is_answer, "{what}");
        }
        let plain = Socket::new(0, 1).sends(24, b"", false);
        assert!(plain.is_some(), "without TLS all bytes are an answer");
    }

    #[test]
    fn a_response_s_head_says_its_status_and_where_its_body_ends() {
        let mut socket = Socket::new(0, 1);
        let head = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n";
        let steps = socket.sends(head.len() as u64 + 3, head, true).expect("an answer");
        assert_eq!(steps.iter().find_map(|step| step.head).map(|head| head.status), Some(404));
        assert!(steps.iter().any(|step| step.complete), "{steps:?}");
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        let steps = socket.sends(interim.len() as u64, interim, true).expect("an answer");
        assert!(steps.iter().all(|step| step.head.is_some_and(|head| head.interim)), "{steps:?}");
    }
}
