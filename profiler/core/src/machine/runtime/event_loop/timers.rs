//! Timers that came due while the loop was busy, each with the task that slept until it.
//!
//! In: timers that the kernel side read in the loop's heap; a task that goes on. Out: since when it was
//! ready, and in which iteration it resumed.
//!
//! asyncio runs a timer in the iteration that begins with the look by which it was due. What it resumes goes
//! on in the next (`BaseEventLoop._run_once` and `Future.set_result` in `asyncio`, CPython 3.8 to 3.13).

use std::collections::VecDeque;

use super::looks::Looks;
use crate::bounded::push_newest;
use crate::phase::Phase;

/// Timers remembered. Of those that are forgotten nothing follows.
const MAX_TIMERS: usize = 256;
/// A loop runs what is due by the end of its look, and what is due so soon after.
const RESOLUTION_NS: u64 = 1_000_000;

/// The timers of one loop.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers(VecDeque<Timer>);

#[derive(Clone, Copy, Debug)]
struct Timer {
    task: u64,
    due_ns: u64,
    /// When the loop began to look, and found it due.
    seen_ns: u64,
}

impl Timers {
    /// A timer of this task was due as the loop began to look.
    pub(super) fn note(&mut self, task: u64, due_ns: u64, seen_ns: u64) {
        push_newest(&mut self.0, MAX_TIMERS, Timer { task, due_ns, seen_ns });
    }

    /// A task was seen at work: its timers are over, and its address may be another task's next.
    pub(super) fn over(&mut self, task: u64) {
        self.0.retain(|timer| timer.task != task);
    }

    /// What a task that goes on now did since `from_ns`: the ends of stretches with their phases, in order,
    /// up to the iteration in which its last timer resumed it. Where that is the present one, it waited for
    /// the loop until it went on. Empty: no timer resumed it.
    pub(super) fn slept(&self, task: u64, from_ns: u64, looks: &Looks) -> Vec<(u64, Phase)> {
        let mut ends = Vec::new();
        let of_task = self.0.iter().filter(|timer| timer.task == task && timer.seen_ns > from_ns);
        for timer in of_task {
            let Some((resumed_ns, over_ns)) = looks.second_iteration_after(timer.seen_ns) else { break };
            // One that was due before would have run before: its clock is not ours.
            if timer.due_ns.saturating_add(RESOLUTION_NS) < looks.iteration_start_before(timer.seen_ns) {
                continue;
            }
            // Between two timers it may have waited for anything.
            let before = if ends.is_empty() { Phase::Sleep } else { Phase::Unexplained };
            ends.push((timer.due_ns, before));
            match over_ns {
                None => ends.push((u64::MAX, Phase::LoopWait)),
                // It ran there, unseen.
                Some(over_ns) => ends.extend([(resumed_ns, Phase::LoopWait), (over_ns, Phase::Unexplained)]),
            }
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Call, Slice};

    const TASK: u64 = 7;

    #[test]
    fn who_was_seen_at_work_has_no_timer_and_one_that_was_due_long_before_is_none() {
        let mut timers = Timers::default();
        timers.note(TASK, 50, 90);
        timers.over(8);
        assert_eq!(timers.slept(TASK, 5, &looks(3)).len(), 2, "another one was");
        timers.over(TASK);
        assert_eq!(timers.slept(TASK, 5, &looks(3)), []);
        let mut looks = Looks::default();
        for exit_ns in [2 * MS, 9 * MS, 10 * MS] {
            if exit_ns > 2 * MS {
                looks.end_iteration(exit_ns - 10, 0, None);
            }
            looks.look(&Slice { enter_ns: exit_ns - 10, exit_ns, ..Slice::blank(Call::Other) });
        }
        for (due_ns, expected) in [(2 * MS, 2), (MS, 2), (MS - 1, 0)] {
            let mut timers = Timers::default();
            // The iteration before this look began at 2 ms.
            timers.note(TASK, due_ns, 9 * MS - 10);
            assert_eq!(timers.slept(TASK, 5, &looks).len(), expected, "{due_ns}");
        }
    }

    const MS: u64 = 1_000_000;

    /// A loop that is busy from 0, 100, 200 and so on, and looks for 10 before.
    fn looks(count: u64) -> Looks {
        let mut looks = Looks::default();
        for number in 0..count {
            let exit_ns = number * 100;
            if number > 0 {
                looks.end_iteration(exit_ns - 10, 0, None);
            }
            let enter_ns = exit_ns.saturating_sub(10);
            looks.look(&Slice { enter_ns, exit_ns, ..Slice::blank(Call::Other) });
        }
        looks
    }

    #[test]
    fn who_slept_until_a_timer_waited_for_the_loop_from_then_on() {
        use Phase::{LoopWait, Sleep, Unexplained};
        for (what, timers, from_ns, count, expected) in [
            ("it resumes now", &[(TASK, 50, 90)][..], 5, 3, &[(50, Sleep), (u64::MAX, LoopWait)][..]),
            (
                "it resumed before",
                &[(TASK, 50, 90)],
                5,
                4,
                &[(50, Sleep), (200, LoopWait), (290, Unexplained)],
            ),
            ("it has done something since", &[(TASK, 50, 90)], 95, 3, &[]),
            ("another task", &[(8, 50, 90)], 5, 3, &[]),
            ("the loop has not run it yet", &[(TASK, 150, 190)], 5, 3, &[]),
            (
                "two, one after the other",
                &[(TASK, 50, 90), (TASK, 250, 290)],
                5,
                5,
                &[(50, Sleep), (200, LoopWait), (290, Unexplained), (250, Unexplained), (u64::MAX, LoopWait)],
            ),
        ] {
            let mut of_loop = Timers::default();
            timers.iter().for_each(|(task, due_ns, seen_ns)| of_loop.note(*task, *due_ns, *seen_ns));
            assert_eq!(of_loop.slept(TASK, from_ns, &looks(count)), expected, "{what}");
        }
    }

    #[test]
    fn the_last_timers_are_remembered() {
        let mut timers = Timers::default();
        (1..=1000).for_each(|at_ns| timers.note(TASK, at_ns, at_ns));
        assert_eq!(timers.0.len(), MAX_TIMERS);
    }
}
