//! What the screen keeps beside the snapshot: the latest finished requests with what their threads did, and
//! how many ended in each second.
//!
//! In: entries of the timeline, thread slices among them. Out: [`Kept`] requests, rates. Bounded, whatever
//! comes.

use profiler_core::model::request::Request;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use profiler_core::event::Tid;
use profiler_core::fact::Fact;
use profiler_core::model::Snapshot;
use profiler_core::model::now::Now;
use profiler_core::model::path_shape::path_shape;
use profiler_core::timeline::Entry;
use rustc_hash::FxHashMap;

use crate::now::looked::Looked;
use crate::now::moment;
use crate::report::screen::model::{Kept, Part};
use crate::session::observer::Observer as _;

/// Latest requests kept.
const MAX_LATEST: usize = 300;
/// Slowest requests of the window kept.
const MAX_SLOWEST: usize = 100;
/// Parts of one request.
const MAX_PARTS: usize = 256;
/// Latest slices of one thread.
const MAX_SLICES: usize = 512;
/// Threads whose slices are kept.
const MAX_THREADS: usize = 4096;
/// Seconds whose requests are counted.
const MAX_SECONDS: usize = 120;

/// Takes the timeline of a run.
#[derive(Debug, Default)]
pub struct Collector {
    looked: Looked,
    slices: FxHashMap<Tid, VecDeque<Part>>,
    latest: VecDeque<Arc<Kept>>,
    slowest: Vec<Arc<Kept>>,
    rates: VecDeque<u64>,
    /// The second that is counted last.
    second: u64,
}

impl Collector {
    /// Takes a fact.
    pub fn fact(&mut self, fact: &Fact) {
        self.looked.fact(fact);
    }

    /// The application's lines at which threads are.
    pub fn lines(&self, snapshot: &Snapshot, now: &Now) -> BTreeMap<Tid, String> {
        moment::lines(snapshot, now, &self.looked)
    }

    /// Takes one entry.
    pub fn entry(&mut self, entry: &Entry) {
        self.looked.entry(entry);
        match entry {
            Entry::Slice { tid, start_ns, end_ns, state, .. } => {
                let part = Part { tid: *tid, start_ns: *start_ns, end_ns: *end_ns, state: *state };
                self.slice(part);
            }
            // One that the end of the window cut off has its place among those in flight.
            Entry::Request(request) if !request.seen.open => self.request(request),
            Entry::Request(_)
            | Entry::Process { .. }
            | Entry::Thread { .. }
            | Entry::Dropped { .. }
            | Entry::BusySlots { .. }
            | Entry::AcceptQueue { .. }
            | Entry::Chain(_)
            | Entry::Wake { .. } => {}
        }
    }

    /// A new window begins: the slowest requests are those of the window.
    pub fn new_window(&mut self) {
        self.slowest.clear();
    }

    /// Requests kept, newest first.
    pub fn kept(&self) -> Vec<Arc<Kept>> {
        let mut kept: Vec<Arc<Kept>> = self.latest.iter().chain(&self.slowest).cloned().collect();
        kept.sort_unstable_by_key(|kept| std::cmp::Reverse((kept.request.times.end_ns, kept.request.id)));
        kept.dedup_by_key(|kept| kept.request.id);
        kept
    }

    /// Requests that ended in each second up to `now_ns`, the second that has just begun left out.
    pub fn rates(&self, now_ns: u64) -> Vec<u64> {
        let now = now_ns / 1_000_000_000;
        let mut rates: Vec<u64> = self.rates.iter().copied().collect();
        if self.second > 0 {
            // Seconds in which nothing ended have no entry yet.
            let silent = usize::try_from(now.saturating_sub(self.second)).unwrap_or(usize::MAX);
            rates.resize(rates.len().saturating_add(silent.min(MAX_SECONDS)), 0);
        }
        rates.pop();
        rates.drain(..rates.len().saturating_sub(MAX_SECONDS));
        rates
    }

    fn slice(&mut self, part: Part) {
        if self.slices.len() >= MAX_THREADS && !self.slices.contains_key(&part.tid) {
            // Threads come and go; those that live are back in a moment.
            self.slices.clear();
        }
        let slices = self.slices.entry(part.tid).or_default();
        match slices.back_mut() {
            Some(last) if last.state == part.state && last.end_ns == part.start_ns => {
                last.end_ns = part.end_ns;
            }
            _ => {
                if slices.len() >= MAX_SLICES {
                    slices.pop_front();
                }
                slices.push_back(part);
            }
        }
    }

    fn request(&mut self, request: &Request) {
        self.count(request.times.end_ns / 1_000_000_000);
        let fastest = self.slowest.last().map_or(0, |kept| kept.request.total_ns());
        let is_slow = self.slowest.len() < MAX_SLOWEST || request.total_ns() > fastest;
        let kept = Arc::new(self.keep(request));
        if is_slow {
            let total_ns = request.total_ns();
            let place = self.slowest.partition_point(|other| other.request.total_ns() >= total_ns);
            self.slowest.insert(place, Arc::clone(&kept));
            self.slowest.truncate(MAX_SLOWEST);
        }
        if self.latest.len() >= MAX_LATEST {
            self.latest.pop_front();
        }
        self.latest.push_back(kept);
    }

