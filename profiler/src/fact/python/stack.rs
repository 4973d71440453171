//! Where in Python a thread that sleeps is, read from outside.
//!
//! In: the memory of its process, its number. Out: its frames, the innermost first. A thread that sleeps does
//! not change its own frames; that it slept on is for the caller to check. Distances are those of
//! `PyThreadState` (Include/cpython/pystate.h), of `_PyInterpreterFrame` (as `profiler-ebpf` reads it), and
//! before 3.11 of `PyFrameObject` (Include/frameobject.h, Include/cpython/frameobject.h); all of `x86_64`.

use std::collections::HashMap;

use profiler_common::gil::{FRAMES_3_11, FRAMES_3_14, FrameWay};
use profiler_core::fact::InterpreterSeen;

use super::layout::Version;
use super::memory::{Memory, MemoryError};

/// Frames of one thread, those of C code included.
const MAX_FRAMES: usize = 256;
/// States looked at in each direction.
const MAX_STATES: usize = 4096;
/// Known states from which a walk begins.
const MAX_STARTS: usize = 4;
/// Distance of `last_holder` in a lock.
const LAST_HOLDER: u64 = 8;
/// Distances in a `PyThreadState` of those before and after it.
const LINKS: [u64; 2] = [8, 0];
/// Owners (`owner` of a frame) from here on are C code.
const FIRST_C_OWNER: u8 = 3;

/// A frame: the address of its code object, and its instruction: its address, or before 3.11 its distance
/// from the first in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameAt {
    pub(super) code: u64,
    pub(super) instruction: u64,
}

/// Frames of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StackAt {
    /// The innermost first.
    pub(super) frames: Vec<FrameAt>,
    /// The walk did not end where walks end.
    pub(super) is_cut: bool,
}

/// How frames are found and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frames {
    /// 3.11 and later.
    Inner(FrameWay),
    /// 3.8 to 3.10.
    Objects {
        /// Distance of `f_lasti` in a frame.
        last: u64,
        /// What it counts, in bytes.
        unit: u64,
    },
}

/// How threads of a process are found, and their frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StackWay {
    frames: Frames,
    /// Addresses of the interpreters' locks.
    locks: Vec<u64>,
    /// Distance of a thread's number in its state, or of what leads to it, and how far it is from there.
    number_at: (u64, Option<u64>),
}

impl StackWay {
    /// The way for a process; `None`: its version is not known for it. `way`: how the kernel side does it.
    pub(super) fn of(seen: &InterpreterSeen, way: Option<FrameWay>) -> Option<Self> {
        let version = seen.version.as_deref().and_then(Version::parse_full)?;
        let frames = match (way, version.minor_of_3()?) {
            (Some(way), _) => Frames::Inner(way),
            (None, 8 | 9) => Frames::Objects { last: 104, unit: 1 },
            (None, 10) => Frames::Objects { last: 96, unit: 2 },
            _ => return None,
        };
        let locks = seen.locks.iter().map(|lock| lock.address).collect();
        Some(Self { frames, locks, number_at: (seen.thread_number_at?, seen.thread_number_through) })
    }

    /// Address of one of the interpreters' locks.
    pub(super) fn lock(&self) -> Option<u64> {
        self.locks.first().copied()
    }

    /// The frames of the thread that bears one of these numbers; `None`: none was found. It runs no Python,
    /// or nobody knows its state. `states`: what earlier walks found, by number.
    pub(super) fn read(
        &self,
        memory: &dyn Memory,
        numbers: &[u32],
        states: &mut HashMap<u32, u64>,
    ) -> Option<StackAt> {
        let state = self.state(memory, numbers, states)?;
        match self.frames {
            Frames::Inner(way) => inner(memory, state, way).ok(),
            Frames::Objects { last, unit } => objects(memory, state, last, unit).ok(),
        }
    }

