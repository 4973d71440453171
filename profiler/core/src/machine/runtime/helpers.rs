//! The threads that a thread has started for the request that it serves.
//!
//! In: threads as they are made. Out: whether a thread is such a helper. Only of the request that is served at the time: threads that were there before
//! belong to a pool.

use crate::event::Tid;
use crate::machine::wire::request::Place;

/// Helpers of one request that are remembered. Whoever starts more is taken to wait for locks.
const MAX_HELPERS: usize = 64;

/// The helpers of one thread.
#[derive(Clone, Debug, Default)]
pub struct Helpers {
    /// The request that they were started for.
    place: Option<Place>,
    tids: Vec<Tid>,
}

impl Helpers {
    /// The thread starts another while it serves this request, if it serves one.
    pub fn start(&mut self, serving: Option<Place>, tid: Tid) {
        if self.place != serving {
            self.tids.clear();
            self.place = serving;
        }
        if serving.is_some() && self.tids.len() < MAX_HELPERS {
            self.tids.push(tid);
        }
    }

    /// Whether it started this thread for the request that it serves now.
    #[must_use]
    pub fn has(&self, serving: Option<Place>, tid: Tid) -> bool {
        serving.is_some() && self.place == serving && self.tids.contains(&tid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_a_helper_of_the_request_for_which_it_was_started_and_of_no_other() {
        let mut helpers = Helpers::default();
        helpers.start(None, 5);
        assert!(!helpers.has(None, 5));
        helpers.start(Some((1, 7)), 6);
        assert!(helpers.has(Some((1, 7)), 6));
        assert!(!helpers.has(Some((1, 7)), 5) && !helpers.has(Some((1, 8)), 6) && !helpers.has(None, 6));
        helpers.start(Some((1, 8)), 9);
        assert!(!helpers.has(Some((1, 8)), 6) && !helpers.has(Some((1, 7)), 6));
        (0..1000).for_each(|tid| helpers.start(Some((1, 8)), tid));
        assert!(helpers.has(Some((1, 8)), 9) && helpers.tids.len() == MAX_HELPERS);
    }
}
