//! Cores, each with a run queue of its own.
//!
//! In: threads that can run. Out: which thread runs on which core. A core that has nothing to do takes from the longest queue: none is idle
//! while a thread waits.

use std::collections::VecDeque;

/// One core.
#[derive(Clone, Debug, Default)]
pub(super) struct Core {
    /// The thread that runs here.
    pub(super) running: Option<usize>,
    /// Since when, in this turn.
    pub(super) since_ns: u64,
    /// Changes with every turn.
    pub(super) turn: u64,
    /// How long it has run a thread.
    pub(super) busy_ns: u64,
    queue: VecDeque<usize>,
}

/// All cores.
#[derive(Clone, Debug)]
pub(super) struct Cores(Vec<Core>);

impl Cores {
    pub(super) fn new(count: u32) -> Self {
        Self((0..count).map(|_| Core::default()).collect())
    }

    pub(super) fn get_mut(&mut self, core: usize) -> Option<&mut Core> {
        self.0.get_mut(core)
    }

    pub(super) fn busy_ns(&self) -> Vec<u64> {
        self.0.iter().map(|core| core.busy_ns).collect()
    }

    /// Puts a thread into a run queue, and says which core is to look: its last one if that is idle, else any idle one, else its last one.
    pub(super) fn enqueue(&mut self, thread: usize, last: usize) -> usize {
        let is_idle = |core: &Core| core.running.is_none() && core.queue.is_empty();
        let chosen = if self.0.get(last).is_some_and(is_idle) {
            last
        } else {
            self.0.iter().position(is_idle).unwrap_or(last)
        };
        if let Some(core) = self.0.get_mut(chosen) {
            core.queue.push_back(thread);
        }
        chosen
    }

    /// Puts a thread that goes on with something else before all others of this core.
    pub(super) fn enqueue_first(&mut self, thread: usize, core: usize) {
        if let Some(core) = self.0.get_mut(core) {
            core.queue.push_front(thread);
        }
    }

    /// Puts a thread whose turn is over behind all others of its core.
    pub(super) fn enqueue_last(&mut self, thread: usize, core: usize) {
        if let Some(core) = self.0.get_mut(core) {
            core.queue.push_back(thread);
        }
    }

    pub(super) fn has_queue(&self, core: usize) -> bool {
        self.0.get(core).is_some_and(|core| !core.queue.is_empty())
    }

    /// The next thread for a core: the first of its own queue, else the last of the longest.
    pub(super) fn take(&mut self, core: usize) -> Option<usize> {
        if let Some(thread) = self.0.get_mut(core).and_then(|core| core.queue.pop_front()) {
            return Some(thread);
        }
        let longest =
            (0..self.0.len()).max_by_key(|at| self.0.get(*at).map_or(0, |core| core.queue.len()))?;
        self.0.get_mut(longest)?.queue.pop_back()
    }
}
