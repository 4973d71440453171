//! The closed list of phases of a request, and a set of durations over it.
//!
//! In: nothing. Out: [`Phase`] and [`Phases`]. The phases of a request add up to its `total_ns`, to the
//! nanosecond.

use std::fmt;

closed_list! {
    /// Where a stretch of a request's time went.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[repr(u8)]
    pub enum Phase {
        AcceptQueue = "accept_queue": "In the listener's accept queue, from arrival to accept's return.",
        PoolWait = "pool_wait": "Readable or read, waiting for a thread.",
        LoopWait = "loop_wait": "Ready, while the event loop was busy elsewhere, or where no loop serves the thread that dispatches.",
        ReadHead = "read_head": "Reading the head.",
        ReadBody = "read_body": "Reading the body.",
        ClientReadStall = "client_read_stall": "Waiting for the client to send.",
        Cpu = "cpu": "Running Python; server and application cannot be distinguished from outside.",
        RunQueue = "run_queue": "Runnable, waiting for a CPU.",
        GilWait = "gil_wait": "Waiting for the interpreter lock.",
        LockWait = "lock_wait": "Waiting for another lock (futex).",
        BackendWait = "backend_wait": "Waiting for a socket that is not the client's.",
        ChildWait = "child_wait": "Waiting for a child process to begin or to end.",
        FileWait = "file_wait": "Waiting for a file.",
        FaultWait = "fault_wait": "Asleep outside any call: page faults.",
        Sleep = "sleep": "Sleeping on purpose.",
        Write = "write": "Writing the response.",
        ClientWriteStall = "client_write_stall": "Waiting for the client to take the response.",
        FrontEnd = "front_end": "In a traced front end.",
        Unexplained = "unexplained": "Not known; shown, never spread over the others.",
    }
}

/// A duration in nanoseconds for each phase.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    of: [u64; Phase::COUNT],
    /// The sum of all phases: it is asked for more often than anything is added.
    total_ns: u64,
}

/// Phase by phase: the sum adds nothing to that.
impl fmt::Debug for Phases {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Phases").field(&self.of).finish()
    }
}

impl Phases {
    /// Adds `duration_ns` to `phase`.
    pub const fn add(&mut self, phase: Phase, duration_ns: u64) {
        if let Some(slot) = self.of.as_mut_slice().split_at_mut(phase as usize).1.first_mut() {
            *slot = slot.saturating_add(duration_ns);
            self.total_ns = self.total_ns.saturating_add(duration_ns);
        }
    }

    /// Adds another set, phase by phase.
    pub fn add_all(&mut self, other: &Self) {
        for (slot, value) in self.of.iter_mut().zip(other.of) {
            *slot = slot.saturating_add(value);
        }
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
    }

    /// Takes away up to `limit_ns` of `phase`; returns how much that was.
    pub fn take(&mut self, phase: Phase, limit_ns: u64) -> u64 {
        let Some(slot) = self.of.get_mut(phase as usize) else { return 0 };
        let taken_ns = limit_ns.min(*slot);
        *slot -= taken_ns;
        self.total_ns -= taken_ns;
        taken_ns
    }

    /// Moves these durations out of what is unexplained, as far as there is that much of it.
    pub fn explain(&mut self, known: &Self) {
        for (phase, duration_ns) in known.iter() {
            let moved_ns = self.take(Phase::Unexplained, duration_ns);
            self.add(phase, moved_ns);
        }
    }

    /// Duration of one phase.
    pub fn get(&self, phase: Phase) -> u64 {
        self.of.get(phase as usize).copied().unwrap_or(0)
    }

    /// Sum over all phases.
    pub const fn total_ns(&self) -> u64 {
        self.total_ns
    }

    /// Time in which a request was served: everything but waiting to be taken, reading its head and the front
    /// end.
    pub fn served_ns(&self) -> u64 {
        let before = [Phase::AcceptQueue, Phase::PoolWait, Phase::LoopWait, Phase::ReadHead, Phase::FrontEnd];
        before.iter().fold(self.total_ns, |rest, phase| rest.saturating_sub(self.get(*phase)))
    }

    /// The share of service time, without what clients took, that is computing or waiting to; 0 without any.
    pub fn computing_ratio(&self) -> f64 {
        let of = |phases: &[Phase]| phases.iter().fold(0_u64, |sum, one| sum.saturating_add(self.get(*one)));
        let of_clients_ns = of(&[Phase::ClientReadStall, Phase::ClientWriteStall]);
        match self.served_ns().saturating_sub(of_clients_ns) {
            0 => 0.0,
            served_ns => of(&[Phase::Cpu, Phase::RunQueue, Phase::GilWait]) as f64 / served_ns as f64,
        }
    }

    /// Durations of all phases, in the order of reports.
    pub const fn all(&self) -> &[u64; Phase::COUNT] {
        &self.of
    }

    /// Phases above zero, in the order of reports.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, u64)> + '_ {
        Phase::ALL.into_iter().zip(self.of).filter(|(_, value)| *value > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_explained_later_is_taken_from_what_is_unexplained_and_never_more() {
        let of = |all: &[(Phase, u64)]| {
            let mut phases = Phases::default();
            all.iter().for_each(|(phase, duration_ns)| phases.add(*phase, *duration_ns));
            phases
        };
        let mut phases = of(&[(Phase::Cpu, 10), (Phase::Unexplained, 100)]);
        phases.explain(&of(&[(Phase::Cpu, 60), (Phase::RunQueue, 30)]));
        assert_eq!(phases, of(&[(Phase::Cpu, 70), (Phase::RunQueue, 30), (Phase::Unexplained, 10)]));
        phases.explain(&of(&[(Phase::Cpu, 60), (Phase::RunQueue, 30)]));
        assert_eq!(phases.total_ns(), 110);
        assert_eq!(phases.get(Phase::Unexplained), 0);
    }

    #[test]
    fn every_phase_stands_at_its_own_index() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, index);
            let mut phases = Phases::default();
            phases.add(phase, 7);
            assert_eq!(phases.get(phase), 7);
            assert_eq!(phases.total_ns(), 7);
        }
    }
}
