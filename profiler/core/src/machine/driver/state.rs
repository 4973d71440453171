//! The state of all machines of one window.
//!
//! In: nothing by itself; the machines beside it change it. Out: the tables that they share, each bounded.

use rustc_hash::FxHashMap;

use crate::event::{Head, Slice, Tid};
use crate::fact::Account;
use crate::machine::join::state::Join;
use crate::machine::ledger::books::Told;
use crate::machine::ledger::gil_party;
use crate::machine::lock::gil::Locks;
use crate::machine::product::by_process::{MAX_COUNTED, had_to_wait};
use crate::machine::product::state::Product;
use crate::machine::runtime::state::{Hand, Runtime, View};
use crate::machine::runtime::thread::Thread;
use crate::machine::time::state::Time;
use crate::machine::wire::state::Wire;
use crate::machine::world::state::World;
use crate::model::Thread as ThreadTotal;
use crate::model::request::Request;
use crate::model::slot::{Holding, Slot};
use crate::phase::Phase;
use crate::timeline::Entry;

/// Threads that have ended and are still listed.
const MAX_ENDED_THREADS: usize = 4096;
/// Event loops of threads that have ended and are still listed.
const MAX_ENDED_LOOPS: usize = 1024;
/// Slots of threads that have ended and are still listed.
const MAX_ENDED_SLOTS: usize = 16_384;

/// Everything the machines share.
#[derive(Clone, Debug)]
pub struct State {
    /// What there is.
    pub world: World,
    /// What threads did.
    pub time: Time,
    /// What goes over connections.
    pub wire: Wire,
    /// Who works for whom.
    pub runtime: Runtime,
    /// Halves of requests.
    pub join: Join,
    /// What will be reported.
    pub product: Product,
    /// Captures that wait for the slice of their call.
    pub heads: FxHashMap<Tid, Head>,
    /// What threads were in the middle of when they were first seen, until their first slice.
    pub initial: FxHashMap<Tid, Slice>,
    /// Interpreter locks, and who waited for them.
    pub gil: Locks,
    /// Start of the window; nothing before it counts (`u64::MAX` until it is known).
    pub window_start_ns: u64,
    /// Start of the first window: what was seen before it is only context (`u64::MAX` until it is known).
    pub watch_start_ns: u64,
    /// The window ends because the next one begins: what would end with it continues.
    pub next_follows: bool,
    /// The timeline wants thread slices.
    pub wants_slices: bool,
    /// What the ledger has settled and nobody has reported yet.
    pub(super) told: Vec<Told>,
    /// What found no place.
    pub evicted: u64,
}

impl State {
    /// No state yet.
    #[must_use]
    pub fn new(wants_slices: bool) -> Self {
        Self {
            world: World::default(),
            time: Time::default(),
            wire: Wire::default(),
            runtime: Runtime::default(),
            join: Join::default(),
            product: Product::default(),
            heads: FxHashMap::default(),
            initial: FxHashMap::default(),
            gil: Locks::default(),
            window_start_ns: u64::MAX,
            watch_start_ns: u64::MAX,
            next_follows: false,
            wants_slices,
            told: Vec::new(),
            evicted: 0,
        }
    }

