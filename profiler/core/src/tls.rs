//! Headers of TLS records (RFC 8446 section 5.1): type, version, length. They are sent as they are and hold
//! no secret; what is behind them is encrypted, or a handshake.
//!
//! In: one byte after another, from a header's first on. Out: the [`Header`] once it is whole.

/// Bytes of a header.
pub const HEADER_BYTES: usize = 5;
/// Most bytes behind a header: 2^14, and what a cipher may add (RFC 5246 section 6.2.3).
const MAX_PAYLOAD_BYTES: u16 = 16_384 + 2_048;

/// What a record holds, by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// 20.
    ChangeCipherSpec,
    /// 21.
    Alert,
    /// 22.
    Handshake,
    /// 23: application data; in TLS 1.3 whatever is encrypted.
    ApplicationData,
    /// 24.
    Heartbeat,
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the record holds.
    pub content: Content,
    /// Bytes behind the header, more than none.
    pub payload_bytes: u16,
}

/// A header that is being put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Partial {
    bytes: [u8; HEADER_BYTES],
    count: u8,
}

/// What the next byte makes of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More of it must come.
    Partial(Partial),
    /// The header is whole.
    Whole(Header),
    /// The bytes are no header.
    Not,
}

impl Partial {
    /// Whether none of its bytes has come.
    pub const fn is_empty(self) -> bool {
        self.count == 0
    }

    /// Takes the next byte.
    pub fn step(mut self, byte: u8) -> Next {
        // Version 3.0 is SSL 3, 3.1 TLS 1.0, and so on; TLS 1.3 says 3.3, or 3.1 in its first record.
        let fits = match self.count {
            0 => content(byte).is_some(),
            1 => byte == 3,
            2 => byte <= 4,
            _ => true,
        };
        let Some(place) = self.bytes.get_mut(usize::from(self.count)).filter(|_| fits) else {
            return Next::Not;
        };
        *place = byte;
        self.count += 1;
        if usize::from(self.count) < HEADER_BYTES {
            return Next::Partial(self);
        }
        let [kind, _, _, high, low] = self.bytes;
        let payload_bytes = u16::from_be_bytes([high, low]);
        match content(kind) {
            Some(content) if (1..=MAX_PAYLOAD_BYTES).contains(&payload_bytes) => {
                Next::Whole(Header { content, payload_bytes })
            }
            _ => Next::Not,
        }
    }
}

const fn content(kind: u8) -> Option<Content> {
    Some(match kind {
        20 => Content::ChangeCipherSpec,
        21 => Content::Alert,
        22 => Content::Handshake,
        23 => Content::ApplicationData,
        24 => Content::Heartbeat,
        _ => return None,
    })
}

/// Whether these bytes are the beginning of a record: as much of a header as there is.
pub fn begins(bytes: &[u8]) -> bool {
    let mut header = Partial::default();
    for byte in bytes {
        match header.step(*byte) {
            Next::Partial(more) => header = more,
            Next::Whole(_) => return true,
            Next::Not => return false,
        }
    }
    !bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_five_bytes_of_known_type_version_and_length() {
        let last = |bytes: &[u8]| {
            bytes.iter().fold(Next::Partial(Partial::default()), |next, byte| match next {
                Next::Partial(header) => header.step(*byte),
                over => over,
            })
        };
        let whole = |content, payload_bytes| Next::Whole(Header { content, payload_bytes });
        assert_eq!(last(&[22, 3, 1, 2, 0]), whole(Content::Handshake, 512));
        assert_eq!(last(&[23, 3, 3, 0x48, 0]), whole(Content::ApplicationData, 18_432));
        for not in [
            &[19_u8, 3, 3, 0, 1][..],
            &[22, 2, 0, 0, 1],
            &[22, 3, 5],
            &[22, 3, 3, 0, 0],
            &[23, 3, 3, 0x48, 1],
        ] {
            assert_eq!(last(not), Next::Not, "{not:?}");
        }
        assert!(begins(&[22]) && begins(&[20, 3, 3, 0, 1, 1]));
        assert!(!begins(&[]) && !begins(b"GET"));
    }
}
