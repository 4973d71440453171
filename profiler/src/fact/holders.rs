//! Processes outside the target that hold its listeners: they may accept, and be woken, unseen.
//!
//! In: listeners of the target, all processes of `/proc`. Out: [`ForeignHolders`]. One look, bounded in the
//! number of descriptors.

use std::collections::BTreeSet;

use profiler_core::fact::holders::{ForeignHolder, ForeignHolders};

use super::descriptor::socket_inode;
use super::{Proc, read};

/// Processes looked at.
const MAX_PROCESSES: usize = 65_536;
/// Descriptors looked at, all processes together: some tenths of a second.
const MAX_DESCRIPTORS: usize = 131_072;
/// Holders kept.
const MAX_HOLDERS: usize = 64;

/// Looks through all processes but `traced` and this one for those that hold one of these sockets.
pub fn foreign_holders(proc: &Proc, traced: &[u32], inodes: &BTreeSet<u64>) -> ForeignHolders {
    let mut found = ForeignHolders::default();
    if inodes.is_empty() {
        return found;
    }
    let own = std::process::id();
    let others = read::numbers(&proc.path(""), MAX_PROCESSES).unwrap_or_default();
    let mut left = MAX_DESCRIPTORS;
    for tgid in others.into_iter().filter(|tgid| *tgid != own && !traced.contains(tgid)) {
        let path = proc.of(tgid, "fd");
        let Ok(numbers) = read::numbers(&path, left) else {
            // One that has ended is not hidden.
            found.hidden += u64::from(path.exists());
            continue;
        };
        let count = numbers.len();
        let socket = |number: u32| socket_inode(&read::link(&path.join(number.to_string())).ok()?);
        let held: BTreeSet<u64> =
            numbers.into_iter().filter_map(socket).filter(|inode| inodes.contains(inode)).collect();
        for inode in held {
            if found.holders.len() >= MAX_HOLDERS {
                found.hidden += 1;
                break;
            }
            let comm = read::text(&proc.of(tgid, "comm"), 64).unwrap_or_default().trim_end().to_owned();
            found.holders.push(ForeignHolder { inode, tgid, comm });
        }
        left = left.saturating_sub(count);
        if left == 0 {
            found.hidden += 1;
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn holders_outside_the_target_are_named_and_those_within_are_not() {
        let directory = tempfile::tempdir().expect("a directory");
        for (pid, inode) in [(11, 7), (12, 7), (13, 8)] {
            let path = directory.path().join(pid.to_string());
            fs::create_dir_all(path.join("fd")).expect("a process");
            fs::write(path.join("comm"), format!("server-{pid}\n")).expect("a name");
            symlink(format!("socket:[{inode}]"), path.join("fd/3")).expect("a descriptor");
            symlink("/dev/null", path.join("fd/0")).expect("a descriptor");
        }
        let proc = Proc::at(directory.path());
        let found = foreign_holders(&proc, &[11], &BTreeSet::from([7]));
        let expected = ForeignHolder { inode: 7, tgid: 12, comm: "server-12".to_owned() };
        assert_eq!(found, ForeignHolders { holders: vec![expected], hidden: 0 });
        assert_eq!(foreign_holders(&proc, &[11], &BTreeSet::new()), ForeignHolders::default());
    }
}
