//! Welch's comparison of two means.
//!
//! In: two means with their standard errors and degrees of freedom. Out: an interval that holds the
//! difference with a given confidence.

use serde::Serialize;

/// Batches that a mean must rest on.
pub const MIN_BATCHES: u32 = 10;

/// A mean, as far as it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// Value.
    pub value: f64,
    /// Standard error; `None`: not known.
    pub error: Option<f64>,
    /// Batches that the standard error rests on.
    pub batches: u32,
}

/// A difference of two means.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Mean of the first run.
    pub a: f64,
    /// Mean of the second.
    pub b: f64,
    /// Second minus first.
    pub difference: f64,
    /// Ends of the interval that holds the true difference with the confidence asked for; `None`: too few
    /// requests.
    pub interval: Option<[f64; 2]>,
    /// What can be said.
    pub verdict: Verdict,
}

/// What can be said of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// More in the second run.
    More,
    /// Less in the second run.
    Less,
    /// No difference can be shown: the interval holds zero.
    NotShown,
    /// Too few requests to say.
    TooFew,
}

/// Compares two means with an error probability of `alpha`, two-sided. Differences below `floor` are none.
pub fn compare(a: Mean, b: Mean, alpha: f64, floor: f64) -> Change {
    let difference = b.value - a.value;
    let interval = interval(a, b, alpha).map(|half| [difference - half, difference + half]);
    let verdict = match interval {
        None => Verdict::TooFew,
        Some([low, _]) if low > floor => Verdict::More,
        Some([_, high]) if high < -floor => Verdict::Less,
        Some(_) => Verdict::NotShown,
    };
    Change { a: a.value, b: b.value, difference, interval, verdict }
}

/// Half the width of the interval (Welch 1947, degrees of freedom by Satterthwaite).
fn interval(a: Mean, b: Mean, alpha: f64) -> Option<f64> {
    if a.batches.min(b.batches) < MIN_BATCHES {
        return None;
    }
    let (va, vb) = (a.error?.powi(2), b.error?.powi(2));
    let sum = va + vb;
    if sum <= 0.0 {
        return Some(0.0);
    }
    let freedom =
        sum.powi(2) / (va.powi(2) / (f64::from(a.batches) - 1.0) + vb.powi(2) / (f64::from(b.batches) - 1.0));
    Some(student_quantile(1.0 - alpha / 2.0, freedom) * sum.sqrt())
}

/// Quantile of Student's distribution, by its expansion in the normal quantile (Abramowitz and Stegun
/// 26.7.5). It is off by less than 1 % from 9 degrees of freedom on, for the probabilities used here.
fn student_quantile(probability: f64, freedom: f64) -> f64 {
    let z = normal_quantile(probability);
    let z2 = z * z;
    let g1 = z * (z2 + 1.0) / 4.0;
    let g2 = z * ((5.0 * z2 + 16.0) * z2 + 3.0) / 96.0;
    let g3 = z * (((3.0 * z2 + 19.0) * z2 + 17.0) * z2 - 15.0) / 384.0;
    z + g1 / freedom + g2 / freedom.powi(2) + g3 / freedom.powi(3)
}

/// Quantile of the normal distribution for probabilities above one half (Abramowitz and Stegun 26.2.23; off
/// by less than 0.00045).
fn normal_quantile(probability: f64) -> f64 {
    let t = (-2.0 * (1.0 - probability).max(1e-300).ln()).sqrt();
    t - ((0.010_328 * t + 0.802_853) * t + 2.515_517)
        / (((0.001_308 * t + 0.189_269) * t + 1.432_788) * t + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from tables of Student's distribution.
    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (probability, freedom, table) in [
            (0.975, 9.0, 2.262),
            (0.975, 30.0, 2.042),
            (0.975, 1e9, 1.960),
            (0.9995, 9.0, 4.781),
            (0.9995, 30.0, 3.646),
            (0.995, 15.0, 2.947),
        ] {
            let ours = student_quantile(probability, freedom);
            assert!((ours - table).abs() / table < 0.01, "{probability} {freedom}: {ours} against {table}");
        }
    }

    const fn mean(value: f64, error: f64, batches: u32) -> Mean {
        Mean { value, error: Some(error), batches }
    }

    #[test]
    fn difference_far_beyond_its_error_is_said_and_one_within_it_is_not() {
        let more = compare(mean(10.0, 0.5, 20), mean(15.0, 0.5, 20), 0.05, 0.0);
        assert_eq!(more.verdict, Verdict::More);
        let [low, high] = more.interval.unwrap();
        assert!(low > 3.4 && high < 6.6, "{low} {high}");
        assert_eq!(compare(mean(10.0, 2.0, 20), mean(12.0, 2.0, 20), 0.05, 0.0).verdict, Verdict::NotShown);
        assert_eq!(compare(mean(15.0, 0.5, 20), mean(10.0, 0.5, 20), 0.05, 0.0).verdict, Verdict::Less);
    }

    #[test]
    fn few_requests_decide_nothing_and_a_sure_trifle_is_none() {
        assert_eq!(compare(mean(1.0, 0.0, 5), mean(9.0, 0.0, 20), 0.05, 0.0).verdict, Verdict::TooFew);
        assert_eq!(compare(mean(1.0, 0.001, 20), mean(1.1, 0.001, 20), 0.05, 0.5).verdict, Verdict::NotShown);
    }
}
