//! How the holder of a lock is found by its `PyThreadState`.
//!
//! In: the version, the memory of a process, its main lock. Out: where the number of a thread is. From 3.11
//! on the interpreter notes the kernel's number; before, it has only what `pthread_self` gives, and the
//! number stands in the C library's own record there. That place is glibc's, so it is believed only where it
//! leads to a thread of the process.

use super::layout::Version;
use super::memory::Memory;

/// Distance of `tid` in glibc's `struct pthread` (nptl/descr.h): behind what each architecture has at its
/// head, and a list.
const GLIBC_TID: u64 = if cfg!(target_arch = "aarch64") { 208 } else { 720 };
/// Distance of `last_holder` in a lock.
const LAST_HOLDER: u64 = 8;
/// The last holder may be a thread that is just ending; then it is read again.
const TRIES: usize = 8;

/// Distances by which a thread's number is found from its `PyThreadState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Where the number is, or the pointer that leads to it.
    pub(super) at: u64,
    /// How far from where that points the number is; `None`: it is no pointer.
    pub(super) through: Option<u64>,
}

/// The way for this process; `is_thread` says whether a number is that of one of its threads.
pub(super) fn way(
    memory: &dyn Memory,
    version: Version,
    lock: u64,
    is_thread: impl Fn(u32) -> bool,
) -> Option<Way> {
    if let Some(at) = version.thread_number_at() {
        return Some(Way { at, through: None });
    }
    let at = version.thread_handle_at()?;
    let number = || {
        let state = memory.word(lock.checked_add(LAST_HOLDER)?).ok().filter(|state| *state != 0)?;
        let handle = memory.word(state.checked_add(at)?).ok()?;
        let number = memory.word(handle.checked_add(GLIBC_TID)?).ok()?;
        Some(number as u32)
    };
    let leads_there = (0..TRIES).any(|_| number().is_some_and(&is_thread));
    leads_there.then_some(Way { at, through: Some(GLIBC_TID) })
}

#[cfg(test)]
mod tests {
    use super::super::tests::Words;
    use super::*;

    #[test]
    fn before_3_11_the_number_is_read_through_the_c_library_where_that_leads_to_a_thread() {
        let version = Version::parse("3.9").expect("a version");
        let mut memory = Words::default();
        memory.put(0x1008, 0x2000);
        memory.put(0x2000 + 176, 0x3000);
        memory.put(0x3000 + GLIBC_TID, 0xdead_0000_0000 | 4321);
        let found = way(&memory, version, 0x1000, |tid| tid == 4321);
        assert_eq!(found, Some(Way { at: 176, through: Some(GLIBC_TID) }));
        assert_eq!(way(&memory, version, 0x1000, |_| false), None, "another C library");
        assert_eq!(way(&Words::default(), version, 0x1000, |_| true), None);
        let newer = Version::parse("3.12").expect("a version");
        assert_eq!(way(&memory, newer, 0x1000, |_| false), Some(Way { at: 144, through: None }));
    }
}
