//! Locks on files that threads wait for.
//!
//! In: a descriptor that a thread would lock, or a short sleep that SQLite takes. Out: the file and who holds
//! the lock.

use std::time::{Duration, Instant};

use profiler_core::fact::asleep::{ObjectSeen, OtherProcess};

use super::descriptor::Open;
use super::ends::{Ends, Which};
use super::locks::{FileNumber, Lock, Locks};
use super::{Found, Reader};
use crate::fact::read;

/// Bytes of the table read.
const MAX_BYTES: u64 = 1024 * 1024;
/// One reading serves all looks of a round.
const SERVES: Duration = Duration::from_millis(20);
/// After a reading there is a pause, so long for each byte: one lock is a hundred bytes, and takes the kernel
/// about a microsecond. (What a reading takes longer, it waits, and keeps nobody from his locks.)
const PAUSE_A_BYTE: Duration = Duration::from_micros(1);
/// Descriptors looked at for a database.
const MAX_DESCRIPTORS: usize = 1024;
/// Processes of the target looked through for who holds one.
const MAX_PROCESSES: usize = 256;
/// Processes named that hold a lock.
const MAX_HOLDERS: usize = 16;
/// How long SQLite's busy handler sleeps in the end, in nanoseconds (`sqliteDefaultBusyCallback`).
const BUSY_SLEEPS_NS: [u64; 2] = [50_000_000, 100_000_000];
/// `O_ACCMODE`, `O_RDWR`: so does SQLite open what it writes to.
const MODE: u32 = 3;
const READ_AND_WRITE: u32 = 2;
/// What SQLite keeps beside a database.
const BESIDE: [&str; 3] = ["-shm", "-wal", "-journal"];

/// The table of locks, as read last.
#[derive(Debug, Default)]
pub(super) struct LockTable {
    locks: Locks,
    read_at: Option<Instant>,
    pause: Duration,
}

impl Reader {
    /// The file of a descriptor that a thread waits to lock.
    pub(super) fn file_lock(&mut self, tgid: u32, fd: i32) -> Option<Found> {
        let fd = u32::try_from(fd).ok()?;
        let open = self.open(tgid, fd)?;
        let holders = open.number().and_then(|file| self.holders((tgid, fd), file, &open.link));
        // Closed and reused by another thread?
        self.open(tgid, fd).filter(|now| now.link == open.link)?;
        let file = open.file();
        let (holders, ends) = match holders {
            Some(holders) => (holders, None),
            None => {
                let ends = Ends { file: open.number(), ..Ends::of(&open.link, Which::Lockers { fd }) };
                (Vec::new(), open.number().map(|_| ends))
            }
        };
        Some(Found { object: ObjectSeen::FileLock { file, holders }, ends, again: None })
    }

    /// Who holds the lock that keeps a descriptor of a process waiting; `None`: an open file, and whose that
    /// is is to be found.
    fn holders(&mut self, (tgid, fd): (u32, u32), file: FileNumber, link: &str) -> Option<Vec<OtherProcess>> {
        let locks = self.read_locks()?.in_the_way(file, tgid).into_iter().cloned().collect::<Vec<_>>();
        let mut holders: Vec<u32> = Vec::new();
        for lock in &locks {
            match lock.tgid {
                // Of one that has ended a child may hold the open file.
                Some(holder) if lock.kind != "FLOCK" || self.has_locked(holder, link) => holders.push(holder),
                // An open file holds it. It is the target's own, most often.
                _ => {
                    let target = std::mem::take(&mut self.target);
                    for of in target.iter().copied().take(MAX_PROCESSES) {
                        let is_it = |at, open: &Open| {
                            (of, at) != (tgid, fd)
                                && open.info.locks.contains(&lock.kind)
                                && open.number() == Some(file)
                        };
                        if self.has_open(of, link, is_it) {
                            holders.push(of);
                        }
                    }
                    self.target = target;
                }
            }
        }
        if holders.is_empty() && !locks.is_empty() {
            return None;
        }
        holders.sort_unstable();
        holders.dedup();
        Some(holders.into_iter().take(MAX_HOLDERS).filter_map(|holder| self.process(holder)).collect())
    }

