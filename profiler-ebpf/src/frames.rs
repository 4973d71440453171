//! Where in Python the holder of an interpreter lock is, read from its frames by the thread that begins to
//! wait for it. And where that thread is itself, once it has waited for long.
//!
//! In: the waiter's process. Out: [`FramesRecord`]s (`--stacks`). The holder runs on meanwhile, so this is a
//! sample; whether it was still in the same frame at the end is looked at, and said. The waiter does nothing
//! else meanwhile: its own are exact. Everything read is the process's own memory: hostile, and read
//! with bounds. Layouts are CPython's `_PyInterpreterFrame` (Include/internal/pycore_frame.h, from 3.14 on
//! pycore_interpframe_structs.h), told by user space for each process.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_user};
use profiler_common::account::ThreadAccount;
use profiler_common::gil::{FRAMES_3_12, FRAMES_3_14, FrameWay};
use profiler_common::record::frames::{CUT, Frame, FramesRecord, LONG_NS, MAX_FRAMES, UNREADABLE, UNSTABLE};
use profiler_common::record::slice::FLAG_TAKES_LOCK;
use profiler_common::record::{KIND_FRAMES, KIND_WAITER_FRAMES};

use crate::account::Account;
use crate::emit;
use crate::kernel::task;
use crate::lock::Lock;
use crate::order;
use crate::user_memory::user_word;

/// Not 0 where user space wants samples. Frozen before the verifier looks, so that otherwise nothing of this
/// is left.
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
/// Tells the verifier where a frame can go: it does not learn what the count was compared with before.
const COUNT_MASK: usize = 15;
/// Distances in a `PyThreadState` of the states before and after it, of its interpreter's: they stand first
/// in 3.8 to 3.15 (Include/cpython/pystate.h). A new thread's comes first in the list.
const PREVIOUS_STATE: u64 = 0;
const NEXT_STATE: u64 = 8;
/// States looked at in each direction.
const MAX_STATES: usize = 64;

/// Whether samples are wanted.
#[inline(always)]
pub fn wanted() -> bool {
    STACKS.load() != 0
}

/// The thread of `account` began to wait for the lock at `begun_ns`, which is just now: samples the holder.
#[inline(always)]
pub fn sample(account: Account, lock: Lock, begun_ns: u64) {
    let Some(way) = way_of(lock) else { return };
    let state = user_word(lock.address.wrapping_add(LAST_HOLDER));
    if state == 0 {
        return;
    }
    // SAFETY: a whole record's room is handed in.
    emit::frames(account, KIND_FRAMES, begun_ns, |record| unsafe { walk(record, state, way) });
}

/// The thread of `account`, which runs here, has just begun a call that waits for the lock, at `now_ns`: if
/// it has waited for long by now, samples where it is itself, once. Where its state is not found the record
/// is empty.
#[inline(always)]
pub fn sample_waiter(account: Account, lock: Lock, now_ns: u64) {
    // SAFETY: the look-up succeeded; the thread itself runs here.
    unsafe {
        let since_ns = (*account).take_since_ns;
        if (*account).take_flags & FLAG_TAKES_LOCK == 0
            || since_ns == 0
            || now_ns.wrapping_sub(since_ns) < LONG_NS
        {
            return;
        }
        (*account).take_since_ns = 0;
    }
    // SAFETY: as above.
    sample_own(account, lock, unsafe { (*account).enter_ns });
}

/// The way to frames of the process of a lock, where it is one that is walked here.
#[inline(always)]
fn way_of(lock: Lock) -> Option<FrameWay> {
    let way = FrameWay::unpack(lock.frame_way());
    if way.kind == 0 || way.kind > FRAMES_3_14 { None } else { Some(way) }
}

/// Samples where the thread of `account` is, which runs here, and began to wait at `begun_ns`.
#[inline(always)]
fn sample_own(account: Account, lock: Lock, begun_ns: u64) {
    let Some(way) = way_of(lock) else { return };
    let state = own_state(lock);
    // SAFETY: a whole record's room is handed in.
    emit::frames(account, KIND_WAITER_FRAMES, begun_ns, |record| unsafe { walk(record, state, way) });
}

/// Light mode: the thread of `account` goes to sleep for the lock at `begun_ns`, still on its CPU. Samples
/// the holder, and after a long sleep for the lock the thread itself.
#[inline(always)]
pub fn sample_asleep(account: &mut ThreadAccount, lock: Lock, begun_ns: u64) {
    let has_slept_long = account.take_begun == SLEPT_LONG;
    if has_slept_long {
        account.take_begun = SAMPLED;
    }
    sample(account, lock, begun_ns);
    if has_slept_long {
        sample_own(account, lock, begun_ns);
    }
}

/// Light mode: the thread of `account` slept for so long, for a lock or for something else.
#[inline(always)]
pub fn slept(account: &mut ThreadAccount, is_for_lock: bool, slept_ns: u64) {
    account.take_begun = match account.take_begun {
        _ if !is_for_lock || slept_ns < LONG_NS => NOT_LONG,
        NOT_LONG => SLEPT_LONG,
        known => known,
    };
}

/// `ThreadAccount::take_begun` in light mode: the thread's last sleep was not long, or not for the lock.
const NOT_LONG: u32 = 0;
/// `ThreadAccount::take_begun` in light mode: the thread's last sleep was long. Its frames are read as its
/// next one begins.
const SLEPT_LONG: u32 = 1;
/// `ThreadAccount::take_begun` in light mode: the last sleeps were long, and the frames were read.
const SAMPLED: u32 = 2;

