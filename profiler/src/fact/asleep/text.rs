//! What calls point to in the memory of their process.
//!
//! In: addresses. Out: the one descriptor that is waited for, a path, a length of time. The process may
//! change its memory meanwhile; one that sleeps rarely does, and what is found is then looked at like
//! anything hostile.

use std::time::{Duration, Instant};

use super::Reader;
use super::fdinfo::FdInfo;
use crate::fact::python::memory::{Memory as _, ProcessMemory};

/// Entries of a `poll` that are read.
const MAX_POLLED: u64 = 64;
/// Bytes of a `struct pollfd`.
const POLL_BYTES: usize = 8;
/// Highest descriptor of a `select` and one.
const MAX_SELECTED: u32 = 1024;
/// Longest path, as the kernel has it.
const MAX_PATH_BYTES: usize = 4096;
/// No read crosses a border of what may be mapped.
const PAGE_BYTES: u64 = 4096;
/// Processes remembered whose map of memory is held, and for how long.
const MAX_HELD: usize = 64;
const HELD_FOR: Duration = Duration::from_secs(2);
/// Most bytes of a path that are read at a time.
const PIECE_BYTES: u64 = 256;

/// Processes whose map of memory was seen to be held. To read their memory is to wait for it as they do.
#[derive(Debug, Default)]
pub(super) struct HeldMaps(Vec<(u32, Instant)>);

impl HeldMaps {
    /// A thread of this process waits for the map.
    pub(super) fn note(&mut self, tgid: u32) {
        self.0.retain(|(known, at)| *known != tgid && at.elapsed() < HELD_FOR);
        if self.0.len() < MAX_HELD {
            self.0.push((tgid, Instant::now()));
        }
    }

    pub(super) fn has(&self, tgid: u32) -> bool {
        self.0.iter().any(|(known, at)| *known == tgid && at.elapsed() < HELD_FOR)
    }
}

impl Reader {
    fn memory(&self, tgid: u32) -> Option<ProcessMemory> {
        (!self.held_maps.has(tgid)).then(|| ProcessMemory::open(&self.proc, tgid).ok()).flatten()
    }

    /// The descriptor that a `poll` waits for, if it is one.
    pub(super) fn only_polled(&self, tgid: u32, address: u64, count: u64) -> Option<i32> {
        if count == 0 || count > MAX_POLLED {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(count).ok()?.checked_mul(POLL_BYTES)?];
        self.memory(tgid)?.read(address, &mut bytes).ok()?;
        only(bytes.as_chunks::<POLL_BYTES>().0.iter().filter_map(|entry| {
            let fd = i32::from_ne_bytes(*entry.first_chunk()?);
            // A negative one is passed over.
            (fd >= 0).then_some(fd)
        }))
    }

    /// The descriptor that a `select` waits for, if it is one.
    pub(super) fn only_selected(&self, tgid: u32, count: u32, sets: [u64; 3]) -> Option<i32> {
        if count == 0 || count > MAX_SELECTED {
            return None;
        }
        let memory = self.memory(tgid)?;
        let mut all = [0_u8; MAX_SELECTED as usize / 8];
        for address in sets.into_iter().filter(|address| *address != 0) {
            let mut set = vec![0; usize::try_from(count.div_ceil(64)).ok()? * 8];
            memory.read(address, &mut set).ok()?;
            all.iter_mut().zip(set).for_each(|(all, byte)| *all |= byte);
        }
        let is_set = |fd: &u32| {
            let byte = usize::try_from(*fd / 8).ok().and_then(|at| all.get(at));
            byte.is_some_and(|byte| byte >> (fd % 8) & 1 == 1)
        };
        only((0..count).filter(is_set)).and_then(|fd| i32::try_from(fd).ok())
    }

    /// The descriptor in the list of an epoll instance, if it is one.
    pub(super) fn only_in_list(&self, tgid: u32, fd: i32) -> Option<i32> {
        let info = FdInfo::read(&self.proc.of(tgid, &format!("fdinfo/{}", u32::try_from(fd).ok()?)))?;
        match info.interest {
            (fd, 1) => fd,
            _ => None,
        }
    }

