//! Rounds: every subject once a round, the order turned round each time, so that a drift of the machine falls on all.
//!
//! In: subjects and how to take one sample. Out: the samples, round by round; ratios are made within a round.

use std::collections::BTreeMap;

/// Quantities of one sample by name.
pub(crate) type Sample = BTreeMap<&'static str, f64>;

/// Samples of all subjects: `samples[subject][round]`, `None` where a sample failed.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Vec<Option<Sample>>>);

/// Takes `rounds` samples of each of `subjects`; `failed` hears why one could not be taken, after which its subject is
/// left out.
pub(crate) fn interleave<T>(
    subjects: &[T],
    rounds: usize,
    mut sample: impl FnMut(&T) -> anyhow::Result<Sample>,
    mut failed: impl FnMut(&T, &anyhow::Error),
) -> Samples {
    let mut samples = vec![vec![None; rounds]; subjects.len()];
    let mut out = vec![false; subjects.len()];
    for round in 0..rounds {
        let forward: Vec<usize> = (0..subjects.len()).collect();
        let order: Vec<usize> = if round % 2 == 0 { forward } else { forward.into_iter().rev().collect() };
        for index in order {
            let (Some(subject), Some(out)) = (subjects.get(index), out.get_mut(index)) else { continue };
            if *out {
                continue;
            }
            let taken = sample(subject).map_err(|error| {
                *out = true;
                failed(subject, &error);
            });
            if let Some(place) = samples.get_mut(index).and_then(|rounds| rounds.get_mut(round)) {
                *place = taken.ok();
            }
        }
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

    #[test]
    fn order_turns_round_and_ratios_stay_within_a_round() {
        let mut order = Vec::new();
        let mut clock = 0.0;
        let samples = interleave(
            &["a", "b"],
            2,
            |name| {
                order.push(*name);
                clock += 1.0;
                Ok(Sample::from([("time", clock)]))
            },
            |_, _| {},
        );
        assert_eq!(order, ["a", "b", "b", "a"]);
        assert_eq!(samples.ratios(1, 0, "time"), [2.0, 3.0 / 4.0]);
        assert_eq!(samples.differences(1, 0, "time"), [1.0, -1.0]);
    }

    #[test]
    fn subject_that_fails_is_left_out_and_the_others_go_on() {
        let mut told = 0;
        let sample = |name: &&str| {
            if *name == "b" { anyhow::bail!("no") } else { Ok(Sample::from([("time", 1.0)])) }
        };
        let samples = interleave(&["a", "b"], 3, sample, |_, _| told += 1);
        assert_eq!((told, samples.values(0, "time").len(), samples.values(1, "time").len()), (1, 3, 0));
    }
}
