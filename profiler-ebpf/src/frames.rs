//! Where in Python the holder of an interpreter lock is, read from its frames by the thread that begins to wait for it.
//!
//! In: the waiter's process. Out: [`FramesRecord`]s (`--stacks`). The holder runs on meanwhile, so this is a sample; whether it
//! was still in the same frame at the end is looked at, and said. Everything read is the process's own memory: hostile, and read
//! with bounds. Layouts are CPython's `_PyInterpreterFrame` (Include/internal/pycore_frame.h, from 3.14 on
//! pycore_interpframe_structs.h), told by user space for each process.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_probe_read_user;
use profiler_common::gil::{FRAMES_3_11, FRAMES_3_12, FrameWay};
use profiler_common::record::frames::{CUT, Frame, FramesRecord, MAX_FRAMES, UNREADABLE, UNSTABLE};

use crate::account::Account;
use crate::emit;
use crate::lock::Lock;
use crate::take::user_word;

/// Not 0 where user space wants samples. Frozen before the verifier looks, so that otherwise nothing of this is left.
#[unsafe(no_mangle)]
static STACKS: Global<u32> = Global::new(0);

/// Distance of `last_holder` in a lock.
const LAST_HOLDER: u64 = 8;
/// Words of a frame that are read.
const FRAME_WORDS: usize = 10;
/// Distance of the instruction's address in a frame, in words: the same in 3.11 to 3.15.
const INSTRUCTION: usize = 7;
/// Owners (`owner` of a frame) from here on are C code: such a frame has no code object.
const FIRST_C_OWNER: u64 = 3;
/// Frames looked at, those of C code included.
const MAX_LOOKS: usize = 12;

/// Whether samples are wanted.
#[inline(always)]
pub fn wanted() -> bool {
    STACKS.load() != 0
}

/// The thread of `account` has just begun a call that waits for the lock: samples the holder.
#[inline(always)]
pub fn sample(account: Account, lock: Lock) {
    let way = lock.frame_way();
    if way == 0 {
        return;
    }
    let way = FrameWay::unpack(way);
    let state = user_word(lock.address.wrapping_add(LAST_HOLDER));
    if state == 0 {
        return;
    }
    // SAFETY: a whole record's room is handed in.
    emit::frames(account, |record| unsafe { walk(record, state, way) });
}

/// Fills a record with the frames of the thread whose `PyThreadState` is at `state`.
///
/// # Safety
/// `record` points to a whole record.
#[inline(always)]
unsafe fn walk(record: *mut FramesRecord, state: u64, way: FrameWay) {
    let first = top(state, way);
    let mut frame = first;
    let mut count = 0_usize;
    let mut flags = 0;
    for _ in 0..MAX_LOOKS {
        if frame == 0 {
            break;
        }
        let mut words = [0_u64; FRAME_WORDS];
        // SAFETY: the destination holds that many bytes.
        let outcome = unsafe {
            bpf_probe_read_user((&raw mut words).cast(), size_of_val(&words) as u32, frame as *const _)
        };
        if outcome != 0 {
            flags |= UNREADABLE;
            break;
        }
        let (code, previous, owner) = if way.kind == FRAMES_3_11 {
            (words[4], words[6], words[8] >> 40)
        } else if way.kind == FRAMES_3_12 {
            (words[0], words[1], words[8] >> 48)
        } else {
            (words[0], words[1], words[9] >> 16)
        };
        if owner & 0xff < FIRST_C_OWNER {
            if count >= MAX_FRAMES {
                flags |= CUT;
                break;
            }
            // SAFETY: the caller promised a record, and the count was looked at. The low bits of a reference are tags.
            unsafe {
                (*record).frames[count] = Frame { code: code & !7, instruction: words[INSTRUCTION] };
            }
            count += 1;
        }
        frame = previous;
    }
    if top(state, way) != first {
        flags |= UNSTABLE;
    }
    // SAFETY: as above.
    unsafe {
        (*record).count = count as u32;
        (*record).flags = flags;
    }
}

/// The innermost frame of a thread.
#[inline(always)]
fn top(state: u64, way: FrameWay) -> u64 {
    let found = user_word(state.wrapping_add(way.at));
    if way.is_direct { found } else { user_word(found.wrapping_add(way.through)) }
}
