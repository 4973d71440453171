//! Where requests spent their time that were joined.
//!
//! In: both halves of each, when the front end wrote to the server and read from it. Out: sums.

use crate::machine::join::compose::Inner;
use crate::model::request::Request;

/// Where requests of a front end spent their time, if each was joined with one of the server's. The three add
/// up to their length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crossed {
    /// Requests.
    pub requests: u64,
    /// In the front end, its accept queue and its client's stalls included.
    pub front_end_ns: u64,
    /// Between both: from the front end's first write to the server socket's first byte, and from the
    /// server's last write to the front end's last read.
    pub between_ns: u64,
    /// In the server, from the first byte at its socket to its last write.
    pub server_ns: u64,
}

impl Crossed {
    /// `sent_ns` and `answered_ns`: the front end's first write to the server and its last read from it.
    pub(super) fn add(&mut self, outer: &Request, inner: &Inner, (sent_ns, answered_ns): (u64, u64)) {
        let whole_ns = outer.times.end_ns.saturating_sub(outer.times.start_ns);
        let server_ns = inner.end_ns.saturating_sub(inner.start_ns).min(whole_ns);
        let to_ns = if sent_ns > 0 { inner.start_ns.saturating_sub(sent_ns) } else { 0 };
        let back_ns = if answered_ns > 0 { answered_ns.saturating_sub(inner.end_ns) } else { 0 };
        let between_ns = to_ns.saturating_add(back_ns).min(whole_ns - server_ns);
        self.requests = self.requests.saturating_add(1);
        self.server_ns = self.server_ns.saturating_add(server_ns);
        self.between_ns = self.between_ns.saturating_add(between_ns);
        self.front_end_ns = self.front_end_ns.saturating_add(whole_ns - server_ns - between_ns);
    }
}
