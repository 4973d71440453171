//! A distribution of durations that takes little room: where there are many of them, most of few steps each.
//!
//! In: durations in nanoseconds. Out: how many, and quantiles within some 6 %. `latency` is finer, and takes 20 KiB each.

/// Shortest duration distinguished: 1 µs or so.
const LEAST_BITS: u32 = 10;
/// Steps for each doubling, as a power of two.
const STEP_BITS: u32 = 3;
/// The last step; what is longer than an hour or so counts there.
const LAST: u64 = u8::MAX as u64;

/// A distribution of durations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// Steps that something counts in, shortest first, each with how often.
    steps: Vec<(u8, u32)>,
}

impl Lengths {
    /// Counts one duration.
    pub fn record(&mut self, duration_ns: u64) {
        self.add(step_of(duration_ns), 1);
    }

    /// Adds another distribution, exactly.
    pub fn merge(&mut self, other: &Self) {
        other.steps.iter().for_each(|(step, count)| self.add(*step, *count));
    }

    fn add(&mut self, step: u8, count: u32) {
        match self.steps.binary_search_by_key(&step, |(known, _)| *known) {
            Ok(place) => {
                if let Some((_, known)) = self.steps.get_mut(place) {
                    *known = known.saturating_add(count);
                }
            }
            Err(place) => self.steps.insert(place, (step, count)),
        }
    }

    /// The same without a part of it.
    #[must_use]
    pub fn without(&self, part: &Self) -> Self {
        let mut of_part = part.steps.iter().peekable();
        let rest = self.steps.iter().map(|(step, count)| {
            while of_part.next_if(|(known, _)| known < step).is_some() {}
            let less = of_part.next_if(|(known, _)| known == step).map_or(0, |(_, count)| *count);
            (*step, count.saturating_sub(less))
        });
        Self { steps: rest.filter(|(_, count)| *count > 0).collect() }
    }

    /// Durations counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.steps.iter().fold(0, |sum, (_, count)| sum.saturating_add(u64::from(*count)))
    }

    /// The duration below which the share `quantile` (0 to 1) of all lies; 0 if there are none.
    #[must_use]
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        let wanted = self.count() as f64 * quantile;
        let mut below = 0_u64;
        for (step, count) in &self.steps {
            below = below.saturating_add(u64::from(*count));
            if below as f64 >= wanted {
                return middle_ns(*step);
            }
        }
        0
    }

    /// Whether these are typically so many times as long as others: half of them than half of the others, and three quarters longer than half of the
    /// others. Where durations are of two kinds, chance moves the middle from one kind to the other, but not the quarter as well.
    #[must_use]
    pub fn are_longer_than(&self, others: &Self, times: f64) -> bool {
        let (own_ns, its_ns) = (self.quantile_ns(0.5), others.quantile_ns(0.5));
        own_ns > 0 && own_ns as f64 >= its_ns as f64 * times && self.quantile_ns(0.25) > its_ns
    }
}

/// The step of a duration: its highest bit, and the three that follow.
fn step_of(duration_ns: u64) -> u8 {
    let at_least_ns = duration_ns.max(1 << LEAST_BITS);
    let doublings = at_least_ns.ilog2();
    let within = (at_least_ns >> doublings.saturating_sub(STEP_BITS)) & ((1 << STEP_BITS) - 1);
    let step = (u64::from(doublings.saturating_sub(LEAST_BITS)) << STEP_BITS) | within;
    u8::try_from(step.min(LAST)).unwrap_or(u8::MAX)
}

/// The middle of what counts in a step.
fn middle_ns(step: u8) -> u64 {
    let (doublings, within) = (u32::from(step) >> STEP_BITS, u64::from(step) & ((1 << STEP_BITS) - 1));
    let width_ns = 1_u64 << (doublings + LEAST_BITS - STEP_BITS);
    ((1 << STEP_BITS) + within).saturating_mul(width_ns).saturating_add(width_ns / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations_ns: impl IntoIterator<Item = u64>) -> Lengths {
        let mut lengths = Lengths::default();
        durations_ns.into_iter().for_each(|duration_ns| lengths.record(duration_ns));
        lengths
    }

    #[test]
    fn durations_from_a_microsecond_to_an_hour_keep_their_value_within_seven_per_cent() {
        for duration_ns in [1_024_u64, 1_100, 999_999, 20_000_000, 5_000_000_000, 3_600_000_000_000] {
            let seen_ns = of([duration_ns]).quantile_ns(0.5);
            assert!(seen_ns.abs_diff(duration_ns) * 100 <= duration_ns * 7, "{duration_ns} became {seen_ns}");
        }
        assert_eq!(of([0]), of([1_024]), "nothing is shorter than the first step");
        assert_eq!(of([u64::MAX]).count(), 1);
    }

    #[test]
    fn quantiles_are_those_of_the_durations() {
        let lengths = of((1..=100).map(|number| number * 1_000_000));
        for (quantile, expected_ns) in [(0.01, 1_000_000_u64), (0.5, 50_000_000), (1.0, 100_000_000)] {
            let seen_ns = lengths.quantile_ns(quantile);
            assert!(seen_ns.abs_diff(expected_ns) * 100 <= expected_ns * 7, "{quantile}: {seen_ns}");
        }
        assert_eq!(Lengths::default().quantile_ns(0.5), 0);
    }

    #[test]
    fn what_is_longer_is_so_in_its_middle_and_in_its_quarter() {
        let of_two_kinds = |short: usize, long: usize| {
            let short = std::iter::repeat_n(1_000_000, short);
            of(short.chain(std::iter::repeat_n(90_000_000, long)))
        };
        for (own, others, expected) in [
            (of_two_kinds(0, 20), of_two_kinds(20, 0), true),
            (of_two_kinds(9, 11), of_two_kinds(11, 9), false),
            (of_two_kinds(4, 16), of_two_kinds(11, 9), true),
            (of_two_kinds(16, 4), of_two_kinds(20, 0), false),
            (of([30_000_000; 9]), of([20_000_000; 9]), false),
            (of([]), of([]), false),
        ] {
            assert_eq!(own.are_longer_than(&others, 2.0), expected, "{own:?} {others:?}");
        }
    }

    #[test]
    fn a_whole_is_its_parts_together_and_each_part_the_whole_without_the_other() {
        let (left, right) = (of([5_000, 5_000, 70_000]), of([5_000, 9_000_000]));
        let mut both = left.clone();
        both.merge(&right);
        assert_eq!(both, of([5_000, 5_000, 70_000, 5_000, 9_000_000]));
        // Steps of the part that the whole has not take nothing from others.
        assert_eq!(left.without(&of([6_000, 9_000_000])), left);
        assert_eq!(right.without(&of([1_024, 5_000])), of([9_000_000]));
        assert_eq!((both.without(&right), both.without(&left)), (left, right));
        assert_eq!(both.without(&both), Lengths::default());
    }
}
