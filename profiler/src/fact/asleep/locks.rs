//! Who holds locks on files.
//!
//! In: the text of `/proc/locks`. Out: [`Lock`]s. To read it the kernel stops all that take or release locks
//! for a moment, so it is read only for a thread that waits for one, and once for all that do.

use std::collections::BTreeMap;

/// Lines of the table that are kept.
const MAX_LOCKS: usize = 16_384;

/// A lock, or a wait for one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lock {
    /// `POSIX`, `FLOCK`, `OFDLCK` …
    pub(super) kind: String,
    /// It lets no other lock of its kind in.
    pub(super) is_exclusive: bool,
    /// Process that took it, or waits; `None`: the lock is of an open file, or of a process that is not
    /// seen from here.
    pub(super) tgid: Option<u32>,
    /// The file.
    pub(super) file: FileNumber,
    /// First byte that it covers.
    pub(super) from: u64,
    /// Last byte that it covers.
    pub(super) until: u64,
}

/// What distinguishes a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileNumber {
    /// Device of its file system.
    pub(super) device: (u32, u32),
    /// Inode.
    pub(super) inode: u64,
}

/// All locks, each with who waits for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Locks {
    held: Vec<(Lock, Vec<Lock>)>,
}

/// Bytes by which SQLite's processes exclude one another: pending, reserved, and 510 that are shared.
const SQLITE: (u64, u64) = (0x4000_0000, 0x4000_01ff);
/// The same in the memory that they share (`-shm`) if there is a write-ahead log.
const SQLITE_SHARED: (u64, u64) = (120, 128);
/// How the name of that file ends.
const SHARED_ENDS: &str = "-shm";

impl Locks {
    /// Of the text.
    pub(super) fn parse(text: &str) -> Self {
        let mut held: Vec<(Lock, Vec<Lock>)> = Vec::new();
        // A wait stands behind the lock that it is for, under the same number.
        let mut by_number: BTreeMap<&str, usize> = BTreeMap::new();
        for line in text.lines().take(MAX_LOCKS) {
            let Some((number, rest)) = line.split_once(':') else { continue };
            let mut words = rest.split_ascii_whitespace().peekable();
            let waits = words.next_if_eq(&"->").is_some();
            let Some(lock) = parse(words) else { continue };
            match by_number.get(number).and_then(|place| held.get_mut(*place)) {
                Some((_, waiting)) if waits => waiting.push(lock),
                _ if waits => {}
                _ => {
                    by_number.insert(number, held.len());
                    held.push((lock, Vec::new()));
                }
            }
        }
        Self { held }
    }

    /// The locks on a file for one of which a process waits; where that is not said, all locks of others on
    /// it.
    pub(super) fn in_the_way(&self, file: FileNumber, tgid: u32) -> Vec<&Lock> {
        let of_file = || self.held.iter().filter(|(lock, _)| lock.file == file);
        let is_ours = |lock: &&Lock| lock.tgid == Some(tgid);
        let waited_for: Vec<&Lock> = of_file()
            .filter(|(_, waiting)| waiting.iter().any(|lock| is_ours(&lock)))
            .map(|(lock, _)| lock)
            .collect();
        if !waited_for.is_empty() {
            return waited_for;
        }
        of_file().map(|(lock, _)| lock).filter(|lock| !is_ours(lock)).collect()
    }

    /// The locks by which a database of SQLite keeps others out.
    pub(super) fn of_sqlite(&self, file: FileNumber, path: &str) -> Vec<&Lock> {
        let within = |lock: &Lock, (from, until): (u64, u64)| lock.from >= from && lock.until <= until;
        let range = if path.ends_with(SHARED_ENDS) { SQLITE_SHARED } else { SQLITE };
        let is_it = |lock: &&Lock| {
            lock.file == file
                && lock.is_exclusive
                && matches!(lock.kind.as_str(), "POSIX" | "OFDLCK")
                && within(lock, range)
        };
        self.held.iter().map(|(lock, _)| lock).filter(is_it).collect()
    }
}

/// `POSIX  ADVISORY  WRITE 359 00:13:11691 0 EOF`: the device in hexadecimal, the inode not.
fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Lock> {
    let kind = words.next()?.to_owned();
    let mode = words.nth(1)?;
    let tgid = words.next()?.parse().ok();
    let mut file = words.next()?.split(':');
    let mut device = || u32::from_str_radix(file.next()?, 16).ok();
    let device = (device()?, device()?);
    let inode = file.next()?.parse().ok()?;
    let from = words.next()?.parse().ok()?;
    let until = words.next()?;
    let until = if until == "EOF" { u64::MAX } else { until.parse().ok()? };
    Some(Lock {
        kind,
        is_exclusive: mode == "WRITE",
        tgid: tgid.filter(|tgid| *tgid > 0),
        file: FileNumber { device, inode },
        from,
        until,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\
1: POSIX  ADVISORY  WRITE 100 fe:00:131 0 EOF
1: -> POSIX  ADVISORY  WRITE 101 fe:00:131 0 EOF
1:  -> POSIX  ADVISORY  READ 102 fe:00:131 0 EOF
2: FLOCK  ADVISORY  WRITE 103 fe:00:131 0 EOF
3: OFDLCK ADVISORY  READ -1 fe:00:132 5 9
4: POSIX  ADVISORY  WRITE 104 fe:01:77 1073741825 1073741825
5: POSIX  ADVISORY  READ 105 fe:01:77 1073741826 1073742335
6: POSIX  ADVISORY  WRITE 106 fe:01:78 120 120
7: LEASE  ACTIVE    WRITE 107 fe:01:79 0 EOF
9: -> POSIX  ADVISORY  WRITE 1 fe:01:79 0 EOF
x";

    fn file(device: (u32, u32), inode: u64) -> FileNumber {
        FileNumber { device, inode }
    }

    fn holders(locks: &[&Lock]) -> Vec<Option<u32>> {
        locks.iter().map(|lock| lock.tgid).collect()
    }

    #[test]
    fn who_waits_is_told_who_holds_the_very_lock() {
        let locks = Locks::parse(TEXT);
        for waits in [101, 102] {
            assert_eq!(holders(&locks.in_the_way(file((254, 0), 131), waits)), [Some(100)]);
        }
        assert_eq!(holders(&locks.in_the_way(file((254, 0), 131), 103)), [Some(100)]);
        assert_eq!(holders(&locks.in_the_way(file((254, 0), 131), 9)), [Some(100), Some(103)]);
        let of_file = locks.in_the_way(file((254, 0), 132), 9);
        assert_eq!((holders(&of_file), of_file[0].from, of_file[0].until), (vec![None], 5, 9));
        assert!(locks.in_the_way(file((0, 0), 131), 9).is_empty());
    }

    #[test]
    fn sqlite_is_known_by_the_bytes_that_it_locks() {
        let locks = Locks::parse(TEXT);
        assert_eq!(holders(&locks.of_sqlite(file((254, 1), 77), "/srv/app.db")), [Some(104)]);
        assert_eq!(holders(&locks.of_sqlite(file((254, 1), 78), "/srv/app.db-shm")), [Some(106)]);
        assert!(locks.of_sqlite(file((254, 1), 78), "/srv/app.db").is_empty());
        assert!(locks.of_sqlite(file((254, 0), 131), "/srv/app.db").is_empty());
    }

    proptest! {
        #[test]
        fn no_table_makes_it_panic(text in "([0-9A-Z:> -]{0,60}\n|.*\n){0,8}") {
            let _ = Locks::parse(&text).in_the_way(FileNumber::default(), 1);
        }
    }
}
