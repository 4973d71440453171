//! What the server is asked to do: requests, each with the row of its segments, and when each arrives.
//!
//! In: a recording, by an adapter. Out: [`Load`], which the simulation plays at any
//! [`crate::setting::Setting`].

use profiler_core::phase::Phase;

/// What a thread does in one segment of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It runs Python: it needs the interpreter lock of its process and a CPU.
    Python,
    /// It needs a CPU and not the lock: system calls. The time counts as this phase.
    Free(Phase),
    /// It waits, with neither. The time counts as this phase.
    Wait(Phase),
    /// It waits for what its client sends: until so long after the request's arrival, whenever the thread
    /// asks for it. The time counts as `client_read_stall`.
    ClientSends,
    /// It waits for a back end, by its number in [`Load::back_ends`].
    BackEnd(u32),
}

impl Work {
    /// Whether the thread has neither a CPU nor the lock.
    pub const fn is_wait(self) -> bool {
        matches!(self, Self::Wait(_) | Self::ClientSends | Self::BackEnd(_))
    }
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What the thread does.
    pub work: Work,
    /// How long: on a CPU, or waiting; of [`Work::ClientSends`] since the request's arrival. Waits for the
    /// lock and for a CPU come on top.
    pub duration_ns: u64,
}

/// What a request asks of the thread that serves it, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// What its client takes to send it, where the server reads that before it asks for a slot. The time
    /// counts as `client_read_stall`.
    pub ahead_ns: u64,
    /// From the moment a free slot takes the request until it does something for it: a wakeup, a call of
    /// accept. A slot that goes from one request to the next does not sleep.
    pub pickup_ns: u64,
    /// The segments up to the slot's last byte.
    pub segments: Vec<Segment>,
    /// Waits after that, before a front end is done: a client that takes the response slowly holds no slot
    /// there.
    pub behind: Vec<Segment>,
}

impl Row {
    /// Whether the thread wakes up to run before this segment: it waited in the one before. Its first wakeup
    /// is part of `pickup_ns`.
    pub fn wakes_before(&self, segment: usize) -> bool {
        let work = |at: usize| self.segments.get(at).map(|segment| segment.work);
        let waited = segment.checked_sub(1).and_then(work).is_some_and(Work::is_wait);
        waited && work(segment).is_some_and(|work| !work.is_wait())
    }

    /// How often the thread wakes up to run, the first time apart.
    pub fn wakeups(&self) -> usize {
        (1..self.segments.len()).filter(|segment| self.wakes_before(*segment)).count()
    }
}

/// When a request arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrives {
    /// At this moment, whatever the server does (open).
    At(u64),
    /// So long after another request has ended (closed): users who think.
    After {
        /// Number of that request; lower than its own.
        request: usize,
        /// How long the user thinks.
        think_ns: u64,
    },
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Number of its endpoint in [`Load::endpoints`].
    pub endpoint: usize,
    /// Number of its connection. On a kept one all requests go to the process that accepted it.
    pub connection: u64,
    /// When it arrives.
    pub arrives: Arrives,
    /// It stands in figures. One that began before the window or was open at its end is load for others
    /// alone.
    pub is_counted: bool,
    /// What it asks.
    pub row: Row,
}

/// What a front end does for each request, on a thread of its own that is no slot. Its CPU time counts as
/// `front_end`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Front {
    /// Until it asks for a slot.
    pub before: Vec<Segment>,
    /// From the slot's last byte to its own.
    pub after: Vec<Segment>,
    /// After that: it logs, it closes.
    pub then: Vec<Segment>,
}

impl Front {
    /// All of it.
    pub(crate) fn each(&self) -> impl Iterator<Item = &Segment> {
        self.before.iter().chain(&self.after).chain(&self.then)
    }

    /// All of it.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Segment> {
        self.before.iter_mut().chain(&mut self.after).chain(&mut self.then)
    }
}

/// All that is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The requests.
    pub requests: Vec<Request>,
    /// What each asks of its slot after the slot's last byte: log, close, the loop of the server.
    pub after: Vec<Segment>,
    /// What a front end does for each; `None`: there is none.
    pub front: Option<Front>,
    /// Names of endpoints.
    pub endpoints: Vec<String>,
    /// Names of back ends.
    pub back_ends: Vec<String>,
}
