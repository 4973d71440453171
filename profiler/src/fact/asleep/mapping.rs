//! Which mapped file a thread waits for in a page fault.
//!
//! In: the kernel's functions on its stack, the mappings of its process. Out: the file, if no more than one
//! can be it. Where the fault is cannot be read.

use profiler_core::fact::asleep::ObjectSeen;

use super::descriptor::file;
use super::{Found, Reader};
use crate::fact::mapping;
use crate::fact::read;

/// Bytes of `maps` read.
const MAX_BYTES: u64 = 1024 * 1024;
/// Who writes to a page of a shared mapping for the first time passes here; nobody else does.
const WRITES_SHARED: [&str; 4] =
    ["sb_start_pagefault", "do_page_mkwrite", "do_shared_fault", "filemap_page_mkwrite"];
/// How a file system's own function for that ends (`ext4_page_mkwrite`).
const WRITES_SHARED_ENDS: &str = "_page_mkwrite";

impl Reader {
    /// The file; `None`: it may be any of several, or memory of no file.
    pub(super) fn mapping(&mut self, tgid: u32, stack: &[String]) -> Option<Found> {
        let writes = |function: &String| {
            WRITES_SHARED.contains(&function.as_str()) || function.ends_with(WRITES_SHARED_ENDS)
        };
        // To read the table is to wait for the map as its threads do.
        if !stack.iter().any(writes) || self.held_maps.has(tgid) {
            return None;
        }
        let mut paths: Vec<String> = Vec::new();
        read::lines(&self.proc.of(tgid, "maps"), MAX_BYTES, |line| {
            paths.extend(shared_for_writing(line).filter(|path| !paths.contains(path)));
            paths.len() < 2
        })
        .ok()?;
        let [path] = paths.as_slice() else { return None };
        let (path, is_deleted) =
            path.strip_suffix(" (deleted)").map_or((path.as_str(), false), |path| (path, true));
        let mount = self.mounts.by_path(&self.proc, tgid, path);
        Some(ObjectSeen::File(file(path, is_deleted, mount.as_ref())).into())
    }
}

/// The path of a file that is mapped so that what is written to it is seen by others. Memory without a file
/// of its own (`/dev/zero`, `/memfd:`) is none.
fn shared_for_writing(line: &str) -> Option<String> {
    let permissions = line.split(' ').nth(1)?;
    let path = mapping::parse(line)?.path;
    let is_memory = ["/dev/", "/memfd:", "/SYSV"].iter().any(|begins| path.starts_with(begins));
    (permissions.contains('w') && permissions.ends_with('s') && !is_memory).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::super::Looks;
    use super::*;
    use crate::fact::Proc;

    const STACK: [&str; 3] = ["sb_start_pagefault", "ext4_page_mkwrite", "do_page_mkwrite"];

    fn seen(maps: &str, stack: &[&str]) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("7")).unwrap();
        std::fs::write(directory.path().join("7/maps"), maps).unwrap();
        let mut reader = Reader::new(Proc::at(directory.path()), Looks::All);
        let stack: Vec<String> = stack.iter().map(|function| (*function).to_owned()).collect();
        match reader.mapping(7, &stack)?.object {
            ObjectSeen::File(file) => Some(file.path),
            _ => None,
        }
    }

    #[test]
    fn a_file_is_named_only_if_no_other_is_mapped_to_be_written() {
        let library =
            "7f00-7f01 r-xp 00000000 fe:00 5 /lib/libc.so\n7f01-7f02 rw-p 00001000 fe:00 5 /lib/libc.so\n";
        let one =
            "7f10-7f20 rw-s 00000000 fe:01 9 /data/store\n7f30-7f40 rw-s 00000000 fe:01 9 /data/store\n";
        let memory =
            "7f50-7f60 rw-s 00000000 00:01 8 /dev/zero (deleted)\n7f60-7f70 rw-p 00000000 00:00 0 \n";
        let all = [library, one, memory].concat();
        assert_eq!(seen(&all, &STACK).as_deref(), Some("/data/store"));
        assert_eq!(seen(&all, &["filemap_fault", "do_fault"]), None, "it may be the library");
        let other = format!("{all}7f80-7f90 -w-s 00000000 fe:01 10 /data/other\n");
        assert_eq!(seen(&other, &STACK), None);
        assert_eq!(seen("x\n", &STACK), None);
    }
}
