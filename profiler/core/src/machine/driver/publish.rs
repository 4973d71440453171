//! Passes what the ledger has settled to those who count and report it.
//!
//! In: [`Told`], in the order in which it came about. Out: halves of requests joined; requests in the sums
//! and on the timeline; verdicts on connections that ended.

use crate::machine::driver::state::State;
use crate::machine::join::front::{self, Joined};
use crate::machine::join::link::Ready;
use crate::machine::ledger::books::{Finished, Told};
use crate::machine::ledger::finish;
use crate::machine::ledger::gil_party;
use crate::machine::wire::origin::Side;
use crate::timeline::Entry;

impl State {
    /// Reports all that the ledger has settled, and what follows from that.
    #[inline]
    pub(super) fn publish(&mut self, sink: &mut dyn FnMut(Entry)) {
        // Most slices settle nothing.
        if !self.told.is_empty() {
            self.publish_all(sink);
        }
    }

    #[inline(never)]
    fn publish_all(&mut self, sink: &mut dyn FnMut(Entry)) {
        let mut told = std::mem::take(&mut self.told);
        for told in told.drain(..) {
            self.tell(told, sink);
            // What follows from it comes before what was settled after it.
            self.publish(sink);
        }
        self.told = told;
    }

    fn tell(&mut self, told: Told, sink: &mut dyn FnMut(Entry)) {
        match told {
            Told::Began => self.product.summary.begin(),
            Told::Reads(tgid) => self.product.drops.serves(tgid),
            Told::Impossible(name) => self.product.summary.impossible(name, 1),
            Told::Finished(finished) => self.finished(finished, sink),
            Told::Ended(ended) => {
                self.join.links.connection_gone(ended.id);
                self.product.drops.ended(ended, sink);
            }
        }
    }

    fn finished(&mut self, mut finished: Finished, sink: &mut dyn FnMut(Entry)) {
        let active = &mut finished.active;
        active.request.gil.holders = gil_party::holders(&self.world, &self.gil, &active.held);
        active.request.gil.waits = gil_party::listed_waits(&self.world, &self.gil, &active.held);
        if finished.side == Side::Whole {
            return self.counting().complete(finished.active.request, sink);
        }
        let Finished { side, evidence, active } = finished;
        let Joined { ready, own, settled } =
            front::finished(&self.wire, &mut self.join, side, evidence, active);
        self.complete_all(ready, sink);
        if let Some(mut request) = own {
            request.id = self.wire.next_request(Side::Whole);
            self.product.summary.begin();
            self.counting().complete(request, sink);
        }
        if let Some(number) = settled {
            finish::shut(&mut self.books(), number);
        }
    }

    /// Requests whose halves have found each other, or wait no longer.
    pub(super) fn complete_all(&mut self, ready: Ready, sink: &mut dyn FnMut(Entry)) {
        self.product.drops.errors_of_server(self.join.links.take_errors());
        for request in ready {
            self.counting().complete(Box::new(request), sink);
        }
    }

    /// Time has passed, or (`None`) the window has ended: halves that wait too long are released.
    pub fn expire(&mut self, now_ns: Option<u64>, sink: &mut dyn FnMut(Entry)) {
        let ready = front::expire(&mut self.join, now_ns);
        self.complete_all(ready, sink);
    }
}
