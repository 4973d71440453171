//! What resumes a request that an event loop has left and that is not known to wait for anything: timers,
//! wakeups.
//!
//! In: the timeouts of the loop's waits; which request resumes after which of them, and after which request.
//! Out: what it waited for, and until when. Where the calls do not show that, it is `unexplained`.

use super::looks::{COLLECTING_ITERATIONS, Looks};
use super::order::Order;
use super::{EventLoop, RESUMING_ITERATIONS};
use crate::event::{Call, Slice};
use crate::loop_kind::Resumes;
use crate::phase::Phase;
use crate::rule::Rule;

/// Timeouts of waits are whole milliseconds, rounded up. The timer behind one is due less than this before
/// its end.
const TIMEOUT_UNIT_NS: u64 = 1_000_000;

/// Iterations from a possible cause to the first call of the task that it resumed, where each task yields
/// between two calls (trio). The first task runs on, resumes another, and that one shows it.
const LETTING_ITERATIONS: usize = 3;

/// What resumed a request that was not known to wait for anything. It slept in this phase until `asleep_ns`
/// at least, and was ready at `ready_ns` at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resumed {
    pub(super) phase: Phase,
    pub(super) asleep_ns: u64,
    pub(super) ready_ns: u64,
}

/// What may have resumed a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Clues {
    /// When the next timer is due, by the last wait's timeout.
    due_ns: Option<u64>,
    /// When the timer was due that came due last.
    pub(super) timer_ns: Option<u64>,
    /// When a wait with a timeout other than 0 last began, and until when no timer that was set by then was
    /// due.
    undue: (u64, u64),
    /// In the present iteration a connection was accepted, or something that came was read.
    has_got: bool,
    /// The first answer of a back end in the present iteration. 0: there was none.
    first_answer_ns: u64,
    /// When a request last got what it waited for: from a back end, or because its client takes more.
    answered_ns: u64,
    /// When a back end's answer was last read, and when before the present iteration.
    answer_read_ns: u64,
    answer_read_before_ns: u64,
    /// Which request resumes in which order, on loops that resume everything one iteration after its cause.
    pub(super) order: Order,
    /// When the wakeup came that another thread sent, and that was read last.
    pub(super) woken_ns: Option<u64>,
    /// When a request (or what may be one) last did something, and when it last had before the present
    /// iteration.
    pub(super) ran_ns: u64,
    ran_before_ns: u64,
}

impl Clues {
    /// The loop has looked for what is ready, by this call.
    pub(super) fn next_iteration(&mut self, slice: &Slice, looks: &Looks) {
        self.timers(slice, looks);
        self.order.next_iteration();
        (self.ran_before_ns, self.answer_read_before_ns) = (self.ran_ns, self.answer_read_ns);
        self.has_got = false;
        self.first_answer_ns = 0;
    }

    /// A wait's timeout shows when the next timer is due: a timer that came due while the loop was busy, or
    /// that ended its sleep.
    fn timers(&mut self, slice: &Slice, looks: &Looks) {
        let timeout_ms = match slice.call {
            Call::EpollWait { timeout_ms, .. } => timeout_ms,
            _ => -1,
        };
        let exit_ns = looks.last.exit_ns;
        if timeout_ms != 0 {
            let until_ns = u64::try_from(timeout_ms).map_or(u64::MAX, |timeout_ms| {
                let length_ns = timeout_ms.saturating_mul(TIMEOUT_UNIT_NS).saturating_sub(TIMEOUT_UNIT_NS);
                slice.enter_ns.saturating_add(length_ns)
            });
            self.undue = (slice.enter_ns, until_ns);
        }
        match u64::try_from(timeout_ms) {
            // Only a look: the timers are those of before.
            Ok(0) => {}
            Ok(_) if looks.last.slept && slice.result == 0 => self.due_ns = Some(looks.last.woken_ns),
            Ok(timeout_ms) => {
                // A timer that came due while the loop was busy is known by then.
                self.note_timer(slice.enter_ns);
                self.due_ns = Some(slice.enter_ns.saturating_add(timeout_ms.saturating_mul(1_000_000)));
            }
            Err(_) => {
                self.note_timer(slice.enter_ns);
                self.due_ns = None;
            }
        }
        self.note_timer(exit_ns);
    }

