//! The requests on one connection: heads, sizes, pipelining.
//!
//! In: bytes read from the client, the captured ones first. Out: a [`Step`] per request that they touch.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use super::encrypted::Encrypted;
use super::packet::{self, Parsed};
use super::request_head::RequestHead;
use super::{Body, Framing, MAX_HEAD_BYTES, MAX_HEADERS, Step, Steps, framing, gather, lay};
use crate::redact::FILLER;
use crate::tls;

#[derive(Clone, Debug, Default)]
enum State {
    /// Between requests.
    #[default]
    Idle,
    /// The head has begun.
    Head,
    /// In a body.
    Body(Body),
    /// Not HTTP, or a head too long to be captured: bytes are counted until traffic turns.
    Opaque,
}

/// Framing of the inbound direction.
#[derive(Clone, Debug, Default)]
pub struct Inbound {
    state: State,
    buffer: Vec<u8>,
    /// The first bytes seen may lie within a message (the connection was open before we attached).
    uncertain: bool,
    /// The server does the TLS itself; `None`: nothing looks like it.
    encrypted: Option<Box<Encrypted>>,
}

impl Inbound {
    /// For a connection whose earlier bytes were not seen.
    pub fn uncertain() -> Self {
        Self { uncertain: true, ..Self::default() }
    }

    /// Whether the head of the request that is being received has been read; of one that is encrypted, its
    /// first record.
    pub fn head_complete(&self) -> bool {
        match &self.encrypted {
            Some(encrypted) => encrypted.has_record(),
            None => matches!(self.state, State::Body(_) | State::Opaque),
        }
    }

    /// Whether a head has begun and more of it must come: no application knows of that request yet. Not known
    /// of encrypted bytes.
    pub const fn in_head(&self) -> bool {
        self.encrypted.is_none() && matches!(self.state, State::Head)
    }

    /// Whether bytes are still owed for the request that is being received.
    pub fn in_message(&self) -> bool {
        match &self.encrypted {
            Some(encrypted) => encrypted.in_message(),
            None => !matches!(self.state, State::Idle),
        }
    }

    /// Whether more bytes must come before the request is whole: the end of its head, or of a body of a known
    /// size.
    pub fn surely_owes(&self) -> bool {
        match &self.encrypted {
            Some(encrypted) => encrypted.owes(),
            None => matches!(self.state, State::Head | State::Body(Body::Sized(_))),
        }
    }

    /// Whether the server does the TLS itself.
    pub const fn is_encrypted(&self) -> bool {
        self.encrypted.is_some()
    }

    /// OpenSSL's object of this connection is known.
    pub(in crate::machine) fn join(&mut self, session: u64) {
        if let Some(encrypted) = &mut self.encrypted {
            encrypted.session = session;
        }
    }

    /// Whether it is.
    pub(in crate::machine) fn is_joined(&self) -> bool {
        self.encrypted.as_ref().is_some_and(|encrypted| encrypted.session != 0)
    }

    /// Most bytes that the client's TLS sends without a request; `None`: it does none, or that is not known.
    pub fn quiet_bytes(&self) -> Option<u32> {
        self.encrypted.as_ref()?.quiet_bytes()
    }

    /// The server wrote `bytes` in TLS. `same_turn`: its thread has waited for nothing since it read the
    /// request that is being received. Of a request that is `answered`: since it wrote to it. Says
    /// whether they are no answer.
    pub fn is_no_answer(&mut self, bytes: u64, answered: bool, same_turn: bool) -> bool {
        let Some(encrypted) = &mut self.encrypted else { return false };
        encrypted.answered();
        match answered {
            true => !same_turn && encrypted.is_farewell(bytes),
            false => encrypted.is_no_answer(bytes, same_turn),
        }
    }

    /// Takes `total_bytes` read at once, of which the first `captured.len()` are known. `after_response`: the
    /// response to the last request has begun, so a message without a known size is over.
    pub fn push(&mut self, total_bytes: u64, captured: &[u8], after_response: bool) -> Steps<RequestHead> {
        if after_response && matches!(self.state, State::Opaque | State::Body(Body::UntilTurn)) {
            self.state = State::Idle;
        }
        if self.encrypted.is_none() && matches!(self.state, State::Idle) && tls::begins(captured) {
            self.encrypted = Some(Box::new(Encrypted::new(self.uncertain)));
        }
        if let Some(encrypted) = &mut self.encrypted {
            return encrypted.push(total_bytes, captured, after_response);
        }
        lay(total_bytes, captured, |rest, captured| match &mut self.state {
            State::Idle | State::Head => self.take_head(rest, captured),
            State::Body(body) => {
                let step = body.take(rest);
                if step.complete {
                    self.state = State::Idle;
                }
                step
            }
            State::Opaque => Step { bytes: rest, ..Step::new(false) },
        })
    }

