//! What a connection to a traced listener wakes.
//!
//! In: announcements to sockets, wakeups, threads that go to sleep or return. Out: `LISTENERS`, wake records.
//! The kernel wakes the waiters of a socket on the CPU that announced the connection, before anything else
//! happens there. So the last announcement on this CPU is the cause, until another socket is told something
//! or the CPU goes to another thread.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use profiler_common::call_kind::Kind;
use profiler_common::record::wake::{RETURNED, SLEPT_AGAIN};
use profiler_common::system_call::kind;

use crate::account::{self, Account};
use crate::emit;
use crate::maps::{CPU, Cpu, LISTENERS};
use crate::order;

/// An announcement older than this is nobody's cause: an idle CPU switches to no thread, and its next timer
/// would inherit it. A thousand waiters are woken in a few milliseconds.
const LONGEST_NS: u64 = 10_000_000;

/// A connection to a traced process was established here: what is announced next is this one.
#[inline(always)]
pub fn establish(now_ns: u64, peer_port: u16) {
    let Some(cpu) = CPU.get_ptr_mut(0) else { return };
    // SAFETY: the look-up succeeded; the element is this CPU's own.
    unsafe {
        (*cpu).established_ns = now_ns;
        (*cpu).peer_port = u64::from(peer_port);
    }
}

/// A connection is announced to `listener`.
#[inline(always)]
pub fn announce(listener: u64, now_ns: u64, is_tcp: bool) {
    let Some(count) = LISTENERS.get_ptr_mut(&listener) else {
        // Nobody's listener that is traced.
        clear_all();
        return;
    };
    let Some(cpu) = CPU.get_ptr_mut(0) else { return };
    // SAFETY: the look-ups succeeded; the element is this CPU's own.
    unsafe {
        add(&raw mut (*count).arrivals, 1);
        (*cpu).since_ns = now_ns;
        (*cpu).listener = listener;
        if !is_tcp {
            (*cpu).established_ns = 0;
        }
    }
}

/// Something else happened on this CPU, and no connection is on its way to a listener.
#[inline(always)]
pub fn clear_all() {
    if let Some(cpu) = CPU.get_ptr_mut(0) {
        // SAFETY: the look-up succeeded; the element is this CPU's own.
        unsafe {
            clear_on(cpu);
            if (*cpu).established_ns != 0 {
                (*cpu).established_ns = 0;
            }
        }
    }
}

/// Something else happened on this CPU.
#[inline(always)]
pub fn clear() {
    if let Some(cpu) = CPU.get_ptr_mut(0) {
        // SAFETY: the look-up succeeded; the element is this CPU's own.
        unsafe { clear_on(cpu) };
    }
}

/// As [`clear`], where this CPU's element is at hand.
///
/// # Safety
/// `cpu` comes from a look-up that succeeded.
#[inline(always)]
pub unsafe fn clear_on(cpu: *mut Cpu) {
    // SAFETY: as the caller promises. Most often there is nothing to clear: then nothing is written.
    unsafe {
        if (*cpu).listener != 0 {
            (*cpu).listener = 0;
        }
    }
}

