//! What is taken of the machine between two readings.
//!
//! In: [`Reading`]s. Out: [`Taken`].

use super::Taken;

/// Cumulative readings at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// When, `CLOCK_MONOTONIC` nanoseconds.
    pub now_ns: u64,
    /// CPU time of this process so far, in nanoseconds.
    pub process_cpu_ns: u64,
    /// CPUs that the kernel programs took when they were sampled last; `None`: not known, and left out.
    pub programs_cpus: Option<f64>,
    /// CPUs of the machine.
    pub machine_cpus: u32,
}

impl Reading {
    /// With programs that take so many CPUs beside.
    pub fn with(self, programs_cpus: f64) -> Self {
        let all = self.programs_cpus.map(|cpus| cpus + programs_cpus);
        Self { programs_cpus: all, ..self }
    }
}

/// The reading before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter(Option<Reading>);

impl Meter {
    /// What was taken since the reading before; `None`: there is none, or no time has passed.
    pub fn taken(&mut self, now: Reading) -> Option<Taken> {
        let before = self.0.replace(now)?;
        let passed_ns = now.now_ns.checked_sub(before.now_ns).filter(|passed_ns| *passed_ns > 0)?;
        let own_ns = now.process_cpu_ns.saturating_sub(before.process_cpu_ns);
        let cpus = own_ns as f64 / passed_ns as f64 + now.programs_cpus.unwrap_or(0.0);
        let ratio = cpus / f64::from(now.machine_cpus.max(1));
        Some(Taken { now_ns: now.now_ns, ratio, seconds: passed_ns as f64 / 1e9 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_all_cpus_is_of_this_process_and_of_the_programs() {
        let reading = |now_ns, process_cpu_ns| Reading {
            now_ns,
            process_cpu_ns,
            programs_cpus: Some(0.1),
            machine_cpus: 4,
        };
        let mut meter = Meter::default();
        assert_eq!(meter.taken(reading(1_000_000_000, 50_000_000)), None);
        let taken = meter.taken(reading(3_000_000_000, 650_000_000)).unwrap();
        assert_eq!((taken.now_ns, taken.seconds), (3_000_000_000, 2.0));
        assert!((taken.ratio - 0.1).abs() < 1e-9, "{taken:?}");
        assert_eq!(meter.taken(reading(3_000_000_000, 650_000_000)), None, "no time has passed");
    }
}
