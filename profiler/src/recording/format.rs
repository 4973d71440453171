//! How the bytes of a recording lie.
//!
//! In: numbers. Out: the fixed parts of a file, and back. All integers are little-endian.
//!
//! A file is a header of 64 bytes and then frames. Header: magic (8), format version (2) and its complement
//! (2), layout hash of the kernel records (8), version of the tool that wrote it (32, NUL-padded), zeros (8),
//! CRC-32 of what precedes (4). Frame: marker (8), kind (4), items (4), raw bytes (4), stored bytes (4),
//! CRC-32 of the stored payload (4), CRC-32 of the five fields before (4), then the payload as one LZ4 block.
//! The items of a frame are packed (`pack.rs`). A reader that has lost its place looks for the next marker.

/// The version that is written and read.
pub(super) const FORMAT_VERSION: u16 = 1;

/// First bytes of every recording; not text, and damaged by a transfer that changes line ends.
pub(super) const MAGIC: [u8; 8] = *b"\x89WSGITR\n";
/// Length of the file's header.
pub(super) const FILE_HEADER_BYTES: usize = 64;
/// Room for the tool's version.
pub(super) const TOOL_VERSION_BYTES: usize = 32;

/// First bytes of every frame: no UTF-8, not likely in records.
pub(super) const MARKER: [u8; 8] = [0xf5, 0x1e, 0xc7, 0x9a, 0xff, 0x2b, 0xe3, 0x0d];
/// Length of a frame's header.
pub(super) const FRAME_HEADER_BYTES: usize = 32;

/// Kind of a frame that holds packed items.
pub(super) const FRAME_ITEMS: u32 = 1;
/// Kind of the frame that ends a complete recording.
pub(super) const FRAME_TRAILER: u32 = 2;

/// Largest item: a fact as JSON (kernel records are far smaller).
pub(super) const MAX_ITEM_BYTES: usize = 4 * 1024 * 1024;
/// Largest payload before compression; a frame that claims more is damaged or hostile.
pub(super) const MAX_RAW_BYTES: usize = MAX_ITEM_BYTES + 1024 * 1024;
/// Largest payload as stored: what cannot be compressed grows a little.
pub(super) const MAX_STORED_BYTES: usize = MAX_RAW_BYTES + MAX_RAW_BYTES / 8 + 64;

/// How much may come out of how much of a file.
#[derive(Clone, Copy, Debug)]
pub struct Expansion {
    times: u64,
    allowance_bytes: u64,
}

impl Expansion {
    /// Bytes of items that so many bytes of a file may hold.
    pub const fn of(self, file_bytes: u64) -> u64 {
        file_bytes.saturating_mul(self.times).saturating_add(self.allowance_bytes)
    }
}

/// LZ4 packs up to 255 to one and the streams of a packed frame as much again: without a limit a file of a
/// megabyte keeps `report` busy for minutes. Recordings hold some 20 times their size; records that are all
/// alike some hundred.
pub const MAX_EXPANSION: Expansion = Expansion { times: 1000, allowance_bytes: 64 * 1024 * 1024 };

/// The header of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) version: u16,
    pub(super) layout_hash: u64,
    pub(super) tool_version: String,
}

/// What stands where a file's header should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Header(FileHeader),
    /// Begins like a recording, but its header is damaged.
    Damaged,
    /// Something else.
    Foreign,
}

impl FileHeader {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FILE_HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&(!self.version).to_le_bytes());
        bytes.extend_from_slice(&self.layout_hash.to_le_bytes());
        let tool = self.tool_version.as_bytes();
        bytes.extend_from_slice(tool.get(..TOOL_VERSION_BYTES).unwrap_or(tool));
        bytes.resize(FILE_HEADER_BYTES - 4, 0);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header; `bytes` are the first [`FILE_HEADER_BYTES`] of a file.
    pub(super) fn parse(bytes: &[u8; FILE_HEADER_BYTES]) -> Parsed {
        if !bytes.starts_with(&MAGIC) {
            return Parsed::Foreign;
        }
        let version = u16::from_le_bytes(array(bytes, 8));
        let header = Self {
            version,
            layout_hash: u64::from_le_bytes(array(bytes, 12)),
            tool_version: text(bytes.get(20..20 + TOOL_VERSION_BYTES).unwrap_or_default()),
        };
        let whole = crc32fast::hash(bytes.get(..FILE_HEADER_BYTES - 4).unwrap_or_default());
        let intact = whole == u32::from_le_bytes(array(bytes, FILE_HEADER_BYTES - 4));
        let version_intact = !version == u16::from_le_bytes(array(bytes, 10));
        // A newer version may have another header behind the version number.
        if intact || (version_intact && version > FORMAT_VERSION) {
            Parsed::Header(header)
        } else {
            Parsed::Damaged
        }
    }
}

