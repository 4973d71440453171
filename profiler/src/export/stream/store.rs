//! The sets of one agent in a directory that others may use too.
//!
//! In: the directory, a budget. Out: names for new sets, the oldest ones removed where the budget wants it. A
//! file's name says whose it is and which set: `AGENT-NUMBER-RECORDING.parquet`. Numbers go up by one, so
//! which is oldest does not depend on a clock. Files of others, and those that `export` wrote, are not
//! touched.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{DirBuilder, File, read_dir, remove_dir, remove_file};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use parquet::file::metadata::ParquetMetaDataReader;
use sha2::{Digest as _, Sha256};

use super::super::ExportError;
use super::super::file::UNFINISHED;
use super::super::place::{PRIVATE_DIRECTORY, value};
use super::super::tables::{self, requests, windows};

/// Bytes of an agent's name: enough that no two hosts of a fleet share one.
const AGENT_BYTES: usize = 4;

/// The directory, as one agent sees it.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    /// Directory of the service in each table.
    service: String,
    agent: String,
    next: u64,
}

/// What keeping a budget did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) stored_bytes: u64,
    pub(super) requests_removed: u64,
    pub(super) windows_removed: u64,
}

/// One set as it lies there.
#[derive(Debug, Default)]
struct Found {
    files: Vec<(&'static str, PathBuf)>,
    bytes: u64,
}

impl Store {
    /// Looks at the directory, which is made where it does not exist.
    ///
    /// # Errors
    /// If it cannot be made, or nothing can be made in it.
    pub(super) fn open(root: &Path, service: &str, machine: &str) -> Result<Self, ExportError> {
        let failed = |source| ExportError::Directory { path: root.to_path_buf(), source };
        match DirBuilder::new().mode(PRIVATE_DIRECTORY).create(root) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(failed(source)),
        }
        let mut hash = Sha256::new();
        hash.update(machine.as_bytes());
        hash.update([0]);
        hash.update(service.as_bytes());
        let agent = hash.finalize().iter().take(AGENT_BYTES).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        // A mistake in its name or its mode is said now, and not after the first set.
        let probe = root.join(format!(".{agent}.{}.probe", std::process::id()));
        File::create(&probe).map_err(failed)?;
        let _ = remove_file(&probe);
        let mut store =
            Self { root: root.to_path_buf(), service: format!("service={}", value(service)), agent, next: 0 };
        let last = store.sets().last_key_value().map(|((number, _), _)| *number);
        store.next = last.map_or(0, |last| last.saturating_add(1));
        Ok(store)
    }

    /// The name of the next set's files, without its end.
    pub(super) fn next_stem(&mut self, recording_id: &str) -> String {
        let stem = format!("{}-{:08}-{recording_id}", self.agent, self.next);
        self.next = self.next.saturating_add(1);
        stem
    }

    /// Removes the oldest sets until the rest takes no more than this. The newest one stays, whatever it
    /// takes.
    pub(super) fn keep_within(&mut self, limit_bytes: u64) -> Kept {
        let sets = self.sets();
        let mut kept = Kept { stored_bytes: sets.values().map(|set| set.bytes).sum(), ..Kept::default() };
        let old = sets.len().saturating_sub(1);
        for set in sets.into_values().take(old) {
            if kept.stored_bytes <= limit_bytes {
                break;
            }
            let Some((requests, windows)) = set.remove() else { break };
            kept.requests_removed = kept.requests_removed.saturating_add(requests);
            kept.windows_removed = kept.windows_removed.saturating_add(windows);
            kept.stored_bytes = kept.stored_bytes.saturating_sub(set.bytes);
        }
        kept
    }

    /// Removes what an agent of this name left unfinished and no longer writes; how many files.
    pub(super) fn remove_abandoned(&self) -> u64 {
        let begins = format!(".{}-", self.agent);
        let mut removed = 0_u64;
        self.each_file(&mut |_, path| {
            let name = name_of(path);
            if name.starts_with(&begins) && name.ends_with(UNFINISHED) && !is_being_written(path) {
                removed = removed.saturating_add(u64::from(remove_file(path).is_ok()));
            }
        });
        removed
    }

    /// The whole sets of this agent, oldest first.
    fn sets(&self) -> BTreeMap<(u64, String), Found> {
        let mut sets: BTreeMap<(u64, String), Found> = BTreeMap::new();
        self.each_file(&mut |table, path| {
            let Some(key) = self.set_of(name_of(path)) else { return };
            let Ok(metadata) = path.symlink_metadata() else { return };
            let set = sets.entry(key).or_default();
            set.bytes = set.bytes.saturating_add(metadata.len());
            set.files.push((table, path.to_path_buf()));
        });
        sets
    }

    /// Number and recording of a set, by the name of one of its files.
    fn set_of(&self, name: &str) -> Option<(u64, String)> {
        let rest = name.strip_prefix(&self.agent)?.strip_prefix('-')?.strip_suffix(".parquet")?;
        let (number, recording) = rest.split_once('-')?;
        Some((number.parse().ok()?, recording.to_owned()))
    }

    /// Every file of the service: below `TABLE/service=NAME/date=…/host=…`.
    fn each_file(&self, take: &mut dyn FnMut(&'static str, &Path)) {
        for table in tables::all() {
            for date in directories(&self.root.join(table.name).join(&self.service)) {
                for host in directories(&date) {
                    for entry in read_dir(&host).into_iter().flatten().flatten() {
                        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                            take(table.name, &entry.path());
                        }
                    }
                }
            }
        }
    }
}

impl Found {
    /// Removes its files, that of `windows` first: who finds a window finds all of it. Its requests and
    /// windows; `None`: it cannot be removed.
    fn remove(&self) -> Option<(u64, u64)> {
        let of = |table: &str| {
            let files = self.files.iter().filter(|(name, _)| *name == table);
            files.map(|(_, path)| rows(path)).sum::<u64>()
        };
        let counts = (of(requests::NAME), of(windows::NAME));
        let (first, rest): (Vec<_>, Vec<_>) =
            self.files.iter().partition(|(table, _)| *table == windows::NAME);
        for (_, path) in first.into_iter().chain(rest) {
            match remove_file(path) {
                // Another agent may have removed it just now.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return None,
                _ => {}
            }
            for directory in path.ancestors().skip(1).take(2) {
                // Only where nothing is left in it.
                let _ = remove_dir(directory);
            }
        }
        Some(counts)
    }
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Directories in a directory; a link is none.
fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Whether somebody holds the lock on it, or it cannot be known.
fn is_being_written(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock().is_err())
}

/// Rows of a file, by its end; 0 where it cannot be read.
fn rows(path: &Path) -> u64 {
    let Ok(file) = File::open(path) else { return 0 };
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file);
    metadata.map_or(0, |metadata| u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0))
}