    fn take_head(&mut self, rest: u64, captured: &[u8]) -> Step<RequestHead> {
        let mut step = Step::new(matches!(self.state, State::Idle));
        let kept = std::mem::take(&mut self.buffer);
        let before = kept.len();
        let known = gather(kept, captured);
        if known.first() == Some(&0) {
            self.take_packet(&mut step, (before, known), rest, captured.len() as u64 >= rest);
            return step;
        }
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut []);
        // Redaction keeps a known method: what begins without one is another protocol.
        let parsed = match known.first() {
            Some(&FILLER) => Err(httparse::Error::Token),
            _ => request.parse_with_uninit_headers(&known, &mut headers),
        };
        match parsed {
            Ok(httparse::Status::Complete(head_bytes)) => {
                let Framing { length, chunked, contradicts } = framing(request.headers);
                step.head = Some(RequestHead::of(&request));
                step.bytes = u64::try_from(head_bytes.saturating_sub(before)).unwrap_or(0).min(rest);
                self.uncertain = false;
                let is_unframed = chunked || contradicts;
                self.state = match (is_unframed, length) {
                    (true, _) => State::Body(Body::UntilTurn),
                    (false, Some(owed)) if owed > 0 => State::Body(Body::Sized(owed)),
                    _ => State::Idle,
                };
                step.complete = matches!(self.state, State::Idle);
                step.inferred = is_unframed;
            }
            Ok(httparse::Status::Partial)
                if captured.len() as u64 >= rest && known.len() < MAX_HEAD_BYTES =>
            {
                self.state = State::Head;
                self.buffer = known.into_owned();
                step.bytes = rest;
            }
            // Longer than what is captured: it is HTTP, but where its head ends is not known. Its first line
            // is.
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                step.head = RequestHead::of_cut_off(&known);
                self.opaque(&mut step, rest);
                step.inferred = true;
            }
            Err(_) => {
                self.opaque(&mut step, rest);
                step.not_http = !self.uncertain;
                step.inferred = self.uncertain;
                step.mid_message = self.uncertain;
                self.uncertain = false;
            }
        }
        step
    }

    /// Takes bytes in the uwsgi protocol, of which `before` were there already, and these are known. `all`:
    /// everything of this read is captured.
    fn take_packet(
        &mut self,
        step: &mut Step<RequestHead>,
        (before, known): (usize, Cow<'_, [u8]>),
        rest: u64,
        all: bool,
    ) {
        match packet::parse(&known) {
            Parsed::Whole(head, head_bytes, length) => {
                step.head = Some(head);
                step.bytes = u64::try_from(head_bytes.saturating_sub(before)).unwrap_or(0).min(rest);
                self.uncertain = false;
                self.state = match length {
                    Some(owed) if owed > 0 => State::Body(Body::Sized(owed)),
                    _ => State::Idle,
                };
                step.complete = matches!(self.state, State::Idle);
            }
            Parsed::Partial(_) if all && known.len() < MAX_HEAD_BYTES => {
                self.state = State::Head;
                self.buffer = known.into_owned();
                step.bytes = rest;
            }
            Parsed::Partial(head) => {
                step.head = head;
                self.opaque(step, rest);
                step.inferred = true;
            }
            Parsed::Not => {
                self.opaque(step, rest);
                step.not_http = !self.uncertain;
                step.inferred = self.uncertain;
                step.mid_message = self.uncertain;
                self.uncertain = false;
            }
        }
    }

    fn opaque(&mut self, step: &mut Step<RequestHead>, rest: u64) {
        self.state = State::Opaque;
        step.bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::trace_context::TraceContext;

    fn whole(inbound: &mut Inbound, bytes: &[u8], after_response: bool) -> Steps<RequestHead> {
        inbound.push(bytes.len() as u64, bytes, after_response)
    }

    #[test]
    fn three_pipelined_requests_in_one_read_are_three_messages() {
        let mut inbound = Inbound::default();
        let bytes = b"GET /a?x HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nHEAD /c HTTP/1.1\r\n\r\n";
        let steps = whole(&mut inbound, bytes, false);
        let paths: Vec<_> =
            steps.iter().filter_map(|step| step.head.as_ref().map(|h| h.path.as_str())).collect();
        assert_eq!(paths, ["/a", "/b", "/c"]);
        assert!(steps.iter().all(|step| step.begins && step.complete && !step.inferred));
        assert_eq!(steps.iter().map(|step| step.bytes).sum::<u64>(), bytes.len() as u64);
        assert!(steps.last().and_then(|step| step.head.as_ref()).is_some_and(|head| head.is_head));
    }

    #[test]
    fn the_trace_of_a_request_is_that_of_its_head() {
        let value = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let bytes = format!("GET /a HTTP/1.1\r\nTraceparent: {value}\r\n\r\nGET /b HTTP/1.1\r\n\r\n");
        let steps = whole(&mut Inbound::default(), bytes.as_bytes(), false);
        let traces: Vec<_> = steps.iter().filter_map(|step| step.head.as_ref()?.trace_context).collect();
        assert_eq!(traces, [TraceContext::parse(value.as_bytes()).unwrap()]);
    }

    #[test]
    fn a_head_read_byte_by_byte_is_one_message() {
        let mut inbound = Inbound::default();
        let bytes = b"GET /slow HTTP/1.1\r\nxxxx: yy\r\n\r\n";
        let mut begun = 0;
        let mut heads = 0;
        for byte in bytes {
            for step in whole(&mut inbound, &[*byte], false) {
                begun += u32::from(step.begins);
                heads += u32::from(step.head.is_some());
            }
        }
        assert_eq!((begun, heads), (1, 1));
    }

    #[test]
    fn a_sized_body_ends_where_content_length_says_and_the_next_request_follows() {
        let mut inbound = Inbound::default();
        let head = b"POST /up HTTP/1.1\r\nContent-Length: 10\r\n\r\n";
        let steps = inbound.push(head.len() as u64 + 4, head, false);
        assert_eq!(steps.len(), 2);
        assert!(!steps[1].complete && inbound.head_complete());
        // The rest of the body and a whole new request arrive at once, captured from the body's part on.
        let next = b"123456GET /n HTTP/1.1\r\n\r\n";
        let steps = whole(&mut inbound, next, false);
        assert!(steps[0].complete && !steps[0].begins && steps[0].bytes == 6);
        assert_eq!(steps[1].head.as_ref().map(|head| head.path.as_str()), Some("/n"));
    }

    #[test]
    fn a_head_longer_than_what_is_captured_still_says_what_is_asked_for() {
        let mut inbound = Inbound::default();
        let mut head = b"GET /big?q HTTP/1.1\r\nxxxxxx: ".to_vec();
        head.resize(MAX_HEAD_BYTES, b'x');
        let steps = inbound.push(6000, &head, false);
        assert_eq!(steps[0].head.as_ref().map(|head| head.path.as_str()), Some("/big"));
        assert!(steps[0].inferred && !steps[0].not_http && steps[0].bytes == 6000);
        let mut long = Inbound::default();
        assert!(long.push(6000, &[b"GET /", &[b'a'; 4091][..]].concat(), false)[0].head.is_none());
    }

    #[test]
    fn what_redaction_left_nothing_of_is_not_http() {
        assert!(whole(&mut Inbound::default(), &[FILLER; 517], false)[0].not_http);
    }

    #[test]
    fn a_chunked_body_ends_with_the_turn_of_traffic() {
        let mut inbound = Inbound::default();
        let head = b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(whole(&mut inbound, head, false)[0].inferred);
        assert!(!inbound.push(5000, b"", false)[0].begins);
        let steps = whole(&mut inbound, b"GET /d HTTP/1.1\r\n\r\n", true);
        assert!(steps[0].begins && steps[0].head.is_some());
    }

    #[test]
    fn what_follows_a_content_length_that_is_none_is_no_request_of_its_own() {
        for length in ["18446744073709551616", "xx", "-1", "4\r\nContent-Length: 5"] {
            let mut inbound = Inbound::default();
            let head = format!("POST /c HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
            let steps = inbound.push(head.len() as u64 + 3, head.as_bytes(), false);
            assert_eq!(steps.iter().filter(|step| step.begins).count(), 1, "{length}");
            assert!(!steps.iter().any(|step| step.complete || step.not_http), "{length}");
            let next = whole(&mut inbound, b"GET /d HTTP/1.1\r\n\r\n", true);
            assert!(next[0].begins && next[0].head.is_some(), "{length}");
        }
        let same = b"POST /c HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n";
        let mut inbound = Inbound::default();
        assert!(inbound.push(same.len() as u64 + 4, same, false)[1].complete);
    }

    #[test]
    fn what_is_not_http_is_one_message_until_the_turn() {
        let mut inbound = Inbound::default();
        let steps = whole(&mut inbound, &[22, 9, 1, 0, 200, 1], false);
        assert!(steps[0].not_http && steps[0].begins);
        assert!(!inbound.push(100, &[1, 2], false)[0].begins);
        let mut unseen = Inbound::uncertain();
        assert!(!whole(&mut unseen, &[22, 9, 1], false)[0].not_http);
    }
}
