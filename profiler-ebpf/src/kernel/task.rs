//! Fields of `struct task_struct`.
//!
//! In: a task pointer whose type the verifier knows. Out: its fields.

use aya_ebpf::Global;
use aya_ebpf::bindings::task_struct;

use super::registers::BY_32_BIT_ENTRY;
use super::{MISSING, typed};

#[unsafe(no_mangle)]
static TASK_TGID: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_PID: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_STATE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_ON_CPU: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_EXIT_CODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_COMM: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_STORAGE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_PID_OBJECT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static PID_LEVEL: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static PID_NUMBERS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_CALL_STATUS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_PRIORITY: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_RAN: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_RAN_BEFORE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_MOVES: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_THROTTLED: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_QUEUE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_ON_QUEUE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static QUEUE_THROTTLED: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static TASK_FILES: Global<u32> = Global::new(0);

/// Process and thread number in the initial PID namespace.
#[inline(always)]
pub fn who(task: *mut task_struct) -> (u32, u32) {
    (tgid(task), tid(task))
}

/// Process number in the initial PID namespace.
#[inline(always)]
pub fn tgid(task: *mut task_struct) -> u32 {
    // SAFETY: the verifier knows the pointer's type and checks the load.
    unsafe { typed(task.cast(), &TASK_TGID) }
}

/// Process number, in the initial PID namespace, of a task at any address.
#[inline(always)]
pub fn tgid_at(task: u64) -> u32 {
    super::field(task, &TASK_TGID).unwrap_or(0)
}

/// Thread number in the initial PID namespace.
#[inline(always)]
pub fn tid(task: *mut task_struct) -> u32 {
    // SAFETY: as above.
    unsafe { typed(task.cast(), &TASK_PID) }
}

/// Length of `struct upid` (include/linux/pid.h): the number, which stands first, and the namespace's
/// address.
const UPID_BYTES: u64 = 16;

/// The number that the thread has in its own PID namespace, which is what `gettid` tells it; 0: that cannot
/// be read.
#[inline(always)]
pub fn own_number(task: *mut task_struct) -> u32 {
    if TASK_PID_OBJECT.load() == MISSING || PID_LEVEL.load() == MISSING || PID_NUMBERS.load() == MISSING {
        return 0;
    }
    let pid: u64 = super::field(task as u64, &TASK_PID_OBJECT).unwrap_or(0);
    let level: u32 = super::field(pid, &PID_LEVEL).unwrap_or(0);
    super::field(pid.wrapping_add(u64::from(level).wrapping_mul(UPID_BYTES)), &PID_NUMBERS).unwrap_or(0)
}

/// Whether the call that the task is in came by the 32-bit entry (any call of a 32-bit program; on x86 `int
/// 0x80` too). Its number is then of another table, and its arguments are in other registers. False where it
/// cannot be told.
#[inline(always)]
pub fn is_in_32_bit_call(task: *mut task_struct) -> bool {
    // SAFETY: as above.
    TASK_CALL_STATUS.load() != MISSING
        && unsafe { typed::<u32>(task.cast(), &TASK_CALL_STATUS) } & BY_32_BIT_ENTRY != 0
}

/// `__state`; 0 means runnable. At a switch it is better than the tracepoint's own argument: it is 0 too
/// where a pending signal kept the thread from sleeping. The argument exists from 5.18 only.
#[inline(always)]
pub fn state(task: *mut task_struct) -> u32 {
    // SAFETY: as above.
    unsafe { typed(task.cast(), &TASK_STATE) }
}

/// Whether the task is on a CPU at this moment. A byte on Linux 7.3, and up to 6.18 a number that is 0 or 1.
#[inline(always)]
pub fn is_on_cpu(task: *mut task_struct) -> bool {
    // SAFETY: as above.
    unsafe { typed::<u8>(task.cast(), &TASK_ON_CPU) != 0 }
}

/// `exit_code`: signal in the low 7 bits, status above 8.
#[inline(always)]
pub fn exit_code(task: *mut task_struct) -> i64 {
    // SAFETY: as above.
    i64::from(unsafe { typed::<i32>(task.cast(), &TASK_EXIT_CODE) })
}

/// Priorities below are those of real-time tasks (`MAX_RT_PRIO`, include/linux/sched/prio.h).
const REAL_TIME: i32 = 100;

/// How long a task that leaves its CPU has run since it came there, as the scheduler counts. `None`: it does
/// not say, as of real-time tasks, and of what runs on an idle CPU.
#[inline(always)]
pub fn ran_since_it_came(task: *mut task_struct) -> Option<u64> {
    if TASK_RAN.load() == MISSING || TASK_RAN_BEFORE.load() == MISSING || TASK_PRIORITY.load() == MISSING {
        return None;
    }
    // SAFETY: as above.
    unsafe {
        if typed::<i32>(task.cast(), &TASK_PRIORITY) < REAL_TIME || tid(task) == 0 {
            return None;
        }
        let (ran, before): (u64, u64) = (typed(task.cast(), &TASK_RAN), typed(task.cast(), &TASK_RAN_BEFORE));
        Some(ran.wrapping_sub(before))
    }
}

/// How often the task was moved from one CPU to another, in the few bits that are kept of it. `None`: the
/// kernel does not say.
#[inline(always)]
pub fn moves(task: *mut task_struct) -> Option<u16> {
    // SAFETY: as above. The lowest bytes come first.
    (TASK_MOVES.load() != MISSING).then(|| unsafe { typed(task.cast(), &TASK_MOVES) })
}

/// Whether a task that is ready may not run, as its cgroup has used up its quota. Up to Linux 6.17 the kernel
/// takes whole queues away, later each task.
#[inline(always)]
pub fn is_throttled(task: *mut task_struct) -> bool {
    if TASK_THROTTLED.load() != MISSING && TASK_ON_QUEUE.load() != MISSING {
        // Whether it is in a queue lies where the scheduler has just looked, and says that of nearly all.
        // SAFETY: as above.
        return unsafe {
            typed::<u8>(task.cast(), &TASK_ON_QUEUE) == 0 && typed::<u8>(task.cast(), &TASK_THROTTLED) != 0
        };
    }
    if TASK_QUEUE.load() == MISSING || QUEUE_THROTTLED.load() == MISSING {
        return false;
    }
    // SAFETY: as above.
    let queue: u64 = unsafe { typed(task.cast(), &TASK_QUEUE) };
    super::field::<i32>(queue, &QUEUE_THROTTLED).is_some_and(|count| count > 0)
}

/// Whether the task surely has no storage, ours or another's: one load, where a look-up is a call with a few
/// more.
#[inline(always)]
pub fn has_no_storage(task: *mut task_struct) -> bool {
    // SAFETY: as above.
    TASK_STORAGE.load() != MISSING && unsafe { typed::<u64>(task.cast(), &TASK_STORAGE) == 0 }
}

/// Kernel address of the task's name.
#[inline(always)]
pub fn comm_address(task: *mut task_struct) -> u64 {
    (task as u64).wrapping_add(u64::from(TASK_COMM.load()))
}
