//! Cores, each with a run queue of its own.
//!
//! In: threads that can run. Out: which thread runs on which core. A thread that wakes up goes to an idle
//! core. One that waits beside a core that gets idle later stays until a turn is over on its own: only then
//! the kernel looks at the others again.

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
    /// Its thread is between two pieces of its work: no other gets the core.
    pub(super) is_held: bool,
    /// Meanwhile a thread woke up here.
    pub(super) is_asked: bool,
    /// Threads that woke up: they have had less than their share, and come first.
    woken: VecDeque<usize>,
    /// Threads whose turn is over.
    queue: VecDeque<usize>,
}

impl Core {
    fn has_queue(&self) -> bool {
        !self.woken.is_empty() || !self.queue.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.running.is_none() && !self.is_held && !self.has_queue()
    }
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

    /// How long each has run a thread until now.
    pub(super) fn busy_ns(&self, now_ns: u64) -> Vec<u64> {
        let of = |core: &Core| {
            let running_ns = core.running.map_or(0, |_| now_ns.saturating_sub(core.since_ns));
            core.busy_ns.saturating_add(running_ns)
        };
        self.0.iter().map(of).collect()
    }

    /// Puts a thread that wakes up into a run queue, and says which core is to look. That is its last one if
    /// that is idle, else any idle one, else its last one.
    pub(super) fn enqueue(&mut self, thread: usize, last: usize) -> usize {
        let chosen =
            if self.0.get(last).is_some_and(Core::is_idle) { last } else { self.idle().unwrap_or(last) };
        if let Some(core) = self.0.get_mut(chosen) {
            core.woken.push_back(thread);
        }
        chosen
    }

    /// Puts a thread that goes on with something else before all others of this core.
    pub(super) fn enqueue_first(&mut self, thread: usize, core: usize) {
        if let Some(core) = self.0.get_mut(core) {
            core.woken.push_front(thread);
        }
    }

    /// Puts a thread whose turn is over behind all others of its core.
    pub(super) fn enqueue_last(&mut self, thread: usize, core: usize) {
        if let Some(core) = self.0.get_mut(core) {
            core.queue.push_back(thread);
        }
    }

    pub(super) fn has_queue(&self, core: usize) -> bool {
        self.0.get(core).is_some_and(Core::has_queue)
    }

    /// An idle core, if there is one.
    pub(super) fn idle(&self) -> Option<usize> {
        self.0.iter().position(Core::is_idle)
    }

    /// The next thread for a core: the first that woke up there, else the first whose turn was over.
    pub(super) fn take(&mut self, core: usize) -> Option<usize> {
        let own = self.0.get_mut(core)?;
        own.woken.pop_front().or_else(|| own.queue.pop_front())
    }
}
