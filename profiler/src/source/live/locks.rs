//! The interpreter locks that the kernel side follows, and what it reads of interpreters.
//!
//! In: where the locks of a process are, and the timers of its loop. Out: the maps `INTERPRETERS`, `LOCKS`
//! and `TIMERS` filled, and `TASKS_GENERATION`.

use std::collections::BTreeMap;
use std::sync::atomic::{Ordering, fence};

use aya::maps::{Array, HashMap, MapData};
use profiler_common::gil::{
    CollectingWay, FOREIGN_NUMBERS, FrameWay, HAS_OTHER_LOCKS, INHERITED_NUMBER_SHIFT, LOCK_BYTES, TaskWay,
    WAITED_FOR_ON_STACK, block_key,
};
use profiler_common::timers::TimersWay;

use crate::fact::python::Looked;
use crate::fact::python::code::sample_way;
use crate::fact::python::task::task_way;

/// The locks of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowedLocks {
    /// Address of the main interpreter's.
    pub main: u64,
    /// Addresses of those of sub-interpreters that have one of their own.
    pub others: Vec<u64>,
    /// Distance of a thread's number in its `PyThreadState`, or of what leads to it; `None`: holders are not
    /// read.
    pub thread_number_at: Option<u64>,
    /// How far the number is from where the word there points; `None`: it is there itself.
    pub thread_number_through: Option<u64>,
    /// The numbers are those of another PID namespace.
    pub foreign_numbers: bool,
    /// The number by which the interpreter may still call the main thread; `None`: not known.
    pub inherited_number: Option<u32>,
    /// Who waits for them does so on its own stack.
    pub waited_for_on_stack: bool,
    /// The way to a thread's frames; `None`: they are not read.
    pub frames: Option<FrameWay>,
    /// Where the interpreter notes that it collects garbage; `None`: it is not read.
    pub collecting: Option<CollectingWay>,
    /// The way to the task that a thread works for; `None`: it is not read.
    pub tasks: Option<TaskWay>,
}

impl FollowedLocks {
    /// The locks of an interpreter, with frames if they are read; `None`: it has none.
    pub fn of(looked: &Looked, reads_frames: bool) -> Option<Self> {
        let seen = &looked.seen;
        let main = seen.locks.iter().find(|lock| lock.interpreter == 0)?.address;
        let others = seen.locks.iter().map(|lock| lock.address).filter(|address| *address != main);
        Some(Self {
            main,
            others: others.collect(),
            thread_number_at: seen.thread_number_at,
            thread_number_through: seen.thread_number_through,
            foreign_numbers: seen.foreign_numbers,
            inherited_number: seen.inherited_number,
            waited_for_on_stack: looked.waits_elsewhere,
            frames: sample_way(seen).filter(|_| reads_frames),
            collecting: looked.collecting.filter(|_| reads_frames),
            tasks: task_way(seen),
        })
    }
}

/// The maps, and what was put into them.
pub(super) struct LockTable {
    interpreters: HashMap<MapData, u32, [u64; 6]>,
    locks: HashMap<MapData, u64, u64>,
    tasks: Array<MapData, u32>,
    timers: HashMap<MapData, u32, [u64; 6]>,
    /// Times that the way to the tasks of a process changed.
    generation: u32,
    /// By process: the way to its tasks.
    ways: BTreeMap<u32, u64>,
    /// By process: keys and addresses of its further locks.
    blocks: BTreeMap<u32, BTreeMap<u64, u64>>,
}

impl LockTable {
    pub(super) const fn new(
        interpreters: HashMap<MapData, u32, [u64; 6]>,
        locks: HashMap<MapData, u64, u64>,
        tasks: Array<MapData, u32>,
        timers: HashMap<MapData, u32, [u64; 6]>,
    ) -> Self {
        let generation = 0;
        Self {
            interpreters,
            locks,
            tasks,
            timers,
            generation,
            ways: BTreeMap::new(),
            blocks: BTreeMap::new(),
        }
    }

