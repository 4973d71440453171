//! Why processes ended, and what they worked on.
//!
//! In: births and ends of processes with their exit codes and the requests at hand. Out: each end with its
//! cause.

use crate::bounded::{BoundedMap, push_if_room};
use crate::event::Tid;
use crate::machine::world::killed::Signals;
use crate::model::dropped::{Asked, Cause, Counted, WorkerEnd};
use crate::server::{Ender, OwnLimit};

/// Processes followed at once.
const MAX_PROCESSES: usize = 65_536;
/// Ends of processes kept.
const MAX_WORKER_ENDS: usize = 64;

/// How a process ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// Why.
    pub cause: Cause,
    /// How that is known.
    pub evidence: String,
}

/// Processes of the target, and how they ended.
#[derive(Clone, Debug, Default)]
pub(super) struct ProcessEnds {
    ends: BoundedMap<Tid, End, MAX_PROCESSES>,
    parents: BoundedMap<Tid, Tid, MAX_PROCESSES>,
    /// Signals sent to them.
    pub signals: Signals,
    /// After how long the server ends its own process, if it does.
    pub own_limit: Option<OwnLimit>,
    /// Ends of the window that cost a request, or were forced.
    pub worker_ends: Vec<WorkerEnd>,
    evicted: u64,
}

impl ProcessEnds {
    /// A process of the target was seen.
    pub(super) fn seen(&mut self, tgid: Tid, parent: Tid) {
        self.parents.insert(tgid, parent);
    }

    /// A process is born.
    pub(super) fn born(&mut self, tgid: Tid, parent: Tid) {
        self.signals.born(tgid);
        self.ends.remove(&tgid);
        self.seen(tgid, parent);
    }

    /// The process that started this one; 0: not known.
    pub(super) fn parent(&self, tgid: Tid) -> Tid {
        self.parents.get(&tgid).copied().unwrap_or(0)
    }

    /// How a process ended, if it did.
    pub(super) fn end(&self, tgid: Tid) -> Option<&End> {
        self.ends.get(&tgid)
    }

    /// A process ends with this exit code: finds out why. Its connections end after this. `held`: the
    /// requests at hand on them, and for how many nanoseconds each has run. What ends before `from_ns` is
    /// in no window.
    pub(super) fn ends(&mut self, tgid: Tid, code: i64, at_ns: u64, held: &[(Asked, u64)], from_ns: u64) {
        let (mut cause, mut evidence) = self.signals.why(tgid, self.parent(tgid), code);
        if let Some(limit) = self.own_limit
            && let Some((signalled_ns, said)) = self.asked_to_end(tgid, cause, limit.ender)
            && let Some(ran_ns) = limit.exceeded(held, at_ns.saturating_sub(signalled_ns))
        {
            cause = Cause::WorkerTimeout;
            evidence = format!(
                "{said}: its requests had run for {:.1} s, and its {} is {} s",
                ran_ns as f64 / 1e9,
                limit.option,
                limit.limit_ns / 1_000_000_000
            );
        }
        self.ends.insert(tgid, End { cause, evidence: evidence.clone() });
        let by_force = !matches!(cause, Cause::WorkerExited | Cause::WorkerKilled);
        if held.is_empty() && !by_force || at_ns < from_ns {
            return;
        }
        let longest = held.iter().max_by_key(|(_, ran_ns)| *ran_ns);
        let end = WorkerEnd {
            time_ns: at_ns,
            tgid,
            cause,
            evidence,
            connections: held.len() as u64,
            asked: longest.map(|(asked, _)| asked.clone()),
            ran_ns: longest.map_or(0, |(_, ran_ns)| *ran_ns),
        };
        push_if_room(&mut self.worker_ends, MAX_WORKER_ENDS, end, &mut self.evicted);
    }

    /// The signal by which the server asks a process to end because of its requests, if that is how it ended:
    /// when, and what shows it.
    fn asked_to_end(&self, tgid: Tid, cause: Cause, ender: Ender) -> Option<(u64, String)> {
        match (ender, cause) {
            (Ender::Itself { .. }, Cause::WorkerExited) => self.signals.ended_itself(tgid),
            (Ender::Master { signal, .. }, Cause::WorkerKilled) => {
                self.signals.told_to_end(tgid, self.parent(tgid), signal)
            }
            _ => None,
        }
    }

    /// A process that was told to end closes its connections first, and ends without a request at hand: it
    /// had the one that waited longest among those that ended for the same cause.
    pub(super) fn had_in_hand(&mut self, causes: &[Counted]) {
        for end in self.worker_ends.iter_mut().filter(|end| end.asked.is_none()) {
            let of_cause = causes.iter().filter(|counted| counted.cause == end.cause);
            let own = of_cause.flat_map(|counted| &counted.examples).filter(|one| one.tgid == end.tgid);
            let longest = own.filter(|one| one.asked.is_some()).max_by_key(|one| one.waited_ns);
            if let Some(one) = longest {
                end.asked = one.asked.clone();
                end.ran_ns = one.waited_ns.unwrap_or(0);
            }
        }
    }

