//! The newest requests, kept for the page.
//!
//! In: requests as they come to their end. Out: those that ended since a moment; a bounded number.

use std::collections::VecDeque;
use std::sync::Arc;

use profiler_core::model::request::Request;

/// Requests kept.
pub const MAX_NEWEST: usize = 2000;

/// The newest requests.
#[derive(Clone, Debug, Default)]
pub struct Newest(VecDeque<Arc<Request>>);

impl Newest {
    /// One more; the oldest goes.
    pub fn add(&mut self, request: &Request) {
        if self.0.len() >= MAX_NEWEST {
            self.0.pop_front();
        }
        self.0.push_back(Arc::new(request.clone()));
    }

    /// Requests that ended at `since_ns` or later.
    pub fn since(&self, since_ns: u64) -> Vec<Arc<Request>> {
        self.0.iter().filter(|request| request.times.end_ns >= since_ns).cloned().collect()
    }

    /// How long those took that ended at `since_ns` or later and were seen from their beginning, in
    /// nanoseconds.
    pub fn durations_ns(&self, since_ns: u64) -> Vec<u64> {
        let ended = self.0.iter().filter(|request| request.times.end_ns >= since_ns);
        ended.filter(|request| !request.seen.truncated).map(|request| request.total_ns()).collect()
    }
}
