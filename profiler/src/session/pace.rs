//! How often what comes from the kernel is read: each reading wakes a CPU, also where nothing came.
//!
//! In: how much the last reading found. Out: the pause before the next one.

use std::time::Duration;

/// A way to read something again and again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    often: Duration,
    seldom: Duration,
    /// Fewer than this are few.
    few: u64,
}

/// Of the rings. They never wake their reader: that would cost the server a third of its throughput. The
/// smallest ring holds more than 150,000 slices a second of one CPU write in the longer pause.
pub(crate) const RINGS: Pace =
    Pace { often: Duration::from_millis(20), seldom: Duration::from_millis(40), few: 64 };

/// Of samples: code objects that go soon are still there, most of them.
pub(crate) const SAMPLES: Pace =
    Pace { often: Duration::from_millis(20), seldom: Duration::from_millis(60), few: 1 };

impl Pace {
    /// The pause after a reading that found so many.
    pub(crate) const fn after(self, found: u64) -> Duration {
        if found < self.few { self.seldom } else { self.often }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_read_as_often_as_before_while_much_comes() {
        assert_eq!(RINGS.after(0), RINGS.seldom);
        assert_eq!(RINGS.after(RINGS.few - 1), RINGS.seldom);
        assert_eq!(RINGS.after(RINGS.few), RINGS.often);
    }

    #[test]
    fn smallest_ring_holds_what_a_busy_cpu_writes_in_the_longer_pause() {
        use profiler_common::limits::MIN_RING_BYTES;
        use profiler_common::record::slice::SliceRecord;

        let slices = 150_000 * RINGS.seldom.as_millis() / 1_000;
        assert!(slices * size_of::<SliceRecord>() as u128 <= u128::from(MIN_RING_BYTES));
    }
}
