//! How far the mean of a group of requests can be trusted: its standard error by the method of batch means.
//!
//! In: the phases of requests, in the order in which they ended. Out: a standard error for each phase and for
//! the whole. Requests that follow one another are not independent (a queue makes them all late together), so
//! the spread of single requests would promise too much. The run is cut into 16 to 32 batches of equally many
//! requests that follow one another. The spread of the batches' means holds what they have in common (Law and
//! Kelton, Simulation Modeling and Analysis, 9.5.3).

use crate::phase::{Phase, Phases};

/// Batches; when there are so many, each two become one.
const MAX_BATCHES: usize = 32;

/// Sums of requests by batches.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    batches: Vec<Phases>,
    /// Requests of a batch.
    batch_requests: u64,
    last: Phases,
    last_requests: u64,
}

impl Spread {
    /// Counts a request.
    pub fn add(&mut self, phases: &Phases) {
        self.batch_requests = self.batch_requests.max(1);
        self.last.add_all(phases);
        self.last_requests = self.last_requests.saturating_add(1);
        if self.last_requests < self.batch_requests {
            return;
        }
        self.batches.push(std::mem::take(&mut self.last));
        self.last_requests = 0;
        if self.batches.len() >= MAX_BATCHES {
            self.batches = self.batches.chunks(2).map(added).collect();
            self.batch_requests = self.batch_requests.saturating_mul(2);
        }
    }

    /// Whole batches.
    pub fn batches(&self) -> u32 {
        u32::try_from(self.batches.len()).unwrap_or(u32::MAX)
    }

    /// Standard error of the mean length of a request; `None`: fewer than two batches.
    pub fn total_error_ns(&self) -> Option<f64> {
        self.error_ns(Phases::total_ns)
    }

    /// Standard error of the mean time of a request in a phase.
    pub fn phase_error_ns(&self, phase: Phase) -> Option<f64> {
        self.error_ns(|phases| phases.get(phase))
    }

    fn error_ns(&self, of: impl Fn(&Phases) -> u64) -> Option<f64> {
        let count = self.batches.len();
        if count < 2 {
            return None;
        }
        let means: Vec<f64> =
            self.batches.iter().map(|batch| of(batch) as f64 / self.batch_requests.max(1) as f64).collect();
        let mean = means.iter().sum::<f64>() / count as f64;
        let squares: f64 = means.iter().map(|value| (value - mean).powi(2)).sum();
        Some((squares / (count - 1) as f64 / count as f64).sqrt())
    }
}

fn added(batches: &[Phases]) -> Phases {
    let mut sum = Phases::default();
    for batch in batches {
        sum.add_all(batch);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lengths_ns: impl Iterator<Item = u64>) -> Spread {
        let mut spread = Spread::default();
        for length_ns in lengths_ns {
            let mut phases = Phases::default();
            phases.add(Phase::Cpu, length_ns);
            spread.add(&phases);
        }
        spread
    }

    #[test]
    fn few_requests_are_batches_of_one() {
        let spread = of([2, 4, 4, 6].into_iter());
        assert_eq!(spread.batches(), 4);
        // Variance of the sample 8/3, of the mean a quarter of it.
        assert!((spread.total_error_ns().unwrap() - (8.0_f64 / 12.0).sqrt()).abs() < 1e-12);
        assert_eq!(spread.phase_error_ns(Phase::Sleep), Some(0.0));
        assert_eq!(of([5].into_iter()).total_error_ns(), None);
    }

    /// A pseudo-random sequence without memory: the method agrees with the formula for independent values.
    #[test]
    fn independent_requests_have_the_error_of_independent_values() {
        let mut seed = 1_u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            1_000 + (seed >> 33) % 1_000
        };
        let spread = of((0..64_000).map(|_| next()));
        assert!((16..32).contains(&spread.batches()));
        let expected = 1_000.0 / 12_f64.sqrt() / 64_000_f64.sqrt();
        let error = spread.total_error_ns().unwrap();
        assert!(error > expected * 0.6 && error < expected * 1.5, "{error} against {expected}");
    }

    /// Long stretches of slow requests: what they share is not averaged away by their number.
    #[test]
    fn requests_that_are_late_together_count_for_fewer() {
        let together = of((0..64_000).map(|index| if index / 8_000 % 2 == 0 { 1_000 } else { 2_000 }));
        let apart = of((0..64_000).map(|index| if index % 2 == 0 { 1_000 } else { 2_000 }));
        assert!(together.total_error_ns().unwrap() > 50.0);
        assert!(apart.total_error_ns().unwrap() < 1e-6);
    }
}
