//! What became of the threads that connections woke.
//!
//! In: wakeups whose outcome is known. Out: [`Woken`], for each listener.

use crate::fact::Account;
use crate::model::latency::Latency;

/// What a woken thread got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The thread accepted a connection.
    Accepted,
    /// The thread slept again inside the kernel: somebody else had the connection.
    SleptAgain,
    /// Its wait returned, and accept found nothing.
    FoundNothing,
    /// Its wait returned, and it slept again without having called accept, or accept failed otherwise.
    DidNotAccept,
}

impl Outcome {
    /// Name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::SleptAgain => "slept_again",
            Self::FoundNothing => "found_nothing",
            Self::DidNotAccept => "did_not_accept",
        }
    }
}

/// Threads woken by connections to one listener whose outcome became known in the window. Wakeups that are
/// open at its end are in none of the counts.
#[derive(Clone, Debug, Default)]
pub struct Woken {
    /// Threads that accepted a connection.
    pub accepted: u64,
    /// Threads that slept again inside the call.
    pub slept_again: u64,
    /// Threads whose first accept found nothing.
    pub found_nothing: u64,
    /// Threads that slept again without accept, or whose accept failed.
    pub did_not_accept: u64,
    /// Time of all but the first, from wakeup to sleep or to the wait's return.
    pub losers: Account,
    /// Their context switches: each time one of them got a CPU.
    pub losers_switches: u64,
    /// From wakeup to running, of those that accepted. One that was not asleep yet, or lost its CPU on the
    /// way, is left out.
    pub until_running: Latency,
}

impl Woken {
    /// Wasted wakeups.
    pub const fn in_vain(&self) -> u64 {
        self.slept_again.saturating_add(self.found_nothing).saturating_add(self.did_not_accept)
    }
}
