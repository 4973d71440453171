//! One event loop: its waits, the iterations between them, and what a request that was parked there waited
//! for.
//!
//! In: the waits of a thread that waits for a listener; what its requests took of each iteration; arrivals.
//! Out: the phases of a parked request ([`EventLoop::explain`]), the lag of what was ready, and who kept the
//! loop busy.

mod held;
mod in_turn;
mod left;
mod looks;
mod order;
mod passing;
mod recognition;
mod resume;
mod timers;

use rustc_hash::FxHashSet;

use crate::event::Slice;
use crate::loop_kind::{LoopKind, Resumes};
use crate::machine::runtime::tasks::Tasks;
use crate::machine::runtime::unattributed::Unattributed;
use crate::machine::wire::request::{Active, RequestKey, Wants};
use crate::model::event_loop::EventLoop as Report;
use crate::phase::{Phase, Phases};
use crate::rule::Rule;

use held::LoopHeld;
pub(in crate::machine) use in_turn::InTurn;
pub(in crate::machine) use left::Left;
pub use looks::Looks;
use passing::Passing;
pub(in crate::machine) use passing::{After, Came, Had};
pub(in crate::machine) use recognition::Recognition;
use resume::{Clues, Resumed};
use timers::Timers;

/// Back ends remembered whose owner only order showed. Where there were more, no owner is sure.
const MAX_LIKELY: usize = 1024;
/// Iterations from the cause of a resume to the resume itself: the loop passes the request from one callback
/// to the next.
const RESUMING_ITERATIONS: usize = 1;

/// In the place of a request: the loop looks for what is ready.
const NOBODY: u64 = u64::MAX;

/// The loop of one thread.
#[derive(Clone, Debug, Default)]
pub struct EventLoop {
    /// Whether it is one, and of which kind.
    pub(in crate::machine) recognition: Recognition,
    /// There was no room for the pool of its process.
    pub lacks_pool: bool,
    /// Up to where the present iteration is attributed.
    pub(in crate::machine) touched: Touched,
    /// Requests that it has left unfinished.
    pub(in crate::machine) left: Left,
    /// Requests that run one after the other, each up to its own wakeup of the loop.
    pub(in crate::machine) in_turn: InTurn,
    /// Work for one of several requests.
    pub unattributed: Unattributed,
    /// Which Python task works for which request.
    pub tasks: Tasks,
    /// Back ends whose owner only order showed.
    likely: FxHashSet<i32>,
    /// There was no room for a further likely back end.
    has_more_likely: bool,
    /// When it looked for what is ready.
    pub looks: Looks,
    /// What may have resumed a request.
    clues: Clues,
    /// Timers that came due while it was busy.
    timers: Timers,
    /// How it passes requests on before they run.
    passing: Passing,
    held: LoopHeld,
}

/// How far the present iteration is attributed.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::machine) struct Touched {
    /// The end of the last call on a connection, a back end or a listener. Before the first such call, it is
    /// the start of the iteration.
    pub(in crate::machine) until_ns: u64,
    /// Up to here it touched no request's descriptor, but took connections without a request on its list.
    /// This is the end of the last such call.
    pub(in crate::machine) own_until_ns: u64,
}

impl EventLoop {
    /// One that is known to serve several connections at once, for tests.
    #[cfg(test)]
    pub(in crate::machine) fn confirmed() -> Self {
        let mut event_loop = Self::default();
        event_loop.recognition.confirmed = true;
        event_loop
    }

