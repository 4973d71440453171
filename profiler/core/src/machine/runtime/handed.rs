//! How a thread of a loop's pool was given its job.
//!
//! In: wake-ups of the loop, timers, tasks. Out: what the request waited for that handed the job over, until a thread began with it.

use crate::phase::Phase;

/// Jobs of one process that wait for the loop.
pub(super) const MAX_JOBS: usize = 256;

/// How a thread of the pool was given its job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handed {
    /// The loop woke it then; 0: another did.
    pub woken_ns: u64,
    /// A timer came due in the turn in which it was woken.
    pub due_ns: Option<u64>,
    /// The Python task that woke it.
    pub task: Option<u64>,
}

impl Handed {
    /// Whether this task handed it over, which was another one's address until the given moment.
    pub(in crate::machine) fn is_by(&self, (task, until_ns): (u64, u64)) -> bool {
        self.task == Some(task) && self.woken_ns > until_ns
    }

    /// What a request waited for that handed a job over, until a thread began with it: ends of stretches with their phases.
    /// `unknown`: where nothing tells what it waited for until the thread was woken.
    pub(in crate::machine) fn before(
        &self,
        begin_ns: u64,
        waited: Phase,
        unknown: Phase,
    ) -> [(u64, Phase); 3] {
        match self.due_ns.filter(|due_ns| *due_ns <= self.woken_ns) {
            Some(due_ns) => [(due_ns, Phase::Sleep), (self.woken_ns, Phase::LoopWait), (begin_ns, waited)],
            None => [(self.woken_ns, unknown), (self.woken_ns, unknown), (begin_ns, waited)],
        }
    }
}
