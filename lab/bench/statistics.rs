//! Where a true value lies, as far as a few rounds can tell.
//!
//! In: one number a round, or the latencies of each. Out: [`Interval`], which holds the true value with at
//! least 95 % from six rounds on; with fewer it runs from the smallest to the largest.
//!
//! - *Values* of one subject: the median, between two order statistics. Nothing is assumed of how noise is
//!   distributed.
//! - *Differences and ratios* of two subjects within a round: the Hodges-Lehmann estimate with the interval
//!   of Wilcoxon's signed-rank test (of ratios the logarithms). It is narrower than order statistics, and as
//!   honest here. It asks that noise is as likely to lift a difference as to lower it, and it is where it
//!   falls on both subjects alike.
//! - *What one adds, in units of what the other adds*: all factors that the same test does not reject.
//! - *A quantile of all rounds together*: rounds drawn again (bootstrap), which is a little narrow where they
//!   are few.

use serde::{Deserialize, Serialize};

/// How sure the interval is to hold the true value.
const CONFIDENCE: f64 = 0.95;

/// Rounds from which an interval is that sure.
pub(crate) const SURE_ROUNDS: usize = 6;

/// How often rounds are drawn again.
const DRAWS: usize = 1000;

/// A value and where the true one may lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// The middle: the median, or the estimate that belongs to the interval.
    pub(crate) median: f64,
    /// Lower end.
    pub(crate) low: f64,
    /// Upper end.
    pub(crate) high: f64,
    /// Rounds it is made of.
    pub(crate) rounds: usize,
}

impl Interval {
    /// Of values of one subject. `None` without samples.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let sorted = sorted(samples.iter().copied());
        let rounds = sorted.len();
        let (low, high) = ends(&sorted, cut(rounds))?;
        Some(Self { median: quantile(&sorted, 0.5)?, low, high, rounds })
    }

    /// Of differences of two subjects, each within one round. `None` without samples.
    pub(crate) fn of_differences(samples: &[f64]) -> Option<Self> {
        let finite: Vec<f64> = samples.iter().copied().filter(|sample| sample.is_finite()).collect();
        let rounds = finite.len();
        let means = sorted(pairs(&finite).map(|(one, other)| f64::midpoint(one, other)));
        let (low, high) = ends(&means, signed_rank_cut(rounds))?;
        Some(Self { median: quantile(&means, 0.5)?, low, high, rounds })
    }

    /// Of ratios of two subjects, each within one round; those that are not positive are left out.
    pub(crate) fn of_ratios(samples: &[f64]) -> Option<Self> {
        let logarithms: Vec<f64> =
            samples.iter().copied().filter(|ratio| *ratio > 0.0).map(f64::ln).collect();
        let Self { median, low, high, rounds } = Self::of_differences(&logarithms)?;
        Some(Self { median: median.exp(), low: low.exp(), high: high.exp(), rounds })
    }

    /// How many times the second number of a round the first one is, where both are differences that may be
    /// lost in noise. `None` where the second cannot be distinguished from nothing: then any factor would
    /// do.
    pub(crate) fn of_factor(rounds: &[(f64, f64)]) -> Option<Self> {
        let mut factors = Vec::new();
        let (mut all, mut above) = (0_usize, 0_usize);
        for (index, (mine, theirs)) in rounds.iter().enumerate() {
            for (other_mine, other_theirs) in rounds.iter().take(index + 1) {
                let (mine, theirs) = (mine + other_mine, theirs + other_theirs);
                all += 1;
                // Whether `mine - factor * theirs` is positive for the smallest factor of all.
                above += usize::from(theirs > 0.0 || (theirs == 0.0 && mine > 0.0));
                if theirs != 0.0 {
                    factors.push((mine / theirs, theirs > 0.0));
                }
            }
        }
        factors.sort_by(|one, other| one.0.total_cmp(&other.0));
        let cut = signed_rank_cut(rounds.len());
        let is_rejected = |above: usize| above <= cut || above + cut >= all;
        // A factor without end would do.
        if !is_rejected(above) || rounds.is_empty() {
            return None;
        }
        let (mut low, mut high) = (None, None);
        let (mut from, mut to) = (None, None);
        for (factor, falls) in factors {
            let before = above;
            above = if falls { above.saturating_sub(1) } else { above + 1 };
            if low.is_none() && (!is_rejected(above) || 2 * above <= all) {
                low = Some(factor);
            }
            if !is_rejected(before) || 2 * before >= all {
                high = Some(factor);
            }
            if from.is_none() && 2 * above <= all {
                from = Some(factor);
            }
            if 2 * before >= all {
                to = Some(factor);
            }
        }
        if !is_rejected(above) {
            return None;
        }
        Some(Self { median: f64::midpoint(from?, to?), low: low?, high: high?, rounds: rounds.len() })
    }

    /// Of a number that is made of several rounds together, each named by its index.
    pub(crate) fn of_drawn(rounds: usize, number: impl Fn(&[usize]) -> Option<f64>) -> Option<Self> {
        let all: Vec<usize> = (0..rounds).collect();
        let median = number(&all)?;
        let mut random = Random::default();
        let drawn = (0..DRAWS).filter_map(|_| {
            let draw: Vec<usize> = (0..rounds).map(|_| random.below(rounds)).collect();
            number(&draw)
        });
        let drawn = sorted(drawn);
        let outside = (1.0 - CONFIDENCE) / 2.0;
        let (low, high) = (quantile(&drawn, outside)?, quantile(&drawn, 1.0 - outside)?);
        Some(Self { median, low: low.min(median), high: high.max(median), rounds })
    }
}