    fn count(&mut self, second: u64) {
        if self.second == 0 {
            self.second = second;
            self.rates.push_back(0);
        }
        while self.second < second {
            self.second = if second - self.second > MAX_SECONDS as u64 { second } else { self.second + 1 };
            self.rates.push_back(0);
        }
        // Requests end almost in order: one of a second before counts there.
        let back = usize::try_from(self.second - second.min(self.second)).unwrap_or(usize::MAX);
        let place = self.rates.len().checked_sub(back.saturating_add(1));
        if let Some(count) = place.and_then(|place| self.rates.get_mut(place)) {
            *count = count.saturating_add(1);
        }
        while self.rates.len() > MAX_SECONDS {
            self.rates.pop_front();
        }
    }

    fn keep(&self, request: &Request) -> Kept {
        let mut parts = Vec::new();
        let mut thinned = false;
        for stretch in &request.stretches {
            let Some(slices) = self.slices.get(&stretch.tid) else { continue };
            let first = slices.partition_point(|part| part.end_ns <= stretch.start_ns);
            thinned |= slices.front().is_none_or(|part| part.start_ns > stretch.start_ns);
            for part in slices.iter().skip(first).take_while(|part| part.start_ns < stretch.end_ns) {
                if parts.len() >= MAX_PARTS {
                    thinned = true;
                    break;
                }
                let start_ns = part.start_ns.max(stretch.start_ns);
                parts.push(Part { start_ns, end_ns: part.end_ns.min(stretch.end_ns), ..*part });
            }
        }
        Kept { request: request.clone(), shape: path_shape(&request.http.path), parts, thinned }
    }
}

#[cfg(test)]
mod tests {
    use profiler_core::model::request::{Http, OnGil, Seen, Stretch, Times};

    use profiler_core::phase::Phases;
    use profiler_core::timeline::ThreadState;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn request(id: u64, start_ns: u64, end_ns: u64) -> Box<Request> {
        Box::new(Request {
            id,
            connection: 0,
            index_on_connection: 0,
            tgid: 1,
            tid: 7,
            slot: Some(0),
            phases: Phases::default(),
            round_trips: profiler_core::model::round_trips::RoundTrips::default(),
            stretches: vec![Stretch { tgid: 1, tid: 7, start_ns: start_ns + 10, end_ns }],
            times: Times {
                start_ns,
                start_is_arrival: true,
                service_start_ns: Some(start_ns),
                first_write_ns: Some(end_ns),
                end_ns,
            },
            http: Http {
                method: "GET".to_owned(),
                path: "/users/42".to_owned(),
                status: 200,
                ..Http::default()
            },
            gil: OnGil::default(),
            seen: Seen::default(),
        })
    }

    fn slice(start_ns: u64, end_ns: u64, state: ThreadState) -> Entry {
        Entry::Slice {
            tgid: 1,
            tid: 7,
            start_ns,
            end_ns,
            state,
            label: "read",
            fd: None,
            open: false,
            held_by: None,
            sites: None,
        }
    }

    #[test]
    fn a_request_keeps_what_its_thread_did_meanwhile_and_nothing_else() {
        let mut collector = Collector::default();
        for (start_ns, end_ns, state) in [
            (900, 1_050, ThreadState::Idle),
            (1_050, 1_100, ThreadState::Running),
            (1_100, 1_150, ThreadState::Running),
            (1_150, 1_300, ThreadState::BackendWait),
        ] {
            collector.entry(&slice(start_ns, end_ns, state));
        }
        collector.entry(&Entry::Request(request(1, 1_000, 1_250)));
        let kept = collector.kept();
        let parts: Vec<_> =
            kept[0].parts.iter().map(|part| (part.start_ns, part.end_ns, part.state)).collect();
        assert_eq!(
            parts,
            [
                (1_010, 1_050, ThreadState::Idle),
                (1_050, 1_150, ThreadState::Running),
                (1_150, 1_250, ThreadState::BackendWait)
            ]
        );
        assert_eq!((kept[0].shape.as_str(), kept[0].thinned), ("/users/{number}", false));
    }

    #[test]
    fn whatever_comes_the_latest_and_the_slowest_stay_and_no_more() {
        let mut collector = Collector::default();
        for id in 0..10_000 {
            // The slowest of all comes first.
            let start_ns = SECOND + id * 1_000;
            collector.entry(&Entry::Request(request(id, start_ns, start_ns + 20_000 - id)));
            collector.entry(&slice(
                start_ns,
                start_ns + 1_000,
                [ThreadState::Idle, ThreadState::File][id as usize % 2],
            ));
        }
        let kept = collector.kept();
        assert_eq!(kept.len(), MAX_LATEST + MAX_SLOWEST);
        assert_eq!(kept[0].request.id, 9_999);
        assert!(kept.iter().any(|kept| kept.request.id == 0));
        assert!(collector.slices.values().all(|slices| slices.len() <= MAX_SLICES));
        collector.new_window();
        assert_eq!(collector.kept().len(), MAX_LATEST);
    }

    #[test]
    fn each_second_has_its_count_and_silent_ones_have_none() {
        let mut collector = Collector::default();
        for (id, second) in [5, 5, 6, 5, 9].into_iter().enumerate() {
            let end_ns = second * SECOND + 17;
            collector.entry(&Entry::Request(request(id as u64, end_ns - 10, end_ns)));
        }
        assert_eq!(collector.rates(10 * SECOND), [3, 1, 0, 0, 1]);
        assert_eq!(collector.rates(12 * SECOND), [3, 1, 0, 0, 1, 0, 0]);
        assert_eq!(collector.rates(9 * SECOND), [3, 1, 0, 0]);
        assert_eq!(collector.rates(u64::MAX).len(), MAX_SECONDS);
        assert!(Collector::default().rates(5).is_empty());
    }
}