    /// Where the timers of a process's loop are from now on.
    pub(super) fn follow_timers(&mut self, tgid: u32, way: TimersWay) {
        let TimersWay { slot, list_type, event_loop, thread_mark, when_at, closure_at } = way;
        let words = [slot, list_type, event_loop, thread_mark, when_at, closure_at];
        let _ = self.timers.insert(&tgid, &words, 0);
    }

    /// Follows these locks of a process, and no others.
    pub(super) fn follow(&mut self, tgid: u32, followed: &FollowedLocks) {
        let blocks = blocks(tgid, &followed.others);
        let before = self.blocks.remove(&tgid).unwrap_or_default();
        for key in before.keys().filter(|key| !blocks.contains_key(key)) {
            let _ = self.locks.remove(key);
        }
        for (key, address) in blocks.iter().filter(|(key, address)| before.get(key) != Some(address)) {
            let _ = self.locks.insert(key, address, 0);
        }
        let way = followed.tasks.map_or(0, TaskWay::pack);
        let process = [
            followed.main,
            followed.thread_number_at.unwrap_or(0),
            followed.thread_number_through.unwrap_or(0),
            followed
                .frames
                .map_or(0, |frames| frames.pack() | followed.collecting.map_or(0, CollectingWay::pack)),
            bits(&[
                (!blocks.is_empty(), HAS_OTHER_LOCKS),
                (followed.foreign_numbers, FOREIGN_NUMBERS),
                (followed.waited_for_on_stack, WAITED_FOR_ON_STACK),
            ]) | u64::from(followed.inherited_number.unwrap_or(0)) << INHERITED_NUMBER_SHIFT,
            way,
        ];
        if !blocks.is_empty() {
            self.blocks.insert(tgid, blocks);
        }
        let _ = self.interpreters.insert(&tgid, &process, 0);
        if self.ways.insert(tgid, way).unwrap_or(0) != way {
            // After the element itself, for every CPU: whoever sees the number looks for that.
            fence(Ordering::Release);
            self.generation = self.generation.wrapping_add(1).max(1);
            let _ = self.tasks.set(0, &self.generation, 0);
        }
    }

    /// A process is gone. The kernel side forgets its main lock by itself, but for one that was told after
    /// the end.
    pub(super) fn forget(&mut self, tgid: u32) {
        let _ = self.interpreters.remove(&tgid);
        let _ = self.timers.remove(&tgid);
        self.ways.remove(&tgid);
        for key in self.blocks.remove(&tgid).unwrap_or_default().keys() {
            let _ = self.locks.remove(key);
        }
    }
}

/// The bits that are set.
fn bits(of: &[(bool, u64)]) -> u64 {
    of.iter().filter(|(is_set, _)| *is_set).fold(0, |bits, (_, bit)| bits | bit)
}

/// The blocks of memory that locks are in, with the address of the lock that is there.
fn blocks(tgid: u32, locks: &[u64]) -> BTreeMap<u64, u64> {
    locks
        .iter()
        .flat_map(|lock| {
            let last = lock.saturating_add(LOCK_BYTES - 1);
            [(block_key(tgid, *lock), *lock), (block_key(tgid, last), *lock)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_lock_leads_to_it_wherever_it_begins() {
        for begins in (0..512).step_by(8) {
            let lock = 0x7f12_3456_7000 + begins;
            let blocks = blocks(4321, &[lock]);
            for byte in lock..lock + LOCK_BYTES {
                assert_eq!(blocks.get(&block_key(4321, byte)), Some(&lock), "{byte:#x} of {lock:#x}");
            }
            assert!(blocks.len() <= 2, "{blocks:?}");
        }
    }

    #[test]
    fn locks_of_other_processes_have_other_keys() {
        let (one, other) = (blocks(1, &[4096]), blocks(2, &[4096]));
        assert!(one.keys().all(|key| !other.contains_key(key)));
    }
}