    /// The state of a thread. They are a list, and who had the lock last is in it, unless it has ended since:
    /// then others are that were found before. Threads come and go, so what is found has to bear the number.
    fn state(&self, memory: &dyn Memory, numbers: &[u32], states: &mut HashMap<u32, u64>) -> Option<u64> {
        let is_still = |(number, state): (&u32, &u64)| self.number(memory, *state) == Some(*number);
        let known = numbers.iter().find_map(|number| states.get_key_value(number));
        if let Some(found) = known.filter(|known| is_still(*known)) {
            return Some(*found.1);
        }
        let holders = self.locks.iter().filter_map(|lock| {
            let holder = memory.word(lock.checked_add(LAST_HOLDER)?).ok()?;
            (holder != 0).then_some(holder)
        });
        let others = states.iter().filter(|known| is_still(*known)).map(|(_, state)| *state);
        let starts: Vec<u64> = holders.chain(others.take(MAX_STARTS)).collect();
        let mut found = None;
        for start in starts {
            for link in LINKS {
                self.along(memory, start, link, &mut |number, state| {
                    if states.len() >= MAX_STATES {
                        states.clear();
                    }
                    states.insert(number, state);
                    found = found.or_else(|| numbers.contains(&number).then_some(state));
                    found.is_none()
                });
            }
            if found.is_some() {
                break;
            }
        }
        found
    }

    /// Calls `each` with the number and the address of states, from one on, until it has enough.
    fn along(&self, memory: &dyn Memory, mut state: u64, link: u64, each: &mut dyn FnMut(u32, u64) -> bool) {
        for _ in 0..MAX_STATES {
            let Some(number) = self.number(memory, state).filter(|_| state != 0) else { return };
            if !each(number, state) {
                return;
            }
            let next = state.checked_add(link).and_then(|at| memory.word(at).ok());
            let Some(next) = next else { return };
            state = next;
        }
    }

    fn number(&self, memory: &dyn Memory, state: u64) -> Option<u32> {
        let (at, through) = self.number_at;
        let found = memory.word(state.checked_add(at)?).ok()?;
        let found = match through {
            None => found,
            Some(distance) => memory.word(found.checked_add(distance)?).ok()?,
        };
        Some(found as u32)
    }
}

fn add(address: u64, distance: u64) -> Result<u64, MemoryError> {
    address.checked_add(distance).ok_or(MemoryError::Address)
}

/// Frames of 3.11 and later.
fn inner(memory: &dyn Memory, state: u64, way: FrameWay) -> Result<StackAt, MemoryError> {
    const WORDS: usize = 10;
    let is_3_11 = way.kind == FRAMES_3_11;
    let mut frame = memory.word(add(state, way.at)?)?;
    if !way.is_direct {
        frame = memory.word(add(frame, way.through)?)?;
    }
    let mut stack = StackAt::default();
    // From 3.12 on whoever calls Python from C has a frame of its own, so the outermost is one of C.
    let mut ends_in_c = is_3_11;
    for _ in 0..MAX_FRAMES {
        if frame == 0 {
            stack.is_cut = !ends_in_c;
            return Ok(stack);
        }
        let mut bytes = [0; WORDS * 8];
        memory.read(frame, &mut bytes)?;
        let (words, _) = bytes.as_chunks::<8>();
        let word = |index: usize| words.get(index).copied().map_or(0, u64::from_le_bytes);
        let owner_at = if way.kind == FRAMES_3_14 { (9, 2) } else { (8, if is_3_11 { 5 } else { 6 }) };
        let owner = words.get(owner_at.0).and_then(|word| word.get(owner_at.1)).copied().unwrap_or(0);
        let (code, previous) = if is_3_11 { (word(4), word(6)) } else { (word(0), word(1)) };
        if owner < FIRST_C_OWNER {
            // The low bits of a reference are tags.
            stack.frames.push(FrameAt { code: code & !7, instruction: word(7) });
        }
        ends_in_c = is_3_11 || owner >= FIRST_C_OWNER;
        frame = previous;
    }
    stack.is_cut = true;
    Ok(stack)
}

/// Frames of 3.8 to 3.10.
fn objects(memory: &dyn Memory, state: u64, last: u64, unit: u64) -> Result<StackAt, MemoryError> {
    const FRAME: u64 = 24;
    const BACK: u64 = 24;
    const CODE: u64 = 32;
    let mut frame = memory.word(add(state, FRAME)?)?;
    let mut stack = StackAt::default();
    for _ in 0..MAX_FRAMES {
        if frame == 0 {
            return Ok(stack);
        }
        let code = memory.word(add(frame, CODE)?)?;
        let index = memory.word(add(frame, last)?)? as u32;
        // −1: it has not begun.
        let instruction = if index.cast_signed() < 0 { 0 } else { u64::from(index) * unit };
        stack.frames.push(FrameAt { code, instruction });
        frame = memory.word(add(frame, BACK)?)?;
    }
    stack.is_cut = true;
    Ok(stack)
}

