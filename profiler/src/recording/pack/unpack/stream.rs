//! Numbers of a stream of a packed frame, one after the other.
//!
//! In: where the stream lies in its frame, and the bytes of that, which may be hostile. Out: its numbers, or
//! so many of its bytes.

use std::ops::Range;

/// Seven bits a byte.
const MAX_VARINT_BYTES: usize = 10;

/// What is left of a stream: where in the frame it lies.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stream {
    pub(super) at: usize,
    pub(super) end: usize,
}

impl Stream {
    /// Takes so many bytes.
    #[inline]
    pub(super) fn split(&mut self, bytes: usize) -> Option<Range<usize>> {
        let end = self.at.checked_add(bytes).filter(|end| *end <= self.end)?;
        Some(std::mem::replace(&mut self.at, end)..end)
    }

    /// Takes a number.
    #[inline]
    pub(super) fn take(&mut self, frame: &[u8]) -> Option<u64> {
        let rest = frame.get(self.at..self.end)?;
        match rest {
            // Most are one byte long, most others two.
            [byte, ..] if *byte < 0x80 => {
                self.at += 1;
                Some(u64::from(*byte))
            }
            [low, high, ..] if *high < 0x80 => {
                self.at += 2;
                Some(u64::from(low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.take_long(rest),
        }
    }

    fn take_long(&mut self, rest: &[u8]) -> Option<u64> {
        // Of the others, nearly all end within eight bytes, and have as many behind them: those are taken
        // together.
        if let Some(bytes) = rest.first_chunk::<8>() {
            let word = u64::from_le_bytes(*bytes);
            let ends = !word & 0x8080_8080_8080_8080;
            if ends != 0 {
                self.at += ends.trailing_zeros() as usize / 8 + 1;
                return Some(sevens(word & (ends ^ (ends - 1))));
            }
        }
        let mut number = 0;
        for (place, byte) in rest.iter().take(MAX_VARINT_BYTES).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * place);
            if *byte < 0x80 {
                self.at += place + 1;
                return Some(number);
            }
        }
        None
    }
}

/// The difference that was folded into this number.
pub(super) const fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

/// The lower seven bits of each byte, put together.
const fn sevens(bytes: u64) -> u64 {
    let twice = (bytes & 0x007f_007f_007f_007f) | (bytes & 0x7f00_7f00_7f00_7f00) >> 1;
    let four_times = (twice & 0x0000_3fff_0000_3fff) | (twice & 0x3fff_0000_3fff_0000) >> 2;
    (four_times & 0x0fff_ffff) | (four_times & 0x0fff_ffff_0000_0000) >> 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::pack::{varint, zigzag};

    const fn mask(bytes: usize) -> u64 {
        u64::MAX >> (64 - 8 * bytes)
    }

    #[test]
    fn numbers_of_every_width_survive_their_difference() {
        for bytes in [2, 4, 8] {
            for difference in [0, 1, mask(bytes), mask(bytes) >> 1, (mask(bytes) >> 1) + 1] {
                let back = unzigzag(zigzag(difference, bytes)) & mask(bytes);
                assert_eq!(back, difference, "{bytes} bytes");
            }
        }
    }

    #[test]
    fn numbers_of_every_length_are_read_back_wherever_their_stream_ends() {
        let whole = |bytes: &[u8]| Stream { at: 0, end: bytes.len() };
        for shift in 0..64 {
            for number in [
                1 << shift,
                (1_u64 << shift).wrapping_sub(1),
                u64::MAX >> shift,
                0x5555_5555_5555_5555 >> shift,
            ] {
                for behind in 0..10 {
                    let mut bytes = Vec::new();
                    varint(&mut bytes, number);
                    let end = bytes.len();
                    bytes.resize(end + behind, 0xff);
                    let mut stream = whole(&bytes);
                    assert_eq!(stream.take(&bytes), Some(number), "{behind} bytes behind");
                    assert_eq!(stream.at, end);
                }
            }
        }
        assert_eq!(whole(&[0x80; 12]).take(&[0x80; 12]), None);
        assert_eq!(whole(&[0xff; 3]).take(&[0xff; 3]), None);
    }
}
