//! A distribution of durations, of 1 % relative error or better, merged exactly.
//!
//! In: durations in nanoseconds. Out: count, sum, quantiles. A thin wrapper around hdrhistogram that never fails:
//! what is beyond the range is clamped and counted.

use hdrhistogram::Histogram;

/// Longest duration told apart: one day.
const MAX_NS: u64 = 86_400_000_000_000;

/// A distribution of durations.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Option<Histogram<u32>>,
    sum_ns: u64,
    clamped: u64,
}

impl Default for Latency {
    fn default() -> Self {
        // Two significant digits: a relative error of at most 1 %.
        let histogram = Histogram::new(2).ok();
        Self { histogram, sum_ns: 0, clamped: 0 }
    }
}

impl Latency {
    /// Counts one duration.
    pub fn record(&mut self, duration_ns: u64) {
        if duration_ns > MAX_NS {
            self.clamped = self.clamped.saturating_add(1);
        }
        self.sum_ns = self.sum_ns.saturating_add(duration_ns);
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(duration_ns.min(MAX_NS));
        }
    }

    /// Adds another distribution, exactly.
    pub fn merge(&mut self, other: &Self) {
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.clamped = self.clamped.saturating_add(other.clamped);
        if let (Some(mine), Some(theirs)) = (&mut self.histogram, &other.histogram) {
            // Both resize on demand, so adding cannot fail; were it to, the count would show it.
            let _ = mine.add(theirs);
        }
    }

    /// Durations counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::len)
    }

    /// Sum of all durations, exact.
    #[must_use]
    pub const fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The duration below which the share `quantile` (0 to 1) of all lies; 0 if there are none.
    #[must_use]
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        self.histogram
            .as_ref()
            .filter(|histogram| !histogram.is_empty())
            .map_or(0, |histogram| histogram.value_at_quantile(quantile).min(histogram.max()))
    }

    /// Longest duration, within the histogram's error.
    #[must_use]
    pub fn max_ns(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::max)
    }
}
