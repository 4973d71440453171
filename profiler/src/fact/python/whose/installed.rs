//! What is installed in folders of packages, by the lists that installers leave there.
//!
//! In: a folder inside a process's root, the first name of a module. Out: whether a list has it, and whether
//! what listed it was installed from a folder or a repository of its owner's (PEP 610). Reads are bounded.

use std::collections::HashMap;
use std::io::Read as _;

use rustix::fs::{Dir, OFlags};

use crate::fact::Proc;
use crate::fact::process::version::open_inside;

/// Entries of a folder looked at.
const MAX_ENTRIES: usize = 50_000;
/// Folders remembered.
const MAX_FOLDERS: usize = 4096;
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

/// Folders, and what is listed there.
#[derive(Debug, Default)]
pub(super) struct Folders {
    /// By path: names of their `*.dist-info` folders.
    lists: HashMap<String, Vec<String>>,
    /// By folder and first name of a module.
    known: HashMap<(String, String), Listed>,
}

impl Folders {
    /// Whether packages are installed in a folder.
    pub(super) fn has_packages(&mut self, proc: &Proc, tgid: u32, folder: &str) -> bool {
        if let Some(lists) = self.lists.get(folder) {
            return !lists.is_empty();
        }
        let lists = lists_in(proc, tgid, folder).unwrap_or_default();
        let has_some = !lists.is_empty();
        if self.lists.len() < MAX_FOLDERS {
            self.lists.insert(folder.to_owned(), lists);
        }
        has_some
    }

    /// Whether a module whose first name this is was installed in a folder.
    pub(super) fn listed(&mut self, proc: &Proc, tgid: u32, folder: &str, first: &str) -> Listed {
        let key = (folder.to_owned(), first.to_owned());
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let lists = self.lists.get(folder).map_or(&[][..], Vec::as_slice);
        let found = find(proc, tgid, folder, lists, first);
        if self.known.len() < MAX_FOLDERS {
            self.known.insert(key, found);
        }
        found
    }
}

fn lists_in(proc: &Proc, tgid: u32, folder: &str) -> Option<Vec<String>> {
    let folder = open_inside(proc, tgid, folder, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let entries = Dir::read_from(&folder).ok()?.take(MAX_ENTRIES).map_while(Result::ok);
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    Some(names.filter(|name| name.ends_with(".dist-info")).collect())
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
