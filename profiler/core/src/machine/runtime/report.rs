//! What threads of a pool report to their loop, and whether they wait until the loop has taken it. Twisted's
//! do (`blockingCallFromThread`).
//!
//! In: notes of a thread, requests that resume with them, what the loop did before it woke the thread once
//! more. Out: whether the threads of that pool wait, as a rule.
//!
//! One wakeup alone does not show it. A loop that wakes a thread right after its report may have taken that,
//! or may have given it a second job for the same request. A thread that is woken after the loop has slept,
//! or after a request was answered with its report, waited for a new job. So whatever was seen more often
//! holds.

/// Halved once so many were seen, so that what a pool does now counts more than what it did.
const MAX_SEEN: u32 = 256;

/// What a thread of a pool has reported of its present job, and what the loop has done with that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Notes that it has written.
    pub notes: u32,
    /// When it wrote the last one. 0: it has written none.
    pub noted_ns: u64,
    /// When a request last resumed with what it had reported, of this job or of the one before.
    pub resumed_ns: u64,
    /// When the loop woke it and had taken its first note, as far as that was inferred. 0: it has not.
    pub taken_ns: u64,
}

impl Report {
    /// The thread writes a note.
    pub const fn note(&mut self, at_ns: u64) {
        (self.notes, self.noted_ns) = (self.notes.saturating_add(1), at_ns);
    }

    /// What the loop shows by waking it at this moment, having entered its last sleep at `slept_ns`. `None`:
    /// it has written no note, or several.
    pub const fn woken(&self, at_ns: u64, slept_ns: u64) -> Option<Woken> {
        if self.notes != 1 || self.noted_ns > at_ns {
            return None;
        }
        let has_resumed = self.resumed_ns > self.noted_ns && self.resumed_ns <= at_ns;
        // A loop that goes to sleep has taken all reports.
        let is_handled = has_resumed || slept_ns > self.noted_ns;
        Some(if is_handled { Woken::Afterwards } else { Woken::AtOnce })
    }

    /// Whether the loop took its first note and then slept, though no request had resumed with that. So it
    /// had not taken the note: the thread did a second job for the same request. `slept_ns`: when the
    /// loop entered its last sleep.
    pub const fn was_second_job(&self, slept_ns: u64) -> bool {
        self.taken_ns > 0 && self.notes == 1 && slept_ns > self.taken_ns && self.resumed_ns < self.taken_ns
    }
}

/// When the loop woke a thread that had reported once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Before it slept, and before a request had resumed with the report.
    AtOnce,
    /// After the loop had handled the report: the thread waited for a new job.
    Afterwards,
}

/// Whether the threads of a pool wait until the loop has taken each report, by what was seen of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reports {
    taken: u32,
    left: u32,
}

impl Reports {
    /// The loop took a report, and the thread went on.
    pub(super) const fn was_taken(&mut self) {
        self.taken = self.taken.saturating_add(1);
        self.age();
    }

    /// A thread did not wait for the loop with its report.
    pub(super) const fn was_left(&mut self) {
        self.left = self.left.saturating_add(1);
        self.age();
    }

    /// What was seen as taken was none.
    pub(super) const fn was_not_taken(&mut self) {
        self.taken = self.taken.saturating_sub(1);
        self.was_left();
    }

    /// Whether they wait, as a rule.
    pub(super) const fn are_awaited(self) -> bool {
        self.taken > self.left
    }

    const fn age(&mut self) {
        if self.taken.saturating_add(self.left) >= MAX_SEEN {
            (self.taken, self.left) = (self.taken / 2, self.left / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_has_slept_or_answered_since_a_report_wakes_its_thread_for_a_new_job() {
        // Notes, when a request last resumed with one, when the loop was last about to sleep. The note was at
        // 100, the thread is woken at 200.
        for (what, notes, resumed_ns, slept_ns, expected) in [
            ("right after the note", 1, 0, 50, Some(Woken::AtOnce)),
            ("it fell asleep with the note", 1, 0, 100, Some(Woken::AtOnce)),
            ("it has slept since", 1, 0, 101, Some(Woken::Afterwards)),
            ("a request has resumed with the note", 1, 101, 50, Some(Woken::Afterwards)),
            ("it has as the thread was woken", 1, 200, 50, Some(Woken::Afterwards)),
            ("it has after that", 1, 201, 50, Some(Woken::AtOnce)),
            ("it had with the job before", 1, 100, 50, Some(Woken::AtOnce)),
            ("there is no note", 0, 0, 50, None),
            ("there are several", 2, 0, 50, None),
        ] {
            let report = Report { notes, noted_ns: 100, resumed_ns, taken_ns: 0 };
            assert_eq!(report.woken(200, slept_ns), expected, "{what}");
        }
        let report = Report { notes: 1, noted_ns: 201, ..Report::default() };
        assert_eq!(report.woken(200, 50), None, "before the note");
    }

    #[test]
    fn what_was_taken_and_left_nothing_for_the_loop_to_answer_was_a_job_of_the_same_request() {
        // Notes, when the first was taken, when a request last resumed with one, when the loop was last about
        // to sleep.
        for (what, notes, taken_ns, resumed_ns, slept_ns, expected) in [
            ("the loop has slept since", 1, 200, 0, 201, true),
            ("it has not", 1, 200, 0, 200, false),
            ("a request has resumed since", 1, 200, 200, 201, false),
            ("one had resumed before", 1, 200, 199, 201, true),
            ("it was not taken", 1, 0, 0, 201, false),
            ("it has reported more since", 2, 200, 0, 201, false),
        ] {
            let report = Report { notes, noted_ns: 100, resumed_ns, taken_ns };
            assert_eq!(report.was_second_job(slept_ns), expected, "{what}");
        }
    }

    #[test]
    fn a_pool_waits_for_its_loop_while_more_reports_were_seen_to_be_taken_than_left() {
        type See = fn(&mut Reports);
        let (taken, left, not_taken): (See, See, See) =
            (Reports::was_taken, Reports::was_left, Reports::was_not_taken);
        for (what, all, expected) in [
            ("nothing was seen", &[][..], false),
            ("one was taken", &[taken], true),
            ("one was, and one left", &[taken, left], false),
            ("one was left, and one taken", &[left, taken], false),
            ("most were taken", &[left, taken, taken], true),
            ("one was taken, and was none", &[taken, not_taken], false),
            ("two were, and one was none", &[taken, taken, not_taken], false),
            ("three were, and one was none", &[taken, taken, taken, not_taken], true),
        ] {
            let mut reports = Reports::default();
            all.iter().for_each(|see| see(&mut reports));
            assert_eq!(reports.are_awaited(), expected, "{what}");
        }
        let mut reports = Reports::default();
        (0..100_000).for_each(|_| reports.was_taken());
        assert!(reports.are_awaited());
        (0..MAX_SEEN).for_each(|_| reports.was_left());
        assert!(!reports.are_awaited(), "what it does now counts more");
    }
}
