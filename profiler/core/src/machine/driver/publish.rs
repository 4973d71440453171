//! Passes what the ledger has settled to those who count and report it.
//!
//! In: [`LedgerEvent`], in the order in which it came about. Out: halves of requests joined; requests in the
//! sums and on the timeline; verdicts on connections that ended.

use crate::machine::chain::settling::SHORTEST_NS;
use crate::machine::chain::state::Service;
use crate::machine::driver::state::State;
use crate::machine::join::front::{self, Joined};
use crate::machine::join::link::Ready;
use crate::machine::ledger::context::{Finished, LedgerEvent};
use crate::machine::ledger::finish;
use crate::machine::ledger::gil_attribution;
use crate::machine::wire::origin::Side;
use crate::phase::Phase;
use crate::timeline::Entry;

impl State {
    /// Reports all that the ledger has settled, and what follows from that.
    #[inline]
    pub(super) fn publish(&mut self, sink: &mut dyn FnMut(Entry)) {
        // Most slices settle nothing.
        if !self.ledger_events.is_empty() {
            self.publish_all(sink);
        }
    }

    #[inline(never)]
    fn publish_all(&mut self, sink: &mut dyn FnMut(Entry)) {
        let mut events = std::mem::take(&mut self.ledger_events);
        for event in events.drain(..) {
            self.apply(event, sink);
            // What follows from it comes before what was settled after it.
            self.publish(sink);
        }
        self.ledger_events = events;
    }

    fn apply(&mut self, event: LedgerEvent, sink: &mut dyn FnMut(Entry)) {
        match event {
            LedgerEvent::Began => self.product.summary.begin(),
            LedgerEvent::Reads(tgid) => self.product.drops.serves(tgid),
            LedgerEvent::Lasts(request) => self.chain.lasts(&request),
            LedgerEvent::Impossible(name) => self.product.summary.impossible(name, 1),
            LedgerEvent::Finished(finished) => self.finished(finished, sink),
            LedgerEvent::Ended(ended) => {
                self.join.links.connection_gone(ended.id);
                self.product.drops.ended(ended, sink);
            }
        }
    }

    fn finished(&mut self, mut finished: Finished, sink: &mut dyn FnMut(Entry)) {
        let active = &mut finished.active;
        active.request.gil.holders = gil_attribution::holders(&self.world, &self.gil, &active.held);
        active.request.gil.waits = gil_attribution::listed_waits(&self.world, &self.gil, &active.held);
        let id = active.request.id;
        let spans = std::mem::take(&mut active.waited.spans);
        if finished.side == Side::Whole {
            let (inode, peer) = (finished.listener_inode, finished.peer);
            let is_told = !spans.is_empty()
                || active.request.phases.get(Phase::AcceptQueue) >= SHORTEST_NS
                || self.chain.own_connections.has(peer);
            if is_told {
                self.chain.served(id, Service { spans, inode, peer, in_queue: false });
            }
            return self.completion_context().complete(finished.active.request, sink);
        }
        let Finished { side, evidence, active, .. } = finished;
        let Joined { ready, own, settled } =
            front::finished(&self.wire, &mut self.join, side, evidence, active);
        self.complete_all(ready, sink);
        if let Some(mut request) = own {
            request.id = self.wire.next_request(Side::Whole);
            self.product.summary.begin();
            self.completion_context().complete(request, sink);
        }
        if let Some(number) = settled {
            finish::shut(&mut self.context(), number);
        }
    }

    /// Requests whose halves have found each other, or wait no longer.
    pub(super) fn complete_all(&mut self, ready: Ready, sink: &mut dyn FnMut(Entry)) {
        self.product.drops.errors_of_server(self.join.links.take_errors());
        for request in ready {
            self.completion_context().complete(Box::new(request), sink);
        }
    }

    /// Time has passed, or (`None`) the window has ended: halves that wait too long are released.
    pub fn expire(&mut self, now_ns: Option<u64>, sink: &mut dyn FnMut(Entry)) {
        let ready = front::expire(&self.wire, &mut self.join, now_ns);
        self.complete_all(ready, sink);
    }
}
