//! What the kernel reports beside calls: on connections, and on ends of processes.
//!
//! In: one such record. Out: signs of its connection, or a verdict.

use crate::event::Evidence;
use crate::machine::product::state::Product;
use crate::machine::wire::state::Wire;
use crate::timeline::Entry;

/// The kernel reports something of a connection or a process.
pub fn evidence(
    (product, wire): (&mut Product, &mut Wire),
    evidence: &Evidence,
    at_ns: u64,
    sink: &mut dyn FnMut(Entry),
) {
    if let Some((number, evidence)) = product.drops.evidence(evidence, at_ns, sink)
        && let Some(connection) = wire.connections.get_mut(number)
    {
        connection.signs.take(&evidence, at_ns);
    }
}
