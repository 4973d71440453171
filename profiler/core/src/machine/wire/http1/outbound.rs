//! The responses on one connection.
//!
//! In: bytes written to the client, the captured ones first, and whether the write began with a status line.
//! Out: a [`Step`] per response that they touch.

use std::mem::MaybeUninit;

use httparse::ParserConfig;

use super::{Body, Framing, MAX_HEAD_BYTES, MAX_HEADERS, Step, Steps, framing, gather, lay};
use crate::model::lasting::Became;
use crate::redact::FILLER;

/// A response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Status code.
    pub status: u16,
    /// Interim (1xx): the final response is still to come.
    pub interim: bool,
    /// The server says that it will close the connection after this response, or its end is the
    /// connection's.
    pub closes: bool,
    /// Its first header is `Connection`.
    pub connection_first: bool,
    /// What the connection becomes by it.
    pub became: Option<Became>,
}

/// The status of the final response that these bytes begin; `None`: they begin none, or an interim one.
pub(in crate::machine) fn status_of(bytes: &[u8]) -> Option<u16> {
    let mut response = httparse::Response::new(&mut []);
    // Without room for a header it says no more than the first line.
    let _ = response.parse(bytes);
    response.code.filter(|status| !is_interim(*status))
}

/// Another response follows.
fn is_interim(status: u16) -> bool {
    (100..200).contains(&status) && status != 101
}

#[derive(Clone, Debug, Default)]
enum State {
    /// No response is under way.
    #[default]
    Idle,
    /// The head has begun.
    Head,
    /// In a body.
    Body(Body),
}

/// Framing of the outbound direction.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    state: State,
    buffer: Vec<u8>,
    open_end: OpenEnd,
    /// The request asked for a tunnel (CONNECT).
    to_connect: bool,
    /// What the connection became by the response under way.
    became: Option<Became>,
}

/// What is known of the end of a response whose length its head does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum OpenEnd {
    /// Nothing; the protocol may be another by now.
    #[default]
    Unknown,
    /// Its last chunk. `is_last`: the last write is as long as that chunk, and as no other.
    Chunk { is_last: bool },
    /// The end of the connection.
    Connection,
    /// An encrypted response: the client's next request shows its end, or the end of the connection.
    Encrypted,
}

/// A last chunk without trailers, `0\r\n\r\n` (RFC 9112 section 7.1). The shortest of the others has six
/// bytes.
const LAST_CHUNK_BYTES: u64 = 5;

impl Outbound {
    /// Whether the response under way has an end that only the turn of traffic shows. What lasts goes on
    /// until something else shows its end.
    pub const fn until_turn(&self) -> bool {
        let may_be_over = match self.became {
            None => true,
            Some(Became::Upgraded) => false,
            Some(Became::Stream) => matches!(self.open_end, OpenEnd::Chunk { is_last: true }),
        };
        self.has_open_end() && may_be_over
    }

    const fn has_open_end(&self) -> bool {
        matches!(self.state, State::Body(Body::UntilTurn))
    }

    /// What the connection became, while it is that.
    pub const fn lasting(&self) -> Option<Became> {
        if self.has_open_end() { self.became } else { None }
    }

    /// Whether it is to answer a request for a tunnel.
    pub fn answers(&mut self, method: &str) {
        self.to_connect = method == "CONNECT";
    }

    /// Whether the response under way has such an end, and nothing written looks like it. The end is not seen
    /// if the server writes the last chunk together with bytes before it.
    pub const fn may_have_more(&self) -> bool {
        let is_open = match self.open_end {
            OpenEnd::Chunk { is_last } => !is_last,
            OpenEnd::Connection | OpenEnd::Encrypted => true,
            OpenEnd::Unknown => false,
        };
        self.until_turn() && is_open
    }

    /// Whether what was written last is the last chunk of the response under way.
    pub const fn at_last_chunk(&self) -> bool {
        self.until_turn() && matches!(self.open_end, OpenEnd::Chunk { is_last: true })
    }

    /// Whether the response under way ends with its connection.
    pub const fn ends_with_connection(&self) -> bool {
        self.until_turn() && matches!(self.open_end, OpenEnd::Connection)
    }

    /// Whether the response under way is encrypted: nothing that is written shows its end.
    pub const fn is_encrypted(&self) -> bool {
        self.until_turn() && matches!(self.open_end, OpenEnd::Encrypted)
    }

    /// Takes `bytes` of an encrypted response.
    pub fn push_encrypted(&mut self, bytes: u64) -> Step<ResponseHead> {
        let begins = matches!(self.state, State::Idle);
        self.state = State::Body(Body::UntilTurn);
        self.open_end = OpenEnd::Encrypted;
        Step { bytes, not_http: true, ..Step::new(begins) }
    }

