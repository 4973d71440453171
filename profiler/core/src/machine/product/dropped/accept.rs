//! Accepts that failed, and processes that ran out of descriptors.
//!
//! In: accepts with their errors, how many files processes have open. Out: what failed, for whom and when.

use crate::bounded::BoundedMap;
use crate::event::Tid;
use crate::fact::open_files::OpenFiles;
use crate::machine::world::errno::EAGAIN;
use crate::model::dropped::AcceptFailure;

/// Kinds of failing accepts kept.
const MAX_FAILURES: usize = 1024;

/// Errors of accept that say that something ran out, or that a connection was gone.
const FAILURES: &[(i64, &str)] = &[
    (-24, "EMFILE"),
    (-23, "ENFILE"),
    (-12, "ENOMEM"),
    (-105, "ENOBUFS"),
    (-103, "ECONNABORTED"),
    (-71, "EPROTO"),
];

/// Accepts that failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Accepts {
    /// What ran out, by process and listener, until the process has taken all that waited there.
    failing: BoundedMap<(Tid, i32), &'static str, MAX_FAILURES>,
    failures: BoundedMap<(Tid, &'static str), AcceptFailure, MAX_FAILURES>,
    /// Processes whose last accept failed: when, and with what.
    stopped: BoundedMap<Tid, (u64, &'static str), MAX_FAILURES>,
    /// Processes near their limit of open files: the reading with most of them open.
    open_files: BoundedMap<Tid, OpenFiles, MAX_FAILURES>,
}

impl Accepts {
    /// The error with which accept failed between the two moments, if it did.
    pub(super) fn failed_between(&self, from_ns: u64, to_ns: u64) -> Option<&'static str> {
        let overlaps = |failure: &&AcceptFailure| failure.first_ns <= to_ns && failure.last_ns >= from_ns;
        let overlapping = self.failures.values().filter(overlaps);
        overlapping.min_by_key(|failure| (failure.tgid, failure.error)).map(|failure| failure.error)
    }

    /// An accept found nothing or failed; `clients` counts the connections that the process has open.
    pub(super) fn failed(
        &mut self,
        (tgid, listener_fd): (Tid, i32),
        result: i64,
        at_ns: u64,
        clients: impl FnOnce() -> u64,
    ) {
        let key = (tgid, listener_fd);
        if result == EAGAIN {
            self.failing.remove(&key);
        }
        let Some((_, error)) = FAILURES.iter().find(|(number, _)| *number == result) else { return };
        self.failing.insert(key, error);
        self.stopped.get_or_insert_with(tgid, || (at_ns, error));
        let new =
            || AcceptFailure { tgid, error, first_ns: at_ns, clients: clients(), ..AcceptFailure::default() };
        let Some(known) = self.failures.get_or_insert_with((tgid, error), new) else { return };
        known.count = known.count.saturating_add(1);
        known.last_ns = at_ns;
    }

    /// A process is near its limit of open files.
    pub(super) fn open_files(&mut self, reading: OpenFiles) {
        if let Some(most) = self.open_files.get_or_insert_with(reading.tgid, || reading) {
            *most = OpenFiles { open: most.open.max(reading.open), ..reading };
        }
    }

    /// The process has read from a connection: it does not turn clients away.
    pub(super) fn serves(&mut self, tgid: Tid) {
        if !self.failing.is_empty() {
            self.failing.retain(|(process, _), _| *process != tgid);
        }
    }

    /// A connection was accepted. Returns whether the process turns clients away at this listener.
    pub(super) fn accepted(&mut self, tgid: Tid, listener_fd: i32) -> bool {
        self.begins_again(tgid);
        self.failing.contains_key(&(tgid, listener_fd))
    }

    /// The process accepts again, or its number is now another's.
    pub(super) fn begins_again(&mut self, tgid: Tid) {
        if !self.stopped.is_empty() {
            self.stopped.remove(&tgid);
        }
    }

    /// The process uses a connection that was made at `established_ns`: it has accepted since then.
    pub(super) fn accepted_since(&mut self, tgid: Tid, established_ns: u64) {
        if self.stopped.get(&tgid).is_some_and(|(failed_ns, _)| *failed_ns < established_ns) {
            self.stopped.remove(&tgid);
        }
    }

    /// The error with which the last accept of a process failed, by this moment.
    pub(super) fn stopped(&self, tgid: Tid, until_ns: u64) -> Option<&'static str> {
        let (failed_ns, error) = self.stopped.get(&tgid)?;
        (*failed_ns <= until_ns).then_some(*error)
    }

    /// The next window begins.
    pub(super) fn roll(&mut self) {
        self.failures.clear();
    }

    /// Forgets processes that do not stay.
    pub(super) fn retain(&mut self, stays: impl Fn(Tid) -> bool) {
        self.stopped.retain(|tgid, _| stays(*tgid));
        self.failing.retain(|(tgid, _), _| stays(*tgid));
        self.open_files.retain(|tgid, _| stays(*tgid));
    }

    /// What failed in the window. `limit`: how many files a process may open.
    pub(super) fn finish(self, limit: impl Fn(Tid) -> Option<u64>) -> Vec<AcceptFailure> {
        let mut failures: Vec<AcceptFailure> = self.failures.into_map().into_values().collect();
        failures.sort_unstable_by_key(|failure| (failure.tgid, failure.error));
        for failure in &mut failures {
            let reading = self.open_files.get(&failure.tgid);
            // All numbers below the limit were in use, whatever the last look found.
            let at_least = |limit| if failure.error == "EMFILE" { limit } else { 0 };
            failure.open_files = reading.map(|reading| reading.open.max(at_least(reading.limit)));
            failure.open_files_limit = reading.map(|reading| reading.limit).or_else(|| limit(failure.tgid));
        }
        failures
    }

    /// What found no place.
    pub(super) const fn evicted(&self) -> u64 {
        self.failing.evicted() + self.failures.evicted() + self.stopped.evicted() + self.open_files.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMFILE: i64 = -24;
    const ENOMEM: i64 = -12;

    /// What happens then.
    type Then = fn(&mut Accepts);

    /// An accept of this process at its listener fails like this.
    fn fail(accepts: &mut Accepts, (tgid, listener_fd): (Tid, i32), result: i64, at_ns: u64) {
        accepts.failed((tgid, listener_fd), result, at_ns, || at_ns / 10);
    }

    #[test]
    fn only_an_accept_for_which_something_ran_out_has_failed() {
        for (result, expected) in [
            (EMFILE, Some("EMFILE")),
            (-23, Some("ENFILE")),
            (ENOMEM, Some("ENOMEM")),
            (-105, Some("ENOBUFS")),
            (-103, Some("ECONNABORTED")),
            (-71, Some("EPROTO")),
            (EAGAIN, None),
            (-4, None),
            (0, None),
            (9, None),
        ] {
            let mut accepts = Accepts::default();
            fail(&mut accepts, (7, 3), result, 100);
            assert_eq!(accepts.failed_between(100, 100), expected, "{result}");
            assert_eq!(accepts.stopped(7, 100), expected, "{result}");
            assert_eq!(accepts.accepted(7, 3), expected.is_some(), "{result}");
        }
    }

    #[test]
    fn an_accept_failed_while_a_connection_waited_if_both_overlap() {
        let mut accepts = Accepts::default();
        [100, 200].into_iter().for_each(|at_ns| fail(&mut accepts, (7, 3), EMFILE, at_ns));
        for (from_ns, to_ns, expected) in [
            (0, 99, None),
            (0, 100, Some("EMFILE")),
            (150, 160, Some("EMFILE")),
            (200, 300, Some("EMFILE")),
            (201, 300, None),
        ] {
            assert_eq!(accepts.failed_between(from_ns, to_ns), expected, "{from_ns} {to_ns}");
        }
    }

    #[test]
    fn a_process_turns_clients_away_until_it_reads_one_or_has_taken_all_that_waited() {
        let cases: [(&str, Then, bool); 7] = [
            ("it goes on", |_| {}, true),
            ("it has taken all", |accepts| fail(accepts, (7, 3), EAGAIN, 200), false),
            ("another listener has none left", |accepts| fail(accepts, (7, 4), EAGAIN, 200), true),
            ("another process has taken all", |accepts| fail(accepts, (8, 3), EAGAIN, 200), true),
            ("it reads from a connection", |accepts| accepts.serves(7), false),
            ("another process reads", |accepts| accepts.serves(8), true),
            ("it has ended", |accepts| accepts.retain(|tgid| tgid != 7), false),
        ];
        for (what, then, expected) in cases {
            let mut accepts = Accepts::default();
            fail(&mut accepts, (7, 3), EMFILE, 100);
            then(&mut accepts);
            assert_eq!(accepts.accepted(7, 3), expected, "{what}");
            assert!(!accepts.accepted(7, 4), "{what}: at another listener it never did");
        }
    }

    #[test]
    fn a_process_gave_up_since_its_first_failure_unless_it_accepts_again() {
        let mut accepts = Accepts::default();
        fail(&mut accepts, (7, 3), EMFILE, 100);
        fail(&mut accepts, (7, 3), ENOMEM, 200);
        assert_eq!(
            [99, 100, 300].map(|until_ns| accepts.stopped(7, until_ns)),
            [None, Some("EMFILE"), Some("EMFILE")]
        );
        assert_eq!(accepts.stopped(8, 300), None);
        accepts.accepted(7, 4);
        assert_eq!(accepts.stopped(7, 300), None);
        fail(&mut accepts, (7, 3), ENOMEM, 400);
        assert_eq!(accepts.stopped(7, 500), Some("ENOMEM"));
        // The number is another process's now.
        accepts.begins_again(7);
        assert_eq!(accepts.stopped(7, 500), None);
        // Use of a connection that was there before the failure shows nothing.
        fail(&mut accepts, (7, 3), ENOMEM, 600);
        for (established_ns, expected) in [(600, Some("ENOMEM")), (601, None)] {
            accepts.accepted_since(7, established_ns);
            assert_eq!(accepts.stopped(7, 700), expected, "{established_ns}");
        }
    }

    #[test]
    fn failures_are_counted_by_process_and_error_and_a_window_begins_without() {
        let mut accepts = Accepts::default();
        for (tgid, result, at_ns) in [(8, EMFILE, 100), (7, EMFILE, 110), (7, ENOMEM, 120), (7, EMFILE, 130)]
        {
            fail(&mut accepts, (tgid, 3), result, at_ns);
        }
        let told: Vec<_> = accepts.clone().finish(|_| None).iter().map(counted).collect();
        let expected =
            [(7, "EMFILE", 2, 110, 130, 11), (7, "ENOMEM", 1, 120, 120, 12), (8, "EMFILE", 1, 100, 100, 10)];
        assert_eq!(told, expected);
        accepts.roll();
        assert!(accepts.failed_between(0, u64::MAX).is_none());
        assert_eq!(accepts.stopped(8, 200), Some("EMFILE"), "it has not accepted since");
        assert!(accepts.finish(|_| None).is_empty());
    }

    fn counted(failure: &AcceptFailure) -> (Tid, &'static str, u64, u64, u64, u64) {
        let AcceptFailure { tgid, error, count, first_ns, last_ns, clients, .. } = *failure;
        (tgid, error, count, first_ns, last_ns, clients)
    }

    #[test]
    fn all_descriptors_below_the_limit_were_in_use_where_none_was_left() {
        for (what, result, readings, expected) in [
            ("nobody looked", EMFILE, &[][..], (None, Some(64))),
            ("a look found fewer", EMFILE, &[(7, 90, 100)], (Some(100), Some(100))),
            ("a look found more", EMFILE, &[(7, 101, 100)], (Some(101), Some(100))),
            ("something else ran out", ENOMEM, &[(7, 90, 100)], (Some(90), Some(100))),
            (
                "most of them count, and the newest limit",
                ENOMEM,
                &[(7, 90, 100), (7, 80, 120)],
                (Some(90), Some(120)),
            ),
            ("another process was looked at", EMFILE, &[(8, 90, 100)], (None, Some(64))),
        ] {
            let mut accepts = Accepts::default();
            fail(&mut accepts, (7, 3), result, 100);
            for (tgid, open, limit) in readings {
                accepts.open_files(OpenFiles { tgid: *tgid, open: *open, limit: *limit });
            }
            let told = accepts.finish(|_| Some(64));
            let told = told.first().map(|failure| (failure.open_files, failure.open_files_limit));
            assert_eq!(told, Some(expected), "{what}");
        }
    }

    #[test]
    fn what_finds_no_place_is_counted_and_what_is_known_still_changes() {
        let mut accepts = Accepts::default();
        let count = Tid::try_from(MAX_FAILURES).unwrap();
        (1..=count).for_each(|tgid| fail(&mut accepts, (tgid, 3), EMFILE, 100));
        assert_eq!(accepts.evicted(), 0);
        fail(&mut accepts, (count + 1, 3), EMFILE, 100);
        assert_eq!(accepts.evicted(), 3, "in each of three tables");
        fail(&mut accepts, (1, 3), EMFILE, 200);
        assert_eq!(accepts.evicted(), 3);
        assert_eq!(accepts.failed_between(150, 200), Some("EMFILE"));
    }
}
