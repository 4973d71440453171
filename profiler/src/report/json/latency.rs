//! A distribution of durations as a few numbers.
//!
//! In: a histogram of the core. Out: count, sum, mean, quantiles; null where nothing was counted.

use profiler_core::model::latency;

view! {
    pub(super) struct Latency(latency: &latency::Latency) with {
        let count = latency.count();
        let quantile_ns = |quantile| (count > 0).then(|| latency.quantile_ns(quantile));
    } {
        count: u64 = count,
        sum_ns: u64 = latency.sum_ns(),
        mean_ns: Option<u64> = latency.sum_ns().checked_div(count),
        p50_ns: Option<u64> = quantile_ns(0.5),
        p90_ns: Option<u64> = quantile_ns(0.9),
        p99_ns: Option<u64> = quantile_ns(0.99),
        max_ns: Option<u64> = (count > 0).then(|| latency.max_ns()),
    }
}
