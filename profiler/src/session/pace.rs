//! How often what comes from the kernel is read: each reading wakes a CPU, also where nothing came.
//!
//! In: how much the last reading found. Out: the pause from its beginning to that of the next one. The rings
//! never wake their reader: that would cost the server a third of its throughput.

use std::time::Duration;

/// While much comes.
const OFTEN: Duration = Duration::from_millis(20);
/// While little comes. The smallest ring holds 150,000 slices a second of one CPU in this time, and code
/// objects that go soon are still there, most of them.
const SELDOM: Duration = Duration::from_millis(30);
/// Fewer records than this are little.
const FEW: u64 = 64;

/// The pause after a reading that found so many.
pub(crate) const fn pause_after(found: u64) -> Duration {
    if found < FEW { SELDOM } else { OFTEN }
}

#[cfg(test)]
mod tests {
    use profiler_common::record::slice::SliceRecord;

    use super::*;
    use crate::source::live::Size;

    #[test]
    fn pause_is_longer_while_little_comes() {
        assert_eq!(pause_after(0), SELDOM);
        assert_eq!(pause_after(FEW - 1), SELDOM);
        assert_eq!(pause_after(FEW), OFTEN);
    }

    #[test]
    fn smallest_ring_holds_what_a_busy_cpu_writes_in_the_longer_pause() {
        let slices = 150_000 * SELDOM.as_millis() / 1_000;
        assert!(
            slices * size_of::<SliceRecord>() as u128
                <= u128::from(Size::new(u32::MAX, None).capacity_bytes())
        );
    }
}
