//! Names of calls that are not observed: threads sleep in them too.
//!
//! In: the numbers of records. Out: names. Most calls are arm64's as well, and stand in its table; the others
//! are older.

use super::arm64::NAMES;

/// Calls of `x86_64` that arm64 does not have (arch/x86/entry/syscalls/syscall_64.tbl).
const OLD: &[(u32, &str)] = &[
    (4, "stat"),
    (6, "lstat"),
    (21, "access"),
    (34, "pause"),
    (37, "alarm"),
    (57, "fork"),
    (58, "vfork"),
    (78, "getdents"),
    (82, "rename"),
    (83, "mkdir"),
    (84, "rmdir"),
    (85, "creat"),
    (86, "link"),
    (87, "unlink"),
    (88, "symlink"),
    (89, "readlink"),
    (90, "chmod"),
    (92, "chown"),
    (94, "lchown"),
    (111, "getpgrp"),
    (132, "utime"),
    (133, "mknod"),
    (136, "ustat"),
    (139, "sysfs"),
    (158, "arch_prctl"),
    (201, "time"),
    (235, "utimes"),
    (253, "inotify_init"),
    (261, "futimesat"),
    (282, "signalfd"),
];

/// Name of a call that is not observed; `None`: there is none of this number.
pub(super) fn name(number: u32) -> Option<&'static str> {
    let new = NAMES.iter().find(|(_, recorded, _)| *recorded == number).map(|(_, _, name)| *name);
    new.or_else(|| OLD.iter().find(|(old, _)| *old == number).map(|(_, name)| *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_has_two_names() {
        assert!(OLD.iter().all(|(number, _)| NAMES.iter().all(|(_, recorded, _)| recorded != number)));
        assert!(OLD.is_sorted_by_key(|(number, _)| *number));
    }
}
