//! Code objects: what an address in a frame is of.
//!
//! In: the memory of a process, the addresses of a code object and of an instruction, the version. Out:
//! [`FrameSeen`], or nothing where what is there is no code object: it may be gone by now, and its memory
//! another thing's. Layouts are those of `PyCodeObject` (Include/cpython/code.h), strings and bytes as
//! Include/cpython/unicodeobject.h and bytesobject.h have them; all figures are of `x86_64`.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use profiler_common::gil::{FRAMES_3_11, FRAMES_3_12, FRAMES_3_14, FrameWay};
use profiler_core::event::Tid;
use profiler_core::fact::InterpreterSeen;
use profiler_core::fact::frame::FrameSeen;

use super::layout::Version;
use super::memory::{Memory, ProcessMemory};
use crate::fact::Proc;

/// Longest name of a file or function, in characters.
const MAX_NAME: u64 = 1024;
/// Longest table of lines.
const MAX_TABLE_BYTES: u64 = 256 * 1024;
/// Code objects remembered.
const MAX_CODES: usize = 16_384;
/// Instructions looked up: what a process has more of is not named.
const MAX_LOOKED_UP: usize = 65_536;
/// Processes whose memory is held open.
const MAX_PROCESSES: usize = 1024;

/// Distances in a code object of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CodeLayout {
    file: u64,
    function: u64,
    lines: u64,
    first_line: u64,
    instructions: u64,
    /// Distance of an ASCII string's characters in the string.
    characters: u64,
    /// How much further those of other strings are.
    wide: u64,
}

/// How frames and code objects of a version are read; `None`: not known.
const fn layout_of(version: Version) -> Option<(FrameWay, CodeLayout)> {
    let direct = FrameWay { at: 72, is_direct: true, through: 0, kind: FRAMES_3_12 };
    let newer = CodeLayout {
        file: 112,
        function: 128,
        lines: 136,
        first_line: 68,
        instructions: 0,
        characters: 40,
        wide: 16,
    };
    Some(match version.minor_of_3() {
        Some(11) => {
            let way = FrameWay { at: 56, is_direct: false, through: 8, kind: FRAMES_3_11 };
            (way, CodeLayout { first_line: 72, instructions: 184, characters: 48, wide: 24, ..newer })
        }
        Some(12) => {
            let way = FrameWay { at: 56, is_direct: false, through: 0, kind: FRAMES_3_12 };
            (way, CodeLayout { instructions: 192, ..newer })
        }
        Some(13) => (direct, CodeLayout { instructions: 200, ..newer }),
        Some(14 | 15) => {
            (FrameWay { kind: FRAMES_3_14, ..direct }, CodeLayout { instructions: 208, ..newer })
        }
        _ => return None,
    })
}

/// The way to frames in the process of this interpreter; `None`: its version is not known for it, or it has
/// no lock.
pub fn frame_way(seen: &InterpreterSeen) -> Option<FrameWay> {
    if seen.free_threaded || seen.locks.is_empty() {
        return None;
    }
    layout_of(seen.version.as_deref().and_then(Version::parse_full)?).map(|(way, _)| way)
}

/// What distinguishes a code object from another, at the same address once it is gone: where its names and
/// its table of lines are, and its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    file: u64,
    function: u64,
    lines: u64,
    first_line: u32,
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

