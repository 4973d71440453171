//! The front end's end of a connection to the server behind it.
//!
//! In: what its threads' calls show of the connection. Out: what it asked there that the server has not
//! answered.

use std::collections::VecDeque;

use super::Outer;

/// The front end's end of a connection.
#[derive(Clone, Debug)]
pub(super) struct FrontSocket {
    pub(super) is_unix: bool,
    pub(super) port: u16,
    pub(super) identity: u64,
    /// Entry and exit; `None`: before tracing began.
    pub(super) connect_ns: Option<(u64, u64)>,
    pub(super) first_write_ns: Option<(u64, u64)>,
    /// Requests sent to the server that it has not answered, oldest first.
    pub(super) unanswered: VecDeque<Outer>,
    /// The last request that was sent.
    pub(super) asked: Option<Outer>,
    /// The server has sent something since the last write.
    pub(super) turned: bool,
    pub(super) paired: bool,
    pub(super) closed_ns: Option<u64>,
}

impl FrontSocket {
    /// Entry of the connect; 0: before tracing began.
    pub(super) fn began_ns(&self) -> u64 {
        self.connect_ns.map_or(0, |(enter_ns, _)| enter_ns)
    }
}
