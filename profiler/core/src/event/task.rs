//! The task of an event loop's thread.
//!
//! In: nothing by itself. Out: [`TaskSeen`], [`TimerSeen`].

use super::Tid;

/// Which greenlet or asyncio task a thread works for, from the call that begins at `Event::time_ns`. A thread
/// whose tasks are read reports each change, at the latest at its first observed call for the new task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskSeen {
    /// Process.
    pub tgid: Tid,
    /// Thread.
    pub tid: Tid,
    /// An address that distinguishes the task from all others alive. After its end another may have the
    /// same, most often the very next one that begins (interpreters keep lists of free contexts).
    /// asyncio's own callbacks have contexts too. A transport hands over what it reads in its connection's
    /// context; the task that is made there has another. 0: none, at most the loop itself.
    pub task: u64,
}

/// A timer that came due while an event loop was busy. The loop begins to look at `Event::time_ns`, and runs
/// the timer after that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimerSeen {
    /// Process.
    pub tgid: Tid,
    /// The loop's thread.
    pub tid: Tid,
    /// The task that sleeps until then, as in [`TaskSeen`].
    pub task: u64,
    /// When it was due.
    pub due_ns: u64,
}
