//! Where in Python a thread that sleeps is, read from outside.
//!
//! In: the memory of its process, its number. Out: its frames, the innermost first. A thread that sleeps does
//! not change its own frames; that it slept on is for the caller to check. Distances are those of
//! `PyThreadState` (Include/cpython/pystate.h), of `_PyInterpreterFrame` (as `profiler-ebpf` reads it), and
//! before 3.11 of `PyFrameObject` (Include/frameobject.h, Include/cpython/frameobject.h); all of `x86_64`.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use profiler_common::gil::{FRAMES_3_11, FRAMES_3_14, FrameWay};
use profiler_common::stack::StackFrame;
use profiler_core::fact::InterpreterSeen;

use super::layout::Version;
use super::memory::{Memory, MemoryError};

/// Frames of one thread, those of C code included.
const MAX_FRAMES: usize = 256;
/// States of threads that are known of one process.
const MAX_STATES: usize = 4096;
/// Known states from which a walk begins.
const MAX_STARTS: usize = 4;
/// So long a thread that has one state with frames is taken to have no other.
const WALK_AGAIN: Duration = Duration::from_secs(5);
/// Distance of `last_holder` in a lock.
const LAST_HOLDER: u64 = 8;
/// Distances in a `PyThreadState` of those after and before it; and of the way back.
const LINKS: [(u64, u64); 2] = [(8, 0), (0, 8)];
/// Owners (`owner` of a frame) from here on are C code.
const FIRST_C_OWNER: u8 = 3;

/// A frame: the address of its code object, and its instruction: its address, or before 3.11 its distance
/// from the first in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameAt {
    pub(super) code: u64,
    pub(super) instruction: u64,
    /// What the kernel side made of the code object (`CodeIdentity::mixed`); `None`: it was not there.
    pub(super) identity: Option<u32>,
    /// Its own address; 0: not known.
    pub(super) at: u64,
}

/// Frames of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StackAt {
    /// The innermost first.
    pub(super) frames: Vec<FrameAt>,
    /// The walk did not end where walks end.
    pub(super) is_cut: bool,
}

/// States of a process's threads, as the last walk found them.
#[derive(Debug, Default)]
pub(super) struct States {
    by_number: HashMap<u32, Vec<u64>>,
    walked_at: Option<Instant>,
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

    /// A frame as the kernel side reads it.
    pub(super) fn frame(&self, frame: &StackFrame) -> FrameAt {
        let instruction = match self.frames {
            Frames::Inner(_) => frame.instruction,
            Frames::Objects { unit, .. } => distance(frame.instruction as u32, unit),
        };
        FrameAt { code: frame.code, instruction, identity: Some(frame.identity), at: 0 }
    }

    /// The object that is the first argument of a frame's function; `None`: not known of this version.
    pub(super) fn first_argument(&self, memory: &dyn Memory, frame: FrameAt) -> Option<u64> {
        let distance = match self.frames {
            Frames::Inner(way) if way.kind == FRAMES_3_14 => return None,
            Frames::Inner(_) => 72,
            Frames::Objects { last: 104, .. } => 360,
            Frames::Objects { .. } => 352,
        };
        let at = (frame.at != 0).then(|| frame.at.checked_add(distance))??;
        memory.word(at).ok().filter(|object| *object != 0)
    }

    /// Address of one of the interpreters' locks.
    pub(super) fn lock(&self) -> Option<u64> {
        self.locks.first().copied()
    }

    /// The frames of the thread that bears one of these numbers; `None`: none was found, or more than one
    /// stack. It runs no Python, or nobody knows its state. `states`: what earlier walks found.
    pub(super) fn read(&self, memory: &dyn Memory, numbers: &[u32], states: &mut States) -> Option<StackAt> {
        let has_walked = states.walked_at.is_none_or(|at| at.elapsed() >= WALK_AGAIN);
        if has_walked {
            self.walk(memory, states);
        }
        let found = self.only_stack(memory, numbers, states).ok()?;
        if found.is_some() || has_walked {
            return found;
        }
        self.walk(memory, states);
        self.only_stack(memory, numbers, states).ok()?
    }

    /// The stack of each thread, with what its state has at the distance of a thread's number. Threads run
    /// meanwhile, so any of it may be wrong.
    pub(super) fn stacks(&self, memory: &dyn Memory) -> Vec<(u64, StackAt)> {
        let mut states = States::default();
        self.walk(memory, &mut states);
        let stack = |state: u64| {
            let mark = memory.word(add(state, self.number_at.0)?)?;
            Ok::<_, MemoryError>((mark, self.stack(memory, state)?))
        };
        states.by_number.into_values().flatten().filter_map(|state| stack(state).ok()).collect()
    }

    fn stack(&self, memory: &dyn Memory, state: u64) -> Result<StackAt, MemoryError> {
        match self.frames {
            Frames::Inner(way) => inner(memory, state, way),
            Frames::Objects { last, unit } => objects(memory, state, last, unit),
        }
    }

