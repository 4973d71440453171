//! Other processes: who has an open file, and what one is at.
//!
//! In: what links of descriptors say (`pipe:[7]`), `/proc`. Out: [`Holder`]s by link, [`OtherProcess`]. One
//! look through all processes serves everyone who asks at a time. It is bounded, and comes no more often
//! than costs a hundredth of a core.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::time::Duration;

use profiler_core::bounded::push_newest;
use profiler_core::fact::asleep::OtherProcess;

use super::call::Call;
use super::state;
use crate::fact::budget::{Budget, Spent};
use crate::fact::{Proc, read};

/// Processes looked through.
const MAX_PROCESSES: usize = 65_536;
/// Descriptors of one process looked at.
const MAX_DESCRIPTORS: usize = 16_384;
/// Holders kept of one file.
const MAX_HOLDERS: usize = 16;
/// Longest look.
const LONGEST: Duration = Duration::from_millis(50);
/// Files of which the holders are remembered, and files whose holders are not found yet.
const MAX_KNOWN: usize = 1024;
/// Processes that are asked first: they had what was looked for before.
const MAX_LIKELY: usize = 32;
/// How long that may take.
const LONGEST_FIRST: Duration = Duration::from_millis(3);

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
    /// For looks through all.
    budget: Budget,
    known: BTreeMap<String, Vec<Holder>>,
    /// Files that were asked for when it was too early to look.
    asked: BTreeSet<String>,
    /// The process with which the next look begins.
    from: u32,
    /// The latest last.
    likely: VecDeque<u32>,
}

impl Others {
    /// When the next look may be taken; `None`: now.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.budget.pause()
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

    /// Looks through these processes (`None`: all) for who has one of these files open. If it is too early
    /// for that, through those alone that had such a file before; the files are remembered until it is not.
    pub(super) fn look(&mut self, proc: &Proc, links: &BTreeSet<String>, only: Option<&[u32]>) {
        if links.is_empty() {
            return;
        }
        self.make_room(links.len());
        if self.pause().is_some() {
            // A socket has one holder nearly always, a pipe may have several.
            let sockets = links.iter().filter(|link| link.starts_with("socket:")).cloned().collect();
            self.look_at_likely(proc, &sockets, only);
            self.asked.extend(links.iter().filter(|link| !self.known.contains_key(*link)).cloned());
            return;
        }
        let spent = Spent::begin();
        let mut links = links.clone();
        links.append(&mut self.asked);
        for link in &links {
            self.known.remove(link);
        }
        let all = only.map_or_else(
            || read::numbers(&proc.path(""), MAX_PROCESSES).unwrap_or_default(),
            <[u32]>::to_vec,
        );
        let own = std::process::id();
        // Where the time was over last, it goes on.
        let (before, from) =
            all.split_at_checked(all.partition_point(|tgid| *tgid < self.from)).unwrap_or_default();
        self.from = 0;
        for &tgid in from.iter().chain(before).filter(|tgid| **tgid != own) {
            if spent.so_far() > LONGEST {
                self.from = tgid;
                self.asked = links.iter().filter(|link| !self.known.contains_key(*link)).cloned().collect();
                break;
            }
            self.look_through(proc, tgid, &links);
        }
        self.budget.spend(spent);
    }

    fn make_room(&mut self, count: usize) {
        if self.known.len().saturating_add(count) > MAX_KNOWN {
            self.known.clear();
        }
        if self.asked.len().saturating_add(count) > MAX_KNOWN {
            self.asked.clear();
        }
    }

    fn look_at_likely(&mut self, proc: &Proc, links: &BTreeSet<String>, only: Option<&[u32]>) {
        let spent = Spent::begin();
        let may_be = |tgid: &u32| only.is_none_or(|only| only.contains(tgid));
        for tgid in self.likely.clone().into_iter().rev().filter(may_be) {
            if links.iter().all(|link| self.known.contains_key(link)) || spent.so_far() > LONGEST_FIRST {
                break;
            }
            self.look_through(proc, tgid, links);
        }
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
                if self.likely.back() != Some(&tgid) {
                    self.likely.retain(|known| *known != tgid);
                    push_newest(&mut self.likely, MAX_LIKELY, tgid);
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
        others.budget.exhaust();
        fs::remove_file(path.join("12/fd/5")).unwrap();
        symlink("socket:[9]", path.join("12/fd/5")).unwrap();
        assert_eq!(others.known(&proc, "socket:[8]"), None, "the descriptor is another file's now");
        // It is too early for the others, but not for who had such a file before.
        descriptor(path, 12, 6, "socket:[10]");
        descriptor(path, 13, 1, "socket:[11]");
        let links = BTreeSet::from(["socket:[10]".to_owned(), "socket:[11]".to_owned()]);
        others.look(&proc, &links, None);
        assert_eq!(others.known(&proc, "socket:[10]"), Some(vec![holder(12, 6)]));
        assert_eq!(others.known(&proc, "socket:[11]"), None);
        others.budget.renew();
        others.look(&proc, &BTreeSet::from(["pipe:[1]".to_owned()]), None);
        assert_eq!(others.known(&proc, "socket:[11]"), Some(vec![holder(13, 1)]), "it was asked for before");
        let mut own = Others::default();
        let pipe = BTreeSet::from(["pipe:[7]".to_owned()]);
        own.look(&proc, &pipe, Some(&[12]));
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
