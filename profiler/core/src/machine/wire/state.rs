//! The state of this stage.
//!
//! In: nothing by itself; the machines change it. Out: tables that they share, each bounded, and sums.

use crate::machine::wire::connection::Connections;
use crate::machine::wire::origin::Side;
use crate::machine::wire::plaintext::Plaintexts;

/// Requests of the server's behind a front end are numbered apart, so that those that reports show are dense.
const INNER: u64 = 1 << 63;

/// Whether a request's number, or that plus 1, is of one behind a front end.
pub(in crate::machine) const fn is_inner(request: u64) -> bool {
    request & INNER > 0
}

/// Connections of clients.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    /// Client connections.
    pub connections: Connections,
    /// Client connections of light mode.
    pub light: crate::machine::wire::light_socket::Sockets,
    /// What OpenSSL has of the requests on encrypted ones.
    pub plaintexts: Plaintexts,
    /// Requests of clients so far.
    pub request_count: u64,
    /// Requests on connections of front ends so far.
    pub inner_count: u64,
}

impl Wire {
    /// Number of the next request on a connection; those of clients alone count.
    pub fn next_request(&mut self, side: Side) -> u64 {
        let is_inner = matches!(side, Side::Inner { .. });
        let count = if is_inner { &mut self.inner_count } else { &mut self.request_count };
        let before = *count;
        *count = before.saturating_add(1);
        if is_inner { INNER | before.saturating_add(1) } else { before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_clients_requests_are_dense_whatever_comes_between_them_behind_a_front_end() {
        let mut wire = Wire::default();
        for (side, expected) in [
            (Side::Whole, 0),
            (Side::Front, 1),
            (Side::Inner { private: false }, INNER | 1),
            (Side::Inner { private: true }, INNER | 2),
            (Side::Whole, 2),
        ] {
            assert_eq!(wire.next_request(side), expected, "{side:?}");
            assert_eq!(is_inner(expected), matches!(side, Side::Inner { .. }));
        }
        assert_eq!((wire.request_count, wire.inner_count), (3, 2));
    }
}
