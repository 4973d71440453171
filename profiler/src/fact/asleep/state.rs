//! How a thread sleeps.
//!
//! In: the letter of its state, the kernel's functions on its stack. Out: [`SleepState`]. What functions
//! show is what Linux 4.18 to 6.18 have; a name that is not known leaves the letter's state.

use profiler_core::fact::asleep::SleepState;

/// A thread that is frozen sleeps in one of these (cgroup v2, where it is not inlined; cgroup v1 and a
/// suspended machine).
const FREEZERS: [&str; 2] = ["do_freezer_trap", "__refrigerator"];
/// Where the first of them is inlined, it is the only way to sleep there and be neither stopped nor traced.
const SIGNALS: &str = "get_signal";
/// Above `memory.high`.
const OVER_HIGH: [&str; 2] = ["mem_cgroup_handle_over_high", "__mem_cgroup_handle_over_high"];
/// The lock's own functions, on kernels that show them.
const LOCKS: [&str; 8] = [
    "rwsem_down_read_slowpath",
    "rwsem_down_write_slowpath",
    "down_read",
    "down_read_killable",
    "down_write",
    "down_write_killable",
    "__down_read_common",
    "__down_write_common",
];
/// What sleeps itself, not in something that it calls, only for the lock of a map of memory.
const MAP_LOCKERS: [&str; 37] = [
    "lock_mm_and_find_vma",
    "get_mmap_lock_carefully",
    "upgrade_mmap_lock_carefully",
    "mmap_read_lock",
    "mmap_read_lock_killable",
    "mmap_write_lock",
    "mmap_write_lock_killable",
    "do_user_addr_fault",
    "__do_page_fault",
    "do_page_fault",
    "exc_page_fault",
    "vm_mmap_pgoff",
    "ksys_mmap_pgoff",
    "vm_munmap",
    "__vm_munmap",
    "__do_sys_munmap",
    "__x64_sys_munmap",
    "__do_sys_brk",
    "__x64_sys_brk",
    "__ia32_sys_brk",
    "vm_brk_flags",
    "do_mprotect_pkey",
    "do_madvise",
    "madvise_lock",
    "__do_sys_mremap",
    "__x64_sys_mremap",
    "do_mremap",
    "dup_mmap",
    "dup_mm",
    "__mm_populate",
    "do_mlock",
    "apply_vma_lock_flags",
    "do_shmat",
    "ksys_shmdt",
    "__access_remote_vm",
    "__vma_enter_locked",
    "__vma_start_write",
];
/// Whatever is called by these brings a page of memory.
const FAULTS: [&str; 4] = ["handle_mm_fault", "__handle_mm_fault", "faultin_page", "do_swap_page"];

/// The state's letter in the text of `/proc/PID/task/TID/stat`: `7 (a name) S …`. The name is hostile.
pub(super) fn letter(stat: &str) -> Option<char> {
    let (_, behind) = stat.rsplit_once(')')?;
    behind.trim_start().chars().next().filter(char::is_ascii_alphabetic)
}

/// Who traces the thread, by the text of `/proc/PID/task/TID/status`.
pub(super) fn tracer(status: &str) -> Option<u32> {
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
    tracer.trim().parse().ok().filter(|tgid| *tgid > 0)
}

