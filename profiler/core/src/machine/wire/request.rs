//! One request on its way: which thread works on it, and where its time goes.
//!
//! In: the touches of threads on its connection, with the pieces of their time. Out: a finished
//! [`Request`] whose phases add up. Its `cursor_ns` is the point up to which its time
//! is explained; every step moves the cursor and adds exactly that much to the phases.

use crate::event::Tid;
use crate::machine::lock::gil_held::Held;
use crate::machine::time::capacity::{SHORTEST_NS, Span};
use crate::machine::time::piece::{Pending, ThreadTime, hold};
use crate::machine::wire::kept::Kept;
use crate::machine::wire::trail::minus;
use crate::model::request::{Http, OnGil, Request, Seen, Stretch, Times};
use crate::phase::{Phase, Phases};

/// Stretches kept for a request; further ones are joined into the last.
const MAX_STRETCHES: usize = 32;
/// Waits for somebody to serve it that are kept. One that waits again and again waits for its loop.
const MAX_WAITS: usize = 4;

/// A request that is not finished.
#[derive(Clone, Debug)]
pub struct Active {
    /// What is known so far; `end_ns` is the exit of the last write.
    pub request: Box<Request>,
    /// Up to here its time is explained.
    pub cursor_ns: u64,
    /// The thread that works on it.
    pub owner: Option<Tid>,
    /// The thread that worked on it last and turned to something else in the middle.
    pub left_by: Option<Tid>,
    /// What a thread did between its last call for the request and where it left it: up to when, and the
    /// phases. This becomes part of the request, unless another thread takes the request over.
    /// Then it waited for that thread since it was read.
    pub parting: Option<(u64, Phases, Held)>,
    /// A thread of the loop's pool was woken for it since the loop left it.
    pub handed_to: Option<HandedTo>,
    /// A thread of the loop's pool has worked for it.
    pub pooled: bool,
    /// What it waits for where an event loop has left it.
    pub wants: Wants,
    /// The Python task that works for it other than by reading it, where known.
    pub task: Option<u64>,
    /// What an event loop did for it last.
    pub on_loop: OnLoop,
    /// Until then it waited behind the request before it on its connection, with which it was read.
    pub behind_until_ns: u64,
    /// Its waits for somebody to serve it.
    pub waited: Waited,
    /// Its response.
    pub response: Response,
    /// Who had the interpreter lock while it waited for that.
    pub held: Held,
    /// What is kept of its account piece by piece.
    pub kept: Kept,
}

/// What an event loop did last for a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnLoop {
    /// When it last resumed it, other than by reading. The request does not wait for a thread's job that
    /// began before.
    pub ran_ns: u64,
    /// When it last read an answer of its back end, by a callback of its own: the request has not run since.
    /// `None`: there is none.
    pub answered_ns: Option<u64>,
}

/// The response to a request in flight.
#[derive(Clone, Copy, Debug, Default)]
pub struct Response {
    /// The final one has begun.
    pub has_begun: bool,
    /// The response ended with the connection.
    pub ends_with_connection: bool,
    /// An event loop left the response in the middle, with an open end: it is over, or it continues.
    pub may_have_ended: bool,
    /// The response continued after an event loop had left it.
    pub has_continued: bool,
    /// How the loop that left it writes last chunks.
    pub last_chunks: LastChunks,
    /// The request asked for a head only.
    pub to_head: bool,
}

/// What a request that its thread has left waits for, as far as its last call showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wants {
    /// What the request waits for is not known.
    #[default]
    Unknown,
    /// More bytes from its client.
    ClientRead,
    /// Its client to take bytes.
    ClientWrite,
    /// A back end.
    Backend,
}

/// How a loop writes the last chunks of responses, as far as was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastChunks {
    /// No response in chunks has ended yet.
    #[default]
    Unknown,
    /// By themselves.
    Apart,
    /// At least one came together with what is before it.
    Joined,
}

/// A request on a connection: the connection's number and the request's id.
pub type RequestKey = (u32, u64);

