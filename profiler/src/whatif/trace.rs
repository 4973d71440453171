//! Of a recording's timeline what a forecast needs: requests, and what their threads did, in order.
//!
//! In: the timeline. Out: [`Trace`]. Requests end before all of what their threads did is drawn: both are joined after the replay.

use std::collections::HashMap;

use profiler_core::event::Tid;
use profiler_core::model::request::Request;
use profiler_core::pipeline::Settings;
use profiler_core::timeline::{Entry, ThreadState};

use crate::session::observer::Observer;

/// Requests kept at most.
const MAX_REQUESTS: usize = 1_000_000;
/// Slices kept at most: some 500 MB.
const MAX_SLICES: usize = 20_000_000;

/// A stretch of a thread's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Start.
    pub start_ns: u64,
    /// End.
    pub end_ns: u64,
    /// What it did.
    pub state: ThreadState,
    /// Between two calls: its own code.
    pub is_gap: bool,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Trace {
    /// In the order in which they ended.
    pub requests: Vec<Request>,
    /// Calls of accept, by thread.
    pub accepts: HashMap<Tid, u64>,
    /// There was more than is kept.
    pub is_cut: bool,
    slices: HashMap<Tid, Vec<Slice>>,
    slices_count: usize,
}

impl Trace {
    /// What a thread did between these moments, in order, cut at them.
    pub fn between(&self, tid: Tid, start_ns: u64, end_ns: u64) -> impl Iterator<Item = Slice> {
        let all = self.slices.get(&tid).map_or(&[][..], Vec::as_slice);
        let first = all.partition_point(|slice| slice.end_ns <= start_ns);
        let within = all.iter().skip(first).take_while(move |slice| slice.start_ns < end_ns);
        within.map(move |slice| Slice {
            start_ns: slice.start_ns.max(start_ns),
            end_ns: slice.end_ns.min(end_ns),
            ..*slice
        })
    }
}

impl Observer for Trace {
    fn settings(&self) -> Settings {
        Settings { thread_slices: true }
    }

    fn entry(&mut self, entry: &Entry) {
        match entry {
            Entry::Request(request) if self.requests.len() < MAX_REQUESTS => {
                self.requests.push((**request).clone());
            }
            Entry::Slice { tid, start_ns, end_ns, state, label, .. } if self.slices_count < MAX_SLICES => {
                if label.starts_with("accept") {
                    let count = self.accepts.entry(*tid).or_default();
                    *count = count.saturating_add(1);
                }
                self.slices_count += 1;
                self.slices.entry(*tid).or_default().push(Slice {
                    start_ns: *start_ns,
                    end_ns: *end_ns,
                    state: *state,
                    is_gap: *label == "running",
                });
            }
            Entry::Request(_) | Entry::Slice { .. } => self.is_cut = true,
            _ => {}
        }
    }
}
