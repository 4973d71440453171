//! Why processes ended, and what they were about.
//!
//! In: births and ends of processes with their exit codes and the requests at hand. Out: each end with its cause.

use super::{Drops, End, MAX_ENDED};
use crate::event::Tid;
use crate::model::dropped::{Asked, Cause, WorkerEnd};

/// Ends of processes kept.
const MAX_WORKER_ENDS: usize = 64;

impl Drops {
    /// A process of the target was seen.
    pub fn seen(&mut self, tgid: Tid, parent: Tid) {
        if self.parents.len() < MAX_ENDED || self.parents.contains_key(&tgid) {
            self.parents.insert(tgid, parent);
        }
    }

    /// A process is born.
    pub fn born(&mut self, tgid: Tid, parent: Tid) {
        self.signals.born(tgid);
        self.ends.remove(&tgid);
        self.stopped.remove(&tgid);
        self.seen(tgid, parent);
    }

    /// A process ends with this exit code: why. Its connections end after this; `held` are the requests at hand on them, and
    /// for how many nanoseconds each has run.
    pub fn process_ends(&mut self, tgid: Tid, code: i64, at_ns: u64, held: &[(Asked, u64)]) {
        let parent = self.parents.get(&tgid).copied().unwrap_or(0);
        let (mut cause, mut evidence) = self.signals.why(tgid, parent, code);
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
        if self.ends.len() < MAX_ENDED {
            self.ends.insert(tgid, End { cause, evidence: evidence.clone() });
        }
        let by_force = !matches!(cause, Cause::WorkerExited | Cause::WorkerKilled);
        if held.is_empty() && !by_force || at_ns < self.from_ns {
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
        if self.counted.worker_ends.len() < MAX_WORKER_ENDS {
            self.counted.worker_ends.push(end);
        } else {
            self.evicted = self.evicted.saturating_add(1);
        }
    }
}
