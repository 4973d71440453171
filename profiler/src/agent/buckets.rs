//! A classic histogram: counts of durations below fixed limits.
//!
//! In: durations in nanoseconds. Out: counts by bucket, count and sum, exact.

use profiler_core::model::latency::Latency;

/// Upper limits of the buckets, in nanoseconds; beyond the last one is +Inf.
pub const LIMITS_NS: [u64; 16] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// Counts by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    counts: [u64; LIMITS_NS.len() + 1],
    sum_ns: u64,
}

impl Buckets {
    /// Counts a duration.
    pub fn record(&mut self, duration_ns: u64) {
        self.record_many(duration_ns, 1);
        self.sum_ns = self.sum_ns.saturating_add(duration_ns);
    }

    /// Adds a distribution, within its error of 1 % at the limits; its sum is exact.
    pub fn add_latency(&mut self, latency: &Latency) {
        for (duration_ns, count) in latency.recorded() {
            self.record_many(duration_ns, count);
        }
        self.sum_ns = self.sum_ns.saturating_add(latency.sum_ns());
    }

    fn record_many(&mut self, duration_ns: u64, count: u64) {
        let place = LIMITS_NS.partition_point(|limit_ns| *limit_ns < duration_ns);
        if let Some(bucket) = self.counts.get_mut(place) {
            *bucket = bucket.saturating_add(count);
        }
    }

    /// Adds another histogram.
    pub fn add(&mut self, other: &Self) {
        self.merge(other, u64::saturating_add);
    }

    /// No count and no sum goes below that of `other`.
    pub fn raise_to(&mut self, other: &Self) {
        self.merge(other, u64::max);
    }

    fn merge(&mut self, other: &Self, with: fn(u64, u64) -> u64) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine = with(*mine, theirs);
        }
        self.sum_ns = with(self.sum_ns, other.sum_ns);
    }

    /// Durations counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Their sum, in nanoseconds.
    pub const fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// Upper limit of each bucket in seconds (the last: infinite), and how many lie in it alone.
    pub fn iter(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let limits = LIMITS_NS.iter().map(|limit_ns| *limit_ns as f64 / 1e9).chain([f64::INFINITY]);
        limits.zip(self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_at_a_limit_lies_below_it_and_one_beyond_the_last_is_counted_too() {
        let mut buckets = Buckets::default();
        for duration_ns in [1, 500_000, 500_001, 60_000_000_000, 60_000_000_001] {
            buckets.record(duration_ns);
        }
        let counts: Vec<u64> = buckets.iter().map(|(_, count)| count).collect();
        assert_eq!((counts[0], counts[1], counts[15], counts[16]), (2, 1, 1, 1));
        assert_eq!(buckets.count(), 5);
        assert_eq!(buckets.sum_ns(), 120_001_000_003);
    }
}