/// What is remembered of a code object.
#[derive(Debug)]
struct Code {
    identity: Identity,
    file: String,
    function: String,
    instructions: u64,
    table: Vec<u8>,
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
        let version = seen.version.as_deref().and_then(Version::parse_full);
        let Some((_, layout)) = version.and_then(layout_of) else { return };
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
        let line = instruction
            .checked_sub(known.instructions)
            .and_then(|offset| line_at(&known.table, known.identity.first_line, offset));
        Some(FrameSeen {
            tgid,
            code,
            instruction,
            file: known.file.clone(),
            function: known.function.clone(),
            line: line.unwrap_or(0),
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

/// What distinguishes the code object at `address` from others, if it can be read.
fn identity(memory: &dyn Memory, address: u64, layout: CodeLayout) -> Option<Identity> {
    let word = |distance: u64| memory.word(address.checked_add(distance)?).ok();
    Some(Identity {
        file: word(layout.file)?,
        function: word(layout.function)?,
        lines: word(layout.lines)?,
        first_line: word(layout.first_line)? as u32,
    })
}

/// Reads the code object at `address`, if one is there.
fn read(memory: &dyn Memory, address: u64, layout: CodeLayout) -> Option<Code> {
    let at = |distance: u64| address.checked_add(distance);
    // Every object begins with its count of references and its type, a type with its own and its name
    // (`tp_name` at 24).
    let class = memory.word(at(8)?).ok()?;
    let name = memory.word(class.checked_add(24)?).ok()?;
    let mut letters = [0; 5];
    memory.read(name, &mut letters).ok()?;
    if &letters != b"code\0" {
        return None;
    }
    let identity = identity(memory, address, layout)?;
    let table_at = identity.lines;
    let length = memory.word(table_at.checked_add(16)?).ok().filter(|length| *length <= MAX_TABLE_BYTES)?;
    let mut table = vec![0; usize::try_from(length).ok()?];
    memory.read(table_at.checked_add(32)?, &mut table).ok()?;
    Some(Code {
        identity,
        file: text(memory, identity.file, layout)?,
        function: text(memory, identity.function, layout)?,
        instructions: at(layout.instructions)?,
        table,
    })
}

/// A `str` of printable characters. Its state (at 32) says how wide its characters are, and whether they are
/// in it at all.
fn text(memory: &dyn Memory, address: u64, layout: CodeLayout) -> Option<String> {
    const COMPACT: u64 = 1 << 5;
    const ASCII: u64 = 1 << 6;
    let length = memory.word(address.checked_add(16)?).ok().filter(|length| *length <= MAX_NAME)?;
    let state = memory.word(address.checked_add(32)?).ok()?;
    let width = state >> 2 & 7;
    if state & COMPACT == 0 || !matches!(width, 1 | 2 | 4) || state & ASCII != 0 && width != 1 {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length * width).ok()?];
    let further = if state & ASCII == 0 { layout.wide } else { 0 };
    memory.read(address.checked_add(layout.characters + further)?, &mut bytes).ok()?;
    // Bytes of a file's name that are no UTF-8 are halves of surrogate pairs.
    let character = |bytes: &[u8]| {
        let number = bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
        char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER)
    };
    let text: String = bytes.chunks_exact(usize::try_from(width).ok()?).map(character).collect();
    (!text.is_empty() && !text.contains(char::is_control)).then_some(text)
}

/// The line of the instruction `offset_bytes` behind a code object's first, by its table of locations
/// (InternalDocs/code_objects.md in CPython's source). The table has runs of instructions of two bytes each,
/// every run with how far its line is from that of the run before.
fn line_at(table: &[u8], first_line: u32, offset_bytes: u64) -> Option<u32> {
    const NO_LOCATION: u8 = 15;
    const LONG: u8 = 14;
    const NO_COLUMNS: u8 = 13;
    const ONE_LINE: u8 = 10;
    let mut bytes = table.iter().copied().peekable();
    let (mut line, mut end) = (i64::from(first_line), 0);
    while let Some(head) = bytes.next() {
        if head & 0x80 == 0 {
            return None;
        }
        let kind = head >> 3 & 15;
        end += u64::from(head & 7) * 2 + 2;
        line += match kind {
            LONG | NO_COLUMNS => {
                let number = varint(&mut bytes)?;
                // The sign is the lowest bit.
                let size = i64::try_from(number >> 1).ok()?;
                if number & 1 == 1 { -size } else { size }
            }
            _ if (ONE_LINE..NO_COLUMNS).contains(&kind) => i64::from(kind - ONE_LINE),
            _ => 0,
        };
        // What is left of this run are columns: none of its further bytes has the top bit.
        while bytes.next_if(|byte| byte & 0x80 == 0).is_some() {}
        if offset_bytes < end {
            return if kind == NO_LOCATION { None } else { u32::try_from(line).ok() };
        }
    }
    None
}

/// Six bits a byte, the lowest first; all but the last have bit 6.
fn varint(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..36).step_by(6) {
        let byte = bytes.next()?;
        number |= u64::from(byte & 63) << shift;
        if byte & 64 == 0 {
            return Some(number);
        }
    }
    None
}

