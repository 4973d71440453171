//! Memory of processes.
//!
//! In: `/proc/PID/statm`, `/proc/PID/smaps_rollup`. Out: resident bytes, and a process's share of what it
//! shares.

use profiler_core::fact::memory::ProcessMemory;

use super::{Proc, read};

/// Largest resident memory of which the share is read: the kernel looks at each page for it, some 10 ns each,
/// with the process's map of memory locked against changes.
const MAX_WALKED_BYTES: u64 = 1 << 30;
/// Longest `smaps_rollup` looked at.
const ROLLUP_BYTES: u64 = 8 * 1024;

/// Resident memory of a process in bytes; `None`: it is gone, or may not be looked at.
pub fn resident_bytes(proc: &Proc, pid: u32) -> Option<u64> {
    let text = read::text(&proc.of(pid, "statm"), 1024).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(procfs::page_size()))
}

/// Memory of a process now; its share too where that is wanted and not too large to look at.
pub fn process_memory(proc: &Proc, pid: u32, with_share: bool) -> Option<ProcessMemory> {
    let resident_bytes = resident_bytes(proc, pid)?;
    let is_looked_at = with_share && resident_bytes <= MAX_WALKED_BYTES;
    let proportional_bytes = is_looked_at.then(|| proportional_bytes(proc, pid)).flatten();
    Some(ProcessMemory { tgid: pid, resident_bytes, proportional_bytes })
}

fn proportional_bytes(proc: &Proc, pid: u32) -> Option<u64> {
    let text = read::text(&proc.of(pid, "smaps_rollup"), ROLLUP_BYTES).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kibibytes.saturating_mul(1024))
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

    #[test]
    fn the_share_is_read_where_it_is_wanted_and_is_no_more_than_what_is_resident() {
        let pid = std::process::id();
        assert_eq!(process_memory(&Proc::default(), pid, false).unwrap().proportional_bytes, None);
        let own = process_memory(&Proc::default(), pid, true).unwrap();
        let share = own.proportional_bytes.unwrap();
        // What is resident is read a moment before, by counters that lag by some pages a CPU.
        assert!(share > 0 && share <= own.resident_bytes + (8 << 20), "{own:?}");
    }
}
