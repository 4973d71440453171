//! Accept queues of the target's listeners, and what the network namespace counts of them.
//!
//! In: nothing (`session` reads them several times a second). Out: [`AcceptQueues`], [`NetworkCounters`].

use serde::{Deserialize, Serialize};

/// Accept queues at one moment: of all listeners whose queue can be read. Written where something has changed
/// since the reading before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptQueues {
    /// By inode, ascending.
    pub queues: Vec<AcceptQueue>,
    /// Why not all could be read, as a clause; `None`: nothing was in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_read: Option<String>,
}

/// One accept queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptQueue {
    /// Inode of the listening socket.
    pub inode: u64,
    /// Connections that wait to be accepted.
    pub depth: u32,
    /// Limit in force: what the server asked for, or `somaxconn` if that is less. The queue is full when
    /// more than this many wait.
    pub limit: u32,
    /// Packets of handshakes refused since the listener was made, modulo 2³²; `None`: the kernel does not
    /// count them (UNIX).
    pub refused: Option<u32>,
}

/// What was refused because accept queues were full, cumulative since the listeners became known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueCounts {
    /// By inode, ascending.
    pub listeners: Vec<Refusals>,
}

/// Handshakes that found the accept queue of one listener full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusals {
    /// Inode of the listening socket.
    pub inode: u64,
    /// Packets that begin one (SYN); of a UNIX listener the calls of `connect`.
    pub at_begin: u64,
    /// Packets that would have ended one: that client takes itself for connected.
    pub at_end: u64,
    /// Of all these, first attempts: clients, distinguished by address and port.
    pub delayed: u64,
    /// The listener holds connections back until their first data come (`TCP_DEFER_ACCEPT`).
    pub is_deferred: bool,
}

impl Refusals {
    /// What was counted since `earlier`.
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            inode: self.inode,
            at_begin: self.at_begin.saturating_sub(earlier.at_begin),
            at_end: self.at_end.saturating_sub(earlier.at_end),
            delayed: self.delayed.saturating_sub(earlier.delayed),
            is_deferred: self.is_deferred,
        }
    }
}

/// What a network namespace says of all its listeners together; counts are cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkCounters {
    /// Inode of the namespace.
    pub namespace: u64,
    /// `net.core.somaxconn`: no accept queue is longer, whatever a server asks for; `None`: not known.
    pub somaxconn: Option<u32>,
    /// `ListenOverflows`: packets of handshakes that came while the accept queue was full.
    pub listen_overflows: u64,
    /// `ListenDrops`: packets of handshakes refused for any reason.
    pub listen_drops: u64,
    /// `TCPReqQFullDrop`: connection attempts refused because too many handshakes were under way.
    pub request_queue_full: u64,
    /// `TCPDeferAcceptDrop`: acknowledgements passed over because the listener waits for the first data. No
    /// refusals.
    pub deferred: u64,
}

impl NetworkCounters {
    /// What was counted since `earlier`.
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            namespace: self.namespace,
            somaxconn: self.somaxconn,
            listen_overflows: self.listen_overflows.saturating_sub(earlier.listen_overflows),
            listen_drops: self.listen_drops.saturating_sub(earlier.listen_drops),
            request_queue_full: self.request_queue_full.saturating_sub(earlier.request_queue_full),
            deferred: self.deferred.saturating_sub(earlier.deferred),
        }
    }
}
