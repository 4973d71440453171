//! Whether two processes share something, as the kernel says by `kcmp`.
//!
//! In: numbers of processes and descriptors. Out: whether it is one. Nothing of either process is read.

/// include/uapi/linux/kcmp.h
const KCMP_FILE: i32 = 0;
const KCMP_VM: i32 = 1;

/// Whether two processes have the same open file at a descriptor; false where the kernel does not say.
pub(super) fn is_same_file(tgid: u32, other_tgid: u32, fd: i32) -> bool {
    kcmp((tgid, other_tgid), KCMP_FILE, fd) == Some(true)
}

/// Whether two processes have one memory; `None`: the kernel does not say.
pub(super) fn share_memory(tgid: u32, other_tgid: u32) -> Option<bool> {
    kcmp((tgid, other_tgid), KCMP_VM, 0)
}

fn kcmp((tgid, other_tgid): (u32, u32), kind: i32, fd: i32) -> Option<bool> {
    // SAFETY: it takes numbers only.
    match unsafe { libc::syscall(libc::SYS_kcmp, tgid, other_tgid, kind, fd, fd) } {
        0 => Some(true),
        // Which of the two is less is of no use here.
        1..=3 => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_shares_its_memory_and_its_files_with_itself_and_not_with_its_child() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("started");
        let own = std::process::id();
        let (same, other) = (share_memory(own, own), share_memory(own, child.id()));
        child.kill().expect("ended");
        child.wait().expect("waited for");
        // Where the kernel does not say, nothing is claimed.
        assert_ne!(same, Some(false));
        assert_ne!(other, Some(true));
        assert_eq!(share_memory(u32::MAX, own), None);
        assert!(!is_same_file(own, own, -1));
    }
}