    fn note_timer(&mut self, until_ns: u64) {
        if self.due_ns.is_some_and(|due_ns| due_ns <= until_ns) {
            self.timer_ns = self.due_ns.take();
        }
    }
}

impl EventLoop {
    /// Whether a request that the loop left at `left_ns` may have resumed in the present iteration. A timer,
    /// another thread's wakeup or another request may have resumed it.
    pub fn may_resume(&self, left_ns: u64) -> bool {
        let (told_ns, undue_ns) = self.clues.undue;
        let is_undue = |looked_ns: u64| told_ns >= left_ns && looked_ns < undue_ns;
        match (self.runs_timers_first(), self.clues.has_got) {
            (true, true) => self.may_let(),
            (true, false) => {
                self.is_timer_told()
                    || left_ns < self.looks.last.exit_ns && !is_undue(self.looks.last.exit_ns)
            }
            (false, _) if self.resumes_at_once() => {
                self.resumes_parked()
                    || left_ns < self.looks.last.exit_ns && !is_undue(self.looks.last.exit_ns)
            }
            // There a request that was resumed shows it one iteration later.
            (false, _) => {
                self.resumes_parked() || left_ns < self.looks.before_ns && !is_undue(self.looks.before_ns)
            }
        }
    }

    /// Whether a request may resume of which it is not known when the loop left it.
    pub fn may_resume_any(&self) -> bool {
        let is_at_once = self.runs_timers_first() || self.resumes_at_once();
        let last_ns =
            if is_at_once { self.looks.last.enter_ns } else { self.looks.before_ns.saturating_sub(1) };
        self.may_resume(0) || self.may_resume(last_ns)
    }

    /// Whether requests that resume in the present iteration do so independently of one another, as far as is
    /// known. On gevent all timers are over when the loop handles what was ready.
    pub fn resumes_one_alone(&self) -> bool {
        let is_timer = self.is_timer_told() || self.looks.last.exit_ns >= self.clues.undue.1;
        !self.resumes_at_once()
            && !(self.runs_timers_first() && if self.clues.has_got { self.may_let() } else { is_timer })
    }

    /// On gevent: a request that got its answer before the loop turned to the present one may have resumed
    /// others.
    fn may_let(&self) -> bool {
        let turned_ns = self.left.turned_ns();
        self.clues.first_answer_ns > 0 && self.clues.first_answer_ns < turned_ns
    }

    fn is_timer_told(&self) -> bool {
        self.clues.timer_ns.is_some_and(|due_ns| due_ns > self.looks.before_ns)
    }

    /// Whether a timer came due for the iteration before the present one. `None`: no look showed that.
    pub fn timer_for_iteration_before(&self) -> Option<bool> {
        let (told_ns, undue_ns) = self.clues.undue;
        let is_told =
            told_ns > 0 && told_ns >= self.looks.iterations_ago_ns(1) && told_ns <= self.looks.before_ns;
        is_told.then_some(self.looks.before_ns >= undue_ns)
    }

    /// Requests resumed at this moment: when the timer came due that resumed them. `None`: none came due in
    /// the present iteration, or something else may have resumed them, as a request had got an answer by
    /// then.
    pub fn timer_of_iteration(&self, at_ns: u64) -> Option<u64> {
        let is_alone = self.clues.first_answer_ns == 0 && at_ns >= self.looks.last.exit_ns;
        self.clues.timer_ns.filter(|due_ns| is_alone && *due_ns > self.looks.before_ns)
    }

