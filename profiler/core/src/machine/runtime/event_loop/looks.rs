//! When a loop looked for what is ready, and the iterations between these looks. A look is a poll:
//! `epoll_wait` or `poll`.
//!
//! In: the loop's waits, in order. Out: the moments between which something must have happened.

use std::collections::VecDeque;

use crate::bounded::push_newest;
use crate::event::Slice;

/// Iterations remembered: an arrival is placed in one of them.
const MAX_ITERATIONS: usize = 512;
/// Sleeps remembered: a thread that was woken reports it once its call has returned.
const MAX_SLEEPS: usize = 16;
/// Iterations from a thread's result to the resume by it, where results go through queues of their own.
pub(super) const COLLECTING_ITERATIONS: usize = 5;

/// A wait of the loop.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    pub(super) enter_ns: u64,
    /// When it was woken; where it did not sleep, its exit.
    pub(super) woken_ns: u64,
    /// How long before that it may have been woken, as the kernel did not show when a sleep ended.
    undecided_ns: u64,
    pub(super) exit_ns: u64,
    pub(super) slept: bool,
    /// Number of its slice.
    pub(super) sequence: u32,
}

impl Look {
    fn new(slice: &Slice) -> Self {
        let slept = slice.inside.blocked_ns > 0;
        let awake_ns = slice.inside.cpu_ns.saturating_add(slice.inside.run_queue_ns);
        let woken_ns = if slept { slice.exit_ns.saturating_sub(awake_ns) } else { slice.exit_ns };
        let undecided_ns = if slept { slice.call_undecided_ns() } else { 0 };
        Self {
            enter_ns: slice.enter_ns,
            woken_ns,
            undecided_ns,
            exit_ns: slice.exit_ns,
            slept,
            sequence: slice.sequence,
        }
    }
}

/// One iteration: from a wait's return to the next wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Iteration {
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    /// The wait before it slept.
    pub(super) has_slept: bool,
    /// Calls that the thread made in it.
    pub(super) calls: u32,
    /// Who had the largest part of it, as an index into the holders, and whether that part was a long one.
    pub(super) holder: Option<(usize, bool)>,
}

/// The looks of one loop.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    pub(super) last: Look,
    /// Exit of the wait before the last one.
    pub(super) before_ns: u64,
    /// Exit of the last wait that slept.
    pub(super) slept_until_ns: u64,
    /// When it had the interpreter lock after its last look, at the earliest, and the number of the slice
    /// that showed it.
    taken: (u64, u32),
    /// Entry and exit of the last waits that slept.
    sleeps: VecDeque<(u64, u64)>,
    /// When it was woken from the last of these, and until when it then waited for a CPU.
    queued: VecDeque<(u64, u64)>,
    iterations: VecDeque<Iteration>,
}

impl Looks {
    /// The loop looks for what is ready; whether it slept.
    pub(super) fn look(&mut self, slice: &Slice) -> bool {
        self.before_ns = self.last.exit_ns;
        self.last = Look::new(slice);
        self.taken = (slice.exit_ns, slice.sequence);
        if self.last.slept {
            self.slept_until_ns = slice.exit_ns;
            if self.sleeps.len() >= MAX_SLEEPS {
                self.sleeps.pop_front();
            }
            self.sleeps.push_back((slice.enter_ns, slice.exit_ns));
            let until_ns = self.last.woken_ns.saturating_add(slice.inside.run_queue_ns);
            push_newest(&mut self.queued, MAX_SLEEPS, (self.last.woken_ns, until_ns));
        }
        self.last.slept
    }

    /// The loop waits at a lock. Right after a look that is for the interpreter lock, more than once where
    /// another thread keeps it.
    pub(in crate::machine) const fn waits_at_lock(&mut self, slice: &Slice) {
        if slice.sequence == self.taken.1.wrapping_add(1) {
            self.taken = (slice.exit_ns, slice.sequence);
        }
    }

    /// The loop takes what threads told it after this call.
    pub(in crate::machine) const fn takes_after(&mut self, slice: &Slice) {
        self.taken = (slice.exit_ns, slice.sequence);
    }

    /// What threads tell the loop after this moment, it does not know yet.
    pub(in crate::machine) const fn taken_ns(&self) -> u64 {
        self.taken.0
    }

    /// The present iteration is over.
    pub(super) fn end_iteration(&mut self, end_ns: u64, calls: u32, holder: Option<(usize, bool)>) {
        if self.iterations.len() >= MAX_ITERATIONS {
            self.iterations.pop_front();
        }
        let Look { exit_ns: start_ns, slept: has_slept, .. } = self.last;
        self.iterations.push_back(Iteration { start_ns, end_ns, has_slept, calls, holder });
    }

    /// The iteration, before the present one, that contains this moment. `None`: the loop waited. `Err`: that
    /// is not remembered.
    pub(super) fn iteration_at(&self, at_ns: u64) -> Result<Option<&Iteration>, Forgotten> {
        let after = self.iterations.partition_point(|iteration| iteration.end_ns <= at_ns);
        if after == 0 && self.iterations.len() >= MAX_ITERATIONS {
            return Err(Forgotten);
        }
        Ok(self.iterations.get(after).filter(|iteration| iteration.start_ns <= at_ns))
    }

