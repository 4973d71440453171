//! How a connection came about.
//!
//! In: what accept, or the look at what was open, showed of it. Out: what stands at its ends, and what
//! distinguishes it from others.

/// What stands at the two ends of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// A client and the server.
    #[default]
    Whole,
    /// A client and a front end of the target.
    Front,
    /// A front end of the target and the server behind it.
    Inner {
        /// In a protocol of the server's own, one request a connection.
        private: bool,
    },
}

impl Side {
    /// Whether it carries one request, in a protocol of the server's own.
    pub fn is_private(self) -> bool {
        self == Self::Inner { private: true }
    }
}

/// How a connection came about, and what stands at its ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// When accept returned it; `None`: before we attached.
    pub accepted_ns: Option<u64>,
    /// End of its handshake; 0: not seen.
    pub established_ns: u64,
    /// What stands at its ends.
    pub side: Side,
    /// Inode of the listener; 0: not known.
    pub listener_inode: u64,
    /// Port of the listener; 0 for UNIX sockets.
    pub port: u16,
    /// The connection is over a UNIX socket.
    pub is_unix: bool,
    /// What distinguishes it from others at its other end, as in `Call::Connect`: the peer's TCP port, or
    /// the own UNIX socket; 0: not known.
    pub identity: u64,
}

impl Origin {
    /// When accept returned it; 0: before we attached.
    pub fn accepted_or_zero_ns(&self) -> u64 {
        self.accepted_ns.unwrap_or(0)
    }
}
