//! The unattributed work of one loop, and what shows whose it is.
//!
//! In: what the ledger's `unattributed` does with it. Out: which of it a request that resumes did, or may
//! have done.

use crate::machine::wire::request::{Active, RequestKey, Wants};
use crate::phase::{Phase, Phases};
use crate::rule::Rule;

/// Unattributed work that is remembered of one loop.
const MAX_UNATTRIBUTED: usize = 256;

/// A socket to a back end: descriptor, and when it came to be.
pub(in crate::machine) type BackEnd = (i32, u64);

/// A request whose work it may be.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Candidate {
    pub(in crate::machine) key: RequestKey,
    /// What it waited for until the work began, if the work is its own: ends of stretches with their phases.
    pub(in crate::machine) before: [(u64, Phase); 3],
    /// The request has resumed by itself since, and may have done the work before.
    pub(in crate::machine) has_passed: bool,
}

/// Work for one of several requests.
#[derive(Clone, Debug)]
pub(in crate::machine) struct UnattributedWork {
    pub(in crate::machine) number: u64,
    /// Its account, as if it were a request: from where it began.
    pub(in crate::machine) account: Active,
    pub(in crate::machine) begun_ns: u64,
    /// The Python task that began it, where that is known.
    pub(in crate::machine) task: Option<u64>,
    pub(in crate::machine) back_ends: Vec<BackEnd>,
    /// All but those that cannot have been it.
    pub(in crate::machine) candidates: Vec<Candidate>,
    /// The work may be that of another request, for which there was no room.
    pub(in crate::machine) has_more: bool,
    /// When it last read something. 0: it has not.
    pub(in crate::machine) answered_ns: u64,
    /// When it did something last.
    pub(in crate::machine) touched_ns: u64,
    /// Its question was sent, and it has no answer.
    pub(in crate::machine) has_asked: bool,
    /// What it had of the iteration that began at this time.
    pub(in crate::machine) of_iteration: (u64, Phases),
}

/// Which other causes may have resumed a request.
#[derive(Clone, Copy, Debug)]
pub(in crate::machine) struct Others {
    /// A request that another one resumes follows in the same iteration, and timers are over by then.
    pub(in crate::machine) let_at_once: bool,
    /// Whether a timer came due for the iteration before: whoever waited for it resumes in this one. `None`:
    /// that is not known.
    pub(in crate::machine) by_timer: Option<bool>,
}

/// The unattributed work of one loop.
#[derive(Clone, Debug, Default)]
pub struct Unattributed {
    pub(in crate::machine) list: Vec<UnattributedWork>,
    pub(in crate::machine) count: u64,
    /// The one that the thread is about.
    pub(in crate::machine) current: Option<u64>,
    /// How much of it stayed without a request, since that was last asked.
    unknown: u64,
}

impl UnattributedWork {
    /// Whether the work waits for nothing that is known.
    pub(in crate::machine) fn runs(&self) -> bool {
        self.account.wants == Wants::Unknown
    }

    /// Just one request may own it.
    pub(in crate::machine) const fn is_ones(&self) -> bool {
        self.candidates.len() == 1 && !self.has_more
    }

    fn may_be(&self, request: u64) -> bool {
        self.candidates.iter().any(|candidate| candidate.key.1 == request)
    }

    /// Whether it may belong to this request, which resumes by another task. It belongs to another request if
    /// the task may be that request's own.
    fn may_be_of(&self, key: RequestKey, is_open: impl Fn(RequestKey) -> bool) -> bool {
        let is_other = |candidate: &Candidate| candidate.key != key && is_open(candidate.key);
        let may_be_other_s = || self.has_more || self.candidates.iter().any(is_other);
        self.may_be(key.1) && (self.task.is_none() || !may_be_other_s())
    }

    /// The work had these phases of an iteration.
    pub(in crate::machine) fn had(&mut self, iteration_start_ns: u64, phases: &Phases) {
        if self.of_iteration.0 != iteration_start_ns {
            self.of_iteration = (iteration_start_ns, Phases::default());
        }
        self.of_iteration.1.add_all(phases);
    }

    /// A request that has not resumed since this began may own it.
    pub(in crate::machine) fn claimant(&self, key: RequestKey) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.key == key && !candidate.has_passed)
    }
}

impl Unattributed {
    /// Whether a request may have done work that began after this moment, and that does not wait for its back
    /// end now.
    pub fn may_have_been(&self, key: RequestKey, from_ns: u64, is_open: impl Fn(RequestKey) -> bool) -> bool {
        let is_later = |work: &&UnattributedWork| work.begun_ns > from_ns && work.runs();
        self.list.iter().filter(is_later).any(|work| work.may_be_of(key, &is_open))
    }

    /// Whether a request may be one of them.
    pub fn may_be(&self, request: u64) -> bool {
        self.list.iter().any(|work| work.may_be(request))
    }

    /// Whether a request is known to wait for a back end, as it alone can have asked it.
    pub fn is_waiting(&self, key: RequestKey) -> bool {
        self.list.iter().any(|work| !work.runs() && work.is_ones() && work.claimant(key).is_some())
    }

    /// Whether the unattributed work that uses this back end, if any does, waits for nothing.
    pub fn is_runnable(&self, back_end: BackEnd) -> bool {
        self.list.iter().any(|work| work.runs() && work.back_ends.contains(&back_end))
    }

