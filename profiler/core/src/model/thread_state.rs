//! What a thread does, in one word.
//!
//! In: nothing. Out: [`ThreadState`]: of the timeline's slices, and of threads as they are now.

use crate::phase::Phase;

/// What a thread was doing, for colours and legends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThreadState {
    /// On a CPU, or at least not asleep, outside a call.
    Running,
    /// Mostly waiting for a CPU.
    RunQueue,
    /// Moving bytes from or to the client.
    ClientIo,
    /// Waiting for the client.
    ClientWait,
    /// Waiting for a back end.
    BackendWait,
    /// Waiting for a lock.
    LockWait,
    /// Waiting for the interpreter lock.
    GilWait,
    /// Waiting for a child process.
    ChildWait,
    /// Waiting for a file, or reading and writing one.
    File,
    /// Sleeping on purpose.
    Sleep,
    /// Waiting for work: a connection, a job, an event.
    Idle,
    /// In a call that none of the above describes.
    Other,
}

impl ThreadState {
    /// All states, in the order of legends.
    pub const ALL: [Self; 12] = [
        Self::Idle,
        Self::Running,
        Self::RunQueue,
        Self::GilWait,
        Self::LockWait,
        Self::BackendWait,
        Self::ChildWait,
        Self::ClientWait,
        Self::ClientIo,
        Self::File,
        Self::Sleep,
        Self::Other,
    ];

    /// The phase that this time is of requests; `None`: it is of several, or of none.
    pub const fn phase(self) -> Option<Phase> {
        match self {
            Self::Running => Some(Phase::Cpu),
            Self::RunQueue => Some(Phase::RunQueue),
            Self::BackendWait => Some(Phase::BackendWait),
            Self::LockWait => Some(Phase::LockWait),
            Self::GilWait => Some(Phase::GilWait),
            Self::ChildWait => Some(Phase::ChildWait),
            Self::File => Some(Phase::FileWait),
            Self::Sleep => Some(Phase::Sleep),
            Self::ClientIo | Self::ClientWait | Self::Idle | Self::Other => None,
        }
    }

    /// Name in outputs: that of its phase, if it has one.
    pub const fn name(self) -> &'static str {
        match (self, self.phase()) {
            (_, Some(phase)) => phase.name(),
            (Self::ClientIo, None) => "client_io",
            (Self::ClientWait, None) => "client_wait",
            (Self::Idle, None) => "idle",
            (_, None) => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_stands_once_in_the_list_and_has_a_name_of_its_own() {
        for (index, state) in ThreadState::ALL.into_iter().enumerate() {
            for other in ThreadState::ALL.into_iter().skip(index + 1) {
                assert_ne!(state, other);
                assert_ne!(state.name(), other.name());
            }
        }
    }

    #[test]
    fn a_state_has_the_name_of_a_phase_only_where_it_is_that_phase() {
        for state in ThreadState::ALL {
            let named = Phase::ALL.into_iter().find(|phase| phase.name() == state.name());
            assert_eq!(named, state.phase());
        }
    }
}
