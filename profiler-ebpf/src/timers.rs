//! Timers of asyncio's loop that came due while the loop was busy.
//!
//! In: the loop's own memory, as its thread begins to look without waiting; where to look is told by user
//! space. Out: [`TimerRecord`](profiler_common::record::timer::TimerRecord)s of tasks that slept until then.
//!
//! A loop that waits shows by its timeout when the next timer is due. One that is busy does not, and only its
//! heap of timers tells. Everything read is the process's own memory: hostile, and read with bounds.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use profiler_common::timers::{MAX_TIMERS, TimersWay, due_ns};

use crate::account::Account;
use crate::emit;
use crate::maps::TIMERS;
use crate::user_memory::word;

/// Distances in a handle of its arguments, and in a tuple of the first element.
const ARGUMENTS: u64 = 16;
const FIRST: u64 = 24;
/// Distance of the value in a `float`, and of what is in a cell.
const VALUE: u64 = 16;
/// Distance of the function in a `functools.partial`.
const BOUND: u64 = 16;
/// Distances in an object of its type, and in a type of its name. That is `_asyncio.Future`, here without its
/// module.
const TYPE: u64 = 8;
const NAME: u64 = 24;
const MODULE_BYTES: u64 = 8;
const FUTURE: u64 = u64::from_le_bytes(*b".Future\0");
/// Distances in a future (`FutureObj`, Modules/_asynciomodule.c) of its loop, and of the context in which the
/// task runs that waits for it.
const LOOP: u64 = 16;
const CONTEXT: u64 = 32;

/// The loop's thread of `account`, which runs here, begins to look. It does not wait where something is to be
/// done.
#[inline(always)]
pub fn tell(account: Account) {
    // SAFETY: the look-up succeeded; the thread itself runs here.
    let (tgid, timeout_ms, mark, now_ns) = unsafe {
        ((*account).tgid, (*account).detail[3] as i32, (*account).thread_mark, (*account).enter_ns)
    };
    if timeout_ms != 0 {
        return;
    }
    // SAFETY: elements are replaced as a whole, and only read here.
    let Some(way) = (unsafe { TIMERS.get(&tgid) }) else { return };
    if way.thread_mark != mark {
        return;
    }
    let Some(list) = word(way.slot) else { return };
    // A list: its count of references, its type, its length, its elements.
    let mut header = [0_u64; 4];
    // SAFETY: the destination holds 32 bytes.
    let outcome = unsafe { bpf_probe_read_user(header.as_mut_ptr().cast(), 32, list as *const _) };
    let [_, class, length, elements] = header;
    if outcome != 0 || class != way.list_type {
        return;
    }
    // Whose parents in the heap are due.
    let mut open = length.min(1);
    for place in 0..MAX_TIMERS as u64 {
        if open >> place & 1 == 0 || place >= length {
            continue;
        }
        let Some((handle, due_ns)) = timer(elements.wrapping_add(8 * place), way) else { continue };
        if due_ns == 0 || due_ns > now_ns {
            continue;
        }
        open |= 0b11 << (2 * place + 1);
        if let Some(task) = sleeper(handle, way) {
            emit::timer(account, task, due_ns);
        }
    }
}

/// The timer at a place of the heap, and when it is due.
#[inline(always)]
fn timer(at: u64, way: &TimersWay) -> Option<(u64, u64)> {
    let handle = word(at)?;
    let when = word(handle.wrapping_add(way.when_at))?;
    Some((handle, due_ns(word(when.wrapping_add(VALUE))?)))
}

/// The task that sleeps until a timer. The timer's first argument is the future that the task waits for, or a
/// function that is bound to it (`functools.partial`, as tornado does), with the future in its closure.
#[inline(always)]
fn sleeper(handle: u64, way: &TimersWay) -> Option<u64> {
    let arguments = word(handle.wrapping_add(ARGUMENTS))?;
    let argument = word(arguments.wrapping_add(FIRST))?;
    if let Some(task) = waiter(argument, way) {
        return Some(task);
    }
    let function = word(argument.wrapping_add(BOUND))?;
    let closure = word(function.wrapping_add(way.closure_at))?;
    let cell = word(closure.wrapping_add(FIRST))?;
    waiter(word(cell.wrapping_add(VALUE))?, way)
}

/// The task that waits for a future, if it is one of the loop's.
#[inline(always)]
fn waiter(future: u64, way: &TimersWay) -> Option<u64> {
    // A task is a future too, and who waits for it does not sleep until a timer of its own.
    let class = word(future.wrapping_add(TYPE))?;
    if word(word(class.wrapping_add(NAME))?.wrapping_add(MODULE_BYTES))? != FUTURE {
        return None;
    }
    let task = word(future.wrapping_add(CONTEXT))?;
    let is_of_loop = word(future.wrapping_add(LOOP))? == way.event_loop;
    (is_of_loop && task != 0).then_some(task)
}
