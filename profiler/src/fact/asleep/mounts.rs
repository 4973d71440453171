//! Which file system a file is on.
//!
//! In: `/proc/PID/mountinfo`. Out: [`Mount`]s, by number or by path. A table is kept for each mount namespace
//! for some seconds: a host with many containers has thousands of lines.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use crate::fact::{Proc, read};

/// Bytes of a table read.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Lines kept of a table.
const MAX_MOUNTS: usize = 8192;
/// Tables kept.
const MAX_TABLES: usize = 16;
/// How long a table is kept.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// File systems whose server may not answer. What lies there is named, and not looked at.
const REMOTE: [&str; 12] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "lustre", "gfs2", "ocfs2", "glusterfs"];

/// Where a file system is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mount {
    /// Where.
    pub(super) point: String,
    /// Its kind.
    pub(super) kind: String,
    /// Number of its device, as `/proc/locks` has it.
    pub(super) device: (u32, u32),
}

impl Mount {
    /// Whether a look at a file there ends soon, whatever happens elsewhere.
    pub(super) fn is_local(&self) -> bool {
        !REMOTE.contains(&self.kind.as_str()) && !self.kind.starts_with("fuse")
    }
}

/// A table of one mount namespace, in the order of the mounts.
#[derive(Debug)]
struct Table {
    mounts: Vec<(u32, Mount)>,
    read_at: Instant,
}

/// Tables of mount namespaces.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    tables: BTreeMap<u64, Table>,
}

impl Mounts {
    /// The mount with this number.
    pub(super) fn by_id(&mut self, proc: &Proc, tgid: u32, id: u32) -> Option<Mount> {
        let table = self.table(proc, tgid)?;
        table.mounts.iter().find(|(known, _)| *known == id).map(|(_, mount)| mount.clone())
    }

    /// The mount that a path leads into, by its name alone.
    pub(super) fn by_path(&mut self, proc: &Proc, tgid: u32, path: &str) -> Option<Mount> {
        let holds = |mount: &Mount| {
            let rest = path.strip_prefix(mount.point.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let table = self.table(proc, tgid)?;
        let found = table.mounts.iter().filter(|(_, mount)| holds(mount));
        // Of several at one place the last covers the others.
        found.max_by_key(|(_, mount)| mount.point.len()).map(|(_, mount)| mount.clone())
    }

    fn table(&mut self, proc: &Proc, tgid: u32) -> Option<&Table> {
        let namespace = std::fs::metadata(proc.of(tgid, "ns/mnt")).ok()?.ino();
        let is_old = |table: &Table| table.read_at.elapsed() > KEPT_FOR;
        if self.tables.get(&namespace).is_none_or(is_old) {
            self.tables.retain(|_, table| !is_old(table));
            if self.tables.len() >= MAX_TABLES {
                return None;
            }
            let mut mounts = Vec::new();
            read::lines(&proc.of(tgid, "mountinfo"), MAX_BYTES, |line| {
                mounts.extend(parse(line));
                mounts.len() < MAX_MOUNTS
            })
            .ok()?;
            self.tables.insert(namespace, Table { mounts, read_at: Instant::now() });
        }
        self.tables.get(&namespace)
    }
}

/// `36 35 98:0 / /mnt rw,noatime shared:1 - ext3 /dev/root rw`; blanks in the point are `\040`.
fn parse(line: &str) -> Option<(u32, Mount)> {
    let mut words = line.split(' ');
    let id = words.next()?.parse().ok()?;
    let (major, minor) = words.nth(1)?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let point = unescaped(words.nth(1)?);
    let kind = words.skip_while(|word| *word != "-").nth(1)?.to_owned();
    Some((id, Mount { point, kind, device }))
}

/// `\040` and its like: three octal digits.
fn unescaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        result.push_str(before);
        let code = behind.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                result.push(char::from(code));
                rest = behind.get(3..).unwrap_or_default();
            }
            None => {
                result.push('\\');
                rest = behind;
            }
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: [&str; 5] = [
        "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw",
        "36 22 0:55 / /mnt/a\\040b rw,noatime shared:1 master:2 - nfs4 host:/x rw",
        "37 22 0:56 / /mnt rw - tmpfs tmpfs rw",
        "38 22 0:57 / /mnt rw - fuse.sshfs x rw",
        "x y",
    ];

    #[test]
    fn lines_are_read_with_what_the_kernel_escapes() {
        let (id, mount) = parse(TABLE[1]).unwrap();
        let expected = Mount { point: "/mnt/a b".to_owned(), kind: "nfs4".to_owned(), device: (0, 55) };
        assert_eq!((id, &mount), (36, &expected));
        assert!(!mount.is_local());
        for broken in ["", "1", "1 2 3", "1 2 3:4 / /x rw", "1 2 3:4 / /x rw -", "1 2 a:b / /x rw - ext4"] {
            assert_eq!(parse(broken), None, "{broken}");
        }
        assert_eq!(unescaped("a\\\\134\\9\\0é\\"), "a\\\\\\9\\0é\\");
    }

    #[test]
    fn a_path_is_on_the_longest_mount_that_holds_it_and_of_two_at_one_place_on_the_last() {
        let directory = tempfile::tempdir().unwrap();
        let process = directory.path().join("7");
        std::fs::create_dir_all(process.join("ns")).unwrap();
        std::fs::write(process.join("ns/mnt"), "").unwrap();
        std::fs::write(process.join("mountinfo"), TABLE.join("\n")).unwrap();
        let proc = Proc::at(directory.path());
        let mut mounts = Mounts::default();
        let mut kind = |path: &str| mounts.by_path(&proc, 7, path).map(|mount| mount.kind);
        assert_eq!(kind("/etc/x").as_deref(), Some("ext4"));
        assert_eq!(kind("/mnt/x").as_deref(), Some("fuse.sshfs"));
        assert_eq!(kind("/mnt/a b").as_deref(), Some("nfs4"));
        assert_eq!(kind("/mntx").as_deref(), Some("ext4"));
        assert_eq!(kind("x"), None);
        assert_eq!(mounts.by_id(&proc, 7, 37).map(|mount| mount.kind).as_deref(), Some("tmpfs"));
        assert_eq!(mounts.by_id(&proc, 8, 37), None);
    }
}
