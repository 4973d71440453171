//! When records were lost. What was seen of a connection at such a time may lack the explanation of its end.
//!
//! In: cumulative counters of the kernel side, holes in the sequences of slices. Out: whether anything was
//! lost between two moments. The kernel side counts without a clock, so a loss lies somewhere between two
//! readings.

use std::collections::VecDeque;

use profiler_common::loss::{
    FORK_UNADOPTED, LOSS_NAMES, RING_FULL_FRAMES, RING_FULL_PLAINTEXT, RING_FULL_SLEEP, RING_FULL_TAKEN,
    RING_FULL_TASK, RING_FULL_WAKE, THREAD_TABLE_FULL,
};

use crate::fact::Counters;

/// Stretches kept; beyond this number the two oldest become one.
const MAX_SPANS: usize = 256;
/// Losses that hide nothing of what becomes of a connection.
const HARMLESS: [u32; 6] =
    [RING_FULL_WAKE, RING_FULL_FRAMES, RING_FULL_TASK, RING_FULL_SLEEP, RING_FULL_PLAINTEXT, RING_FULL_TAKEN];
/// Losses that last: a thread that is not followed now is not followed later.
const LASTING: [u32; 2] = [THREAD_TABLE_FULL, FORK_UNADOPTED];
/// Programs that only make times more exact, or name requests. If the kernel skipped a run of one, no event
/// is hidden.
const TIMES_ONLY: &[&str] = &[
    "sched_switch",
    "sched_wakeup",
    "sched_waking",
    "sk_data_ready",
    "tcp_conn_request",
    "tcp_v4_syn_recv_sock",
    "tcp_v6_syn_recv_sock",
    "unix_find_other",
    "gil_waits",
    "gil_enters",
    "gil_unlocks",
    "gil_leaves",
    "tls_reads",
    "tls_reads_ex",
    "tls_returns",
    "tls_writes",
];

/// When records were lost.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    /// Ascending and disjoint; both ends are included.
    spans: VecDeque<(u64, u64)>,
    /// Since when a lasting loss hides events.
    lasting_since_ns: Option<u64>,
    /// Last reading of the counters: passing losses, lasting losses, and its time.
    last: Option<(u64, u64, u64)>,
}

impl Lost {
    /// A reading of the counters at `at_ns`. So far `unread` records were received but could not be used.
    pub fn count(&mut self, counters: &Counters, unread: u64, at_ns: u64) {
        let named = |numbers: &[u32], name: &str| {
            numbers.iter().any(|number| LOSS_NAMES.get(*number as usize).is_some_and(|known| *known == name))
        };
        let sum = |which: &dyn Fn(&str) -> bool| {
            let counted = counters.lost.iter().filter(|(name, _)| which(name)).map(|(_, count)| *count);
            counted.fold(0, u64::saturating_add)
        };
        let lasting = sum(&|name| named(&LASTING, name));
        let skipped =
            counters.recursion_misses.iter().filter(|(name, _)| !TIMES_ONLY.contains(&name.as_str()));
        let skipped = skipped.fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
        let passing = sum(&|name| !named(&LASTING, name) && !named(&HARMLESS, name))
            .saturating_add(skipped)
            .saturating_add(unread);
        let (before, before_lasting, since_ns) = self.last.unwrap_or_default();
        if passing > before {
            self.between(since_ns, at_ns);
        }
        if lasting > before_lasting {
            self.lasting_since_ns.get_or_insert(since_ns);
        }
        self.last = Some((passing, lasting, at_ns));
    }

    /// Something was lost between the two moments.
    pub fn between(&mut self, mut from_ns: u64, to_ns: u64) {
        let mut to_ns = to_ns.max(from_ns);
        let mut place = self.spans.len();
        // Most losses are the newest: search from the end.
        while let Some((before_from_ns, before_to_ns)) =
            place.checked_sub(1).and_then(|at| self.spans.get(at))
        {
            if *before_to_ns < from_ns {
                break;
            }
            place -= 1;
            if *before_from_ns <= to_ns {
                (from_ns, to_ns) = (from_ns.min(*before_from_ns), to_ns.max(*before_to_ns));
                self.spans.remove(place);
            }
        }
        self.spans.insert(place, (from_ns, to_ns));
        if self.spans.len() > MAX_SPANS
            && let Some((oldest_ns, _)) = self.spans.pop_front()
            && let Some((next_ns, _)) = self.spans.front_mut()
        {
            *next_ns = oldest_ns;
        }
    }

