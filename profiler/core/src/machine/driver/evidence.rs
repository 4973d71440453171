//! What the kernel tells beside calls: of connections, and of ends of processes.
//!
//! In: one such record. Out: signs of the connection that it is of, or a verdict.

use crate::event::Evidence;
use crate::machine::driver::state::State;
use crate::timeline::Entry;

/// The kernel tells something of a connection or a process.
pub fn evidence(state: &mut State, evidence: &Evidence, at_ns: u64, sink: &mut dyn FnMut(Entry)) {
    if let Some((number, evidence)) = state.product.drops.evidence(evidence, at_ns, sink)
        && let Some(connection) = state.wire.connections.get_mut(number)
    {
        connection.signs.take(&evidence, at_ns);
    }
}
