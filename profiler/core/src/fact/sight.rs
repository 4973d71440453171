//! What a run sees of what threads do.
//!
//! In: nothing (the attach report says it). Out: [`Sight`], and which phases it names.

use crate::phase::Phase;

/// What is seen of what threads do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// Every observed system call.
    #[default]
    Calls,
    /// Light mode: messages of clients, and in which calls threads sleep.
    Sleeps,
}

impl Sight {
    /// Whether time in this phase is named.
    pub const fn tells(self, phase: Phase) -> bool {
        match phase {
            Phase::PoolWait
            | Phase::Cpu
            | Phase::RunQueue
            | Phase::Sleep
            | Phase::GilWait
            | Phase::LockWait
            | Phase::BackendWait
            | Phase::ChildWait
            | Phase::FileWait
            | Phase::FaultWait
            | Phase::ClientReadStall
            | Phase::ClientWriteStall
            | Phase::Unexplained => true,
            Phase::AcceptQueue
            | Phase::LoopWait
            | Phase::ReadHead
            | Phase::ReadBody
            | Phase::Write
            | Phase::FrontEnd => matches!(self, Self::Calls),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn light_mode_names_sleeps_and_never_what_is_done_on_a_cpu_within_calls() {
        let told = |sight: Sight| Phase::ALL.into_iter().filter(move |phase| sight.tells(*phase)).count();
        assert_eq!([Sight::Calls, Sight::Sleeps].map(told), [Phase::COUNT, 13]);
        assert!(Sight::Sleeps.tells(Phase::BackendWait) && !Sight::Sleeps.tells(Phase::Write));
    }
}
