//! Boundaries of HTTP/1.x messages on one connection, by RFC 9112, from captured heads and byte counts.
//!
//! In: for each read or write the number of bytes it moved and how many of them were captured. Out:
//! [`Step`]s: which message the bytes belong to, its head once that is whole, whether the message is
//! complete. Bodies are only counted, never seen. What cannot be framed this way is marked inferred.

mod encrypted;
mod inbound;
mod outbound;
pub mod packet;
mod request_head;

pub use encrypted::FAREWELL_MAX_BYTES;
pub use inbound::Inbound;
pub(in crate::machine) use outbound::status_of;
pub use outbound::{Outbound, ResponseHead};
pub use request_head::RequestHead;

use std::borrow::Cow;

use smallvec::SmallVec;

/// Longest head that is put together; the kernel captures no more.
const MAX_HEAD_BYTES: usize = profiler_common::limits::MAX_REQUEST_HEAD_BYTES as usize;
/// Header lines that are looked at.
const MAX_HEADERS: usize = 128;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// This many bytes are still to come.
    Sized(u64),
    /// Chunked, or until the connection ends: bytes are counted until traffic turns.
    UntilTurn,
}

/// What a stretch of bytes is for one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<H> {
    /// Bytes of this read or write that belong to the message.
    pub bytes: u64,
    /// The bytes are the first of the message.
    pub begins: bool,
    /// The message's head, if these bytes complete it.
    pub head: Option<H>,
    /// The message is complete.
    pub complete: bool,
    /// Where the message begins or ends is inferred.
    pub inferred: bool,
    /// The bytes are not HTTP, or are encrypted.
    pub not_http: bool,
    /// The bytes belong to no message: a handshake, an alert.
    pub outside: bool,
    /// The first bytes lie within a message whose beginning was not seen.
    pub mid_message: bool,
}

/// What the bytes of one read or write are, in their order: nearly always of one message.
pub type Steps<H> = SmallVec<[Step<H>; 1]>;

impl<H> Step<H> {
    const fn new(begins: bool) -> Self {
        Self {
            bytes: 0,
            begins,
            head: None,
            complete: false,
            inferred: false,
            not_http: false,
            outside: false,
            mid_message: false,
        }
    }
}

/// Attributes `total_bytes`, the first of them captured, to messages. `next` takes what is left and says what
/// it took of it.
fn lay<H>(total_bytes: u64, mut captured: &[u8], mut next: impl FnMut(u64, &[u8]) -> Step<H>) -> Steps<H> {
    let mut steps = Steps::new();
    let mut rest = total_bytes;
    while rest > 0 {
        let step = next(rest, captured);
        let taken = usize::try_from(step.bytes).unwrap_or(usize::MAX).min(captured.len());
        captured = captured.get(taken..).unwrap_or_default();
        rest -= step.bytes.min(rest);
        let stuck = step.bytes == 0;
        steps.push(step);
        if stuck {
            break;
        }
    }
    steps
}

/// A head as far as it is known, up to its bound: what came of it before, and the captured bytes. Most come
/// in one piece, and are read where they lie.
fn gather(mut before: Vec<u8>, captured: &[u8]) -> Cow<'_, [u8]> {
    let room = MAX_HEAD_BYTES.saturating_sub(before.len());
    let captured = captured.get(..room.min(captured.len())).unwrap_or_default();
    if before.is_empty() {
        return Cow::Borrowed(captured);
    }
    before.extend_from_slice(captured);
    Cow::Owned(before)
}

impl Body {
    /// Takes the body's part of `rest` bytes. Says how many these are and whether it is complete.
    fn take<H>(&mut self, rest: u64) -> Step<H> {
        match self {
            Self::Sized(owed) => {
                let bytes = (*owed).min(rest);
                *owed -= bytes;
                Step { bytes, complete: *owed == 0, ..Step::new(false) }
            }
            Self::UntilTurn => Step { bytes: rest, ..Step::new(false) },
        }
    }
}

/// What a head says of the body that follows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Framing {
    /// `Content-Length`, where it is one number.
    length: Option<u64>,
    /// There is a `Transfer-Encoding`, which overrides the length (RFC 9112 section 6.3).
    chunked: bool,
    /// A `Content-Length` is no number, or there are two that differ: where the body ends is not known.
    contradicts: bool,
}

/// Body framing from header lines, shared by both directions.
fn framing(headers: &[httparse::Header<'_>]) -> Framing {
    let mut framing = Framing::default();
    for header in headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse().ok());
            framing.contradicts |=
                length.is_none() || framing.length.is_some_and(|other| Some(other) != length);
            framing.length = length;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            framing.chunked = true;
        }
    }
    framing
}
