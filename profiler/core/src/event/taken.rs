//! A thread has waited for a CPU, and got one.
//!
//! In: nothing by itself. Out: [`CpuTaken`].

use super::Tid;

/// A long wait in the run queue. `Event::time_ns` is the moment at which the thread got a CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuTaken {
    /// Thread.
    pub tid: Tid,
    /// The CPU that it got.
    pub cpu: u32,
    /// When it had become ready to run.
    pub since_ns: u64,
    /// Its cgroup had used up its quota as it lost its CPU.
    pub is_throttled: bool,
    /// It was moved to that CPU while it waited, or that is not known.
    pub has_moved: bool,
    /// Who had that CPU before, in order, as far as it was not told with waits before.
    pub stints: Vec<CpuStint>,
}

/// A stretch in which a thread had a CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuStint {
    /// When it got the CPU.
    pub from_ns: u64,
    /// When it left it.
    pub until_ns: u64,
    /// How long it ran, as the scheduler counts.
    pub ran_ns: u64,
    /// The thread; 0: the CPU was idle.
    pub tid: Tid,
    /// It is a thread of the target.
    pub is_ours: bool,
    /// Its name; empty if it is the target's. Hostile input.
    pub comm: String,
}