/// How a request waited for somebody to serve it.
#[derive(Clone, Debug)]
pub struct Waited {
    /// When its connection was accepted; `u64::MAX`: not known.
    pub accepted_ns: u64,
    /// When it waited for a thread or an event loop before its response began; what is short is left out.
    pub spans: Vec<Span>,
}

/// A thread of the loop's pool that was woken for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedTo {
    /// The thread.
    pub tid: Tid,
    /// When it resumed.
    pub begin_ns: u64,
    /// The thread was attributed to this request by order alone, as the first of several.
    pub by_order: bool,
}

/// What a request begins with.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    /// Dense number of the request.
    pub id: u64,
    /// Dense number of its connection.
    pub connection: u64,
    /// Position on the connection.
    pub index: u32,
    /// First byte at the socket, or first sight.
    pub start_ns: u64,
    /// `start_ns` is the arrival.
    pub start_is_arrival: bool,
    /// When accept returned the connection. If that was after `start_ns`, the time between was spent in the
    /// accept queue.
    pub accepted_ns: Option<u64>,
    /// The beginning was not seen.
    pub truncated: bool,
    /// When an event loop last handed the connection over. If that was after `start_ns`, the loop kept it
    /// waiting.
    pub dispatched_ns: u64,
}

impl Active {
    /// A request begins.
    pub fn new(beginning: &Beginning, tgid: Tid, tid: Tid) -> Self {
        let start_ns = beginning.start_ns;
        let mut phases = Phases::default();
        let mut waited = None;
        let mut cursor_ns = start_ns;
        if let Some(accepted_ns) = beginning.accepted_ns
            && accepted_ns > start_ns
        {
            phases.add(Phase::AcceptQueue, accepted_ns - start_ns);
            cursor_ns = accepted_ns;
        }
        if beginning.start_is_arrival && beginning.dispatched_ns > cursor_ns {
            phases.add(Phase::LoopWait, beginning.dispatched_ns - cursor_ns);
            waited = Some((cursor_ns, beginning.dispatched_ns));
            cursor_ns = beginning.dispatched_ns;
        }
        let request = Request {
            id: beginning.id,
            connection: beginning.connection,
            index_on_connection: beginning.index,
            tgid,
            tid,
            slot: None,
            phases,
            stretches: Vec::new(),
            round_trips: crate::model::round_trips::RoundTrips::default(),
            times: Times {
                start_ns,
                start_is_arrival: beginning.start_is_arrival,
                end_ns: start_ns,
                ..Times::default()
            },
            http: Http::default(),
            gil: OnGil::default(),
            seen: Seen { truncated: beginning.truncated, ..Seen::default() },
        };
        let mut active = Self {
            request: Box::new(request),
            cursor_ns,
            owner: None,
            left_by: None,
            parting: None,
            handed_to: None,
            pooled: false,
            wants: Wants::default(),
            task: None,
            on_loop: OnLoop::default(),
            behind_until_ns: 0,
            waited: Waited { accepted_ns: beginning.accepted_ns.unwrap_or(u64::MAX), spans: Vec::new() },
            response: Response::default(),
            held: Held::default(),
            kept: Kept::default(),
        };
        if let Some((from_ns, to_ns)) = waited {
            active.has_waited(from_ns, to_ns);
        }
        active
    }

    /// The request waited for somebody to serve it. Only first requests matter: others are bound to their
    /// connection's process.
    fn has_waited(&mut self, from_ns: u64, to_ns: u64) {
        if self.response.has_begun || self.request.index_on_connection > 0 {
            return;
        }
        let spans = &mut self.waited.spans;
        if let Some(last) = spans.last_mut().filter(|last| last.1 == from_ns) {
            last.1 = to_ns;
        } else if to_ns.saturating_sub(from_ns) >= SHORTEST_NS && spans.len() < MAX_WAITS {
            spans.push((from_ns, to_ns));
        }
    }

