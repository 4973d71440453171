//! Which greenlet or asyncio task the thread of an event loop works for.
//!
//! In: the thread's own `PyThreadState`, as a call begins; where in it to look is told by user space for each
//! process. Out: [`TaskRecord`](profiler_common::record::task::TaskRecord)s, where it is another than the one
//! told last.
//!
//! Everything read is the process's own memory: hostile, and read with bounds. It is read of threads that
//! have waited on an epoll instance alone: what pools do, and processes without a loop, costs one look more.

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_user};
use profiler_common::account::STATE_WORDS;
use profiler_common::call_kind::Kind;
use profiler_common::gil::{BY_CHUNK, BY_CONTEXT, TaskWay};

use crate::account::Account;
use crate::emit;
use crate::kernel::task;
use crate::lock;
use crate::maps::TASKS_GENERATION;
use crate::order;
use crate::timers;
use crate::user_memory::word;

/// Distance of `last_holder` in a lock.
const LAST_HOLDER: u64 = 8;
/// Chunks of a stack of frames that are gone back through. The first has room for some hundred frames, each
/// further one for as many: where there are more, none is reported.
const MAX_CHUNKS: usize = 8;
/// A thread whose state was not found at so many calls runs no Python, most likely: it is looked for at one
/// call of so many from then on. A power of two.
const MAX_MISSES: u32 = 64;

/// The thread of `account`, which runs here, has just begun a call of this kind. Tells the task for which it
/// makes the call, if that can be read and is another than the one told last.
#[inline(always)]
pub fn tell(account: Account, kind: Kind) {
    let generation = TASKS_GENERATION.get(0).map_or(0, |generation| *generation);
    if generation == 0 {
        return;
    }
    // SAFETY: the look-up succeeded; the thread itself runs here.
    unsafe {
        if (*account).has_polled == 0 {
            if !matches!(kind, Kind::EpollWait) {
                return;
            }
            (*account).has_polled = 1;
        }
        if (*account).task_generation != generation {
            // The way that was told before the generation is read after it.
            order::full();
            (*account).task_generation = generation;
            (*account).task_misses = 0;
            (*account).task_by = 0;
            (*account).task_way = lock::main((*account).tgid).map_or(0, lock::Lock::task_way);
        }
        let way = (*account).task_way;
        if way == 0 {
            return;
        }
        // What cannot be read is none: the one told last may be another's by now.
        let found = current(account, TaskWay::unpack(way), kind).unwrap_or(0);
        if found != (*account).told_task && emit::task(account, found) {
            (*account).told_task = found;
        }
        let is_by_context = TaskWay::unpack(way).context != 0;
        if is_by_context && found != 0 && matches!(kind, Kind::EpollWait) {
            timers::tell(account);
        }
    }
}

/// The task that the thread of `account`, which runs here, works for in a call of this kind; 0: for none.
/// `None`: that cannot be read.
#[inline(always)]
fn current(account: Account, way: TaskWay, kind: Kind) -> Option<u64> {
    if !read_known_state(account, way) && !find_state(account, way) {
        return None;
    }
    let (context, chunk) = (state_word(account, way.context), state_word(account, way.chunk));
    let mut by = if way.chunk == 0 { BY_CONTEXT } else { BY_CHUNK };
    if way.context != 0 && way.chunk != 0 {
        // SAFETY: the look-up succeeded; the thread itself runs here.
        unsafe {
            if matches!(kind, Kind::EpollWait) {
                (*account).task_by = if context == 0 { BY_CHUNK } else { BY_CONTEXT };
            }
            by = (*account).task_by;
        }
    }
    match by {
        BY_CONTEXT => Some(context),
        BY_CHUNK => first_chunk(chunk),
        _ => None,
    }
}

/// A word that was read of the thread's state.
#[inline(always)]
fn state_word(account: Account, place: u64) -> u64 {
    let place = if place >= STATE_WORDS as u64 { 0 } else { place };
    // SAFETY: the look-up succeeded, and the place is one of the words.
    unsafe { (&raw const (*account).state_words).cast::<u64>().add(place as usize).read() }
}

/// Reads the state that was found before; false: there is none, or it is not the thread's any more.
#[inline(always)]
fn read_known_state(account: Account, way: TaskWay) -> bool {
    // SAFETY: the look-up succeeded; the thread itself runs here. The destination has as many bytes.
    unsafe {
        let state = (*account).thread_state;
        if state == 0 {
            return false;
        }
        let outcome = bpf_probe_read_user(
            (&raw mut (*account).state_words).cast(),
            (STATE_WORDS * 8) as u32,
            state.wrapping_add(way.number_at) as *const _,
        );
        outcome == 0 && (*account).state_words[0] == (*account).thread_mark
    }
}

/// Finds the thread's state and reads it: whoever gives the lock up to make a call was its last holder just
/// now, most often. It bears the thread's number then.
#[inline(always)]
fn find_state(account: Account, way: TaskWay) -> bool {
    // SAFETY: the look-up succeeded; the thread itself runs here.
    unsafe {
        (*account).thread_state = 0;
        let misses = (*account).task_misses;
        (*account).task_misses = misses.wrapping_add(1);
        if misses >= MAX_MISSES && misses & (MAX_MISSES - 1) != 0 {
            return false;
        }
        let Some(lock) = lock::main((*account).tgid) else { return false };
        let state = word(lock.address.wrapping_add(LAST_HOLDER)).unwrap_or(0);
        if state == 0 {
            return false;
        }
        let mark = word(state.wrapping_add(way.number_at)).unwrap_or(0);
        let through = lock.thread_number_through();
        let number = if through == 0 { mark } else { word(mark.wrapping_add(through)).unwrap_or(0) };
        let own = task::own_number(bpf_get_current_task_btf());
        if own == 0 || number as u32 != own {
            return false;
        }
        (*account).thread_state = state;
        (*account).thread_mark = mark;
        (*account).task_misses = 0;
    }
    read_known_state(account, way)
}

/// The first chunk of the stack of frames that the chunk at this address is of; 0 where there is no chunk
/// yet. `None`: too many, or they cannot be read.
#[inline(always)]
fn first_chunk(mut chunk: u64) -> Option<u64> {
    if chunk == 0 {
        return Some(0);
    }
    for _ in 0..MAX_CHUNKS {
        // `previous` stands first.
        let previous = word(chunk)?;
        if previous == 0 {
            return Some(chunk);
        }
        chunk = previous;
    }
    None
}
