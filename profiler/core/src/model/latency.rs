//! A distribution of durations, of 1 % relative error or better, its sum and its longest exact; merged
//! exactly.
//!
//! In: durations in nanoseconds. Out: count, sum, quantiles. A thin wrapper around hdrhistogram that never
//! fails: what is beyond the range is clamped and counted.

use hdrhistogram::Histogram;

/// Longest duration distinguished: one day.
const MAX_NS: u64 = 86_400_000_000_000;

/// A distribution of durations. It takes some 20 KiB from its first duration on, and none before.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// `None`: nothing was recorded yet.
    histogram: Option<Histogram<u32>>,
    sum_ns: u64,
    max_ns: u64,
    clamped: u64,
}

/// Two significant digits: a relative error of at most 1 %. The range is given: recording clamps, never
/// resizes.
fn histogram() -> Option<Histogram<u32>> {
    Histogram::new_with_bounds(1, MAX_NS, 2).ok()
}

impl Latency {
    /// Counts one duration.
    pub fn record(&mut self, duration_ns: u64) {
        if duration_ns > MAX_NS {
            self.clamped = self.clamped.saturating_add(1);
        }
        self.sum_ns = self.sum_ns.saturating_add(duration_ns);
        self.max_ns = self.max_ns.max(duration_ns);
        if self.histogram.is_none() {
            self.histogram = histogram();
        }
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(duration_ns.min(MAX_NS));
        }
    }

    /// Adds another distribution, exactly.
    pub fn merge(&mut self, other: &Self) {
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.clamped = self.clamped.saturating_add(other.clamped);
        match (&mut self.histogram, &other.histogram) {
            // Both have the same range, so adding cannot fail; were it to, the count would show it.
            (Some(mine), Some(theirs)) => drop(mine.add(theirs)),
            (none @ None, theirs) => none.clone_from(theirs),
            (Some(_), None) => {}
        }
    }

    /// Durations counted.
    pub fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::len)
    }

    /// Sum of all durations, exact.
    pub const fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The duration below which the share `quantile` (0 to 1) of all lies; 0 if there are none.
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        self.histogram
            .as_ref()
            .filter(|histogram| !histogram.is_empty())
            .map_or(0, |histogram| histogram.value_at_quantile(quantile).min(self.max_ns))
    }

    /// Longest duration, exact; 0 if there are none.
    pub const fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The distribution itself: (duration, how many), shortest first; within the histogram's error.
    pub fn recorded(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let steps = self.histogram.iter().flat_map(Histogram::iter_recorded);
        steps.map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_from_microseconds_to_hours_keep_their_value_within_one_per_cent() {
        for duration_ns in [1_000u64, 999_999, 20_000_000, 5_000_000_000, 7_200_000_000_000] {
            let mut latency = Latency::default();
            latency.record(duration_ns);
            assert_eq!(latency.max_ns(), duration_ns);
            for seen in [latency.quantile_ns(0.5), latency.quantile_ns(1.0)] {
                assert!(seen <= duration_ns, "{duration_ns} became {seen}, longer than the longest");
                assert!(seen.abs_diff(duration_ns) * 100 <= duration_ns, "{duration_ns} became {seen}");
            }
            assert_eq!(latency.sum_ns(), duration_ns);
        }
    }

    #[test]
    fn merging_counts_what_recording_both_would_count() {
        let (mut left, mut right, mut both) = (Latency::default(), Latency::default(), Latency::default());
        for index in 1..=1_000u64 {
            let duration_ns = index * 1_000_003;
            if index % 3 == 0 {
                left.record(duration_ns)
            } else {
                right.record(duration_ns)
            }
            both.record(duration_ns);
        }
        left.merge(&right);
        assert_eq!(left.count(), 1_000);
        assert_eq!((left.sum_ns(), left.max_ns()), (both.sum_ns(), 1_000 * 1_000_003));
        for quantile in [0.0, 0.5, 0.9, 0.99, 1.0] {
            assert_eq!(left.quantile_ns(quantile), both.quantile_ns(quantile));
        }
    }

    #[test]
    fn the_distribution_holds_every_duration_once_and_in_order() {
        let mut latency = Latency::default();
        for duration_ns in [5_000_000, 1_000, 1_000, 70] {
            latency.record(duration_ns);
        }
        let recorded: Vec<(u64, u64)> = latency.recorded().collect();
        assert_eq!(recorded.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 2, 1]);
        for ((seen, _), duration_ns) in recorded.iter().zip([70_u64, 1_000, 5_000_000]) {
            assert!(seen.abs_diff(duration_ns) * 100 <= duration_ns, "{duration_ns} became {seen}");
        }
        assert_eq!(Latency::default().recorded().count(), 0);
    }

    #[test]
    fn what_lies_beyond_a_day_is_clamped_not_refused() {
        let mut latency = Latency::default();
        latency.record(u64::MAX);
        assert_eq!(latency.count(), 1);
        assert!(latency.max_ns() >= MAX_NS);
    }
}
