//! Tests of reading code objects, over memory made for them.
//!
//! In: bytes at addresses. Out: assertions.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::memory::MemoryError;
use super::*;

/// `co_linetable` of a function of CPython 3.11 that begins in line 2, and the first offset of each run
/// of `co_lines()` with its line.
const TABLE: [u8; 69] = [
    128, 0, 224, 8, 9, 216, 8, 9, 136, 65, 137, 5, 240, 5, 3, 9, 6, 128, 65, 245, 10, 0, 14, 19, 144, 49,
    137, 88, 140, 88, 240, 0, 1, 5, 20, 240, 0, 1, 5, 20, 136, 1, 216, 8, 9, 143, 8, 138, 8, 144, 17, 137,
    11, 140, 11, 136, 11, 136, 11, 216, 11, 12, 128, 72, 0, 0, 0, 0, 0,
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
    memory.put_word(0x1000 + 92, 77);
    memory.put_word(0x1000 + 136, 0x5000);
    memory.put_word(0x5010, 64);
    memory.put(0x5020, &TABLE[..64]);
    let layout = Version::parse("3.12").and_then(layout_of).expect("known");
    (memory, layout)
}

#[test]
fn lines_are_those_that_python_itself_gives() {
    for (offset, line) in LINES {
        assert_eq!(line_at(LineTable::Locations, &TABLE[..64], 2, offset), Some(line), "at {offset}");
    }
    assert_eq!(line_at(LineTable::Locations, &TABLE[..64], 2, 98), None, "behind the end");
    assert_eq!(line_at(LineTable::Locations, &[], 2, 0), None);
    assert_eq!(line_at(LineTable::Locations, &[0x80 | 15 << 3], 2, 0), None, "an instruction of no line");
}

#[test]
fn older_tables_have_lines_too() {
    let ranges = [2, 1, 4, 2, 6, 128, 2, 255];
    let of_3_10 = |offset| line_at(LineTable::Ranges, &ranges, 2, offset);
    assert_eq!(
        [0, 1, 2, 5, 6, 11, 12, 13, 14].map(of_3_10),
        [Some(3), Some(3), Some(5), Some(5), None, None, Some(4), Some(4), None]
    );
    let steps = [0, 1, 4, 2, 6, 255];
    let of_3_9 = |offset| line_at(LineTable::Steps, &steps, 2, offset);
    assert_eq!([0, 3, 4, 9, 10, 400].map(of_3_9), [Some(3), Some(3), Some(5), Some(5), Some(4), Some(4)]);
    assert_eq!(line_at(LineTable::Steps, &[], 2, 7), Some(2));
}

#[test]
fn code_object_gives_file_function_and_line() {
    let (memory, layout) = code_of_3_12();
    let code = read(&memory, 0x1000, layout).expect("a code object");
    assert_eq!((code.file.as_str(), code.function.as_str()), ("/srv/shop/views.py", "View.get"));
    assert_eq!(code.instructions, 0x1000 + 192);
    assert_eq!(code.line(code.instructions + 50), Some(9));
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
fn the_kernel_side_has_a_way_from_3_11_on_and_in_builds_with_a_lock_alone() {
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
    assert!(layouts(&seen("3.10.13")).is_some() && layouts(&seen("3.16")).is_none());
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
        let _ = line_at(LineTable::Locations, &table, first, offset);
    }
}
