//! The state of this stage.
//!
//! In: nothing by itself; the machines change it. Out: tables that they share, each bounded, and sums.

use crate::machine::wire::connection::Connections;

/// Connections of clients.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    /// Client connections.
    pub connections: Connections,
    /// Client connections of light mode.
    pub light: crate::machine::wire::light_socket::Sockets,
    /// Requests so far.
    pub request_count: u64,
}
