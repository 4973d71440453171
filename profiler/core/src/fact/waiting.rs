//! Connections that nobody serves as a window ends, although their clients have sent something.
//!
//! In: nothing (one look of the kernel side at the window's end). Out: [`WaitingConnections`].

use serde::{Deserialize, Serialize};

/// Connections with something unread, at one moment: in the accept queues of the target's listeners, oldest
/// first, and among those that its processes have accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingConnections {
    /// When the look began.
    pub looked_ns: u64,
    /// The connections.
    pub connections: Vec<WaitingConnection>,
    /// What found no place: connections, or accept queues whose end was not looked at.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub beyond: u64,
}

/// One of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingConnection {
    /// Kernel identity: address and generation.
    pub socket: (u64, u32),
    /// Inode of the listener in whose accept queue it is; 0: it is accepted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub inode: u64,
    /// The process that has accepted it, and its descriptor there; `None`: it is in an accept queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<(u32, i32)>,
    /// When the handshake was done; 0: not seen.
    pub established_ns: u64,
    /// When the first byte that nobody has read arrived; 0: not seen.
    pub first_data_ns: u64,
    /// It is over a UNIX socket.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unix: bool,
    /// Peer's port; 0 for UNIX sockets.
    pub peer_port: u16,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}
