//! Birth, change and death of threads.
//!
//! In: `sched_process_fork`, `sched_process_exec`, `sched_process_exit`. Out: accounts given and taken back,
//! lifecycle records. A child of a traced process is adopted before it first runs.

use aya_ebpf::bindings::task_struct;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use profiler_common::account::{NOT_IN_CALL, RUNNABLE};
use profiler_common::loss;
use profiler_common::record::lifecycle::{Birth, Death, EXEC, EXIT, FORK};
use profiler_common::record::slice::{PAGE_FAULT, THREAD_ENDS};

use crate::account::{self, Account, Start};
use crate::emit::{self, Lifecycle, Writer};
use crate::empty;
use crate::kernel::task;
use crate::maps::{INTERPRETERS, TARGETS};
use crate::preemption;
use crate::programs::light;

/// A thread or process is made; the child has not run yet.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    if empty::bodies_left_out() {
        return 0;
    }
    let parent: *mut task_struct = ctx.arg(0);
    let child: *mut task_struct = ctx.arg(1);
    let (parent_tgid, parent_tid) = task::who(parent);
    // By process, not by account: a thread that could get no account still has children.
    if TARGETS.get_ptr(&parent_tgid).is_none() {
        return 0;
    }
    let (child_tgid, child_tid) = task::who(child);
    if child_tgid != parent_tgid && TARGETS.insert(&child_tgid, &1, 0).is_err() {
        emit::lose(loss::FORK_UNADOPTED);
    }
    if child_tgid != parent_tgid
        && let Some(interpreter) = INTERPRETERS.get_ptr(&parent_tgid)
    {
        // SAFETY: the look-up succeeded. Without room the child's holders stay unknown.
        let _ = INTERPRETERS.insert(&child_tgid, unsafe { &*interpreter }, 0);
    }
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    // Runnable: the hook comes before `sched_wakeup_new`, which then needs no hook of its own.
    let start = Start {
        who: (child_tgid, child_tid),
        state: RUNNABLE,
        call: NOT_IN_CALL,
        blocked_in_call: PAGE_FAULT,
        detail: [0; 4],
    };
    account::adopt(child, start, now_ns);
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(
        &ctx,
        "thread {} of {} made thread {} of {}",
        parent_tid,
        parent_tgid,
        child_tid,
        child_tgid
    );
    let event = Lifecycle {
        what: FORK,
        who: (parent_tgid, parent_tid),
        other: (child_tgid, child_tid),
        // The child has its `struct pid` by now (`copy_process`, kernel/fork.c).
        detail: Birth { own_number: task::own_number(child) }.detail(),
        comm: task::comm_address(child),
    };
    preemption::disabled(|| emit::lifecycle(Writer::Hook, &event, now_ns));
    0
}

/// A process executes another program.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    if empty::bodies_left_out() {
        return 0;
    }
    let task: *mut task_struct = ctx.arg(0);
    let Some(account) = account::of(task) else { return 0 };
    let who = task::who(task);
    // What was known of its memory is void.
    let _ = INTERPRETERS.remove(&who.0);
    // SAFETY: the thread itself runs here. Exec by another thread than the first gives it the first one's
    // number.
    preemption::disabled(|| unsafe {
        let mut changed = account::change(account);
        changed.tid = who.1;
        account::forget_task(&mut changed);
    });
    let event = Lifecycle { what: EXEC, who, other: (0, 0), detail: 0, comm: task::comm_address(task) };
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    preemption::disabled(|| emit::lifecycle(Writer::Hook, &event, now_ns));
    0
}

/// What a thread did since its last observed call, as a slice with a call that takes no time. It runs here,
/// and ends.
#[inline(always)]
fn last_slice(account: Account, now_ns: u64) {
    // SAFETY: the ending thread is the only writer.
    let mut change = unsafe { account::change(account) };
    if change.system_call != NOT_IN_CALL {
        return;
    }
    account::enter(&mut change, now_ns, i32::from(THREAD_ENDS), [0; 4]);
    change.sequence = change.sequence.wrapping_add(1);
    emit::slice(account, now_ns, 0, 0, change.flags);
}

/// A thread ends.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    if empty::bodies_left_out() {
        return 0;
    }
    let task: *mut task_struct = ctx.arg(0);
    let Some(account) = account::of(task) else { return 0 };
    let who = task::who(task);
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let event = Lifecycle {
        what: EXIT,
        who,
        other: (0, 0),
        detail: Death { exit_code: task::exit_code(task) }.detail(),
        comm: task::comm_address(task),
    };
    preemption::disabled(|| {
        if !light::is_light() {
            last_slice(account, now_ns);
        }
        emit::lifecycle(Writer::Hook, &event, now_ns);
        account::release(task, now_ns);
    });
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(&ctx, "thread {} of {} ends", who.1, who.0);
    if who.0 == who.1 {
        // A process outlived by other threads keeps their accounts; only the iterators no longer look for it.
        let _ = TARGETS.remove(&who.0);
        let _ = INTERPRETERS.remove(&who.0);
    }
    0
}