    /// What resumed a request that the loop left at `from_ns`.
    pub(super) fn resumed_by(&self, asked: bool, from_ns: u64) -> Resumed {
        let found_ns = self.looks.found_ns().max(from_ns);
        let unknown = Resumed { phase: Phase::Unexplained, asleep_ns: found_ns, ready_ns: found_ns };
        if asked {
            return unknown;
        }
        if self.resumes_at_once() {
            return self.own_timer(from_ns).filter(|_| Rule::TimerAtOnce.holds()).unwrap_or(unknown);
        }
        // On gevent timers run before the loop handles what was ready. After that a request resumes because
        // another one resumed it. On asyncio a request with an answer resumes one iteration later. A
        // request that it resumes in turn takes another iteration. On loops of which this is not known, any
        // request may have resumed it that got an answer in the two iterations before.
        let (ran_since_ns, answered_since_ns) =
            (self.looks.iterations_ago_ns(0), self.looks.iterations_ago_ns(1));
        let may_be_let = self.runs_timers_first() && self.clues.answered_ns >= self.looks.last.exit_ns
            || self.defers()
                && from_ns < ran_since_ns
                && self.clues.answer_read_before_ns >= answered_since_ns
                && self.clues.ran_before_ns >= ran_since_ns
            || self.kind().resumes == Resumes::Untold
                && self.clues.answer_read_before_ns > from_ns.max(self.looks.iterations_ago_ns(1));
        let known = self.timer_or_wake(from_ns).filter(|_| !may_be_let);
        self.timer_by_order(known).or(known).unwrap_or(unknown)
    }

    /// A timer that came due, or another thread's wakeup, in the last iterations.
    fn timer_or_wake(&self, from_ns: u64) -> Option<Resumed> {
        let since = |count: usize| from_ns.saturating_add(1).max(self.looks.iterations_ago_ns(count));
        let timer_ns = self.clues.timer_ns.filter(|at_ns| *at_ns >= since(RESUMING_ITERATIONS));
        let collecting_iterations = if self.defers() { RESUMING_ITERATIONS } else { COLLECTING_ITERATIONS };
        let woken_ns = self.clues.woken_ns.filter(|at_ns| *at_ns >= since(collecting_iterations));
        match (timer_ns, woken_ns) {
            (Some(timer_ns), woken_ns) if woken_ns.is_none_or(|at_ns| at_ns < since(RESUMING_ITERATIONS)) => {
                Some(Resumed::at(Phase::Sleep, timer_ns))
            }
            // The other thread may have worked for the request until then. So that time is not known to be a
            // wait for a lock.
            (None, Some(woken_ns)) => Some(Resumed::at(Phase::Unexplained, woken_ns)),
            (None, None) => self.timer_rounded_up(from_ns),
            _ => None,
        }
    }

    /// A timer that is due within the last millisecond of a timeout, which is rounded up to that (CPython's
    /// `selectors.py`; libuv counts in whole ones). Something else woke the loop in that millisecond, and it
    /// has not waited since, as it does not while a timer is due.
    fn timer_rounded_up(&self, from_ns: u64) -> Option<Resumed> {
        let (told_ns, undue_ns) = self.clues.undue;
        let found_ns = if self.defers() { self.looks.before_ns } else { self.looks.found_ns() };
        let may_be_due = self.is_asyncio() && self.clues.due_ns.is_some() && undue_ns <= found_ns;
        (may_be_due && told_ns >= from_ns && Rule::TimerRoundedUp.holds()).then_some(Resumed {
            phase: Phase::Sleep,
            asleep_ns: undue_ns,
            ready_ns: found_ns,
        })
    }

    /// The timer that resumed a request, where only a timer can have. It is more exact where one is `known`.
    fn timer_by_order(&self, known: Option<Resumed>) -> Option<Resumed> {
        let (cause_ns, before_ns) = (self.looks.iterations_ago_ns(0), self.looks.iterations_ago_ns(1));
        if !Rule::AfterThoseRead.holds() || !self.defers() || !self.clues.order.is_timer() || before_ns == 0 {
            return None;
        }
        let known = known
            .filter(|known| known.phase == Phase::Sleep && (before_ns..=cause_ns).contains(&known.ready_ns));
        Some(known.unwrap_or(Resumed { phase: Phase::Sleep, asleep_ns: before_ns, ready_ns: cause_ns }))
    }

    /// It runs asyncio's tasks: asyncio's own loop, as far as is known, or uvloop's.
    pub(super) fn is_asyncio(&self) -> bool {
        let is_untold = self.kind().resumes == Resumes::Untold && self.recognition.may_be_asyncio();
        self.defers() || self.kind().reads_first || is_untold
    }

    /// The loop resumes everything one iteration after its cause, as asyncio does.
    pub fn defers(&self) -> bool {
        self.kind().resumes == Resumes::NextIteration
    }

