//! What advice would bring, as a simulation of the window says.
//!
//! In: nothing; whoever simulates fills it in. Out: [`Outlook`].

/// What is known of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outlook {
    /// Nothing.
    Unknown {
        /// Why, as a clause that follows "no forecast: ".
        reason: String,
    },
    /// One forecast for each alternative of the advice that changes how many there are of something, in their
    /// order.
    Forecasts(Vec<AdviceForecast>),
}

/// Response times with one alternative of the advice, beside those of today.
#[derive(Clone, Debug, PartialEq)]
pub struct AdviceForecast {
    /// Which alternative, from 1.
    pub alternative: usize,
    /// What was simulated (`--threads 8`).
    pub change: String,
    /// Today, as simulated.
    pub today: Times,
    /// With the change.
    pub then: Times,
    /// How near forecasts like this one came to real runs, as a clause.
    pub checked: String,
    /// Between which two times its p99 is to be expected, in nanoseconds.
    pub p99_range_ns: [u64; 2],
    /// The most requests a second that it would serve.
    pub capacity_per_s: f64,
    /// What would then keep it from serving more (`the GIL`).
    pub next_limit: String,
}

/// Quantiles of the response times, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The median.
    pub p50_ns: u64,
    /// Nine of ten are shorter.
    pub p90_ns: u64,
    /// 99 of 100 are shorter.
    pub p99_ns: u64,
}

/// What a forecast comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// No quantile becomes longer, and one becomes shorter.
    Shorter,
    /// One becomes longer, and none shorter.
    Longer,
    /// One becomes shorter and one longer.
    Both,
    /// They stay.
    None,
}

/// Quantiles that differ by less stay: a p99 that is simulated may differ so much from what was measured.
const STAYS_RATIO: f64 = 0.1;

impl AdviceForecast {
    /// What it comes to.
    pub fn effect(&self) -> Effect {
        let quantiles = |times: Times| [times.p50_ns, times.p90_ns, times.p99_ns];
        let pairs = || quantiles(self.today).into_iter().zip(quantiles(self.then));
        let shorter =
            pairs().any(|(today_ns, then_ns)| (then_ns as f64) < today_ns as f64 * (1.0 - STAYS_RATIO));
        let longer =
            pairs().any(|(today_ns, then_ns)| then_ns as f64 > today_ns as f64 * (1.0 + STAYS_RATIO));
        match (shorter, longer) {
            (true, false) => Effect::Shorter,
            (false, true) => Effect::Longer,
            (true, true) => Effect::Both,
            (false, false) => Effect::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_by_a_tenth_or_less_stays() {
        let today = Times { p50_ns: 100, p90_ns: 1_000, p99_ns: 10_000 };
        let effect = |p50_ns, p90_ns, p99_ns| {
            let then = Times { p50_ns, p90_ns, p99_ns };
            let (change, next_limit) = (String::new(), String::new());
            let range = [p99_ns; 2];
            let forecast = AdviceForecast {
                alternative: 1,
                change,
                checked: String::new(),
                today,
                then,
                p99_range_ns: range,
                capacity_per_s: 1.0,
                next_limit,
            };
            forecast.effect()
        };
        for (then, expected) in [
            ((100, 1_000, 10_000), Effect::None),
            ((90, 1_100, 9_000), Effect::None),
            ((100, 1_000, 8_999), Effect::Shorter),
            ((89, 1_000, 10_000), Effect::Shorter),
            ((100, 1_101, 10_000), Effect::Longer),
            ((50, 1_000, 12_000), Effect::Both),
        ] {
            assert_eq!(effect(then.0, then.1, then.2), expected, "{then:?}");
        }
    }
}
