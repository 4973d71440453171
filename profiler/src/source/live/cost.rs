//! What the programs cost, and which of their runs the kernel skipped.
//!
//! In: program information. Out: run time and runs over a sample, recursion misses by program.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Instant;

use aya::Ebpf;
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

/// Skipped runs by program, those above zero.
pub(super) fn recursion_misses(ebpf: &Ebpf) -> Vec<(String, u64)> {
    ebpf.programs()
        .filter_map(|(name, program)| Some((name.to_owned(), misses(program.fd().ok()?.as_fd())?)))
        .filter(|(_, misses)| *misses > 0)
        .collect()
}

/// What the kernel says of a program, in words of eight bytes (`bpf_prog_info`, include/uapi/linux/bpf.h).
const INFO_WORDS: usize = 28;
/// The word `recursion_misses` (Linux 5.12); before it, it stays 0.
const MISSES_WORD: usize = 26;
/// `BPF_OBJ_GET_INFO_BY_FD`.
const GET_INFO: libc::c_long = 15;

/// The part of `union bpf_attr` that asks for it.
#[repr(C)]
struct Asked {
    fd: u32,
    length_bytes: u32,
    info: u64,
}

/// Skipped runs of one program. The library does not give them, and `/proc/self/fdinfo`, which has them as
/// text, takes ten times as long.
fn misses(program: BorrowedFd<'_>) -> Option<u64> {
    let mut info = [0_u64; INFO_WORDS];
    let mut asked = Asked {
        fd: program.as_raw_fd().cast_unsigned(),
        length_bytes: size_of_val(&info) as u32,
        info: (&raw mut info).addr() as u64,
    };
    // SAFETY: the kernel writes no more than `length_bytes` to `info`, which outlives the call.
    let outcome = unsafe {
        libc::syscall(libc::SYS_bpf, GET_INFO, &raw mut asked, size_of::<Asked>() as libc::c_ulong)
    };
    (outcome == 0).then(|| info.get(MISSES_WORD).copied()).flatten()
}
