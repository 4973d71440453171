//! The threads that a thread has started in its present job, and its waits for them.
//!
//! In: threads as they are made, waits with who ended them. Out: the sum of these waits, once the job is
//! over. Threads that were there before belong to a pool.

use crate::event::Tid;

/// Helpers of one job that are remembered. A thread that starts more is taken to wait for locks.
const MAX_HELPERS: usize = 64;

/// The helpers of one thread.
#[derive(Clone, Debug, Default)]
pub struct Helpers {
    tids: Vec<Tid>,
    waited_ns: u64,
}

impl Helpers {
    /// The thread starts another. `false`: there is no room for it.
    pub fn start(&mut self, tid: Tid) -> bool {
        let has_room = self.tids.len() < MAX_HELPERS;
        if has_room {
            self.tids.push(tid);
        }
        has_room
    }

    /// The thread has waited for a lock until another thread woke it.
    pub fn wait(&mut self, waker_tid: Tid, wait_ns: u64) {
        if self.tids.contains(&waker_tid) {
            self.waited_ns = self.waited_ns.saturating_add(wait_ns);
        }
    }

    /// Its job is over. Returns how long it waited for its helpers, in nanoseconds.
    pub fn end(&mut self) -> u64 {
        self.tids.clear();
        std::mem::take(&mut self.waited_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_for_helpers_of_the_job_in_which_they_were_started_and_for_no_others() {
        let mut helpers = Helpers::default();
        helpers.start(6);
        helpers.wait(6, 30);
        helpers.wait(5, 100);
        helpers.wait(6, 4);
        assert_eq!((helpers.end(), helpers.end()), (34, 0));
        helpers.wait(6, 30);
        assert_eq!((0..1000).filter(|tid| !helpers.start(*tid)).count(), 1000 - MAX_HELPERS);
        helpers.wait(0, 1);
        helpers.wait(999, 1);
        assert_eq!((helpers.end(), helpers.tids.len()), (1, 0));
    }
}
