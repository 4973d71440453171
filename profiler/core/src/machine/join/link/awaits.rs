//! A request of the front end that the server behind it is asked for.
//!
//! In: what both sides are known to have done for it. Out: whether it is over, or waits for too long.

use crate::machine::join::compose::Inner;
use crate::machine::wire::trail::Trail;
use crate::model::request::Request;

/// How long a half waits for the other after its own end.
const PATIENCE_NS: u64 = 1_000_000_000;

/// A request of the front end that uses the server behind.
#[derive(Clone, Debug, Default)]
pub(super) struct AwaitsInner {
    pub(super) unanswered: u32,
    /// Entry of the first write to the server; 0: not seen.
    pub(super) sent_ns: u64,
    /// Exit of the last read from it; 0: not seen.
    pub(super) answered_ns: u64,
    /// What was read from it.
    pub(super) read_bytes: u64,
    /// The front end has closed the connection over which it asked last.
    pub(super) has_ended: bool,
    pub(super) inners: Vec<Inner>,
    pub(super) held: Option<Box<(Request, Trail)>>,
}

impl AwaitsInner {
    /// The front end was done with it before this moment.
    pub(super) fn was_over(&self, at_ns: u64) -> bool {
        self.held.as_ref().is_some_and(|held| held.0.times.end_ns < at_ns)
    }

    /// It has waited too long by this moment for the server to be done.
    pub(super) fn is_late(&self, now_ns: u64) -> bool {
        self.held.as_ref().is_some_and(|held| is_late(held.0.times.end_ns, now_ns))
    }

    /// Whether the front end has read all that the server is known to have sent.
    pub(super) fn has_read_all(&self) -> bool {
        let bytes = self.inners.iter().fold(0_u64, |sum, inner| sum.saturating_add(inner.http.bytes_out));
        self.read_bytes >= bytes
    }
}

/// Whether a half that was over at `end_ns` has waited too long for the other.
pub(super) const fn is_late(end_ns: u64, now_ns: u64) -> bool {
    end_ns.saturating_add(PATIENCE_NS) < now_ns
}