    /// Whether a response is under way.
    pub const fn in_message(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// Bytes of the response under way that are still to come, where that is known.
    pub const fn owed_bytes(&self) -> Option<u64> {
        match self.state {
            State::Body(Body::Sized(owed)) => Some(owed),
            _ => None,
        }
    }

    /// Whether the head of the response under way is not whole.
    pub const fn in_head(&self) -> bool {
        matches!(self.state, State::Head)
    }

    /// The connection was first seen in the middle of a response.
    pub fn within(&mut self) {
        self.open_end = OpenEnd::Unknown;
        self.state = State::Body(Body::UntilTurn);
    }

    /// The response under way is over: traffic turned, or the connection ended.
    pub fn turn(&mut self) {
        self.state = State::Idle;
        self.became = None;
        self.buffer.clear();
    }

    /// Takes `total_bytes` written at once, of which the first `captured.len()` are known. `to_head`: the
    /// request being answered is a HEAD request.
    pub fn push(
        &mut self,
        total_bytes: u64,
        captured: &[u8],
        status_line: bool,
        to_head: bool,
    ) -> Steps<ResponseHead> {
        let turns = status_line && self.has_open_end() && self.became != Some(Became::Upgraded);
        if turns {
            self.turn();
        }
        let mut steps = lay(total_bytes, captured, |rest, captured| match &mut self.state {
            State::Idle | State::Head => self.take_head(rest, captured, to_head),
            State::Body(body) => {
                let step = body.take(rest);
                if step.complete {
                    self.state = State::Idle;
                }
                step
            }
        });
        if let OpenEnd::Chunk { is_last } = &mut self.open_end {
            *is_last = total_bytes == LAST_CHUNK_BYTES;
        }
        if turns {
            // A new status line on an open-ended response: the old one is over.
            steps.insert(0, Step { complete: true, ..Step::new(false) });
        }
        steps
    }

    fn take_head(&mut self, rest: u64, captured: &[u8], to_head: bool) -> Step<ResponseHead> {
        let mut step = Step::new(matches!(self.state, State::Idle));
        let kept = std::mem::take(&mut self.buffer);
        let before = kept.len();
        let known = gather(kept, captured);
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut []);
        // Redaction keeps `HTTP/`: what begins without it is no head.
        let parsed = match known.first() {
            Some(&FILLER) => Err(httparse::Error::Token),
            _ => ParserConfig::default().parse_response_with_uninit_headers(
                &mut response,
                &known,
                &mut headers,
            ),
        };
        match parsed {
            Ok(httparse::Status::Complete(head_bytes)) => {
                let status = response.code.unwrap_or(0);
                let interim = is_interim(status);
                let Framing { length, chunked, .. } = framing(response.headers);
                let bodiless = to_head || interim || matches!(status, 204 | 304);
                // Servers end a chunked response to HEAD like any other: with its last chunk, though none was
                // sent.
                let tunnels = status == 101 || self.to_connect && (200..300).contains(&status);
                let bodiless = bodiless && !(to_head && chunked) && !tunnels;
                let length = length.filter(|_| !tunnels);
                let chunked = chunked && !tunnels;
                let ends_with_connection = !bodiless && !chunked && length.is_none();
                self.became = match tunnels {
                    true => Some(Became::Upgraded),
                    false if !bodiless && length.is_none() && are_events(response.headers) => {
                        Some(Became::Stream)
                    }
                    false => None,
                };
                step.head = Some(ResponseHead {
                    status,
                    interim,
                    closes: ends_with_connection || says_close(response.headers, response.version),
                    connection_first: response.headers.first().is_some_and(|header| is_connection(header)),
                    became: self.became,
                });
                let head_bytes = head_bytes.saturating_sub(before);
                step.bytes = u64::try_from(head_bytes).unwrap_or(0).min(rest);
                let follows = captured.get(head_bytes..).unwrap_or_default();
                if bodiless && !interim && !follows.starts_with(b"HTTP/") {
                    // A body that must not be there, sent all the same.
                    step.bytes = rest;
                }
                self.open_end = match chunked {
                    true => OpenEnd::Chunk { is_last: false },
                    false if tunnels => OpenEnd::Unknown,
                    false => OpenEnd::Connection,
                };
                self.state = match (bodiless, chunked, length) {
                    (true, _, _) | (false, false, Some(0)) => State::Idle,
                    (false, false, Some(owed)) => State::Body(Body::Sized(owed)),
                    _ => State::Body(Body::UntilTurn),
                };
                step.complete = matches!(self.state, State::Idle) && !interim;
            }
            Ok(httparse::Status::Partial)
                if captured.len() as u64 >= rest && !captured.is_empty() && known.len() < MAX_HEAD_BYTES =>
            {
                self.state = State::Head;
                self.buffer = known.into_owned();
                step.bytes = rest;
            }
            _ => {
                self.state = State::Body(Body::UntilTurn);
                self.open_end = OpenEnd::Unknown;
                step.bytes = rest;
                step.inferred = true;
            }
        }
        step
    }
}