    /// Forgets who held each iteration.
    pub(super) fn forget_holders(&mut self) {
        for iteration in &mut self.iterations {
            iteration.holder = None;
        }
    }

    /// The stretches between two moments in which the loop was woken and waited for a CPU, in order.
    pub(super) fn queued(&self, from_ns: u64, until_ns: u64) -> impl Iterator<Item = (u64, u64)> {
        let within = move |(woken_ns, end_ns): &(u64, u64)| (*woken_ns.max(&from_ns), *end_ns.min(&until_ns));
        self.queued.iter().map(within).filter(|(start_ns, end_ns)| start_ns < end_ns)
    }

    /// When the loop found what it has handled since its last look.
    pub const fn found_ns(&self) -> u64 {
        if self.last.slept { self.last.woken_ns } else { self.last.exit_ns }
    }

    /// Between which two moments the findings of the loop's last look became ready. Where it slept, that is
    /// its wakeup, as far as that was seen. Otherwise it is some moment between its last two looks.
    pub const fn found_ready_ns(&self) -> (u64, u64) {
        if self.last.slept {
            (self.last.woken_ns.saturating_sub(self.last.undecided_ns), self.last.woken_ns)
        } else {
            (self.before_ns, self.last.enter_ns)
        }
    }

    /// Where the present iteration began.
    pub const fn iteration_start_ns(&self) -> u64 {
        self.last.exit_ns
    }

    /// Where the iteration of this moment began. 0: that is not remembered.
    pub fn iteration_start_at(&self, at_ns: u64) -> u64 {
        if self.last.exit_ns <= at_ns {
            return self.last.exit_ns;
        }
        self.iterations
            .iter()
            .rev()
            .find(|iteration| iteration.start_ns <= at_ns)
            .map_or(0, |iteration| iteration.start_ns)
    }

    /// Whether this moment was in the iteration before the present one, or is in the present one.
    pub const fn was_in_iteration_before(&self, at_ns: u64) -> bool {
        at_ns >= self.before_ns
    }

    /// The iteration after that of this moment: begin and end. `None`: it is not over, the loop slept before
    /// it, or it is not remembered.
    pub(super) fn iteration_after(&self, at_ns: u64) -> Option<(u64, u64)> {
        let after = self.iterations.partition_point(|iteration| iteration.start_ns <= at_ns);
        let is_remembered = after > 0;
        let next = self.iterations.get(after).filter(|next| is_remembered && !next.has_slept)?;
        Some((next.start_ns, next.end_ns))
    }

    /// So many iterations after that of this moment: begin and end. `None`: that is not over, the loop slept
    /// before it, or it is not remembered.
    pub(super) fn iteration_without_sleep(&self, at_ns: u64, iterations: usize) -> Option<(u64, u64)> {
        let first = self.iterations.partition_point(|iteration| iteration.start_ns <= at_ns);
        let last = first.checked_add(iterations)?.checked_sub(1).filter(|_| first > 0)?;
        let found = self.iterations.get(last)?;
        let has_slept = self.iterations.range(first..=last).any(|iteration| iteration.has_slept);
        (!has_slept).then_some((found.start_ns, found.end_ns))
    }

    /// When the iteration began that ended as this look began. 0: that is not remembered.
    pub(super) fn iteration_start_before(&self, look_ns: u64) -> u64 {
        let before = self.iterations.partition_point(|iteration| iteration.end_ns < look_ns);
        self.iterations.get(before).map_or(0, |iteration| iteration.start_ns)
    }

    /// The second iteration after the look that began at this moment: its begin, and its end if it is over.
    /// `None`: it has not begun, or that is not remembered.
    pub(super) fn second_iteration_after(&self, look_ns: u64) -> Option<(u64, Option<u64>)> {
        let before = self.iterations.partition_point(|iteration| iteration.end_ns < look_ns);
        self.iterations.get(before).filter(|iteration| iteration.end_ns == look_ns)?;
        match self.iterations.get(before + 2) {
            Some(iteration) => Some((iteration.start_ns, Some(iteration.end_ns))),
            None => (self.iterations.len() == before + 2).then_some((self.last.exit_ns, None)),
        }
    }

    /// From this moment on the rest of its iteration. `None`: that is not over, or not remembered.
    pub(super) fn iteration_with(&self, at_ns: u64) -> Option<(u64, u64)> {
        let iteration = self.iteration_at(at_ns).ok().flatten()?;
        Some((at_ns, iteration.end_ns))
    }

