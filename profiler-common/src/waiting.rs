//! A connection that nobody serves although its client has sent something: an element of the map `WAITING`.
//!
//! In: nothing. Out: [`WaitingConnection`]. An iterator writes it as a window ends; user space reads it then.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One such connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct WaitingConnection {
    /// Kernel address of the socket; reused over time, so only unique together with `generation`.
    pub socket: u64,
    /// Inode of the listener in whose accept queue it is; 0: it is accepted.
    pub inode: u64,
    /// When the handshake was done; 0: not seen.
    pub established_ns: u64,
    /// When the first byte that nobody has read arrived; 0: not seen.
    pub first_data_ns: u64,
    /// Number of connections seen on this socket address before this one.
    pub generation: u32,
    /// Process that has accepted it; 0: none has.
    pub tgid: u32,
    /// Descriptor there; −1: it has none.
    pub fd: i32,
    /// `AF_INET`, `AF_INET6` or `AF_UNIX`.
    pub family: u16,
    /// Peer's port, host order; 0 for UNIX sockets.
    pub peer_port: u16,
}

/// Words of a [`WaitingConnection`], for readers of the raw map.
pub const WAITING_WORDS: usize = 6;

/// Connections listed by one look. What is beyond it is counted.
pub const MAX_WAITING: u32 = 4096;

/// Connections looked at in one accept queue, the oldest; what is behind them is counted.
pub const MAX_OF_QUEUE: u32 = 4096;

/// Elements of the map `WAITING_LOOK`: the number of this look, which user space writes before it.
pub const LOOK_NUMBER: u32 = 0;
/// Connections listed so far.
pub const LOOK_LISTED: u32 = 1;
/// Connections with something unread that found no place, and those in queues that were not looked at.
pub const LOOK_BEYOND: u32 = 2;
/// Number of elements.
pub const LOOK_ELEMENTS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_is_made_of_whole_words() {
        assert_eq!(size_of::<WaitingConnection>(), WAITING_WORDS * 8);
    }
}
