//! An array of the programs, mapped read-only: what they write is seen without a system call.
//!
//! In: a map of the object. Out: the address of each of its elements.

use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::Ebpf;
use aya::maps::Map;

use super::LiveError;

/// The mapped array, whose elements are `T`.
pub(super) struct Mapping<T> {
    start: *const T,
    count: usize,
    length_bytes: usize,
}

// SAFETY: the mapping is read-only and lives until drop, whichever thread holds it.
unsafe impl<T> Send for Mapping<T> {}

impl<T> Mapping<T> {
    /// Maps the array `name`; its elements must have the size of a `T`.
    pub(super) fn of(ebpf: &Ebpf, name: &'static str) -> Result<Self, LiveError> {
        let failed = |reason: String| LiveError::Map { map: name, reason };
        let map = ebpf.map(name).ok_or_else(|| failed("not in the object".to_owned()))?;
        let Map::Array(data) = map else { return Err(failed("not an array".to_owned())) };
        let info = data.info().map_err(|error| failed(error.to_string()))?;
        if usize::try_from(info.value_size()) != Ok(size_of::<T>()) {
            return Err(failed(format!("elements of {} bytes", info.value_size())));
        }
        let count = usize::try_from(info.max_entries()).unwrap_or(0);
        let page_bytes = usize::try_from(procfs::page_size()).unwrap_or(4096);
        let length_bytes = (count * size_of::<T>()).next_multiple_of(page_bytes);
        // SAFETY: a new mapping of a map that allows it; nothing else uses the address.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length_bytes,
                libc::PROT_READ,
                libc::MAP_SHARED,
                data.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(failed(std::io::Error::last_os_error().to_string()));
        }
        Ok(Self { start: start.cast_const().cast(), count, length_bytes })
    }

    /// Number of elements.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Address of one element, valid as long as the mapping; programs write to it at any time.
    pub(super) fn element(&self, index: usize) -> Option<*const T> {
        // SAFETY: the index is inside the mapping.
        (index < self.count).then(|| unsafe { self.start.add(index) })
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `of` with this length, and no reference into it outlives `self`.
        unsafe { libc::munmap(self.start.cast_mut().cast(), self.length_bytes) };
    }
}
