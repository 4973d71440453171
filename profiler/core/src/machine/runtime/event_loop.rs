//! One event loop: its waits, its turns between them, and what a request that was parked there waited for.
//!
//! In: the waits of a thread that waits for a listener; what its requests took of each turn; arrivals. Out: the phases of
//! a parked request ([`EventLoop::explain`]), the lag of what was ready, and who kept the loop busy.

mod order;
mod resume;

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::event::Slice;
use crate::machine::runtime::strands::Strands;
use crate::machine::runtime::tasks::Tasks;
use crate::machine::wire::request::{LastChunks, Wants};
use crate::model::event_loop::{EventLoop as Report, Holder, LONG_HOLD_NS, LongHolds};
use crate::model::path_shape::path_shape;
use crate::phase::{Phase, Phases};

/// Turns remembered: an arrival is placed in one of them.
const MAX_TURNS: usize = 512;
/// Sleeps remembered: a thread that was woken tells of it when its call has returned.
const MAX_SLEEPS: usize = 16;
/// Requests told apart in one turn.
const MAX_SHARES: usize = 64;
/// Endpoints told apart.
const MAX_HOLDERS: usize = 200;
/// Requests left, and back-end descriptors touched, since the last sleep that are remembered.
pub(in crate::machine) const MAX_LEFT: usize = 64;
/// Requests that are parked, remembered.
pub(in crate::machine) const MAX_PARKED: usize = 256;
/// Turns from what makes a request go on to its going on: the loop passes it from one callback to the next.
const RESUMING_TURNS: usize = 1;
/// The same where a thread's results go through queues of their own.
const COLLECTING_TURNS: usize = 5;
/// Below this length nobody is named for a turn.
const NAMED_NS: u64 = 1_000_000;

use order::Order;

/// What made a request go on that said of nothing that it waits for it: it slept in this phase until `asleep_ns` at least,
/// and was ready at `ready_ns` at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Resumed {
    phase: Phase,
    asleep_ns: u64,
    ready_ns: u64,
}

/// A wait of the loop.
#[derive(Clone, Copy, Debug, Default)]
struct Wait {
    enter_ns: u64,
    /// When it was woken; where it did not sleep, its exit.
    woken_ns: u64,
    exit_ns: u64,
    slept: bool,
    /// Number of its slice.
    sequence: u32,
}

/// What one request had of the present turn.
#[derive(Clone, Debug)]
struct Share {
    request: u64,
    phases: Phases,
    name: Option<(String, String)>,
}

/// One turn: from a wait's return to the next wait.
#[derive(Clone, Copy, Debug)]
struct Turn {
    start_ns: u64,
    end_ns: u64,
    /// Calls that the thread made in it.
    calls: u32,
    holder: Option<usize>,
    long: bool,
}

/// The loop of one thread.
#[derive(Clone, Debug, Default)]
pub struct EventLoop {
    /// It serves several connections at once: it reads requests, and clients are among what it waits for, or it has
    /// left one request unfinished for another.
    pub confirmed: bool,
    /// It is gevent's, if it is a loop: its process has gevent loaded.
    pub on_gevent: bool,
    /// Nothing but that tells that it is one.
    pub is_hub: bool,
    /// There was no room for the pool of its process.
    pub lacks_pool: bool,
    /// It may be uvloop's: its process has uvloop loaded.
    pub on_uvloop: bool,
    /// How it writes last chunks.
    pub last_chunks: LastChunks,
    /// Up to here the present turn is known to be somebody's: the end of the last call on a connection, on a back end or
    /// on a listener; before the first of them the start of the turn.
    pub touched_ns: u64,
    /// Requests left unfinished in the turn before, which may go on in this one: connection and request.
    pub left: Vec<(u32, u64)>,
    /// The same of this turn, for the next one.
    pub leaves: Vec<(u32, u64)>,
    /// When it turned to which request, the last times.
    touches: VecDeque<(u64, (u32, u64))>,
    /// Requests left unfinished of which it is not known what they wait for, and not turned to since.
    pub parked: Vec<(u32, u64)>,
    /// Work for one of several requests.
    pub strands: Strands,
    /// Which Python task works for which request.
    pub tasks: Tasks,
    /// Back ends of which only order told whose they are.
    likely: VecDeque<i32>,
    last: Wait,
    /// Exit of the wait before the last one.
    before_ns: u64,
    /// Exit of the last wait that slept.
    slept_until_ns: u64,
    /// Entry and exit of the last waits that slept.
    sleeps: VecDeque<(u64, u64)>,
    /// When the next timer is due, as the last wait's time-out told.
    due_ns: Option<u64>,
    /// When the timer was due that came due last.
    timer_ns: Option<u64>,
    /// When a wait with another time-out than 0 last began, and until when no timer was due that was set by then.
    undue: (u64, u64),
    /// On gevent: a timer let the request go on that did so first in the present turn; nothing was accepted or read since.
    first: Option<Resumed>,
    /// In the present turn a connection was accepted, or something that came was read.
    has_got: bool,
    /// The first answer of a back end in the present turn; 0: there was none.
    first_answer_ns: u64,
    /// When a request last got what it waited for: from a back end, or because its client takes more.
    answered_ns: u64,
    /// When a back end's answer was read last, and when before the present turn.
    answer_read_ns: u64,
    answer_read_before_ns: u64,
    /// Who goes on in which order, on loops that go on with everything one turn after its cause.
    order: Order,
    /// When the wake-up came that another thread sent, and that was read last.
    woken_ns: Option<u64>,
    /// When a request (or what may be one) last did something, and when it had before the present turn.
    ran_ns: u64,
    ran_before_ns: u64,
    /// A request that was read in one turn went on in the next.
    has_deferred: bool,
    /// A request was answered in the turn in which it was read.
    is_prompt: bool,
    shares: Vec<Share>,
    turns: VecDeque<Turn>,
    index: FxHashMap<(String, String), usize>,
    report: Report,
}

