//! What connections to one traced listener set in motion: the value of the map `LISTENERS`.
//!
//! In: nothing. Out: [`ListenerCount`]. Only kernel programs write it (atomically: several CPUs at once);
//! user space reads it with one look-up. All counts are since the listener became known.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Cumulative counts of one listener.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct ListenerCount {
    /// Inode of the listening socket: how user space knows it; 0 if it could not be read.
    pub inode: u64,
    /// Connections that the kernel announced to it.
    pub arrivals: u64,
    /// Traced threads woken by these announcements, in accept, poll, select or epoll.
    pub woken: u64,
    /// Of those woken: went back to sleep inside the same call, without returning to user space.
    pub slept_again: u64,
    /// On-CPU time of the latter between wakeup and sleep.
    pub slept_again_cpu_ns: u64,
    /// Run-queue time of the latter between wakeup and sleep.
    pub slept_again_run_queue_ns: u64,
}

/// Words of a [`ListenerCount`], for readers of the raw map.
pub const LISTENER_COUNT_WORDS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_is_made_of_whole_words() {
        assert_eq!(size_of::<ListenerCount>(), LISTENER_COUNT_WORDS * 8);
    }
}
