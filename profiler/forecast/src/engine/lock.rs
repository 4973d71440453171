//! The interpreter lock of a process.
//!
//! In: threads that want it or give it up. Out: who has it. It is free from the moment that its holder gives
//! it up, and the thread that has waited longest is woken. Who runs before that one has a core takes it. A
//! thread that has waited for the switch interval without a change of hands asks the holder to give it up:
//! `ceval_gil.c`.

use std::collections::VecDeque;

/// One lock.
#[derive(Clone, Debug, Default)]
pub(super) struct Lock {
    /// Who has it.
    pub(super) holder: Option<usize>,
    /// The holder is to give it up as soon as it runs.
    pub(super) is_wanted: bool,
    /// How often it went to another thread than the one that had it last.
    pub(super) switches: u64,
    /// Who had it last.
    last_holder: Option<usize>,
    /// How long it was held, until it was last given up.
    held_ns: u64,
    since_ns: u64,
    waiters: VecDeque<usize>,
    /// Those that were woken for it and had no core yet.
    woken: Vec<usize>,
}

impl Lock {
    /// A thread on a core takes it, or waits for it: whether it was taken.
    pub(super) fn take(&mut self, thread: usize, now_ns: u64) -> bool {
        self.woken.retain(|woken| *woken != thread);
        if self.holder.is_some() {
            self.waiters.push_back(thread);
            return false;
        }
        self.holder = Some(thread);
        self.since_ns = now_ns;
        self.is_wanted = false;
        if self.last_holder.replace(thread) != Some(thread) {
            self.switches = self.switches.wrapping_add(1);
        }
        true
    }

    /// The holder gives it up: who is woken for it.
    pub(super) fn release(&mut self, now_ns: u64) -> Option<usize> {
        self.held_ns = self.held_ns.saturating_add(now_ns.saturating_sub(self.since_ns));
        self.holder = None;
        self.is_wanted = false;
        let next = self.waiters.pop_front();
        self.woken.extend(next);
        next
    }

    /// How long it was held until now.
    pub(super) fn held_ns(&self, now_ns: u64) -> u64 {
        let since_ns = self.holder.map_or(0, |_| now_ns.saturating_sub(self.since_ns));
        self.held_ns.saturating_add(since_ns)
    }

    /// A holder that has more to do waits for it, behind all others.
    pub(super) fn wait(&mut self, thread: usize) {
        self.waiters.push_back(thread);
    }

    /// Whether this thread waits for it and was not woken.
    pub(super) fn has_waiting(&self, thread: usize) -> bool {
        self.waiters.contains(&thread)
    }

    /// Who waits for it will have it without anybody's doing: the holder gives it up, or somebody was woken.
    #[cfg(test)]
    pub(super) fn is_live(&self) -> bool {
        self.holder.is_some() || !self.woken.is_empty() || self.waiters.is_empty()
    }
}
