//! What the kernel refused at one traced listener because its accept queue was full: the value of the map
//! `QUEUES`.
//!
//! In: nothing. Out: [`QueueCount`]. Only kernel programs write it (atomically: several CPUs at once); user
//! space reads it with one look-up. All counts are since the listener became known.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Cumulative counts of one listener.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct QueueCount {
    /// Inode of the listening socket: how user space knows it; 0 if it could not be read.
    pub inode: u64,
    /// Handshakes begun (SYN) that found the queue full; of a UNIX listener the clients' calls of `connect`
    /// that did.
    pub refused_at_begin: u64,
    /// Handshakes about to end (the client's ACK) that found the queue full: that client takes itself for
    /// connected.
    pub refused_at_end: u64,
    /// Of all: first attempts, by address and port of the client.
    pub delayed: u64,
    /// 1: the listener holds connections back until their first data come (`TCP_DEFER_ACCEPT`).
    pub is_deferred: u64,
}

/// Words of a [`QueueCount`], for readers of the raw map.
pub const QUEUE_COUNT_WORDS: usize = 5;

/// Clients whose first refused attempt is remembered until they are connected (least recently used goes
/// first).
pub const MAX_DELAYED: u32 = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_is_made_of_whole_words() {
        assert_eq!(size_of::<QueueCount>(), QUEUE_COUNT_WORDS * 8);
    }
}
