//! The files that a process has mapped.
//!
//! In: `/proc/PID/maps`, `/proc/PID/map_files`. Out: each file once, with where its lowest mapping is, and
//! the file itself, opened. A file that was replaced on disk or deleted is still the one that is mapped.

use std::fs::File;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use crate::fact::{FactError, Proc, read};

/// Of `maps` this much is read.
const MAX_MAPS_BYTES: u64 = 16 * 1024 * 1024;
/// Files of one process.
const MAX_FILES: usize = 1024;

/// One mapped file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Its path as the process's mount namespace shows it. Hostile.
    pub path: String,
    /// Device, as `maps` names it.
    pub device: String,
    /// Inode.
    pub inode: u64,
    /// Start of its lowest mapping.
    pub start: u64,
    /// End of that mapping.
    pub end: u64,
    /// Where that mapping begins in the file.
    pub offset: u64,
}

impl Mapped {
    /// What distinguishes the file from others.
    pub fn key(&self) -> (String, u64) {
        (self.device.clone(), self.inode)
    }

    /// Opens the very file that process `tgid` has mapped; `None` if it is no regular file or may not be
    /// opened.
    pub fn open(&self, proc: &Proc, tgid: u32) -> Option<File> {
        open(proc, tgid, self)
    }

    /// Its name without directories.
    pub(in crate::fact) fn name(&self) -> &str {
        let path = self.path.strip_suffix(" (deleted)").unwrap_or(&self.path);
        path.rsplit('/').next().unwrap_or_default()
    }
}

/// The files that a process maps, each once.
pub(in crate::fact) fn mapped_files(proc: &Proc, tgid: u32) -> Result<Vec<Mapped>, FactError> {
    let path = proc.of(tgid, "maps");
    let mut files: Vec<Mapped> = Vec::new();
    let mut last = (String::new(), 0);
    read::lines(&path, MAX_MAPS_BYTES, |line| {
        if let Some(file) = parse(line) {
            let key = (file.device.clone(), file.inode);
            // Mappings of one file mostly follow one another.
            if key != last && !files.iter().any(|known| (&known.device, known.inode) == (&key.0, key.1)) {
                files.push(file);
            }
            last = key;
        }
        files.len() < MAX_FILES
    })
    .map_err(|error| FactError::of_process(tgid, &path, error))?;
    Ok(files)
}

/// One line of `maps`; `None` for what is not a mapped file.
pub(in crate::fact) fn parse(line: &str) -> Option<Mapped> {
    let mut rest = line;
    let mut field = || {
        let (first, after) = rest.trim_start_matches(' ').split_once(' ')?;
        rest = after;
        Some(first)
    };
    let (start, end) = field()?.split_once('-')?;
    let _permissions = field()?;
    let (offset, device, inode) = (field()?, field()?, field()?);
    let path = rest.trim_start_matches(' ');
    let inode = inode.parse().ok().filter(|inode| *inode != 0)?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    path.starts_with('/').then(|| {
        let (start, end, offset) = (hex(start)?, hex(end)?, hex(offset)?);
        Some(Mapped { path: path.to_owned(), device: device.to_owned(), inode, start, end, offset })
    })?
}

/// Opens the very file that is mapped; `None` if it is no regular file or may not be opened.
pub(in crate::fact) fn open(proc: &Proc, tgid: u32, mapped: &Mapped) -> Option<File> {
    let map_file = proc.of(tgid, &format!("map_files/{:x}-{:x}", mapped.start, mapped.end));
    // Only an administrator may follow the first; the others must turn out to be the same file.
    let inside = mapped.path.trim_start_matches('/');
    [map_file, proc.of(tgid, "exe"), proc.of(tgid, "root").join(inside)].into_iter().find_map(|path| {
        open_regular(&path).filter(|file| file.metadata().is_ok_and(|data| data.ino() == mapped.inode))
    })
}

fn open_regular(path: &Path) -> Option<File> {
    let kind = std::fs::metadata(path).ok()?.file_type();
    // Devices can be mapped as well; opening one may do something.
    if !kind.is_file() || kind.is_char_device() {
        return None;
    }
    // Never waits, whatever was put in its place.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC).bits();
    let file = File::options().read(true).custom_flags(i32::try_from(flags).ok()?).open(path).ok()?;
    file.metadata().ok()?.is_file().then_some(file)
}
