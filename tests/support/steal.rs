//! What a hypervisor takes of the CPUs.
//!
//! In: `/proc/stat`. Out: a sum since boot, whose difference bounds what a test's window lost; the share that
//! a stretch of time lost.

use std::time::{Duration, Instant};

use anyhow::Context as _;

/// CPU time that a hypervisor has taken since boot, in ns, as `/proc/stat` tells it (the eighth number of all
/// CPUs, proc_stat(5)) in ticks of 10 ms. Up to one tick of each difference is not told. Errors where there
/// is no such number.
pub fn stolen_ns() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let ticks = text.split_whitespace().nth(8).context("no steal in /proc/stat")?;
    Ok(ticks.parse::<u64>()? * 10_000_000)
}

/// CPUs of the machine, which that is a sum over: `/proc/stat` has a line for each.
fn cpus() -> usize {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let is_one = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
    text.lines().filter(is_one).count().max(1)
}

/// A stretch of time that goes on.
#[derive(Debug)]
pub struct Stretch {
    begun: Instant,
    /// `None`: the kernel does not tell.
    stolen_ns: Option<u64>,
}

impl Stretch {
    /// Begins now.
    pub fn begin() -> Self {
        Self { begun: Instant::now(), stolen_ns: stolen_ns().ok() }
    }

    /// How long it has gone on.
    pub fn length(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What was taken since, in ns, and its share of all CPUs' time; 0 where the kernel does not tell.
    pub fn stolen(&self) -> (u64, f64) {
        let (Some(before_ns), Ok(now_ns)) = (self.stolen_ns, stolen_ns()) else { return (0, 0.0) };
        let all_ns = self.begun.elapsed().as_nanos() as f64 * cpus() as f64;
        let stolen_ns = now_ns.saturating_sub(before_ns);
        (stolen_ns, stolen_ns as f64 / all_ns.max(1.0))
    }
}
