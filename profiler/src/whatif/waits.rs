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
    /// By place in these: the last one before it that ends later. Those between have ended when it has.
    ends_later: Vec<Option<usize>>,
}

impl OfProcess {
    fn of(mut waits: Vec<Wait>) -> Self {
        waits.sort_unstable();
        let end_ns = |place: usize| waits.get(place).map_or(0, |wait: &Wait| wait.end_ns);
        let mut ends_later: Vec<Option<usize>> = Vec::with_capacity(waits.len());
        for (place, wait) in waits.iter().enumerate() {
            let mut earlier = place.checked_sub(1);
            while let Some(other) = earlier.filter(|other| end_ns(*other) <= wait.end_ns) {
                earlier = ends_later.get(other).copied().flatten();
            }
            ends_later.push(earlier);
        }
        Self { waits, ends_later }
    }

    /// Those that had begun at a moment and had not ended, the last first. It looks at few others: no thread
    /// waits twice at once.
    fn open_at(&self, at_ns: u64) -> impl Iterator<Item = &Wait> {
        let mut next = self.waits.partition_point(|wait| wait.start_ns <= at_ns).checked_sub(1);
        std::iter::from_fn(move || {
            loop {
                let place = next?;
                let wait = self.waits.get(place)?;
                if wait.end_ns > at_ns {
                    next = place.checked_sub(1);
                    return Some(wait);
                }
                next = self.ends_later.get(place).copied().flatten();
            }
        })
    }
}

impl<'a> Waits<'a> {
    /// `process_of`: the process of each thread.
    pub(super) fn of(trace: &Trace, process_of: &'a HashMap<Tid, u32>) -> Self {
        let mut by_process: HashMap<u32, Vec<Wait>> = HashMap::new();
        for (tid, slices) in trace.threads() {
            let Some(process) = process_of.get(&tid) else { continue };
            let waits = by_process.entry(*process).or_default();
            for slice in slices.iter().filter(|slice| slice.state == ThreadState::GilWait) {
                let Slice { start_ns, end_ns, held_by, .. } = *slice;
                waits.push(Wait { start_ns, end_ns, tid, held_by });
            }
        }
        let by_process =
            by_process.into_iter().map(|(process, waits)| (process, OfProcess::of(waits))).collect();
        Self { process_of, by_process }
    }

    /// The waits in which other threads of this one's process were at that moment. At least one of them must
    /// have begun while a thread had the lock that `of` accepts. `None`: there was none.
    pub(super) fn open_at(&self, tid: Tid, at_ns: u64, of: impl Fn(Tid) -> bool) -> Option<Open> {
        let of_process = self.by_process.get(self.process_of.get(&tid)?)?;
        let (mut open, mut is_of) = (Open { oldest_ns: u64::MAX, end_ns: u64::MAX }, false);
        for wait in of_process.open_at(at_ns).filter(|wait| wait.tid != tid) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(tid: Tid, start_ns: u64, end_ns: u64) -> Wait {
        Wait { start_ns, end_ns, tid, held_by: 1 }
    }

    #[test]
    fn a_moment_s_open_waits_are_those_of_a_look_at_all() {
        let waits = vec![
            wait(2, 0, 100),
            wait(3, 5, 10),
            wait(3, 12, 60),
            wait(4, 14, 20),
            wait(4, 21, 22),
            wait(5, 30, 90),
            wait(4, 95, 99),
        ];
        let of_process = OfProcess::of(waits.clone());
        for at_ns in 0..110 {
            let mut found: Vec<Wait> = of_process.open_at(at_ns).copied().collect();
            found.reverse();
            let is_open = |wait: &&Wait| wait.start_ns <= at_ns && wait.end_ns > at_ns;
            assert_eq!(found, waits.iter().filter(is_open).copied().collect::<Vec<_>>(), "{at_ns}");
        }
    }

    #[test]
    fn what_ended_before_is_passed_over_at_once_beside_a_wait_that_goes_on() {
        let many = 200_000;
        let mut waits = vec![wait(2, 0, u64::MAX)];
        waits.extend((1..many).map(|start_ns| wait(3, start_ns, start_ns + 1)));
        let of_process = OfProcess::of(waits);
        // To look at each that has ended took minutes.
        let open: usize = (1..many).map(|at_ns| of_process.open_at(at_ns).count()).sum();
        assert_eq!(open, 2 * (many as usize - 1));
    }
}
