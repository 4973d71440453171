//! Locks of frames, over memory made for them.
//!
//! In: words at addresses. Out: assertions.

use super::super::code::object::tests::code_with_blocks;
use super::super::tests::Words;
use super::*;
use profiler_core::fact::place::Whose;

const FRAME: u64 = 0x10_000;
/// The stack of values of a frame.
const VALUES: u64 = 0x20_000;

fn put_text(memory: &mut Words, address: u64, text: &[u8]) {
    for (at, chunk) in (address..).step_by(8).zip(text.chunks(8)) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        memory.put(at, u64::from_le_bytes(word));
    }
}

/// A function of this name, bound to an object of a class of that name whose third word is 8.
fn bound(memory: &mut Words, at: u64, function: &[u8], class: &[u8]) -> u64 {
    let (method, object, class_at) = (at + 0x100, at + 0x200, at + 0x300);
    memory.put(at + 16, method).put(at + 24, object).put(method, at + 0x400);
    put_text(memory, at + 0x400, function);
    memory.put(object + 8, class_at).put(object + 16, at + 8).put(class_at + 24, at + 0x500);
    put_text(memory, at + 0x500, class);
    at
}

fn version(text: &str) -> HeldWay {
    let seen = InterpreterSeen { version: Some(text.to_owned()), ..InterpreterSeen::default() };
    HeldWay::of(&seen).expect("known")
}

/// Five values: two locks, a file, nothing, and a lock of a block that has ended.
fn values(memory: &mut Words, at: u64) {
    let exit = b"__exit__\0";
    let all = [
        bound(memory, 0x1000, exit, b"_thread.lock\0"),
        bound(memory, 0x2000, exit, b"_thread.RLock\0"),
        bound(memory, 0x3000, exit, b"_io.TextIOWrapper\0"),
        0,
        bound(memory, 0x5000, exit, b"_thread.lock\0"),
    ];
    for (index, value) in (0..).zip(all) {
        memory.put(at + 8 * index, value);
    }
}

#[test]
fn the_blocks_of_a_frame_say_how_deep_its_stack_is_before_3_11() {
    let frame = FrameAt { code: 0, instruction: 0, identity: None, at: FRAME };
    for (text, count) in [("3.8", 112), ("3.9", 112), ("3.10", 104)] {
        let held = |blocks: u64, level: u64| {
            let mut memory = Words::default();
            values(&mut memory, VALUES);
            memory.put(FRAME + 64, VALUES).put(FRAME + count, blocks);
            // Of the third block.
            memory.put(FRAME + count + 8 + 2 * 12 + 8, level);
            version(text).locks(&memory, frame, &code_with_blocks(&[]))
        };
        assert_eq!(held(3, 4), [0x1008, 0x2008], "{text}");
        assert!(held(0, 4).is_empty(), "{text}: no block");
        assert!(held(21, 4).is_empty(), "{text}: more than there can be");
    }
}

/// An `RLock` of word 8 that thread 0x77 has taken so often, and its `acquire`.
fn lock_taken(memory: &mut Words, times: u64) -> (u64, u64) {
    let bound = bound(memory, 0x1000, b"acquire\0", b"_thread.RLock\0");
    memory.put(0x1200 + 16, 8).put(0x1200 + 24, 0x77).put(0x1200 + 32, times);
    (0x1200, bound)
}

#[test]
fn a_lock_that_may_be_taken_again_says_who_has_it_wherever_it_lies_on_the_stack() {
    let code = code_with_blocks(&[]);
    let owner = |times: u64, value: fn((u64, u64)) -> u64, index: u64, lock: u64| {
        let mut memory = Words::default();
        let value = value(lock_taken(&mut memory, times));
        let at = FRAME + 72 + 8 * u64::from(code.variables);
        for index in 0..8 {
            memory.put(at + 8 * index, 0);
        }
        memory.put(at + 8 * index, value);
        let frame = FrameAt { code: 0, instruction: 0, identity: None, at: FRAME };
        version("3.12").owner(&memory, frame, &code, lock)
    };
    assert_eq!(owner(1, |(lock, _)| lock, 5, 8), Some(0x77));
    assert_eq!(owner(2, |(_, bound)| bound, 0, 8), Some(0x77), "its method");
    assert_eq!(owner(0, |(lock, _)| lock, 0, 8), None, "nobody has it");
    assert_eq!(owner(1, |(lock, _)| lock, 0, 9), None, "another lock");
    assert_eq!(owner(1, |(lock, _)| lock, 6, 8), None, "beyond the stack");
}

#[test]
fn who_waits_for_a_condition_of_its_own_code_has_given_its_lock_back() {
    let waits_in = |functions: &[&str], file: &str| {
        let of = |function: &&str| PythonFrame {
            file: "/usr/lib/python3.11/threading.py".to_owned(),
            function: (*function).to_owned(),
            line: 1,
            whose: Whose::Unknown,
        };
        let mut frames: Vec<PythonFrame> = functions.iter().map(of).collect();
        frames.push(PythonFrame { file: file.to_owned(), ..frames[0].clone() });
        has_given_back(&frames)
    };
    for functions in [
        &["Condition.wait"][..],
        &["wait"],
        &["Condition.wait", "Condition.wait_for"],
        &["Condition._acquire_restore", "Condition.wait"],
    ] {
        assert!(waits_in(functions, "/srv/app.py"), "{functions:?}");
    }
    for functions in [&["Condition.wait", "Event.wait"][..], &["wait", "acquire"], &["RLock.acquire"]] {
        assert!(!waits_in(functions, "/srv/app.py"), "{functions:?}");
    }
}

#[test]
fn the_table_of_exceptions_says_how_deep_it_is_from_3_11_on() {
    // Four values from the first instruction to the fourth.
    let code = code_with_blocks(&[0x80, 4, 9, 4 << 1]);
    let mut memory = Words::default();
    values(&mut memory, FRAME + 72 + 8 * u64::from(code.variables));
    let held = |instruction, at| {
        let frame = FrameAt { code: 0, instruction, identity: None, at };
        version("3.12").locks(&memory, frame, &code)
    };
    assert_eq!(held(6, FRAME), [0x1008, 0x2008]);
    assert!(held(8, FRAME).is_empty(), "behind the block");
    assert!(held(6, 0).is_empty(), "where the frame is was not read");
    let newest = InterpreterSeen { version: Some("3.14".to_owned()), ..InterpreterSeen::default() };
    assert_eq!(HeldWay::of(&newest), None);
}
