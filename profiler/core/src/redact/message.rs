//! The state machine behind redaction: one byte in, one verdict out.
//!
//! In: the captured bytes of one direction of a connection, in any portions. Out: the same bytes with
//! everything overwritten that is not on the list of `redact`. It reads no further than framing needs (RFC
//! 9112) and in doubt overwrites the rest of the capture.

use memchr::{memchr2, memchr3};

use super::FILLER;
use super::packet::{Next, Packet};
use super::verdict::Verdict;
use super::word::{
    CONNECT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HEADERS, List, METHODS, REQUEST_START,
    TRACE_PARENT, TRANSFER_ENCODING, UPGRADE, Word,
};
use crate::model::request_start::Form;
use crate::model::trace_context::{TRACE_PARENT_BYTES, is_trace_parent_byte};
use crate::tls;

/// Longest `Content-Length` that is kept: beyond it, digits are no length.
const MAX_LENGTH_DIGITS: u8 = 15;

/// `HTTP/`, digit, `.`, digit.
const VERSION: &[u8; 8] = b"HTTP/0.0";

/// How nearly all requests begin.
const USUAL_REQUESTS: &[&[u8]] = &[b"GET /", b"POST /", b"HEAD /", b"PUT /"];
/// How nearly all responses begin.
const USUAL_RESPONSES: &[&[u8]] = &[b"HTTP/1.1 ", b"HTTP/1.0 "];
/// The end of nearly all request lines.
const USUAL_VERSION: &[u8] = b"HTTP/1.1\r\n";

/// Bytes that are kept.
pub(super) struct Kept {
    /// How many.
    bytes: usize,
    /// An element begins with the first of them.
    begins_element: bool,
}

/// Whether a byte of a path is kept, and what follows it is still of the path.
const fn is_of_path(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e | 0x80..) && !matches!(byte, b'?' | b'#' | b';')
}

/// One direction of a connection within one capture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    is_request: bool,
    state: State,
    head: Head,
}

/// What the head says about what follows it.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    status: u16,
    length_bytes: Option<u64>,
    /// The length of the body cannot be known: chunked, contradictory, or another protocol takes over.
    is_unframed: bool,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Before the first byte of a start line.
    Start,
    Method(Word),
    Target(Target),
    /// Bytes of [`VERSION`] matched.
    Version(u8),
    /// After a request's version: only the end of the line may follow.
    RequestLineEnd,
    /// Digits of the status code.
    Status(u8),
    /// After the status code, up to the end of the line.
    Reason,
    /// At the first byte of a header line, or of the blank one.
    LineStart,
    /// After the blank line's CR.
    BlankLine,
    /// A header name that begins like a known one.
    Name(Word),
    UnknownName,
    Length(Length),
    Tokens(List, Option<Word>),
    /// Bytes of a `traceparent` value so far.
    TraceParent(usize),
    /// An `X-Request-Start` value so far, and whether it has ended.
    RequestStart(Form, bool),
    HiddenValue,
    Body(u64),
    /// A uwsgi packet.
    Packet(Packet),
    /// The header of a TLS record.
    Record(tls::Partial),
    /// Bytes of a TLS record behind its header that have not come.
    RecordPayload(u16),
    /// To the end of the capture.
    Opaque,
}

/// The parts of a request target.
#[derive(Clone, Copy, Debug)]
enum Target {
    First,
    /// `CONNECT host:port`.
    ConnectAuthority,
    Scheme,
    /// Slashes after the scheme's colon.
    Slashes(u8),
    Authority,
    Path,
    /// From a segment's `;` to its end.
    Parameters,
    /// Query or fragment.
    Hidden,
    /// `OPTIONS *`.
    Star,
}

/// A `Content-Length` value.
#[derive(Clone, Copy, Debug, Default)]
struct Length {
    digits: u8,
    value: u64,
    ended: bool,
}

impl Message {
    /// What a client sends.
    pub(super) fn request() -> Self {
        Self { is_request: true, state: State::Start, head: Head::default() }
    }

    /// What a server answers.
    pub(super) fn response() -> Self {
        Self { is_request: false, ..Self::request() }
    }

    /// Overwrites, in place, what must not be kept of the next bytes.
    pub(super) fn feed(&mut self, bytes: &mut [u8]) {
        self.feed_with(bytes, Self::pass);
    }

