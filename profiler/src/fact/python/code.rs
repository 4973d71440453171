//! Code objects: what an address in a frame is of.
//!
//! In: the memory of a process, the addresses of a code object and of an instruction, the version. Out:
//! [`FrameSeen`], or nothing where what is there is no code object: it may be gone by now, and its memory
//! another thing's. Layouts are those of `PyCodeObject` (Include/cpython/code.h), strings and bytes as
//! Include/cpython/unicodeobject.h and bytesobject.h have them; all figures are of `x86_64`.

mod blocks;
mod lines;
pub(super) mod object;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use profiler_common::gil::{FRAMES_3_8, FRAMES_3_10, FRAMES_3_11, FRAMES_3_12, FRAMES_3_14, FrameWay};
use profiler_core::event::Tid;
use profiler_core::fact::InterpreterSeen;
use profiler_core::fact::frame::FrameSeen;

use self::lines::{LineTable, line_at};
use self::object::{Code, CodeLayout, identity, read};
use super::layout::Version;
use super::memory::{Memory, ProcessMemory};
use crate::fact::Proc;

/// Code objects remembered.
const MAX_CODES: usize = 16_384;
/// Instructions looked up: what a process has more of is not named.
const MAX_LOOKED_UP: usize = 65_536;
/// Processes whose memory is held open.
const MAX_PROCESSES: usize = 1024;

/// How the kernel side reads frames of a version; `None`: not known.
const fn way_of(version: Version) -> Option<FrameWay> {
    let direct = FrameWay { at: 72, is_direct: true, through: 0, kind: FRAMES_3_12 };
    Some(match version.minor_of_3() {
        Some(11) => FrameWay { at: 56, is_direct: false, through: 8, kind: FRAMES_3_11 },
        Some(12) => FrameWay { at: 56, is_direct: false, through: 0, kind: FRAMES_3_12 },
        Some(13) => direct,
        Some(14 | 15) => FrameWay { kind: FRAMES_3_14, ..direct },
        _ => return None,
    })
}

/// How the kernel side reads frames of the clock's samples; `None`: it does not.
pub fn sample_way(seen: &InterpreterSeen) -> Option<FrameWay> {
    let objects = |kind| FrameWay { at: 24, is_direct: true, through: 0, kind };
    let (way, _) = layouts(seen)?;
    way.or_else(|| match seen.version.as_deref().and_then(Version::parse_full)?.minor_of_3() {
        Some(8 | 9) => Some(objects(FRAMES_3_8)),
        Some(10) => Some(objects(FRAMES_3_10)),
        _ => None,
    })
}

/// How code objects of a version are read; `None`: not known.
const fn layout_of(version: Version) -> Option<CodeLayout> {
    let newer = CodeLayout {
        file: 112,
        function: 128,
        lines: 136,
        first_line: 68,
        version: 92,
        instructions: 208,
        characters: 40,
        wide: 16,
        variables: 72,
        stack_size: 64,
        table: LineTable::Locations,
    };
    let older = CodeLayout {
        file: 104,
        function: 112,
        lines: 120,
        first_line: 40,
        version: 0,
        instructions: 0,
        characters: 48,
        wide: 24,
        variables: 0,
        stack_size: 32,
        table: LineTable::Steps,
    };
    Some(match version.minor_of_3() {
        Some(8 | 9) => older,
        Some(10) => CodeLayout { table: LineTable::Ranges, ..older },
        Some(11) => {
            let newer =
                CodeLayout { first_line: 72, variables: 76, stack_size: 68, instructions: 184, ..newer };
            CodeLayout { version: 0, characters: 48, wide: 24, ..newer }
        }
        Some(12) => CodeLayout { instructions: 192, ..newer },
        Some(13) => CodeLayout { instructions: 200, ..newer },
        // A frame's values are tagged there, and a `with` block keeps more of them.
        Some(14 | 15) => CodeLayout { variables: 0, stack_size: 0, ..newer },
        _ => return None,
    })
}

/// How a process's code objects and frames are read; `None`: its version is not known for it, or it has no
/// lock, by which its threads are found.
pub(super) fn layouts(seen: &InterpreterSeen) -> Option<(Option<FrameWay>, CodeLayout)> {
    if seen.free_threaded || seen.locks.is_empty() {
        return None;
    }
    let version = seen.version.as_deref().and_then(Version::parse_full)?;
    Some((way_of(version), layout_of(version)?))
}

