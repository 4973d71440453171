//! Which program a process runs, so that it is noticed when it runs another.
//!
//! In: `/proc/PID`. Out: [`Program`]s to compare. What was opened of a process before stays that of the
//! program it ran then.

use procfs::FromRead as _;
use procfs::process::Stat;

use crate::fact::{Proc, read};

/// A `stat` is some 300 bytes long.
const MAX_STAT_BYTES: u64 = 4096;

/// The program that a process runs: another one, or another process by the same number, differs in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) parent: u32,
    start_time: u64,
    start_code: u64,
    start_stack: u64,
    executable: String,
}

impl Program {
    /// That of a process; `None`: it is gone.
    pub(super) fn of(proc: &Proc, tgid: u32) -> Option<Self> {
        // The main thread's own file: that of the process adds up all threads.
        let bytes = read::bytes(&proc.of(tgid, &format!("task/{tgid}/stat")), MAX_STAT_BYTES).ok()?;
        let stat = Stat::from_read(bytes.as_slice()).ok()?;
        Some(Self {
            parent: u32::try_from(stat.ppid).unwrap_or(0),
            start_time: stat.starttime,
            start_code: stat.startcode,
            start_stack: stat.startstack,
            executable: read::link(&proc.of(tgid, "exe")).ok()?,
        })
    }

    /// Whether it is the same that runs now. Its parent may have ended.
    pub(super) fn is_still(&self, proc: &Proc, tgid: u32) -> bool {
        Self::of(proc, tgid).is_some_and(|now| now == Self { parent: now.parent, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_program_or_another_process_by_the_number_is_noticed() {
        let root = tempfile::tempdir().expect("a directory");
        let task = root.path().join("9/task/9");
        std::fs::create_dir_all(&task).expect("made");
        let write = |parent: u32, start_time: u64, code: u64, stack: u64| {
            let text = format!(
                "9 (a b) S {parent} 9 9 0 -1 0 0 0 0 0 1 1 0 0 20 0 1 0 {start_time} 1000 10 99 {code} 2 {stack}{}\n",
                " 0".repeat(24)
            );
            std::fs::write(task.join("stat"), text).expect("written");
        };
        let link = |to: &str| {
            let _ = std::fs::remove_file(root.path().join("9/exe"));
            std::os::unix::fs::symlink(to, root.path().join("9/exe")).expect("linked");
        };
        let proc = Proc::at(root.path());
        write(5, 70, 1, 3);
        assert_eq!(Program::of(&proc, 9), None, "no executable");
        link("/usr/bin/python3");
        let program = Program::of(&proc, 9).expect("there");
        assert_eq!(program.parent, 5);
        write(1, 70, 1, 3);
        assert!(program.is_still(&proc, 9), "its parent has ended");
        for (start_time, code, stack) in [(71, 1, 3), (70, 2, 3), (70, 1, 4)] {
            write(5, start_time, code, stack);
            assert!(!program.is_still(&proc, 9));
        }
        write(5, 70, 1, 3);
        link("/usr/bin/env");
        assert!(!program.is_still(&proc, 9));
    }
}