    /// Its head was read before the request before it on its connection was over.
    pub(in crate::machine) fn was_behind(&self) -> bool {
        self.request.times.service_start_ns.is_some_and(|head_ns| head_ns < self.behind_until_ns)
    }

    /// A thread has done something for this request: the thread's time since the cursor is this request's.
    /// `own_start_ns`: when the thread began to work on it, at the earliest. What held the thread before
    /// that, from `window_start_ns` on, is added to the thread's sums. Returns what was taken of the thread's
    /// time.
    pub fn advance(&mut self, time: ThreadTime<'_>, own_start_ns: u64, window_start_ns: u64) -> TakenTime {
        let ThreadTime { tgid, tid, new_since_ns, pending, holding_ns, claimed_until_ns } = time;
        let counts_from_ns = window_start_ns.max(claimed_until_ns);
        if self.left_by == Some(tid) {
            self.part();
        }
        self.parting = None;
        let was_owner = self.owner == Some(tid);
        let own_start_ns = own_start_ns.max(self.behind_until_ns);
        let mut from_ns = self.cursor_ns;
        if !was_owner && own_start_ns > self.cursor_ns {
            // Nobody worked on it: before its service it waited for a thread. A thread that left it and comes
            // back runs an event loop: only the loop knows what the request waited for meanwhile.
            // Whoever worked on a request whose beginning was not seen may have slept since before the
            // window.
            let before = self.request.times.service_start_ns.is_none() || !self.response.has_begun;
            let waits = before && self.left_by != Some(tid) && !self.request.seen.truncated;
            let phase = if waits { Phase::PoolWait } else { Phase::Unexplained };
            let mut waited = Phases::default();
            waited.add(phase, own_start_ns - self.cursor_ns);
            if phase == Phase::PoolWait {
                // A thread that was born for it, or for its connection, is busy from its birth on, and keeps
                // nobody waiting.
                let born_ns =
                    new_since_ns.filter(|since_ns| *since_ns > self.waited.accepted_ns.min(self.cursor_ns));
                let until_ns =
                    born_ns.map_or(own_start_ns, |born_ns| own_start_ns.min(born_ns).max(self.cursor_ns));
                self.has_waited(self.cursor_ns, until_ns);
            }
            self.spend(self.cursor_ns, own_start_ns, &waited);
            from_ns = own_start_ns;
        }
        let mut parts = Vec::new();
        let is_kept = self.kept.is_any();
        let phases = pending.take_from(from_ns, &mut self.held, |piece, at_ns| {
            if let Some(holding) = piece.holding {
                hold(holding_ns, holding, piece.start_ns.max(counts_from_ns), at_ns);
            }
            if is_kept {
                parts.push((at_ns, piece.end_ns, piece.phases_from(at_ns)));
            }
        });
        self.spend_parts(from_ns, &phases, &parts);
        self.cursor_ns = from_ns.saturating_add(phases.total_ns());
        self.owner = Some(tid);
        self.stretch(tgid, tid, from_ns, self.cursor_ns);
        TakenTime { from_ns, phases }
    }

    /// A thread leaves it. `open_end`: if its response has begun, that may be the end of it. `last_chunks`:
    /// how its loop writes these.
    pub fn pauses(&mut self, open_end: bool, last_chunks: LastChunks) {
        self.response.may_have_ended = self.response.has_begun && open_end;
        self.response.last_chunks = last_chunks;
    }

    /// What the thread that left it did last was for it: it continues.
    pub fn part(&mut self) {
        self.response.has_continued |= std::mem::take(&mut self.response.may_have_ended);
        if let Some((until_ns, phases, held)) = self.parting.take() {
            self.spend(self.cursor_ns, until_ns, &phases);
            self.held.add_all(&held);
            self.cursor_ns = until_ns;
        }
    }