    /// Whether anything was lost between the two moments, both included.
    pub fn any(&self, from_ns: u64, to_ns: u64) -> bool {
        self.lasting_since_ns.is_some_and(|since_ns| since_ns <= to_ns)
            || self.spans.iter().rev().any(|(begin_ns, end_ns)| *begin_ns <= to_ns && from_ns <= *end_ns)
    }

    /// Whether the losses up to `at_ns` are known by now. True also where nobody counts.
    pub fn is_known(&self, at_ns: u64) -> bool {
        self.last.is_none_or(|(_, _, read_ns)| read_ns >= at_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(lost: &[(&str, u64)], skipped: &[(&str, u64)]) -> Counters {
        let named =
            |list: &[(&str, u64)]| list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Counters { lost: named(lost), recursion_misses: named(skipped), ..Counters::default() }
    }

    #[test]
    fn what_the_kernel_lost_lies_between_two_readings() {
        let mut lost = Lost::default();
        assert!(lost.is_known(u64::MAX), "nobody counts");
        lost.count(&counters(&[("ring_full_slice", 3)], &[]), 0, 100);
        lost.count(&counters(&[("ring_full_slice", 3)], &[]), 0, 200);
        lost.count(&counters(&[("ring_full_slice", 4)], &[]), 0, 300);
        lost.count(&counters(&[("ring_full_slice", 4)], &[]), 1, 400);
        lost.count(&counters(&[("ring_full_slice", 4)], &[]), 1, 500);
        assert!(lost.any(0, 50) && lost.any(90, 150) && lost.any(250, 260) && lost.any(400, 450));
        assert!(!lost.any(101, 199) && !lost.any(401, 500));
        assert!(lost.is_known(500) && !lost.is_known(501));
    }

    #[test]
    fn losses_that_hide_no_event_are_none_and_those_that_go_on_do() {
        let mut lost = Lost::default();
        lost.count(&counters(&[], &[]), 0, 100);
        lost.count(
            &counters(&[("ring_full_wake", 9), ("ring_full_frames", 4)], &[("sk_data_ready", 3)]),
            0,
            200,
        );
        assert!(!lost.any(0, u64::MAX));
        lost.count(&counters(&[("ring_full_wake", 9)], &[("sk_data_ready", 3), ("sys_exit", 1)]), 0, 300);
        assert!(lost.any(250, 250) && !lost.any(301, u64::MAX));
        lost.count(&counters(&[("thread_table_full", 1)], &[("sys_exit", 1)]), 0, 400);
        assert!(lost.any(900, 1_000) && !lost.any(0, 199));
    }

    #[test]
    fn stretches_that_touch_become_one_and_their_number_stays_bounded() {
        let mut lost = Lost::default();
        for (from_ns, to_ns) in [(10, 20), (40, 50), (30, 35), (18, 32), (60, 70)] {
            lost.between(from_ns, to_ns);
        }
        assert_eq!(lost.spans, [(10, 35), (40, 50), (60, 70)]);
        lost.between(0, 100);
        assert_eq!(lost.spans, [(0, 100)]);
        for number in 1..3 * MAX_SPANS as u64 {
            lost.between(number * 1_000, number * 1_000 + 1);
        }
        assert_eq!(lost.spans.len(), MAX_SPANS);
        assert!(
            lost.any(500, 500),
            "what became one covers what was between: nothing that was lost is forgotten"
        );
        assert!(!lost.any(u64::MAX - 1, u64::MAX));
    }

    mod property {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #[test]
            fn whatever_was_lost_is_found_again(spans in prop::collection::vec((0_u64..5_000, 0_u64..50), 1..600)) {
                let mut lost = Lost::default();
                for (from_ns, length_ns) in &spans {
                    lost.between(*from_ns, from_ns + length_ns);
                }
                for (from_ns, length_ns) in &spans {
                    prop_assert!(lost.any(*from_ns, from_ns + length_ns));
                }
                let ordered = lost.spans.iter().zip(lost.spans.iter().skip(1)).all(|(one, next)| one.1 < next.0);
                prop_assert!(ordered && lost.spans.iter().all(|(from_ns, to_ns)| from_ns <= to_ns));
            }
        }
    }
}