    /// The same. `pass`: which bytes are kept without a look at each.
    pub(super) fn feed_with(&mut self, bytes: &mut [u8], pass: impl Fn(&mut Self, &[u8]) -> Option<Kept>) {
        // Where the current element begins; one that began in an earlier record can be hidden only from here
        // on.
        let mut mark = 0;
        let mut index = 0;
        while let Some(byte) = bytes.get(index).copied() {
            if let Some(hidden) = self.skip(bytes.get(index..).unwrap_or_default()) {
                let end = index.saturating_add(hidden);
                bytes.get_mut(index..end).unwrap_or_default().fill(FILLER);
                index = end;
                continue;
            }
            if let Some(kept) = pass(self, bytes.get(index..).unwrap_or_default()) {
                mark = if kept.begins_element { index } else { mark };
                index = index.saturating_add(kept.bytes);
                continue;
            }
            match self.step(byte) {
                Verdict::Keep => {}
                Verdict::Begin => mark = index,
                Verdict::Hide => bytes.get_mut(index..=index).unwrap_or_default().fill(FILLER),
                Verdict::HideElement => bytes.get_mut(mark..=index).unwrap_or_default().fill(FILLER),
                Verdict::HideBefore => bytes.get_mut(mark..index).unwrap_or_default().fill(FILLER),
            }
            index = index.saturating_add(1);
        }
    }

    /// How many of the next bytes are to be hidden without a look at each: at least one. `None`: the next one
    /// counts.
    fn skip(&mut self, next: &[u8]) -> Option<usize> {
        match self.state {
            State::Opaque => Some(next.len()),
            State::Reason | State::HiddenValue => up_to(memchr2(b'\r', b'\n', next), next),
            State::UnknownName => up_to(memchr3(b':', b'\r', b'\n', next), next),
            State::Body(remaining) => {
                let hidden = usize::try_from(remaining).unwrap_or(usize::MAX).min(next.len());
                let remaining = remaining.saturating_sub(hidden as u64);
                self.state = if remaining == 0 { State::Start } else { State::Body(remaining) };
                Some(hidden)
            }
            State::RecordPayload(remaining) => {
                let hidden = usize::from(remaining).min(next.len());
                let remaining = remaining.saturating_sub(u16::try_from(hidden).unwrap_or(remaining));
                self.state = match remaining {
                    0 => State::Record(tls::Partial::default()),
                    more => State::RecordPayload(more),
                };
                Some(hidden)
            }
            _ => None,
        }
    }

    /// Which of the next bytes are kept without a look at each: what nearly all messages have. `None`: the
    /// next one counts.
    fn pass(&mut self, next: &[u8]) -> Option<Kept> {
        let (state, bytes, begins_element) = match self.state {
            State::Start => {
                let (starts, state) = match self.is_request {
                    true => (USUAL_REQUESTS, State::Target(Target::Path)),
                    false => (USUAL_RESPONSES, State::Status(0)),
                };
                let start = starts.iter().find(|start| next.starts_with(start))?;
                self.head = Head::default();
                (state, start.len(), true)
            }
            State::Target(Target::Path) => {
                let of_path = next.iter().position(|byte| !is_of_path(*byte)).unwrap_or(next.len());
                (self.state, of_path, false)
            }
            State::Version(0) if self.is_request => {
                next.starts_with(USUAL_VERSION).then_some((State::LineStart, USUAL_VERSION.len(), false))?
            }
            State::LineStart => {
                let first = next.first()?.to_ascii_lowercase();
                HEADERS.iter().find(|header| header.first() == Some(&first))?;
                let end = memchr3(b':', b'\r', b'\n', next).filter(|end| next.get(*end) == Some(&b':'))?;
                let word = Word::of(next.get(..end)?).filter(|word| word.is_one_of(HEADERS))?;
                (State::Name(word), end, true)
            }
            _ => return None,
        };
        self.state = state;
        (bytes > 0).then_some(Kept { bytes, begins_element })
    }

