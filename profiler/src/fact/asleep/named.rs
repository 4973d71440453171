//! Files that calls name by their path.
//!
//! In: where the path is, and where it begins. Out: [`ObjectSeen`]. The file is not looked at.

use profiler_core::fact::asleep::ObjectSeen;

use super::descriptor::file;
use super::path::redacted;
use super::{Found, Reader, Sleep};
use crate::fact::read;

/// A thread in one of these opens a FIFO, and waits for somebody who opens the other end.
const OPENS_FIFO: [&str; 2] = ["fifo_open", "wait_for_partner"];

impl Reader {
    /// What a call names.
    pub(super) fn named(&mut self, sleep: &Sleep<'_>, directory: Option<i32>, address: u64) -> Option<Found> {
        if address == 0 {
            return None;
        }
        let name = self.text_at(sleep.tgid, address)?;
        if name.is_empty() {
            // The descriptor itself is meant (`AT_EMPTY_PATH`).
            return self.descriptor(sleep, directory?);
        }
        let path = if name.starts_with('/') { name } else { self.joined(sleep.tgid, directory, &name)? };
        if sleep.is_in(&OPENS_FIFO) {
            return Some(ObjectSeen::Pipe { inode: 0, path: redacted(&path), others: Vec::new() }.into());
        }
        let mount = self.mounts.by_path(&self.proc, sleep.tgid, &path);
        Some(ObjectSeen::File(file(&path, false, mount.as_ref())).into())
    }

    /// A path that begins at a directory.
    fn joined(&self, tgid: u32, directory: Option<i32>, name: &str) -> Option<String> {
        let link = match directory {
            Some(fd) => self.proc.of(tgid, &format!("fd/{}", u32::try_from(fd).ok()?)),
            None => self.proc.of(tgid, "cwd"),
        };
        let directory = read::link(&link).ok()?;
        let name = name.trim_start_matches("./");
        Some(format!("{}/{name}", directory.trim_end_matches('/')))
    }
}
