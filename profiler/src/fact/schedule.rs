//! The kernel's own account of threads and processes, which ours is compared with.
//!
//! In: `/proc/PID/task/TID/schedstat`, `/proc/PID/stat`. Out: nanoseconds on a CPU and on the run queue.

use procfs::FromRead as _;
use procfs::process::{Schedstat, Stat};

use super::{FactError, Proc, read};

/// `(cpu_ns, run_queue_ns)` of a thread since it was born.
///
/// # Errors
/// When the thread is gone.
pub fn thread_schedstat(proc: &Proc, tgid: u32, tid: u32) -> Result<(u64, u64), FactError> {
    let path = proc.of(tgid, &format!("task/{tid}/schedstat"));
    let bytes = read::bytes(&path, 256).map_err(|error| FactError::of_process(tid, &path, error))?;
    let schedstat = Schedstat::from_read(bytes.as_slice())
        .map_err(|error| FactError::of_process(tid, &path, std::io::Error::other(error)))?;
    Ok((schedstat.sum_exec_runtime, schedstat.run_delay))
}

/// CPU time of a process since it was born, to some 10 ms.
///
/// # Errors
/// When the process is gone.
pub fn process_cpu_ns(proc: &Proc, tgid: u32) -> Result<u64, FactError> {
    let path = proc.of(tgid, "stat");
    let bytes = read::bytes(&path, 4096).map_err(|error| FactError::of_process(tgid, &path, error))?;
    let stat = Stat::from_read(bytes.as_slice())
        .map_err(|error| FactError::of_process(tgid, &path, std::io::Error::other(error)))?;
    let tick_ns = 1_000_000_000 / procfs::ticks_per_second().max(1);
    Ok(stat.utime.saturating_add(stat.stime).saturating_mul(tick_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_thread_has_run_and_a_missing_one_is_said_to_be_missing() {
        let pid = std::process::id();
        let (cpu_ns, _) = thread_schedstat(&Proc::default(), pid, pid).expect("own thread");
        assert!(cpu_ns > 0);
        let missing = thread_schedstat(&Proc::default(), pid, u32::MAX);
        assert!(matches!(missing, Err(FactError::NoSuchProcess { .. })), "{missing:?}");
    }
}
