//! Whether a simulation of the recorded setting gives back what was recorded: without that, nothing else is
//! forecast.
//!
//! In: figures as measured and as simulated. Out: [`SelfForecast`], each figure beside the other, with how
//! much it may differ.

use profiler_core::phase::{Phase, Phases};

use crate::figures::Figures;

/// The median, p90 and phases may differ by this much.
const MIDDLE_RATIO: f64 = 0.05;
/// The p99 may differ by this much.
const TAIL_RATIO: f64 = 0.1;
/// The throughput may differ by this much.
const THROUGHPUT_RATIO: f64 = 0.02;
/// A phase may always differ by this share of all request time. Where percentiles and throughput hold and no
/// phase is off by more, forecasts of other settings were as near to the real change as with a hundredth
/// (lab/results/whatif-judged.md).
const SMALL_RATIO: f64 = 0.03;
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
    pub fn holds(&self) -> bool {
        (self.simulated - self.measured).abs() <= self.allowed
    }

    /// By which ratio the simulated is above (or below) the measured; `None`: nothing was measured.
    pub fn error_ratio(&self) -> Option<f64> {
        (self.measured > 0.0).then(|| self.simulated / self.measured - 1.0)
    }
}

/// A quantile as measured and as simulated. It may differ by this ratio, and lie wherever the recording
/// itself leaves open where it is: that of a mix of short and long requests can lie between the two kinds.
fn quantile(
    name: &str,
    (measured_ns, simulated_ns): (u64, u64),
    (least_ns, most_ns): (u64, u64),
    ratio: f64,
) -> Compared {
    let open_ns = if simulated_ns > measured_ns {
        most_ns.saturating_sub(measured_ns)
    } else {
        measured_ns.saturating_sub(least_ns)
    };
    let (measured, simulated) = (measured_ns as f64, simulated_ns as f64);
    Compared { name: name.to_owned(), measured, simulated, allowed: (measured * ratio).max(open_ns as f64) }
}

/// Today as measured beside today as simulated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SelfForecast {
    /// Each figure.
    pub figures: Vec<Compared>,
}

impl SelfForecast {
    /// Compares.
    pub fn of(measured: &Figures, simulated: &Figures) -> Self {
        let (real, own, brackets) = (&measured.overall, &simulated.overall, &measured.brackets);
        let per_s = measured.throughput_per_s;
        let mut figures = vec![
            quantile("p50_ns", (real.p50_ns, own.p50_ns), brackets.p50_ns, MIDDLE_RATIO),
            quantile("p90_ns", (real.p90_ns, own.p90_ns), brackets.p90_ns, MIDDLE_RATIO),
            quantile("p99_ns", (real.p99_ns, own.p99_ns), brackets.p99_ns, TAIL_RATIO),
            Compared {
                name: "throughput_per_s".to_owned(),
                measured: per_s,
                simulated: simulated.throughput_per_s,
                allowed: per_s * THROUGHPUT_RATIO,
            },
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
    use crate::quantiles::{Brackets, Quantiles};

    fn figures(p50_ns: u64, p99_ns: u64, throughput_per_s: f64, phases: &[(Phase, u64)]) -> Figures {
        let mut all = Phases::default();
        phases.iter().for_each(|(phase, duration_ns)| all.add(*phase, *duration_ns));
        let overall = Quantiles { count: 100, p50_ns, p90_ns: 1000, p99_ns };
        let brackets = Brackets { p50_ns: (p50_ns, p50_ns), p90_ns: (1000, 1000), p99_ns: (p99_ns, p99_ns) };
        Figures { overall, brackets, by_endpoint: Vec::new(), phases: all, throughput_per_s }
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
    fn a_quantile_may_lie_where_the_recording_leaves_it_open() {
        let phases = [(Phase::Cpu, 10_000)];
        let mut measured = figures(1000, 1000, 1.0, &phases);
        measured.brackets.p50_ns = (400, 1100);
        assert_eq!(missed(&measured, &figures(400, 1000, 1.0, &phases)), [""; 0]);
        assert_eq!(missed(&measured, &figures(1100, 1000, 1.0, &phases)), [""; 0]);
        assert_eq!(missed(&measured, &figures(399, 1000, 1.0, &phases)), ["p50_ns"]);
        assert_eq!(missed(&measured, &figures(1101, 1000, 1.0, &phases)), ["p50_ns"]);
    }

    #[test]
    fn phases_that_are_waits_for_a_slot_are_one_and_small_ones_decide_nothing() {
        let measured = figures(1000, 1000, 1.0, &[(Phase::Cpu, 10_000), (Phase::AcceptQueue, 5000)]);
        let moved = [(Phase::Cpu, 10_000), (Phase::PoolWait, 3000), (Phase::LoopWait, 2000)];
        assert_eq!(missed(&measured, &figures(1000, 1000, 1.0, &moved)), [""; 0]);
        let small = [(Phase::Cpu, 10_000), (Phase::AcceptQueue, 5000), (Phase::Write, 450)];
        assert_eq!(missed(&measured, &figures(1000, 1000, 1.0, &small)), [""; 0]);
        let wrong = [(Phase::Cpu, 10_600), (Phase::AcceptQueue, 4500), (Phase::GilWait, 500)];
        assert_eq!(
            missed(&measured, &figures(1000, 1000, 1.0, &wrong)),
            ["slot_waits_ns", "cpu_ns", "gil_wait_ns"]
        );
    }
}
