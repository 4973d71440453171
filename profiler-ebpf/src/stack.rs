//! The Python frames of the thread that runs here.
//!
//! In: the process's memory, how its interpreter lays frames out ([`FrameWay`]). Out: [`Scratch`], filled.
//! Everything read is the process's own memory: hostile, and read with bounds; the loops are the kernel's
//! (`bpf_loop`, Linux 5.17). Each frame has an identity of its code object, so that a name that is read later
//! is compared first. Layouts are CPython's `_PyInterpreterFrame` (Include/internal/pycore_frame.h, from 3.14
//! on pycore_interpframe_structs.h), before 3.11 `PyFrameObject` (Include/frameobject.h,
//! Include/cpython/frameobject.h), and `PyCodeObject` (Include/cpython/code.h).

use core::ffi::c_void;

use aya_ebpf::bindings::task_struct;
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_user};
use aya_ebpf::macros::btf_map;
use profiler_common::gil::{FRAMES_3_8, FRAMES_3_10, FRAMES_3_11, FRAMES_3_14, FrameWay};
use profiler_common::stack::{CUT, MAX_STACK, NO_STATE, StackFrame, StackSample, code_identity};

use crate::account::Account;
use crate::kernel::task;
use crate::lock::Lock;
use crate::user_memory::{first_word, user_word};

/// Frames that are looked at, those of C code included.
const MAX_LOOKS: u32 = 96;
/// States looked at in each direction.
const MAX_STATES: u32 = 256;
/// Distance of `last_holder` in a lock.
const LAST_HOLDER: u64 = 8;
/// Distances in a `PyThreadState` of the one before it, which is newer, and the one after it.
const LINKS: [u64; 2] = [8, 0];
/// Words of a frame that are read: all that any version has of what is needed.
const FRAME_WORDS: usize = 14;
/// Owners (`owner` of a frame) from here on are C code: such a frame has no code object.
const FIRST_C_OWNER: u64 = 3;
/// Tells the verifier where a frame can go.
const COUNT_MASK: u32 = 63;

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
}

/// One of each CPU: the clock interrupts everything else, and never itself.
#[btf_map]
static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// The scratch of this CPU.
#[inline(always)]
pub fn scratch() -> Option<*mut Scratch> {
    SCRATCH.get_ptr_mut(0)
}

/// Fills the scratch with the frames of the thread that runs here, `task`, which may have an account.
///
/// # Safety
/// `scratch` is this CPU's, and nobody else's meanwhile.
#[inline(always)]
pub unsafe fn read(
    scratch: *mut Scratch,
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
        let state = find_state(scratch, lock, account);
        if state == 0 {
            (*scratch).sample.flags = NO_STATE;
            return;
        }
        let first = user_word(state.wrapping_add(way.at));
        (*scratch).next =
            if way.is_direct { first } else { first_word(first.wrapping_add(way.through), first) };
        (*scratch).kind = way.kind;
        // From 3.12 on whoever calls Python from C has a frame of its own: the outermost is one of C.
        (*scratch).ends_well = 0;
        bpf_loop(MAX_LOOKS, look as *mut c_void, core::ptr::null_mut(), 0);
        if (*scratch).next != 0 || (*scratch).ends_well == 0 {
            (*scratch).sample.flags |= CUT;
        }
    }
}

/// The state of the thread that runs here; 0: it was not found. The thread's account remembers it.
///
/// # Safety
/// As for [`read`].
#[inline(always)]
unsafe fn find_state(scratch: *mut Scratch, lock: Lock, account: Option<Account>) -> u64 {
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
                bpf_loop(MAX_STATES, state_along as *mut c_void, core::ptr::null_mut(), 0);
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
extern "C" fn state_along(_: u64, _: *mut c_void) -> i64 {
    let Some(scratch) = scratch() else { return 1 };
    // SAFETY: the look-up succeeded, and the clock does not interrupt itself.
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
extern "C" fn look(_: u64, _: *mut c_void) -> i64 {
    let Some(scratch) = scratch() else { return 1 };
    // SAFETY: the look-up succeeded, and the clock does not interrupt itself.
    unsafe {
        let frame = (*scratch).next;
        if frame == 0 {
            return 1;
        }
        let mut words = [0_u64; FRAME_WORDS];
        let bytes = size_of::<[u64; FRAME_WORDS]>() as u32;
        if bpf_probe_read_user((&raw mut words).cast(), bytes, frame as *const _) != 0 {
            return 1;
        }
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
        let Some(identity) = identity(code, kind) else {
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

/// The identity of a code object; `None`: it cannot be read.
#[inline(always)]
fn identity(code: u64, kind: u64) -> Option<u32> {
    // File, name, qualified name, table of lines; before 3.11 there is no qualified name.
    let (names_at, first_line_at, is_old) = match kind {
        FRAMES_3_8 | FRAMES_3_10 => (104, 40, true),
        FRAMES_3_11 => (112, 72, false),
        _ => (112, 68, false),
    };
    let mut names = [0_u64; 4];
    let mut first_line = 0_u32;
    // SAFETY: the destinations hold as many bytes.
    let outcome = unsafe {
        bpf_probe_read_user((&raw mut names).cast(), 32, code.wrapping_add(names_at) as *const _)
            | bpf_probe_read_user(
                (&raw mut first_line).cast(),
                4,
                code.wrapping_add(first_line_at) as *const _,
            )
    };
    if outcome != 0 {
        return None;
    }
    let (function, lines) = if is_old { (names[1], names[2]) } else { (names[2], names[3]) };
    Some(code_identity(names[0], function, lines, first_line))
}
