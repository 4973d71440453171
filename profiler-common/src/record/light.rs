//! The light slice: one message's bytes moved on a client's socket, and what its thread did since its light
//! slice before.
//!
//! In: nothing. Out: [`LightRecord`], with sleeps all that light mode records of a thread's work, as system
//! calls are not observed; and [`LightEndRecord`]. The law of a light slice: `time_ns − since_ns = cpu_ns +
//! run_queue_ns + blocked_ns`; `since_ns` is the thread's light slice before.

use super::RecordHeader;
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`LightRecord::what`]: bytes were received from the client.
pub const RECEIVED: u32 = 0;
/// [`LightRecord::what`]: bytes were sent to the client.
pub const SENT: u32 = 1;
/// [`LightEndRecord::flags`]: the call that met that the client had gone sent something.
pub const END_BY_SEND: u32 = 1;
/// [`LightEndRecord::flags`]: no byte was moved on the connection.
pub const END_UNUSED: u32 = 2;

/// One receive or send on a client's socket. `header.time_ns` is the moment at which it had moved its bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct LightRecord {
    /// Common header.
    pub header: RecordHeader,
    /// Kernel address of the socket; reused over time, so only unique together with `generation`.
    pub socket: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// [`RECEIVED`]: when the first byte that no receive before had seen reached the socket (0: not known).
    pub arrival_ns: u64,
    /// The thread's light slice before this one, or its adoption.
    pub since_ns: u64,
    /// Time on a CPU since then.
    pub cpu_ns: u64,
    /// Time runnable and waiting for a CPU since then.
    pub run_queue_ns: u64,
    /// Time asleep since then.
    pub blocked_ns: u64,
    /// Number of connections seen on this socket address before this one.
    pub generation: u32,
    /// [`RECEIVED`] or [`SENT`].
    pub what: u32,
    /// Number of this light slice among its thread's, from 1; a hole means lost ones.
    pub sequence: u32,
    /// Times the thread was switched in since the one before.
    pub switches: u32,
    /// `FLAG_` bits of the slice: [`super::slice::FLAG_WAKE_MISSED`].
    pub flags: u32,
    /// Address family.
    pub family: u16,
    /// Local port, host order; 0 for UNIX sockets.
    pub local_port: u16,
}

/// The end of a client's connection: it was closed, or a call met that the client had gone. Nobody's time.
/// The header's process is the one that ran as it ended; its thread is 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct LightEndRecord {
    /// Common header.
    pub header: RecordHeader,
    /// Kernel address of the socket.
    pub socket: u64,
    /// When the handshake was done; 0: not seen.
    pub established_ns: u64,
    /// Number of connections seen on this socket address before this one.
    pub generation: u32,
    /// [`END_BY_SEND`], [`END_UNUSED`].
    pub flags: u32,
    /// The error by which a call met that the client had gone, as a positive number; 0: this side closed the
    /// connection.
    pub error: u16,
    /// Address family.
    pub family: u16,
    /// Local port, host order; 0 for UNIX sockets, and where the client had reset the connection.
    pub local_port: u16,
    /// The client's port, as `local_port`.
    pub peer_port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn light_layout_is_pinned() {
        assert_eq!(size_of::<LightRecord>(), 104);
        assert_eq!(core::mem::offset_of!(LightRecord, cpu_ns), 56);
        assert_eq!(core::mem::offset_of!(LightRecord, generation), 80);
        assert_eq!(core::mem::offset_of!(LightRecord, local_port), 102);
        assert_eq!(size_of::<LightEndRecord>(), 56);
    }
}
