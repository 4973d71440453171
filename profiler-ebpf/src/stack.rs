//! The Python frames of the thread that runs here.
//!
//! In: the process's memory, how its interpreter lays frames out ([`FrameWay`]). Out: samples in their ring.
//! Everything read is the process's own memory: hostile, and read with bounds; the loops are the kernel's
//! (`bpf_loop`, Linux 5.17). Each frame has an identity of its code object, so that a name that is read later
//! is compared first. Layouts are CPython's `_PyInterpreterFrame` (Include/internal/pycore_frame.h, from 3.14
//! on pycore_interpframe_structs.h), before 3.11 `PyFrameObject` (Include/frameobject.h,
//! Include/cpython/frameobject.h), and `PyCodeObject` (Include/cpython/code.h).

use core::ffi::c_void;

use aya_ebpf::bindings::task_struct;
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_loop, bpf_probe_read_user};
use aya_ebpf::macros::btf_map;
use profiler_common::gil::{CollectingWay, FRAMES_3_8, FRAMES_3_10, FRAMES_3_11, FRAMES_3_14, FrameWay};
use profiler_common::loss;
use profiler_common::stack::{
    COLLECTING, COLLECTING_ELSEWHERE, COLLECTING_READ, COLLECTOR_CALLS, COMPARED_BYTES, CUT, CodeIdentity,
    MAX_STACK, NO_STATE, StackFrame, StackSample, TOLD_AGAIN_NS, content_of, mix,
};

use crate::account::Account;
use crate::emit;
use crate::kernel::task;
use crate::lock::{self, Lock};
use crate::maps::{SAMPLES, TOLD_STACKS};
use crate::user_memory::{first_word, user_word};

/// Frames that are looked at, those of C code included.
const MAX_LOOKS: u32 = 96;
/// States looked at in each direction.
const MAX_STATES: u32 = 256;
/// Distance of `last_holder` in a lock.
const LAST_HOLDER: u64 = 8;
/// Distances in a `PyThreadState` of the one before it, which is newer, and the one after it.
const LINKS: [u64; 2] = [8, 0];
/// Distance of `interp` in a `PyThreadState`, which follows the links (Include/cpython/pystate.h).
const INTERPRETER: u64 = 16;
/// Words of a frame that are read: all that any version has of what is needed.
const FRAME_WORDS: usize = 14;
/// Owners (`owner` of a frame) from here on are C code: such a frame has no code object.
const FIRST_C_OWNER: u64 = 3;
/// Tells the verifier where a frame can go.
const COUNT_MASK: u32 = 63;
/// `BPF_RB_NO_WAKEUP` (include/uapi/linux/bpf.h): the reader has a timer.
const NO_WAKEUP: u64 = 1;

/// Where a sample is put together, and where the walks are.
#[repr(C)]
pub struct Scratch {
    /// What is handed over: the sample, and its frames behind it.
    pub sample: StackSample,
    /// The frames.
    pub frames: [StackFrame; COUNT_MASK as usize + 1],
    /// The state or the frame that is looked at next.
    next: u64,
    /// Distance of the link to the next state.
    link: u64,
    number_at: u64,
    number_through: u64,
    own: u32,
    inherited: u32,
    /// The state that was found.
    state: u64,
    /// One of the `FRAMES_` constants.
    kind: u64,
    /// The last frame was one that walks end on.
    ends_well: u64,
    /// The frame that is looked at, and its code object.
    frame: [u64; FRAME_WORDS],
    code: [u64; CODE_WORDS],
    /// The file of the frame before, and what is in its name.
    file: u64,
    file_content: u64,
    /// How far the sleeps have come in their step, and where in it its point is, as a part of 2^32
    /// ([`crate::waits`]).
    pub at_ns: u64,
    pub point: u64,
}

/// Two of each CPU: the clock interrupts everything else, and never itself.
#[btf_map]
static SCRATCH: PerCpuArray<Scratch, 2> = PerCpuArray::new();

/// The scratch of the clock.
pub const OF_CLOCK: u32 = 0;
/// The scratch of hooks, of which one runs at a time.
pub const OF_HOOKS: u32 = 1;

/// One of this CPU's.
#[inline(always)]
pub fn scratch(of: u32) -> Option<*mut Scratch> {
    SCRATCH.get_ptr_mut(of)
}