    /// What is seen by the stage that decides for whom threads work.
    #[must_use]
    pub const fn view(&self) -> View<'_> {
        View { world: &self.world, wire: &self.wire, runtime: &self.runtime }
    }

    /// The same, to be changed.
    pub const fn hand(&mut self) -> Hand<'_> {
        let Self { world, wire, runtime, evicted, .. } = self;
        Hand { world, wire, runtime, evicted }
    }

    /// A request ends. If the account of some of its time comes later, it waits for that.
    pub fn complete(&mut self, request: Box<Request>, sink: &mut dyn FnMut(Entry)) {
        self.product.summary.end();
        let late = &mut self.runtime.late;
        let complete = late.take_complete(request.times.end_ns);
        let is_owed = !self.next_follows && late.is_owed(request.id);
        let request = if is_owed { late.wait(request) } else { Some(request) };
        for request in complete.into_iter().map(Box::new).chain(request) {
            self.count(request, sink);
        }
    }

    /// A request's account is whole.
    pub(super) fn count(&mut self, mut request: Box<Request>, sink: &mut dyn FnMut(Entry)) {
        request.seen.open |= self.next_follows;
        crate::machine::lock::gil_edge::complete(
            &mut request.gil.holders,
            request.phases.get(Phase::GilWait),
        );
        if request.times.end_ns < self.watch_start_ns {
            return;
        }
        if !request.seen.open {
            if self.product.served.len() < MAX_COUNTED || self.product.served.contains_key(&request.tgid) {
                *self.product.served.entry(request.tgid).or_default() += 1;
            } else {
                self.evicted = self.evicted.saturating_add(1);
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
            self.time.busy_of(request.tgid, self.window_start_ns).arrive(request.times.start_ns);
        }
        self.product.summary.add(&request);
        sink(Entry::Request(request));
    }

    /// An accept ended: successful (0), empty (1) or failed (2).
    pub fn count_accept(&mut self, listener: (Tid, i32), outcome: usize) {
        if self.world.accepts.len() >= MAX_COUNTED && !self.world.accepts.contains_key(&listener) {
            self.evicted = self.evicted.saturating_add(1);
        } else if let Some(count) = self.world.accepts.entry(listener).or_default().get_mut(outcome) {
            *count = count.saturating_add(1);
        }
    }

    /// A thread goes back to the others.
    pub fn put_back(&mut self, tid: Tid, mut thread: Box<Thread>) {
        let impossible = thread.pending.take_impossible();
        if impossible > 0 {
            self.product.summary.impossible("piece_out_of_place", impossible);
        }
        self.runtime.threads.put(tid, thread);
    }

    /// Counts a slot that is still busy as busy up to its last slice. A thread that takes one job after the other waits for none. Its stretch would come
    /// only after that time has been settled.
    fn busy_so_far(&mut self) {
        let mut threads = std::mem::take(&mut self.runtime.threads);
        for thread in threads.values_mut().filter(|thread| thread.slot.is_some()) {
            if thread.busy_since_ns.is_some_and(|since_ns| since_ns < thread.row.last_exit_ns) {
                thread.was_busy(&mut self.time, thread.row.last_exit_ns, self.window_start_ns);
                thread.busy_since_ns = Some(thread.row.last_exit_ns);
            }
        }
        self.runtime.threads = threads;
    }

    /// Busy slots are certain up to the last slice of the slot that has been silent longest. At the end of the window they are certain up to that end.
    pub fn settle(&mut self, end_ns: Option<u64>, sink: &mut dyn FnMut(Entry)) {
        self.busy_so_far();
        let mut silent_since: FxHashMap<Tid, u64> = FxHashMap::default();
        // A thread that serves its first request may turn out to be a slot, busy since it began.
        let may_be_busy = |thread: &Thread| thread.slot.is_some() || thread.serving.is_some();
        for thread in self.runtime.threads.values().filter(|thread| may_be_busy(thread)) {
            let since_ns = silent_since.entry(thread.tgid).or_insert(u64::MAX);
            // A stretch that continues begins again at this very moment: it is not settled in between.
            *since_ns = (*since_ns).min(thread.row.last_exit_ns.saturating_sub(1));
        }
        let all_ns = end_ns.or_else(|| silent_since.values().copied().min());
        if let Some(until_ns) = all_ns {
            self.time
                .busy
                .settle(until_ns, |time_ns, busy| sink(Entry::BusySlots { time_ns, tgid: 0, busy }));
        }
        let mut processes: Vec<_> = self.time.busy_of.iter_mut().collect();
        // The order of entries must not depend on a hash.
        processes.sort_unstable_by_key(|(tgid, _)| **tgid);
        for (tgid, process) in processes {
            if let Some(until_ns) = end_ns.or_else(|| silent_since.get(tgid).copied()) {
                process
                    .settle(until_ns, |time_ns, busy| sink(Entry::BusySlots { time_ns, tgid: *tgid, busy }));
            }
        }
        // If nobody in a process serves, nothing can become known later.
        let certain_ns = |tgid| silent_since.get(&tgid).copied().unwrap_or(u64::MAX);
        self.time.capacity.look(|tgid| end_ns.unwrap_or_else(|| certain_ns(tgid)));
    }

    fn end_slot(&mut self, id: u32, tid: Tid, thread: &Thread, until_ns: u64) {
        let tgid = thread.tgid;
        if self.time.ended_slots.len() >= MAX_ENDED_SLOTS && !self.time.ended_slots.contains_key(&id) {
            self.evicted = self.evicted.saturating_add(1);
            return;
        }
        let since_ns = thread.since_ns.max(self.window_start_ns);
        let slot = self.time.ended_slots.entry(id).or_insert(Slot { id, tgid, since_ns, ..Slot::default() });
        (slot.tid, slot.until_ns) = (tid, until_ns);
        slot.requests = slot.requests.saturating_add(thread.totals.requests);
        for (sum_ns, held_ns) in slot.holding_ns.iter_mut().zip(thread.totals.holding_ns) {
            *sum_ns = sum_ns.saturating_add(held_ns);
        }
        self.time.vacant_slots.entry(tgid).or_default().push(id);
    }

    /// Keeps the event loop of a thread that ends. Returns whether it had one.
    fn end_loop(&mut self, tid: Tid, thread: &mut Thread, until_ns: u64) -> bool {
        let window_start_ns = self.window_start_ns;
        let ended = thread
            .event_loop
            .take()
            .and_then(|event_loop| event_loop.finish(thread.tgid, tid, until_ns, window_start_ns));
        let Some(ended) = ended else { return false };
        if self.runtime.event_loops.len() < MAX_ENDED_LOOPS {
            self.runtime.event_loops.push(ended);
        } else {
            self.evicted = self.evicted.saturating_add(1);
        }
        true
    }

    /// A thread ended, or the window did.
    pub fn end_thread(&mut self, tid: Tid, mut thread: Box<Thread>, until_ns: u64) {
        self.runtime.tasks.forget(tid);
        thread.drain(self.window_start_ns);
        self.gil.end(tid, thread.gil.at_lock.episode.take(), self.window_start_ns);
        gil_party::settle(&mut self.parties(), &mut thread, tid);
        self.runtime.ended_cpu_ns = self.runtime.ended_cpu_ns.saturating_add(thread.totals.account.cpu_ns);
        let is_loop = self.end_loop(tid, &mut thread, until_ns);
        thread.make_slot_in_flight(&mut self.time);
        if let Some(id) = thread.slot {
            self.end_slot(id, tid, &thread, until_ns);
            if let Some(slot) = self.time.ended_slots.get_mut(&id) {
                slot.is_loop |= is_loop;
            }
        } else {
            let linger_ns = thread.totals.holding_ns.get(Holding::Linger as usize).copied().unwrap_or(0);
            self.time.acceptor_linger_ns = self.time.acceptor_linger_ns.saturating_add(linger_ns);
        }
        if self.runtime.ended_threads.len() < MAX_ENDED_THREADS {
            let Account { cpu_ns, run_queue_ns, blocked_ns } = thread.totals.account;
            let comm = self.world.processes.names.get(&tid).cloned().unwrap_or_default();
            let (slices, requests) = (thread.totals.slices, thread.totals.requests);
            let total = ThreadTotal { tid, comm, slices, cpu_ns, run_queue_ns, blocked_ns, requests };
            self.runtime.ended_threads.push((thread.tgid, total));
        } else {
            self.evicted = self.evicted.saturating_add(1);
        }
    }
}
