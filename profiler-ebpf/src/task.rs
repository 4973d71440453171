//! Which greenlet or asyncio task the thread of an event loop works for.
//!
//! In: the thread's own `PyThreadState`, as a call begins; where in it to look is told by user space for each process.
//! Out: [`TaskRecord`](profiler_common::record::task::TaskRecord)s, where it is another than the one told last.
//!
//! Everything read is the process's own memory: hostile, and read with bounds. It is read of threads that have waited on an epoll
//! instance alone: what pools do, and processes without a loop, costs one look more.

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_user};
use profiler_common::call_kind::Kind;
use profiler_common::gil::TaskWay;

use crate::account::Account;
use crate::emit;
use crate::kernel::task;
use crate::lock::{self, Lock};
use crate::maps::TASKS_ANY;

/// Distance of `last_holder` in a lock.
const LAST_HOLDER: u64 = 8;
/// Chunks of a stack of frames that are gone back through. The first has room for some hundred frames, each further one for as many:
/// where there are more, nothing new is told.
const MAX_CHUNKS: usize = 8;

/// The thread of `account`, which runs here, has just begun a call of this kind: tells the task that it makes it for, if that
/// can be read and is another than the one told last.
#[inline(always)]
pub fn tell(account: Account, kind: Kind) {
    if TASKS_ANY.get(0).is_none_or(|any| *any == 0) {
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
        let Some(found) = current(account) else { return };
        if found != (*account).told_task && emit::task(account, found) {
            (*account).told_task = found;
        }
    }
}

/// The task that the thread of `account`, which runs here, works for; 0: for none. `None`: that cannot be read.
#[inline(always)]
fn current(account: Account) -> Option<u64> {
    // SAFETY: the look-up succeeded.
    let lock = lock::main(unsafe { (*account).tgid })?;
    let way = lock.task_way();
    if way == 0 {
        return None;
    }
    let way = TaskWay::unpack(way);
    let state = own_state(account, lock)?;
    let found = word(state.wrapping_add(way.at))?;
    if way.is_chunk { first_chunk(found) } else { Some(found) }
}

/// Address of the `PyThreadState` of the thread of `account`, which runs here: that of who had the lock last, if it bears the thread's
/// number (whoever gives the lock up to make a call had it just now), else the one found so before, if it still does.
#[inline(always)]
fn own_state(account: Account, lock: Lock) -> Option<u64> {
    // SAFETY: the look-up succeeded; the thread itself runs here.
    unsafe {
        if (*account).own_number == 0 {
            (*account).own_number = task::own_number(bpf_get_current_task_btf());
        }
        let number = (*account).own_number;
        let holder = word(lock.address.wrapping_add(LAST_HOLDER))?;
        if bears(holder, number, lock) {
            (*account).thread_state = holder;
            return Some(holder);
        }
        let before = (*account).thread_state;
        if before != 0 && before != holder && bears(before, number, lock) {
            return Some(before);
        }
        (*account).thread_state = 0;
    }
    None
}

/// Whether the `PyThreadState` at `state` is of the thread that its interpreter calls by this number.
#[inline(always)]
fn bears(state: u64, number: u32, lock: Lock) -> bool {
    let (at, through) = (lock.thread_number_at(), lock.thread_number_through());
    if state == 0 || number == 0 || at == 0 {
        return false;
    }
    let mut found = word(state.wrapping_add(at)).unwrap_or(0);
    if through != 0 {
        found = word(found.wrapping_add(through)).unwrap_or(0) & 0xffff_ffff;
    }
    found == u64::from(number)
}

/// The first chunk of the stack of frames that the chunk at this address is of; 0 where there is no chunk yet. `None`: too many, or they
/// cannot be read.
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

/// The 8 bytes at a user address, if they can be read.
#[inline(always)]
fn word(address: u64) -> Option<u64> {
    let mut word = 0_u64;
    // SAFETY: the destination holds 8 bytes.
    let outcome = unsafe { bpf_probe_read_user((&raw mut word).cast(), 8, address as *const _) };
    if outcome == 0 { Some(word) } else { None }
}
