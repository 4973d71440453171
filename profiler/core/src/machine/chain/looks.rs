//! What threads were in, as looks from outside saw them while they slept.
//!
//! In: [`AsleepSeen`], each true at one moment of a sleep. Out: the look that lies in an interval of a
//! thread's time. Memory is bounded: the oldest looks of a thread go first.

use std::collections::VecDeque;

use crate::bounded::{BoundedMap, push_newest};
use crate::event::Tid;
use crate::fact::asleep::AsleepSeen;

/// Threads of which looks are kept.
const MAX_THREADS: usize = 16_384;
/// Looks kept of one thread, the newest.
const MAX_OF_THREAD: usize = 128;

/// A look, and when it was taken.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Look {
    /// The moment at which all of it was true.
    pub at_ns: u64,
    /// What was seen.
    pub seen: AsleepSeen,
}

/// Looks at all threads.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Looks {
    threads: BoundedMap<Tid, VecDeque<Look>, MAX_THREADS>,
}

impl Looks {
    /// A thread was looked at.
    pub(in crate::machine) fn note(&mut self, seen: AsleepSeen, at_ns: u64) {
        if let Some(looks) = self.threads.get_or_default(seen.tid)
            && looks.back().is_none_or(|last| last.at_ns <= at_ns)
        {
            push_newest(looks, MAX_OF_THREAD, Look { at_ns, seen });
        }
    }

    /// The first look at a thread within an interval.
    pub(super) fn within(&self, tid: Tid, (from_ns, until_ns): (u64, u64)) -> Option<&Look> {
        let looks = self.threads.get(&tid)?;
        let first = looks.partition_point(|look| look.at_ns < from_ns);
        looks.get(first).filter(|look| look.at_ns <= until_ns)
    }

    /// The next window begins: a thread in one long sleep keeps its last look.
    pub(super) fn roll(&mut self, before_ns: u64) {
        self.threads.retain(|_, looks| {
            while looks.len() > 1 && looks.front().is_some_and(|look| look.at_ns < before_ns) {
                looks.pop_front();
            }
            !looks.is_empty()
        });
    }

    /// Threads that found no place.
    pub(super) const fn evicted(&self) -> u64 {
        self.threads.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_found_in_the_sleep_that_it_was_taken_in_alone() {
        let mut looks = Looks::default();
        for at_ns in [100, 200, 150] {
            looks.note(AsleepSeen { tid: 7, since_ns: at_ns - 50, ..AsleepSeen::default() }, at_ns);
        }
        let at = |interval| looks.within(7, interval).map(|look| look.at_ns);
        assert_eq!(at((50, 120)), Some(100));
        assert_eq!(at((101, 199)), None, "what comes late is not known to be of that moment");
        assert_eq!(at((101, 200)), Some(200));
        assert!(looks.within(8, (0, 999)).is_none());
    }

    #[test]
    fn a_thread_that_sleeps_on_keeps_its_last_look_over_the_end_of_a_window() {
        let mut looks = Looks::default();
        for at_ns in [100, 200] {
            looks.note(AsleepSeen { tid: 7, ..AsleepSeen::default() }, at_ns);
        }
        looks.roll(500);
        assert_eq!(looks.within(7, (0, 999)).map(|look| look.at_ns), Some(200));
    }
}