    /// Of what was read at this moment and shows itself in the present iteration: how many iterations ago it
    /// was read, where the first that came after begins, and whether the loop made no call in any
    /// between. `None`: there is none between, or that is not remembered.
    pub(super) fn unseen_since(&self, read_ns: u64) -> Option<(usize, u64, bool)> {
        let first = self.iterations.partition_point(|iteration| iteration.start_ns <= read_ns);
        let between = self.iterations.range(first..);
        let is_remembered = first > 0;
        let from_ns = self.iterations.get(first).filter(|_| is_remembered)?.start_ns;
        // The look that ends an iteration is a call of it.
        let is_alone = between.clone().all(|iteration| iteration.calls <= 1);
        Some((between.len() + 1, from_ns, is_alone))
    }

    /// The last wait before this moment in which it slept: entry and exit. 0: none is remembered.
    pub fn slept_before(&self, at_ns: u64) -> (u64, u64) {
        self.sleeps.iter().rev().find(|(enter_ns, _)| *enter_ns < at_ns).copied().unwrap_or_default()
    }

    /// When the first wait after this moment began in which it slept, of those that are remembered.
    pub(in crate::machine) fn slept_after(&self, at_ns: u64) -> Option<u64> {
        self.sleeps.iter().map(|(enter_ns, _)| *enter_ns).find(|enter_ns| *enter_ns >= at_ns)
    }

    /// Whether the loop slept between two moments, or that is not remembered.
    pub(in crate::machine) fn may_have_slept(&self, from_ns: u64, until_ns: u64) -> bool {
        let before = self.sleeps.iter().rev().find(|(enter_ns, _)| *enter_ns < until_ns);
        before.map_or(self.sleeps.len() >= MAX_SLEEPS, |(_, exit_ns)| *exit_ns > from_ns)
    }

    /// The loop has handled everything that happened before this moment.
    pub fn recent_ns(&self) -> u64 {
        self.iterations_ago_ns(COLLECTING_ITERATIONS)
    }

    /// Where an iteration began, counted back from the last one that has ended. 0: that is not remembered.
    pub(super) fn iterations_ago_ns(&self, iterations: usize) -> u64 {
        self.iterations.iter().rev().nth(iterations).map_or(0, |iteration| iteration.start_ns)
    }
}

/// A moment longer ago than what is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forgotten;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::event::Call;
    use crate::fact::Account;
    use profiler_common::record::slice::Undecided;

    /// Waits: entry, exit, and how long of it was asleep. Between them so many calls.
    pub(in super::super) fn looks(waits: &[(u64, u64, u64)], calls: u32) -> Looks {
        let mut looks = Looks::default();
        for (enter_ns, exit_ns, blocked_ns) in waits {
            if looks.last.exit_ns > 0 {
                looks.end_iteration(*enter_ns, calls, None);
            }
            let cpu_ns = exit_ns - enter_ns - blocked_ns;
            let inside = Account { cpu_ns, blocked_ns: *blocked_ns, ..Account::default() };
            let (enter_ns, exit_ns) = (*enter_ns, *exit_ns);
            looks.look(&Slice { enter_ns, exit_ns, inside, ..Slice::blank(Call::Other) });
        }
        looks
    }

    #[test]
    fn what_a_look_found_became_ready_at_its_wake_up_or_between_two_looks() {
        for (waits, found_ns, ready_ns) in [
            (&[(100, 200, 90)][..], 190, (190, 190)),
            (&[(100, 200, 90), (300, 310, 0)], 310, (200, 300)),
            (&[(100, 110, 0), (300, 400, 60)], 360, (360, 360)),
        ] {
            let looks = looks(waits, 0);
            assert_eq!((looks.found_ns(), looks.found_ready_ns()), (found_ns, ready_ns), "{waits:?}");
        }
    }

    #[test]
    fn what_a_sleep_found_may_have_been_ready_as_long_before_as_nobody_saw_its_end() {
        let mut looks = Looks::default();
        let inside = Account { cpu_ns: 10, blocked_ns: 90, ..Account::default() };
        for (undecided_ns, expected) in [(0, (190, 190)), (32, (158, 190)), (160, (100, 190))] {
            let undecided = Undecided { call_ns: undecided_ns, gap_ns: 0 };
            let call = Slice::blank(Call::Other);
            looks.look(&Slice { enter_ns: 100, exit_ns: 200, inside, undecided, ..call });
            assert_eq!((looks.found_ns(), looks.found_ready_ns()), (190, expected), "{undecided_ns}");
        }
    }

    #[test]
    fn moments_are_placed_in_the_iteration_in_which_they_were() {
        let looks = looks(&[(100, 200, 90), (300, 310, 0), (400, 500, 50)], 0);
        for (at_ns, start_ns, is_iteration) in
            [(250, 200, true), (305, 200, false), (399, 310, true), (450, 310, false), (600, 500, false)]
        {
            assert_eq!(looks.iteration_start_at(at_ns), start_ns, "{at_ns}");
            assert_eq!(looks.iteration_at(at_ns).is_ok_and(|found| found.is_some()), is_iteration, "{at_ns}");
        }
        assert_eq!((looks.slept_before(450), looks.slept_before(350)), ((400, 500), (100, 200)));
        assert_eq!(
            (looks.iterations_ago_ns(0), looks.iterations_ago_ns(1), looks.iterations_ago_ns(2)),
            (310, 200, 0)
        );
    }
}