impl EventLoop {
    /// The loop looks for what is ready.
    pub fn wait(&mut self, slice: &Slice, exit_ns: u64, window_start_ns: u64) {
        if self.last.exit_ns > 0 {
            let calls = slice.sequence.wrapping_sub(self.last.sequence);
            self.end_turn(slice.enter_ns, calls, window_start_ns);
        }
        let slept = slice.inside.blocked_ns > 0;
        let awake_ns = slice.inside.cpu_ns.saturating_add(slice.inside.run_queue_ns);
        let woken_ns = if slept { exit_ns.saturating_sub(awake_ns) } else { exit_ns };
        self.before_ns = self.last.exit_ns;
        let (enter_ns, sequence) = (slice.enter_ns, slice.sequence);
        self.last = Wait { enter_ns, woken_ns, exit_ns, slept, sequence };
        if slept {
            self.slept_until_ns = exit_ns;
            if self.sleeps.len() >= MAX_SLEEPS {
                self.sleeps.pop_front();
            }
            self.sleeps.push_back((slice.enter_ns, exit_ns));
            self.leaves.clear();
        }
        self.left = std::mem::take(&mut self.leaves);
        self.timers(slice, slept);
        self.touched_ns = exit_ns;
        self.first = None;
        self.order.next_turn();
        (self.ran_before_ns, self.answer_read_before_ns) = (self.ran_ns, self.answer_read_ns);
        self.has_got = false;
        self.first_answer_ns = 0;
        if slice.enter_ns >= window_start_ns {
            self.report.turns = self.report.turns.saturating_add(1);
        }
        let waited_ns = exit_ns.saturating_sub(slice.enter_ns.max(window_start_ns));
        self.report.waiting_ns = self.report.waiting_ns.saturating_add(waited_ns);
    }

    /// When the loop found what it goes on with since its last look.
    #[must_use]
    pub const fn found_ns(&self) -> u64 {
        if self.last.slept { self.last.woken_ns } else { self.last.exit_ns }
    }

    /// When a thread told the loop that with which a request goes on now, `until_ns` at the latest: as a rule not before the first of these moments, and
    /// surely not after the second. Where the loop goes on one turn after its cause (asyncio), it was in the turn before,
    /// which ended with the loop's last look. The loop takes what is ready once it has the interpreter lock again, and so maybe later than its look before that ended.
    #[must_use]
    pub fn told_between(&self, until_ns: u64) -> (u64, u64) {
        let (from_ns, surely_ns) = if self.defers() {
            (self.before_ns, self.last.enter_ns)
        } else {
            (self.found_ns(), self.found_ns())
        };
        (from_ns.min(until_ns), surely_ns.min(until_ns))
    }

    /// The loop reads what another thread (or a callback of its own) wrote to wake it.
    pub const fn woken(&mut self) {
        self.order.looks_after();
        self.woken_ns = Some(self.last.woken_ns);
    }

    /// Nothing was touched in the present turn.
    #[must_use]
    pub const fn is_fresh(&self) -> bool {
        self.touched_ns == self.last.exit_ns
    }

