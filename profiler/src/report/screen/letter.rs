//! A letter and a colour for everything that a thread or a request can be about, the same in strip, bar and timeline.
//!
//! In: phases, and what threads do now. Out: a [`Sign`]. The letter alone tells, so that it works without colour.

use profiler_core::model::now::ThreadNow;
use profiler_core::model::slot::Holding;
use profiler_core::phase::Phase;
use profiler_core::timeline::ThreadState;
use ratatui::style::Color;

/// How one kind of time looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// Its letter.
    pub letter: char,
    /// Its colour.
    pub colour: Color,
    /// What it means, in a few words.
    pub meaning: &'static str,
}

const fn sign(letter: char, colour: Color, meaning: &'static str) -> Sign {
    Sign { letter, colour, meaning }
}

const FREE: Sign = sign('.', Color::Reset, "free");
const RUNNING: Sign = sign('R', Color::Green, "running");
const NO_CPU: Sign = sign('q', Color::Yellow, "no CPU");
const CLIENT_IO: Sign = sign('w', Color::Cyan, "client I/O");
const CLIENT: Sign = sign('C', Color::Red, "slow client");
const SILENT: Sign = sign('k', Color::LightRed, "silent connection");
const LINGER: Sign = sign('l', Color::LightRed, "client to close");
const BACK_END: Sign = sign('B', Color::Blue, "back end");
const LOCK: Sign = sign('L', Color::LightMagenta, "lock");
const GIL: Sign = sign('G', Color::Magenta, "GIL");
const FILE: Sign = sign('F', Color::LightBlue, "file");
const SLEEP: Sign = sign('S', Color::Gray, "sleep");
const OTHER: Sign = sign('?', Color::White, "other");

/// All states, in the order of the help page.
pub(super) const STATES: [ThreadState; 11] = [
    ThreadState::Idle,
    ThreadState::Running,
    ThreadState::RunQueue,
    ThreadState::GilWait,
    ThreadState::LockWait,
    ThreadState::BackendWait,
    ThreadState::ClientWait,
    ThreadState::ClientIo,
    ThreadState::File,
    ThreadState::Sleep,
    ThreadState::Other,
];

/// Connections that hold a slot without a request.
pub(super) const SILENT_SIGNS: [Sign; 2] = [SILENT, LINGER];

/// What a thread does now.
#[must_use]
pub const fn of_thread(thread: &ThreadNow) -> Sign {
    match (thread.state, thread.holding) {
        (ThreadState::ClientWait, Some(Holding::FirstByte | Holding::KeepaliveIdle)) => SILENT,
        (ThreadState::ClientWait, Some(Holding::Linger)) => LINGER,
        (state, _) => of_state(state),
    }
}

/// What a thread did in a stretch of time.
#[must_use]
pub const fn of_state(state: ThreadState) -> Sign {
    match state {
        ThreadState::Running => RUNNING,
        ThreadState::RunQueue => NO_CPU,
        ThreadState::ClientIo => CLIENT_IO,
        ThreadState::ClientWait => CLIENT,
        ThreadState::BackendWait => BACK_END,
        ThreadState::LockWait => LOCK,
        ThreadState::GilWait => GIL,
        ThreadState::File => FILE,
        ThreadState::Sleep => SLEEP,
        ThreadState::Idle => FREE,
        ThreadState::Other => OTHER,
    }
}

/// A phase of requests.
#[must_use]
pub const fn of_phase(phase: Phase) -> Sign {
    match phase {
        Phase::AcceptQueue => sign('a', Color::LightYellow, "accept queue"),
        Phase::PoolWait => sign('p', Color::LightYellow, "no free thread"),
        Phase::LoopWait => sign('o', Color::LightYellow, "event loop busy"),
        Phase::ReadHead => sign('h', Color::Cyan, "reading the head"),
        Phase::ReadBody => sign('b', Color::Cyan, "reading the body"),
        Phase::ClientReadStall => sign('C', Color::Red, "client slow to send"),
        Phase::Cpu => RUNNING,
        Phase::RunQueue => NO_CPU,
        Phase::GilWait => GIL,
        Phase::LockWait => LOCK,
        Phase::BackendWait => BACK_END,
        Phase::FileWait => FILE,
        Phase::FaultWait => sign('f', Color::LightBlue, "page faults"),
        Phase::Sleep => SLEEP,
        Phase::Write => sign('w', Color::LightCyan, "writing"),
        Phase::ClientWriteStall => sign('W', Color::Red, "client slow to receive"),
        Phase::FrontEnd => sign('e', Color::Gray, "front end"),
        Phase::Unexplained => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_phases_share_a_letter_and_none_is_that_of_a_free_slot() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            let letter = of_phase(phase).letter;
            assert!(letter.is_ascii() && letter != FREE.letter, "{}", phase.name());
            for other in Phase::ALL.into_iter().skip(index + 1) {
                assert_ne!(letter, of_phase(other).letter, "{} and {}", phase.name(), other.name());
            }
        }
    }
}
