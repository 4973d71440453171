//! Connections from the target to itself: the requests that came over them.
//!
//! In: connects to a port of the target's own, requests that are over. Out: the requests of a connection, by
//! what distinguishes it at the client's end.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::bounded::BoundedMap;
use crate::machine::chain::settling::Settling;

/// Connections that are kept.
const MAX_CONNECTIONS: usize = 4096;
/// Requests kept of one connection, the newest.
const MAX_REQUESTS: usize = 8;

/// Connections from the target to itself.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct OwnConnections {
    known: BoundedMap<u64, VecDeque<Rc<Settling>>, MAX_CONNECTIONS>,
}

impl OwnConnections {
    /// A connection was made to a port that the target listens at. It may be another host's.
    pub(in crate::machine) fn made(&mut self, identity: u64) {
        if identity > 0 {
            self.known.get_or_default(identity);
        }
    }

    /// Whether a connection is one of these.
    pub(in crate::machine) fn has(&self, identity: u64) -> bool {
        identity > 0 && self.known.contains_key(&identity)
    }

    /// A request that came over one of them is over.
    pub(super) fn add(&mut self, request: &Rc<Settling>) {
        if let Some(requests) = self.known.get_mut(&request.peer) {
            crate::bounded::push_newest(requests, MAX_REQUESTS, Rc::clone(request));
            requests.make_contiguous();
        }
    }

    /// The requests of a connection, oldest first.
    pub(super) fn over(&self, identity: u64) -> &[Rc<Settling>] {
        self.known.get(&identity).map_or(&[], |requests| requests.as_slices().0)
    }

    /// The next window begins.
    pub(super) fn roll(&mut self) {
        self.known.retain(|_, requests| !requests.is_empty());
        self.known.iter_mut().for_each(|(_, requests)| requests.clear());
    }

    /// Connections that found no place.
    pub(super) const fn evicted(&self) -> u64 {
        self.known.evicted()
    }
}