/// The readers over arbitrary bytes, for the fuzzer.
pub(super) fn read_hostile(memory: &dyn Memory, bytes: &[u8]) {
    for minor in 11..=15 {
        let Some((_, layout)) = Version::parse(&format!("3.{minor}")).and_then(layout_of) else { continue };
        let _ = read(memory, 4096, layout);
    }
    for offset in 0..64 {
        let _ = line_at(bytes, 1, offset);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::memory::MemoryError;
    use super::*;

    /// `co_linetable` of a function of CPython 3.11 that begins in line 2, and the first offset of each run
    /// of `co_lines()` with its line.
    const TABLE: [u8; 69] = [
        128, 0, 224, 8, 9, 216, 8, 9, 136, 65, 137, 5, 240, 5, 3, 9, 6, 128, 65, 245, 10, 0, 14, 19, 144, 49,
        137, 88, 140, 88, 240, 0, 1, 5, 20, 240, 0, 1, 5, 20, 136, 1, 216, 8, 9, 143, 8, 138, 8, 144, 17,
        137, 11, 140, 11, 136, 11, 136, 11, 216, 11, 12, 128, 72, 0, 0, 0, 0, 0,
    ];
    const LINES: [(u64, u32); 9] =
        [(0, 2), (2, 4), (4, 5), (12, 3), (16, 8), (48, 8), (50, 9), (92, 9), (94, 10)];

    /// Bytes at addresses; nothing else is mapped.
    #[derive(Default)]
    struct Bytes(BTreeMap<u64, u8>);

    impl Bytes {
        fn put(&mut self, address: u64, bytes: &[u8]) {
            self.0.extend((address..).zip(bytes.iter().copied()));
        }

        fn put_word(&mut self, address: u64, word: u64) {
            self.put(address, &word.to_le_bytes());
        }

        fn string(&mut self, address: u64, text: &str) {
            self.put_word(address + 16, text.len() as u64);
            self.put_word(address + 32, 0x65);
            self.put(address + 40, text.as_bytes());
        }

        /// One of characters that are not all ASCII, each `width` bytes wide.
        fn wide_string(&mut self, address: u64, text: &[u32], width: usize) {
            self.put_word(address + 16, text.len() as u64);
            self.put_word(address + 32, 0xabcd_ef00 | 1 << 5 | (width as u64) << 2);
            let bytes = text.iter().flat_map(|character| character.to_le_bytes().into_iter().take(width));
            self.put(address + 56, &bytes.collect::<Vec<u8>>());
        }
    }

    impl Memory for Bytes {
        fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
            for (place, byte) in (address..).zip(bytes) {
                *byte = *self.0.get(&place).ok_or(MemoryError::Address)?;
            }
            Ok(())
        }
    }

    /// A code object of CPython 3.12 at 0x1000.
    fn code_of_3_12() -> (Bytes, CodeLayout) {
        let mut memory = Bytes::default();
        memory.put_word(0x1008, 0x2000);
        memory.put_word(0x2018, 0x2100);
        memory.put(0x2100, b"code\0");
        memory.put_word(0x1000 + 112, 0x3000);
        memory.string(0x3000, "/srv/shop/views.py");
        memory.put_word(0x1000 + 128, 0x4000);
        memory.string(0x4000, "View.get");
        memory.put_word(0x1000 + 68, 2);
        memory.put_word(0x1000 + 136, 0x5000);
        memory.put_word(0x5010, 64);
        memory.put(0x5020, &TABLE[..64]);
        let (_, layout) = Version::parse("3.12").and_then(layout_of).expect("known");
        (memory, layout)
    }

    #[test]
    fn lines_are_those_that_python_itself_gives() {
        for (offset, line) in LINES {
            assert_eq!(line_at(&TABLE[..64], 2, offset), Some(line), "at {offset}");
        }
        assert_eq!(line_at(&TABLE[..64], 2, 98), None, "behind the end");
        assert_eq!(line_at(&[], 2, 0), None);
        assert_eq!(line_at(&[0x80 | 15 << 3], 2, 0), None, "an instruction of no line");
    }

    #[test]
    fn code_object_gives_file_function_and_line() {
        let (memory, layout) = code_of_3_12();
        let code = read(&memory, 0x1000, layout).expect("a code object");
        assert_eq!((code.file.as_str(), code.function.as_str()), ("/srv/shop/views.py", "View.get"));
        assert_eq!(code.instructions, 0x1000 + 192);
        assert_eq!(line_at(&code.table, code.identity.first_line, 50), Some(9));
    }

    #[test]
    fn names_may_be_of_any_language_and_bytes_that_are_no_text_do_not_hide_them() {
        for (text, width) in [("café/vues.py", 1), ("вид.py", 2), ("ラーメン", 2), ("😀.py", 4)] {
            let (mut memory, layout) = code_of_3_12();
            let characters: Vec<u32> = text.chars().map(u32::from).collect();
            memory.wide_string(0x3000, &characters, width);
            assert_eq!(read(&memory, 0x1000, layout).map(|code| code.file).as_deref(), Some(text));
        }
        let (mut memory, layout) = code_of_3_12();
        // The byte 0xff of a file's name, as `os.fsdecode` has it.
        memory.wide_string(0x3000, &[0x61, 0xdcff, 0x62], 2);
        assert_eq!(read(&memory, 0x1000, layout).map(|code| code.file).as_deref(), Some("a\u{fffd}b"));
        memory.wide_string(0x3000, &[0x61, 0x85, 0x62], 1);
        assert!(read(&memory, 0x1000, layout).is_none(), "a control character");
        memory.put_word(0x3000 + 32, 1 << 5 | 3 << 2);
        assert!(read(&memory, 0x1000, layout).is_none(), "characters of no width");
        memory.put_word(0x3000 + 32, 0);
        assert!(read(&memory, 0x1000, layout).is_none(), "characters that are elsewhere");
    }

    #[test]
    fn another_code_object_at_the_same_address_is_known_as_another() {
        let (mut memory, layout) = code_of_3_12();
        let mut known = Known { code: read(&memory, 0x1000, layout), ..Known::default() };
        known.look_again(&memory, 0x1000, layout);
        assert_eq!(known.generation, 0, "it is the same one");
        memory.string(0x6000, "View.post");
        memory.put_word(0x1000 + 128, 0x6000);
        known.look_again(&memory, 0x1000, layout);
        let function = known.code.as_ref().map(|code| code.function.as_str());
        assert_eq!((known.generation, function), (1, Some("View.post")));
        memory.put(0x2100, b"dict\0");
        memory.put_word(0x1000 + 128, 0x7000);
        known.look_again(&memory, 0x1000, layout);
        known.look_again(&memory, 0x1000, layout);
        assert_eq!((known.generation, known.code.is_none()), (2, true), "none is there");
    }

    #[test]
    fn what_is_no_code_object_any_more_gives_nothing() {
        let (mut memory, layout) = code_of_3_12();
        memory.put(0x2100, b"dict\0");
        assert!(read(&memory, 0x1000, layout).is_none(), "another type");
        let (mut memory, layout) = code_of_3_12();
        memory.put(0x3000 + 40, b"\x1b[2J");
        assert!(read(&memory, 0x1000, layout).is_none(), "a name that is none");
        let (mut memory, layout) = code_of_3_12();
        memory.put_word(0x5010, u64::MAX);
        assert!(read(&memory, 0x1000, layout).is_none(), "a table longer than any");
        assert!(read(&Bytes::default(), u64::MAX - 4, layout).is_none());
    }

    #[test]
    fn versions_before_3_11_and_builds_without_lock_have_no_way() {
        use profiler_core::fact::InterpreterLock;
        let lock = InterpreterLock { address: 8, interpreter: 0, interval_us: 5000 };
        let seen = |version: &str| InterpreterSeen {
            version: Some(version.to_owned()),
            locks: vec![lock],
            ..InterpreterSeen::default()
        };
        for version in ["3.11", "3.11.2", "3.12.1", "3.13.5", "3.14.10", "3.15.2"] {
            assert!(frame_way(&seen(version)).is_some(), "{version}");
        }
        for version in ["3.8", "3.10.13", "3.16", "2.7", "4.11", "3", ""] {
            assert!(frame_way(&seen(version)).is_none(), "{version}");
        }
        assert!(frame_way(&InterpreterSeen { free_threaded: true, ..seen("3.13") }).is_none());
        assert!(frame_way(&InterpreterSeen { locks: Vec::new(), ..seen("3.13") }).is_none());
    }

    proptest! {
        #[test]
        fn tables_from_outside_give_a_line_or_none(
            table in prop::collection::vec(any::<u8>(), 0..200),
            first in any::<u32>(),
            offset in any::<u64>(),
        ) {
            let _ = line_at(&table, first, offset);
        }
    }
}
