//! The live record of one thread: what it is doing now and where its time went since the last slice.
//!
//! In: nothing. Out: [`ThreadAccount`], the element of the mmap-able array `ACCOUNTS`. Only kernel programs
//! write it; user space reads it without a system call, guarded by `lock_sequence` (odd: being written;
//! changed across the read: torn, read again).

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`ThreadAccount::state`]: the element belongs to no thread.
pub const FREE: u32 = 0;
/// [`ThreadAccount::state`]: on a CPU.
pub const RUNNING: u32 = 1;
/// [`ThreadAccount::state`]: runnable, waiting for a CPU.
pub const RUNNABLE: u32 = 2;
/// [`ThreadAccount::state`]: asleep.
pub const BLOCKED: u32 = 3;

/// [`ThreadAccount::system_call`]: in no observed call.
pub const NOT_IN_CALL: i32 = -1;
/// [`ThreadAccount::enter_ns`] of a call that was entered before the programs were attached.
pub const ENTRY_UNKNOWN: u64 = 0;

/// Words that are read of a thread's state in the interpreter.
pub const STATE_WORDS: usize = 18;

/// Live record of one thread. All times are `CLOCK_MONOTONIC` nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct ThreadAccount {
    /// Even: stable. Odd: a program is writing.
    pub lock_sequence: u32,
    /// Changes whenever the element is given to another thread.
    pub generation: u32,
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// [`FREE`], [`RUNNING`], [`RUNNABLE`] or [`BLOCKED`].
    pub state: u32,
    /// Number of the observed call the thread is in; [`NOT_IN_CALL`] outside.
    pub system_call: i32,
    /// When `state` was entered.
    pub state_since_ns: u64,
    /// Start of the current segment: the entry of the call, or the end of the last one (start of the gap).
    pub segment_start_ns: u64,
    /// Entry of the current call; [`ENTRY_UNKNOWN`] if the thread was inside it when it was adopted.
    pub enter_ns: u64,
    /// Detail of the current call, in light mode of the sleep that began at `take_since_ns`, so far as it is
    /// known (`record::detail`).
    pub detail: [u64; 4],
    /// Time on a CPU in the current segment, up to `state_since_ns`.
    pub cpu_ns: u64,
    /// Time in the run queue in the current segment, up to `state_since_ns`.
    pub run_queue_ns: u64,
    /// Time asleep in the current segment, up to `state_since_ns`.
    pub blocked_ns: u64,
    /// The gap's account while a call is open (see `SliceRecord`).
    pub gap_cpu_ns: u64,
    /// See `gap_cpu_ns`.
    pub gap_run_queue_ns: u64,
    /// See `gap_cpu_ns`.
    pub gap_blocked_ns: u64,
    /// Page-fault part of the gap's sleep (the current gap's, or the finished one's while a call is open).
    pub gap_fault_ns: u64,
    /// Wall time of calls folded into that gap.
    pub folded_ns: u64,
    /// On-CPU time since the thread was adopted, up to `state_since_ns`.
    pub total_cpu_ns: u64,
    /// Run-queue time since the thread was adopted, up to `state_since_ns`.
    pub total_run_queue_ns: u64,
    /// Time asleep since the thread was adopted, up to `state_since_ns`.
    pub total_blocked_ns: u64,
    /// When the thread was adopted.
    pub adopted_ns: u64,
    /// Who woke the thread last; written outside the lock. In light mode 0 once it is awake.
    pub waker_tid: u32,
    /// Slices emitted (and lost) so far.
    pub sequence: u32,
    /// Calls folded into the gap.
    pub folded_calls: u32,
    /// Switch-ins in the current segment.
    pub switches: u32,
    /// Switch-ins in the gap while a call is open.
    pub gap_switches: u32,
    /// See `SliceRecord::gap_blocked_call`.
    pub gap_blocked_call: i32,
    /// `SliceRecord` flag bits gathered so far.
    pub flags: u32,
    /// The call, observed or not, whose registers showed when the thread last blocked in the gap.
    pub blocked_in_call: i32,
    /// Listener (address of its `struct sock`) whose connection woke the thread in the current call; 0:
    /// none. This and the next three are written by the waker, outside the lock, while the thread
    /// sleeps.
    pub cause_listener: u64,
    /// `cpu_ns` at that wakeup.
    pub cause_cpu_ns: u64,
    /// `run_queue_ns` at that wakeup.
    pub cause_run_queue_ns: u64,
    /// `switches` at that wakeup.
    pub cause_switches: u32,
    /// Low half of the address of the interpreter lock that the thread waited to take in its last slice. 0:
    /// it did not, or the attempt is known to be over.
    pub take_lock: u32,
    /// Low half of the time at which a probe saw the thread about to wait for the lock. Its lowest two bits
    /// say instead which lock (1: the main interpreter's, 2: another's). 0: no probe did since the last
    /// slice.
    pub take_mark: u32,
    /// `SliceRecord` flag bits of the attempt since the last slice.
    pub take_flags: u32,
    /// The thread is between the probes at the beginning and the end of an attempt (1), or not (0). In light
    /// mode, where frames are read: its last sleep was a long one for the lock (1), which was looked at
    /// (2), or it was not (0).
    pub take_begun: u32,
    /// Low half of the address at which the thread waited last for the lock's condition variable, the lower
    /// of the two words that a signal wakes on; 0: not yet.
    pub take_signals: u32,
    /// When the thread was woken so; this and the next four as `cause_listener`.
    pub cause_woken_ns: u64,
    /// How long before `cause_woken_ns` the connection was announced.
    pub cause_announced_before_ns: u32,
    /// How long before its announcement the connection was established; `u32::MAX`: not known.
    pub cause_established_before_ns: u32,
    /// Port of the connection's other end, host order; 0: not known.
    pub cause_peer_port: u16,
    /// How often the thread had been moved to another CPU as it became ready last: the low half of the low
    /// half.
    pub moves: u16,
    /// Low half of the time at which the thread last lost its CPU because its cgroup had used up its quota,
    /// with the lowest bit set; 0: never.
    pub throttled: u32,
    /// The thread's last futex call was on the lock's memory, and none of the attempt (1), or that is not so
    /// (0).
    pub take_aside: u32,
    /// The thread has waited on an epoll instance (1), or not (0): only then it may be an event loop's.
    pub has_polled: u32,
    /// The part of `blocked_ns` whose end the kernel did not show, while the thread is in an observed call.
    /// Some of it may have been run queue, or time on a CPU. This and the next are 0 without
    /// `FLAG_WAKE_MISSED` in `flags`.
    pub call_undecided_ns: u64,
    /// The part of the gap's sleep whose end the kernel did not show; of the current gap, or of the finished
    /// one while a call is open.
    pub gap_undecided_ns: u64,
    /// When the attempt to take the interpreter lock that is under way, or the last one, began to wait; 0:
    /// where the thread waits was looked at already. Kept where frames are read. In light mode when the
    /// thread's sleep began; 0: it does not sleep, or that was not seen.
    pub take_since_ns: u64,
    /// The task that was last reported as the one that the thread works for (`TaskRecord::task`). This and
    /// the next are kept of threads of event loops, and written by the thread itself outside the lock.
    pub told_task: u64,
    /// The way to it (`gil::TaskWay`), as looked up last; 0: there is none.
    pub task_way: u64,
    /// Of which time that is: the element of the map `TASKS_GENERATION` then; 0: not looked up yet.
    pub task_generation: u32,
    /// Looks for the thread's state in the interpreter that found none, one after the other.
    pub task_misses: u32,
    /// Address of the thread's own `PyThreadState`, as found last; 0: not yet.
    pub thread_state: u64,
    /// What that has at the distance of a thread's number: another thread's has something else.
    pub thread_mark: u64,
    /// What was read of it last, from there on.
    pub state_words: [u64; STATE_WORDS],
    /// What distinguishes the thread's tasks where two things may: `gil::BY_CONTEXT` or `gil::BY_CHUNK`; 0:
    /// not known yet.
    pub task_by: u32,
    /// See `SliceRecord::take_tail_ns`.
    pub take_tail_ns: u32,
    /// When the waker of the thread's last sleep in a `futex` was about to end it; written by the waker,
    /// outside the lock.
    pub waking_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_never_straddles_a_page() {
        assert_eq!(size_of::<ThreadAccount>(), 512);
        assert_eq!(4096 % size_of::<ThreadAccount>(), 0);
    }
}