    fn step(&mut self, byte: u8) -> Verdict {
        match self.state {
            State::Start => self.start(byte),
            State::Method(word) => self.method(word, byte),
            State::Target(target) => self.target(target, byte),
            State::Version(matched) => self.version(matched, byte),
            State::RequestLineEnd => match byte {
                b'\r' => Verdict::Keep,
                b'\n' => self.go(State::LineStart, Verdict::Keep),
                _ => self.not_http(),
            },
            State::Status(digits) => self.status(digits, byte),
            State::LineStart => self.line_start(byte),
            State::BlankLine => match byte {
                b'\n' => self.end_of_head(),
                _ => self.go(State::Opaque, Verdict::Hide),
            },
            State::Name(word) => self.name(word, byte),
            State::UnknownName => match byte {
                b':' => self.go(State::HiddenValue, Verdict::Keep),
                _ => self.hidden_line(byte),
            },
            State::Length(length) => self.length(length, byte),
            State::Tokens(list, word) => self.tokens(list, word, byte),
            State::TraceParent(bytes) => self.trace_parent(bytes, byte),
            State::RequestStart(form, ended) => self.request_start(form, ended, byte),
            State::Reason | State::HiddenValue => self.hidden_line(byte),
            State::Packet(packet) => match packet.step(byte) {
                (Next::Packet(packet), verdict) => self.go(State::Packet(packet), verdict),
                (Next::Opaque, verdict) => self.go(State::Opaque, verdict),
            },
            State::Record(header) => self.record(header, byte),
            State::Body(_) | State::RecordPayload(_) | State::Opaque => Verdict::Hide,
        }
    }

    /// The next byte of a TLS record's header.
    fn record(&mut self, header: tls::Partial, byte: u8) -> Verdict {
        let verdict = if header.is_empty() { Verdict::Begin } else { Verdict::Keep };
        match header.step(byte) {
            tls::Next::Partial(more) => self.go(State::Record(more), verdict),
            tls::Next::Whole(whole) => self.go(State::RecordPayload(whole.payload_bytes), verdict),
            tls::Next::Not if header.is_empty() => self.go(State::Opaque, Verdict::Hide),
            tls::Next::Not => self.not_http(),
        }
    }

    const fn go(&mut self, state: State, verdict: Verdict) -> Verdict {
        self.state = state;
        verdict
    }

    /// Nothing of this start line is kept, nor of anything after it.
    const fn not_http(&mut self) -> Verdict {
        self.go(State::Opaque, Verdict::HideElement)
    }

    /// A byte of a line of which nothing is kept but its end.
    const fn hidden_line(&mut self, byte: u8) -> Verdict {
        match byte {
            b'\n' => self.go(State::LineStart, Verdict::Keep),
            b'\r' => Verdict::Keep,
            _ => Verdict::Hide,
        }
    }

    fn start(&mut self, byte: u8) -> Verdict {
        // Empty lines before a start line are allowed (RFC 9112, 2.2).
        if matches!(byte, b'\r' | b'\n') {
            return Verdict::Begin;
        }
        self.head = Head::default();
        let word = Word::starting(byte);
        if !self.is_request && byte == b'H' {
            self.go(State::Version(1), Verdict::Begin)
        } else if self.is_request && word.begins_one_of(METHODS) {
            self.go(State::Method(word), Verdict::Begin)
        } else if self.is_request && byte == Packet::MODIFIER {
            self.go(State::Packet(Packet::begun()), Verdict::Begin)
        } else if self.is_request {
            self.record(tls::Partial::default(), byte)
        } else {
            self.go(State::Opaque, Verdict::Hide)
        }
    }

    fn method(&mut self, mut word: Word, byte: u8) -> Verdict {
        if byte == b' ' && word.is_one_of(METHODS) {
            let is_connect = word.as_bytes() == CONNECT;
            // What follows a CONNECT is a tunnel.
            self.head.is_unframed = is_connect;
            let target = if is_connect { Target::ConnectAuthority } else { Target::First };
            return self.go(State::Target(target), Verdict::Keep);
        }
        if word.push(byte) && word.begins_one_of(METHODS) {
            self.go(State::Method(word), Verdict::Keep)
        } else {
            self.not_http()
        }
    }

    const fn target(&mut self, target: Target, byte: u8) -> Verdict {
        let (next, verdict) = match (target, byte) {
            (_, b'\r' | b'\n') | (Target::First, b' ') => return self.not_http(),
            (_, b' ') => return self.go(State::Version(0), Verdict::Keep),
            (Target::First | Target::Authority | Target::Parameters, b'/') => (Target::Path, Verdict::Keep),
            (Target::First, b'*') => (Target::Star, Verdict::Keep),
            (Target::First, b'A'..=b'Z' | b'a'..=b'z') => (Target::Scheme, Verdict::Hide),
            (Target::First | Target::Star, _) => return self.not_http(),
            (Target::Scheme, b':') => (Target::Slashes(0), Verdict::Hide),
            (Target::Slashes(0), b'/') => (Target::Slashes(1), Verdict::Hide),
            (Target::Slashes(1), b'/') => (Target::Authority, Verdict::Hide),
            (Target::Path | Target::Authority | Target::Parameters, b'?' | b'#') => {
                (Target::Hidden, Verdict::Keep)
            }
            (Target::Path, b';') => (Target::Parameters, Verdict::Keep),
            (Target::Path, 0x21..=0x7e | 0x80..) => (Target::Path, Verdict::Keep),
            // Neither a path nor absolute: nothing of it is kept.
            (Target::Slashes(_), _) => (Target::Hidden, Verdict::Hide),
            (same, _) => (same, Verdict::Hide),
        };
        self.go(State::Target(next), verdict)
    }

