//! Connections of clients as they become known.
//!
//! In: connection records (by `decode`). Out: [`Connection`].

use super::Tid;

/// A client connection becomes known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Process.
    pub tgid: Tid,
    /// Accepting thread (main thread when seeded).
    pub tid: Tid,
    /// Descriptor.
    pub fd: i32,
    /// Descriptor of the listener (−1 when seeded).
    pub listener_fd: i32,
    /// Open already when we attached.
    pub seeded: bool,
    /// Kernel identity: address and generation.
    pub socket: (u64, u32),
    /// End of the handshake (0: not seen).
    pub established_ns: u64,
    /// Address family.
    pub family: u16,
    /// Local port.
    pub local_port: u16,
    /// Peer's port.
    pub peer_port: u16,
    /// For how long (ms) the client had been refused because the accept queue was full (65,535: as long or
    /// longer).
    pub delayed_ms: u16,
}

#[cfg(test)]
impl Connection {
    /// One that was accepted while a test watched.
    pub(crate) const fn accepted(established_ns: u64) -> Self {
        Self {
            tgid: 7,
            tid: 7,
            fd: 9,
            listener_fd: 5,
            seeded: false,
            socket: (1, 0),
            established_ns,
            family: 2,
            local_port: 8000,
            peer_port: 40_000,
            delayed_ms: 0,
        }
    }
}
