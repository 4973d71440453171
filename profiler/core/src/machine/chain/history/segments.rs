//! The segments of one thread, and the place of a moment among them.
//!
//! In: segments in order. Out: the same. Moments are looked for near one another, so each search begins where
//! the one before ended.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

use crate::machine::chain::segment::Segment;

/// Segments in order. Dereferences to their list.
#[derive(Clone, Debug, Default)]
pub(super) struct Segments {
    list: VecDeque<Segment>,
    /// Where the last search ended. It may lie beyond the list's end.
    last_found: Cell<usize>,
}

impl Deref for Segments {
    type Target = VecDeque<Segment>;

    fn deref(&self) -> &VecDeque<Segment> {
        &self.list
    }
}

impl DerefMut for Segments {
    fn deref_mut(&mut self) -> &mut VecDeque<Segment> {
        &mut self.list
    }
}

impl Segments {
    /// Place of the first segment that ends after a moment.
    pub(super) fn first_after(&self, moment_ns: u64) -> usize {
        let is_over = |place: usize| self.list.get(place).is_some_and(|one| one.end_ns <= moment_ns);
        let count = self.list.len();
        let start = self.last_found.get().min(count);
        // In steps that double, from there to either side.
        let (mut low, mut high, mut step) = (start, start, 1);
        while is_over(high) {
            low = high + 1;
            high = low.saturating_add(step).min(count);
            step *= 2;
        }
        if high == start {
            step = 1;
            while low > 0 && !is_over(low - 1) {
                high = low - 1;
                low = high.saturating_sub(step);
                step *= 2;
            }
        }
        while low < high {
            let middle = low.midpoint(high);
            (low, high) = if is_over(middle) { (middle + 1, high) } else { (low, middle) };
        }
        self.last_found.set(low);
        low
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::machine::chain::segment::Did;

    proptest! {
        #[test]
        fn a_moment_is_found_from_wherever_the_search_begins(
            mut ends in prop::collection::vec(0_u64..200, 0..40),
            moments in prop::collection::vec((0_u64..220, 0_usize..4), 0..40),
        ) {
            ends.sort_unstable();
            let mut segments = Segments::default();
            for end_ns in ends {
                segments.push_back(Segment { start_ns: 0, end_ns, request: 0, did: Did::Unseen });
            }
            for (moment_ns, forgotten) in moments {
                let expected = segments.partition_point(|segment| segment.end_ns <= moment_ns);
                prop_assert_eq!(segments.first_after(moment_ns), expected);
                (0..forgotten).for_each(|_| _ = segments.pop_front());
            }
        }
    }
}