/// Random numbers that are the same in each run: a page that is made again from the same rounds is the same
/// page.
struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }
}

impl Random {
    /// A number below `limit`, which is far below 2³²; xorshift64*.
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let upper = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        usize::try_from((upper * limit as u64) >> 32).unwrap_or(0)
    }
}

fn sorted(samples: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = samples.filter(|sample| sample.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Every sample with itself and with each before it.
fn pairs(samples: &[f64]) -> impl Iterator<Item = (f64, f64)> {
    samples
        .iter()
        .enumerate()
        .flat_map(|(index, one)| samples.iter().take(index + 1).map(|other| (*one, *other)))
}

/// The smallest and the largest, once so many are cut off at either end.
fn ends(sorted: &[f64], cut: usize) -> Option<(f64, f64)> {
    Some((*sorted.get(cut)?, *sorted.get(sorted.len().checked_sub(1 + cut)?)?))
}

/// How many samples can be cut off at either end, by the sign test.
fn cut(rounds: usize) -> usize {
    // The median lies outside the interval if fewer than 1 + cut of the samples fall on one side of it:
    // binomial, 1/2.
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

/// How many means of pairs can be cut off at either end, by the signed-rank test.
fn signed_rank_cut(rounds: usize) -> usize {
    // How likely each sum of positive ranks is: every rank is in it or not, by the toss of a coin.
    let mut likely = vec![1.0];
    for rank in 1..=rounds {
        let mut next = vec![0.0; likely.len() + rank];
        for (sum, probability) in likely.iter().enumerate() {
            for place in [sum, sum + rank] {
                if let Some(slot) = next.get_mut(place) {
                    *slot += probability / 2.0;
                }
            }
        }
        likely = next;
    }
    let (mut outside, mut cut) = (0.0, 0);
    for (sum, probability) in likely.iter().enumerate() {
        outside += 2.0 * probability;
        if outside > 1.0 - CONFIDENCE {
            break;
        }
        cut = sum;
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

    fn counted(count: u32) -> Vec<f64> {
        (1..=count).map(f64::from).collect()
    }

    #[test]
    fn interval_of_values_is_that_of_the_sign_test() {
        let ends = |count| Interval::of(&counted(count)).map(|interval| (interval.low, interval.high));
        // Two-sided coverage: 93.8 % with 5, 96.9 % with 6, 99.2 % with 8 (one cut off: 93.0 %), 96.1 % with
        // 9 and 12.
        assert_eq!(ends(5), Some((1.0, 5.0)));
        assert_eq!(ends(6), Some((1.0, 6.0)));
        assert_eq!(ends(8), Some((1.0, 8.0)));
        assert_eq!(ends(9), Some((2.0, 8.0)));
        assert_eq!(ends(12), Some((3.0, 10.0)));
        assert_eq!(Interval::of(&[]), None);
    }

    #[test]
    fn interval_of_differences_is_that_of_the_signed_rank_test() {
        // The largest sums of ranks that are rejected at 5 %, two-sided, as every table of the test has them.
        for (rounds, critical) in [(6, 0), (7, 2), (8, 3), (9, 5), (10, 8), (12, 13), (16, 29), (20, 52)] {
            assert_eq!(signed_rank_cut(rounds), critical, "{rounds} rounds");
        }
        // With fewer than six none can be rejected at 5 %: from the smallest to the largest.
        let few = Interval::of_differences(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((few.low, few.median, few.high, few.rounds), (1.0, 2.0, 3.0, 3));
        let twelve = Interval::of_differences(&counted(12)).unwrap();
        assert_eq!((twelve.low, twelve.median, twelve.high), (4.0, 6.5, 9.0));
        assert_eq!(Interval::of_differences(&[]), None);
    }

    #[test]
    fn interval_of_ratios_does_not_care_which_one_is_divided_by_which() {
        let ratios = [1.1, 0.9, 1.3, 1.2, 1.05, 1.0, 1.15];
        let inverse: Vec<f64> = ratios.iter().map(|ratio| 1.0 / ratio).collect();
        let (one, other) = (Interval::of_ratios(&ratios).unwrap(), Interval::of_ratios(&inverse).unwrap());
        assert!((one.low * other.high - 1.0).abs() < 1e-12, "{one:?} {other:?}");
        assert!((one.median * other.median - 1.0).abs() < 1e-12, "{one:?} {other:?}");
    }

    /// Noise from sums of random numbers, and how often its interval misses the truth.
    #[test]
    fn interval_of_differences_holds_the_truth_as_often_as_it_says() {
        let mut random = Random::default();
        let mut noise = || (0..6).map(|_| random.below(1000) as f64 / 1000.0 - 0.4995).sum::<f64>();
        let (mut missed, mut narrower) = (0, 0);
        for _ in 0..1000 {
            let rounds: Vec<f64> = (0..12).map(|_| 5.0 + noise() - noise()).collect();
            let (ranks, signs) = (Interval::of_differences(&rounds).unwrap(), Interval::of(&rounds).unwrap());
            missed += usize::from(ranks.low > 5.0 || ranks.high < 5.0);
            narrower += usize::from(ranks.high - ranks.low < signs.high - signs.low);
        }
        assert!((20..=70).contains(&missed), "{missed} of 1000");
        assert!(narrower > 600, "{narrower} of 1000");
    }

    #[test]
    fn factor_is_that_of_the_added_parts_and_holds_the_truth_as_often_as_it_says() {
        let exact = Interval::of_factor(&[(2.0, 1.0), (4.0, 2.0), (6.0, 3.0)]).unwrap();
        assert_eq!((exact.low, exact.median, exact.high), (2.0, 2.0, 2.0));
        let mut random = Random::default();
        let mut noise = || random.below(1000) as f64 / 1000.0 - 0.4995;
        let (mut missed, mut unbounded) = (0, 0);
        for _ in 0..1000 {
            // Both are measured against the same third one, which has noise of its own.
            let rounds: Vec<(f64, f64)> = (0..12)
                .map(|_| {
                    let base = noise();
                    (1.5 + noise() - base, 1.0 + noise() - base)
                })
                .collect();
            match Interval::of_factor(&rounds) {
                Some(interval) => missed += usize::from(interval.low > 1.5 || interval.high < 1.5),
                None => unbounded += 1,
            }
        }
        assert!((15..=70).contains(&missed), "{missed} of 1000");
        assert_eq!(unbounded, 0);
    }

    #[test]
    fn factor_of_what_is_lost_in_noise_is_not_given() {
        let noise: Vec<(f64, f64)> =
            (0..12).map(|round| (5.0, if round % 2 == 0 { 1.0 } else { -1.0 })).collect();
        assert_eq!(Interval::of_factor(&noise), None);
        assert_eq!(Interval::of_factor(&[]), None);
    }

    #[test]
    fn quantile_of_rounds_drawn_again_lies_in_its_interval() {
        let rounds = [1.0, 2.0, 3.0, 4.0, 100.0];
        let largest = |draw: &[usize]| draw.iter().map(|round| rounds[*round]).reduce(f64::max);
        let interval = Interval::of_drawn(rounds.len(), largest).unwrap();
        assert_eq!((interval.median, interval.high), (100.0, 100.0));
        assert!(interval.low < 100.0, "{interval:?}");
        assert_eq!(Interval::of_drawn(0, largest), None);
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0], 0.5), Some(1.5));
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 1.0), Some(4.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