    /// The one stack among the states of a thread: it has a state in each interpreter in which it has run,
    /// and frames in the one in which it runs. With frames in several it is not known which are innermost.
    fn only_stack(
        &self,
        memory: &dyn Memory,
        numbers: &[u32],
        states: &States,
    ) -> Result<Option<StackAt>, MemoryError> {
        let mut only = None;
        let found = numbers.iter().filter_map(|number| states.by_number.get_key_value(number));
        for (number, state) in found.flat_map(|(number, found)| found.iter().map(|state| (*number, *state))) {
            if self.number(memory, state) != Some(number) || !is_linked(memory, state) {
                continue;
            }
            let stack = self.stack(memory, state)?;
            if stack.frames.is_empty() {
                continue;
            }
            if only.is_some() {
                return Ok(None);
            }
            only = Some(stack);
        }
        Ok(only)
    }

    /// Finds all states again. They are a list in each interpreter, and who had the lock last is in one,
    /// unless it has ended since: then others are that were found before.
    fn walk(&self, memory: &dyn Memory, states: &mut States) {
        let holders = self.locks.iter().filter_map(|lock| {
            let holder = memory.word(lock.checked_add(LAST_HOLDER)?).ok()?;
            (holder != 0).then_some(holder)
        });
        let before = std::mem::take(&mut states.by_number);
        let others =
            before.iter().flat_map(|(number, found)| found.iter().map(move |state| (*number, *state)));
        let others = others.filter(|(number, state)| self.number(memory, *state) == Some(*number));
        let mut seen = HashSet::new();
        for start in holders.chain(others.map(|(_, state)| state).take(MAX_STARTS)) {
            // A state that has ended leads nowhere.
            if seen.contains(&start) || !is_linked(memory, start) {
                continue;
            }
            for link in LINKS {
                self.along(memory, start, link, &mut |number, state| {
                    let is_new = seen.insert(state);
                    if is_new {
                        states.by_number.entry(number).or_default().push(state);
                    }
                    (is_new || state == start) && seen.len() < MAX_STATES
                });
            }
        }
        // A list that changes meanwhile has gaps; whether a state is still one is seen when it is used.
        for (number, found) in before {
            for state in found {
                if seen.len() < MAX_STATES && self.number(memory, state) == Some(number) && seen.insert(state)
                {
                    states.by_number.entry(number).or_default().push(state);
                }
            }
        }
        states.walked_at = Some(Instant::now());
    }

    /// Calls `each` with the number and the address of states, from one on, until it has enough, or the way
    /// back is another.
    fn along(
        &self,
        memory: &dyn Memory,
        mut state: u64,
        (link, back): (u64, u64),
        each: &mut dyn FnMut(u32, u64) -> bool,
    ) {
        for _ in 0..MAX_STATES {
            let Some(number) = self.number(memory, state) else { return };
            if !each(number, state) {
                return;
            }
            let word = |at: u64, distance: u64| memory.word(at.checked_add(distance)?).ok();
            match word(state, link) {
                Some(next) if next != 0 && word(next, back) == Some(state) => state = next,
                _ => return,
            }
        }
    }

    /// The number of the thread that `pthread_self` gives this (`thread_id`, which stands before the number
    /// that the kernel has for it, from 3.11 on).
    pub(super) fn number_of(&self, memory: &dyn Memory, thread_id: u64, states: &States) -> Option<u32> {
        let distance = match self.number_at {
            (at, None) => at.checked_sub(8)?,
            (at, Some(_)) => at,
        };
        let is_its = |state: &u64| {
            state
                .checked_add(distance)
                .is_some_and(|at| memory.word(at).is_ok_and(|found| found == thread_id))
        };
        states.by_number.iter().find(|(_, found)| found.iter().any(is_its)).map(|(number, _)| *number)
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

/// Whether a state's neighbours in its list name it as theirs.
fn is_linked(memory: &dyn Memory, state: u64) -> bool {
    let word = |at: u64, distance: u64| memory.word(at.checked_add(distance)?).ok();
    LINKS.iter().all(|(link, back)| {
        word(state, *link).is_some_and(|next| next == 0 || word(next, *back) == Some(state))
    })
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
            stack.frames.push(FrameAt { code: code & !7, instruction: word(7), identity: None, at: frame });
        }
        ends_in_c = is_3_11 || owner >= FIRST_C_OWNER;
        frame = previous;
    }
    stack.is_cut = true;
    Ok(stack)
}

/// How far an instruction of 3.8 to 3.10 is from the first; −1: it has not begun.
fn distance(index: u32, unit: u64) -> u64 {
    if index.cast_signed() < 0 { 0 } else { u64::from(index) * unit }
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
        stack.frames.push(FrameAt { code, instruction: distance(index, unit), identity: None, at: frame });
        frame = memory.word(add(frame, BACK)?)?;
    }
    stack.is_cut = true;
    Ok(stack)
}

#[cfg(test)]
mod tests;
