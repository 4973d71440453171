//! A cgroup that can be frozen.
//!
//! In: processes. Out: a group of a version 2 hierarchy, which is mounted for that where none is; thawed and
//! removed when dropped. Needs root.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use crate::child::until;

/// Tells groups of one program apart.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The group.
#[derive(Debug)]
pub struct Freezer {
    directory: PathBuf,
    /// Where the hierarchy is mounted for this group alone.
    mounted: Option<TempDir>,
}

impl Freezer {
    /// Makes a group.
    ///
    /// # Errors
    ///
    /// Where there is no hierarchy, or no group may be made in it.
    pub fn new() -> anyhow::Result<Self> {
        let (hierarchy, mounted) = match hierarchy() {
            Some(place) => (place, None),
            None => {
                let place = tempfile::tempdir()?;
                mount("cgroup2", place.path(), "cgroup2", MountFlags::empty(), None)
                    .context("no cgroup file system can be mounted")?;
                (place.path().to_owned(), Some(place))
            }
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = hierarchy.join(format!("wsgi-trace-test-freezer-{}-{number}", std::process::id()));
        let group = Self { directory, mounted };
        std::fs::create_dir(group.path()).with_context(|| format!("{:?} cannot be made", group.path()))?;
        Ok(group)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Moves a process into the group.
    ///
    /// # Errors
    ///
    /// Where it is gone or may not be moved.
    pub fn take(&self, pid: u32) -> anyhow::Result<()> {
        std::fs::write(self.directory.join("cgroup.procs"), pid.to_string()).context("not to be moved")
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = std::fs::write(self.directory.join("cgroup.freeze"), "0");
        // Its last process may not be reaped yet.
        let _ = until("the end of its processes", Duration::from_secs(5), || {
            Ok(std::fs::remove_dir(&self.directory).ok())
        });
        if let Some(place) = &self.mounted {
            let _ = unmount(place.path(), UnmountFlags::DETACH);
        }
    }
}

/// Where a version 2 hierarchy is mounted.
fn hierarchy() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
    let place = mounts.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let place = words.nth(1)?;
        (words.next()? == "cgroup2").then_some(place)
    })?;
    Some(PathBuf::from(place))
}