#[cfg(test)]
mod tests {
    use super::super::code::frame_way;
    use super::super::tests::Words;
    use super::*;
    use profiler_core::fact::InterpreterLock;

    const LOCK: u64 = 0x1000;
    /// A thread that has ended, one that is asked for, and one beside it.
    const STATES: [u64; 3] = [0x2000, 0x3000, 0x4000];

    fn way(version: &str) -> StackWay {
        let seen = InterpreterSeen {
            version: Some(version.to_owned()),
            locks: vec![InterpreterLock { address: LOCK, interpreter: 0, interval_us: 5000 }],
            thread_number_at: Some(144),
            ..InterpreterSeen::default()
        };
        StackWay::of(&seen, frame_way(&seen)).expect("known")
    }

    /// Threads 8 and 7; 8 had the lock last.
    fn threads() -> Words {
        let mut memory = Words::default();
        memory.put(LOCK + 8, STATES[2]);
        memory.put(STATES[2], 0).put(STATES[2] + 8, STATES[1]).put(STATES[2] + 144, 8);
        memory.put(STATES[1], STATES[2]).put(STATES[1] + 8, 0).put(STATES[1] + 144, 7);
        memory
    }

    /// A frame of 3.12: its code object, the one further out, its instruction, who owns it.
    fn frame(memory: &mut Words, at: u64, code: u64, further_out: u64, owner: u64) {
        for word in 0..10 {
            memory.put(at + 8 * word, 0);
        }
        memory.put(at, code).put(at + 8, further_out).put(at + 56, code + 200).put(at + 64, owner << 48);
    }

    #[test]
    fn frames_are_read_up_to_the_one_of_c_that_called_them() {
        let mut memory = threads();
        // 3.12 has them behind a frame's address.
        memory.put(STATES[1] + 56, 0x5000).put(0x5000, 0x6000);
        frame(&mut memory, 0x6000, 0xa000, 0x6100, 0);
        frame(&mut memory, 0x6100, 0xb000, 0x6200, 1);
        frame(&mut memory, 0x6200, 0, 0, 3);
        let mut states = HashMap::new();
        let found = way("3.12").read(&memory, &[7], &mut states).expect("found");
        let at = |code| FrameAt { code, instruction: code + 200 };
        assert_eq!(found, StackAt { frames: vec![at(0xa000), at(0xb000)], is_cut: false });
        frame(&mut memory, 0x6100, 0xb000, 0, 1);
        let found = way("3.12").read(&memory, &[7], &mut states).expect("found");
        assert!(found.is_cut, "a walk that does not end where walks end");
        assert_eq!(way("3.12").read(&memory, &[9], &mut states), None);
    }

    #[test]
    fn a_thread_is_found_where_who_had_the_lock_last_has_ended() {
        let mut memory = threads();
        memory.put(STATES[1] + 56, 0x5000).put(0x5000, 0x6200);
        frame(&mut memory, 0x6200, 0, 0, 3);
        let mut states = HashMap::new();
        assert!(way("3.12").read(&memory, &[7], &mut states).is_some());
        memory.put(LOCK + 8, STATES[0]);
        memory.put(STATES[2] + 56, 0x5008).put(0x5008, 0x6200);
        assert!(way("3.12").read(&memory, &[7], &mut states).is_some());
        states.remove(&8);
        assert!(way("3.12").read(&memory, &[8], &mut states).is_some(), "by a neighbour");
        assert!(way("3.12").read(&memory, &[8], &mut HashMap::new()).is_none());
    }

    #[test]
    fn before_3_11_frames_are_objects() {
        for (version, last, bytes) in [("3.9", 104, 12), ("3.10", 96, 24)] {
            let mut memory = threads();
            memory.put(STATES[1] + 24, 0x7000);
            memory.put(0x7000 + 24, 0x8000).put(0x7000 + 32, 0xa000).put(0x7000 + last, 77 << 32 | 12);
            memory.put(0x8000 + 24, 0).put(0x8000 + 32, 0xb000).put(0x8000 + last, u64::MAX);
            let found = way(version).read(&memory, &[7], &mut HashMap::new()).expect("found");
            let at = |code, instruction| FrameAt { code, instruction };
            assert_eq!(found.frames, [at(0xa000, bytes), at(0xb000, 0)], "{version}");
        }
    }
}
