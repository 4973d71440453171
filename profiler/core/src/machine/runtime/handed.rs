//! How a thread of a loop's pool was given its job.
//!
//! In: wakeups of the loop, timers, tasks. Out: what the initiator, the request that handed the job over,
//! waited for until a thread began with it.

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

    /// What the initiator waited for until a thread began with the job: ends of stretches with their phases.
    /// `unknown`: the phase where nothing shows what it waited for until the thread was woken.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_handed_a_job_over_if_its_address_was_its_own_by_then() {
        for (what, task, until_ns, expected) in [
            ("its own", 5, 99, true),
            ("another task", 6, 99, false),
            ("the address was another's until then", 5, 100, false),
            ("the address was another's afterwards", 5, 101, false),
        ] {
            let handed = Handed { woken_ns: 100, due_ns: None, task: Some(5) };
            assert_eq!(handed.is_by((task, until_ns)), expected, "{what}");
        }
        assert!(!Handed { woken_ns: 100, ..Handed::default() }.is_by((0, 0)), "no task is known");
    }

    #[test]
    fn who_hands_a_job_over_slept_until_its_timer_and_then_waited_for_the_loop_and_the_thread() {
        let nothing = [(100, Phase::BackendWait), (100, Phase::BackendWait), (150, Phase::PoolWait)];
        let timer = |due_ns| [(due_ns, Phase::Sleep), (100, Phase::LoopWait), (150, Phase::PoolWait)];
        for (what, due_ns, expected) in [
            ("no timer is known", None, nothing),
            ("a timer", Some(40), timer(40)),
            ("it came due as the thread was woken", Some(100), timer(100)),
            ("it came due later", Some(101), nothing),
        ] {
            let handed = Handed { woken_ns: 100, due_ns, task: None };
            assert_eq!(handed.before(150, Phase::PoolWait, Phase::BackendWait), expected, "{what}");
        }
    }
}
