//! Memory of processes.
//!
//! In: `/proc/PID/statm`. Out: resident bytes.

use super::{Proc, read};

/// Resident memory of a process in bytes; `None`: it is gone, or may not be looked at.
#[must_use]
pub fn resident_bytes(proc: &Proc, pid: u32) -> Option<u64> {
    let text = read::text(&proc.of(pid, "statm"), 1024).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(procfs::page_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_memory_is_read_and_that_of_nobody_is_not() {
        let own = resident_bytes(&Proc::default(), std::process::id()).unwrap();
        assert!(own > 1 << 20 && own < 1 << 36, "{own}");
        assert_eq!(resident_bytes(&Proc::default(), u32::MAX), None);
    }
}