    /// Which kind it is, as far as its calls have shown.
    pub(in crate::machine) const fn kind(&self) -> &'static LoopKind {
        self.recognition.kind
    }

    /// The loop looks for what is ready.
    pub fn has_looked(&mut self, slice: &Slice, window_start_ns: u64) {
        let last = self.looks.last;
        if last.exit_ns > 0 {
            self.end_iteration(slice.enter_ns, slice.sequence.wrapping_sub(last.sequence), window_start_ns);
        }
        let slept = self.looks.look(slice);
        self.left.next_iteration(slept);
        self.in_turn.next_iteration(slept);
        self.clues.next_iteration(slice, &self.looks);
        self.touched.until_ns = slice.exit_ns;
        let (from_ns, until_ns) = (slice.enter_ns, slice.exit_ns);
        self.had(Had { from_ns, until_ns, acted_ns: from_ns, request: NOBODY, read_ns: 0, is_run: false });
        self.held.waited(slice.enter_ns, slice.exit_ns, window_start_ns);
    }

    fn end_iteration(&mut self, end_ns: u64, calls: u32, window_start_ns: u64) {
        let holder = self.held.end_iteration(self.looks.last.exit_ns, end_ns, window_start_ns);
        self.looks.end_iteration(end_ns, calls, holder);
    }

    /// When a thread reported to the loop what a request resumes with now, `until_ns` at the latest. As a
    /// rule that was not before the first of these moments, and surely not after the second. On asyncio
    /// and trio, the loop resumes a request one iteration after a thread's report. There the report came in
    /// the iteration before, which ended with the loop's last look. The loop takes what is ready once it
    /// has the interpreter lock again. That may be later than the end of its look before.
    pub fn told_between(&self, until_ns: u64) -> (u64, u64) {
        let (from_ns, surely_ns) = if self.passes_on() {
            (self.looks.before_ns, self.looks.last.enter_ns)
        } else {
            (self.looks.found_ns(), self.looks.found_ns())
        };
        (from_ns.min(until_ns), surely_ns.min(until_ns))
    }

    /// The loop takes what threads told it once an iteration, before it runs anything (asyncio: `_ready` in
    /// `_run_once`; uvloop: in `_on_idle`, once it has read). What they tell it after this moment it does not
    /// know yet. `None`: it may take it later.
    pub(in crate::machine) fn knows_until_ns(&self) -> Option<u64> {
        self.is_asyncio().then(|| self.looks.taken_ns())
    }

    /// The loop handles what it found ready, by this call. Where it reads all of that before it runs
    /// anything, it takes what threads told it after that.
    pub(in crate::machine) fn handles(&mut self, slice: &Slice) {
        if self.kind().reads_first {
            self.looks.takes_after(slice);
        }
    }

    /// The loop reads what another thread, or a callback of its own, wrote to wake it.
    pub fn woken(&mut self) {
        self.clues.order.looks_after();
        self.in_turn.stops_running();
        self.clues.woken_ns = Some(self.looks.last.woken_ns);
    }

    /// Nothing was touched in the present iteration.
    pub const fn is_fresh(&self) -> bool {
        self.touched.until_ns == self.looks.last.exit_ns
    }

    /// A request had this part of the present iteration. `name` gives its method and path.
    pub fn share<'a>(&mut self, request: u64, phases: &Phases, name: impl FnOnce() -> (&'a str, &'a str)) {
        self.held.share(request, phases, name);
    }

    /// A request's first bytes came at `arrival_ns`. The call that reads them was entered at `read_ns`.
    pub fn arrived(&mut self, arrival_ns: u64, read_ns: u64, window_start_ns: u64) {
        if arrival_ns >= window_start_ns {
            self.held.arrived(arrival_ns, read_ns, &self.looks);
        }
    }

    /// Since when nothing was touched in the present iteration, apart from the loop's own calls before.
    pub fn untouched_since_ns(&self) -> Option<u64> {
        let Touched { until_ns, own_until_ns } = self.touched;
        (self.is_fresh() || until_ns == own_until_ns).then_some(until_ns)
    }

    /// A stretch that is over and in which the request may have run unseen: begin and end. Until it began,
    /// the request waited for the loop. Some loops resume everything one iteration after its cause. Where
    /// such a loop has read something for a request, that request runs in the next iteration, unless
    /// the loop sleeps before. Where all is read first, it runs in the same one.
    pub(in crate::machine) fn unseen_iteration(&self, active: &Active) -> Option<(u64, u64)> {
        let runs_after = self.passes_on() || self.kind().reads_first;
        let is_first = runs_after && !active.response.has_begun && !active.was_behind();
        let head_ns = active.request.times.service_start_ns.filter(|_| is_first);
        let answer_ns = active.on_loop.answered_ns.filter(|_| self.defers());
        let read_ns = head_ns.max(answer_ns).filter(|read_ns| *read_ns > active.on_loop.ran_ns)?;
        if self.kind().reads_first {
            return self.looks.iteration_with(read_ns).filter(|_| Rule::UnseenIteration.holds());
        }
        let (start_ns, end_ns) = self.looks.iteration_after(read_ns)?;
        // A task of trio may also go on in the iteration that reads for it. One that shows itself right after
        // the next iteration ran in that one.
        let is_next = end_ns == self.looks.last.enter_ns && self.looks.slept_until_ns <= read_ns;
        let start_ns = if self.defers() || is_next { start_ns } else { read_ns };
        let within = (start_ns, end_ns);
        let since_ns = self.looks.iteration_start_at(read_ns);
        let in_turn = || self.passing.in_turn((active.request.id, read_ns), since_ns, within);
        Rule::UnseenIteration.holds().then(|| if self.defers() { in_turn() } else { within })
    }

    /// What is known of its order does not show when a request resumes. It may be asyncio's: one on which all
    /// requests take several iterations is not recognised.
    fn may_pass_on(&self) -> bool {
        self.kind().resumes == Resumes::Untold
    }

    /// What the loop reads for a task resumes that one later, in which iteration is not known.
    pub(in crate::machine) fn may_run_later(&self) -> bool {
        self.may_pass_on() && self.recognition.has_tasks && !self.kind().reads_first
    }

    /// A request had the loop in this stretch, as its time is attributed.
    pub(in crate::machine) fn had(&mut self, had: Had) {
        if self.may_pass_on() || self.defers() {
            self.passing.had(had);
        }
    }

    /// A request does something for the first time since it was read. The ends of the stretches in which it
    /// was surely ready, with their phases, in order: while another one had the loop it waited, and else
    /// it may have run. Empty: it may have waited for something.
    pub(in crate::machine) fn passed_along(&mut self, came: Came) -> Vec<(u64, Phase)> {
        if !Rule::PassedAlong.holds() || !self.may_pass_on() && !self.defers() {
            return Vec::new();
        }
        let passed =
            self.passing.passed(came, &self.looks).filter(|_| self.kind().resumes == Resumes::Untold);
        let Some((from_ns, until_ns)) = passed else { return Vec::new() };
        let mut ends = vec![(from_ns, Phase::LoopWait)];
        for (start_ns, end_ns) in self.passing.others(came.request, from_ns, until_ns) {
            ends.extend([(start_ns, Phase::Unexplained), (end_ns, Phase::LoopWait)]);
        }
        ends.push((until_ns, Phase::Unexplained));
        ends
    }

    /// The iteration in which a request ran first, unseen: begin and end. Until it began, the request waited
    /// for the loop.
    pub(in crate::machine) fn first_run(&self, came: Came) -> Option<(u64, u64)> {
        let holds = Rule::PassedAlong.holds() && (self.may_pass_on() || self.defers());
        let within = if holds { self.passing.first_run(came, &self.looks)? } else { return None };
        let since_ns = self.looks.iteration_start_at(came.read_ns);
        let in_turn = || self.passing.in_turn((came.request, came.read_ns), since_ns, within);
        Some(if self.is_asyncio() { in_turn() } else { within })
    }

    /// What is known of a request that resumes in the present iteration, where all of that run before any is
    /// seen to write: the ends of the stretches until `until_ns`, with their phases, in order. While another
    /// one surely had the loop it waited, and else it may have run.
    pub(in crate::machine) fn ran_or_waited(
        &self,
        request: u64,
        from_ns: u64,
        until_ns: u64,
    ) -> impl Iterator<Item = (u64, Phase)> {
        let others = self.passing.others(request, from_ns, until_ns);
        let ends = |(start_ns, end_ns)| [(start_ns, Phase::Unexplained), (end_ns, Phase::LoopWait)];
        others.flat_map(ends).chain([(until_ns, Phase::Unexplained)])
    }

    /// What a request waited for between `from_ns`, when the loop left it, and `until_ns`, when the loop
    /// turned to it again. Returns the ends of its stretches with their phases, in order. `arrival_ns`:
    /// when the cause of its resume came, where that is known: its client's bytes, its back end's answer or
    /// its back end's connection. `asked`: it may have asked a back end meanwhile.
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
            Wants::Unknown if self.looks.slept_until_ns <= from_ns && self.looks.before_ns <= from_ns => {
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
        if self.looks.last.exit_ns <= from_ns {
            // The loop has not looked since: it resumed the request without having waited.
            return ready_only;
        }
        let (surely_ns, ready_ns) = self.looks.found_ready_ns();
        let surely_ns = surely_ns.clamp(from_ns, until_ns);
        let ready_ns = ready_ns.clamp(surely_ns, until_ns);
        [(surely_ns, waited), (ready_ns, Phase::Unexplained), (until_ns, Phase::LoopWait)]
    }

    /// A timer of this task was due as the loop began to look.
    pub(in crate::machine) fn timer(&mut self, task: u64, due_ns: u64, seen_ns: u64) {
        self.timers.note(task, due_ns, seen_ns);
    }

    /// This task was seen at work.
    pub(in crate::machine) fn has_run(&mut self, task: u64) {
        self.timers.over(task);
    }

    /// What a request did since `from_ns` whose task goes on now: see [`Timers::slept`]. `asked`: it may have
    /// asked a back end meanwhile.
    pub(in crate::machine) fn slept(&self, asked: bool, task: u64, from_ns: u64) -> Vec<(u64, Phase)> {
        let mut ends = self.timers.slept(task, from_ns, &self.looks);
        if let Some((_, before)) = ends.first_mut().filter(|_| asked) {
            *before = Phase::Unexplained;
        }
        ends
    }

    /// What a request waited for until this moment. While it waits for the loop and the loop for a CPU, both
    /// wait for that.
    pub(in crate::machine) fn pass(&self, active: &mut Active, until_ns: u64, phase: Phase) {
        if phase == Phase::LoopWait {
            for (start_ns, end_ns) in self.looks.queued(active.cursor_ns, until_ns) {
                active.pass(start_ns, Phase::LoopWait);
                active.pass(end_ns, Phase::RunQueue);
            }
        }
        active.pass(until_ns, phase);
    }

    /// A request, read at `read_ns`, or what may be one, does something at `at_ns`. `writes`: it answers its
    /// client or asks a back end.
    pub fn runs(&mut self, read_ns: Option<u64>, at_ns: u64, writes: bool) {
        self.clues.ran_ns = at_ns;
        if let Some(read_ns) = read_ns.filter(|_| writes) {
            let iteration_start_ns = self.looks.iteration_start_ns();
            let has_deferred = read_ns < iteration_start_ns && read_ns >= self.looks.iterations_ago_ns(0);
            self.recognition.answers(read_ns >= iteration_start_ns, has_deferred);
        }
    }

    /// A request, read at `read_ns`, has a part of its response, which will be written in a later iteration.
    pub fn asks_to_answer(&mut self, read_ns: Option<u64>) {
        let is_deferred =
            |read_ns| read_ns < self.looks.iteration_start_ns() && read_ns >= self.looks.iterations_ago_ns(0);
        if self.recognition.reads_beside && read_ns.is_some_and(is_deferred) {
            self.recognition.answers(false, true);
        }
    }

    /// Whether a parked request may have resumed just now for a visible reason: a timer, or a wakeup.
    pub fn resumes_parked(&self) -> bool {
        let recent_ns = self.looks.iterations_ago_ns(RESUMING_ITERATIONS);
        let at_ns = self.clues.timer_ns.max(self.clues.woken_ns);
        at_ns.is_some_and(|at_ns| at_ns >= recent_ns)
    }

    /// Unattributed work was found to be this request's.
    pub fn found_unattributed(&mut self, key: RequestKey, by_order: bool, at_ns: u64) {
        let report = &mut self.held.report;
        report.paired_by_order = report.paired_by_order.saturating_add(u64::from(by_order));
        self.left.comes_back(key);
        self.left.turns_to(key, at_ns);
    }

    /// A back end was attributed to a request that only likely owns it. `false`: there is no room to remember
    /// that.
    pub fn paired_as_likely(&mut self, fd: i32) -> bool {
        self.held.report.paired_by_order = self.held.report.paired_by_order.saturating_add(1);
        let has_room = self.likely.len() < MAX_LIKELY || self.likely.contains(&fd);
        if has_room {
            self.likely.insert(fd);
        }
        self.has_more_likely |= !has_room;
        has_room
    }

    /// Whose back end this is, is known.
    pub fn paired_surely(&mut self, fd: i32) {
        self.likely.remove(&fd);
    }

    /// A thread of the pool was found to have worked for a request.
    pub fn paired(&mut self, by_order: bool) {
        self.held.report.pooled = self.held.report.pooled.saturating_add(1);
        self.held.report.paired_by_order =
            self.held.report.paired_by_order.saturating_add(u64::from(by_order));
    }

    /// Whether more than order shows whose back end this is.
    pub fn is_sure(&self, fd: i32) -> bool {
        !self.has_more_likely && !self.likely.contains(&fd)
    }

    /// The next window begins: sums start at zero, what the loop is about stays.
    pub fn roll(&mut self) {
        self.held.roll();
        self.lacks_pool = false;
        self.unattributed.take_unknown(false);
        self.looks.forget_holders();
    }

    /// The loop of thread `tid` at the end of the window. `None`: the thread ran no loop.
    pub fn finish(mut self, tgid: u32, tid: u32, end_ns: u64, window_start_ns: u64) -> Option<Report> {
        if !self.recognition.confirmed {
            return None;
        }
        let start_ns = self.looks.iteration_start_ns();
        if end_ns > start_ns && start_ns > 0 {
            self.end_iteration(end_ns, 0, window_start_ns);
        }
        let mut report = self.held.finish();
        (report.tgid, report.tid) = (tgid, tid);
        report.back_ends_unknown = self.unattributed.take_unknown(true);
        Some(report)
    }
}

#[cfg(test)]
mod tests;