    /// Whether a process has the file open, with a lock on it.
    fn has_locked(&mut self, tgid: u32, link: &str) -> bool {
        self.has_open(tgid, link, |_, open| !open.info.locks.is_empty())
    }

    /// Whether one of the descriptors by which a process has this file open is as `wanted`.
    fn has_open(&mut self, tgid: u32, link: &str, wanted: impl Fn(u32, &Open) -> bool) -> bool {
        let numbers = read::numbers(&self.proc.of(tgid, "fd"), MAX_DESCRIPTORS).unwrap_or_default();
        numbers.into_iter().any(|fd| {
            let is_it = read::link(&self.proc.of(tgid, &format!("fd/{fd}"))).is_ok_and(|found| found == link);
            is_it && self.open(tgid, fd).is_some_and(|open| open.link == link && wanted(fd, &open))
        })
    }

    /// Files with paths that a process has open, of those that are `wanted`.
    fn open_files<'a>(
        &'a mut self,
        tgid: u32,
        wanted: impl Fn(&Open) -> bool + 'a,
    ) -> impl Iterator<Item = Open> + 'a {
        let numbers = read::numbers(&self.proc.of(tgid, "fd"), MAX_DESCRIPTORS).unwrap_or_default();
        numbers.into_iter().filter_map(move |fd| {
            let link = read::link(&self.proc.of(tgid, &format!("fd/{fd}"))).ok()?;
            let has_path = link.starts_with('/') && !link.starts_with("/dev/");
            has_path.then(|| self.open(tgid, fd)).flatten().filter(|open| wanted(open))
        })
    }

    /// A database of SQLite that the thread waits for: it sleeps as the busy handler does, and its process
    /// has open what another keeps locked. `None`: no file, or more than one, is it.
    pub(super) fn database_lock(&mut self, tgid: u32, address: u64) -> Option<Found> {
        let sleep_ns = self.time_at(tgid, address)?;
        if !BUSY_SLEEPS_NS.contains(&sleep_ns) {
            return None;
        }
        let is_written = |open: &Open| open.info.flags & MODE == READ_AND_WRITE;
        let files: Vec<Open> = self.open_files(tgid, is_written).collect();
        if files.is_empty() {
            return None;
        }
        let locks = self.read_locks()?;
        let mut database: Option<(&str, &Open)> = None;
        let mut holders: Vec<u32> = Vec::new();
        for open in &files {
            let Some(file) = open.number() else { continue };
            let held: Vec<&Lock> = locks.of_sqlite(file, &open.link);
            if held.is_empty() {
                continue;
            }
            let name = BESIDE.iter().find_map(|end| open.link.strip_suffix(end)).unwrap_or(&open.link);
            if database.is_some_and(|(known, _)| known != name) {
                return None;
            }
            database = Some((name, open));
            holders.extend(held.iter().filter_map(|lock| lock.tgid));
        }
        let (name, open) = database?;
        let file = super::descriptor::file(name, false, open.mount.as_ref());
        holders.sort_unstable();
        holders.dedup();
        // Two connections of one process exclude one another too; another process comes first.
        if holders.iter().any(|holder| *holder != tgid) {
            holders.retain(|holder| *holder != tgid);
        }
        let holders =
            holders.into_iter().take(MAX_HOLDERS).filter_map(|holder| self.process(holder)).collect();
        Some(ObjectSeen::FileLock { file, holders }.into())
    }

    /// The table, if it may be read now.
    fn read_locks(&mut self) -> Option<&Locks> {
        let age = self.locks.read_at.map(|read_at| read_at.elapsed());
        if age.is_none_or(|age| age > SERVES) {
            if age.is_some_and(|age| age < self.locks.pause) {
                return None;
            }
            let text = read::text(&self.proc.path("locks"), MAX_BYTES).ok()?;
            let pause = PAUSE_A_BYTE * u32::try_from(text.len()).unwrap_or(u32::MAX);
            self.locks = LockTable { locks: Locks::parse(&text), read_at: Some(Instant::now()), pause };
        }
        Some(&self.locks.locks)
    }
}
