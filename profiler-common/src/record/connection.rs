//! A client connection becomes known: a traced process accepted it, or had it open when we attached.
//!
//! In: nothing. Out: [`ConnectionRecord`]. An accepted one is written before the accept's slice, with its
//! `time_ns`.

use super::RecordHeader;
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`ConnectionRecord::origin`]: accepted while we watched.
pub const ACCEPTED: u32 = 1;
/// [`ConnectionRecord::origin`]: open already when the programs were attached (found by the iterator).
pub const SEEDED: u32 = 2;

/// One client connection. Addresses are not taken.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct ConnectionRecord {
    /// Common header; `tid` is the accepting thread (the process's main thread when seeded).
    pub header: RecordHeader,
    /// Kernel address of the socket; reused over time, so only unique together with `generation`.
    pub socket: u64,
    /// When the handshake was done (`SYN_RECV` → `ESTABLISHED`); 0 if it was not seen.
    pub established_ns: u64,
    /// Number of connections seen on this socket address before this one.
    pub generation: u32,
    /// Descriptor in the process of the header.
    pub fd: i32,
    /// Descriptor of the listener; −1 when seeded.
    pub listener_fd: i32,
    /// [`ACCEPTED`] or [`SEEDED`].
    pub origin: u32,
    /// `AF_INET`, `AF_INET6` or `AF_UNIX`.
    pub family: u16,
    /// Local port, host order; 0 for UNIX sockets.
    pub local_port: u16,
    /// Peer's port, host order; 0 for UNIX sockets.
    pub peer_port: u16,
    /// For how long (ms) the client had been refused because the accept queue was full, before its handshake
    /// was done; 65,535: as long or longer.
    pub delayed_ms: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_layout_is_pinned() {
        assert_eq!(size_of::<ConnectionRecord>(), 64);
        assert_eq!(core::mem::offset_of!(ConnectionRecord, family), 56);
    }
}
