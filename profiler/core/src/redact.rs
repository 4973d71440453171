//! Secrets never reach the disk: captured heads are overwritten in place before anything keeps or decodes
//! them.
//!
//! In: raw records, as they come from the ring buffer. Out: the same records, same length. Of a captured head
//! only this survives. A known method, the path without its query and without the parameters of its segments
//! (`;jsessionid=…`), the HTTP version, the status code, the line structure. The headers that frame the
//! message (`Content-Length`, `Transfer-Encoding`, `Connection`, `Expect`), as far as their values are digits
//! or known tokens. Of a response `Content-Type`, if it is that of a stream of events. Of a request
//! `traceparent`, if its value has the form of one: numbers drawn at random, by which its trace is found. And
//! `X-Request-Start`, if its value has the form of a time. Everything else becomes [`FILLER`]. The same
//! survives of a request in the uwsgi protocol (`packet`). What is neither HTTP nor that is overwritten
//! whole, but for the headers of TLS records: type, version and length. Of an absolute target
//! (`http://user:pass@host/path`) everything before the path becomes filler, so the path starts at the
//! first `/`.
//!
//! What probes in OpenSSL saw is a message's beginning, and the same survives of it. More that is received
//! before an answer is sent is the rest of a request: it is overwritten whole.

mod message;
mod packet;
mod path;
mod table;
mod verdict;
mod word;

use profiler_common::record::head::{HeadRecord, INBOUND, OUTBOUND};
use profiler_common::record::plaintext::PlaintextRecord;
use profiler_common::record::{KIND_HEAD, KIND_PLAINTEXT};
use zerocopy::FromBytes;

use message::Message;
use table::{Key, Table};

/// What overwritten bytes become: it fits in a target, a header name and a header value alike.
pub const FILLER: u8 = b'x';

/// Captures whose state is kept at once. One that is pushed out is overwritten whole from then on.
pub const MAX_CAPTURES: usize = 32_768;

/// Whether records of this kind hold captured bytes: none of them may be kept or decoded before
/// [`Redactor::redact`] has had it.
pub const fn holds_captured(kind: u16) -> bool {
    matches!(kind, KIND_HEAD | KIND_PLAINTEXT)
}

/// What the redactor could not follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedactCounts {
    /// Records that continue a capture whose beginning was lost or pushed out: overwritten whole.
    pub unknown_captures: u64,
    /// Head records whose lengths contradict each other: overwritten whole.
    pub malformed_heads: u64,
}

/// Overwrites secrets, following each capture across records.
#[derive(Debug)]
pub struct Redactor {
    captures: Table<Capture>,
    /// Encrypted connections on which a request has begun, and no answer has.
    asked: Table<()>,
    counts: RedactCounts,
}

/// Where a capture stands.
#[derive(Clone, Copy, Debug)]
struct Capture {
    message: Message,
    /// `HeadRecord::offset_bytes` that the next record must have; another one means that bytes were lost.
    next_offset_bytes: u32,
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new()
    }
}

impl Redactor {
    /// A redactor that has seen nothing yet.
    pub fn new() -> Self {
        Self::with_bound(MAX_CAPTURES)
    }

    fn with_bound(max_captures: usize) -> Self {
        Self {
            captures: Table::new(max_captures),
            asked: Table::new(max_captures),
            counts: RedactCounts::default(),
        }
    }

    /// Overwrites what must not be kept of one raw record; records that hold no captured bytes are left
    /// alone.
    pub fn redact(&mut self, record: &mut [u8]) {
        match record.first_chunk::<2>().map(|kind| u16::from_ne_bytes(*kind)) {
            Some(KIND_HEAD) => {
                if let Some((head, bytes)) = self.captured(record, |head: &HeadRecord| head.captured_bytes) {
                    self.redact_captured(&head, bytes);
                }
            }
            Some(KIND_PLAINTEXT) => {
                let length = |plaintext: &PlaintextRecord| plaintext.captured_bytes;
                if let Some((plaintext, bytes)) = self.captured(record, length) {
                    self.redact_plaintext(&plaintext, bytes);
                }
            }
            _ => {}
        }
    }

    /// The record that `raw` begins with, and the captured bytes behind it, as many as `length` says. `None`:
    /// they contradict each other, and nothing is left of them.
    fn captured<'a, R: FromBytes>(
        &mut self,
        raw: &'a mut [u8],
        length: impl Fn(&R) -> u32,
    ) -> Option<(R, &'a mut [u8])> {
        let Ok((record, _)) = R::read_from_prefix(raw) else {
            // Too short to hold captured bytes by rights; what follows the kind may be anything.
            self.counts.malformed_heads = self.counts.malformed_heads.saturating_add(1);
            raw.get_mut(2..).unwrap_or_default().fill(0);
            return None;
        };
        let after = raw.get_mut(size_of::<R>()..).unwrap_or_default();
        let captured = usize::try_from(length(&record)).unwrap_or(usize::MAX);
        if captured > after.len() {
            self.counts.malformed_heads = self.counts.malformed_heads.saturating_add(1);
            after.fill(FILLER);
            return None;
        }
        let (bytes, slack) = after.split_at_mut_checked(captured)?;
        // The reserved place may be larger than what was captured; nobody reads it, but the recorder would
        // keep it.
        slack.fill(0);
        Some((record, bytes))
    }

    /// A process has ended: what comes under its number is another's, and nothing of it goes on.
    pub fn forget(&mut self, tgid: u32) {
        self.captures.retain(|key| key.tgid != tgid);
        self.asked.retain(|key| key.tgid != tgid);
    }

    /// What could not be followed so far.
    pub const fn counts(&self) -> RedactCounts {
        self.counts
    }

    fn redact_captured(&mut self, head: &HeadRecord, bytes: &mut [u8]) {
        let connection = u64::from(head.fd.cast_unsigned());
        let key = Key { tgid: head.header.tgid, connection, direction: head.direction };
        let before = self.captures.remove(key);
        let message = match (head.offset_bytes, head.direction, before) {
            (0, INBOUND, _) => Some(Message::request()),
            (0, OUTBOUND, _) => Some(Message::response()),
            (offset, _, Some(capture)) if offset == capture.next_offset_bytes => Some(capture.message),
            _ => None,
        };
        let Some(mut message) = message else {
            self.counts.unknown_captures = self.counts.unknown_captures.saturating_add(1);
            bytes.fill(FILLER);
            return;
        };
        message.feed(bytes);
        self.captures.insert(
            key,
            Capture { message, next_offset_bytes: head.offset_bytes.wrapping_add(head.captured_bytes) },
        );
    }

    fn redact_plaintext(&mut self, plaintext: &PlaintextRecord, bytes: &mut [u8]) {
        let key = Key { tgid: plaintext.header.tgid, connection: plaintext.session, direction: INBOUND };
        let is_asked = self.asked.remove(key).is_some();
        match plaintext.direction {
            INBOUND => {
                if is_asked {
                    bytes.fill(FILLER);
                } else {
                    Message::request().feed(bytes);
                }
                self.asked.insert(key, ());
            }
            OUTBOUND => Message::response().feed(bytes),
            _ => bytes.fill(FILLER),
        }
    }
}

#[cfg(test)]
mod tests;
