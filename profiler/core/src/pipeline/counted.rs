//! What was counted on the way to the machines.
//!
//! In: counters of the kernel side and of the stages before the machines. Out: their values over one window.

use crate::fact::asleep::Patrol;
use crate::fact::container::Container;
use crate::fact::left_out::LeftOut;
use crate::fact::machine::MachineCpu;
use crate::fact::waiting::WaitingConnections;
use crate::fact::{CgroupMemory, Counters, OpenSlice, Overhead, ThreadTotals};
use crate::model::CgroupWindow;
use crate::order::OrderCounts;

/// What the source read beside events.
#[derive(Clone, Debug, Default)]
pub(super) struct Readings {
    /// Counters of the kernel side.
    pub counters: Counters,
    /// Of each cgroup the first and the last reading.
    pub cgroups: Vec<CgroupWindow>,
    /// Of the machine's CPUs the first and the last reading.
    pub machine: Option<(MachineCpu, MachineCpu)>,
    /// The limit of memory, as read last.
    pub memory: Option<CgroupMemory>,
    /// The container of the target, by its own fact.
    pub container: Option<Container>,
    /// The kernel's own account of threads.
    pub totals: Vec<ThreadTotals>,
    /// What threads are in the middle of.
    pub open: Vec<OpenSlice>,
    /// Connections that nobody serves.
    pub waiting: WaitingConnections,
    /// What the patrol has done since it began.
    pub patrol: Patrol,
    /// What measuring cost.
    pub overhead: Option<Overhead>,
    /// What was left out for that.
    pub left_out: Vec<LeftOut>,
}

/// What came in, for law 4.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    /// Records that could not be decoded.
    pub malformed: u64,
    /// What sorting cost.
    pub order: OrderCounts,
}

/// What was counted in the window.
#[derive(Debug)]
pub(super) struct Counted {
    /// By the kernel side.
    pub counters: Counters,
    /// Waits whose end was not seen.
    pub undecided_waits: u64,
    /// By the patrol.
    pub patrol: Patrol,
    /// By the stages before the machines.
    pub received: Received,
}
