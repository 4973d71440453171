//! Quantiles of response times, exact.
//!
//! In: durations. Out: [`Quantiles`], each a duration that is among them (nearest rank), and [`Brackets`]:
//! how well so few durations show them.

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
    pub fn of(durations_ns: impl IntoIterator<Item = u64>) -> Self {
        let mut sorted: Vec<u64> = durations_ns.into_iter().collect();
        sorted.sort_unstable();
        Self::of_sorted(&sorted)
    }

    /// Of durations in order.
    pub(crate) fn of_sorted(sorted_ns: &[u64]) -> Self {
        let at = |percent: usize| {
            let rank = sorted_ns.len().saturating_mul(percent).div_ceil(100);
            sorted_ns.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        Self {
            count: u64::try_from(sorted_ns.len()).unwrap_or(u64::MAX),
            p50_ns: at(50),
            p90_ns: at(90),
            p99_ns: at(99),
        }
    }
}

/// Standard errors on either side of a rank: 95 of 100 such brackets hold the true quantile.
const STANDARD_ERRORS: f64 = 1.96;

/// Between which two durations each true quantile lies. They are order statistics, which assume nothing of
/// how the durations are distributed. Where a quantile falls between two kinds of requests, its bracket is
/// wide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brackets {
    /// Of the median.
    pub p50_ns: (u64, u64),
    /// Of that of nine in ten.
    pub p90_ns: (u64, u64),
    /// Of that of 99 in 100.
    pub p99_ns: (u64, u64),
}

impl Brackets {
    /// Of durations in order; all 0 where there are none.
    pub(crate) fn of_sorted(sorted_ns: &[u64]) -> Self {
        let count = sorted_ns.len() as f64;
        let bracket = |ratio: f64| {
            let (rank, error) = (count * ratio, (count * ratio * (1.0 - ratio)).sqrt() * STANDARD_ERRORS);
            // A float becomes an index within its range, whatever it is.
            let at = |rank: f64| {
                let index = (rank.ceil() as usize).saturating_sub(1).min(sorted_ns.len().saturating_sub(1));
                sorted_ns.get(index).copied().unwrap_or(0)
            };
            (at(rank - error), at(rank + error))
        };
        Self { p50_ns: bracket(0.5), p90_ns: bracket(0.9), p99_ns: bracket(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bracket_is_wide_where_a_quantile_lies_between_two_kinds_of_requests() {
        // 900 take 3 ms or a little more, 100 take 40 ms: what nine in ten take is where the one kind ends.
        let sorted: Vec<u64> =
            (0..1000).map(|number| if number < 900 { 3000 + number } else { 40_000 }).collect();
        let found = Brackets::of_sorted(&sorted);
        assert_eq!(found.p50_ns, (3469, 3530), "31 ranks on either side");
        assert_eq!(found.p90_ns, (3881, 40_000), "18.6 ranks");
        assert_eq!(found.p99_ns, (40_000, 40_000));
        assert_eq!(Brackets::of_sorted(&[]), Brackets::default());
        assert_eq!(Brackets::of_sorted(&[7]).p99_ns, (7, 7));
    }

    #[test]
    fn a_quantile_is_the_duration_of_its_nearest_rank() {
        let of_hundred = Quantiles::of((1..=100).rev());
        assert_eq!(of_hundred, Quantiles { count: 100, p50_ns: 50, p90_ns: 90, p99_ns: 99 });
        assert_eq!(Quantiles::of([7]), Quantiles { count: 1, p50_ns: 7, p90_ns: 7, p99_ns: 7 });
        assert_eq!(Quantiles::of([]), Quantiles::default());
    }
}
