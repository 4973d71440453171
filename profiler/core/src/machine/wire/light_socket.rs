//! The open connections of light mode, each with its request.
//!
//! In: what `light` learns of them. Out: a table that it bounds.

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::model::request::Request;

/// The open connections of light mode.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    pub(in crate::machine) open: FxHashMap<u64, Socket>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Socket {
    pub(in crate::machine) generation: u32,
    /// Dense number of the connection.
    pub(in crate::machine) connection: u64,
    pub(in crate::machine) begun: u32,
    pub(in crate::machine) active: Option<Active>,
}

/// A request that is not known to be over.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Active {
    pub(in crate::machine) request: Request,
    /// Up to here its phases add up.
    pub(in crate::machine) covered_ns: u64,
    /// Bytes of its response were sent.
    pub(in crate::machine) is_responding: bool,
    /// The thread that moved its last bytes.
    pub(in crate::machine) owner: Tid,
}

impl Sockets {
    /// Connections that are open now.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.open.len() as u64
    }
}
