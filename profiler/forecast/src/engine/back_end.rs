//! A back end: recorded delays, optionally of so many requests at once.
//!
//! In: threads that ask. Out: whose delay begins.

use std::collections::VecDeque;

/// One back end.
#[derive(Clone, Debug)]
pub(super) struct BackEnd {
    /// How many it serves at once; `None`: any number.
    limit: Option<u32>,
    /// Sum of the delays that it has begun.
    pub(super) busy_ns: u64,
    serving: u32,
    queue: VecDeque<(usize, u64)>,
}

impl BackEnd {
    pub(super) const fn new(limit: Option<u32>) -> Self {
        Self { limit, busy_ns: 0, serving: 0, queue: VecDeque::new() }
    }

    /// A thread asks for something that takes so long: whether it begins now.
    pub(super) fn ask(&mut self, thread: usize, duration_ns: u64) -> bool {
        if self.limit.is_some_and(|limit| self.serving >= limit) {
            self.queue.push_back((thread, duration_ns));
            return false;
        }
        self.begin(duration_ns);
        true
    }

    /// An answer was given: whose delay begins, and how long that is.
    pub(super) fn answered(&mut self) -> Option<(usize, u64)> {
        self.serving = self.serving.saturating_sub(1);
        let next = self.queue.pop_front()?;
        self.begin(next.1);
        Some(next)
    }

    fn begin(&mut self, duration_ns: u64) {
        self.serving = self.serving.saturating_add(1);
        self.busy_ns = self.busy_ns.saturating_add(duration_ns);
    }
}
