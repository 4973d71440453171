//! Other processes: who has an open file, and what one is at.
//!
//! In: what links of descriptors say (`pipe:[7]`), `/proc`. Out: [`Holder`]s by link, [`OtherProcess`]. One
//! look through all processes serves everyone who asks at a time. It is bounded, and comes no more often
//! than costs a hundredth of a core.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::time::{Duration, Instant};

use profiler_core::fact::asleep::OtherProcess;

use super::call::Call;
use super::state;
use crate::fact::{Proc, read};

/// Processes looked through.
const MAX_PROCESSES: usize = 65_536;
/// Descriptors of one process looked at.
const MAX_DESCRIPTORS: usize = 16_384;
/// Holders kept of one file.
const MAX_HOLDERS: usize = 16;
/// Longest look.
const LONGEST: Duration = Duration::from_millis(50);
/// A look that took so long comes again after a hundred times as long.
const PAUSE: u32 = 100;
/// Files of which the holders are remembered.
const MAX_KNOWN: usize = 1024;

/// A process that has a file open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Holder {
    /// Process.
    pub(super) tgid: u32,
    /// One descriptor of the file there.
    pub(super) fd: u32,
}

/// Looks through processes.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// When the next look may be taken.
    next: Option<Instant>,
    known: BTreeMap<String, Vec<Holder>>,
}

impl Others {
    /// When the next look may be taken; `None`: now.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.next?.checked_duration_since(Instant::now()).filter(|pause| !pause.is_zero())
    }

    /// Who is known to have had a file open, of those that have it open still; `None`: nobody is known.
    pub(super) fn known(&mut self, proc: &Proc, link: &str) -> Option<Vec<Holder>> {
        let holders = self.known.get_mut(link)?;
        holders.retain(|holder| {
            read::link(&proc.of(holder.tgid, &format!("fd/{}", holder.fd))).is_ok_and(|now| now == link)
        });
        if holders.is_empty() {
            self.known.remove(link);
            return None;
        }
        Some(holders.clone())
    }

    /// Looks through these processes (`None`: all) for who has one of these files open. Nothing, if it is too
    /// early for that.
    pub(super) fn look(&mut self, proc: &Proc, links: &BTreeSet<String>, only: Option<&[u32]>) {
        if links.is_empty() || self.pause().is_some() {
            return;
        }
        let began = Instant::now();
        let all = only.map_or_else(
            || read::numbers(&proc.path(""), MAX_PROCESSES).unwrap_or_default(),
            <[u32]>::to_vec,
        );
        let own = std::process::id();
        if self.known.len().saturating_add(links.len()) > MAX_KNOWN {
            self.known.clear();
        }
        for link in links.iter().take(MAX_KNOWN) {
            self.known.remove(link);
        }
        for tgid in all.into_iter().filter(|tgid| *tgid != own) {
            self.look_through(proc, tgid, links);
            if began.elapsed() > LONGEST {
                break;
            }
        }
        self.next = Some(Instant::now() + began.elapsed() * PAUSE);
    }

    fn look_through(&mut self, proc: &Proc, tgid: u32, links: &BTreeSet<String>) {
        let path = proc.of(tgid, "fd");
        let (Ok(numbers), Ok(directory)) = (read::numbers(&path, MAX_DESCRIPTORS), File::open(&path)) else {
            return;
        };
        let mut room = Vec::new();
        for fd in numbers {
            let Ok(link) = rustix::fs::readlinkat(&directory, fd.to_string(), room) else {
                room = Vec::new();
                continue;
            };
            if let Some(link) = link.to_str().ok().and_then(|link| links.get(link)) {
                let holders = self.known.entry(link.clone()).or_default();
                // Every descriptor counts: a process may have both ends of a pipe.
                if holders.len() < MAX_HOLDERS {
                    holders.push(Holder { tgid, fd });
                }
            }
            room = link.into_bytes();
        }
    }
}

/// What a process is at, by its main thread; `None`: it is gone.
pub(super) fn process(proc: &Proc, tgid: u32) -> Option<OtherProcess> {
    let comm = read::text(&proc.of(tgid, "comm"), 64).ok()?.trim_end_matches('\n').to_owned();
    let stat = read::text(&proc.of(tgid, "stat"), 4096).ok();
    let call = read::text(&proc.of(tgid, "syscall"), 4096).ok().and_then(|text| Call::parse(&text).ok());
    Some(OtherProcess {
        tgid,
        comm,
        state: stat.as_deref().and_then(state::letter),
        system_call: call.and_then(|call| call.number),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn descriptor(proc: &std::path::Path, tgid: u32, fd: u32, link: &str) {
        fs::create_dir_all(proc.join(format!("{tgid}/fd"))).unwrap();
        fs::write(proc.join(format!("{tgid}/comm")), format!("p{tgid}\n")).unwrap();
        symlink(link, proc.join(format!("{tgid}/fd/{fd}"))).unwrap();
    }

    #[test]
    fn holders_of_all_files_are_found_in_one_look_and_remembered_while_they_hold_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for (tgid, fd, link) in
            [(11, 3, "pipe:[7]"), (11, 4, "pipe:[7]"), (12, 5, "socket:[8]"), (13, 0, "x")]
        {
            descriptor(path, tgid, fd, link);
        }
        let proc = Proc::at(path);
        let links = BTreeSet::from(["pipe:[7]".to_owned(), "socket:[8]".to_owned()]);
        let mut others = Others::default();
        others.look(&proc, &links, None);
        let holder = |tgid, fd| Holder { tgid, fd };
        assert_eq!(others.known(&proc, "pipe:[7]"), Some(vec![holder(11, 3), holder(11, 4)]));
        assert_eq!(others.known(&proc, "socket:[8]"), Some(vec![holder(12, 5)]));
        assert!(others.pause().is_some(), "the next look is not at once");
        fs::remove_file(path.join("12/fd/5")).unwrap();
        symlink("socket:[9]", path.join("12/fd/5")).unwrap();
        assert_eq!(others.known(&proc, "socket:[8]"), None, "the descriptor is another file's now");
        let mut own = Others::default();
        own.look(&proc, &links, Some(&[12]));
        assert_eq!(own.known(&proc, "pipe:[7]"), None);
    }

    #[test]
    fn a_process_is_described_as_far_as_it_may_be_read() {
        let directory = tempfile::tempdir().unwrap();
        descriptor(directory.path(), 11, 3, "x");
        let proc = Proc::at(directory.path());
        let expected = OtherProcess { tgid: 11, comm: "p11".to_owned(), ..OtherProcess::default() };
        assert_eq!(process(&proc, 11), Some(expected));
        assert_eq!(process(&proc, 12), None);
    }
}
