//! The next window begins: sums start anew, what the machines know stays.
//!
//! In: the state at the moment at which one window ends and the next begins. Out: the same threads, connections,
//! requests in flight, descriptors and locks, with nothing counted. The account of the window that ends is made from a
//! copy, before (`pipeline::window`).
//!
//! What reaches over the moment: a request counts where its end becomes known, with all its time; a thread's time, a
//! slot's and waits for the interpreter lock are cut at the moment itself.

use crate::event::{Slice, Tid};
use crate::fact::{Account, OpenSlice};
use crate::machine::driver::state::State;
use crate::machine::runtime::thread::Thread;
use crate::machine::time::slot::{Busy, Heat};
use crate::machine::world::living::Living;
use crate::model::Conservation;
use crate::timeline::Entry;

impl State {
    /// Begins the next window at `time_ns`, in which the threads were in the middle of `open`. Says what is still there.
    pub fn roll(&mut self, time_ns: u64, open: &[OpenSlice], sink: &mut dyn FnMut(Entry)) -> Living {
        // The curve of busy slots for the timeline goes on from here.
        self.settle(Some(time_ns), sink);
        self.window_start_ns = time_ns;
        self.busy = Busy::default();
        self.busy.start(time_ns);
        self.busy_of.clear();
        self.heat = Heat::new(time_ns);

        for thread in self.threads.values_mut() {
            thread.roll();
        }
        self.carried = open
            .iter()
            .map(|open| (open.tid, (open.sequence.saturating_add(1), open.gap.plus(open.call))))
            .collect();
        self.ended_threads.clear();
        self.ended_cpu_ns = 0;
        self.ended_slots.clear();
        self.event_loops.clear();
        self.vacant_slots.clear();
        self.acceptor_linger_ns = 0;

        self.drops.roll();
        self.capacity.roll();
        self.summary.roll();
        self.connections.roll(self.light.count());
        self.descriptors.evicted = 0;
        let ended = &self.processes.ended;
        self.gil.roll(|tgid| ended.contains_key(&tgid));
        self.processes.roll(time_ns);
        self.conservation = Conservation::default();
        self.accepts.clear();
        self.served.clear();
        self.by_process.roll();
        self.sequence_holes = 0;
        self.evicted = 0;
        self.links.roll();
        self.foreign_descriptor_calls = 0;
        self.child_wait_ns = 0;
        let with_threads = self.threads.values().map(|thread| thread.tgid);
        let living = Living::of(&self.processes, self.threads.tids().collect(), with_threads);
        self.forget_ended(&living);
        living
    }

    /// Forgets what has ended.
    fn forget_ended(&mut self, living: &Living) {
        self.pools.retain(living);
        self.descriptors.retain(living);
        self.capacity.retain(living);
        self.drops.retain(living);
        self.topology.retain(living);
        self.heads.retain(|_, head| living.process(head.tgid));
        self.gil.retain(living);
    }

    /// Adds a slice to its thread's account, without the part that lies before the window.
    pub fn add_up(&mut self, thread: &mut Thread, slice: &Slice) {
        thread.add_up(slice, self.carried_of(slice.tid, slice.sequence));
    }

    fn carried_of(&mut self, tid: Tid, sequence: u32) -> Account {
        if self.carried.is_empty() {
            return Account::default();
        }
        match self.carried.remove(&tid) {
            Some((open, account)) if open == sequence => account,
            _ => Account::default(),
        }
    }
}
