//! The first bytes of a message on a connection whose server does the TLS itself, before they are encrypted
//! or after.
//!
//! In: nothing. Out: [`PlaintextRecord`], followed by `captured_bytes` bytes. Probes in OpenSSL write it,
//! which may be interrupted and preempted anywhere. So it goes through a ring of its own (`PLAINTEXTS`),
//! which any number of writers may use. It belongs to no slice: it only names requests.

use super::RecordHeader;
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What precedes the captured bytes. Its header's time: of what was received, the return of `SSL_read`; of
/// what is sent, the call of `SSL_write`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct PlaintextRecord {
    /// Common header; `length_bytes` includes the captured bytes.
    pub header: RecordHeader,
    /// Address of OpenSSL's object of the connection (`SSL *`).
    pub session: u64,
    /// `record::head::{INBOUND, OUTBOUND}`.
    pub direction: u32,
    /// Number of bytes that follow this struct.
    pub captured_bytes: u32,
    /// Bytes that the call moved.
    pub moved_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_layout_is_pinned() {
        assert_eq!(size_of::<PlaintextRecord>(), 48);
        assert_eq!(core::mem::offset_of!(PlaintextRecord, session), 24);
        assert_eq!(core::mem::offset_of!(PlaintextRecord, captured_bytes), 36);
    }
}
