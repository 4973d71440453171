//! Whether a simulation of the recorded setting gives back what was recorded: without that, nothing else is forecast.
//!
//! In: figures as measured and as simulated. Out: [`SelfForecast`], each figure beside the other, with how much it may differ.

use profiler_core::phase::{Phase, Phases};

use crate::figures::Figures;

/// The median, p90 and phases may differ by this much.
const MIDDLE_RATIO: f64 = 0.05;
/// The p99 may differ by this much.
const TAIL_RATIO: f64 = 0.1;
/// The throughput may differ by this much.
const THROUGHPUT_RATIO: f64 = 0.02;
/// A phase may always differ by this share of all request time: what is as small as that decides nothing.
const SMALL_RATIO: f64 = 0.01;
/// Phases that are one to the model: a request waits for a slot, wherever.
const SLOT_WAITS: [Phase; 3] = [Phase::AcceptQueue, Phase::PoolWait, Phase::LoopWait];

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// What it is, with its unit.
    pub name: String,
    /// As measured.
    pub measured: f64,
    /// As simulated.
    pub simulated: f64,
    /// How much they may differ.
    pub allowed: f64,
}

impl Compared {
    /// Whether they differ by no more than they may.
    #[must_use]
    pub fn holds(&self) -> bool {
        (self.simulated - self.measured).abs() <= self.allowed
    }

    /// By which ratio the simulated is above (or below) the measured; `None`: nothing was measured.
    #[must_use]
    pub fn error_ratio(&self) -> Option<f64> {
        (self.measured > 0.0).then(|| self.simulated / self.measured - 1.0)
    }
}

/// Today as measured beside today as simulated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SelfForecast {
    /// Each figure.
    pub figures: Vec<Compared>,
}

impl SelfForecast {
    /// Compares.
    #[must_use]
    pub fn of(measured: &Figures, simulated: &Figures) -> Self {
        let by_ratio = |name: &str, of: fn(&Figures) -> f64, ratio: f64| Compared {
            name: name.to_owned(),
            measured: of(measured),
            simulated: of(simulated),
            allowed: of(measured) * ratio,
        };
        let mut figures = vec![
            by_ratio("p50_ns", |figures| figures.overall.p50_ns as f64, MIDDLE_RATIO),
            by_ratio("p90_ns", |figures| figures.overall.p90_ns as f64, MIDDLE_RATIO),
            by_ratio("p99_ns", |figures| figures.overall.p99_ns as f64, TAIL_RATIO),
            by_ratio("throughput_per_s", |figures| figures.throughput_per_s, THROUGHPUT_RATIO),
        ];
        let small = measured.phases.total_ns() as f64 * SMALL_RATIO;
        let phase = |name: String, of: &dyn Fn(&Phases) -> u64| {
            let (measured, simulated) = (of(&measured.phases) as f64, of(&simulated.phases) as f64);
            Compared { name, measured, simulated, allowed: (measured * MIDDLE_RATIO).max(small) }
        };
        figures.push(phase("slot_waits_ns".to_owned(), &|phases| {
            SLOT_WAITS.iter().map(|phase| phases.get(*phase)).sum()
        }));
        for one in Phase::ALL.into_iter().filter(|phase| !SLOT_WAITS.contains(phase)) {
            let compared = phase(format!("{}_ns", one.name()), &|phases| phases.get(one));
            if compared.measured > 0.0 || compared.simulated > 0.0 {
                figures.push(compared);
            }
        }
        Self { figures }
    }

    /// Whether all figures hold.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.figures.iter().all(Compared::holds)
    }

    /// Those that do not hold.
    pub fn misses(&self) -> impl Iterator<Item = &Compared> {
        self.figures.iter().filter(|compared| !compared.holds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantiles::Quantiles;

    fn figures(p50_ns: u64, p99_ns: u64, throughput_per_s: f64, phases: &[(Phase, u64)]) -> Figures {
        let mut all = Phases::default();
        phases.iter().for_each(|(phase, duration_ns)| all.add(*phase, *duration_ns));
        let overall = Quantiles { count: 100, p50_ns, p90_ns: 1000, p99_ns };
        Figures { overall, by_endpoint: Vec::new(), phases: all, throughput_per_s }
    }

    fn missed(measured: &Figures, simulated: &Figures) -> Vec<String> {
        SelfForecast::of(measured, simulated).misses().map(|miss| miss.name.clone()).collect()
    }

    #[test]
    fn each_figure_has_its_own_limit() {
        let phases = [(Phase::Cpu, 10_000), (Phase::AcceptQueue, 500), (Phase::Write, 50)];
        let measured = figures(1000, 1000, 100.0, &phases);
        assert_eq!(missed(&measured, &measured), [""; 0]);
        assert_eq!(missed(&measured, &figures(1050, 1100, 98.0, &phases)), [""; 0]);
        assert_eq!(
            missed(&measured, &figures(1051, 899, 97.9, &phases)),
            ["p50_ns", "p99_ns", "throughput_per_s"]
        );
    }

    #[test]
    fn phases_that_are_waits_for_a_slot_are_one_and_small_ones_decide_nothing() {
        let measured = figures(1000, 1000, 1.0, &[(Phase::Cpu, 10_000), (Phase::AcceptQueue, 5000)]);
        let moved = [(Phase::Cpu, 10_000), (Phase::PoolWait, 3000), (Phase::LoopWait, 2000)];
        assert_eq!(missed(&measured, &figures(1000, 1000, 1.0, &moved)), [""; 0]);
        let small = [(Phase::Cpu, 10_000), (Phase::AcceptQueue, 5000), (Phase::Write, 150)];
        assert_eq!(missed(&measured, &figures(1000, 1000, 1.0, &small)), [""; 0]);
        let wrong = [(Phase::Cpu, 10_600), (Phase::AcceptQueue, 4700), (Phase::GilWait, 200)];
        assert_eq!(
            missed(&measured, &figures(1000, 1000, 1.0, &wrong)),
            ["slot_waits_ns", "cpu_ns", "gil_wait_ns"]
        );
    }
}
