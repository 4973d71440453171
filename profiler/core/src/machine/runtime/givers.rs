//! Whether the Python task that gives a thread a job is the one that resumes with its result.
//!
//! In: tasks whose jobs have a result, tasks in which requests resume. Out: whether tasks show whose a job
//! is. They do where the task waits for the thread and answers (Starlette, asgiref). They do not where other
//! tasks send what threads give (a2wsgi).

use std::collections::VecDeque;

use crate::bounded::push_newest;

/// Results remembered.
const MAX_RESULTS: usize = 256;
/// Nothing is concluded before so many results were used.
const MIN_FOUND: u64 = 3;

/// What became of results.
#[derive(Clone, Debug, Default)]
pub struct Givers {
    /// The task that gave the job, and when its last result was there.
    results: VecDeque<(u64, u64)>,
    /// Results with which the task that gave the job resumed; and those with which it was not seen to.
    found: u64,
    missed: u64,
}

impl Givers {
    /// A thread has a result at this moment, for a job that this task gave it.
    pub(super) fn has_result(&mut self, task: Option<u64>, at_ns: u64) {
        let Some(task) = task else { return };
        if let Some((_, last_ns)) = self.results.iter_mut().find(|(known, _)| *known == task) {
            *last_ns = at_ns;
            return;
        }
        let missed = push_newest(&mut self.results, MAX_RESULTS, (task, at_ns));
        self.missed = self.missed.saturating_add(u64::from(missed.is_some()));
    }

    /// A request resumes in this task. Results from before `recent_ns` have been used.
    pub(super) fn resumed(&mut self, task: Option<u64>, recent_ns: u64) {
        let before = self.results.len();
        self.results.retain(|(_, at_ns)| *at_ns >= recent_ns);
        self.missed = self.missed.saturating_add((before - self.results.len()) as u64);
        if let Some(index) = self.results.iter().position(|(known, _)| Some(*known) == task) {
            self.results.remove(index);
            self.found = self.found.saturating_add(1);
        }
    }

    /// Whether tasks resume with their own results, as a rule.
    pub(super) const fn resume_themselves(&self) -> bool {
        self.found >= MIN_FOUND && self.found > self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_resume_with_their_results_tell_whose_a_job_is() {
        let mut givers = Givers::default();
        for task in 1..=3 {
            assert!(!givers.resume_themselves());
            givers.has_result(Some(task), task * 100);
            // A further one of the same job.
            givers.has_result(Some(task), task * 100 + 1);
            givers.resumed(Some(task), 50);
        }
        assert!(givers.resume_themselves());
        givers.has_result(None, 400);
        givers.resumed(None, 10_000);
        assert!(givers.resume_themselves());
    }

    #[test]
    fn where_others_send_what_threads_give_tasks_tell_nothing_although_some_have_the_address_of_one_that_gave_a_job()
     {
        let mut givers = Givers::default();
        for turn in 1..=40 {
            givers.has_result(Some(turn), turn * 100);
            let sender = if turn % 4 == 0 { turn } else { 1000 + turn };
            givers.resumed(Some(sender), turn * 100 - 50);
        }
        assert!(!givers.resume_themselves());
    }

    #[test]
    fn results_that_nobody_resumes_with_are_bounded_and_count_as_missed() {
        let mut givers = Givers::default();
        for task in 0..10_000 {
            givers.has_result(Some(task), 1000);
        }
        assert_eq!(givers.results.len(), MAX_RESULTS);
        assert_eq!(givers.missed, 10_000 - MAX_RESULTS as u64);
    }
}
