//! A second program at the same hook, for what the kernel keeps from the first.
//!
//! In: which of the two runs, and for which event. Out: whether the event is its.
//!
//! From Linux 7.2 on a program at a system call can be preempted. As long as it stays so, the kernel skips the same program for every other
//! thread of that CPU (`bpf_prog_get_recursion_context`, include/linux/bpf.h): for a time slice or longer. The second program is another one to
//! the kernel. It runs after the first, and takes the event if the first has not.

use aya_ebpf::Global;

use crate::account::Account;

/// Not 0 where spares are attached: elsewhere the verifier removes what they need.
#[unsafe(no_mangle)]
static SPARES: Global<u32> = Global::new(0);

/// A call begins.
pub const ENTRY: u16 = 1;
/// A call ends.
pub const EXIT: u16 = 2;
/// A client's bytes were received, in light mode.
pub const RECEIVED: u16 = 4;
/// A client was sent bytes, in light mode.
pub const SENT: u16 = 8;

/// Which of the two programs runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The one that runs wherever the hook is.
    First,
    /// The one after it.
    Spare,
}

impl Program {
    /// Whether the event (one of this module's bits) of the thread of `account`, which runs here, is this program's. If a spare itself was skipped, a mark
    /// stays, and it leaves the next such event to the first program: so no more events are lost than runs of the spare were skipped.
    #[inline(always)]
    pub fn takes(self, account: Account, event: u16) -> bool {
        if SPARES.load() == 0 {
            return true;
        }
        // SAFETY: the caller's look-up succeeded; only the thread itself reads and writes this.
        unsafe {
            let marks = &raw mut (*account).taken_by_first;
            let taken = marks.read_volatile();
            if self == Self::First {
                marks.write_volatile(taken | event);
                return true;
            }
            marks.write_volatile(taken & !event);
            taken & event == 0
        }
    }
}
