//! What is installed in folders of packages, by the lists that installers leave there.
//!
//! In: a folder inside a process's root, the first name of a module. Out: whether a list has it, and whether
//! what listed it was installed from a folder or a repository of its owner's (PEP 610). Reads are bounded.

use std::collections::HashMap;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use rustix::fs::{Dir, OFlags};

use crate::fact::process::version::open_inside;
use crate::fact::{Proc, read};

/// Entries of a folder looked at.
const MAX_ENTRIES: usize = 50_000;
/// Bytes of names of lists in one folder.
const MAX_NAMES_BYTES: usize = 512 * 1024;
/// What is remembered, and the bytes of it.
const MAX_REMEMBERED: usize = 8192;
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Of one list this much is read.
const MAX_LIST_BYTES: u64 = 1024 * 1024;
/// Of all lists of a folder this much is read for one name.
const MAX_LISTS_BYTES: u64 = 16 * 1024 * 1024;

/// Whether a list has a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// None has it.
    No,
    /// A package's has.
    Package,
    /// One has that was installed from where its owner keeps it, not from an index of packages.
    Local,
}

/// Folders of one root, and what is listed there. When its memory is used up all is forgotten.
#[derive(Debug, Default)]
pub(super) struct Folders {
    /// By path: names of their `*.dist-info` folders.
    lists: HashMap<String, Vec<String>>,
    /// By folder and first name of a module.
    known: HashMap<(String, String), Listed>,
    /// By path: where it really is; `None`: it is not there.
    real: HashMap<String, Option<String>>,
    bytes: usize,
}

impl Folders {
    /// Whether packages are installed in a folder.
    pub(super) fn has_packages(&mut self, proc: &Proc, tgid: u32, folder: &str) -> bool {
        !self.lists(proc, tgid, folder).is_empty()
    }

    /// Whether a module whose first name this is was installed in a folder.
    pub(super) fn listed(&mut self, proc: &Proc, tgid: u32, folder: &str, first: &str) -> Listed {
        let key = (folder.to_owned(), first.to_owned());
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let found = find(proc, tgid, folder, self.lists(proc, tgid, folder), first);
        self.make_room(folder.len() + first.len());
        self.known.insert(key, found);
        found
    }

    /// Where a folder or file really is, links followed, within the root of a process.
    pub(super) fn real(&mut self, proc: &Proc, tgid: u32, path: &str) -> Option<String> {
        if let Some(known) = self.real.get(path) {
            return known.clone();
        }
        let real = real_path(proc, tgid, path);
        self.make_room(path.len() + real.as_ref().map_or(0, String::len));
        self.real.insert(path.to_owned(), real.clone());
        real
    }

    fn lists(&mut self, proc: &Proc, tgid: u32, folder: &str) -> &[String] {
        if !self.lists.contains_key(folder) {
            let lists = lists_in(proc, tgid, folder).unwrap_or_default();
            self.make_room(folder.len() + lists.iter().map(|name| name.len() + 24).sum::<usize>());
            self.lists.insert(folder.to_owned(), lists);
        }
        self.lists.get(folder).map_or(&[], Vec::as_slice)
    }

    fn make_room(&mut self, bytes: usize) {
        let remembered = self.lists.len() + self.known.len() + self.real.len();
        if remembered >= MAX_REMEMBERED || self.bytes.saturating_add(bytes) > MAX_BYTES {
            *self = Self::default();
        }
        self.bytes += bytes;
    }
}

/// By what the kernel calls it once it is open, without the way to the process's root.
fn real_path(proc: &Proc, tgid: u32, path: &str) -> Option<String> {
    let name_of = |path: &str| {
        let file = open_inside(proc, tgid, path, OFlags::RDONLY)?;
        read::link(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd()))).ok()
    };
    let (root, real) = (name_of("/")?, name_of(path)?);
    let inside = real.strip_prefix(root.trim_end_matches('/')).filter(|inside| inside.starts_with('/'));
    inside.map(str::to_owned)
}

fn lists_in(proc: &Proc, tgid: u32, folder: &str) -> Option<Vec<String>> {
    let folder = open_inside(proc, tgid, folder, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let entries = Dir::read_from(&folder).ok()?.take(MAX_ENTRIES).map_while(Result::ok);
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut left = MAX_NAMES_BYTES;
    let lists = names.filter(|name| name.ends_with(".dist-info")).take_while(|name| {
        let rest = left.checked_sub(name.len());
        left = rest.unwrap_or(0);
        rest.is_some()
    });
    Some(lists.collect())
}

fn find(proc: &Proc, tgid: u32, folder: &str, lists: &[String], first: &str) -> Listed {
    // Most packages are called as what they are installed by: those lists come first.
    let is_called_so = |list: &&String| {
        list.split('-').next().is_some_and(|name| name.replace('.', "_").eq_ignore_ascii_case(first))
    };
    let (likely, others): (Vec<&String>, Vec<&String>) = lists.iter().partition(is_called_so);
    let mut left = MAX_LISTS_BYTES;
    for list in likely.into_iter().chain(others) {
        let record = text(proc, tgid, &format!("{folder}/{list}/RECORD"), MAX_LIST_BYTES.min(left));
        left = left.saturating_sub(record.len() as u64);
        let has_it = record.lines().any(|line| {
            let rest = line.strip_prefix(first);
            rest.is_some_and(|rest| rest.starts_with('/') || rest.starts_with(".py,"))
        });
        // Of what is installed to be edited in place the list has no file; such files lie elsewhere.
        if has_it {
            let origin = text(proc, tgid, &format!("{folder}/{list}/direct_url.json"), 64 * 1024);
            return if origin.is_empty() { Listed::Package } else { Listed::Local };
        }
        if left == 0 {
            break;
        }
    }
    Listed::No
}

fn text(proc: &Proc, tgid: u32, path: &str, most_bytes: u64) -> String {
    let mut bytes = Vec::new();
    if let Some(file) = open_inside(proc, tgid, path, OFlags::RDONLY) {
        let _ = file.take(most_bytes).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
