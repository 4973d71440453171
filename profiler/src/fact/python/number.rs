//! What threads of a process in another PID namespace call themselves.
//!
//! In: `/proc/PID/task/*/status`. Out: pairs of the number that a thread has there, which its interpreter
//! notes, and the one that it has here.

use std::collections::HashMap;

use profiler_core::fact::ThreadNumbers;

use crate::fact::{Proc, read};

/// Threads of one process.
const MAX_THREADS: usize = 4096;
/// Processes followed.
const MAX_PROCESSES: usize = 4096;
/// A `status` is about 1.5 KiB long.
const MAX_STATUS_BYTES: u64 = 16 * 1024;

/// Whether a process counts threads as we do.
pub(super) fn same_namespace(proc: &Proc, tgid: u32) -> bool {
    let own = read::link(&proc.path("self/ns/pid"));
    matches!((own, read::link(&proc.of(tgid, "ns/pid"))), (Ok(own), Ok(theirs)) if own == theirs)
}

/// The numbers of all threads of a process: theirs, ours.
pub(super) fn numbers(proc: &Proc, tgid: u32) -> Vec<(u32, u32)> {
    let tids = read::numbers(&proc.of(tgid, "task"), MAX_THREADS).unwrap_or_default();
    tids.into_iter().filter_map(|tid| Some((inner(proc, tgid, tid)?, tid))).collect()
}

/// The number that the parent of a process has in the namespace of both; `None` where they have different
/// ones.
pub(super) fn of_parent(proc: &Proc, tgid: u32) -> Option<u32> {
    let mut parent = None;
    read::lines(&proc.of(tgid, "status"), MAX_STATUS_BYTES, |line| {
        parent = line.strip_prefix("PPid:").and_then(|rest| rest.trim().parse().ok());
        parent.is_none()
    })
    .ok()?;
    let parent = parent.filter(|parent| *parent > 0)?;
    let namespace = |process| read::link(&proc.of(process, "ns/pid")).ok();
    let is_same = namespace(tgid).is_some_and(|own| namespace(parent) == Some(own));
    if is_same { inner(proc, parent, parent) } else { None }
}

/// The number of a thread in the innermost namespace that it is in.
pub(super) fn inner(proc: &Proc, tgid: u32, tid: u32) -> Option<u32> {
    let mut found = None;
    let path = proc.of(tgid, &format!("task/{tid}/status"));
    read::lines(&path, MAX_STATUS_BYTES, |line| {
        found = line.strip_prefix("NSpid:").and_then(|rest| rest.split_whitespace().last()?.parse().ok());
        found.is_none()
    })
    .ok()?;
    found
}

/// Processes in other namespaces, and the threads that were known of each.
#[derive(Debug, Default)]
pub struct Numbers(HashMap<u32, Vec<u32>>);

impl Numbers {
    /// A process in another namespace is followed from now on.
    pub fn follow(&mut self, tgid: u32) {
        if self.0.len() < MAX_PROCESSES {
            self.0.entry(tgid).or_default();
        }
    }

    /// The numbers of processes whose threads are others than before.
    pub fn changed(&mut self, proc: &Proc) -> Vec<ThreadNumbers> {
        let mut changed = Vec::new();
        self.0.retain(|tgid, known| {
            let Ok(mut tids) = read::numbers(&proc.of(*tgid, "task"), MAX_THREADS) else { return false };
            tids.sort_unstable();
            if *known != tids {
                changed.push(ThreadNumbers { tgid: *tgid, numbers: numbers(proc, *tgid) });
                *known = tids;
            }
            true
        });
        changed.sort_unstable_by_key(|seen| seen.tgid);
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_number_of_each_thread_is_read_again_when_there_are_others() {
        let root = tempfile::tempdir().expect("a directory");
        let task = |tid: u32, line: &str| {
            let directory = root.path().join(format!("500/task/{tid}"));
            std::fs::create_dir_all(&directory).expect("made");
            std::fs::write(directory.join("status"), format!("Name:\tx\n{line}\nThreads:\t2\n"))
                .expect("written");
        };
        task(500, "NSpid:\t500\t40\t1");
        let proc = Proc::at(root.path());
        let mut numbers = Numbers::default();
        assert!(numbers.changed(&proc).is_empty());
        numbers.follow(500);
        let seen = |list: &[(u32, u32)]| vec![ThreadNumbers { tgid: 500, numbers: list.to_vec() }];
        assert_eq!(numbers.changed(&proc), seen(&[(1, 500)]));
        assert!(numbers.changed(&proc).is_empty());
        task(777, "NSpid:\t777\t52\t9");
        let mut again = numbers.changed(&proc);
        again[0].numbers.sort_unstable();
        assert_eq!(again, seen(&[(1, 500), (9, 777)]));
        std::fs::remove_dir_all(root.path().join("500")).expect("removed");
        assert!(numbers.changed(&proc).is_empty());
    }

    #[test]
    fn the_parent_s_number_is_the_one_that_it_has_in_its_own_namespace() {
        let root = tempfile::tempdir().expect("a directory");
        let status = |path: &str, text: &str| {
            std::fs::create_dir_all(root.path().join(path)).expect("made");
            std::fs::write(root.path().join(path).join("status"), text).expect("written");
        };
        status("500", "Name:\tuwsgi\nPPid:\t400\nNSpid:\t500\t2\n");
        status("400/task/400", "Name:\tuwsgi\nPPid:\t9\nNSpid:\t400\t1\n");
        status("600", "Name:\tinit\nPPid:\t0\n");
        let namespace = |process: u32, name: &str| {
            let directory = root.path().join(format!("{process}/ns"));
            std::fs::create_dir_all(&directory).expect("made");
            let _ = std::fs::remove_file(directory.join("pid"));
            std::os::unix::fs::symlink(name, directory.join("pid")).expect("linked");
        };
        namespace(500, "pid:[7]");
        namespace(400, "pid:[8]");
        let proc = Proc::at(root.path());
        assert_eq!(of_parent(&proc, 500), None, "the parent's numbers are of another namespace");
        namespace(400, "pid:[7]");
        assert_eq!(of_parent(&proc, 500), Some(1));
        assert_eq!((of_parent(&proc, 600), of_parent(&proc, 700)), (None, None));
    }
}
