//! The head capture: the first bytes of a message on a client connection.
//!
//! In: nothing. Out: [`HeadRecord`], followed in the ring by `captured_bytes` bytes. It is written before the
//! slice of the call that moved the bytes, with the same `time_ns` and `sequence`.

use super::RecordHeader;
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`HeadRecord::direction`]: bytes from the client.
pub const INBOUND: u32 = 0;
/// [`HeadRecord::direction`]: bytes to the client.
pub const OUTBOUND: u32 = 1;

/// What precedes the captured bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct HeadRecord {
    /// Common header; `length_bytes` includes the captured bytes.
    pub header: RecordHeader,
    /// Descriptor of the connection.
    pub fd: i32,
    /// [`INBOUND`] or [`OUTBOUND`].
    pub direction: u32,
    /// Sequence number of the slice of the same call.
    pub sequence: u32,
    /// Bytes captured before these since the capture was armed (0: this is the start of a capture).
    pub offset_bytes: u32,
    /// Number of bytes that follow this struct; at most what the call moved.
    pub captured_bytes: u32,
    /// Keeps the size a multiple of 8; always 0.
    pub reserved: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_layout_is_pinned() {
        assert_eq!(size_of::<HeadRecord>(), 48);
        assert_eq!(core::mem::offset_of!(HeadRecord, captured_bytes), 40);
    }
}