    /// The next window begins.
    pub(super) fn roll(&mut self) {
        self.worker_ends.clear();
    }

    /// Forgets processes that do not stay.
    pub(super) fn retain(&mut self, stays: impl Fn(Tid) -> bool + Copy) {
        self.ends.retain(|tgid, _| stays(*tgid));
        self.parents.retain(|tgid, _| stays(*tgid));
        self.signals.retain(stays);
    }

    /// What found no place.
    pub(super) const fn evicted(&self) -> u64 {
        self.ends.evicted() + self.parents.evicted() + self.evicted + self.signals.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Signal;
    use crate::model::dropped::Example;

    const SECOND: u64 = 1_000_000_000;

    fn asked(path: &str) -> Asked {
        Asked { path: path.to_owned(), ..Asked::default() }
    }

    /// A worker of process 1.
    fn worker() -> ProcessEnds {
        let mut processes = ProcessEnds::default();
        processes.born(7, 1);
        processes
    }

    fn signal(processes: &mut ProcessEnds, number: u32, sender_tgid: Tid, at_ns: u64) {
        let signal = Signal { tgid: 7, number, by_kernel: false, sender_tgid, sender_comm: "x".to_owned() };
        processes.signals.send(&signal, at_ns);
    }

    #[test]
    fn the_end_of_a_process_is_told_where_it_cost_a_request_or_was_forced() {
        let none: &[u64] = &[];
        for (what, code, held, at_ns, expected) in [
            ("it exited with nothing at hand", 0, none, 500, None),
            ("it exited with requests at hand", 0, &[3, 9, 5], 500, Some((Cause::WorkerExited, 3, 9))),
            ("it was killed with nothing at hand", 9, none, 500, None),
            ("it was killed with a request at hand", 9, &[3], 500, Some((Cause::WorkerKilled, 1, 3))),
            ("it crashed with nothing at hand", 11, none, 500, Some((Cause::WorkerCrashed, 0, 0))),
            ("it crashed as the window began", 11, none, 100, Some((Cause::WorkerCrashed, 0, 0))),
            ("it crashed before the window", 11, &[3], 99, None),
        ] {
            let mut processes = worker();
            let held: Vec<(Asked, u64)> =
                held.iter().map(|ran_ns| (asked(&format!("/{ran_ns}")), *ran_ns)).collect();
            processes.ends(7, code, at_ns, &held, 100);
            let told = processes.worker_ends.first();
            assert_eq!(told.map(|end| (end.cause, end.connections, end.ran_ns)), expected, "{what}");
            let path = told.and_then(|end| end.asked.as_ref()).map(|asked| asked.path.clone());
            let longest =
                expected.filter(|(_, count, _)| *count > 0).map(|(.., ran_ns)| format!("/{ran_ns}"));
            assert_eq!(path, longest, "{what}");
            assert!(processes.end(7).is_some(), "{what}: connections that end after it ask for it");
        }
    }

    #[test]
    fn a_process_that_ends_itself_because_its_requests_took_too_long_timed_out() {
        const SIGINT: u32 = 2;
        let limit = OwnLimit {
            option: "request-timeout",
            limit_ns: 10 * SECOND,
            ender: Ender::Itself { threads: 2 },
        };
        for (what, own_limit, sender, held, cause) in [
            ("on average beyond it", Some(limit), Some(7), &[12, 12][..], Cause::WorkerTimeout),
            // The process sent itself the signal a second before its end.
            ("just at it", Some(limit), Some(7), &[11, 11], Cause::WorkerTimeout),
            ("short of it", Some(limit), Some(7), &[11, 10], Cause::WorkerExited),
            ("one thread of two was idle", Some(limit), Some(7), &[12], Cause::WorkerExited),
            ("there is no limit", None, Some(7), &[12, 12], Cause::WorkerExited),
            ("somebody else told it to stop", Some(limit), Some(99), &[12, 12], Cause::WorkerKilled),
            ("nobody did", Some(limit), None, &[12, 12], Cause::WorkerExited),
        ] {
            let mut processes = worker();
            processes.own_limit = own_limit;
            if let Some(sender) = sender {
                signal(&mut processes, SIGINT, sender, 99 * SECOND);
            }
            let held: Vec<(Asked, u64)> = held.iter().map(|ran| (asked("/"), ran * SECOND)).collect();
            processes.ends(7, 0, 100 * SECOND, &held, 0);
            assert_eq!(processes.end(7).map(|end| end.cause), Some(cause), "{what}");
        }
    }

    #[test]
    fn a_process_that_its_master_asks_to_end_because_of_a_request_timed_out() {
        const SIGTERM: u32 = 15;
        let limit = OwnLimit {
            option: "harakiri",
            limit_ns: 10 * SECOND,
            ender: Ender::Master { signal: SIGTERM, early_ns: SECOND },
        };
        for (what, own_limit, signals, code, held, cause) in [
            (
                "it ended by itself",
                Some(limit),
                &[(SIGTERM, 1)][..],
                30 << 8,
                &[3, 12][..],
                Cause::WorkerTimeout,
            ),
            // The master sent the signal a second before the end.
            (
                "it did not end, and was killed",
                Some(limit),
                &[(SIGTERM, 1), (9, 1)],
                9,
                &[11],
                Cause::WorkerTimeout,
            ),
            (
                "the master's clock was a second ahead",
                Some(limit),
                &[(SIGTERM, 1)],
                0,
                &[10],
                Cause::WorkerTimeout,
            ),
            ("no request had run for so long", Some(limit), &[(SIGTERM, 1)], 0, &[9, 9], Cause::WorkerKilled),
            ("it had none", Some(limit), &[(SIGTERM, 1)], 0, &[], Cause::WorkerKilled),
            ("the server has no such limit", None, &[(SIGTERM, 1)], 0, &[12], Cause::WorkerKilled),
            ("an operator did it", Some(limit), &[(SIGTERM, 99)], 0, &[12], Cause::WorkerKilled),
            ("the server was stopped", Some(limit), &[(2, 1)], 0, &[12], Cause::WorkerKilled),
        ] {
            let mut processes = worker();
            processes.own_limit = own_limit;
            for (number, sender) in signals {
                signal(&mut processes, *number, *sender, 99 * SECOND);
            }
            let held: Vec<(Asked, u64)> = held.iter().map(|ran| (asked("/"), ran * SECOND)).collect();
            processes.ends(7, code, 100 * SECOND, &held, 0);
            assert_eq!(processes.end(7).map(|end| end.cause), Some(cause), "{what}");
        }
    }

    #[test]
    fn what_is_known_of_a_process_is_not_of_the_next_one_with_its_number() {
        const SIGABRT: u32 = 6;
        let mut processes = worker();
        signal(&mut processes, SIGABRT, 1, 50);
        processes.ends(7, 6, 100, &[], 0);
        assert_eq!(processes.end(7).map(|end| end.cause), Some(Cause::WorkerTimeout));
        processes.born(7, 2);
        assert!(processes.end(7).is_none());
        assert_eq!(processes.parent(7), 2);
        processes.ends(7, 0, 200, &[], 0);
        assert_eq!(processes.end(7).map(|end| end.cause), Some(Cause::WorkerExited), "it got no signal");
    }

    #[test]
    fn the_parent_is_the_one_that_was_seen_last_and_0_where_nobody_was() {
        let mut processes = worker();
        processes.seen(7, 3);
        assert_eq!((processes.parent(7), processes.parent(8)), (3, 0));
        processes.retain(|tgid| tgid != 7);
        assert_eq!(processes.parent(7), 0);
    }

    #[test]
    fn a_process_that_closed_its_connections_first_had_the_request_of_those() {
        let mut processes = ProcessEnds::default();
        processes.ends(7, 11, 500, &[], 0);
        processes.ends(8, 11, 500, &[(Asked { request: Some(3), ..Asked::default() }, 90)], 0);
        let example = |tgid, request, waited_ns| Example {
            tgid,
            asked: Some(Asked { request: Some(request), ..Asked::default() }),
            waited_ns: Some(waited_ns),
            ..Example::default()
        };
        let examples = vec![example(7, 4, 50), example(7, 5, 70), example(8, 6, 99), example(9, 9, 99)];
        processes.had_in_hand(&[Counted { cause: Cause::WorkerCrashed, count: 4, waited_ns: 0, examples }]);
        let told = processes.worker_ends.iter().map(|end| Some((end.asked.as_ref()?.request, end.ran_ns)));
        assert!(told.eq([Some((Some(5), 70)), Some((Some(3), 90))]));
    }

    #[test]
    fn ends_beyond_the_bound_are_counted_and_the_next_window_begins_without() {
        let mut processes = ProcessEnds::default();
        for tgid in 1..=100 {
            processes.ends(tgid, 11, 500, &[], 0);
        }
        assert_eq!((processes.worker_ends.len(), processes.evicted()), (MAX_WORKER_ENDS, 36));
        processes.roll();
        assert!(processes.worker_ends.is_empty());
        assert!(processes.end(100).is_some(), "how it ended may still be asked for");
    }
}
