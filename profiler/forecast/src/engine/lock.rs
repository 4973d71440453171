//! The interpreter lock of a process.
//!
//! In: threads that want it or give it up. Out: who has it. Who waits first gets it first. A thread that has waited for the switch interval
//! without a change of hands asks the holder to give it up: `ceval_gil.c`.

use std::collections::VecDeque;

/// One lock.
#[derive(Clone, Debug, Default)]
pub(super) struct Lock {
    /// Who has it.
    pub(super) holder: Option<usize>,
    /// The holder is to give it up as soon as it runs.
    pub(super) is_wanted: bool,
    /// Changes with every change of hands.
    pub(super) stint: u64,
    /// How long it was held.
    pub(super) held_ns: u64,
    since_ns: u64,
    waiters: VecDeque<usize>,
}

impl Lock {
    /// Takes it, or waits for it: whether it was taken.
    pub(super) fn take(&mut self, thread: usize, now_ns: u64) -> bool {
        if self.holder.is_some() {
            self.waiters.push_back(thread);
            return false;
        }
        self.give(thread, now_ns);
        true
    }

    /// The holder gives it up: who has it now.
    pub(super) fn release(&mut self, now_ns: u64) -> Option<usize> {
        self.held_ns = self.held_ns.saturating_add(now_ns.saturating_sub(self.since_ns));
        self.holder = None;
        let next = self.waiters.pop_front();
        if let Some(thread) = next {
            self.give(thread, now_ns);
        }
        next
    }

    pub(super) fn is_waited_for(&self) -> bool {
        !self.waiters.is_empty()
    }

    pub(super) fn waiters(&self) -> usize {
        self.waiters.len()
    }

    fn give(&mut self, thread: usize, now_ns: u64) {
        self.holder = Some(thread);
        self.since_ns = now_ns;
        self.is_wanted = false;
        self.stint = self.stint.wrapping_add(1);
    }
}
