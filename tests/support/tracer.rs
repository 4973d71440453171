//! The kernel's own tracer, which knows nothing of wsgi-trace.
//!
//! In: what to record. Out: its text, where nothing was lost. Each is an instance of tracefs of its own,
//! removed when dropped. Nothing needs to be mounted: the file system is reached through a mount that no path
//! of the machine leads to.

use std::fs;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use anyhow::Context as _;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// An instance of the tracer; nothing is recorded until `tracing_on` is set.
#[derive(Debug)]
pub struct Tracer {
    instance: PathBuf,
    /// tracefs, to which the path of the instance leads in this process alone.
    _mount: OwnedFd,
}

impl Tracer {
    /// Makes an instance.
    ///
    /// # Errors
    ///
    /// Where the kernel has no tracefs, or refuses.
    pub fn make(what: &str) -> anyhow::Result<Self> {
        let number = std::thread::current().id();
        let name = format!("wsgi-trace-{what}-{}-{number:?}", std::process::id());
        let mount = mount_nowhere().context("tracefs cannot be mounted (it takes CAP_SYS_ADMIN)")?;
        let instance = PathBuf::from(format!("/proc/self/fd/{}/instances/{name}", mount.as_raw_fd()));
        fs::create_dir(&instance).context("an instance of the tracer")?;
        let made = Self { instance, _mount: mount };
        made.set("tracing_on", "0")?;
        Ok(made)
    }

    /// Writes one of its files.
    ///
    /// # Errors
    ///
    /// Where that cannot be done.
    pub fn set(&self, file: &str, value: &str) -> anyhow::Result<()> {
        fs::write(self.instance.join(file), value).with_context(|| format!("{file} of the tracer"))
    }

    /// Puts a line of its own into the record (`tracing_mark_write`).
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn mark(&self, text: &str) -> anyhow::Result<()> {
        let mut marker = fs::OpenOptions::new().write(true).open(self.instance.join("trace_marker"))?;
        marker.write_all(text.as_bytes()).context("a mark")
    }

    /// Ends recording: what was recorded, oldest first. `None`: events were lost.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn end(&self) -> anyhow::Result<Option<String>> {
        self.set("tracing_on", "0")?;
        for cpu in fs::read_dir(self.instance.join("per_cpu"))? {
            let stats = fs::read_to_string(cpu?.path().join("stats"))?;
            let lost = |name: &str| {
                stats.lines().filter_map(|line| line.strip_prefix(name)).any(|count| count.trim() != "0")
            };
            if lost("overrun:") || lost("dropped events:") {
                return Ok(None);
            }
        }
        fs::read_to_string(self.instance.join("trace")).map(Some).context("what the tracer recorded")
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.set("tracing_on", "0");
        let _ = self.set("events/enable", "0");
        let _ = fs::remove_dir(&self.instance);
    }
}

fn mount_nowhere() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_reached_without_a_mount_point_and_goes_when_it_is_dropped() -> anyhow::Result<()> {
        crate::require_bpf!(Ok(()));
        let made = Tracer::make("of-its-own")?;
        let name = made.instance.file_name().context("no name")?.to_owned();
        assert!(made.instance.join("trace").is_file());
        drop(made);
        let other = Tracer::make("beside")?;
        assert!(!other.instance.with_file_name(name).exists());
        Ok(())
    }
}