/// The way to frames in the process of this interpreter; `None`: its version is not known for it, or it has
/// no lock.
pub fn frame_way(seen: &InterpreterSeen) -> Option<FrameWay> {
    layouts(seen)?.0
}

/// What is remembered of an address.
#[derive(Debug, Default)]
struct Known {
    /// `None`: no code object is there, or none that can be read.
    code: Option<Code>,
    /// When it was looked at last.
    looked_at: u64,
    /// Code objects that were there before.
    generation: u32,
}

/// Looks code objects up, each once, and whether it is still there once a turn.
#[derive(Debug, Default)]
pub struct Codes {
    /// By process: its memory as of the program it runs, and how its code objects are laid out.
    processes: HashMap<Tid, (ProcessMemory, CodeLayout)>,
    codes: HashMap<(Tid, u64), Known>,
    /// By process, code object, its generation, and instruction.
    told: HashSet<(Tid, u64, u32, u64)>,
    turn: u64,
}

impl Codes {
    /// A process and its interpreter, as they are from now on: what was known of it before is void.
    pub fn follow(&mut self, proc: &Proc, seen: &InterpreterSeen) {
        self.forget(seen.tgid);
        let Some((Some(_), layout)) = layouts(seen) else { return };
        if self.processes.len() < MAX_PROCESSES
            && let Ok(memory) = ProcessMemory::open(proc, seen.tgid)
        {
            self.processes.insert(seen.tgid, (memory, layout));
        }
    }

    /// A process is gone.
    pub fn forget(&mut self, tgid: Tid) {
        if self.processes.remove(&tgid).is_some() {
            self.codes.retain(|(of, _), _| *of != tgid);
            self.told.retain(|(of, ..)| *of != tgid);
        }
    }

    /// Some time has gone by: another code object may be where one was.
    pub const fn next_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// What an instruction is of, the first time that it is asked for, and when that has changed.
    pub fn look_up(&mut self, tgid: Tid, code: u64, instruction: u64) -> Option<FrameSeen> {
        let (memory, layout) = self.processes.get(&tgid)?;
        if self.codes.len() >= MAX_CODES && !self.codes.contains_key(&(tgid, code)) {
            return None;
        }
        let known = match self.codes.entry((tgid, code)) {
            Entry::Vacant(free) => {
                let code = read(memory, code, *layout);
                free.insert(Known { code, looked_at: self.turn, generation: 0 })
            }
            Entry::Occupied(taken) => {
                let known = taken.into_mut();
                if known.looked_at != self.turn {
                    known.look_again(memory, code, *layout);
                    known.looked_at = self.turn;
                }
                known
            }
        };
        let key = (tgid, code, known.generation, instruction);
        let known = known.code.as_ref()?;
        if self.told.len() >= MAX_LOOKED_UP || !self.told.insert(key) {
            return None;
        }
        Some(FrameSeen {
            tgid,
            code,
            instruction,
            file: known.file.clone(),
            function: known.function.clone(),
            line: known.line(instruction).unwrap_or(0),
        })
    }
}

impl Known {
    /// Another code object may be there by now.
    fn look_again(&mut self, memory: &dyn Memory, address: u64, layout: CodeLayout) {
        let known = self.code.as_ref().map(|code| code.identity);
        if known.is_some() && known == identity(memory, address, layout) {
            return;
        }
        let code = read(memory, address, layout);
        if known.is_some() || code.is_some() {
            self.generation = self.generation.wrapping_add(1);
        }
        self.code = code;
    }
}

/// The readers over arbitrary bytes, for the fuzzer.
pub(super) fn read_hostile(memory: &dyn Memory, bytes: &[u8]) {
    for minor in 8..=15 {
        let Some(layout) = Version::parse(&format!("3.{minor}")).and_then(layout_of) else { continue };
        let _ = read(memory, 4096, layout);
        for offset in 0..64 {
            let _ = line_at(layout.table, bytes, 1, offset);
        }
    }
}

#[cfg(test)]
mod tests;
