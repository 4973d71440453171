//! Redaction of a uwsgi packet: what a front end sends to uWSGI instead of an HTTP head.
//!
//! In: one byte after another, from the packet's first on. Out: a verdict for each. The lengths survive, and
//! the names of the variables that are kept. Of their values these survive: a known method, the path without
//! its query, a body's length, a `traceparent` or an `X-Request-Start` of the right form. Every other name
//! and value becomes filler, cookies and credentials among them. A packet begins with 4 bytes: a modifier,
//! the length of the block, another modifier. Then come names and values by turns, each after its length in
//! two bytes, low one first (uwsgi-docs, Protocol).

use super::path::Path;
use super::verdict::Verdict;
use super::word::{METHODS, Word};
use crate::model::request_start::Form;
use crate::model::trace_context::{TRACE_PARENT_BYTES, is_trace_parent_byte};

/// Variables whose names are kept.
const NAMES: &[&[u8]] = &[METHOD, PATH, TARGET, LENGTH, TRACE, REQUEST_START];
/// See [`NAMES`].
const METHOD: &[u8] = b"REQUEST_METHOD";
/// See [`NAMES`].
const PATH: &[u8] = b"PATH_INFO";
/// See [`NAMES`].
const TARGET: &[u8] = b"REQUEST_URI";
/// See [`NAMES`].
const LENGTH: &[u8] = b"CONTENT_LENGTH";
/// See [`NAMES`].
const TRACE: &[u8] = b"HTTP_TRACEPARENT";
/// See [`NAMES`].
const REQUEST_START: &[u8] = b"HTTP_X_REQUEST_START";
/// Longest `CONTENT_LENGTH` that is kept.
const MAX_LENGTH_DIGITS: u16 = 15;

/// A packet so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    part: Part,
    /// Bytes of the block that have not come.
    left: u16,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// The header's bytes so far.
    Header(u8),
    NameLength(Option<u8>),
    /// A name that begins like a known one, or does not, and its bytes that have not come.
    Name(Option<Word>, u16),
    /// The variable's name, if it is known, and the first byte of its value's length.
    ValueLength(Option<Word>, Option<u8>),
    Value(Value, u16),
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
enum Value {
    Method(Word),
    Path(Path),
    /// Digits so far.
    Digits(u16),
    /// Bytes of a `traceparent` so far.
    Trace(usize),
    /// An `X-Request-Start` so far.
    RequestStart(Form),
    Hidden,
}

/// What comes after a byte.
pub(super) enum Next {
    /// More of the packet.
    Packet(Packet),
    /// What follows the block, or what is no packet after all.
    Opaque,
}

impl Packet {
    /// The first byte of a packet has come: the modifier of a WSGI request.
    pub(super) const MODIFIER: u8 = 0;

    /// After that byte.
    pub(super) const fn begun() -> Self {
        Self { part: Part::Header(1), left: 0 }
    }

    /// The next byte.
    pub(super) fn step(mut self, byte: u8) -> (Next, Verdict) {
        if let Part::Header(have) = self.part {
            return self.header(have, byte);
        }
        // The block is never longer than it says.
        let Some(left) = self.left.checked_sub(1) else { return (Next::Opaque, Verdict::Hide) };
        self.left = left;
        let (part, verdict) = match self.part {
            Part::NameLength(None) => (Part::NameLength(Some(byte)), Verdict::Begin),
            Part::NameLength(Some(low)) => match u16::from_le_bytes([low, byte]) {
                0 => return (Next::Opaque, Verdict::HideElement),
                length => (Part::Name(Some(Word::default()), length), Verdict::Keep),
            },
            Part::Name(word, length) => match name(word, length, byte) {
                Some(named) => named,
                None => return (Next::Opaque, Verdict::HideElement),
            },
            Part::ValueLength(word, None) => (Part::ValueLength(word, Some(byte)), Verdict::Keep),
            Part::ValueLength(word, Some(low)) => match u16::from_le_bytes([low, byte]) {
                0 => (Part::NameLength(None), Verdict::Keep),
                length => (Part::Value(Value::of(word, length), length), Verdict::Keep),
            },
            Part::Value(value, length) => {
                let (value, verdict) = value.step(length, byte);
                let rest = length.saturating_sub(1);
                (if rest == 0 { Part::NameLength(None) } else { Part::Value(value, rest) }, verdict)
            }
            Part::Header(_) => (self.part, Verdict::Hide),
        };
        self.part = part;
        let is_over = self.left == 0;
        (if is_over { Next::Opaque } else { Next::Packet(self) }, verdict)
    }

