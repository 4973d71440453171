//! The time in which a server had something to do.
//!
//! In: when each request began and ended, in the order of their ends. Out: the sum of the stretches with
//! requests, with the short pauses between them. A window that is longer than its load says little of what
//! the load met.

use std::collections::VecDeque;

/// A pause up to this long belongs to the load: a server that is asked now and then has some work all the
/// time.
const PAUSE_NS: u64 = 1_000_000_000;
/// Stretches kept apart; beyond it the oldest can grow no more.
const MAX_STRETCHES: usize = 1024;

/// Stretches with requests.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// From, to: apart and in order.
    stretches: VecDeque<(u64, u64)>,
    /// Sum of those not kept any more.
    settled_ns: u64,
}

impl Load {
    /// Adds a request.
    pub fn add(&mut self, start_ns: u64, end_ns: u64) {
        let (mut start_ns, mut end_ns) = (start_ns, end_ns.max(start_ns));
        // Most belong to the last stretch.
        if let Some((from_ns, to_ns)) = self.stretches.back_mut()
            && *from_ns <= start_ns
            && start_ns <= to_ns.saturating_add(PAUSE_NS)
        {
            *to_ns = end_ns.max(*to_ns);
            return;
        }
        // What begins more than a pause after it stays apart.
        let before =
            self.stretches.partition_point(|(from_ns, _)| *from_ns <= end_ns.saturating_add(PAUSE_NS));
        let mut later = self.stretches.split_off(before);
        while let Some((from_ns, to_ns)) = self.stretches.back().copied() {
            if to_ns.saturating_add(PAUSE_NS) < start_ns {
                break;
            }
            (start_ns, end_ns) = (start_ns.min(from_ns), end_ns.max(to_ns));
            self.stretches.pop_back();
        }
        self.stretches.push_back((start_ns, end_ns));
        self.stretches.append(&mut later);
        if self.stretches.len() > MAX_STRETCHES
            && let Some(oldest) = self.stretches.pop_front()
        {
            self.settled_ns = self.settled_ns.saturating_add(oldest.1.saturating_sub(oldest.0));
        }
    }

    /// The sum of them within a window. Pauses as short as those between them count at its ends, too.
    pub fn within(&self, start_ns: u64, end_ns: u64) -> u64 {
        let part = |(from_ns, to_ns): &(u64, u64)| {
            let from_ns = if *from_ns <= start_ns.saturating_add(PAUSE_NS) { start_ns } else { *from_ns };
            let to_ns = if to_ns.saturating_add(PAUSE_NS) >= end_ns { end_ns } else { *to_ns };
            to_ns.min(end_ns).saturating_sub(from_ns.max(start_ns))
        };
        let sum_ns = self.stretches.iter().fold(self.settled_ns, |sum, one| sum.saturating_add(part(one)));
        sum_ns.min(end_ns.saturating_sub(start_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_load_that_ends_early_is_as_long_as_it_is_and_pauses_within_it_count() {
        let mut load = Load::default();
        for at in 0..40 {
            load.add(2 * SECOND + at * SECOND / 10, 2 * SECOND + at * SECOND / 10 + SECOND / 100);
        }
        assert_eq!(load.within(0, 9 * SECOND), 39 * SECOND / 10 + SECOND / 100);
        load.add(8 * SECOND + SECOND / 2, 8 * SECOND + SECOND / 2);
        assert_eq!(load.within(0, 9 * SECOND), 39 * SECOND / 10 + SECOND / 100 + SECOND / 2);
    }

    #[test]
    fn a_server_that_is_asked_now_and_then_has_something_to_do_all_the_time() {
        let mut load = Load::default();
        (1..10).for_each(|second| load.add(second * SECOND - SECOND / 2, second * SECOND - SECOND / 2 + 1));
        assert_eq!(load.within(0, 9 * SECOND), 9 * SECOND);
        assert_eq!(Load::default().within(0, 9 * SECOND), 0);
    }

    proptest! {
        #[test]
        fn it_is_never_longer_than_the_window_nor_shorter_than_the_longest_request(
            requests in proptest::collection::vec((0..100_u64, 0..100_u64), 1..60),
            window in (0..50_u64, 50..120_u64),
        ) {
            let mut load = Load::default();
            for (start, length) in &requests {
                load.add(start * SECOND, (start + length) * SECOND);
            }
            let (start_ns, end_ns) = (window.0 * SECOND, window.1 * SECOND);
            let clipped = |(start, length): &(u64, u64)| {
                ((start + length) * SECOND).min(end_ns).saturating_sub((start * SECOND).max(start_ns))
            };
            let longest = requests.iter().map(clipped).max().unwrap_or(0);
            let found = load.within(start_ns, end_ns);
            prop_assert!(found >= longest && found <= end_ns - start_ns, "{found}");
        }
    }
}