/// The header of a frame, without its marker and its own checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) kind: u32,
    pub(super) items: u32,
    pub(super) raw_bytes: u32,
    pub(super) stored_bytes: u32,
    pub(super) payload_crc: u32,
}

impl FrameHeader {
    pub(super) fn to_bytes(self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        let fields = [self.kind, self.items, self.raw_bytes, self.stored_bytes, self.payload_crc];
        let (marker, rest) = bytes.split_at_mut(MARKER.len());
        marker.copy_from_slice(&MARKER);
        let (body, crc) = rest.split_at_mut(20);
        for (place, field) in body.as_chunks_mut::<4>().0.iter_mut().zip(fields) {
            *place = field.to_le_bytes();
        }
        crc.copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        bytes
    }

    /// Reads a header; `None` if there is none, or if it is damaged or claims more than is allowed.
    pub(super) fn parse(bytes: &[u8; FRAME_HEADER_BYTES]) -> Option<Self> {
        let body = bytes.get(8..28)?;
        if !bytes.starts_with(&MARKER) || crc32fast::hash(body) != u32::from_le_bytes(array(bytes, 28)) {
            return None;
        }
        let field = |at| u32::from_le_bytes(array(bytes, at));
        let header = Self {
            kind: field(8),
            items: field(12),
            raw_bytes: field(16),
            stored_bytes: field(20),
            payload_crc: field(24),
        };
        let allowed = header.raw_bytes as usize <= MAX_RAW_BYTES
            && header.stored_bytes as usize <= MAX_STORED_BYTES
            && matches!(header.kind, FRAME_ITEMS | FRAME_TRAILER);
        allowed.then_some(header)
    }
}

/// `N` bytes from `at` on; zeros if they are not there (callers pass arrays that are long enough).
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

/// The text before the first NUL, without control characters: it comes from a file and ends on a terminal.
fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_header() -> FileHeader {
        FileHeader { version: 1, layout_hash: 0x0102_0304_0506_0708, tool_version: "0.1.0".into() }
    }

    #[test]
    fn headers_come_back_as_they_were() {
        let header = file_header();
        let bytes: [u8; FILE_HEADER_BYTES] = header.to_bytes().try_into().unwrap();
        assert_eq!(FileHeader::parse(&bytes), Parsed::Header(header));
        let header =
            FrameHeader { kind: FRAME_ITEMS, items: 2, raw_bytes: 3, stored_bytes: 4, payload_crc: 5 };
        assert_eq!(FrameHeader::parse(&header.to_bytes()), Some(header));
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let whole: [u8; FILE_HEADER_BYTES] = file_header().to_bytes().try_into().unwrap();
        for index in 0..FILE_HEADER_BYTES {
            let mut bytes = whole;
            bytes[index] ^= 0x10;
            let expected = if index < 8 { Parsed::Foreign } else { Parsed::Damaged };
            assert_eq!(FileHeader::parse(&bytes), expected, "{index}");
        }
        let whole =
            FrameHeader { kind: FRAME_ITEMS, items: 2, raw_bytes: 3, stored_bytes: 4, payload_crc: 5 }
                .to_bytes();
        for index in 0..FRAME_HEADER_BYTES {
            let mut bytes = whole;
            bytes[index] ^= 0x10;
            assert_eq!(FrameHeader::parse(&bytes), None, "{index}");
        }
    }

    #[test]
    fn hostile_lengths_are_refused() {
        let allowed = FrameHeader {
            kind: FRAME_ITEMS,
            items: 1,
            raw_bytes: u32::try_from(MAX_RAW_BYTES).unwrap(),
            stored_bytes: u32::try_from(MAX_STORED_BYTES).unwrap(),
            payload_crc: 0,
        };
        assert!(FrameHeader::parse(&allowed.to_bytes()).is_some());
        for hostile in [
            FrameHeader { raw_bytes: allowed.raw_bytes + 1, ..allowed },
            FrameHeader { stored_bytes: u32::MAX, ..allowed },
            FrameHeader { kind: 3, ..allowed },
        ] {
            assert_eq!(FrameHeader::parse(&hostile.to_bytes()), None);
        }
    }

    #[test]
    fn a_newer_header_is_told_from_a_damaged_one() {
        let newer = FileHeader { version: 7, ..file_header() };
        let mut bytes: [u8; FILE_HEADER_BYTES] = newer.to_bytes().try_into().unwrap();
        // Whatever version 7 keeps behind its number.
        bytes[12..].fill(0xee);
        assert!(matches!(FileHeader::parse(&bytes), Parsed::Header(FileHeader { version: 7, .. })));
    }

    #[test]
    fn the_bound_of_a_stored_payload_covers_what_cannot_be_compressed() {
        assert!(lz4_flex::block::get_maximum_output_size(MAX_RAW_BYTES) <= MAX_STORED_BYTES);
    }

    #[test]
    fn the_tool_version_is_safe_to_print() {
        assert_eq!(text(b"1.0\x1b[31m\0rest"), "1.0[31m");
    }
}