/// How a thread with that letter and stack sleeps; `None`: it does not, or is gone.
pub(super) fn of(letter: char, stack: &[String]) -> Option<SleepState> {
    let asleep = match letter {
        'T' => return Some(SleepState::Stopped),
        't' => return Some(SleepState::Traced),
        'S' | 'I' => SleepState::Interruptible,
        // `P` (parked) and `K`, `W` were states of old kernels.
        'D' => SleepState::Uninterruptible,
        _ => return None,
    };
    let has = |names: &[&str]| stack.iter().any(|function| names.contains(&function.as_str()));
    let innermost = |names: &[&str]| {
        let mut functions = stack.iter().map(String::as_str).skip_while(|function| LOCKS.contains(function));
        functions.next().is_some_and(|function| names.contains(&function))
    };
    Some(if has(&FREEZERS) || innermost(&[SIGNALS]) {
        SleepState::Frozen
    } else if has(&OVER_HIGH) {
        SleepState::MemoryHigh
    } else if innermost(&MAP_LOCKERS) {
        SleepState::MemoryMap
    } else if has(&FAULTS) {
        SleepState::PageFault
    } else {
        asleep
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(letter: char, stack: &str) -> Option<SleepState> {
        of(letter, &stack.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    const EXIT: &str = "get_signal arch_do_signal_or_restart exit_to_user_mode_loop do_syscall_64";

    #[test]
    fn letter_stands_behind_a_name_that_may_hold_anything() {
        assert_eq!(letter("7 (python3) S 1 2 3"), Some('S'));
        assert_eq!(letter("7 (a) T b) (c) D 1 2"), Some('D'));
        assert_eq!((letter(""), letter("7 (x"), letter("7 (x) ")), (None, None, None));
    }

    #[test]
    fn tracer_is_named_if_there_is_one() {
        assert_eq!(tracer("Name:\tx\nTracerPid:\t22972\nUid:\t0\n"), Some(22_972));
        assert_eq!((tracer("TracerPid:\t0\n"), tracer("")), (None, None));
    }

    #[test]
    fn stopped_and_traced_go_by_their_letters() {
        assert_eq!(state('T', &format!("do_signal_stop {EXIT}")), Some(SleepState::Stopped));
        assert_eq!(state('t', &format!("ptrace_stop ptrace_do_notify {EXIT}")), Some(SleepState::Traced));
        for letter in ['R', 'Z', 'X', 'x'] {
            assert_eq!(state(letter, ""), None);
        }
    }

    #[test]
    fn frozen_looks_asleep_and_its_stack_shows_it() {
        // As Linux 6.18 shows them: cgroup v2 (inlined), cgroup v1; and v2 where it is not inlined.
        assert_eq!(state('S', EXIT), Some(SleepState::Frozen));
        assert_eq!(state('D', &format!("__refrigerator {EXIT}")), Some(SleepState::Frozen));
        assert_eq!(state('S', &format!("do_freezer_trap {EXIT}")), Some(SleepState::Frozen));
        // A dump of memory is made beneath the same function.
        assert_eq!(state('D', &format!("pipe_write vfs_coredump {EXIT}")), Some(SleepState::Uninterruptible));
    }

    #[test]
    fn memory_is_waited_for_in_three_ways() {
        let high = "__mem_cgroup_handle_over_high exit_to_user_mode_loop do_syscall_64";
        assert_eq!(state('D', high), Some(SleepState::MemoryHigh));
        let reclaims =
            "shrink_node do_try_to_free_pages reclaim_high mem_cgroup_handle_over_high do_syscall_64";
        assert_eq!(state('D', reclaims), Some(SleepState::MemoryHigh));
        for map in [
            "lock_mm_and_find_vma do_user_addr_fault exc_page_fault asm_exc_page_fault",
            "rwsem_down_write_slowpath down_write_killable vm_mmap_pgoff ksys_mmap_pgoff do_syscall_64",
            "__vm_munmap __x64_sys_munmap do_syscall_64",
        ] {
            assert_eq!(state('D', map), Some(SleepState::MemoryMap), "{map}");
        }
        let fault = "folio_wait_bit_common filemap_fault __do_fault do_fault handle_mm_fault exc_page_fault";
        assert_eq!(state('D', fault), Some(SleepState::PageFault));
        // What sleeps in something that these call does not wait for the lock.
        let reads = "rwsem_down_read_slowpath down_read ext4_filemap_fault vm_mmap_pgoff do_syscall_64";
        assert_eq!(state('D', reads), Some(SleepState::Uninterruptible));
    }

    #[test]
    fn what_is_not_known_leaves_what_the_letter_says() {
        assert_eq!(state('S', "anon_pipe_read vfs_read ksys_read"), Some(SleepState::Interruptible));
        assert_eq!(state('D', ""), Some(SleepState::Uninterruptible));
    }
}
