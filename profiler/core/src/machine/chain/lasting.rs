//! What connections have become, for those that wait for their slots.
//!
//! In: requests whose connection became something else, and when that was over. Out: what a thread that
//! serves such a number has at hand at a moment.

use crate::bounded::BoundedMap;
use crate::model::lasting::Became;

/// Connections that are remembered.
const MAX_CONNECTIONS: usize = 16_384;

/// One of them.
#[derive(Clone, Copy, Debug)]
struct LastingConnection {
    became: Became,
    endpoint: u32,
    since_ns: u64,
    ended_ns: Option<u64>,
}

/// All of them, by the number under which their threads serve them, plus 1.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct LastingConnections {
    known: BoundedMap<u64, LastingConnection, MAX_CONNECTIONS>,
}

impl LastingConnections {
    /// One has become that.
    pub(super) fn begins(&mut self, request: u64, (became, endpoint): (Became, u32), since_ns: u64) {
        let lasting = LastingConnection { became, endpoint, since_ns, ended_ns: None };
        self.known.insert(request.saturating_add(1), lasting);
    }

    /// It is over.
    pub(super) fn ends(&mut self, request: u64, at_ns: u64) {
        if let Some(known) = self.known.get_mut(&request.saturating_add(1)) {
            known.ended_ns = Some(at_ns);
        }
    }

    /// What the connection of this number, plus 1, is at a moment, and the endpoint that was asked for it.
    pub(super) fn at(&self, request: u64, at_ns: u64) -> Option<(Became, u32)> {
        let known = self.known.get(&request).filter(|known| at_ns >= known.since_ns)?;
        Some((known.became, known.endpoint))
    }

    /// The next window begins: what was over before the last one did is forgotten.
    pub(super) fn roll(&mut self, before_ns: u64) {
        self.known.retain(|_, known| known.ended_ns.is_none_or(|ended_ns| ended_ns >= before_ns));
    }

    /// Connections that found no place.
    pub(super) const fn evicted(&self) -> u64 {
        self.known.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_what_it_became_from_then_on_until_it_is_forgotten() {
        let mut all = LastingConnections::default();
        all.begins(4, (Became::Stream, 9), 100);
        assert_eq!([99, 100].map(|at_ns| all.at(5, at_ns)), [None, Some((Became::Stream, 9))]);
        assert_eq!(all.at(4, 200), None, "another number");
        all.roll(1_000);
        assert!(all.at(5, 2_000).is_some(), "it lasts");
        all.ends(4, 2_000);
        all.roll(2_000);
        assert!(all.at(5, 1_500).is_some(), "others may have waited for it");
        all.roll(2_001);
        assert_eq!(all.at(5, 1_500), None);
    }
}
