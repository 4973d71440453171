//! What the kernel reports beside calls: on connections, and on ends of processes.
//!
//! In: one such record. Out: signs of its connection, or a verdict.

use crate::event::Evidence;
use crate::machine::driver::state::State;
use crate::timeline::Entry;

impl State {
    /// The kernel reports something of a connection or a process.
    pub fn evidence(&mut self, evidence: &Evidence, at_ns: u64, sink: &mut dyn FnMut(Entry)) {
        if let Evidence::Signal(signal) = evidence
            && self.world.stops.note(signal, at_ns)
        {
            return;
        }
        let Some(evidence) = self.light_evidence(evidence, at_ns, sink) else { return };
        if let Some((number, evidence)) = self.product.drops.evidence(evidence, at_ns, sink)
            && let Some(connection) = self.wire.connections.get_mut(number)
        {
            connection.signs.take(&evidence, at_ns);
        }
    }
}
