//! The state of this stage.
//!
//! In: nothing by itself; the machines change it. Out: tables that they share, each bounded, and sums.

use rustc_hash::FxHashMap;

use crate::event::{Slice, Tid, TimerSeen};
use crate::machine::runtime::late::Late;
use crate::machine::runtime::pools::Pools;
use crate::machine::runtime::tasks::Running;
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::threads::Threads;
use crate::machine::wire::state::Wire;
use crate::machine::world::state::World;
use crate::model::Thread as ThreadTotal;

/// Threads, and what shows for whom they work.
#[derive(Clone, Debug, Default)]
pub struct Runtime {
    /// What threads were in the middle of when they were first seen, until their first slice.
    pub initial: FxHashMap<Tid, Slice>,
    /// Live threads.
    pub threads: Threads,
    /// Totals of threads that ended.
    pub ended_threads: Vec<(Tid, ThreadTotal)>,
    /// CPU time of threads that ended.
    pub ended_cpu_ns: u64,
    /// Pools of processes that have a loop.
    pub pools: Pools,
    /// Event loops of threads that ended.
    pub event_loops: Vec<crate::model::event_loop::EventLoop>,
    /// Which Python task each thread of an event loop is at.
    pub tasks: Running,
    /// Time of requests that the accounts of threads show later.
    pub late: Late,
    /// How often a loop was about more requests than it remembers.
    pub crowded: u64,
}

impl Runtime {
    /// A timer came due while a thread's loop was busy, which looks from `at_ns` on.
    pub fn timer(&mut self, seen: &TimerSeen, at_ns: u64) {
        let thread = self.threads.get_mut(seen.tid);
        if let Some(event_loop) = thread.and_then(|thread| thread.event_loop.as_deref_mut()) {
            event_loop.timer(seen.task, seen.due_ns, at_ns);
        }
    }

    /// The next window begins: what threads are about stays.
    pub fn roll(&mut self) {
        self.threads.values_mut().for_each(Thread::roll);
        self.ended_threads.clear();
        self.ended_cpu_ns = 0;
        self.crowded = 0;
        self.event_loops.clear();
    }
}

/// What this stage sees: what there is, what goes over connections, and its own state.
#[derive(Clone, Copy, Debug)]
pub struct RuntimeView<'a> {
    /// What there is.
    pub world: &'a World,
    /// What goes over connections.
    pub wire: &'a Wire,
    /// Who works for whom.
    pub runtime: &'a Runtime,
}

/// What this stage works on: what there is, what goes over connections, and its own state.
#[derive(Debug)]
pub struct RuntimeContext<'a> {
    /// What there is.
    pub world: &'a mut World,
    /// What goes over connections.
    pub wire: &'a mut Wire,
    /// Who works for whom.
    pub runtime: &'a mut Runtime,
    /// What found no place.
    pub evicted: &'a mut u64,
}

impl RuntimeContext<'_> {
    /// What this stage sees of it.
    pub const fn view(&self) -> RuntimeView<'_> {
        RuntimeView { world: self.world, wire: self.wire, runtime: self.runtime }
    }
}
