//! A cgroup with a CPU quota or a limit of memory, of either version, for as long as the value lives.
//!
//! In: a quota in cores or a limit in bytes, processes. Out: a group under the one that is mounted, removed
//! when dropped.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::child::until;
use crate::server::Server;

/// Length of a period.
const PERIOD_US: u64 = 100_000;
/// Tells groups of one test program apart.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The group.
#[derive(Debug)]
pub struct CpuQuota {
    directory: PathBuf,
}

impl CpuQuota {
    /// Makes a group that may use `cores` of CPU time.
    ///
    /// # Errors
    ///
    /// Where no hierarchy with the `cpu` controller can be written to.
    pub fn new(cores: f64) -> anyhow::Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wsgi-trace-test-{}-{number}", std::process::id());
        let quota_us = (cores * PERIOD_US as f64) as u64;
        let first = Path::new("/sys/fs/cgroup/cpu");
        let unified = Path::new("/sys/fs/cgroup");
        if first.join("cpu.cfs_quota_us").exists() || first.join("cgroup.procs").exists() {
            let group = Self::make(&first.join(name))?;
            group.write("cpu.cfs_period_us", &PERIOD_US.to_string())?;
            group.write("cpu.cfs_quota_us", &quota_us.to_string())?;
            return Ok(group);
        }
        let delegated = std::fs::read_to_string(unified.join("cgroup.subtree_control")).unwrap_or_default();
        if delegated.split_whitespace().any(|controller| controller == "cpu") {
            let group = Self::make(&unified.join(name))?;
            group.write("cpu.max", &format!("{quota_us} {PERIOD_US}"))?;
            return Ok(group);
        }
        bail!("no cgroup hierarchy with the cpu controller")
    }

    /// A group with such a quota and a server's processes in it.
    ///
    /// # Errors
    ///
    /// As [`Self::new`] and [`Self::take`].
    pub fn around(server: &Server, cores: f64) -> anyhow::Result<Self> {
        let group = Self::new(cores)?;
        for pid in server.worker_pids().into_iter().chain([server.pid()]) {
            group.take(pid)?;
        }
        Ok(group)
    }

    fn make(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir(directory).with_context(|| format!("{} cannot be made", directory.display()))?;
        Ok(Self { directory: directory.to_path_buf() })
    }

    /// Moves a process into the group.
    ///
    /// # Errors
    ///
    /// Where it is gone or may not be moved.
    pub fn take(&self, pid: u32) -> anyhow::Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// How long the quota has stopped its processes so far, in seconds.
    ///
    /// # Errors
    ///
    /// Where the kernel does not say.
    pub fn throttled_seconds(&self) -> anyhow::Result<f64> {
        let text = std::fs::read_to_string(self.directory.join("cpu.stat"))?;
        // Version 2 counts microseconds, version 1 nanoseconds.
        let units = [("throttled_usec ", 1e6), ("throttled_time ", 1e9)];
        let seconds = text.lines().find_map(|line| {
            let found = units.iter().find_map(|(name, unit)| Some((line.strip_prefix(name)?, unit)));
            found.and_then(|(value, unit)| Some(value.trim().parse::<f64>().ok()? / unit))
        });
        seconds.context("cpu.stat does not say for how long")
    }

    fn write(&self, file: &str, value: &str) -> anyhow::Result<()> {
        let path = self.directory.join(file);
        std::fs::write(&path, value).with_context(|| format!("{} refuses {value}", path.display()))
    }
}

impl Drop for CpuQuota {
    fn drop(&mut self) {
        // Its last process may not be reaped yet.
        let _ = until("the end of its processes", Duration::from_secs(5), || {
            Ok(std::fs::remove_dir(&self.directory).ok())
        });
    }
}

/// A group with a limit of memory.
#[derive(Debug)]
pub struct MemoryLimit {
    group: CpuQuota,
}

impl MemoryLimit {
    /// Makes a group that may use so many bytes.
    ///
    /// # Errors
    ///
    /// Where no hierarchy with the `memory` controller can be written to.
    pub fn new(bytes: u64) -> anyhow::Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wsgi-trace-test-{}-{number}", std::process::id());
        let first = Path::new("/sys/fs/cgroup/memory");
        let unified = Path::new("/sys/fs/cgroup");
        if first.join("memory.limit_in_bytes").exists() {
            let group = CpuQuota::make(&first.join(name))?;
            group.write("memory.limit_in_bytes", &bytes.to_string())?;
            return Ok(Self { group });
        }
        let delegated = std::fs::read_to_string(unified.join("cgroup.subtree_control")).unwrap_or_default();
        if delegated.split_whitespace().any(|controller| controller == "memory") {
            let group = CpuQuota::make(&unified.join(name))?;
            group.write("memory.max", &bytes.to_string())?;
            group.write("memory.swap.max", "0").ok();
            return Ok(Self { group });
        }
        bail!("no cgroup hierarchy with the memory controller")
    }

    /// Moves a process into the group.
    ///
    /// # Errors
    ///
    /// Where it is gone or may not be moved.
    pub fn take(&self, pid: u32) -> anyhow::Result<()> {
        self.group.take(pid)
    }
}
