//! The rings through which records reach user space: one for each CPU, and one for the iterators.
//!
//! In: nothing. Out: [`RingState`], and where a record lies. A ring has one writer at a time, which needs no
//! lock and no atomic instruction (these were a fifth of the cost of a record). It is made of chunks,
//! elements of the mmap-able array `RECORDS`; a position counts bytes since the start. A record begins where
//! the one before ended, on a multiple of [`ALIGN_BYTES`], and lies in one piece. It may reach beyond the
//! chunk's [`CHUNK_BYTES`] into the room after them. The next one then begins with the next chunk
//! ([`after`]).

use crate::loss::EMITTED_KINDS;
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a chunk in which a record can begin (a power of two).
pub const CHUNK_BYTES: u64 = 128 * 1024;

/// Bytes of a chunk in all: the longest record that begins at the last possible place fits, and the size is
/// one of whole pages.
pub const ELEMENT_BYTES: usize = CHUNK_BYTES as usize + 12 * 1024;

/// Where records begin.
pub const ALIGN_BYTES: u64 = 8;

/// Fewest chunks of a ring: the writer never enters the one that the reader is in.
pub const MIN_CHUNKS: u32 = 2;

/// What a writer keeps about its ring: an element of the mmap-able array `RING_STATES`. User space only reads
/// it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct RingState {
    /// Position after the last whole record.
    pub written: u64,
    /// Not 0 while a record is being written.
    pub busy: u32,
    /// Keeps the alignment; always 0.
    pub reserved: u32,
    /// Records written so far by kind (`loss::EMITTED_*`).
    pub emitted: [u64; EMITTED_KINDS as usize],
    /// Fills the second cache line, so that no two CPUs share one; always 0.
    pub fill: [u64; 5],
}

/// Where the next record begins after one of `length_bytes` at `position`.
#[inline(always)]
pub const fn after(position: u64, length_bytes: u64) -> u64 {
    let padded = length_bytes.wrapping_add(ALIGN_BYTES - 1) & !(ALIGN_BYTES - 1);
    let next = position.wrapping_add(padded);
    if position & !(CHUNK_BYTES - 1) == next & !(CHUNK_BYTES - 1) {
        return next;
    }
    next & !(CHUNK_BYTES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_REQUEST_HEAD_BYTES;
    use crate::record::head::HeadRecord;

    #[test]
    fn state_fills_its_cache_lines() {
        assert_eq!(size_of::<RingState>(), 128);
    }

    #[test]
    fn longest_record_fits_behind_the_last_place_where_one_begins() {
        let longest = size_of::<HeadRecord>() + MAX_REQUEST_HEAD_BYTES as usize;
        assert!(longest as u64 <= CHUNK_BYTES, "or a record would reach over a whole chunk");
        assert!(CHUNK_BYTES as usize - 8 + longest <= ELEMENT_BYTES);
        assert_eq!(ELEMENT_BYTES % 4096, 0);
    }

    #[test]
    fn record_that_reaches_beyond_its_chunk_is_followed_by_the_next_chunk() {
        assert_eq!(after(0, 168), 168);
        assert_eq!(after(168, 49), 168 + 56, "records begin on multiples of eight");
        assert_eq!(after(CHUNK_BYTES - 8, 168), CHUNK_BYTES);
        assert_eq!(after(CHUNK_BYTES - 168, 168), CHUNK_BYTES);
        assert_eq!(after(5 * CHUNK_BYTES + 8, 16), 5 * CHUNK_BYTES + 24);
    }
}
