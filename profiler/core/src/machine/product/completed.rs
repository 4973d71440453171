//! Requests that are over are counted, once nothing more comes for them.
//!
//! In: finished requests, accounts that came late. Out: sums, and each request on the timeline.

use crate::event::Tid;
use crate::machine::chain::state::Chain;
use crate::machine::lock::gil_edge;
use crate::machine::product::by_process::had_to_wait;
use crate::machine::product::state::Product;
use crate::machine::runtime::state::Runtime;
use crate::machine::time::state::Time;
use crate::model::lasting::Became;
use crate::model::request::Request;
use crate::phase::Phase;
use crate::timeline::Entry;

/// What a request that is over counts in.
#[derive(Debug)]
pub struct CompletionContext<'a> {
    /// What will be reported.
    pub product: &'a mut Product,
    /// What it waited for, in the end.
    pub(in crate::machine) chain: &'a mut Chain,
    /// Who served it, and what is still to come for it.
    pub runtime: &'a mut Runtime,
    /// When it had to wait.
    pub time: &'a mut Time,
    /// Start of the window.
    pub window_start_ns: u64,
    /// Start of the first window: what was over before it does not count.
    pub watch_start_ns: u64,
    /// The window ends because the next one begins: what is counted now counts there.
    pub next_follows: bool,
}

impl CompletionContext<'_> {
    /// A request ends. If the account of some of its time comes later, it waits for that.
    pub fn complete(&mut self, request: Box<Request>, sink: &mut dyn FnMut(Entry)) {
        if let Some(became) = request.lasting() {
            return self.lasted(request, became);
        }
        self.product.summary.end();
        let late = &mut self.runtime.late;
        let complete = late.take_complete(request.times.end_ns);
        let is_owed = !self.next_follows && late.is_owed(request.id);
        let request = if is_owed { late.keep(request) } else { Some(request) };
        for request in complete.into_iter().map(Box::new).chain(request) {
            self.count(request, sink);
        }
    }

    /// More is known of threads, up to `end_ns`: requests that waited for nothing else are complete.
    pub fn complete_late(&mut self, end_ns: u64, sink: &mut dyn FnMut(Entry)) {
        let complete = self.runtime.late.take_complete(end_ns);
        self.count_all(complete, sink);
    }

    /// A process has ended: nothing more is reported of its threads.
    pub fn process_ends(&mut self, tgid: Tid, sink: &mut dyn FnMut(Entry)) {
        let complete = self.runtime.late.process_ends(tgid);
        self.count_all(complete, sink);
    }

    /// The window ends. If the state is a copy whose original continues, requests that wait are open, like
    /// those in flight: they count in the next window.
    pub fn window_ends(&mut self, sink: &mut dyn FnMut(Entry)) {
        let complete = self.runtime.late.take_all();
        self.count_all(complete, sink);
    }

    fn count_all(&mut self, requests: Vec<Request>, sink: &mut dyn FnMut(Entry)) {
        for request in requests {
            self.count(Box::new(request), sink);
        }
    }

    /// A connection that had become something else is over: it counts in nothing of requests.
    fn lasted(&mut self, mut request: Box<Request>, became: Became) {
        request.seen.open |= self.next_follows;
        if request.times.end_ns >= self.watch_start_ns {
            self.product.summary.lasting.add(&request, became, self.window_start_ns);
        }
        self.chain.lasted(&request);
    }

    /// A request's account is whole.
    fn count(&mut self, mut request: Box<Request>, sink: &mut dyn FnMut(Entry)) {
        request.seen.open |= self.next_follows;
        gil_edge::complete(&mut request.gil.holders, request.phases.get(Phase::GilWait));
        if request.times.end_ns < self.watch_start_ns {
            return;
        }
        if !request.seen.open {
            if let Some(served) = self.product.served.get_or_default(request.tgid) {
                *served += 1;
            }
            self.product.lives.add(&request);
            self.runtime.threads.has_served(request.tid);
        }
        self.product.by_process.add(&request);
        if request.times.start_is_arrival
            && request.times.start_ns >= self.window_start_ns
            && had_to_wait(&request)
        {
            self.time.busy.arrive(request.times.start_ns);
            if let Some(busy) = self.time.busy_of(request.tgid, self.window_start_ns) {
                busy.arrive(request.times.start_ns);
            }
        }
        let endpoint = self.product.summary.add(&request);
        self.chain.complete(&request, endpoint);
        sink(Entry::Request(request));
    }
}
