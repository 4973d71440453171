//! The state of this stage.
//!
//! In: nothing by itself; the machines change it. Out: tables that they share, each bounded, and sums.

use crate::event::Tid;
use crate::machine::runtime::pools::Pools;
use crate::machine::runtime::tasks::Running;
use crate::machine::runtime::threads::Threads;
use crate::model::Thread as ThreadTotal;

/// Threads, and what tells for whom they work.
#[derive(Clone, Debug, Default)]
pub struct Runtime {
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
}
