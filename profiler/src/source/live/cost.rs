//! What the programs cost, and which of their runs the kernel skipped.
//!
//! In: program information. Out: run time and runs over a sample, recursion misses by program.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Instant;

use aya::Ebpf;
use aya::programs::Program;
use aya::sys::{Stats, enable_stats};

use super::LiveError;

/// The kernel's run-time statistics, on for as long as this value lives.
pub struct RunTimeSample {
    statistics: OwnedFd,
    started: Instant,
    run_ns: u64,
    runs: u64,
}

impl RunTimeSample {
    pub(super) fn start(ebpf: &Ebpf) -> Result<Self, LiveError> {
        let statistics = enable_stats(Stats::RunTime).map_err(|error| LiveError::Program {
            program: "run-time statistics",
            reason: error.to_string(),
        })?;
        let (run_ns, runs) = run_time(ebpf);
        Ok(Self { statistics, started: Instant::now(), run_ns, runs })
    }

    pub(super) fn finish(self, ebpf: &Ebpf) -> (u64, u64, u64) {
        let (run_ns, runs) = run_time(ebpf);
        let sampled_ns = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        drop(self.statistics);
        (run_ns.saturating_sub(self.run_ns), runs.saturating_sub(self.runs), sampled_ns)
    }
}

/// Run time in nanoseconds and runs of all programs, cumulative over all samples.
fn run_time(ebpf: &Ebpf) -> (u64, u64) {
    ebpf.programs().filter_map(|(_, program)| program.info().ok()).fold((0, 0), |(time_ns, runs), info| {
        (time_ns + u64::try_from(info.run_time().as_nanos()).unwrap_or(0), runs + info.run_count())
    })
}

/// Skipped runs by program, those above zero. `/proc/self/fdinfo` has them (Linux 5.12).
pub(super) fn recursion_misses(ebpf: &Ebpf) -> Vec<(String, u64)> {
    ebpf.programs()
        .filter_map(|(name, program)| Some((name.to_owned(), misses(program)?)))
        .filter(|(_, misses)| *misses > 0)
        .collect()
}

fn misses(program: &Program) -> Option<u64> {
    let fd = program.fd().ok()?.as_fd().as_raw_fd();
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    parse_misses(&text)
}

fn parse_misses(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recursion_misses_are_read_from_fdinfo() {
        assert_eq!(parse_misses("prog_type:\t26\nrun_cnt:\t9\nrecursion_misses:\t12\n"), Some(12));
        assert_eq!(parse_misses("prog_type:\t26\n"), None);
    }
}