    /// Whether the thread is about one that waits for nothing.
    pub fn current_runs(&self) -> bool {
        self.current().is_some_and(UnattributedWork::runs)
    }

    /// How much of it stayed without a request, since this was last asked. `all`: including what is left.
    pub fn take_unknown(&mut self, all: bool) -> u64 {
        let left = self.list.iter().filter(|_| all).count() as u64;
        std::mem::take(&mut self.unknown).saturating_add(left)
    }

    pub(in crate::machine) fn current(&self) -> Option<&UnattributedWork> {
        let current = self.current?;
        self.list.iter().find(|work| work.number == current)
    }

    pub(in crate::machine) fn take(&mut self, number: u64) -> Option<UnattributedWork> {
        let index = self.list.iter().position(|work| work.number == number)?;
        Some(self.list.swap_remove(index))
    }

    /// Makes room: those that nobody can claim any longer go first, then the oldest.
    pub(in crate::machine) fn make_room(&mut self, is_live: impl Fn(RequestKey) -> bool) {
        let is_claimable = |work: &UnattributedWork| {
            work.candidates.iter().any(|candidate| !candidate.has_passed && is_live(candidate.key))
        };
        let before = self.list.len();
        let current = self.current;
        self.list.retain(|work| Some(work.number) == current || is_claimable(work));
        while self.list.len() >= MAX_UNATTRIBUTED {
            let Some(oldest) = self.list.iter().map(|work| work.number).min() else { break };
            self.list.retain(|work| work.number != oldest);
        }
        self.unknown = self.unknown.saturating_add(before.saturating_sub(self.list.len()) as u64);
    }

    /// Nothing will show whose the work was.
    pub(in crate::machine) fn forget(&mut self, number: u64) {
        self.list.retain(|work| work.number != number);
        self.unknown = self.unknown.saturating_add(1);
    }

    /// A request resumes. It owns no work that waits meanwhile, and can no longer claim any other.
    pub(in crate::machine) fn passes(&mut self, key: RequestKey, runs: bool) {
        for work in &mut self.list {
            if runs && !work.runs() && Rule::OneThingAtATime.holds() {
                work.candidates.retain(|candidate| candidate.key != key);
            }
            for candidate in work.candidates.iter_mut().filter(|candidate| candidate.key == key) {
                candidate.has_passed = true;
            }
        }
        self.forget_nobody_s();
    }

    /// Nobody's is what no request asked for. If there was no room for all that may own it, it belongs to one
    /// of those: nothing will show to which.
    fn forget_nobody_s(&mut self) {
        let is_lost = |work: &&UnattributedWork| work.candidates.is_empty() && work.has_more;
        let lost = self.list.iter().filter(is_lost).count() as u64;
        self.unknown = self.unknown.saturating_add(lost);
        self.list.retain(|work| !work.candidates.is_empty());
    }

    /// Work that began at `begun_ns` and lasted until `until_ns` is this request's. So it owns no other work
    /// that was done or waited meanwhile.
    pub(in crate::machine) fn excludes(&mut self, key: RequestKey, begun_ns: u64, until_ns: u64) {
        if !Rule::OneThingAtATime.holds() {
            return;
        }
        for work in &mut self.list {
            if work.begun_ns < until_ns && (!work.runs() || work.account.cursor_ns > begun_ns) {
                work.candidates.retain(|candidate| candidate.key != key);
            }
        }
        self.forget_nobody_s();
    }

    /// What this task did that makes a call of this request, if it is not known to be the request's yet.
    pub(in crate::machine) fn of_task(
        &self,
        task: Option<u64>,
        key: RequestKey,
    ) -> Option<&UnattributedWork> {
        self.list.iter().find(|work| task.is_some() && work.task == task && work.may_be(key.1))
    }

    /// Whether order may show that this work belongs to this request, which resumes by this task. The work is
    /// another task's, but every other request that may own it has a known task.
    pub(in crate::machine) fn may_be_guessed(
        &self,
        number: u64,
        task: Option<u64>,
        key: RequestKey,
        is_open: impl Fn(RequestKey) -> bool,
    ) -> bool {
        let work = self.list.iter().find(|work| work.number == number);
        work.is_some_and(|work| task.is_none() || work.may_be_of(key, is_open))
    }

    /// The work with which this request resumes at a call of its own, if there is any. See the head of the
    /// ledger's `unattributed`. Also whether that is only likely.
    pub(in crate::machine) fn followed_by(&self, key: RequestKey, others: Others) -> Option<(u64, bool)> {
        let fits = |work: &&UnattributedWork| work.runs() && work.claimant(key).is_some();
        let ran = self.current().filter(fits);
        if others.let_at_once {
            // Its greenlet was switched to as the answer came, and timers are over by then.
            return ran.filter(|_| Rule::FollowedAtOnce.holds()).map(|work| (work.number, false));
        }
        // The work did something after its answer was read, so the task runs. A request that a timer resumed
        // comes after it in the same iteration.
        ran.filter(|work| Rule::FollowedNext.holds() && work.answered_ns < work.touched_ns)
            .map(|work| (work.number, others.by_timer != Some(false)))
    }
}

#[cfg(test)]
mod tests;
