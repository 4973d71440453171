//! The strands of one loop, and what tells whose they are.
//!
//! In: what `strand` does with them. Out: which of them a request that goes on is, or may be.

use crate::machine::wire::request::{Active, RequestKey, Wants};
use crate::phase::{Phase, Phases};
use crate::rule::Rule;

/// Strands of one loop.
const MAX_STRANDS: usize = 256;

/// A socket to a back end: descriptor, and when it came to be.
pub(in crate::machine) type BackEnd = (i32, u64);

/// One of those whose strand it may be.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Candidate {
    pub(in crate::machine) key: RequestKey,
    /// What it waited for until the strand began, if it is its own: ends of stretches with their phases.
    pub(in crate::machine) before: [(u64, Phase); 3],
    /// It has gone on by itself since, and may have been the strand before.
    pub(in crate::machine) has_passed: bool,
}

/// Work for one of several requests.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Strand {
    pub(in crate::machine) number: u64,
    /// Its account, as if it were a request: from where it began.
    pub(in crate::machine) account: Active,
    pub(in crate::machine) begun_ns: u64,
    /// The Python task that began it, where that is known.
    pub(in crate::machine) task: Option<u64>,
    pub(in crate::machine) back_ends: Vec<BackEnd>,
    /// All but those that cannot have been it.
    pub(in crate::machine) candidates: Vec<Candidate>,
    /// When it last read something; 0: it has asked since, or tried to read more.
    pub(in crate::machine) answered_ns: u64,
    /// When it did something last.
    pub(in crate::machine) touched_ns: u64,
    /// Its question was sent, and it has no answer.
    pub(in crate::machine) has_asked: bool,
    /// What it had of the turn that began at this time.
    pub(in crate::machine) of_turn: (u64, Phases),
}

/// Who else may have gone on.
#[derive(Clone, Copy, Debug)]
pub(in crate::machine) struct Others {
    /// Whom they let go on follows in the same turn, and timers are over by then.
    pub(in crate::machine) let_at_once: bool,
    /// Whether a timer came due for the turn before: who waited for it goes on in this one. `None`: that is not known.
    pub(in crate::machine) by_timer: Option<bool>,
}

/// The strands of one loop.
#[derive(Clone, Debug, Default)]
pub struct Strands {
    pub(in crate::machine) list: Vec<Strand>,
    pub(in crate::machine) count: u64,
    /// The one that the thread is about.
    pub(in crate::machine) current: Option<u64>,
    /// Those of which nothing has told whose they were, since it was asked last.
    unknown: u64,
}

impl Strand {
    /// It waits for nothing that is known.
    pub(in crate::machine) fn runs(&self) -> bool {
        self.account.wants == Wants::Unknown
    }

    fn may_be(&self, request: u64) -> bool {
        self.candidates.iter().any(|candidate| candidate.key.1 == request)
    }

    /// Whether it may be this request's that goes on by another task: it is another one's if it may be the own task of that.
    fn may_be_of(&self, key: RequestKey, is_open: impl Fn(RequestKey) -> bool) -> bool {
        let is_other = |candidate: &Candidate| candidate.key != key && is_open(candidate.key);
        self.may_be(key.1) && (self.task.is_none() || !self.candidates.iter().any(is_other))
    }

    /// It had these phases of a turn.
    pub(in crate::machine) fn had(&mut self, turn_start_ns: u64, phases: &Phases) {
        if self.of_turn.0 != turn_start_ns {
            self.of_turn = (turn_start_ns, Phases::default());
        }
        self.of_turn.1.add_all(phases);
    }

    /// A request that has not gone on since this began may be it.
    pub(in crate::machine) fn claimant(&self, key: RequestKey) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.key == key && !candidate.has_passed)
    }
}

impl Strands {
    /// Whether a request may have been a strand that began after this moment, and that does not wait for its back end now.
    #[must_use]
    pub fn may_have_been(&self, key: RequestKey, from_ns: u64, is_open: impl Fn(RequestKey) -> bool) -> bool {
        let is_later = |strand: &&Strand| strand.begun_ns > from_ns && strand.runs();
        self.list.iter().filter(is_later).any(|strand| strand.may_be_of(key, &is_open))
    }

    /// Whether a request may be one of them.
    #[must_use]
    pub fn may_be(&self, request: u64) -> bool {
        self.list.iter().any(|strand| strand.may_be(request))
    }

    /// Whether a request is known to wait for a back end: it alone can have asked it.
    #[must_use]
    pub fn is_waiting(&self, key: RequestKey) -> bool {
        self.list
            .iter()
            .any(|strand| !strand.runs() && strand.candidates.len() == 1 && strand.claimant(key).is_some())
    }

    /// Whether the strand that uses this back end, if one does, waits for nothing.
    #[must_use]
    pub fn is_runnable(&self, back_end: BackEnd) -> bool {
        self.list.iter().any(|strand| strand.runs() && strand.back_ends.contains(&back_end))
    }

