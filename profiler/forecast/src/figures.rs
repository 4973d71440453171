//! Figures of requests, the same for those that were measured and those that were simulated.
//!
//! In: requests with their moments and phases. Out: [`Figures`].

use profiler_core::phase::{Phase, Phases};

use crate::load::Load;
use crate::outcome::Outcome;
use crate::quantiles::{Brackets, Quantiles};

/// One request, as far as figures need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed {
    /// Number of its endpoint.
    pub endpoint: usize,
    /// When it arrived.
    pub start_ns: u64,
    /// Where its time went.
    pub phases: Phases,
}

/// Figures of requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Response times of all.
    pub overall: Quantiles,
    /// How well so many requests show these.
    pub brackets: Brackets,
    /// By number of the endpoint.
    pub by_endpoint: Vec<Quantiles>,
    /// Where the time of all went.
    pub phases: Phases,
    /// From the first arrival to the last response: requests a second.
    pub throughput_per_s: f64,
}

impl Figures {
    /// Of these requests.
    pub fn of(requests: &[Timed], endpoints: usize) -> Self {
        let mut sums = Sums::new(endpoints);
        let each = requests.iter().map(|request| (request.endpoint, request.start_ns, &request.phases));
        sums.add(each);
        sums.figures()
    }

    /// Of plays of one load, without the requests that do not count: as those of one play, each figure in the
    /// mean of all.
    pub fn simulated(load: &Load, plays: &[Outcome]) -> Self {
        let mut sums = Sums::new(load.endpoints.len());
        for outcome in plays {
            let both = load.requests.iter().zip(&outcome.served);
            let counted = both
                .filter(|(request, _)| request.is_counted)
                .map(|(request, served)| (request.endpoint, served.start_ns, &served.phases));
            sums.add(counted);
        }
        sums.figures()
    }
}

/// What figures are made of.
struct Sums {
    durations_ns: Vec<u64>,
    by_endpoint: Vec<Vec<u64>>,
    phases: Phases,
    plays: usize,
    /// The sum over the plays.
    throughput_per_s: f64,
}

impl Sums {
    fn new(endpoints: usize) -> Self {
        let (durations_ns, by_endpoint) = (Vec::new(), vec![Vec::new(); endpoints]);
        Self { durations_ns, by_endpoint, phases: Phases::default(), plays: 0, throughput_per_s: 0.0 }
    }

    /// Adds a play: endpoints, arrivals and phases.
    fn add<'a>(&mut self, requests: impl Iterator<Item = (usize, u64, &'a Phases)>) {
        let (mut count, mut first_ns, mut last_ns) = (0, u64::MAX, 0);
        for (endpoint, start_ns, phases) in requests {
            let duration_ns = phases.total_ns();
            self.phases.add_all(phases);
            self.durations_ns.push(duration_ns);
            if let Some(of_endpoint) = self.by_endpoint.get_mut(endpoint) {
                of_endpoint.push(duration_ns);
            }
            count += 1;
            first_ns = first_ns.min(start_ns);
            last_ns = last_ns.max(start_ns.saturating_add(duration_ns));
        }
        self.plays += 1;
        self.throughput_per_s += rate(count, last_ns.saturating_sub(first_ns));
    }

    /// As of one play.
    fn figures(self) -> Figures {
        let plays = self.plays.max(1);
        let one_play = |mut durations_ns: Vec<u64>| {
            durations_ns.sort_unstable();
            // The middle one of each few.
            durations_ns.into_iter().skip(plays / 2).step_by(plays).collect::<Vec<u64>>()
        };
        let durations_ns = one_play(self.durations_ns);
        let mut phases = Phases::default();
        for phase in Phase::ALL {
            phases.add(phase, self.phases.get(phase) / u64::try_from(plays).unwrap_or(u64::MAX));
        }
        Figures {
            throughput_per_s: self.throughput_per_s / plays as f64,
            overall: Quantiles::of_sorted(&durations_ns),
            brackets: Brackets::of_sorted(&durations_ns),
            by_endpoint: self
                .by_endpoint
                .into_iter()
                .map(|durations_ns| Quantiles::of_sorted(&one_play(durations_ns)))
                .collect(),
            phases,
        }
    }
}

/// So many in such a time, by the second.
pub(crate) fn rate(count: usize, length_ns: u64) -> f64 {
    if length_ns == 0 { 0.0 } else { count as f64 * 1e9 / length_ns as f64 }
}

#[cfg(test)]
mod tests {
    use profiler_core::phase::Phase;

    use super::*;

    #[test]
    fn figures_are_of_response_times_and_of_the_time_from_first_to_last() {
        let timed = |endpoint, start_ns, cpu_ns| {
            let mut phases = Phases::default();
            phases.add(Phase::Cpu, cpu_ns);
            Timed { endpoint, start_ns, phases }
        };
        let found = Figures::of(&[timed(0, 1_000_000_000, 5), timed(1, 1_000_000_010, 1_999_999_990)], 2);
        assert_eq!(
            (found.overall.count, found.overall.p50_ns, found.by_endpoint[1].p50_ns),
            (2, 5, 1_999_999_990)
        );
        assert!((found.throughput_per_s - 1.0).abs() < 1e-9);
        assert_eq!(Figures::of(&[], 0), Figures::default());
    }
}
