//! What `apps/composed.py` and `apps/outsider.py` note by their own clocks.
//!
//! In: the files that their processes map. Out: [`Note`]s in the order of time, and a process that a server
//! waits for.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::child::Child;
use crate::environment;

/// Bytes of a record.
const RECORD_BYTES: usize = 24;
/// The first of the application's steps that is no hop: the leaf itself.
pub const LEAF: u8 = 8;
/// Computing that every request does before.
pub const BASE_CPU: u8 = 9;
/// A back end that every request asks before.
pub const BASE_BACK_END: u8 = 10;
/// Another leaf, beside the one that is looked for.
pub const DECOY: u8 = 11;
/// What somebody outside does: holds, or has stopped.
pub const OUTSIDE: u8 = 12;
/// The request itself, from the application's call to the response's end.
pub const REQUEST: u8 = 15;
/// In the number of a request that a server has sent to itself, beside that of the one it was sent for.
pub const INNER: u64 = 1 << 40;
/// In the number of a request that does not end before its client leaves.
pub const ENDLESS: u64 = 1 << 41;
/// In the number of who is no request.
pub const NOBODY_S: u64 = 1 << 42;
/// In the number of the server's main thread, beside that.
pub const MAIN: u64 = 1 << 43;

/// What is noted of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It begins, or is waited for.
    Enter,
    /// What was waited for is there.
    Got,
    /// It is over.
    Leave,
}

impl Mark {
    /// As the application writes it.
    pub const fn of(number: u8) -> Self {
        match number {
            0 => Self::Enter,
            1 => Self::Got,
            _ => Self::Leave,
        }
    }
}

/// One note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// Number of the request; 0: none.
    pub request: u64,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Which step: a hop from the outside, or one of this module's constants.
    pub step: u8,
    /// What of it.
    pub mark: Mark,
}

/// A directory for notes, in memory: a disk's writing back would stop who notes.
///
/// # Errors
///
/// Where it cannot be made.
pub fn directory() -> anyhow::Result<TempDir> {
    tempfile::Builder::new().prefix("wsgi-trace-notes-").tempdir_in("/dev/shm").context("no /dev/shm")
}

/// All notes of all processes so far.
///
/// # Errors
///
/// Where a file cannot be read, or is none of notes.
pub fn read(directory: &Path) -> anyhow::Result<Vec<Note>> {
    let mut notes = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let pid = name.strip_prefix("notes-").and_then(|pid| pid.parse().ok()).context("no notes")?;
        let bytes = std::fs::read(&path)?;
        let records = bytes.as_chunks::<RECORD_BYTES>().0.iter().map(|record| parse(record, pid));
        let before = notes.len();
        notes.extend(records.map_while(|note| note));
        ensure!((notes.len() - before) * RECORD_BYTES < bytes.len(), "{name} is full");
    }
    notes.sort_by_key(|note| note.at_ns);
    Ok(notes)
}

/// `None`: the end.
fn parse(record: &[u8], pid: u32) -> Option<Note> {
    let number = |from: usize| Some(u64::from_le_bytes(record.get(from..from + 8)?.try_into().ok()?));
    let at_ns = number(0).filter(|at_ns| *at_ns > 0)?;
    let tid = u32::from_le_bytes(record.get(16..20)?.try_into().ok()?);
    let mark = Mark::of(*record.get(21)?);
    Some(Note { at_ns, request: number(8)?, pid, tid, step: *record.get(20)?, mark })
}

/// A running `apps/outsider.py`; it lets go on what it has stopped when it is dropped.
#[derive(Debug)]
pub struct Outsider {
    child: Child,
}

impl Outsider {
    /// Starts one, and returns when what it makes is there.
    ///
    /// # Errors
    ///
    /// Where it does not come up.
    pub fn start(arguments: &[String], notes: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(environment::program("venv27", "python"));
        command.arg(crate::root().join("tests/apps/outsider.py")).args(arguments);
        command.env("NOTES_DIRECTORY", notes).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = Child::start(&mut command, "the outsider")?;
        let mut line = String::new();
        BufReader::new(child.take_stdout().context("no output")?).read_line(&mut line)?;
        ensure!(line == "ready\n", "the outsider said {line:?}");
        Ok(Self { child })
    }

    /// PID.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(at_ns: u64, request: u64, tid: u32, step: u8, mark: u8) -> Vec<u8> {
        let numbers = [at_ns.to_le_bytes(), request.to_le_bytes()].concat();
        [&numbers[..], &tid.to_le_bytes(), &[step, mark, 0, 0]].concat()
    }

    #[test]
    fn notes_of_all_processes_are_read_in_the_order_of_time_up_to_their_end() {
        let directory = tempfile::tempdir().unwrap();
        let empty = vec![0; RECORD_BYTES];
        let first = [record(20, 7, 71, LEAF, 0), record(50, 7, 71, LEAF, 2), empty.clone()].concat();
        std::fs::write(directory.path().join("notes-70"), first).unwrap();
        let second = [record(30, INNER | 7, 81, REQUEST, 1), empty].concat();
        std::fs::write(directory.path().join("notes-80"), second).unwrap();
        let note = |at_ns, request, pid, tid, step, mark| Note { at_ns, request, pid, tid, step, mark };
        assert_eq!(
            read(directory.path()).unwrap(),
            [
                note(20, 7, 70, 71, LEAF, Mark::Enter),
                note(30, INNER | 7, 80, 81, REQUEST, Mark::Got),
                note(50, 7, 70, 71, LEAF, Mark::Leave),
            ]
        );
        // Whether more was to be noted nobody knows.
        std::fs::write(directory.path().join("notes-90"), record(60, 8, 91, LEAF, 0)).unwrap();
        assert!(read(directory.path()).is_err());
    }
}
