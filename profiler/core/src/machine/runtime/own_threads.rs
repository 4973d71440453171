//! What is known of the threads that a loop made, each for one request.
//!
//! In: what they report to the loop, what the loop resumes. Out: their requests.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::bounded::push_newest;
use crate::event::Tid;
use crate::machine::runtime::handed::MAX_JOBS;
use crate::machine::wire::request::RequestKey;

/// What is known of the threads that a loop made.
#[derive(Clone, Debug, Default)]
pub struct OwnThreads {
    pub(super) made: FxHashMap<Tid, Made>,
    /// Requests whose thread reported that it is done, and that the loop has not been seen to resume.
    /// `None`: a request that is not known.
    pub(super) told: VecDeque<(Option<RequestKey>, u64)>,
    /// Threads that ended with their request, and that were kept for others.
    pub(super) ended: u64,
    pub(super) kept: u64,
}

/// A thread that the loop made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// `None`: one of several.
    pub(super) key: Option<RequestKey>,
    /// When its request last resumed, as far as is known: read, reported by the thread, or touched by the
    /// loop.
    pub(super) known_ns: u64,
    /// When it last got something to do.
    pub(super) begun_ns: u64,
    /// Until when it waited for anything but the loop before its present job.
    pub(super) ready_ns: u64,
    /// Jobs that it got since its request is over.
    pub(super) tidied: u32,
}

impl OwnThreads {
    /// Whether the loop made this thread for one request.
    pub(super) fn has(&self, tid: Tid) -> bool {
        self.made.contains_key(&tid)
    }

    /// Whether the request of one of these threads is not known.
    pub(super) fn has_open(&self) -> bool {
        self.made.values().any(|made| made.key.is_none())
    }

    /// The request for which the loop made this thread, where that is known.
    pub(super) fn request_of(&self, tid: Tid) -> Option<RequestKey> {
        self.made.get(&tid)?.key
    }

    /// Until when the thread's request waited for anything but the loop, before the thread's present job.
    /// `None`: it is no thread of one request.
    pub(super) fn ready_ns(&self, tid: Tid) -> Option<u64> {
        self.made.get(&tid).map(|made| made.ready_ns)
    }

    /// A thread reports to the loop that it is done with something.
    pub(super) fn tells(&mut self, tid: Tid, at_ns: u64) {
        let Some(made) = self.made.get_mut(&tid) else { return };
        made.known_ns = made.known_ns.max(at_ns);
        // What was reported before the loop last slept has been handled, and shows nothing.
        push_newest(&mut self.told, MAX_JOBS, (made.key, at_ns));
    }

    /// The loop resumed a request. It has handled whatever reported before that one as well.
    pub(super) fn resumed(&mut self, key: RequestKey, at_ns: u64) {
        if let Some(index) = self.told.iter().rposition(|(told, _)| *told == Some(key)) {
            self.told.drain(..=index);
        }
        for made in self.made.values_mut().filter(|made| made.key == Some(key)) {
            made.known_ns = made.known_ns.max(at_ns);
        }
    }

    /// More of them are kept for later requests than end with theirs.
    pub(super) const fn are_kept(&self) -> bool {
        self.kept > self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: RequestKey = (1, 10);
    const SECOND: RequestKey = (2, 20);

    /// Two threads of the first request, one of the second, and one of one of several.
    fn made() -> OwnThreads {
        let mut own = OwnThreads::default();
        for (tid, key) in [(5_u32, Some(FIRST)), (6, Some(FIRST)), (7, Some(SECOND)), (8, None)] {
            let made = Made { key, known_ns: 100, begun_ns: 0, ready_ns: u64::from(tid), tidied: 0 };
            own.made.insert(tid, made);
        }
        own
    }

    fn known_ns(own: &OwnThreads) -> [u64; 4] {
        [5_u32, 6, 7, 8].map(|tid| own.made[&tid].known_ns)
    }

    #[test]
    fn a_thread_is_of_the_request_for_which_it_was_made() {
        let mut own = made();
        for (tid, is_own, key, ready_ns) in [
            (5, true, Some(FIRST), Some(5)),
            (7, true, Some(SECOND), Some(7)),
            (8, true, None, Some(8)),
            (9, false, None, None),
        ] {
            let told = (own.has(tid), own.request_of(tid), own.ready_ns(tid));
            assert_eq!(told, (is_own, key, ready_ns), "{tid}");
        }
        assert!(own.has_open());
        own.made.remove(&8);
        assert!(!own.has_open());
    }

    #[test]
    fn a_report_and_a_resume_tell_when_a_request_was_last_known_to_resume() {
        let mut own = made();
        own.tells(5, 200);
        own.tells(5, 150);
        own.tells(9, 300);
        assert_eq!(known_ns(&own), [200, 100, 100, 100]);
        own.resumed(FIRST, 180);
        assert_eq!(known_ns(&own), [200, 180, 100, 100]);
    }

    #[test]
    fn a_loop_that_resumes_a_request_has_handled_all_that_was_reported_before() {
        for (what, key, left) in [
            ("the first of two reports is handled with the second", FIRST, &[(7, 400), (8, 500)][..]),
            ("reports of others before it as well", SECOND, &[(8, 500)]),
            ("a request without a report", (3, 30), &[(5, 100), (7, 200), (5, 300), (7, 400), (8, 500)]),
        ] {
            let mut own = made();
            for (tid, at_ns) in [(5, 100), (7, 200), (5, 300), (7, 400), (8, 500)] {
                own.tells(tid, at_ns);
            }
            own.resumed(key, 600);
            let expected: Vec<_> = left.iter().map(|(tid, at_ns)| (own.request_of(*tid), *at_ns)).collect();
            assert_eq!(own.told, expected, "{what}");
        }
    }

    #[test]
    fn the_last_reports_are_remembered() {
        let mut own = made();
        (1..=MAX_JOBS as u64 + 1).for_each(|at_ns| own.tells(5, at_ns));
        assert_eq!((own.told.len(), own.told.front()), (MAX_JOBS, Some(&(Some(FIRST), 2))));
    }

    #[test]
    fn threads_are_kept_where_more_stay_than_end() {
        for (kept, ended, expected) in [(0, 0, false), (1, 1, false), (2, 1, true)] {
            assert_eq!(OwnThreads { kept, ended, ..OwnThreads::default() }.are_kept(), expected);
        }
    }
}
