//! Rounds: every subject once a round, the order turned round each time, so that a drift of the machine falls
//! on all.
//!
//! In: subjects and how to take one sample. Out: the samples, round by round; comparisons are made within a
//! round.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::statistics::Interval;

/// What one sample gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Quantities by name.
    quantities: BTreeMap<&'static str, f64>,
    /// The same with nothing attached, just before and after.
    beside: BTreeMap<&'static str, f64>,
    /// Of each request, where they are known one by one.
    pub(crate) latencies_ns: Vec<f64>,
}

impl Sample {
    pub(crate) fn insert(&mut self, name: &'static str, value: f64) {
        self.quantities.insert(name, value);
    }

    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.quantities.get(name).copied()
    }

    /// With the mean of two others, taken just before and just after, to compare with.
    pub(crate) fn between(mut self, before: &Self, after: &Self) -> Self {
        let both = before.quantities.iter().filter_map(|(name, one)| Some((*name, one, after.get(name)?)));
        self.beside = both.map(|(name, one, other)| (name, f64::midpoint(*one, other))).collect();
        self
    }
}

impl<const COUNT: usize> From<[(&'static str, f64); COUNT]> for Sample {
    fn from(quantities: [(&'static str, f64); COUNT]) -> Self {
        Self { quantities: BTreeMap::from(quantities), ..Self::default() }
    }
}

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
    /// Rounds in which it takes part at most: the first ones.
    fn most_rounds(&self) -> usize {
        usize::MAX
    }
}

/// How a subject has done so far.
#[derive(Clone, Copy, Debug, Default)]
struct Course {
    failures: usize,
    /// Its longest sample.
    longest: Duration,
}

/// Takes samples of each of `subjects`, round by round; `failed` hears why a subject was left out.
pub(crate) fn interleave<T: Contender>(
    subjects: &[T],
    limit: Limit,
    mut sample: impl FnMut(&T) -> anyhow::Result<Sample>,
    mut failed: impl FnMut(&T, &anyhow::Error),
) -> Samples {
    let mut samples = vec![Vec::new(); subjects.len()];
    let mut courses = vec![Course::default(); subjects.len()];
    let takes_part = |subject: &T, course: &Course, round: usize| {
        course.failures < FAILURES && round < subject.most_rounds()
    };
    for round in 0..limit.rounds {
        // Those who take long take part in few rounds: what they took says nothing of the others.
        let forecast: Duration = subjects
            .iter()
            .zip(&courses)
            .filter(|(subject, course)| takes_part(subject, course, round))
            .map(|(_, course)| course.longest)
            .sum();
        if round >= 2 && Instant::now() + forecast > limit.until {
            break;
        }
        let forward: Vec<usize> = (0..subjects.len()).collect();
        let order: Vec<usize> = if round % 2 == 0 { forward } else { forward.into_iter().rev().collect() };
        for index in order {
            let (Some(subject), Some(course), Some(samples)) =
                (subjects.get(index), courses.get_mut(index), samples.get_mut(index))
            else {
                continue;
            };
            if !takes_part(subject, course, round) {
                samples.push(None);
                continue;
            }
            let begun = Instant::now();
            let taken = sample(subject).map_err(|error| {
                course.failures += 1;
                if course.failures == FAILURES {
                    failed(subject, &error);
                }
            });
            course.longest = course.longest.max(begun.elapsed());
            samples.push(taken.ok());
        }
    }
    Samples(samples)
}

impl Samples {
    fn sample(&self, subject: usize, round: usize) -> Option<&Sample> {
        self.0.get(subject)?.get(round)?.as_ref()
    }

    fn rounds(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }

    /// The quantity itself, round by round.
    pub(crate) fn values(&self, subject: usize, quantity: &str) -> Vec<f64> {
        (0..self.rounds()).filter_map(|round| self.sample(subject, round)?.get(quantity)).collect()
    }

    /// The quantity itself.
    pub(crate) fn value(&self, subject: usize, quantity: &str) -> Option<Interval> {
        Interval::of(&self.values(subject, quantity))
    }

    /// Beside what it was with nothing attached, just before and after, round by round.
    fn beside(&self, subject: usize, quantity: &str) -> Vec<[f64; 2]> {
        let both = |round| {
            let sample = self.sample(subject, round)?;
            Some([sample.get(quantity)?, sample.beside.get(quantity).copied()?])
        };
        (0..self.rounds()).filter_map(both).collect()
    }

    /// Divided by what it was with nothing attached, just before and after.
    pub(crate) fn ratio_beside(&self, subject: usize, quantity: &str) -> Option<Interval> {
        Interval::of_ratios(&self.ratios_beside(subject, quantity))
    }

    /// The same, round by round.
    pub(crate) fn ratios_beside(&self, subject: usize, quantity: &str) -> Vec<f64> {
        self.beside(subject, quantity).into_iter().map(|[mine, base]| mine / base).collect()
    }

    /// What it is more than with nothing attached, just before and after.
    pub(crate) fn difference_beside(&self, subject: usize, quantity: &str) -> Option<Interval> {
        let differences = self.beside(subject, quantity).into_iter().map(|[mine, base]| mine - base);
        Interval::of_differences(&differences.collect::<Vec<f64>>())
    }

    /// Divided by that of another subject in the same round, round by round.
    pub(crate) fn ratios(&self, subject: usize, to: usize, quantity: &str) -> Vec<f64> {
        self.together(quantity, [subject, to]).map(|[mine, base]| mine / base).collect()
    }

    /// Divided by that of another subject in the same round.
    pub(crate) fn ratio(&self, subject: usize, to: usize, quantity: &str) -> Option<Interval> {
        Interval::of_ratios(&self.ratios(subject, to, quantity))
    }

    /// What it is more than another subject in the same round.
    pub(crate) fn difference(&self, subject: usize, to: usize, quantity: &str) -> Option<Interval> {
        let differences = self.together(quantity, [subject, to]).map(|[mine, base]| mine - base);
        Interval::of_differences(&differences.collect::<Vec<f64>>())
    }

    /// What a subject adds to `base`, in units of what `floor` adds to it; `None` where the latter is lost in
    /// noise.
    pub(crate) fn added_ratio(
        &self,
        subject: usize,
        floor: usize,
        base: usize,
        quantity: &str,
    ) -> Option<Interval> {
        let added = self
            .together(quantity, [subject, floor, base])
            .map(|[mine, floor, base]| (mine - base, floor - base));
        Interval::of_factor(&added.collect::<Vec<(f64, f64)>>())
    }

    /// A quantile of the latencies of all rounds together.
    pub(crate) fn latency(&self, subject: usize, share: f64) -> Option<Interval> {
        let rounds: Vec<&[f64]> = (0..self.rounds())
            .filter_map(|round| Some(self.sample(subject, round)?.latencies_ns.as_slice()))
            .collect();
        Interval::of_drawn(rounds.len(), |draw| pooled(&rounds, draw, share))
    }

    /// A quantile of the latencies, divided by that of another subject in the same rounds.
    pub(crate) fn latency_ratio(&self, subject: usize, to: usize, share: f64) -> Option<Interval> {
        let both = |round| {
            let (mine, base) = (self.sample(subject, round)?, self.sample(to, round)?);
            Some((mine.latencies_ns.as_slice(), base.latencies_ns.as_slice()))
        };
        let (mine, base): (Vec<&[f64]>, Vec<&[f64]>) = (0..self.rounds()).filter_map(both).unzip();
        Interval::of_drawn(mine.len(), |draw| Some(pooled(&mine, draw, share)? / pooled(&base, draw, share)?))
    }

    /// A quantity of several subjects, in each round in which all of them have it.
    fn together<const COUNT: usize>(
        &self,
        quantity: &str,
        subjects: [usize; COUNT],
    ) -> impl Iterator<Item = [f64; COUNT]> {
        (0..self.rounds()).filter_map(move |round| {
            let values = subjects.map(|subject| self.sample(subject, round)?.get(quantity));
            let all: Vec<f64> = values.into_iter().flatten().collect();
            <[f64; COUNT]>::try_from(all).ok()
        })
    }
}

/// A quantile of the latencies of the rounds that were drawn, some of them more than once.
fn pooled(rounds: &[&[f64]], draw: &[usize], share: f64) -> Option<f64> {
    let drawn = draw.iter().filter_map(|round| rounds.get(*round));
    let mut all: Vec<f64> = drawn.flat_map(|round| round.iter().copied()).collect();
    let place = (share * (all.len().checked_sub(1)?) as f64).round() as usize;
    // Sorting all of them a thousand times would take minutes.
    let (_, quantile, _) = all.select_nth_unstable_by(place, f64::total_cmp);
    Some(*quantile)
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
    fn order_turns_round_and_comparisons_stay_within_a_round() {
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
        let ends = |interval: Option<Interval>| interval.map(|interval| (interval.low, interval.high));
        let (low, high) = ends(samples.ratio(1, 0, "time")).unwrap();
        assert!((low - 4.0 / 5.0).abs() < 1e-12 && (high - 2.0).abs() < 1e-12, "{low} {high}");
        assert_eq!(ends(samples.difference(1, 0, "time")), Some((-1.0, 1.0)));
        let seldom = samples.difference(2, 0, "time").unwrap();
        assert_eq!((seldom.median, seldom.rounds), (2.0, 1), "only rounds in which both took part");
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

    #[test]
    fn latencies_of_all_rounds_together_make_one_quantile() {
        let mut requests = [vec![1.0; 60], vec![9.0; 40]].into_iter();
        let sample = |_: &&str| {
            let latencies_ns = requests.next().unwrap_or_default();
            Ok(Sample { latencies_ns, ..Sample::default() })
        };
        let samples = interleave(&["a"], rounds(2), sample, |_, _| {});
        let middle = samples.latency(0, 0.5).unwrap();
        assert_eq!((middle.median, middle.low, middle.high), (1.0, 1.0, 9.0), "one round alone is slow");
        assert_eq!(samples.latency_ratio(0, 0, 0.5).unwrap().high, 1.0, "the same rounds on both sides");
    }
}