    fn version(&mut self, matched: u8, byte: u8) -> Verdict {
        let Some(pattern) = VERSION.get(usize::from(matched)) else {
            // A response: the space before the status code.
            return if byte == b' ' { self.go(State::Status(0), Verdict::Keep) } else { self.not_http() };
        };
        let fits = if *pattern == b'0' { byte.is_ascii_digit() } else { byte == *pattern };
        let matched = matched.saturating_add(1);
        if !fits {
            self.not_http()
        } else if self.is_request && usize::from(matched) == VERSION.len() {
            self.go(State::RequestLineEnd, Verdict::Keep)
        } else {
            self.go(State::Version(matched), Verdict::Keep)
        }
    }

    fn status(&mut self, digits: u8, byte: u8) -> Verdict {
        match (digits, byte) {
            (0..=2, b'0'..=b'9') => {
                let digit = u16::from(byte.wrapping_sub(b'0'));
                self.head.status = self.head.status.saturating_mul(10).saturating_add(digit);
                self.go(State::Status(digits.saturating_add(1)), Verdict::Keep)
            }
            (3, b' ') => self.go(State::Reason, Verdict::Keep),
            (3, b'\r' | b'\n') => self.hidden_line(byte),
            _ => self.not_http(),
        }
    }

    fn line_start(&mut self, byte: u8) -> Verdict {
        let word = Word::starting(byte.to_ascii_lowercase());
        match byte {
            b'\r' => self.go(State::BlankLine, Verdict::Keep),
            b'\n' => self.end_of_head(),
            b' ' | b'\t' => {
                // A folded line continues a value that was taken for whole.
                self.head.is_unframed = true;
                self.go(State::HiddenValue, Verdict::Keep)
            }
            b':' => self.go(State::HiddenValue, Verdict::Keep),
            _ if word.begins_one_of(HEADERS) => self.go(State::Name(word), Verdict::Begin),
            _ => self.go(State::UnknownName, Verdict::Hide),
        }
    }

    fn name(&mut self, mut word: Word, byte: u8) -> Verdict {
        match byte {
            b':' => {
                let value = match word.as_bytes() {
                    CONTENT_LENGTH => State::Length(Length::default()),
                    TRANSFER_ENCODING => {
                        self.head.is_unframed = true;
                        State::Tokens(List::Codings, None)
                    }
                    CONNECTION => State::Tokens(List::Options, None),
                    EXPECT => State::Tokens(List::Expectations, None),
                    CONTENT_TYPE if !self.is_request => State::Tokens(List::Types, None),
                    TRACE_PARENT if self.is_request => State::TraceParent(0),
                    REQUEST_START if self.is_request => State::RequestStart(Form::default(), false),
                    _ => return self.go(State::HiddenValue, Verdict::HideBefore),
                };
                self.go(value, Verdict::Keep)
            }
            b'\r' => self.go(State::UnknownName, Verdict::HideBefore),
            b'\n' => self.go(State::LineStart, Verdict::HideBefore),
            _ => {
                if word.push(byte.to_ascii_lowercase()) && word.begins_one_of(HEADERS) {
                    self.go(State::Name(word), Verdict::Keep)
                } else {
                    self.go(State::UnknownName, Verdict::HideElement)
                }
            }
        }
    }

    fn length(&mut self, mut length: Length, byte: u8) -> Verdict {
        match byte {
            b'0'..=b'9' if !length.ended && length.digits < MAX_LENGTH_DIGITS => {
                let begins = length.digits == 0;
                let digit = u64::from(byte.wrapping_sub(b'0'));
                length.value = length.value.saturating_mul(10).saturating_add(digit);
                length.digits = length.digits.saturating_add(1);
                self.go(State::Length(length), if begins { Verdict::Begin } else { Verdict::Keep })
            }
            b' ' | b'\t' => {
                length.ended = length.digits > 0;
                self.go(State::Length(length), Verdict::Keep)
            }
            b'\r' | b'\n' => {
                if length.digits == 0 || self.head.length_bytes.is_some_and(|other| other != length.value) {
                    self.head.is_unframed = true;
                }
                self.head.length_bytes = Some(length.value);
                self.go(State::HiddenValue, Verdict::Keep);
                self.hidden_line(byte)
            }
            _ => {
                self.head.is_unframed = true;
                // Before the first digit there is no element to hide.
                let verdict = if length.digits == 0 { Verdict::Hide } else { Verdict::HideElement };
                self.go(State::HiddenValue, verdict)
            }
        }
    }

