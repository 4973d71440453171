//! What the programs cost, and of which the kernel skipped runs.
//!
//! In: program information. Out: run time and runs over a sample, recursion misses by program.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Instant;

use aya::Ebpf;
use aya::programs::Program;
use aya::sys::{Stats, enable_stats};

use super::LiveError;
use crate::hook::table::PROGRAMS;

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

/// Skipped runs by program, those above zero. `/proc/self/fdinfo` tells them (Linux 5.12). Of a program with a spare only so many count as the
/// kernel skipped of both: the spare has taken the others.
pub(super) fn recursion_misses(ebpf: &Ebpf) -> Vec<(String, u64)> {
    let skipped =
        ebpf.programs().filter_map(|(name, program)| Some((name.to_owned(), misses(program)?))).collect();
    taken_by_nobody(skipped)
}

fn taken_by_nobody(mut skipped: BTreeMap<String, u64>) -> Vec<(String, u64)> {
    for spare in PROGRAMS {
        let Some(of) = spare.spare_of else { continue };
        // Where the spare is not attached it cannot have missed anything, and has taken nothing.
        if let (Some(missed), Some(first)) = (skipped.remove(spare.name), skipped.get_mut(of)) {
            *first = missed.min(*first);
        }
    }
    skipped.into_iter().filter(|(_, count)| *count > 0).collect()
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
    fn what_a_spare_took_is_not_missed() {
        let of = |counts: &[(&str, u64)]| {
            taken_by_nobody(counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect())
        };
        assert_eq!(of(&[("sys_exit", 168), ("sys_exit_spare", 0)]), []);
        assert_eq!(of(&[("sys_exit", 168), ("sys_exit_spare", 2)]), [("sys_exit".to_owned(), 2)]);
        assert_eq!(of(&[("sys_exit", 1), ("sys_exit_spare", 2)]), [("sys_exit".to_owned(), 1)]);
        assert_eq!(of(&[("sys_exit", 168)]), [("sys_exit".to_owned(), 168)], "it has no spare here");
    }

    #[test]
    fn recursion_misses_are_read_from_fdinfo() {
        assert_eq!(parse_misses("prog_type:\t26\nrun_cnt:\t9\nrecursion_misses:\t12\n"), Some(12));
        assert_eq!(parse_misses("prog_type:\t26\n"), None);
    }
}