/// A traced thread is woken on this CPU (by it, not for it).
#[inline(always)]
pub fn wakes(account: Account) {
    let Some(cpu) = CPU.get_ptr(0) else { return };
    // SAFETY: the look-ups succeeded; the element is this CPU's own.
    unsafe {
        let (listener, since_ns) = ((*cpu).listener, (*cpu).since_ns);
        if listener == 0 {
            return;
        }
        let now_ns = bpf_ktime_get_ns();
        let before_ns = now_ns.wrapping_sub(since_ns);
        if before_ns > LONGEST_NS {
            return;
        }
        // A wakeup through a futex is some thread's doing, not a socket's.
        match kind((*account).system_call as u32) {
            Some(Kind::Accept | Kind::Poll | Kind::Select | Kind::EpollWait) => {}
            _ => return,
        }
        // The announcement interrupted a traced thread, which has made a call of its own since.
        if let Some(current) = account::current()
            && (*current).segment_start_ns > since_ns
        {
            return;
        }
        let Some(count) = LISTENERS.get_ptr_mut(&listener) else { return };
        add(&raw mut (*count).woken, 1);
        // Awake from the wakeup before, and about to sleep: this one keeps it from that.
        if (&raw const (*account).cause_listener).read_volatile() == listener {
            add(&raw mut (*count).slept_again, 1);
        }
        (*account).cause_cpu_ns = (*account).cpu_ns;
        (*account).cause_run_queue_ns = (*account).run_queue_ns;
        (*account).cause_switches = (*account).switches;
        (*account).cause_woken_ns = now_ns;
        (*account).cause_announced_before_ns = before_ns as u32;
        let established_ns = (*cpu).established_ns;
        if established_ns == 0 {
            (*account).cause_established_before_ns = u32::MAX;
            (*account).cause_peer_port = 0;
        } else {
            (*account).cause_established_before_ns = since_ns.wrapping_sub(established_ns) as u32;
            (*account).cause_peer_port = (*cpu).peer_port as u16;
        }
        // A thread that is still awake elsewhere, and finds the listener, finds the rest.
        order::full();
        (&raw mut (*account).cause_listener).write_volatile(listener);
    }
}

/// A thread goes to sleep, its account being settled. If a connection had woken it in the same call, somebody
/// else took that connection.
#[inline(always)]
pub fn sleeps(account: Account) {
    // SAFETY: an element of ACCOUNTS; the thread's own CPU is the only one that takes these fields back.
    unsafe {
        let listener = (&raw const (*account).cause_listener).read_volatile();
        // Woken before it was asleep: the switch that is seen now came before the wakeup.
        if listener == 0 || {
            // What the waker wrote before the listener is read after it.
            order::full();
            (*account).switches == (*account).cause_switches
        } {
            return;
        }
        (&raw mut (*account).cause_listener).write_volatile(0);
        let Some(count) = LISTENERS.get_ptr_mut(&listener) else { return };
        add(&raw mut (*count).slept_again, 1);
        let cpu_ns = (*account).cpu_ns.wrapping_sub((*account).cause_cpu_ns);
        let run_queue_ns = (*account).run_queue_ns.wrapping_sub((*account).cause_run_queue_ns);
        add(&raw mut (*count).slept_again_cpu_ns, cpu_ns);
        add(&raw mut (*count).slept_again_run_queue_ns, run_queue_ns);
        emit::wake(account, (*count).inode, SLEPT_AGAIN, 0, (*account).state_since_ns);
    }
}

/// A thread enters a run queue. One that was woken while it was still awake never left its CPU: the next
/// sleep is one after that wakeup, although nothing was switched in between. Seen rarely, on a busy machine:
/// the thread is interrupted between its last look at the listener and its sleep.
#[inline(always)]
pub fn enqueued(account: Account) {
    // SAFETY: as above; a thread that is awake does not read these fields before it sleeps.
    unsafe {
        if (&raw const (*account).cause_listener).read_volatile() != 0 {
            (*account).cause_switches = (*account).switches.wrapping_sub(1);
        }
    }
}

/// The call in which a connection woke the thread returns `result` at `now_ns`, its account being settled.
#[inline(always)]
pub fn returns(account: Account, result: i64, now_ns: u64) {
    // SAFETY: as above.
    unsafe {
        let listener = (&raw const (*account).cause_listener).read_volatile();
        // What the waker wrote before the listener is read after it. The slice's end takes the field back.
        order::full();
        let inode = LISTENERS.get_ptr(&listener).map_or(0, |count| (*count).inode);
        emit::wake(account, inode, RETURNED, result as i32, now_ns);
    }
}

/// Several CPUs count for one listener. The result must stay unused on this target.
///
/// # Safety
/// `counter` points into a map element.
#[inline(always)]
unsafe fn add(counter: *mut u64, amount: u64) {
    // SAFETY: as the caller promises.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, amount) };
}
