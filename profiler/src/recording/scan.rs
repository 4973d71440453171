//! Finding frames in bytes that may be cut off, damaged or hostile.
//!
//! In: anything that can be read. Out: the payloads of whole frames, in order, and how many bytes were passed
//! over. Memory is bounded by the largest frame allowed; time is linear in the length of the file.

use std::io::{self, Read};

use super::format::{FRAME_HEADER_BYTES, FrameHeader, MARKER};

/// Bytes asked for at once.
const READ_BYTES: usize = 256 * 1024;
/// Checksum work on frames that turn out damaged, beyond a multiple of the file's length: so many headers
/// with long lengths, one in the other, cannot make it quadratic.
const WASTE_ALLOWANCE_BYTES: u64 = 16 * 1024 * 1024;
/// Each byte of an LZ4 block lengthens a match by 255 bytes at most.
const LZ4_MAX_TIMES: usize = 255;
/// What a short block may hold beyond that, generously.
const LZ4_ALLOWANCE_BYTES: usize = 64;

/// A whole frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) kind: u32,
    pub(super) items: u32,
}

/// Reads frames.
#[derive(Debug)]
pub(super) struct Scanner<R> {
    source: R,
    buffer: Vec<u8>,
    /// Where the unread part of `buffer` begins.
    start: usize,
    at_end: bool,
    failure: Option<io::Error>,
    /// Bytes passed over.
    pub(super) unreadable_bytes: u64,
    /// Bytes consumed, whole frames or not.
    pub(super) consumed_bytes: u64,
    wasted_bytes: u64,
}

impl<R: Read> Scanner<R> {
    pub(super) const fn new(source: R) -> Self {
        Self {
            source,
            buffer: Vec::new(),
            start: 0,
            at_end: false,
            failure: None,
            unreadable_bytes: 0,
            consumed_bytes: 0,
            wasted_bytes: 0,
        }
    }

    /// The error of the system that ended the reading, if one did.
    pub(super) const fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    /// Up to `N` bytes that begin the unread part, without consuming them.
    pub(super) fn peek(&mut self, bytes: usize) -> &[u8] {
        self.fill(bytes);
        let unread = self.unread();
        unread.get(..bytes).unwrap_or(unread)
    }

    /// Consumes bytes that were peeked at.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes).min(self.buffer.len());
        self.consumed_bytes = self.consumed_bytes.saturating_add(bytes as u64);
    }

    /// The next whole frame, whose payload takes the place of what was in `payload`; `None` at the end.
    pub(super) fn next_frame(&mut self, payload: &mut Vec<u8>) -> Option<Frame> {
        loop {
            if self.peek(FRAME_HEADER_BYTES).is_empty() {
                return None;
            }
            match self.try_frame(payload) {
                Attempt::Frame(frame) => return Some(frame),
                Attempt::Skip(bytes) => {
                    self.pass_over(bytes);
                    self.seek_marker();
                }
            }
        }
    }

    /// Tries to read a frame where the unread part begins.
    fn try_frame(&mut self, payload: &mut Vec<u8>) -> Attempt {
        let head: Option<[u8; FRAME_HEADER_BYTES]> = self.peek(FRAME_HEADER_BYTES).first_chunk().copied();
        let Some(header) = head.and_then(|head| FrameHeader::parse(&head)) else {
            return Attempt::Skip(1);
        };
        let stored_bytes = header.stored_bytes as usize;
        let whole = FRAME_HEADER_BYTES.saturating_add(stored_bytes);
        let Some(stored) = self.peek(whole).get(FRAME_HEADER_BYTES..whole) else {
            // Cut off; but another frame may stand within the length that this one claims.
            return Attempt::Skip(1);
        };
        if crc32fast::hash(stored) != header.payload_crc {
            self.wasted_bytes = self.wasted_bytes.saturating_add(stored_bytes as u64);
            let allowed = self.consumed_bytes.saturating_mul(4).saturating_add(WASTE_ALLOWANCE_BYTES);
            return Attempt::Skip(if self.wasted_bytes <= allowed { 1 } else { whole });
        }
        let raw_bytes = header.raw_bytes as usize;
        if raw_bytes > stored_bytes.saturating_mul(LZ4_MAX_TIMES).saturating_add(LZ4_ALLOWANCE_BYTES) {
            // No block holds that much: zeros for it would cost far more time than the file is long.
            return Attempt::Skip(whole);
        }
        // What was there before is overwritten.
        payload.resize(raw_bytes, 0);
        let raw_bytes = lz4_flex::block::decompress_into(stored, payload);
        if raw_bytes.ok() != Some(payload.len()) {
            // The checksum is right, so these bytes were written on purpose: nothing of use lies within.
            return Attempt::Skip(whole);
        }
        self.consume(whole);
        Attempt::Frame(Frame { kind: header.kind, items: header.items })
    }

    fn pass_over(&mut self, bytes: usize) {
        let bytes = bytes.min(self.unread().len());
        self.unreadable_bytes = self.unreadable_bytes.saturating_add(bytes as u64);
        self.consume(bytes);
    }

    /// Passes over everything before the next marker, or up to the end.
    fn seek_marker(&mut self) {
        loop {
            let unread = self.unread();
            if let Some(position) = unread.windows(MARKER.len()).position(|window| window == MARKER) {
                self.pass_over(position);
                return;
            }
            // The last bytes may begin a marker.
            let certain = unread.len().saturating_sub(MARKER.len() - 1);
            self.pass_over(certain);
            let before = self.unread().len();
            self.fill(READ_BYTES);
            if self.unread().len() == before {
                self.pass_over(before);
                return;
            }
        }
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Reads until `want` bytes are unread in the buffer, or nothing more comes.
    fn fill(&mut self, want: usize) {
        while self.unread().len() < want && !self.at_end {
            if self.start > 0 {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            let had = self.buffer.len();
            // Grows with what is really there, not with what a header claims.
            self.buffer.resize(had.saturating_add(READ_BYTES), 0);
            let result = self.source.read(self.buffer.get_mut(had..).unwrap_or_default());
            let got = match result {
                Ok(0) => {
                    self.at_end = true;
                    0
                }
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => {
                    self.at_end = true;
                    self.failure = Some(error);
                    0
                }
            };
            self.buffer.truncate(had.saturating_add(got));
        }
    }
}

enum Attempt {
    Frame(Frame),
    /// So many bytes are no frame.
    Skip(usize),
}