    /// Where the present turn began.
    #[must_use]
    pub const fn turn_start_ns(&self) -> u64 {
        self.last.exit_ns
    }

    /// A request had this of the present turn. `name` gives its method and path.
    pub fn share<'a>(&mut self, request: u64, phases: &Phases, name: impl FnOnce() -> (&'a str, &'a str)) {
        let place = match self.shares.iter().rposition(|share| share.request == request) {
            Some(place) => place,
            None if self.shares.len() < MAX_SHARES => {
                self.shares.push(Share { request, phases: Phases::default(), name: None });
                self.shares.len() - 1
            }
            None => return,
        };
        let Some(share) = self.shares.get_mut(place) else { return };
        share.phases.add_all(phases);
        if share.name.is_none() && share.phases.total_ns() >= NAMED_NS {
            let (method, path) = name();
            share.name = Some((method.to_owned(), path_shape(path)));
        }
    }

    fn end_turn(&mut self, end_ns: u64, calls: u32, window_start_ns: u64) {
        let start_ns = self.last.exit_ns;
        let shares = std::mem::take(&mut self.shares);
        let mut turn = Turn { start_ns, end_ns, calls, holder: None, long: false };
        if end_ns > window_start_ns {
            let length_ns = end_ns.saturating_sub(start_ns.max(window_start_ns));
            self.report.busy_ns = self.report.busy_ns.saturating_add(length_ns);
            self.report.longest_turn_ns = self.report.longest_turn_ns.max(length_ns);
            let named_ns = shares.iter().fold(0u64, |sum, share| sum.saturating_add(share.phases.total_ns()));
            let rest_ns = length_ns.saturating_sub(named_ns);
            let top = shares.into_iter().max_by_key(|share| share.phases.total_ns());
            match top {
                Some(Share { request, phases, name: Some(name) }) if phases.total_ns() >= rest_ns => {
                    (turn.holder, turn.long) = self.hold(name, Some(request), &phases);
                }
                _ if length_ns >= NAMED_NS => {
                    // Nobody's request had the largest part, as far as descriptors tell.
                    let mut phases = Phases::default();
                    phases.add(Phase::Unexplained, rest_ns);
                    (turn.holder, turn.long) = self.hold((String::new(), String::new()), None, &phases);
                }
                _ => {}
            }
        }
        if self.turns.len() >= MAX_TURNS {
            self.turns.pop_front();
        }
        self.turns.push_back(turn);
    }

    fn hold(
        &mut self,
        name: (String, String),
        request: Option<u64>,
        phases: &Phases,
    ) -> (Option<usize>, bool) {
        let name = if self.index.len() >= MAX_HOLDERS && !self.index.contains_key(&name) {
            (String::new(), String::new())
        } else {
            name
        };
        let next = self.report.holders.len();
        let place = *self.index.entry(name.clone()).or_insert(next);
        if place == next {
            let (method, path_shape) = name;
            self.report.holders.push(Holder { method, path_shape, ..Holder::default() });
        }
        let Some(holder) = self.report.holders.get_mut(place) else { return (None, false) };
        let held_ns = phases.total_ns();
        holder.turns = holder.turns.saturating_add(1);
        holder.held_ns = holder.held_ns.saturating_add(held_ns);
        if held_ns > holder.longest_ns {
            (holder.longest_ns, holder.longest_request) = (held_ns, request);
        }
        let long = held_ns >= LONG_HOLD_NS;
        if long {
            let LongHolds { count, held_ns: sum_ns, phases: sums, .. } = &mut holder.long;
            *count = count.saturating_add(1);
            *sum_ns = sum_ns.saturating_add(held_ns);
            sums.add_all(phases);
        }
        (Some(place), long)
    }

    /// A request's first bytes came at `arrival_ns` and are read by a call that was entered at `read_ns`: how long they
    /// lay there until the loop looked for what is ready.
    pub fn arrived(&mut self, arrival_ns: u64, read_ns: u64, window_start_ns: u64) {
        if arrival_ns < window_start_ns {
            return;
        }
        if arrival_ns >= self.last.exit_ns {
            // Read without another look.
            self.report.lag.record(read_ns.saturating_sub(arrival_ns));
            return;
        }
        let after = self.turns.partition_point(|turn| turn.end_ns <= arrival_ns);
        if after == 0 && self.turns.len() >= MAX_TURNS {
            self.report.lag_unknown = self.report.lag_unknown.saturating_add(1);
            return;
        }
        let Some(turn) = self.turns.get(after).filter(|turn| turn.start_ns <= arrival_ns) else {
            // It came while the loop waited.
            self.report.lag.record(0);
            return;
        };
        let lag_ns = turn.end_ns.saturating_sub(arrival_ns);
        self.report.lag.record(lag_ns);
        if let Some(holder) = turn.holder.and_then(|place| self.report.holders.get_mut(place)) {
            holder.waited = holder.waited.saturating_add(1);
            holder.waited_ns = holder.waited_ns.saturating_add(lag_ns);
            if turn.long {
                holder.long.waited = holder.long.waited.saturating_add(1);
                holder.long.waited_ns = holder.long.waited_ns.saturating_add(lag_ns);
            }
        }
    }

    /// What a request waited for that the loop left at `from_ns` and turned to again at `until_ns`: the ends of its
    /// stretches with their phases, in order. `arrival_ns`: when that came which it goes on with (its client's bytes, its
    /// back end's answer or connection), where that is known. `asked`: it may have asked a back end meanwhile.
    #[must_use]
    pub fn explain(
        &self,
        asked: bool,
        from_ns: u64,
        until_ns: u64,
        wants: Wants,
        arrival_ns: u64,
    ) -> [(u64, Phase); 3] {
        let ready_only =
            [(from_ns, Phase::LoopWait), (from_ns, Phase::LoopWait), (until_ns, Phase::LoopWait)];
        if until_ns <= from_ns {
            // Records that came late or were lost can lay the end before the beginning.
            return ready_only;
        }
        let waited = match wants {
            Wants::ClientRead => Phase::ClientReadStall,
            Wants::ClientWrite => Phase::ClientWriteStall,
            Wants::Backend => Phase::BackendWait,
            // A loop runs all that is ready between two looks.
            Wants::Unknown if self.slept_until_ns <= from_ns && self.before_ns <= from_ns => {
                return ready_only;
            }
            Wants::Unknown => {
                let Resumed { phase, asleep_ns, ready_ns } = self.resumed_by(asked, from_ns);
                let asleep_ns = asleep_ns.clamp(from_ns, until_ns);
                let ready_ns = ready_ns.clamp(asleep_ns, until_ns);
                return [(asleep_ns, phase), (ready_ns, Phase::Unexplained), (until_ns, Phase::LoopWait)];
            }
        };
        if matches!(wants, Wants::ClientRead | Wants::Backend) && arrival_ns > 0 {
            let ready_ns = arrival_ns.clamp(from_ns, until_ns);
            return [(from_ns, waited), (ready_ns, waited), (until_ns, Phase::LoopWait)];
        }
        if self.last.exit_ns <= from_ns {
            // The loop has not looked since: it went on without having waited.
            return ready_only;
        }
        let (surely_ns, ready_ns) = self.found_ready_ns();
        let surely_ns = surely_ns.clamp(from_ns, until_ns);
        let ready_ns = ready_ns.clamp(surely_ns, until_ns);
        [(surely_ns, waited), (ready_ns, Phase::Unexplained), (until_ns, Phase::LoopWait)]
    }

    /// Between which two moments what the loop's last look found became ready: its wake-up, where it slept; else some
    /// moment between its last two looks.
    #[must_use]
    pub const fn found_ready_ns(&self) -> (u64, u64) {
        if self.last.slept {
            (self.last.woken_ns, self.last.woken_ns)
        } else {
            (self.before_ns, self.last.enter_ns)
        }
    }

    /// A request, read at `read_ns`, or what may be one, does something at `at_ns`; `writes`: it answers its client or asks
    /// somebody.
    pub fn runs(&mut self, read_ns: Option<u64>, at_ns: u64, writes: bool) {
        self.ran_ns = at_ns;
        if let Some(read_ns) = read_ns.filter(|_| writes) {
            self.is_prompt |= read_ns >= self.last.exit_ns;
            self.has_deferred |= read_ns < self.last.exit_ns && read_ns >= self.turns_ago_ns(0);
        }
    }

    /// The loop turns to a request.
    pub fn turns_to(&mut self, place: (u32, u64), at_ns: u64) {
        if self.touches.len() >= MAX_LEFT {
            self.touches.pop_front();
        }
        self.touches.push_back((at_ns, place));
    }

    /// The request that it had turned to last at this moment, and when that was.
    #[must_use]
    pub fn touched_at(&self, at_ns: u64) -> Option<(u64, (u32, u64))> {
        self.touches.iter().rev().find(|(touched_ns, _)| *touched_ns <= at_ns).copied()
    }

    /// Where the turn of this moment began; 0: that is not remembered.
    #[must_use]
    pub fn turn_start_at(&self, at_ns: u64) -> u64 {
        if self.last.exit_ns <= at_ns {
            return self.last.exit_ns;
        }
        self.turns.iter().rev().find(|turn| turn.start_ns <= at_ns).map_or(0, |turn| turn.start_ns)
    }

    /// Whether this moment was in the turn before the present one, or is in this.
    #[must_use]
    pub const fn was_in_turn_before(&self, at_ns: u64) -> bool {
        at_ns >= self.before_ns
    }

    /// The last wait before this moment in which it slept: entry and exit; 0: none is remembered.
    #[must_use]
    pub fn slept_before(&self, at_ns: u64) -> (u64, u64) {
        self.sleeps.iter().rev().find(|(enter_ns, _)| *enter_ns < at_ns).copied().unwrap_or_default()
    }

    /// What happened before this moment has been gone on with.
    #[must_use]
    pub fn recent_ns(&self) -> u64 {
        self.turns_ago_ns(COLLECTING_TURNS)
    }

    fn turns_ago_ns(&self, turns: usize) -> u64 {
        self.turns.iter().rev().nth(turns).map_or(0, |turn| turn.start_ns)
    }

    /// Whether a request that is parked may have gone on just now for a reason that shows: a timer, or a wake-up.
    #[must_use]
    pub fn resumes_parked(&self) -> bool {
        let recent_ns = self.turns_ago_ns(RESUMING_TURNS);
        let at_ns = self.timer_ns.max(self.woken_ns).max(self.nearly_due_ns());
        at_ns.is_some_and(|at_ns| at_ns >= recent_ns)
    }

    /// A strand was found to be this request's.
    pub fn found_strand(&mut self, place: (u32, u64), by_order: bool, at_ns: u64) {
        self.report.paired_by_order = self.report.paired_by_order.saturating_add(u64::from(by_order));
        self.left.retain(|left| *left != place);
        self.leaves.retain(|left| *left != place);
        self.parked.retain(|left| *left != place);
        self.turns_to(place, at_ns);
    }

    /// A back end was laid to a request that is no more than likely its own.
    pub fn paired_as_likely(&mut self, fd: i32) {
        self.report.paired_by_order = self.report.paired_by_order.saturating_add(1);
        if self.likely.len() >= MAX_LEFT {
            self.likely.pop_front();
        }
        self.likely.push_back(fd);
    }

    /// It is known whose back end this is.
    pub fn paired_surely(&mut self, fd: i32) {
        self.likely.retain(|likely| *likely != fd);
    }

    /// What was found ready since then may have been gone on with just now.
    #[must_use]
    pub const fn not_slept_since_ns(&self) -> u64 {
        self.slept_until_ns
    }

    /// A thread of the pool was found to have worked for a request.
    pub fn paired(&mut self, by_order: bool) {
        self.report.pooled = self.report.pooled.saturating_add(1);
        self.report.paired_by_order = self.report.paired_by_order.saturating_add(u64::from(by_order));
    }

    /// So long it went on between calls of two requests, and it is laid to the first.
    pub const fn lies_between(&mut self, length_ns: u64) {
        self.report.between_requests_ns = self.report.between_requests_ns.saturating_add(length_ns);
    }

    /// Whether it is not order alone that told whose back end this is.
    #[must_use]
    pub fn is_sure(&self, fd: i32) -> bool {
        !self.likely.contains(&fd)
    }

    /// The next window begins: sums start anew, what the loop is about stays.
    pub fn roll(&mut self) {
        self.report = Report::default();
        self.lacks_pool = false;
        self.strands.take_unknown(false);
        self.index.clear();
        for turn in &mut self.turns {
            turn.holder = None;
        }
    }

    /// The loop of thread `tid` at the end of the window; `None`: it was none.
    #[must_use]
    pub fn finish(mut self, tgid: u32, tid: u32, end_ns: u64, window_start_ns: u64) -> Option<Report> {
        if !self.confirmed {
            return None;
        }
        if end_ns > self.last.exit_ns && self.last.exit_ns > 0 {
            self.end_turn(end_ns, 0, window_start_ns);
        }
        self.report.holders.sort_by(|a, b| {
            (b.long.waited_ns, b.waited_ns, b.held_ns, &a.path_shape, &a.method).cmp(&(
                a.long.waited_ns,
                a.waited_ns,
                a.held_ns,
                &b.path_shape,
                &b.method,
            ))
        });
        (self.report.tgid, self.report.tid) = (tgid, tid);
        self.report.back_ends_unknown = self.strands.take_unknown(true);
        Some(self.report)
    }
}
