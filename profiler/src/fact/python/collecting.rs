//! Where an interpreter notes that it collects garbage.
//!
//! In: the memory of a process, its main lock, where the version has the note. Out: [`CollectingWay`]. What
//! stands before the note (`struct _gc_runtime_state`, CPython's Include/internal/pycore_gc.h, in 3.8
//! pycore_pymem.h) has a pointer to a part of itself: only where that points as it should is the place
//! believed.

use profiler_common::gil::CollectingWay;

use super::memory::Memory;

/// Distances of `last_holder` in a lock and of `interp` in a `PyThreadState` (Include/cpython/pystate.h).
const LAST_HOLDER: u64 = 8;
const INTERPRETER: u64 = 16;
/// How far before `collecting` are `generation0` and what it points to, the head of `generations`.
const GENERATION_0: u64 = 104;
const GENERATIONS: u64 = 176;
/// The last holder may be a thread that is just ending; then it is read again.
const TRIES: usize = 8;

/// The place that the version has, if it is there in this process; `lock`: address of the main lock.
pub(super) fn confirmed(memory: &dyn Memory, lock: u64, way: CollectingWay) -> Option<CollectingWay> {
    let is_there = || {
        let at = match way {
            CollectingWay::BeforeLock(by) => lock.checked_sub(by.into())?,
            CollectingWay::InInterpreter(at) => {
                let state = memory.word(lock.checked_add(LAST_HOLDER)?).ok().filter(|state| *state != 0)?;
                memory.word(state.checked_add(INTERPRETER)?).ok()?.checked_add(at.into())?
            }
        };
        let pointer = memory.word(at.checked_sub(GENERATION_0)?).ok()?;
        Some(pointer == at.checked_sub(GENERATIONS)?)
    };
    (0..TRIES).any(|_| is_there() == Some(true)).then_some(way)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Words;
    use super::*;

    const LOCK: u64 = 0x5000;
    const AT: u64 = 0x9000;

    fn memory(points_to: u64) -> Words {
        let mut memory = Words::default();
        memory.put(LOCK + 8, 0x7000).put(0x7000 + 16, AT - 312);
        memory.put(AT - 104, points_to).put(LOCK - 608 - 104, LOCK - 608 - 176);
        memory
    }

    #[test]
    fn the_place_is_believed_only_where_what_stands_before_it_is_the_collectors() {
        let way = CollectingWay::InInterpreter(312);
        assert_eq!(confirmed(&memory(AT - 176), LOCK, way), Some(way));
        assert_eq!(confirmed(&memory(AT - 168), LOCK, way), None, "another layout");
        assert_eq!(confirmed(&memory(AT - 176), LOCK, CollectingWay::InInterpreter(320)), None);
        assert_eq!(confirmed(&Words::default(), LOCK, way), None, "it cannot be read");
        let older = CollectingWay::BeforeLock(608);
        assert_eq!(confirmed(&memory(0), LOCK, older), Some(older));
        assert_eq!(confirmed(&memory(0), LOCK, CollectingWay::BeforeLock(600)), None);
    }
}