/// Address of the `PyThreadState` of the thread that runs here, in the interpreter of the thread that had the
/// lock last; 0: there is none, or it was not found. Threads come and go meanwhile, so the list may lead
/// astray: what is found bears the thread's number.
#[inline(always)]
fn own_state(lock: Lock) -> u64 {
    // SAFETY: the helper has no preconditions.
    let number = task::own_number(unsafe { bpf_get_current_task_btf() });
    let holder = user_word(lock.address.wrapping_add(LAST_HOLDER));
    if number == 0 || holder == 0 {
        return 0;
    }
    let at = lock.thread_number_at();
    let found = state_along(holder, NEXT_STATE, at, number);
    if found != 0 { found } else { state_along(holder, PREVIOUS_STATE, at, number) }
}

/// The state that bears `number` at the distance `at`, from `state` on; 0: none does.
#[inline(always)]
fn state_along(mut state: u64, link: u64, at: u64, number: u32) -> u64 {
    for _ in 0..MAX_STATES {
        if state == 0 {
            break;
        }
        if user_word(state.wrapping_add(at)) == u64::from(number) {
            return state;
        }
        state = user_word(state.wrapping_add(link));
    }
    0
}

/// Fills a record with the frames of the thread whose `PyThreadState` is at `state`.
///
/// # Safety
/// `record` points to a whole record, with room for as many frames behind it.
#[inline(always)]
unsafe fn walk(record: *mut FramesRecord, state: u64, way: FrameWay) {
    // By masks, not by branches: of each branch the verifier follows both ways, and all that follows each.
    let in_3_11 = mask(way.kind.wrapping_sub(FRAMES_3_12));
    let from_3_14 = mask(FRAMES_3_12.wrapping_sub(way.kind));
    let first = top(state, way);
    let mut walk = Walk {
        record,
        in_3_11,
        from_3_14,
        owner_shift: way.kind.wrapping_mul(8).wrapping_add(32) & !from_3_14 | 16 & from_3_14,
        frame: first,
        count: 0,
        flags: 0,
    };
    // Twelve frames at most, those of C code included. Written out, not a loop: in a short one the verifier
    // does not notice that it has been in the same state before.
    // SAFETY: as the caller promises.
    unsafe {
        let _ = walk.look()
            && walk.look()
            && walk.look()
            && walk.look()
            && walk.look()
            && walk.look()
            && walk.look()
            && walk.look()
            && walk.look()
            && walk.look()
            && walk.look()
            && walk.look();
    }
    // The second look is one after all that was read in between.
    order::full();
    if top(state, way) != first {
        walk.flags |= UNSTABLE;
    }
    // SAFETY: as above.
    unsafe {
        (*record).count = walk.count as u32;
        (*record).flags = walk.flags;
    }
}

/// A walk from frame to frame.
struct Walk {
    record: *mut FramesRecord,
    /// All bits in 3.11, else none.
    in_3_11: u64,
    /// All bits from 3.14 on, else none.
    from_3_14: u64,
    /// Where the owner is in its word, in bits.
    owner_shift: u64,
    /// The next one's address; 0: there is none.
    frame: u64,
    count: u64,
    flags: u32,
}

impl Walk {
    /// Takes the next frame, of C code or of Python; false: that was the last.
    ///
    /// # Safety
    /// As for [`walk`].
    #[inline(always)]
    unsafe fn look(&mut self) -> bool {
        if self.frame == 0 {
            return false;
        }
        let mut words = [0_u64; FRAME_WORDS];
        // SAFETY: the destination holds that many bytes.
        let outcome = unsafe {
            bpf_probe_read_user((&raw mut words).cast(), size_of_val(&words) as u32, self.frame as *const _)
        };
        if outcome != 0 {
            self.flags |= UNREADABLE;
            return false;
        }
        let code = words[0] & !self.in_3_11 | words[4] & self.in_3_11;
        let owner = (words[8] & !self.from_3_14 | words[9] & self.from_3_14) >> self.owner_shift;
        self.frame = words[1] & !self.in_3_11 | words[6] & self.in_3_11;
        // The next one's place, also of a frame that does not count: what follows is written over it, or it
        // means nothing. SAFETY: the caller promised room for more frames than the mask allows. The
        // low bits of a reference are tags.
        unsafe {
            let frames = (&raw mut (*self.record).frames).cast::<Frame>();
            frames
                .add(self.count as usize & COUNT_MASK)
                .write(Frame { code: code & !7, instruction: words[INSTRUCTION] });
        }
        let is_python = mask((owner & 0xff).wrapping_sub(FIRST_C_OWNER)) & 1;
        self.count = core::hint::black_box(self.count.wrapping_add(is_python));
        if self.count > MAX_FRAMES as u64 {
            self.count = MAX_FRAMES as u64;
            self.flags |= CUT;
            return false;
        }
        true
    }
}

/// The innermost frame of a thread.
#[inline(always)]
fn top(state: u64, way: FrameWay) -> u64 {
    let found = user_word(state.wrapping_add(way.at));
    if way.is_direct { found } else { user_word(found.wrapping_add(way.through)) }
}

/// All bits, if a difference is below 0; else none.
#[inline(always)]
fn mask(difference: u64) -> u64 {
    core::hint::black_box((difference as i64 >> 63) as u64)
}
