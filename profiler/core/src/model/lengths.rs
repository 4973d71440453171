//! A distribution of durations that takes little room: where there are many of them, most of few steps each.
//!
//! In: durations in nanoseconds. Out: how many, and quantiles within some 6 %. Where one has no more than a
//! few steps, tails are coarser, and so are quantiles of what is spread evenly over many doublings. `latency`
//! is finer, and takes 20 KiB each.

/// Shortest duration distinguished: 1 µs or so.
const LEAST_BITS: u32 = 10;
/// Steps for each doubling, as a power of two.
const STEP_BITS: u32 = 3;
/// The last step; what is longer than an hour or so counts there.
const LAST: u64 = u8::MAX as u64;
/// Steps of a distribution of which there are many.
pub const FEW_STEPS: usize = 32;
/// Memory that such a one takes at most beside its own fields, in bytes: steps of eight, and what an
/// allocation costs.
pub const FEW_STEPS_BYTES: usize = FEW_STEPS * size_of::<(u8, u32)>() + 16;

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

    /// Counts one duration in few steps: for a further one, the two neighbours become one of which that moves
    /// least.
    pub fn record_in_few(&mut self, duration_ns: u64) {
        self.add_in_few(step_of(duration_ns), 1);
    }

    /// Adds another distribution, in few steps.
    pub fn merge_in_few(&mut self, other: &Self) {
        other.steps.iter().for_each(|(step, count)| self.add_in_few(*step, *count));
    }

    fn add_in_few(&mut self, step: u8, count: u32) {
        let is_new = self.steps.binary_search_by_key(&step, |(known, _)| *known).is_err();
        // The new one is not among them: it would be moved again and again, before it can become one of many.
        if is_new && self.steps.len() >= FEW_STEPS {
            self.join_two();
        }
        self.add(step, count);
    }

    /// Two neighbours become one: that of them in which more count.
    fn join_two(&mut self) {
        let pairs = (1..).zip(self.steps.windows(2));
        let Some(place) = pairs.min_by_key(|(_, pair)| moved(pair)).map(|(place, _)| place) else { return };
        let (step, count) = self.steps.remove(place);
        if let Some((known, its_count)) = self.steps.get_mut(place.saturating_sub(1)) {
            if count > *its_count {
                *known = step;
            }
            *its_count = its_count.saturating_add(count);
        }
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

    /// These lengths without a part of them.
    pub fn without(&self, part: &Self) -> Self {
        let mut of_part = part.steps.iter().peekable();
        let rest = self.steps.iter().map(|(step, count)| {
            while of_part.next_if(|(known, _)| known < step).is_some() {}
            let less = of_part.next_if(|(known, _)| known == step).map_or(0, |(_, count)| *count);
            (*step, count.saturating_sub(less))
        });
        Self { steps: rest.filter(|(_, count)| *count > 0).collect() }
    }

    /// Memory that it takes beside its own fields, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.steps.capacity() * size_of::<(u8, u32)>() + 16
    }

    /// Durations counted.
    pub fn count(&self) -> u64 {
        self.steps.iter().fold(0, |sum, (_, count)| sum.saturating_add(u64::from(*count)))
    }

    /// The duration below which the share `quantile` (0 to 1) of all lies; 0 if there are none.
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

    /// Whether these are typically so many times as long as others: half of them than half of the others, and
    /// three quarters longer than half of the others. Where durations are of two kinds, chance moves the
    /// middle from one kind to the other, but not the quarter as well.
    pub fn are_longer_than(&self, others: &Self, times: f64) -> bool {
        let (own_ns, its_ns) = (self.quantile_ns(0.5), others.quantile_ns(0.5));
        own_ns > 0 && own_ns as f64 >= its_ns as f64 * times && self.quantile_ns(0.25) > its_ns
    }
}

/// How many durations move, and by how many steps, if these two become one.
fn moved(pair: &[(u8, u32)]) -> u64 {
    let [(step, count), (next, of_next)] = pair else { return u64::MAX };
    u64::from(*count.min(of_next)).saturating_mul(u64::from(next.saturating_sub(*step)))
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
    fn few_steps_have_all_durations_and_nearly_their_quantiles() {
        let peak_and_tail = |number: u64| match number % 10 {
            9 => (8 + number / 10 % 8) << (14 + number / 40),
            _ => 9_000_000 + number * 5_000,
        };
        for (name, durations_ns) in [
            ("few", (1..=FEW_STEPS as u64).map(|number| 1_000_000 << (number % 9)).collect::<Vec<_>>()),
            ("even", (1..=2_000).map(|number| number * 100_000).collect()),
            ("one of each length", (10..42).map(|bits| 1_u64 << bits).collect()),
            ("every step", (10 << 3..42 << 3).map(|step: u64| (8 + step % 8) << (step / 8 - 3)).collect()),
            ("a peak and a tail", (0..1_000).map(peak_and_tail).collect()),
        ] {
            let exact = of(durations_ns.iter().copied());
            let (mut few, mut merged) = (Lengths::default(), Lengths::default());
            durations_ns.iter().for_each(|duration_ns| few.record_in_few(*duration_ns));
            merged.merge_in_few(&exact);
            for lengths in [&few, &merged] {
                assert!(lengths.steps.len() <= FEW_STEPS && lengths.bytes() <= FEW_STEPS_BYTES, "{name}");
                assert!(lengths.steps.is_sorted_by(|a, b| a.0 < b.0), "{name}: {lengths:?}");
                assert_eq!(lengths.count(), exact.count(), "{name}");
            }
            let limit = if name == "every step" { 4.0 } else { 1.3 };
            for quantile in [0.25, 0.5, 0.75] {
                let times = few.quantile_ns(quantile) as f64 / exact.quantile_ns(quantile) as f64;
                assert!(times < limit && times > 1.0 / limit, "{name}, {quantile}: {times}");
            }
        }
    }

    #[test]
    fn two_that_become_one_are_neighbours_in_which_least_counts() {
        for (steps, expected) in [
            (vec![(1, 5), (2, 1), (3, 7)], vec![(1, 6), (3, 7)]),
            (vec![(1, 5), (2, 9), (9, 1)], vec![(2, 14), (9, 1)]),
            (vec![(1, 1), (9, 1), (10, 3)], vec![(1, 1), (10, 4)]),
            (vec![(1, 5)], vec![(1, 5)]),
            (vec![], vec![]),
        ] {
            let mut lengths = Lengths { steps };
            lengths.join_two();
            assert_eq!(lengths.steps, expected);
        }
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
