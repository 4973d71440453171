//! When threads waited for the interpreter lock of their process.
//!
//! In: what threads did. Out: [`Waits`], and which of them were open at a moment.

use std::collections::HashMap;

use profiler_core::event::Tid;
use profiler_core::timeline::ThreadState;

use super::trace::{Slice, Trace};

/// When threads waited for an interpreter lock.
#[derive(Debug)]
pub(super) struct Waits<'a> {
    process_of: &'a HashMap<Tid, u32>,
    by_process: HashMap<u32, OfProcess>,
}

/// One wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wait {
    start_ns: u64,
    end_ns: u64,
    tid: Tid,
    held_by: Tid,
}

/// Those of one process.
#[derive(Debug, Default)]
struct OfProcess {
    /// In order of their begins.
    waits: Vec<Wait>,
    /// By place in these: the latest end up to there.
    latest_ns: Vec<u64>,
}

impl<'a> Waits<'a> {
    /// `process_of`: the process of each thread.
    pub(super) fn of(trace: &Trace, process_of: &'a HashMap<Tid, u32>) -> Self {
        let mut by_process: HashMap<u32, OfProcess> = HashMap::new();
        for (tid, slices) in trace.threads() {
            let Some(process) = process_of.get(&tid) else { continue };
            let of = by_process.entry(*process).or_default();
            for slice in slices.iter().filter(|slice| slice.state == ThreadState::GilWait) {
                let Slice { start_ns, end_ns, held_by, .. } = *slice;
                of.waits.push(Wait { start_ns, end_ns, tid, held_by });
            }
        }
        for of in by_process.values_mut() {
            of.waits.sort_unstable();
            of.latest_ns = of
                .waits
                .iter()
                .scan(0, |latest_ns, wait| {
                    *latest_ns = wait.end_ns.max(*latest_ns);
                    Some(*latest_ns)
                })
                .collect();
        }
        Self { process_of, by_process }
    }

    /// The waits in which other threads of this one's process were at that moment. At least one of them must have begun while a thread had the lock that
    /// `of` accepts. `None`: there was none.
    pub(super) fn open_at(&self, tid: Tid, at_ns: u64, of: impl Fn(Tid) -> bool) -> Option<Open> {
        let OfProcess { waits, latest_ns } = self.by_process.get(self.process_of.get(&tid)?)?;
        let until = waits.partition_point(|wait| wait.start_ns <= at_ns);
        let earlier = waits.get(..until).unwrap_or_default().iter().zip(latest_ns).rev();
        // Before that all have ended.
        let recent = earlier.take_while(|(_, latest_ns)| **latest_ns > at_ns).map(|(wait, _)| wait);
        let (mut open, mut is_of) = (Open { oldest_ns: u64::MAX, end_ns: u64::MAX }, false);
        for wait in recent.filter(|wait| wait.end_ns > at_ns && wait.tid != tid) {
            open.oldest_ns = open.oldest_ns.min(wait.start_ns);
            open.end_ns = open.end_ns.min(wait.end_ns);
            is_of |= of(wait.held_by);
        }
        is_of.then_some(open)
    }
}

/// Waits for a lock that somebody may give up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    /// When the first of them began.
    pub(super) oldest_ns: u64,
    /// When the first of them ends.
    pub(super) end_ns: u64,
}
