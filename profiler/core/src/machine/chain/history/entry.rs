//! A thread's history, to add to it.
//!
//! In: segments, and what is too short to be one. Out: the same, in the history.

use crate::machine::chain::history::History;
use crate::machine::chain::segment::{Did, Segment};
use crate::machine::time::short::{LONG_NS, Short};

/// What is short is added up over at most this time: a long sum would blur when what happened.
const LONGEST_SHORT_NS: u64 = 8_000_000;

/// The history of one thread.
#[derive(Debug)]
pub(in crate::machine) struct HistoryEntry<'a> {
    /// What it did.
    pub history: &'a mut History,
    /// Segments kept of all threads.
    pub(super) kept: &'a mut usize,
    /// Nothing was known of it before.
    pub is_new: bool,
}

impl HistoryEntry<'_> {
    /// Adds what a thread did from where its history ends. What lies between is unseen.
    pub(in crate::machine) fn push(&mut self, mut segment: Segment) {
        let end_ns = self.history.end_ns();
        segment.start_ns = segment.start_ns.max(end_ns);
        if segment.end_ns <= segment.start_ns {
            return;
        }
        if segment.start_ns > end_ns {
            let hole = Segment { start_ns: end_ns, end_ns: segment.start_ns, request: 0, did: Did::Unseen };
            self.history.push(hole, self.kept);
        }
        self.history.push(segment, self.kept);
    }

    /// Adds what is too short to be kept by itself.
    #[inline]
    pub(in crate::machine) fn push_short(
        &mut self,
        (start_ns, end_ns): (u64, u64),
        request: u64,
        short: Short,
    ) {
        if let Some(last) = self.history.segments.back_mut()
            && (last.request == request || last.length_ns() < LONG_NS)
            && let Did::Short(sums) = &mut last.did
            && last.end_ns >= start_ns
            && end_ns > last.end_ns
            && end_ns.saturating_sub(last.start_ns) <= LONGEST_SHORT_NS
        {
            sums.add(&short);
            last.end_ns = end_ns;
            // A thread that turns to a request within the stretch worked for that, most likely.
            last.request = if request == 0 { last.request } else { request };
            return;
        }
        self.push(Segment { start_ns, end_ns, request, did: Did::Short(short) });
    }
}
