//! Stacks of threads, over memory made for them.
//!
//! In: words at addresses. Out: assertions.

use super::super::code::frame_way;
use super::super::memory::Metered;
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
    let mut states = States::default();
    let found = way("3.12").read(&memory, &[7], &mut states).expect("found");
    let at = |code, at| FrameAt { code, instruction: code + 200, identity: None, at };
    let frames = vec![at(0xa000, 0x6000), at(0xb000, 0x6100)];
    assert_eq!(found, StackAt { frames, is_cut: false });
    frame(&mut memory, 0x6100, 0xb000, 0, 1);
    let found = way("3.12").read(&memory, &[7], &mut states).expect("found");
    assert!(found.is_cut, "a walk that does not end where walks end");
    memory.put(0x6000 + 72, 0xc000);
    assert_eq!(way("3.12").first_argument(&memory, found.frames[0]), Some(0xc000));
    assert_eq!(way("3.14").first_argument(&memory, found.frames[0]), None, "not known of it");
    assert_eq!(way("3.12").read(&memory, &[9], &mut states), None);
}

/// The frame of a state, and the one of C that called it.
fn stack(memory: &mut Words, state: u64, at: u64, code: u64) {
    memory.put(state + 56, at).put(at, at + 0x100);
    frame(memory, at + 0x100, code, at + 0x200, 0);
    frame(memory, at + 0x200, 0, 0, 3);
}

#[test]
fn a_thread_is_found_where_who_had_the_lock_last_has_ended() {
    let mut memory = threads();
    stack(&mut memory, STATES[1], 0x5000, 0xa000);
    stack(&mut memory, STATES[2], 0x6000, 0xb000);
    let mut states = States::default();
    assert!(way("3.12").read(&memory, &[7], &mut states).is_some());
    memory.put(LOCK + 8, STATES[0]);
    assert!(way("3.12").read(&memory, &[7], &mut states).is_some());
    states.by_number.remove(&8);
    assert!(way("3.12").read(&memory, &[8], &mut states).is_some(), "by a neighbour");
    assert!(way("3.12").read(&memory, &[8], &mut States::default()).is_none());
    // Its memory is free: the number is still there, and it is in no list.
    memory.put(STATES[1], 0x77).put(STATES[2] + 8, 0);
    assert!(way("3.12").read(&memory, &[7], &mut states).is_none(), "it has ended");
}

#[test]
fn of_several_states_of_a_thread_the_one_with_frames_counts_and_none_where_several_have_some() {
    let mut memory = threads();
    memory.put(STATES[2] + 144, 7);
    stack(&mut memory, STATES[1], 0x5000, 0xa000);
    memory.put(STATES[2] + 56, 0x6000).put(0x6000, 0);
    let codes = |memory: &Words, states: &mut States| -> Option<Vec<u64>> {
        let stack = way("3.12").read(memory, &[7], states)?;
        Some(stack.frames.iter().map(|frame| frame.code).collect())
    };
    let mut states = States::default();
    assert_eq!(codes(&memory, &mut states), Some(vec![0xa000]));
    memory.put(STATES[1] + 56, 0x6000);
    assert_eq!(codes(&memory, &mut states), None, "frames in neither");
    stack(&mut memory, STATES[2], 0x5000, 0xb000);
    assert_eq!(codes(&memory, &mut states), Some(vec![0xb000]), "it runs in the other one by now");
    stack(&mut memory, STATES[1], 0x8000, 0xa000);
    assert_eq!(codes(&memory, &mut states), None, "frames in both");
}

#[test]
fn a_walk_ends_where_what_may_be_read_ends_and_a_circle_has_an_end() {
    let mut memory = threads();
    stack(&mut memory, STATES[1], 0x5000, 0xa000);
    let read = |memory: &Words, reads: u32| {
        let metered = Metered::new(memory, reads, Instant::now() + Duration::from_secs(60));
        let found = way("3.12").read(&metered, &[7], &mut States::default());
        (found.is_some(), metered.is_spent())
    };
    assert_eq!(read(&memory, 100), (true, false));
    assert_eq!(read(&memory, 8), (false, true));
    let late = Metered::new(&memory, 100, Instant::now());
    assert!(way("3.12").read(&late, &[7], &mut States::default()).is_none() && late.is_spent());
    memory.put(STATES[1] + 8, STATES[2]).put(STATES[2], STATES[1]);
    assert_eq!(read(&memory, 1000), (true, false));
}

#[test]
fn before_3_11_frames_are_objects() {
    for (version, last, bytes) in [("3.9", 104, 12), ("3.10", 96, 24)] {
        let mut memory = threads();
        memory.put(STATES[1] + 24, 0x7000);
        memory.put(0x7000 + 24, 0x8000).put(0x7000 + 32, 0xa000).put(0x7000 + last, 77 << 32 | 12);
        memory.put(0x8000 + 24, 0).put(0x8000 + 32, 0xb000).put(0x8000 + last, u64::MAX);
        let found = way(version).read(&memory, &[7], &mut States::default()).expect("found");
        let at = |code, instruction, at| FrameAt { code, instruction, identity: None, at };
        assert_eq!(found.frames, [at(0xa000, bytes, 0x7000), at(0xb000, 0, 0x8000)], "{version}");
        let argument = if version == "3.9" { 360 } else { 352 };
        memory.put(0x7000 + argument, 0xc000);
        assert_eq!(way(version).first_argument(&memory, found.frames[0]), Some(0xc000), "{version}");
    }
}
