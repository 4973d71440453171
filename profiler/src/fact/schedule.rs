//! The kernel's own account of a thread, which ours is compared with.
//!
//! In: `/proc/PID/task/TID/schedstat`. Out: nanoseconds on a CPU and on the run queue.

use procfs::FromRead as _;
use procfs::process::Schedstat;

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