    /// What a thread did for it, up to the end of the last piece.
    pub fn take_pieces(&mut self, pieces: &mut Pending, tgid: Tid, tid: Tid) {
        let from_ns = self.cursor_ns;
        let phases = pieces.take_from(from_ns, &mut self.held, |_, _| {});
        self.cursor_ns = from_ns.saturating_add(phases.total_ns());
        self.spend(from_ns, self.cursor_ns, &phases);
        self.stretch(tgid, tid, from_ns, self.cursor_ns);
    }

    /// Adds an account that was kept without knowing whose it is, and that begins where its own ends.
    pub fn join(&mut self, other: Self) {
        self.spend(self.cursor_ns, other.cursor_ns, &other.request.phases);
        self.held.add_all(&other.held);
        for Stretch { tgid, tid, start_ns, end_ns } in other.request.stretches {
            self.stretch(tgid, tid, start_ns, end_ns);
        }
        for (from_ns, to_ns) in other.waited.spans {
            self.has_waited(from_ns, to_ns);
        }
        self.cursor_ns = other.cursor_ns;
    }

    /// Time up to `until_ns` passes without anybody known to work on it.
    pub fn pass(&mut self, until_ns: u64, phase: Phase) {
        self.part();
        if until_ns > self.cursor_ns {
            let mut passed = Phases::default();
            passed.add(phase, until_ns - self.cursor_ns);
            if matches!(phase, Phase::PoolWait | Phase::LoopWait) {
                self.has_waited(self.cursor_ns, until_ns);
            }
            self.spend(self.cursor_ns, until_ns, &passed);
            self.cursor_ns = until_ns;
        }
    }

    /// A stretch of its time went to these phases.
    pub fn spend(&mut self, start_ns: u64, end_ns: u64, phases: &Phases) {
        self.request.phases.add_all(phases);
        self.kept.push(start_ns, end_ns, phases);
    }

    /// A stretch from `start_ns` on went to these phases; the last of it is known piece by piece.
    fn spend_parts(&mut self, start_ns: u64, phases: &Phases, parts: &[(u64, u64, Phases)]) {
        self.request.phases.add_all(phases);
        if !self.kept.is_any() {
            return;
        }
        let mut first = *phases;
        for (_, _, part) in parts {
            first = minus(&first, part);
        }
        self.kept.push(start_ns, start_ns.saturating_add(first.total_ns()), &first);
        for (part_start_ns, end_ns, part) in parts {
            self.kept.push(*part_start_ns, *end_ns, part);
        }
    }

    /// What its time is up to the window's end, where nobody works on it. It waits for a thread. Where a
    /// thread has worked on it before, or may have, that is not known.
    pub const fn unattended(&self) -> Phase {
        let nobody = self.owner.is_none() && self.left_by.is_none() && !self.request.seen.truncated;
        if nobody { Phase::PoolWait } else { Phase::Unexplained }
    }

    /// A thread worked for it from `start_ns` to `end_ns`.
    pub fn stretch(&mut self, tgid: Tid, tid: Tid, start_ns: u64, end_ns: u64) {
        if end_ns <= start_ns {
            return;
        }
        let full = self.request.stretches.len() >= MAX_STRETCHES;
        match self.request.stretches.last_mut() {
            Some(last) if last.tid == tid && last.end_ns >= start_ns || full => {
                last.end_ns = last.end_ns.max(end_ns);
            }
            _ => self.request.stretches.push(Stretch { tgid, tid, start_ns, end_ns }),
        }
    }
}

/// What a request took of a thread's time.
#[derive(Clone, Copy, Debug, Default)]
pub struct TakenTime {
    /// Start of what was taken.
    pub from_ns: u64,
    /// Its phases.
    pub phases: Phases,
}

#[cfg(test)]
impl Beginning {
    /// A request that came at this moment, the first of its connection, for tests.
    pub(crate) const fn at(id: u64, start_ns: u64) -> Self {
        Self {
            id,
            connection: id,
            index: 0,
            start_ns,
            start_is_arrival: true,
            accepted_ns: None,
            truncated: false,
            dispatched_ns: 0,
        }
    }
}

#[cfg(test)]
mod tests;