/// Fills the scratch with the frames of the thread that runs here, `task`, which may have an account.
///
/// # Safety
/// `scratch` is this CPU's, and nobody else's meanwhile.
#[inline(always)]
unsafe fn read(
    (scratch, of): (*mut Scratch, u32),
    lock: Lock,
    way: FrameWay,
    task: *mut task_struct,
    account: Option<Account>,
) {
    // SAFETY: as the caller promises.
    unsafe {
        (*scratch).number_at = lock.thread_number_at();
        (*scratch).number_through = lock.thread_number_through();
        (*scratch).own = task::own_number(task);
        let (tgid, tid) = task::who(task);
        (*scratch).inherited = if tgid == tid { lock.inherited_number() } else { 0 };
        let is_clock = of == OF_CLOCK;
        let mut of = of;
        let state = find_state(scratch, &raw mut of, lock, account);
        if state == 0 {
            (*scratch).sample.flags |= NO_STATE;
            return;
        }
        if is_clock {
            collecting(scratch, lock, state);
        }
        let first = user_word(state.wrapping_add(way.at));
        (*scratch).next =
            if way.is_direct { first } else { first_word(first.wrapping_add(way.through), first) };
        (*scratch).kind = way.kind;
        // From 3.12 on whoever calls Python from C has a frame of its own: the outermost is one of C.
        (*scratch).ends_well = 0;
        (*scratch).file = 0;
        bpf_loop(MAX_LOOKS, look as *mut c_void, (&raw mut of).cast(), 0);
        if (*scratch).next != 0 || (*scratch).ends_well == 0 {
            (*scratch).sample.flags |= CUT;
        }
    }
}

/// Words of the collector's state that are read: three for each generation, of which the first counts
/// collections that are over; then the note that it collects, a list of garbage and that of callbacks.
const COLLECTOR_WORDS: usize = 12;
const NOTE: usize = 9;
const CALLBACKS: usize = 11;
/// Distance of the length in a list (Include/cpython/listobject.h).
const LIST_LENGTH: u64 = 16;

/// Whether the interpreter of a state collects garbage, into the sample.
///
/// # Safety
/// As for [`read`].
#[inline(always)]
unsafe fn collecting(scratch: *mut Scratch, lock: Lock, state: u64) {
    let at = match CollectingWay::unpack(lock.frame_way()) {
        Some(CollectingWay::InInterpreter(at)) => {
            user_word(state.wrapping_add(INTERPRETER)).wrapping_add(at.into())
        }
        Some(CollectingWay::BeforeLock(by)) => lock.address.wrapping_sub(by.into()),
        None => return,
    };
    // SAFETY: as the caller promises; the destination holds as many bytes. Frames are read later.
    unsafe {
        let words = (&raw mut (*scratch).frame).cast::<[u64; COLLECTOR_WORDS]>();
        let from = at.wrapping_sub(8 * NOTE as u64) as *const _;
        if bpf_probe_read_user(words.cast(), size_of::<[u64; COLLECTOR_WORDS]>() as u32, from) != 0 {
            return;
        }
        let words = &*words;
        let flags = match words[NOTE] as u32 {
            0 => COLLECTING_READ,
            // Others compute meanwhile without the lock.
            1 => match lock.held_by(state) {
                Some(switches) => {
                    (*scratch).sample.switches = switches as u16;
                    let collections = words[0].wrapping_add(words[3]).wrapping_add(words[6]);
                    (*scratch).sample.collections = collections as u16;
                    let mut callbacks = 1_u64;
                    let length = words[CALLBACKS].wrapping_add(LIST_LENGTH) as *const _;
                    let is_read = bpf_probe_read_user((&raw mut callbacks).cast(), 8, length) == 0;
                    let calls = if is_read && callbacks == 0 { 0 } else { COLLECTOR_CALLS };
                    COLLECTING_READ | COLLECTING | calls
                }
                None if lock.is_only() => COLLECTING_READ | COLLECTING_ELSEWHERE,
                None => return,
            },
            _ => return,
        };
        (*scratch).sample.flags |= flags;
    }
}

/// The state of the thread that runs here; 0: it was not found. The thread's account remembers it.
///
/// # Safety
/// As for [`read`].
#[inline(always)]
unsafe fn find_state(scratch: *mut Scratch, of: *mut u32, lock: Lock, account: Option<Account>) -> u64 {
    // SAFETY: as the caller promises; the thread itself runs here, interrupted.
    unsafe {
        if (*scratch).own == 0 || (*scratch).number_at == 0 {
            return 0;
        }
        if let Some(account) = account {
            let known = (*account).thread_state;
            if known != 0 && is_own(scratch, known) {
                return known;
            }
        }
        let holder = user_word(lock.address.wrapping_add(LAST_HOLDER));
        (*scratch).state = 0;
        for link in LINKS {
            if (*scratch).state == 0 {
                (*scratch).next = holder;
                (*scratch).link = link;
                bpf_loop(MAX_STATES, state_along as *mut c_void, of.cast(), 0);
            }
        }
        let found = (*scratch).state;
        if let Some(account) = account
            && found != 0
            && (*account).thread_state == 0
        {
            (*account).thread_mark = user_word(found.wrapping_add((*scratch).number_at));
            (*account).thread_state = found;
        }
        found
    }
}

