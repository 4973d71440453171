//! A distribution of durations as a few numbers.
//!
//! In: a histogram of the core. Out: count, sum, mean, quantiles; null where nothing was counted.

use profiler_core::model::latency;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Latency {
    count: u64,
    sum_ns: u64,
    mean_ns: Option<u64>,
    p50_ns: Option<u64>,
    p90_ns: Option<u64>,
    p99_ns: Option<u64>,
    max_ns: Option<u64>,
}

impl Latency {
    pub(super) fn new(latency: &latency::Latency) -> Self {
        let count = latency.count();
        let quantile_ns = |quantile| (count > 0).then(|| latency.quantile_ns(quantile));
        Self {
            count,
            sum_ns: latency.sum_ns(),
            mean_ns: latency.sum_ns().checked_div(count),
            p50_ns: quantile_ns(0.5),
            p90_ns: quantile_ns(0.9),
            p99_ns: quantile_ns(0.99),
            max_ns: (count > 0).then(|| latency.max_ns()),
        }
    }
}
