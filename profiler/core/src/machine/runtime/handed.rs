//! How a thread of a loop's pool was given its job.
//!
//! In: wakeups of the loop, timers, tasks. Out: what the initiator, the request that handed the job over, waited for until a thread began with it.

use crate::phase::Phase;

/// Jobs of one process that wait for the loop.
pub(super) const MAX_JOBS: usize = 256;

/// How a thread of the pool was given its job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handed {
    /// The loop woke it then; 0: another did.
    pub woken_ns: u64,
    /// A timer came due in the iteration in which it was woken.
    pub due_ns: Option<u64>,
    /// The Python task that woke it.
    pub task: Option<u64>,
}

impl Handed {
    /// Whether this task handed it over. Until the given moment the task's address was another task's.
    pub(in crate::machine) fn is_by(&self, (task, until_ns): (u64, u64)) -> bool {
        self.task == Some(task) && self.woken_ns > until_ns
    }

    /// What the initiator waited for until a thread began with the job: ends of stretches with their phases. `unknown`: the phase where nothing shows what it
    /// waited for until the thread was woken.
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
