//! A request that is over, as far as its waits are followed from it.
//!
//! In: nothing by itself. Out: [`Settling`], and which of its phases are waits.

use std::cell::Cell;

use crate::event::Tid;
use crate::machine::time::capacity::Span;
use crate::machine::time::short::LONG_NS;
use crate::model::request::Stretch;
use crate::phase::{Phase, Phases};

/// A shorter wait to be served is not followed by itself.
pub(in crate::machine) const SHORTEST_NS: u64 = 100_000;

/// How far a request came by the window's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::machine) enum Reached {
    /// Its answer, or the end of its connection.
    #[default]
    Answer,
    /// The server, which has not answered it.
    Server,
    /// A listener: nobody has accepted its connection.
    Queue,
}

/// What a request is settled from.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Settling {
    /// Number of the request.
    pub id: u64,
    /// Its endpoint.
    pub endpoint: u32,
    /// Process that served it.
    pub tgid: Tid,
    /// Thread that served it.
    pub tid: Tid,
    /// Start.
    pub start_ns: u64,
    /// End.
    pub end_ns: u64,
    /// Where its time went; adds up to its duration.
    pub phases: Phases,
    /// Its stretches on threads.
    pub stretches: Vec<Stretch>,
    /// How far it came.
    pub reached: Reached,
    /// When the thread of a pool was at it that had it most likely, where nothing else shows which.
    pub found: Cell<Option<Stretch>>,
    /// When it waited to be served, where that is known better than by its stretches.
    pub spans: Vec<Span>,
    /// Its listener; 0: not known.
    pub inode: u64,
    /// What distinguishes its connection at the client's end; 0: not known.
    pub peer: u64,
    /// Its waits for back ends by port.
    pub back_ends: Vec<(u16, u64)>,
    /// Who had the interpreter lock while it waited for that: endpoint (`None`: not known), and how long.
    pub holders: Vec<(Option<u32>, u64)>,
}

impl Settling {
    /// When its connection was accepted, or the request came on it.
    pub(super) fn accepted_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.phases.get(Phase::AcceptQueue))
    }
}

/// Phases in which a request waits for somebody to serve it.
pub(super) const TO_BE_SERVED: [Phase; 3] = [Phase::AcceptQueue, Phase::PoolWait, Phase::LoopWait];

/// How long a request waited for somebody to serve it.
pub(super) fn to_be_served_ns(phases: &Phases) -> u64 {
    TO_BE_SERVED.iter().fold(0, |sum, phase| phases.get(*phase).saturating_add(sum))
}

/// The same, and how long it was served.
pub(super) fn waited_and_served(phases: &Phases) -> (u64, u64) {
    let waited_ns = to_be_served_ns(phases);
    (waited_ns, phases.total_ns().saturating_sub(waited_ns))
}

/// Phases in which a request is worked for, and does not wait.
const WORK: [Phase; 4] = [Phase::Cpu, Phase::ReadHead, Phase::ReadBody, Phase::Write];

/// Whether a phase is the request's own work, and not a wait.
pub(super) fn is_work(phase: Phase) -> bool {
    WORK.contains(&phase)
}

/// How long a request waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HowLong {
    /// A moment at most.
    Hardly,
    /// Long enough to be distinguished by kind.
    Shortly,
    /// Long enough to be followed. What threads did is kept one by one from a millisecond on; who was to
    /// serve the request is known in any case.
    Long,
}

/// How long a request waited.
#[inline]
pub(super) fn waited(phases: &Phases) -> HowLong {
    // Nearly always there is not even that much waiting in all.
    let work_ns = WORK.iter().fold(0_u64, |sum, phase| sum.saturating_add(phases.get(*phase)));
    if phases.total_ns().saturating_sub(work_ns) < SHORTEST_NS { HowLong::Hardly } else { longest(phases) }
}

#[inline(never)]
fn longest(phases: &Phases) -> HowLong {
    let mut waited = HowLong::Hardly;
    for (phase, ns) in phases.iter().filter(|(phase, ns)| *ns >= SHORTEST_NS && !is_work(*phase)) {
        if ns >= LONG_NS || TO_BE_SERVED.contains(&phase) {
            return HowLong::Long;
        }
        waited = HowLong::Shortly;
    }
    waited
}