    fn tokens(&mut self, list: List, word: Option<Word>, byte: u8) -> Verdict {
        let ends = matches!(byte, b' ' | b'\t' | b',' | b'\r' | b'\n');
        // What follows a type says more of it.
        if ends || byte == b';' && matches!(list, List::Types) {
            let known = word.is_none_or(|word| word.is_one_of(list.known()));
            if word.is_some_and(|word| word.as_bytes() == UPGRADE) {
                self.head.is_unframed = true;
            }
            self.state = match byte {
                b'\n' => State::LineStart,
                b'\r' | b';' => State::HiddenValue,
                _ => State::Tokens(list, None),
            };
            return if known { Verdict::Keep } else { Verdict::HideBefore };
        }
        let begins = word.is_none();
        let mut word = word.unwrap_or_default();
        if word.push(byte.to_ascii_lowercase()) && word.begins_one_of(list.known()) {
            self.go(State::Tokens(list, Some(word)), if begins { Verdict::Begin } else { Verdict::Keep })
        } else {
            self.go(State::HiddenValue, if begins { Verdict::Hide } else { Verdict::HideElement })
        }
    }

    /// The id of a trace: kept if it is whole, as what only begins like one may be anything.
    fn trace_parent(&mut self, bytes: usize, byte: u8) -> Verdict {
        let is_whole = bytes == TRACE_PARENT_BYTES;
        match byte {
            b' ' | b'\t' if bytes == 0 || is_whole => Verdict::Keep,
            b'\r' | b'\n' => {
                self.go(State::HiddenValue, Verdict::Keep);
                let line = self.hidden_line(byte);
                if bytes == 0 || is_whole { line } else { Verdict::HideBefore }
            }
            _ if is_trace_parent_byte(bytes, byte) => {
                let begins = bytes == 0;
                self.go(State::TraceParent(bytes + 1), if begins { Verdict::Begin } else { Verdict::Keep })
            }
            _ => self.go(State::HiddenValue, if bytes == 0 { Verdict::Hide } else { Verdict::HideElement }),
        }
    }

    /// When the front end had the request: kept if it is whole, as what only begins like one may be anything.
    fn request_start(&mut self, form: Form, ended: bool, byte: u8) -> Verdict {
        let is_whole = form.unit_ns().is_some();
        match byte {
            b' ' | b'\t' if form.is_empty() || is_whole => {
                self.go(State::RequestStart(form, is_whole), Verdict::Keep)
            }
            b'\r' | b'\n' => {
                self.go(State::HiddenValue, Verdict::Keep);
                let line = self.hidden_line(byte);
                if form.is_empty() || is_whole { line } else { Verdict::HideBefore }
            }
            _ => match form.push(byte).filter(|_| !ended) {
                Some(next) if form.is_empty() => self.go(State::RequestStart(next, false), Verdict::Begin),
                Some(next) => self.go(State::RequestStart(next, false), Verdict::Keep),
                None if form.is_empty() => self.go(State::HiddenValue, Verdict::Hide),
                None => self.go(State::HiddenValue, Verdict::HideElement),
            },
        }
    }

    /// After the blank line: where the next start line is, if that can be known.
    const fn end_of_head(&mut self) -> Verdict {
        let has_no_body = matches!(self.head.status, 100 | 102..=199 | 204 | 304);
        let state = match self.head.length_bytes {
            _ if has_no_body && !self.is_request => State::Start,
            _ if self.head.is_unframed => State::Opaque,
            Some(0) => State::Start,
            Some(length_bytes) => State::Body(length_bytes),
            None if self.is_request => State::Start,
            None => State::Opaque,
        };
        self.go(state, Verdict::Keep)
    }
}

/// The bytes before `stop`, or all of `next` without one; `None` where that is none.
fn up_to(stop: Option<usize>, next: &[u8]) -> Option<usize> {
    Some(stop.unwrap_or(next.len())).filter(|bytes| *bytes > 0)
}
