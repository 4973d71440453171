//! A distribution of durations as a few numbers.
//!
//! In: a histogram of the core. Out: count, sum, mean, quantiles; null where nothing was counted.

use profiler_core::model::latency;

view! {
    /// A distribution of durations; quantiles within 1 % (relative), null when count is 0.
    pub(super) struct Latency(latency: &latency::Latency) with {
        let count = latency.count();
        let quantile_ns = |quantile| (count > 0).then(|| latency.quantile_ns(quantile));
    } {
        /// Durations counted.
        count: u64 = count,
        /// Their sum in ns, exact.
        sum_ns: u64 = latency.sum_ns(),
        /// Their mean in ns.
        mean_ns: Option<u64> = latency.sum_ns().checked_div(count),
        /// Median in ns.
        p50_ns: Option<u64> = quantile_ns(0.5),
        /// 90th percentile in ns.
        p90_ns: Option<u64> = quantile_ns(0.9),
        /// 99th percentile in ns.
        p99_ns: Option<u64> = quantile_ns(0.99),
        /// Longest in ns, exact.
        max_ns: Option<u64> = (count > 0).then(|| latency.max_ns()),
    }
}
