//! What the kernel says of an open file.
//!
//! In: the text of `/proc/PID/fdinfo/N`. Out: [`FdInfo`].

use std::path::Path;

use crate::fact::read;

/// Bytes read: the list of an epoll instance may be long.
const MAX_BYTES: u64 = 64 * 1024;
/// `O_ACCMODE`, `O_RDONLY`, `O_WRONLY`.
const MODE: u32 = 3;
const READS: u32 = 0;
const WRITES: u32 = 1;

/// An open file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FdInfo {
    /// As for `open`.
    pub(super) flags: u32,
    /// Where it is mounted.
    pub(super) mount_id: u32,
    /// Inode; 0: not said (before Linux 5.14).
    pub(super) inode: u64,
    /// Of the descriptor of a process: its number, as this `/proc` has it.
    pub(super) process: Option<u32>,
    /// Of an epoll instance: one of the descriptors in its list, and how many there are.
    pub(super) interest: (Option<i32>, usize),
    /// Kinds of the locks on it that this open file, or its process, holds: `POSIX`, `FLOCK`, `OFDLCK`.
    pub(super) locks: Vec<String>,
}

impl FdInfo {
    /// Reads it.
    pub(super) fn read(path: &Path) -> Option<Self> {
        read::text(path, MAX_BYTES).ok().map(|text| Self::parse(&text))
    }

    /// Of the text. What is not understood is left out.
    pub(super) fn parse(text: &str) -> Self {
        let mut info = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            let mut words = value.split_ascii_whitespace();
            let first = words.next().unwrap_or_default();
            match name.trim() {
                "flags" => info.flags = u32::from_str_radix(first, 8).unwrap_or(0),
                "mnt_id" => info.mount_id = first.parse().unwrap_or(0),
                "ino" => info.inode = first.parse().unwrap_or(0),
                "Pid" => info.process = first.parse().ok(),
                "tfd" => {
                    let (one, count) = &mut info.interest;
                    *one = first.parse().ok();
                    *count += 1;
                }
                // `lock: 1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF`
                "lock" => info.locks.extend(words.next().map(str::to_owned)),
                _ => {}
            }
        }
        info
    }

    /// Whether it can be read from; whether it can be written to.
    pub(super) const fn directions(&self) -> (bool, bool) {
        (self.flags & MODE != WRITES, self.flags & MODE != READS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_described() {
        let text = "pos:\t0\nflags:\t0100002\nmnt_id:\t29\nino:\t131\nlock:\t1: FLOCK  ADVISORY  WRITE 359 00:13:131 0 EOF\n";
        let info = FdInfo::parse(text);
        assert_eq!((info.mount_id, info.inode, info.locks.as_slice()), (29, 131, &["FLOCK".to_owned()][..]));
        assert_eq!(info.directions(), (true, true));
        assert_eq!(FdInfo::parse("flags:\t01\n").directions(), (false, true));
        assert_eq!(FdInfo::parse("flags:\t0\n").directions(), (true, false));
        let epoll = "tfd:        7 events:       19 data:  7  pos:0 ino:5 sdev:e\ntfd: 8 events: 19\n";
        assert_eq!(FdInfo::parse(epoll).interest.1, 2);
        assert_eq!(FdInfo::parse("Pid:\t42\nNSpid:\t42\n").process, Some(42));
        assert_eq!(FdInfo::parse("Pid:\t-1\nino:\n\nx\n:").process, None);
    }
}
