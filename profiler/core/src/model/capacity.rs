//! What each worker process had, used and did: the numbers behind "more threads or more processes?".
//!
//! In: slots, requests and memory by process. Out: [`Capacity`].

use crate::fact::memory::ProcessMemory;
use crate::model::life::Life;
use crate::phase::{Phase, Phases};

/// Capacity of the server and of each worker process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Requests that arrived in the window while all slots of the server were busy, and had to wait; `None`:
    /// this kernel does not show when data arrive.
    pub arrived_full: Option<u64>,
    /// Arrivals of which it is no longer known how many slots were busy: they are in none of these counts.
    pub arrivals_unplaced: u64,
    /// Processes that had slots or served requests, by number.
    pub workers: Vec<Worker>,
    /// When each of them came and went.
    pub lives: Vec<Life>,
}

/// One worker process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worker {
    /// Process.
    pub tgid: u32,
    /// Slots by its settings, or as many as were seen.
    pub slots: u32,
    /// Slots that were seen.
    pub seen: u32,
    /// The process runs event loops: it has no number of slots that could run out.
    pub is_loop: bool,
    /// Busy slot-time.
    pub busy_ns: u64,
    /// Time with all its slots busy at once.
    pub exhausted_ns: u64,
    /// Requests that it served later and that arrived in the window while all its slots were busy, and had
    /// to wait.
    pub arrived_full: u64,
    /// Requests completed.
    pub requests: u64,
    /// Where the time of its requests went, open ones included.
    pub phases: Phases,
    /// CPU time of its threads in the window.
    pub cpu_ns: u64,
    /// Its memory at the end of the window; `None`: not known.
    pub memory: Option<ProcessMemory>,
}

/// What requests do while they are served, as far as "threads or processes" depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doing {
    /// On a CPU, or ready and waiting for one: more threads of the same process do not help.
    pub computing_ns: u64,
    /// Waiting for the interpreter lock: more threads make it longer, more processes do not.
    pub gil_ns: u64,
    /// Waiting for a back end: a waiting thread costs little.
    pub backend_ns: u64,
    /// Other waits: sleep, locks, files, pages of memory.
    pub waiting_ns: u64,
    /// Waiting for the client, in either direction.
    pub client_ns: u64,
    /// Reading, writing, and what is not known.
    pub rest_ns: u64,
}

impl Doing {
    /// What these phases are, without the time before service (accept queue, waits for a thread or the loop,
    /// the head, a front end).
    pub fn of(phases: &Phases) -> Self {
        let mut doing = Self::default();
        for (phase, duration_ns) in phases.iter() {
            let sum_ns = match phase {
                Phase::AcceptQueue
                | Phase::PoolWait
                | Phase::LoopWait
                | Phase::ReadHead
                | Phase::FrontEnd => continue,
                Phase::Cpu | Phase::RunQueue => &mut doing.computing_ns,
                Phase::GilWait => &mut doing.gil_ns,
                Phase::BackendWait => &mut doing.backend_ns,
                Phase::LockWait | Phase::ChildWait | Phase::FileWait | Phase::FaultWait | Phase::Sleep => {
                    &mut doing.waiting_ns
                }
                Phase::ClientReadStall | Phase::ClientWriteStall => &mut doing.client_ns,
                Phase::ReadBody | Phase::Write | Phase::Unexplained => &mut doing.rest_ns,
            };
            *sum_ns = sum_ns.saturating_add(duration_ns);
        }
        doing
    }

    /// The time in which requests were served: the sum of all parts.
    pub const fn served_ns(&self) -> u64 {
        self.computing_ns
            .saturating_add(self.gil_ns)
            .saturating_add(self.backend_ns)
            .saturating_add(self.waiting_ns)
            .saturating_add(self.client_ns)
            .saturating_add(self.rest_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_is_either_before_service_or_counted_once() {
        for phase in Phase::ALL {
            let mut phases = Phases::default();
            phases.add(phase, 7);
            let before =
                [Phase::AcceptQueue, Phase::PoolWait, Phase::LoopWait, Phase::ReadHead, Phase::FrontEnd];
            let expected = if before.contains(&phase) { 0 } else { 7 };
            assert_eq!(Doing::of(&phases).served_ns(), expected, "{}", phase.name());
        }
    }
}
