//! What the kernel reports beside calls: on connections, and on ends of processes.
//!
//! In: one such record. Out: signs of its connection, or a verdict.

use crate::event::Evidence;
use crate::machine::driver::light::ending;
use crate::machine::driver::state::State;
use crate::timeline::Entry;

/// The kernel reports something of a connection or a process.
pub fn evidence(state: &mut State, evidence: &Evidence, at_ns: u64, sink: &mut dyn FnMut(Entry)) {
    let Some(evidence) = ending::evidence(state, evidence, at_ns, sink) else { return };
    if let Some((number, evidence)) = state.product.drops.evidence(evidence, at_ns, sink)
        && let Some(connection) = state.wire.connections.get_mut(number)
    {
        connection.signs.take(&evidence, at_ns);
    }
}
