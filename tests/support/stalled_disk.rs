//! A file system of our own that can be stalled: what a disk does that hangs.
//!
//! In: a directory. Out: a file system that lies in a file of another one, both mounted by loop devices.
//! While the one below is frozen, whoever waits for the disk hangs; while the one above is, whoever would
//! change a file. Both are thawed and removed when dropped. Needs root and a loop device.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

const BELOW_MIB: u64 = 48;
const ABOVE_MIB: u64 = 24;

/// The two.
#[derive(Debug)]
pub struct StalledDisk {
    directory: PathBuf,
    /// Mounted, from the one below on.
    mounts: Vec<PathBuf>,
}

impl StalledDisk {
    /// Makes both in `directory`, and an empty file of each name in the one above.
    ///
    /// # Errors
    ///
    /// Where this machine cannot make or mount them: no root, no loop device, no `mkfs.ext4`.
    pub fn new(directory: &Path, files: &[&str]) -> anyhow::Result<Self> {
        let mut disk = Self { directory: directory.to_owned(), mounts: Vec::new() };
        disk.mount("below", &directory.join("below.img"), BELOW_MIB)?;
        disk.mount("above", &disk.below().join("above.img"), ABOVE_MIB)?;
        for file in files {
            std::fs::write(disk.above().join(file), [0; 4096])?;
        }
        // What is not on the disk yet would wait with whoever writes.
        let above = std::fs::File::open(disk.above())?;
        rustix::fs::syncfs(&above)?;
        Ok(disk)
    }

    /// Frozen, the disk of [`Self::above`] hangs.
    pub fn below(&self) -> PathBuf {
        self.directory.join("below")
    }

    /// Where files are.
    pub fn above(&self) -> PathBuf {
        self.directory.join("above")
    }

    fn mount(&mut self, name: &str, image: &Path, mebibytes: u64) -> anyhow::Result<()> {
        let place = self.directory.join(name);
        std::fs::create_dir(&place)?;
        std::fs::File::create(image)?.set_len(mebibytes * 1024 * 1024)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(&place))?;
        self.mounts.push(place);
        Ok(())
    }
}

impl Drop for StalledDisk {
    fn drop(&mut self) {
        for place in &self.mounts {
            // It fails where it is not frozen.
            let _ = Command::new("fsfreeze").arg("-u").arg(place).stderr(Stdio::null()).status();
        }
        for place in self.mounts.iter().rev() {
            // Also where somebody that ends only now has a file open there.
            let _ = Command::new("umount").arg("--lazy").arg(place).status();
        }
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{name} is not there"))?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// A file system that is frozen as long as the value lives.
#[derive(Debug)]
pub struct Frozen {
    mount: PathBuf,
}

impl Frozen {
    /// Freezes one that [`StalledDisk`] has mounted.
    ///
    /// # Errors
    ///
    /// Where it cannot be frozen.
    pub fn new(mount: &Path) -> anyhow::Result<Self> {
        let frozen = Self { mount: mount.to_owned() };
        run(Command::new("fsfreeze").arg("-f").arg(mount))?;
        Ok(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // It fails where it is not frozen.
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.mount).stderr(Stdio::null()).status();
    }
}
