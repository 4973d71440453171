//! Requests that hang since before the trace.
//!
//! In: looks at sleeping threads, with where in Python they are. Out: their sleep, for whoever waits behind
//! them; as a window ends, the requests that they are at, which are open.
//!
//! Nothing of such a request is seen: it was read before, and nothing is answered. That a thread is at one
//! its frames say, and a client's connection that its process has open.

use std::collections::BTreeMap;

use crate::event::Tid;
use crate::machine::chain::feed::SleepSeen;
use crate::machine::chain::hung::HungThread;
use crate::machine::chain::segment::SleepEnd;
use crate::machine::driver::chains::object_slept_on;
use crate::machine::driver::light::seen_asleep::as_slept;
use crate::machine::driver::state::State;
use crate::machine::wire::origin::Side;
use crate::machine::wire::request::{Active, Beginning};
use crate::machine::world::sleep;
use crate::model::request::Stretch;
use crate::phase::Phase;
use crate::timeline::Entry;

impl State {
    /// A thread was looked at: it may hang in a request since before the watch.
    pub(super) fn note_hung(&mut self, tid: Tid) {
        let Some(look) = self.chain.looks.last(tid) else { return };
        let (tgid, since_ns) = (look.seen.tgid, look.seen.since_ns);
        let is_at_request = self.chain.looks.is_in_request(look.seen.place);
        if since_ns > self.watch_start_ns || look.seen.stands_still() || !is_at_request {
            return;
        }
        let Some(slept) = as_slept(&self.world, look, since_ns) else { return };
        let object = object_slept_on(&slept);
        let seen = SleepSeen {
            object,
            is_own_port: self.is_own_port(object),
            end: SleepEnd::Open,
            since_before: true,
            is_open: true,
            ..SleepSeen::outside(slept.system_call)
        };
        self.chain.looks.hung.note((tgid, tid), since_ns, (sleep::phase(&slept), &seen));
        if self.chain.attendance.has_no_workers() {
            self.note_workers();
        }
    }

    /// Nothing was heard of a thread up to this moment: whether it hangs.
    pub(super) fn hangs_on(&mut self, tid: Tid, until_ns: u64) -> bool {
        let chain = &mut self.chain;
        chain.looks.hung.slept_on(&mut chain.histories, tid, until_ns)
    }

    /// What was open is closed: each of those that hang is at a request too, as far as its process has that
    /// many clients.
    pub(super) fn end_hung(&mut self, end_ns: u64, sink: &mut dyn FnMut(Entry)) {
        let mut left: BTreeMap<Tid, u64> = BTreeMap::new();
        for HungThread { tgid, tid, phase } in self.chain.looks.hung.all() {
            let descriptors = &self.world.descriptors;
            let left = left.entry(tgid).or_insert_with(|| descriptors.clients_at_all(tgid));
            if *left > 0 && self.hangs_on(tid, end_ns) {
                *left -= 1;
                self.hangs_to_the_end((tgid, tid), phase, end_ns, sink);
            }
        }
    }

    fn hangs_to_the_end(
        &mut self,
        (tgid, tid): (Tid, Tid),
        phase: Phase,
        end_ns: u64,
        sink: &mut dyn FnMut(Entry),
    ) {
        let start_ns = self.watch_start_ns.min(end_ns);
        let beginning = Beginning {
            id: self.wire.next_request(Side::Whole),
            connection: self.wire.connections.count_one(),
            index: 0,
            start_ns,
            start_is_arrival: false,
            accepted_ns: None,
            truncated: true,
            dispatched_ns: 0,
        };
        let mut request = Active::new(&beginning, tgid, tid).request;
        request.phases.add(phase, end_ns - start_ns);
        request.stretches.push(Stretch { tgid, tid, start_ns, end_ns });
        request.times.end_ns = end_ns;
        request.seen.open = true;
        self.product.summary.begin();
        self.completion_context().complete(request, sink);
    }
}
