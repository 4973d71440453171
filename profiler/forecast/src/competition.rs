//! Other programs on the same cores: how much CPU time they took, and in which pieces.
//!
//! In: readings of the machine's CPU time, by an adapter. Out: [`Competition`], which the simulation's cores
//! run beside the server.

/// A stretch of time in which other programs took CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Competition {
    /// Its start, on the clock of the load.
    pub from_ns: u64,
    /// Its end.
    pub until_ns: u64,
    /// CPU time that they took in it, on all cores.
    pub cpu_ns: u64,
    /// How long they ran at once, in the mean.
    pub burst_ns: u64,
}

impl Competition {
    /// How many cores they kept busy, in the mean.
    pub fn cores(&self) -> f64 {
        let length_ns = self.until_ns.saturating_sub(self.from_ns);
        if length_ns == 0 { 0.0 } else { self.cpu_ns as f64 / length_ns as f64 }
    }

    /// From one burst to the next, in the mean; `None`: there are none.
    pub fn gap_ns(&self) -> Option<f64> {
        let cores = self.cores();
        (cores > 0.0 && self.burst_ns > 0).then(|| self.burst_ns as f64 / cores)
    }

    /// All of them as one that goes on for ever; `None`: there are none.
    pub fn mean(all: &[Self]) -> Option<Self> {
        let sum = |of: fn(&Self) -> u64| all.iter().fold(0_u64, |sum, one| sum.saturating_add(of(one)));
        let length_ns = sum(|one| one.until_ns.saturating_sub(one.from_ns));
        let cpu_ns = sum(|one| one.cpu_ns);
        if length_ns == 0 || cpu_ns == 0 {
            return None;
        }
        let bursts: f64 = all.iter().map(|one| one.cpu_ns as f64 / one.burst_ns.max(1) as f64).sum();
        // A thousandth of the longest time that can be told leaves room for sums.
        let until_ns = u64::MAX / 1000;
        let stretched = until_ns as f64 / length_ns as f64;
        Some(Self {
            from_ns: 0,
            until_ns,
            cpu_ns: (cpu_ns as f64 * stretched) as u64,
            burst_ns: (cpu_ns as f64 / bursts.max(1.0)) as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_take_is_said_in_cores_and_bursts() {
        let one = Competition { from_ns: 100, until_ns: 1100, cpu_ns: 500, burst_ns: 20 };
        assert_eq!((one.cores(), one.gap_ns()), (0.5, Some(40.0)));
        let none = Competition { cpu_ns: 0, ..one };
        assert_eq!((none.cores(), none.gap_ns()), (0.0, None));
        assert_eq!(Competition::default().gap_ns(), None);
        let mean = Competition::mean(&[one, none]).unwrap();
        assert!((mean.cores() - 0.25).abs() < 1e-9, "{mean:?}");
        assert_eq!(mean.burst_ns, 20);
        assert_eq!(Competition::mean(&[none]), None);
    }
}