    /// A request that another one resumes does so in the next iteration.
    pub(in crate::machine) fn passes_on(&self) -> bool {
        matches!(self.kind().resumes, Resumes::NextIteration | Resumes::OwnAtOnce)
    }

    /// Whoever waited for a timer or for its own descriptor resumes in the iteration that found it, in no
    /// order, as on trio.
    pub(in crate::machine) fn resumes_at_once(&self) -> bool {
        self.kind().resumes == Resumes::OwnAtOnce
    }

    /// The timer that resumed a request, on loops where it does so in the iteration that found it due. The
    /// request shows that by the next iteration. `None`: a thread may have resumed it, or another request
    /// that has got an answer since.
    fn own_timer(&self, from_ns: u64) -> Option<Resumed> {
        let since_ns = self.looks.iterations_ago_ns(RESUMING_ITERATIONS).max(from_ns.saturating_add(1));
        let timer_ns = self.clues.timer_ns.filter(|at_ns| *at_ns >= since_ns)?;
        let let_ns = self.looks.iterations_ago_ns(LETTING_ITERATIONS).max(from_ns);
        let last_ns = self.clues.woken_ns.unwrap_or(0).max(self.clues.answer_read_ns);
        if last_ns > let_ns {
            return None;
        }
        // The request ran in the iteration that found the timer. Nothing shows which part of that iteration
        // was its own.
        let is_before = timer_ns < self.looks.before_ns;
        let ready_ns = if is_before { self.looks.last.enter_ns } else { self.looks.found_ns() };
        let ready_ns = ready_ns.max(timer_ns);
        self.not_before(Resumed { phase: Phase::Sleep, asleep_ns: timer_ns, ready_ns }, from_ns)
    }

    /// The loop runs timers as soon as it has looked. Whoever has got what it waited for resumes others in
    /// the same iteration, as on gevent.
    pub(in crate::machine) fn runs_timers_first(&self) -> bool {
        self.kind().resumes == Resumes::TimersFirst
    }

    /// The loop has waited since the request was left, and the timeout of that wait says when its next timer
    /// is due. No timer can have resumed the request before that. `None`: what resumed it came before, so
    /// it was no timer.
    fn not_before(&self, resumed: Resumed, from_ns: u64) -> Option<Resumed> {
        let (told_ns, undue_ns) = self.clues.undue;
        if resumed.phase != Phase::Sleep || told_ns < from_ns {
            return Some(resumed);
        }
        let asleep_ns = resumed.asleep_ns.max(undue_ns);
        (undue_ns <= resumed.ready_ns).then_some(Resumed { asleep_ns, ..resumed })
    }

    /// A connection was accepted, or a client's bytes were read. `request`: the one they belong to, and when
    /// its head was complete.
    pub fn has_heard(&mut self, request: Option<(u64, Option<u64>)>) {
        self.clues.has_got = true;
        self.clues.order.looks_after();
        self.in_turn.stops_running();
        if let Some((request, Some(read_ns))) = request
            && read_ns >= self.looks.last.exit_ns
        {
            self.clues.order.hears(request);
        }
    }

    /// A request has got at `at_ns` what it waited for: it may resume others.
    pub const fn has_answer(&mut self, at_ns: u64) {
        self.clues.answered_ns = at_ns;
        if self.clues.first_answer_ns == 0 {
            self.clues.first_answer_ns = at_ns;
        }
        self.clues.has_got = true;
    }

    /// A back end's answer was read, or something else that may resume any request. `only`: it resumes no
    /// request but this one.
    pub fn has_read_answer(&mut self, at_ns: u64, only: Option<u64>) {
        self.has_answer(at_ns);
        self.clues.answer_read_ns = at_ns;
        match only {
            Some(request) => self.clues.order.hears(request),
            None => self.clues.order.may_let_any(),
        }
    }

    /// A request does something that nobody else can have done.
    pub fn surely_runs(&mut self, request: u64) {
        self.clues.order.ran(request);
    }
}

impl Resumed {
    const fn at(phase: Phase, at_ns: u64) -> Self {
        Self { phase, asleep_ns: at_ns, ready_ns: at_ns }
    }
}