    /// The text at an address, up to its zero byte.
    pub(super) fn text_at(&self, tgid: u32, address: u64) -> Option<String> {
        let memory = self.memory(tgid)?;
        let mut text = Vec::new();
        let mut at = address;
        while text.len() < MAX_PATH_BYTES {
            let to_border = PAGE_BYTES - at % PAGE_BYTES;
            let mut piece = vec![0; usize::try_from(to_border.min(PIECE_BYTES)).ok()?];
            memory.read(at, &mut piece).ok()?;
            if let Some(end) = memchr::memchr(0, &piece) {
                text.extend(piece.into_iter().take(end));
                return Some(String::from_utf8_lossy(&text).into_owned());
            }
            at = at.checked_add(u64::try_from(piece.len()).ok()?)?;
            text.extend(piece);
        }
        None
    }

    /// The `struct timespec` at an address, in nanoseconds.
    pub(super) fn time_at(&self, tgid: u32, address: u64) -> Option<u64> {
        let mut bytes = [0; 16];
        self.memory(tgid)?.read(address, &mut bytes).ok()?;
        let seconds = i64::from_ne_bytes(*bytes.first_chunk()?);
        let nanoseconds = i64::from_ne_bytes(*bytes.last_chunk()?);
        let seconds = u64::try_from(seconds).ok()?;
        seconds.checked_mul(1_000_000_000)?.checked_add(u64::try_from(nanoseconds).ok()?)
    }
}

/// The only one, if it is one alone, however often it comes.
fn only<T: PartialEq>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Proc;
    use crate::fact::asleep::Looks;

    fn reader() -> (Reader, u32) {
        (Reader::new(Proc::default(), Looks::All), std::process::id())
    }

    fn address<T>(of: &T) -> u64 {
        std::ptr::from_ref(of) as u64
    }

    #[test]
    fn what_a_poll_or_a_select_waits_for_is_read_from_memory() {
        let (reader, own) = reader();
        let polled: [i32; 6] = [7, 1, -1, 1, 7, 4];
        assert_eq!(reader.only_polled(own, address(&polled), 3), Some(7));
        let two: [i32; 4] = [7, 1, 8, 1];
        assert_eq!(reader.only_polled(own, address(&two), 2), None);
        assert_eq!(reader.only_polled(own, address(&two), 0), None);
        assert_eq!(reader.only_polled(own, address(&two), u64::MAX), None);
        let mut set = [0_u64; 16];
        set[1] = 1 << 3;
        assert_eq!(reader.only_selected(own, 100, [address(&set), 0, address(&set)]), Some(67));
        assert_eq!(reader.only_selected(own, 67, [address(&set), 0, 0]), None, "it is beyond the count");
        assert_eq!(reader.only_selected(own, 100, [8, 0, 0]), None, "there is no such memory");
    }

    #[test]
    fn texts_end_at_their_zero_byte_and_times_add_up() {
        let (reader, own) = reader();
        let text = [vec![b'a'; 5000], vec![0]].concat();
        assert_eq!(reader.text_at(own, text.as_ptr() as u64), None, "longer than any path");
        assert_eq!(reader.text_at(own, text[4000..].as_ptr() as u64).map(|text| text.len()), Some(1000));
        assert_eq!(reader.text_at(own, 1), None);
        assert_eq!(reader.time_at(own, address(&[2_i64, 5])), Some(2_000_000_005));
        assert_eq!(reader.time_at(own, address(&[-2_i64, 5])), None);
    }

    #[test]
    fn an_epoll_instance_waits_for_one_if_its_list_has_one() {
        let directory = tempfile::tempdir().unwrap();
        let fdinfo = directory.path().join("7/fdinfo");
        std::fs::create_dir_all(&fdinfo).unwrap();
        std::fs::write(fdinfo.join("5"), "flags:\t02\ntfd:        9 events: 19 data: 9\n").unwrap();
        std::fs::write(fdinfo.join("6"), "tfd: 9 events: 19\ntfd: 8 events: 19\n").unwrap();
        let reader = Reader::new(Proc::at(directory.path()), Looks::All);
        let listed: Vec<_> = [5, 6, 7, -1].iter().map(|fd| reader.only_in_list(7, *fd)).collect();
        assert_eq!(listed, [Some(9), None, None, None]);
    }
}