/// Whether a state bears the number of the thread that runs here.
///
/// # Safety
/// As for [`read`].
#[inline(always)]
unsafe fn is_own(scratch: *mut Scratch, state: u64) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        let mut number = user_word(state.wrapping_add((*scratch).number_at));
        let through = (*scratch).number_through;
        if through != 0 {
            number = first_word(number.wrapping_add(through), number);
        }
        let number = number as u32;
        number != 0 && (number == (*scratch).own || number == (*scratch).inherited)
    }
}

/// One state of the list. Returns whether that was the last.
extern "C" fn state_along(_: u64, of: *mut u32) -> i64 {
    // SAFETY: the helper passes on what it was given.
    let Some(scratch) = scratch(unsafe { *of }) else { return 1 };
    // SAFETY: the look-up succeeded, and nobody else has it meanwhile.
    unsafe {
        let state = (*scratch).next;
        if state == 0 {
            return 1;
        }
        if is_own(scratch, state) {
            (*scratch).state = state;
            return 1;
        }
        (*scratch).next = user_word(state.wrapping_add((*scratch).link));
    }
    0
}

/// One frame, of C code or of Python. Returns whether that was the last.
extern "C" fn look(_: u64, of: *mut u32) -> i64 {
    // SAFETY: the helper passes on what it was given.
    let Some(scratch) = scratch(unsafe { *of }) else { return 1 };
    // SAFETY: the look-up succeeded, and nobody else has it meanwhile.
    unsafe {
        let frame = (*scratch).next;
        if frame == 0 {
            return 1;
        }
        let words = &raw mut (*scratch).frame;
        let bytes = size_of::<[u64; FRAME_WORDS]>() as u32;
        if bpf_probe_read_user(words.cast(), bytes, frame as *const _) != 0 {
            return 1;
        }
        let words = &*words;
        let kind = (*scratch).kind;
        let found = match kind {
            FRAMES_3_8 => Found {
                code: words[4],
                previous: words[3],
                instruction: u64::from(words[13] as u32),
                owner: 0,
            },
            FRAMES_3_10 => Found {
                code: words[4],
                previous: words[3],
                instruction: u64::from(words[12] as u32),
                owner: 0,
            },
            FRAMES_3_11 => {
                Found { code: words[4], previous: words[6], instruction: words[7], owner: words[8] >> 40 }
            }
            FRAMES_3_14 => {
                Found { code: words[0], previous: words[1], instruction: words[7], owner: words[9] >> 16 }
            }
            _ => Found { code: words[0], previous: words[1], instruction: words[7], owner: words[8] >> 48 },
        };
        (*scratch).next = found.previous;
        let is_python = (found.owner & 0xff) < FIRST_C_OWNER;
        let ends_on_python = kind == FRAMES_3_8 || kind == FRAMES_3_10 || kind == FRAMES_3_11;
        (*scratch).ends_well = u64::from(!is_python || ends_on_python);
        if !is_python {
            return 0;
        }
        let count = (*scratch).sample.count;
        if count >= MAX_STACK as u32 {
            // One more than there is room for: the walk ends with a frame to come.
            (*scratch).ends_well = 0;
            return 1;
        }
        // The low bits of a reference are tags.
        let code = found.code & !7;
        let Some(identity) = identity(scratch, code, kind) else {
            (*scratch).ends_well = 0;
            (*scratch).next = 0;
            return 1;
        };
        let frames = (&raw mut (*scratch).frames).cast::<StackFrame>();
        frames.add((count & COUNT_MASK) as usize).write(StackFrame {
            code,
            instruction: found.instruction,
            identity,
            reserved: 0,
        });
        (*scratch).sample.count = count.wrapping_add(1);
        let mixed = (*scratch).sample.stack
            ^ code
            ^ found.instruction.rotate_left(24)
            ^ u64::from(identity).rotate_left(44);
        (*scratch).sample.stack = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    0
}

/// What a frame has.
struct Found {
    code: u64,
    previous: u64,
    instruction: u64,
    /// In its lowest byte.
    owner: u64,
}

/// Words of a code object, from its byte [`CODE_FROM`] on: all that any version has of what is needed.
const CODE_WORDS: usize = 13;
const CODE_FROM: u64 = 40;

/// The identity of a code object; `None`: it cannot be read.
///
/// # Safety
/// As for [`read`].
#[inline(always)]
unsafe fn identity(scratch: *mut Scratch, code: u64, kind: u64) -> Option<u32> {
    // SAFETY: the destination holds as many bytes, and is nobody else's meanwhile.
    let words = unsafe {
        let words = &raw mut (*scratch).code;
        let bytes = size_of::<[u64; CODE_WORDS]>() as u32;
        if bpf_probe_read_user(words.cast(), bytes, code.wrapping_add(CODE_FROM) as *const _) != 0 {
            return None;
        }
        &*words
    };
    // A first line, the number, then file, function, lines; the distance of a name's characters in the name.
    let (first_line, version, file, function, lines, characters) = match kind {
        FRAMES_3_8 | FRAMES_3_10 => (words[0] as u32, 0, words[8], words[9], words[10], 48),
        FRAMES_3_11 => (words[4] as u32, 0, words[9], words[11], words[12], 48),
        _ => ((words[3] >> 32) as u32, words[6] >> 32, words[9], words[11], words[12], 40),
    };
    let content = if version != 0 {
        version
    } else {
        // SAFETY: as the caller promises.
        let file = unsafe {
            // Most frames are in the file of the one before.
            if (*scratch).file != file {
                (*scratch).file = file;
                (*scratch).file_content = content(file, characters);
            }
            (*scratch).file_content
        };
        mix(mix(file, content(function, characters)), content(lines, BYTES_AT))
    };
    Some(CodeIdentity { file, function, lines, first_line, content }.mixed())
}

/// Distance of the bytes in a bytes object, and of the length in both kinds of objects
/// (Include/cpython/bytesobject.h, unicodeobject.h).
const BYTES_AT: u64 = 32;
const LENGTH_AT: u64 = 16;

/// What [`content_of`] makes of a string or bytes object. Not inlined: it is long, and called in
/// three places.
#[inline(never)]
fn content(object: u64, at: u64) -> u64 {
    let length = user_word(object.wrapping_add(LENGTH_AT));
    let mut last = [0_u64; COMPARED_BYTES / 8];
    let bytes = if length < COMPARED_BYTES as u64 { length } else { COMPARED_BYTES as u64 };
    let from = object.wrapping_add(at).wrapping_add(length.wrapping_sub(bytes));
    // SAFETY: the destination holds at least as many bytes.
    unsafe { bpf_probe_read_user((&raw mut last).cast(), bytes as u32, from as *const _) };
    content_of(length, &last)
}

/// A sample of the thread that runs here.
#[derive(Clone, Copy)]
pub struct About {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// When.
    pub time_ns: u64,
    /// See [`StackSample`].
    pub slept_ns: u64,
    /// See [`StackSample`].
    pub system_call: u32,
    /// See [`StackSample`].
    pub drawn_ns: u32,
    /// See [`StackSample`].
    pub flags: u32,
}

/// Reads where the thread that runs here is, which may have an account, and hands it over.
///
/// # Safety
/// Nobody else has the scratch `of` on this CPU meanwhile.
#[inline(always)]
pub unsafe fn sample(of: u32, about: About, task: *mut task_struct, account: Option<Account>) {
    let Some(scratch) = scratch(of) else { return };
    let About { tgid, tid, time_ns, slept_ns, system_call, drawn_ns, flags } = about;
    // SAFETY: as the caller promises.
    unsafe {
        // The process is part of what distinguishes stacks: addresses are its own.
        (*scratch).sample = StackSample {
            time_ns,
            tgid,
            tid,
            stack: u64::from(tgid),
            slept_ns,
            system_call,
            drawn_ns,
            flags,
            count: 0,
            cost_ns: 0,
            switches: 0,
            collections: 0,
        };
        if let Some(lock) = lock::main(tgid)
            && lock.frame_way() != 0
        {
            read((scratch, of), lock, FrameWay::unpack(lock.frame_way()), task, account);
        }
        (*scratch).sample.cost_ns = bpf_ktime_get_ns().wrapping_sub(time_ns) as u32;
        hand_over(scratch, time_ns);
    }
}

/// Hands the sample over, with its frames if they were not told lately.
///
/// # Safety
/// As for [`read`].
#[inline(always)]
unsafe fn hand_over(scratch: *mut Scratch, now_ns: u64) {
    // SAFETY: as the caller promises; `output` copies no more than there is.
    unsafe {
        let stack = if (*scratch).sample.count == 0 { 0 } else { (*scratch).sample.stack };
        (*scratch).sample.stack = stack;
        let told_ns = TOLD_STACKS.get_ptr(&stack).map_or(0, |told_ns| *told_ns);
        let is_told = told_ns != 0 && now_ns.wrapping_sub(told_ns) < TOLD_AGAIN_NS;
        if is_told {
            (*scratch).sample.count = 0;
        }
        let count = u64::from((*scratch).sample.count & COUNT_MASK);
        let bytes = size_of::<StackSample>() as u64 + count * size_of::<StackFrame>() as u64;
        let filled = core::slice::from_raw_parts(scratch.cast::<u8>(), bytes as usize);
        if SAMPLES.output_untyped(filled, NO_WAKEUP).is_err() {
            emit::lose(loss::RING_FULL_SAMPLE);
        } else if count > 0 {
            let _ = TOLD_STACKS.insert(&stack, &now_ns, 0);
        }
    }
}