    fn header(mut self, have: u8, byte: u8) -> (Next, Verdict) {
        match have {
            1 => self.left = u16::from(byte),
            2 => self.left |= u16::from(byte) << 8,
            // The second modifier of a WSGI request, and no empty block.
            _ if byte == 0 && self.left > 0 => {
                self.part = Part::NameLength(None);
                return (Next::Packet(self), Verdict::Keep);
            }
            _ => return (Next::Opaque, Verdict::HideElement),
        }
        self.part = Part::Header(have.saturating_add(1));
        (Next::Packet(self), Verdict::Keep)
    }
}

/// The next byte of a name of which `length` bytes, this one among them, have not come; `None`: no name has
/// such a byte.
fn name(word: Option<Word>, length: u16, byte: u8) -> Option<(Part, Verdict)> {
    if !byte.is_ascii_graphic() {
        return None;
    }
    let was_known = word.is_some();
    let begins = word.is_some_and(|word| word.as_bytes().is_empty());
    let rest = length.saturating_sub(1);
    let word = word.and_then(|mut word| (word.push(byte) && word.begins_one_of(NAMES)).then_some(word));
    let whole = word.filter(|word| rest > 0 || word.is_one_of(NAMES));
    let verdict = match (whole, begins) {
        (Some(_), true) => Verdict::Begin,
        (Some(_), false) => Verdict::Keep,
        // What began like a known name is hidden with this byte; of one that did not, this byte alone.
        (None, false) if was_known => Verdict::HideElement,
        (None, _) => Verdict::Hide,
    };
    let part = if rest == 0 { Part::ValueLength(whole, None) } else { Part::Name(whole, rest) };
    Some((part, verdict))
}

impl Value {
    fn of(name: Option<Word>, length: u16) -> Self {
        match name.as_ref().map(Word::as_bytes) {
            Some(METHOD) => Self::Method(Word::default()),
            Some(PATH | TARGET) => Self::Path(Path::First),
            Some(LENGTH) if length <= MAX_LENGTH_DIGITS => Self::Digits(0),
            Some(REQUEST_START) => Self::RequestStart(Form::default()),
            Some(TRACE) if usize::from(length) == TRACE_PARENT_BYTES => Self::Trace(0),
            _ => Self::Hidden,
        }
    }

    /// The next byte of a value of which `length` bytes, this one among them, have not come.
    fn step(self, length: u16, byte: u8) -> (Self, Verdict) {
        let begins = |is_first| if is_first { Verdict::Begin } else { Verdict::Keep };
        let hidden = |is_first| (Self::Hidden, if is_first { Verdict::Hide } else { Verdict::HideElement });
        match self {
            Self::Method(mut word) => {
                let is_first = word.as_bytes().is_empty();
                let fits = word.push(byte) && word.begins_one_of(METHODS);
                let ends = length > 1 || word.is_one_of(METHODS);
                if fits && ends { (Self::Method(word), begins(is_first)) } else { hidden(is_first) }
            }
            Self::Path(path) => {
                let (path, verdict) = path.step(byte);
                (path.map_or(Self::Hidden, Self::Path), verdict)
            }
            Self::Digits(have) if byte.is_ascii_digit() => (Self::Digits(have + 1), begins(have == 0)),
            Self::Digits(have) => hidden(have == 0),
            Self::Trace(have) if is_trace_parent_byte(have, byte) => {
                (Self::Trace(have + 1), begins(have == 0))
            }
            Self::Trace(have) => hidden(have == 0),
            Self::RequestStart(form) => match form.push(byte) {
                Some(next) if length > 1 || next.unit_ns().is_some() => {
                    (Self::RequestStart(next), begins(form.is_empty()))
                }
                _ => hidden(form.is_empty()),
            },
            Self::Hidden => (self, Verdict::Hide),
        }
    }
}
