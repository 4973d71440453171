//! The next window begins: sums start at zero, what the machines know stays.
//!
//! In: the state at the moment at which one window ends and the next begins. Out: the same threads, connections,
//! requests in flight, descriptors and locks, with nothing counted. The account of the window that ends is made from a
//! copy, before (`pipeline::window`).
//!
//! What spans the moment: a request counts where its end becomes known, with all its time. The time of a thread or a slot, and waits for the interpreter
//! lock, are cut at the moment itself.

use crate::event::{Slice, Tid};
use crate::fact::{Account, OpenSlice};
use crate::machine::driver::state::State;
use crate::machine::runtime::thread::Thread;
use crate::machine::time::slot::{Busy, Heat};
use crate::machine::world::living::Living;
use crate::model::Conservation;
use crate::timeline::Entry;

impl State {
    /// Begins the next window at `time_ns`, when the threads were in the middle of `open`. Returns what is still there.
    pub fn roll(&mut self, time_ns: u64, open: &[OpenSlice], sink: &mut dyn FnMut(Entry)) -> Living {
        // The curve of busy slots for the timeline continues from here.
        self.settle(Some(time_ns), sink);
        self.window_start_ns = time_ns;
        self.time.busy = Busy::default();
        self.time.busy.start(time_ns);
        self.time.busy_of.clear();
        self.time.heat = Heat::new(time_ns);

        for thread in self.runtime.threads.values_mut() {
            thread.roll();
        }
        self.time.carried = open
            .iter()
            .map(|open| (open.tid, (open.sequence.saturating_add(1), open.gap.plus(open.call))))
            .collect();
        self.runtime.ended_threads.clear();
        self.runtime.ended_cpu_ns = 0;
        self.runtime.crowded = 0;
        self.time.ended_slots.clear();
        self.runtime.event_loops.clear();
        self.time.vacant_slots.clear();
        self.time.acceptor_linger_ns = 0;
        self.time.light.passed_on = 0;

        self.product.drops.roll();
        self.time.capacity.roll();
        self.product.summary.roll();
        self.wire.connections.roll(self.wire.light.count());
        self.world.descriptors.evicted = 0;
        let ended = &self.world.processes.ended;
        self.gil.roll(|tgid| ended.contains_key(&tgid));
        self.world.processes.roll(time_ns);
        self.time.conservation = Conservation::default();
        self.world.accepts.clear();
        self.product.served.clear();
        self.product.by_process.roll();
        self.product.lives.roll();
        self.time.sequence_holes = 0;
        self.evicted = 0;
        self.join.links.roll();
        self.world.foreign_descriptor_calls = 0;
        self.world.unattributed.roll();
        let with_threads = self.runtime.threads.values().map(|thread| thread.tgid);
        let living = Living::of(&self.world.processes, self.runtime.threads.tids().collect(), with_threads);
        self.forget_ended(&living);
        living
    }

    /// Forgets what has ended.
    fn forget_ended(&mut self, living: &Living) {
        self.runtime.pools.retain(living);
        self.world.descriptors.retain(living);
        self.time.capacity.retain(living);
        self.product.drops.retain(living);
        self.join.topology.retain(living);
        self.heads.retain(|_, head| living.process(head.tgid));
        self.gil.retain(living);
    }

    /// Adds a slice to its thread's account, without the part that lies before the window.
    pub fn add_up(&mut self, thread: &mut Thread, slice: &Slice) {
        thread.add_up(slice, self.carried_of(slice.tid, slice.sequence));
    }

    fn carried_of(&mut self, tid: Tid, sequence: u32) -> Account {
        if self.time.carried.is_empty() {
            return Account::default();
        }
        match self.time.carried.remove(&tid) {
            Some((open, account)) if open == sequence => account,
            _ => Account::default(),
        }
    }
}
