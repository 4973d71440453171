//! Which samples are of the thread that collects garbage.
//!
//! In: ticks of a process, each with whether its interpreter notes that it collects, and who has the lock.
//! Out: whether the thread of each did. The note names no thread. Who has the lock meanwhile is it, unless
//! the collector calls Python code (`gc.callbacks`, `__del__`), which may let others have the lock before it
//! is done. The collector asks for it then, so these have it for a switch interval, half as long as from tick
//! to tick. Where several threads have it during what may be one collection, only those are believed that had
//! it in two ticks without a break. Of the others it is not known. The interpreter counts collections, each
//! before its last callbacks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use profiler_common::stack::{
    COLLECTING, COLLECTING_ELSEWHERE, COLLECTING_READ, COLLECTOR_CALLS, StackSample,
};

/// Processes that are remembered.
const MAX_PROCESSES: usize = 8192;

/// Ticks of what may be one collection.
#[derive(Debug)]
struct Run {
    /// Collections that were over before.
    collections: u16,
    has_several: Arc<AtomicBool>,
    tid: u32,
    /// How often the lock had passed on.
    switches: u16,
    had_before: Arc<AtomicBool>,
}

/// What is known of a sample, or will be soon.
#[derive(Clone, Debug, Default)]
pub(super) enum Collected {
    /// Nothing.
    #[default]
    Unknown,
    /// It did not collect.
    Not,
    /// It had the lock during a collection.
    HadLock {
        /// Others had it too.
        has_several: Arc<AtomicBool>,
        /// It had it in the tick before or after, too.
        kept_it: Arc<AtomicBool>,
    },
}

impl Collected {
    /// Whether it collected; `None`: not known.
    pub(super) fn known(&self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Not => Some(false),
            Self::HadLock { has_several, kept_it } => {
                (!has_several.load(Ordering::Relaxed) || kept_it.load(Ordering::Relaxed)).then_some(true)
            }
        }
    }
}

/// By process: the collection that goes on.
#[derive(Debug, Default)]
pub(super) struct Collections(HashMap<u32, Run>);

impl Collections {
    /// A tick, in the order of time.
    pub(super) fn note(&mut self, sample: &StackSample) -> Collected {
        let StackSample { tgid, tid, switches, collections, flags, .. } = *sample;
        if flags & COLLECTING_READ == 0 {
            return Collected::Unknown;
        }
        if flags & COLLECTING_ELSEWHERE != 0 {
            return Collected::Not;
        }
        if flags & COLLECTING == 0 {
            self.0.remove(&tgid);
            return Collected::Not;
        }
        // One that is over may still be in `gc.callbacks`.
        if flags & COLLECTOR_CALLS == 0 && self.0.get(&tgid).is_some_and(|run| run.collections != collections)
        {
            self.0.remove(&tgid);
        }
        if self.0.len() >= MAX_PROCESSES {
            self.0.clear();
        }
        let run = self.0.entry(tgid).or_insert_with(|| Run {
            collections,
            has_several: Arc::default(),
            tid: 0,
            switches,
            had_before: Arc::default(),
        });
        if run.tid == tid && run.switches == switches {
            run.had_before.store(true, Ordering::Relaxed);
        } else {
            if run.tid != tid && run.tid != 0 {
                run.has_several.store(true, Ordering::Relaxed);
            }
            (run.tid, run.switches, run.had_before) = (tid, switches, Arc::default());
        }
        Collected::HadLock { has_several: Arc::clone(&run.has_several), kept_it: Arc::clone(&run.had_before) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTED: u32 = COLLECTING_READ | COLLECTING;

    fn known(ticks: &[(u32, u16, u32)]) -> Vec<Option<bool>> {
        known_of(&ticks.iter().map(|(tid, switches, flags)| (*tid, *switches, 0, *flags)).collect::<Vec<_>>())
    }

    fn known_of(ticks: &[(u32, u16, u16, u32)]) -> Vec<Option<bool>> {
        let mut of = Collections::default();
        let told: Vec<Collected> = ticks
            .iter()
            .map(|(tid, switches, collections, flags)| {
                let sample = StackSample {
                    tgid: 1,
                    tid: *tid,
                    switches: *switches,
                    collections: *collections,
                    flags: *flags,
                    ..<_>::default()
                };
                of.note(&sample)
            })
            .collect();
        told.iter().map(Collected::known).collect()
    }

    #[test]
    fn who_has_the_lock_alone_while_the_interpreter_collects_is_it() {
        let ticks = [(7, 1, COLLECTING_READ), (7, 2, NOTED), (8, 0, COLLECTING_READ | COLLECTING_ELSEWHERE)];
        assert_eq!(known(&ticks), [Some(false), Some(true), Some(false)]);
        assert_eq!(known(&[(7, 2, NOTED), (7, 4, NOTED)]), [Some(true); 2], "it was interrupted by another");
        assert_eq!(known(&[(7, 0, 0)]), [None], "another version");
        let two = [(7, 2, NOTED), (9, 2, COLLECTING_READ), (8, 3, NOTED)];
        assert_eq!(known(&two), [Some(true), Some(false), Some(true)], "two collections");
    }

    #[test]
    fn collections_one_after_the_other_are_distinguished_unless_one_may_still_be_in_callbacks() {
        let ticks = [(7, 2, 40, NOTED), (8, 3, 41, NOTED), (7, 4, 42, NOTED)];
        assert_eq!(known_of(&ticks), [Some(true); 3]);
        let calls = ticks
            .map(|(tid, switches, collections, flags)| (tid, switches, collections, flags | COLLECTOR_CALLS));
        assert_eq!(known_of(&calls), [None; 3]);
    }

    #[test]
    fn of_several_that_have_the_lock_meanwhile_those_are_it_that_keep_it() {
        let ticks = [(7, 2, NOTED), (7, 2, NOTED), (8, 3, NOTED), (7, 4, NOTED), (7, 4, COLLECTING_READ)];
        assert_eq!(known(&ticks), [Some(true), Some(true), None, None, Some(false)]);
        let begun = [(8, 2, NOTED), (7, 3, NOTED), (7, 3, NOTED)];
        assert_eq!(known(&begun), [None, Some(true), Some(true)], "the collector came later");
    }
}