/// Whether a response is a stream of events (HTML, section 9.2).
fn are_events(headers: &[httparse::Header<'_>]) -> bool {
    headers.iter().filter(|header| header.name.eq_ignore_ascii_case("content-type")).any(|header| {
        let kind = header.value.split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    })
}

fn is_connection(header: &httparse::Header<'_>) -> bool {
    header.name.eq_ignore_ascii_case("connection")
}

/// Whether a head announces that the connection ends with its message (RFC 9112 section 9.3).
fn says_close(headers: &[httparse::Header<'_>], version: Option<u8>) -> bool {
    let says = |word: &str| {
        let values = headers.iter().filter(|header| is_connection(header)).map(|header| header.value);
        values
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    };
    says("close") || version == Some(0) && !says("keep-alive")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_and_body_in_two_writes_are_one_sized_response() {
        let mut outbound = Outbound::default();
        let head = b"HTTP/1.1 200 xx\r\nContent-Length: 5\r\n\r\n";
        let steps = outbound.push(head.len() as u64, head, true, false);
        assert!(steps[0].begins && !steps[0].complete);
        let steps = outbound.push(5, b"", false, false);
        assert!(steps[0].complete && !steps[0].begins);
    }

    #[test]
    fn the_status_is_that_of_a_final_response_whose_first_line_is_whole() {
        for (text, status) in [
            ("HTTP/1.1 404 Not Found\r\nxxxx: x\r\n\r\n", Some(404)),
            ("HTTP/1.0 200 OK\r\n", Some(200)),
            ("HTTP/1.1 101 xxx\r\n\r\n", Some(101)),
            ("HTTP/1.1 204\r\n\r\n", Some(204)),
            ("HTTP/1.1 100 Continue\r\n\r\n", None),
            ("HTTP/1.1 20", None),
            ("xxxxxxxx 200 xx\r\n", None),
            ("", None),
        ] {
            assert_eq!(status_of(text.as_bytes()), status, "{text:?}");
        }
    }

    #[test]
    fn an_interim_response_is_not_the_end() {
        let mut outbound = Outbound::default();
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\n";
        let steps = outbound.push(bytes.len() as u64, bytes, true, false);
        assert!(!steps[0].complete && steps[0].head.is_some_and(|head| head.interim));
        assert!(!outbound.in_message());
    }

    #[test]
    fn responses_without_body_end_with_their_head() {
        for (status, to_head) in [("204 x", false), ("304 x", false), ("200 x", true)] {
            let mut outbound = Outbound::default();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: 50\r\n\r\n");
            let steps = outbound.push(head.len() as u64, head.as_bytes(), true, to_head);
            assert!(steps[0].complete, "{status} to HEAD {to_head}");
        }
    }

    #[test]
    fn a_body_sent_in_answer_to_head_belongs_to_that_answer() {
        let mut outbound = Outbound::default();
        let bytes = b"HTTP/1.1 500 x\r\nContent-Length: 5\r\n\r\n<htm>";
        let steps = outbound.push(bytes.len() as u64, bytes, true, true);
        assert_eq!(steps.len(), 1);
        assert!(steps[0].complete && steps[0].bytes == bytes.len() as u64);
    }

    #[test]
    fn two_answers_to_head_in_one_write_are_two() {
        let mut outbound = Outbound::default();
        let bytes = b"HTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(outbound.push(bytes.len() as u64, bytes, true, true).len(), 2);
    }

    #[test]
    fn the_last_chunk_after_an_answer_to_head_belongs_to_that_answer() {
        let mut outbound = Outbound::default();
        let head = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(!outbound.push(head.len() as u64, head, true, true)[0].complete);
        let steps = outbound.push(5, b"", false, true);
        assert!(!steps[0].begins && steps[0].bytes == 5);
    }

    #[test]
    fn a_chunked_response_ends_with_the_next_status_line() {
        let mut outbound = Outbound::default();
        let head = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(!outbound.push(head.len() as u64, head, true, false)[0].complete);
        assert!(!outbound.push(900, b"", false, false)[0].complete);
        let next = b"HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n";
        let steps = outbound.push(next.len() as u64, next, true, false);
        assert!(steps[0].complete && steps[0].bytes == 0);
        assert!(steps[1].begins && steps[1].complete);
    }

    #[test]
    fn a_status_line_written_in_pieces_is_put_together() {
        let mut outbound = Outbound::default();
        let parts: [&[u8]; 3] = [b"HTTP/1.0 200 xx\r\n", b"xxxx: yyy\r\n", b"Content-Length: 2\r\n\r\n"];
        let steps: Vec<_> = parts
            .iter()
            .enumerate()
            .flat_map(|(index, part)| outbound.push(part.len() as u64, part, index == 0, false))
            .collect();
        assert_eq!(steps.iter().filter(|step| step.head.is_some()).count(), 1);
        assert!(outbound.push(2, b"", false, false)[0].complete);
    }
}
