//! What is known of the threads that a loop made, each for one request.
//!
//! In: what they report to the loop, what the loop resumes. Out: their requests.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::machine::runtime::handed::MAX_JOBS;
use crate::machine::wire::request::RequestKey;

/// What is known of the threads that a loop made.
#[derive(Clone, Debug, Default)]
pub struct OwnThreads {
    pub(super) made: FxHashMap<Tid, Made>,
    /// Requests whose thread reported that it is done, and that the loop has not been seen to resume. `None`: a request that is not known.
    pub(super) told: VecDeque<(Option<RequestKey>, u64)>,
    /// Threads that ended with their request, and that were kept for others.
    pub(super) ended: u64,
    pub(super) kept: u64,
}

/// A thread that the loop made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// `None`: one of several.
    pub(super) key: Option<RequestKey>,
    /// When its request last resumed, as far as is known: read, reported by the thread, or touched by the loop.
    pub(super) known_ns: u64,
    /// When it last got something to do.
    pub(super) begun_ns: u64,
    /// Until when it waited for anything but the loop before its present job.
    pub(super) ready_ns: u64,
    /// Jobs that it got since its request is over.
    pub(super) tidied: u32,
}

impl OwnThreads {
    /// Whether the loop made this thread for one request.
    pub(super) fn has(&self, tid: Tid) -> bool {
        self.made.contains_key(&tid)
    }

    /// Whether the request of one of these threads is not known.
    pub(super) fn has_open(&self) -> bool {
        self.made.values().any(|made| made.key.is_none())
    }

    /// The request for which the loop made this thread, where that is known.
    pub(super) fn place_of(&self, tid: Tid) -> Option<RequestKey> {
        self.made.get(&tid)?.key
    }

    /// Until when the thread's request waited for anything but the loop, before the thread's present job. `None`: it is no thread of one request.
    pub(super) fn ready_ns(&self, tid: Tid) -> Option<u64> {
        self.made.get(&tid).map(|made| made.ready_ns)
    }

    /// A thread reports to the loop that it is done with something.
    pub(super) fn tells(&mut self, tid: Tid, at_ns: u64) {
        let Some(made) = self.made.get_mut(&tid) else { return };
        made.known_ns = made.known_ns.max(at_ns);
        if self.told.len() >= MAX_JOBS {
            // What was reported before the loop last slept has been handled, and tells nothing.
            self.told.pop_front();
        }
        self.told.push_back((made.key, at_ns));
    }

    /// The loop resumed a request. It has handled whatever reported before that one as well.
    pub(super) fn resumed(&mut self, key: RequestKey, at_ns: u64) {
        if let Some(index) = self.told.iter().rposition(|(told, _)| *told == Some(key)) {
            self.told.drain(..=index);
        }
        for made in self.made.values_mut().filter(|made| made.key == Some(key)) {
            made.known_ns = made.known_ns.max(at_ns);
        }
    }

    /// More of them are kept for later requests than end with theirs.
    pub(super) const fn are_kept(&self) -> bool {
        self.kept > self.ended
    }
}
