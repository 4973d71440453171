//! The next window begins: sums start at zero, what the machines know stays.
//!
//! In: the state at the moment at which one window ends and the next begins. Out: the same threads,
//! connections, requests in flight, descriptors and locks, with nothing counted. The account of the window
//! that ends is made from a copy, before (`pipeline::window`).
//!
//! What spans the moment: a request counts where its end becomes known, with all its time. The time of a
//! thread or a slot, and waits for the interpreter lock, are cut at the moment itself.

use crate::fact::OpenSlice;
use crate::machine::driver::state::State;
use crate::machine::world::living::Living;
use crate::timeline::Entry;

impl State {
    /// Begins the next window at `time_ns`, when the threads were in the middle of `open`. Returns what is
    /// still there.
    pub fn roll(&mut self, time_ns: u64, open: &[OpenSlice], sink: &mut dyn FnMut(Entry)) -> Living {
        // The curve of busy slots for the timeline continues from here.
        self.settle(Some(time_ns), sink);
        self.window_start_ns = time_ns;
        let ended = &self.world.processes.ended;
        self.gil.roll(|tgid| ended.contains_key(&tgid));
        self.time.roll(time_ns, open);
        self.runtime.roll();
        self.wire.connections.roll(self.wire.light.count());
        self.join.links.roll();
        self.chain.roll(time_ns);
        self.product.roll();
        self.world.roll(time_ns);
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
        self.wire.plaintexts.retain(&self.wire.connections, living);
    }
}