    /// Whether the thread is about one that waits for nothing.
    #[must_use]
    pub fn current_runs(&self) -> bool {
        self.current().is_some_and(Strand::runs)
    }

    /// Those of which nothing tells any longer whose they were, since this was asked last. `all`: those that are left as well.
    pub fn take_unknown(&mut self, all: bool) -> u64 {
        let left = self.list.iter().filter(|_| all).count() as u64;
        std::mem::take(&mut self.unknown).saturating_add(left)
    }

    pub(in crate::machine) fn current(&self) -> Option<&Strand> {
        let current = self.current?;
        self.list.iter().find(|strand| strand.number == current)
    }

    pub(in crate::machine) fn take(&mut self, number: u64) -> Option<Strand> {
        let index = self.list.iter().position(|strand| strand.number == number)?;
        Some(self.list.swap_remove(index))
    }

    /// Makes room: those that nobody can claim any longer go first, then the oldest.
    pub(in crate::machine) fn make_room(&mut self, is_live: impl Fn(RequestKey) -> bool) {
        let is_claimable = |strand: &Strand| {
            strand.candidates.iter().any(|candidate| !candidate.has_passed && is_live(candidate.key))
        };
        let before = self.list.len();
        let current = self.current;
        self.list.retain(|strand| Some(strand.number) == current || is_claimable(strand));
        while self.list.len() >= MAX_STRANDS {
            let Some(oldest) = self.list.iter().map(|strand| strand.number).min() else { break };
            self.list.retain(|strand| strand.number != oldest);
        }
        self.unknown = self.unknown.saturating_add(before.saturating_sub(self.list.len()) as u64);
    }

    /// Nothing will tell whose it was.
    pub(in crate::machine) fn forget(&mut self, number: u64) {
        self.list.retain(|strand| strand.number != number);
        self.unknown = self.unknown.saturating_add(1);
    }

    /// A request goes on: it was none of those that wait meanwhile, and of all others it is not told any more.
    pub(in crate::machine) fn passes(&mut self, key: RequestKey, runs: bool) {
        for strand in &mut self.list {
            if runs && !strand.runs() && Rule::OneThingAtATime.holds() {
                strand.candidates.retain(|candidate| candidate.key != key);
            }
            for candidate in strand.candidates.iter_mut().filter(|candidate| candidate.key == key) {
                candidate.has_passed = true;
            }
        }
        // Nobody's: what a request did not ask for.
        self.list.retain(|strand| !strand.candidates.is_empty());
    }

    /// One that began at `begun_ns` and was worked for up to `until_ns` is this request: no other is that goes on or waits meanwhile.
    pub(in crate::machine) fn excludes(&mut self, key: RequestKey, begun_ns: u64, until_ns: u64) {
        if !Rule::OneThingAtATime.holds() {
            return;
        }
        for strand in &mut self.list {
            if strand.begun_ns < until_ns && (!strand.runs() || strand.account.cursor_ns > begun_ns) {
                strand.candidates.retain(|candidate| candidate.key != key);
            }
        }
        self.list.retain(|strand| !strand.candidates.is_empty());
    }

    /// What this task did that makes a call of this request, if it is not known to be the request's yet.
    pub(in crate::machine) fn of_task(&self, task: Option<u64>, key: RequestKey) -> Option<&Strand> {
        self.list.iter().find(|strand| task.is_some() && strand.task == task && strand.may_be(key.1))
    }

    /// Whether order may tell that a strand is this request's that goes on by this task: it is of another task, but of no request that may be
    /// it no task is known.
    pub(in crate::machine) fn may_be_guessed(
        &self,
        number: u64,
        task: Option<u64>,
        key: RequestKey,
        is_open: impl Fn(RequestKey) -> bool,
    ) -> bool {
        let strand = self.list.iter().find(|strand| strand.number == number);
        strand.is_some_and(|strand| task.is_none() || strand.may_be_of(key, is_open))
    }

    /// The strand that this request goes on with at a call of its own, if it is one: see the head of this file. Also whether that is only likely.
    pub(in crate::machine) fn followed_by(&self, key: RequestKey, others: Others) -> Option<(u64, bool)> {
        let fits = |strand: &&Strand| strand.runs() && strand.claimant(key).is_some();
        let ran = self.current().filter(fits);
        if others.let_at_once {
            // Its greenlet was switched to as the answer came, and timers are over by then.
            return ran.filter(|_| Rule::FollowedAtOnce.holds()).map(|strand| (strand.number, false));
        }
        // It did something after its answer was read: the task runs. Who was let go by a timer comes after it in the same turn.
        ran.filter(|strand| Rule::FollowedNext.holds() && strand.answered_ns < strand.touched_ns)
            .map(|strand| (strand.number, others.by_timer != Some(false)))
    }
}
