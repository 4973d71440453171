//! Who had a CPU while a traced thread was ready for it.
//!
//! In: switches of a CPU. Out: its last stints, and a record with them as a thread gets the CPU for which it
//! has waited for long. Stints are kept only of a CPU at which a traced thread has waited lately: elsewhere a
//! switch between two threads that are not traced costs a comparison more.

use aya_ebpf::Global;
use aya_ebpf::bindings::task_struct;
use profiler_common::account::ThreadAccount;
use profiler_common::limits::COMM_BYTES;
use profiler_common::record::taken::{LONG_NS, MAX_STINTS, MIGRATED, OURS, SHORTEST_NS, Stint, THROTTLED};

use crate::account::Account;
use crate::emit;
use crate::kernel::{self, task};
use crate::maps::Cpu;

/// Not 0: names of programs that are not the target's are read.
#[unsafe(no_mangle)]
static NAMES_PROGRAMS: Global<u32> = Global::new(0);

/// Switches of a CPU for which its stints are kept after a traced thread has waited there.
const WATCHED_SWITCHES: u32 = 256;
/// What keeps a position in the ring, as the verifier understands best.
const MASK: u32 = MAX_STINTS as u32 - 1;

/// A traced thread has begun to wait for this CPU.
///
/// # Safety
/// `cpu` comes from a look-up that succeeded.
#[inline(always)]
pub unsafe fn watch(cpu: *mut Cpu, now_ns: u64) {
    // SAFETY: as the caller promises.
    unsafe {
        if (*cpu).watched == 0 {
            (*cpu).switched_ns = now_ns;
        }
        (*cpu).watched = WATCHED_SWITCHES;
    }
}

/// `previous` leaves this CPU, which is watched.
///
/// # Safety
/// As [`watch`].
#[inline(always)]
pub unsafe fn left(cpu: *mut Cpu, previous: *mut task_struct, is_ours: bool, now_ns: u64) {
    // SAFETY: as the caller promises.
    unsafe {
        let from_ns = (*cpu).switched_ns;
        (*cpu).switched_ns = now_ns;
        (*cpu).watched = (*cpu).watched.wrapping_sub(1);
        if now_ns.wrapping_sub(from_ns) >= SHORTEST_NS {
            keep(cpu, previous, is_ours, (from_ns, now_ns));
        }
    }
}

/// # Safety
/// As [`watch`].
#[inline(always)]
unsafe fn keep(cpu: *mut Cpu, thread: *mut task_struct, is_ours: bool, (from_ns, until_ns): (u64, u64)) {
    // SAFETY: as the caller promises; the mask keeps the place inside.
    unsafe {
        let position = (*cpu).stints_kept;
        let stint = (&raw mut (*cpu).stints).cast::<Stint>().add((position & MASK) as usize);
        (*stint).from_ns = from_ns;
        (*stint).until_ns = until_ns;
        (*stint).ran_ns = task::ran_since_it_came(thread).unwrap_or(until_ns.wrapping_sub(from_ns));
        (*stint).tgid = task::tgid(thread);
        (*stint).tid = task::tid(thread);
        (*stint).flags = if is_ours { OURS } else { 0 };
        (*stint).reserved = 0;
        if is_ours || NAMES_PROGRAMS.load() == 0 {
            (*stint).comm = [0; COMM_BYTES];
        } else {
            kernel::read_bytes(
                (&raw mut (*stint).comm).cast(),
                COMM_BYTES as u32,
                task::comm_address(thread),
            );
        }
        (*cpu).stints_kept = position.wrapping_add(1);
    }
}

/// `thread`, whose `account` is settled and which had been ready since `since_ns`, gets this CPU after
/// `previous`.
///
/// # Safety
/// As [`watch`].
#[inline(always)]
pub unsafe fn comes(
    cpu: *mut Cpu,
    (account, thread): (Account, *mut task_struct),
    since_ns: u64,
    previous: *mut task_struct,
    is_ours: bool,
) {
    // SAFETY: as the caller promises; an element of `ACCOUNTS`.
    unsafe {
        let now_ns = (*account).state_since_ns;
        if now_ns.wrapping_sub(since_ns) < LONG_NS {
            return;
        }
        if (*cpu).watched == 0 {
            // The first wait here: of the last stint the scheduler knows how long it was.
            if let Some(ran_ns) = task::ran_since_it_came(previous) {
                keep(cpu, previous, is_ours, (now_ns.wrapping_sub(ran_ns), now_ns));
            }
        }
        watch(cpu, now_ns);
        let throttled = if (*account).throttled == mark(since_ns) { THROTTLED } else { 0 };
        // How often it was moved says more than where it was: it may have been moved away and back.
        let has_stayed = task::moves(thread).is_some_and(|moves| moves == (*account).moves);
        emit::taken(account, cpu, since_ns, throttled | if has_stayed { 0 } else { MIGRATED });
    }
}

/// The thread of `account` is ready from now on: the CPU in whose queue it is has been chosen.
#[inline(always)]
pub fn waits(account: &mut ThreadAccount, thread: *mut task_struct) {
    account.moves = task::moves(thread).unwrap_or(0);
}

/// The thread of `account`, which is settled, has lost its CPU, and is ready still.
#[inline(always)]
pub fn loses(account: &mut ThreadAccount, thread: *mut task_struct) {
    waits(account, thread);
    if task::is_throttled(thread) {
        account.throttled = mark(account.state_since_ns);
    }
}

/// A moment in few bits: never 0.
#[inline(always)]
fn mark(at_ns: u64) -> u32 {
    at_ns as u32 | 1
}
