//! Medians with intervals that need no assumption about how the noise is distributed.
//!
//! In: one number a round. Out: [`Interval`]: the median, and the two order statistics between which the true median
//! lies with at least 95 % (with fewer than six rounds: the smallest and the largest).

use serde::{Deserialize, Serialize};

/// How sure the interval is to hold the median.
const CONFIDENCE: f64 = 0.95;

/// A median and where it may lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// The median of the rounds.
    pub(crate) median: f64,
    /// Lower end.
    pub(crate) low: f64,
    /// Upper end.
    pub(crate) high: f64,
    /// Rounds it is made of.
    pub(crate) rounds: usize,
}

impl Interval {
    /// `None` without samples.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = samples.iter().copied().filter(|sample| sample.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let rounds = sorted.len();
        let cut = cut(rounds);
        let (low, high) = (*sorted.get(cut)?, *sorted.get(rounds.checked_sub(1 + cut)?)?);
        Some(Self { median: quantile(&sorted, 0.5)?, low, high, rounds })
    }
}

/// How many samples can be cut off at either end.
fn cut(rounds: usize) -> usize {
    // The median lies outside the interval if fewer than 1 + cut of the samples fall on one side of it: binomial, 1/2.
    let mut probability = 0.5_f64.powi(i32::try_from(rounds).unwrap_or(i32::MAX));
    let (mut outside, mut cut) = (0.0, 0);
    for taken in 0..rounds / 2 {
        outside += 2.0 * probability;
        if outside > 1.0 - CONFIDENCE {
            break;
        }
        cut = taken;
        probability *= (rounds - taken) as f64 / (taken + 1) as f64;
    }
    cut
}

/// A quantile of sorted numbers, between neighbours by proportion; `None` if there are none.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * (sorted.len().checked_sub(1)?) as f64;
    let below = sorted.get(place.floor() as usize)?;
    let above = sorted.get(place.ceil() as usize)?;
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_is_that_of_the_sign_test() {
        let samples = |count: u32| (1..=count).map(f64::from).collect::<Vec<_>>();
        let ends = |count| Interval::of(&samples(count)).map(|interval| (interval.low, interval.high));
        // Two-sided coverage: 93.8 % with 5, 96.9 % with 6, 99.2 % with 8 (one cut off: 93.0 %), 96.1 % with 9 and 12.
        assert_eq!(ends(5), Some((1.0, 5.0)));
        assert_eq!(ends(6), Some((1.0, 6.0)));
        assert_eq!(ends(8), Some((1.0, 8.0)));
        assert_eq!(ends(9), Some((2.0, 8.0)));
        assert_eq!(ends(12), Some((3.0, 10.0)));
        assert_eq!(Interval::of(&[]), None);
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0], 0.5), Some(1.5));
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 1.0), Some(4.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
