//! Why processes ended, and what they worked on.
//!
//! In: births and ends of processes with their exit codes and the requests at hand. Out: each end with its cause.

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::machine::world::killed::Signals;
use crate::model::dropped::{Asked, Cause, WorkerEnd};
use crate::server::OwnLimit;

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
pub(super) struct Processes {
    ends: FxHashMap<Tid, End>,
    parents: FxHashMap<Tid, Tid>,
    /// Signals sent to them.
    pub signals: Signals,
    /// After how long the server ends its own process, if it does.
    pub own_limit: Option<OwnLimit>,
    /// Ends of the window that cost a request, or were forced.
    pub worker_ends: Vec<WorkerEnd>,
    evicted: u64,
}

impl Processes {
    /// A process of the target was seen.
    pub(super) fn seen(&mut self, tgid: Tid, parent: Tid) {
        if self.parents.len() < MAX_PROCESSES || self.parents.contains_key(&tgid) {
            self.parents.insert(tgid, parent);
        } else {
            self.evicted = self.evicted.saturating_add(1);
        }
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

    /// A process ends with this exit code: finds out why. Its connections end after this. `held`: the requests at hand on them, and for how many nanoseconds
    /// each has run. What ends before `from_ns` is in no window.
    pub(super) fn ends(&mut self, tgid: Tid, code: i64, at_ns: u64, held: &[(Asked, u64)], from_ns: u64) {
        let (mut cause, mut evidence) = self.signals.why(tgid, self.parent(tgid), code);
        if cause == Cause::WorkerExited
            && let Some(limit) = self.own_limit
            && let Some((signalled_ns, said)) = self.signals.ended_itself(tgid)
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
        if self.ends.len() < MAX_PROCESSES || self.ends.contains_key(&tgid) {
            self.ends.insert(tgid, End { cause, evidence: evidence.clone() });
        } else {
            self.evicted = self.evicted.saturating_add(1);
        }
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
        if self.worker_ends.len() < MAX_WORKER_ENDS {
            self.worker_ends.push(end);
        } else {
            self.evicted = self.evicted.saturating_add(1);
        }
    }

    /// The next window begins.
    pub(super) fn roll(&mut self) {
        self.worker_ends.clear();
        (self.evicted, self.signals.evicted) = (0, 0);
    }

    /// Forgets processes that do not stay.
    pub(super) fn retain(&mut self, stays: impl Fn(Tid) -> bool + Copy) {
        self.ends.retain(|tgid, _| stays(*tgid));
        self.parents.retain(|tgid, _| stays(*tgid));
        self.signals.retain(stays);
    }

    /// What found no place.
    pub(super) const fn evictions(&self) -> u64 {
        self.evicted.saturating_add(self.signals.evicted)
    }
}
