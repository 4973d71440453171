//! Rounds: every subject once a round, the order turned round each time, so that a drift of the machine falls on all.
//!
//! In: subjects and how to take one sample. Out: the samples, round by round; ratios are made within a round.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Quantities of one sample by name.
pub(crate) type Sample = BTreeMap<&'static str, f64>;

/// Samples of all subjects: `samples[subject][round]`, `None` where a sample failed or was not taken.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Vec<Option<Sample>>>);

/// How often a subject may fail before it is left out.
const FAILURES: usize = 2;

/// When to stop taking rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// Rounds to take.
    pub(crate) rounds: usize,
    /// No round begins that would end later, but for the first two.
    pub(crate) until: Instant,
}

/// A subject of a comparison.
pub(crate) trait Contender {
    /// Rounds in which it takes part at most.
    fn most_rounds(&self) -> usize {
        usize::MAX
    }
}

/// Takes samples of each of `subjects`, round by round; `failed` hears why a subject was left out.
pub(crate) fn interleave<T: Contender>(
    subjects: &[T],
    limit: Limit,
    mut sample: impl FnMut(&T) -> anyhow::Result<Sample>,
    mut failed: impl FnMut(&T, &anyhow::Error),
) -> Samples {
    let mut samples = vec![Vec::new(); subjects.len()];
    let mut failures = vec![0; subjects.len()];
    let mut longest = Duration::ZERO;
    for round in 0..limit.rounds {
        let begun = Instant::now();
        if round >= 2 && begun + longest > limit.until {
            break;
        }
        let forward: Vec<usize> = (0..subjects.len()).collect();
        let order: Vec<usize> = if round % 2 == 0 { forward } else { forward.into_iter().rev().collect() };
        for index in order {
            let (Some(subject), Some(failures), Some(samples)) =
                (subjects.get(index), failures.get_mut(index), samples.get_mut(index))
            else {
                continue;
            };
            if *failures >= FAILURES || round >= subject.most_rounds() {
                samples.push(None);
                continue;
            }
            let taken = sample(subject).map_err(|error| {
                *failures += 1;
                if *failures == FAILURES {
                    failed(subject, &error);
                }
            });
            samples.push(taken.ok());
        }
        longest = longest.max(begun.elapsed());
    }
    Samples(samples)
}

impl Samples {
    /// A quantity of a subject, round by round.
    fn get(&self, subject: usize, round: usize, quantity: &str) -> Option<f64> {
        self.0.get(subject)?.get(round)?.as_ref()?.get(quantity).copied()
    }

    fn rounds(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }

    /// The quantity itself.
    pub(crate) fn values(&self, subject: usize, quantity: &str) -> Vec<f64> {
        (0..self.rounds()).filter_map(|round| self.get(subject, round, quantity)).collect()
    }

    /// Divided by that of another subject in the same round.
    pub(crate) fn ratios(&self, subject: usize, to: usize, quantity: &str) -> Vec<f64> {
        self.combine(quantity, &[subject, to], |values| match values {
            [mine, base] if *base != 0.0 => Some(mine / base),
            _ => None,
        })
    }

    /// What it is more than another subject in the same round.
    pub(crate) fn differences(&self, subject: usize, to: usize, quantity: &str) -> Vec<f64> {
        self.combine(quantity, &[subject, to], |values| match values {
            [mine, base] => Some(mine - base),
            _ => None,
        })
    }

    /// What a subject adds to `base`, divided by what `floor` adds to it.
    pub(crate) fn added_ratios(&self, subject: usize, floor: usize, base: usize, quantity: &str) -> Vec<f64> {
        self.combine(quantity, &[subject, floor, base], |values| match values {
            // Where the floor itself is lost in the noise there is nothing to compare with.
            [mine, floor, base] if floor > base => Some((mine - base) / (floor - base)),
            _ => None,
        })
    }

    fn combine(
        &self,
        quantity: &str,
        subjects: &[usize],
        combine: impl Fn(&[f64]) -> Option<f64>,
    ) -> Vec<f64> {
        let mut results = Vec::new();
        for round in 0..self.rounds() {
            let values: Vec<f64> =
                subjects.iter().filter_map(|&subject| self.get(subject, round, quantity)).collect();
            if values.len() == subjects.len() {
                results.extend(combine(&values));
            }
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Contender for &str {
        fn most_rounds(&self) -> usize {
            if *self == "seldom" { 1 } else { usize::MAX }
        }
    }

    fn rounds(rounds: usize) -> Limit {
        Limit { rounds, until: Instant::now() + Duration::from_hours(1) }
    }

    #[test]
    fn order_turns_round_and_ratios_stay_within_a_round() {
        let mut order = Vec::new();
        let mut clock = 0.0;
        let samples = interleave(
            &["a", "b", "seldom"],
            rounds(2),
            |name| {
                order.push(*name);
                clock += 1.0;
                Ok(Sample::from([("time", clock)]))
            },
            |_, _| {},
        );
        assert_eq!(order, ["a", "b", "seldom", "b", "a"]);
        assert_eq!(samples.ratios(1, 0, "time"), [2.0, 4.0 / 5.0]);
        assert_eq!(samples.differences(1, 0, "time"), [1.0, -1.0]);
        assert_eq!(samples.ratios(2, 0, "time"), [3.0], "only rounds in which both took part");
    }

    #[test]
    fn subject_that_fails_twice_is_left_out_and_the_others_go_on() {
        let (mut told, mut asked) = (0, 0);
        let sample = |name: &&str| {
            if *name == "b" {
                asked += 1;
                anyhow::bail!("no")
            }
            Ok(Sample::from([("time", 1.0)]))
        };
        let samples = interleave(&["a", "b"], rounds(4), sample, |_, _| told += 1);
        assert_eq!((samples.values(0, "time").len(), samples.values(1, "time").len()), (4, 0));
        assert_eq!((told, asked), (1, 2));
    }

    #[test]
    fn no_round_begins_after_the_time_is_up_but_for_the_first_two() {
        let limit = Limit { rounds: 9, until: Instant::now() };
        let samples = interleave(&["a"], limit, |_| Ok(Sample::from([("time", 1.0)])), |_, _| {});
        assert_eq!(samples.values(0, "time").len(), 2);
    }
}
