//! Quantiles of response times, exact.
//!
//! In: durations. Out: [`Quantiles`], each a duration that is among them (nearest rank).

/// The median and two tails of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// How many durations there are.
    pub count: u64,
    /// Half of them are at most this long.
    pub p50_ns: u64,
    /// Nine of ten are at most this long.
    pub p90_ns: u64,
    /// 99 of 100 are at most this long.
    pub p99_ns: u64,
}

impl Quantiles {
    /// Of these durations; all 0 where there are none.
    #[must_use]
    pub fn of(durations_ns: impl IntoIterator<Item = u64>) -> Self {
        let mut sorted: Vec<u64> = durations_ns.into_iter().collect();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let rank = sorted.len().saturating_mul(percent).div_ceil(100);
            sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        Self {
            count: u64::try_from(sorted.len()).unwrap_or(u64::MAX),
            p50_ns: at(50),
            p90_ns: at(90),
            p99_ns: at(99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_duration_of_its_nearest_rank() {
        let of_hundred = Quantiles::of((1..=100).rev());
        assert_eq!(of_hundred, Quantiles { count: 100, p50_ns: 50, p90_ns: 90, p99_ns: 99 });
        assert_eq!(Quantiles::of([7]), Quantiles { count: 1, p50_ns: 7, p90_ns: 7, p99_ns: 7 });
        assert_eq!(Quantiles::of([]), Quantiles::default());
    }
}
