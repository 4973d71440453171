//! Where in Python requests computed and slept: samples, each with the endpoint that its thread worked for at
//! that moment.
//!
//! In: samples, up to some tenths of a second late; histories of threads. Out: [`Computed`]s and [`Waited`]s.
//! A sample waits until what its thread did is known, and for whom.

use std::cmp::Reverse;
use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::event::Tid;
use crate::fact::sample::SampleSeen;
use crate::machine::chain::history::Histories;
use crate::machine::chain::request_lines::{PlaceOf, RequestLines};
use crate::machine::time::capacity::Span;
use crate::model::computed::{Computed, ComputedAt};
use crate::model::request::Stretch;
use crate::model::waited::{SleptSum, Waited, WaitedAt};

/// Samples that wait. Of more, the oldest count with what is known.
const MAX_WAITING: usize = 65_536;
/// Endpoints and places of a window that have a count of their own.
const MAX_CELLS: usize = 16_384;
/// Places that are listed of one endpoint: many stacks may lead to one line.
const MAX_LISTED: usize = 1024;
/// Stretches that are remembered of one thread, the newest.
const MAX_OF_THREAD: usize = 8192;
/// Stretches of one thread at one moment that are looked at: only loops have several.
const MAX_OVERLAPS: usize = 64;
/// What a thread did is known after so long, most likely.
const KNOWN_AFTER_NS: u64 = 1_000_000_000;

/// Samples of a window.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct PlaceSamples {
    waiting: VecDeque<SampleSeen>,
    /// Their threads were still at it when their turn came.
    late: Vec<SampleSeen>,
    sums: FxHashMap<Key, Sum>,
    /// Stretches of complete requests by thread, ascending by their ends.
    served: FxHashMap<Tid, VecDeque<(Span, Served)>>,
    /// Where in Python single requests were.
    pub(super) lines: RequestLines,
    /// There was a sample.
    is_sampling: bool,
    evicted: u64,
}

/// A request that is complete, and its endpoint.
#[derive(Clone, Copy, Debug)]
struct Served {
    request: u64,
    endpoint: u32,
}

/// For whom a thread worked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct WorkedFor {
    /// 0: for none.
    endpoint: u32,
    /// It runs an event loop: requests take turns, and whose turn it was is not known to the moment.
    is_loop: bool,
}

/// What a sample is of: whom its thread worked for, and the request, if that is known.
type SampleOf = (WorkedFor, Option<u64>);

/// What is summed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    worked: WorkedFor,
    place: Option<u32>,
    /// `None`: it computed.
    system_call: Option<u32>,
}

/// Samples of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    slept: SleptSum,
    /// Those of which it is known whether they were in a collection of garbage, and those that were.
    collecting_known: u64,
    collecting: u64,
}

impl PlaceSamples {
    /// A sample came. `place_of`: places by number.
    pub(super) fn note(
        &mut self,
        sample: SampleSeen,
        histories: &Histories,
        endpoint_of: &dyn Fn(u64) -> u32,
        place_of: PlaceOf<'_>,
    ) {
        self.is_sampling = true;
        self.waiting.push_back(sample);
        let newest_ns = sample.at_ns;
        while let Some(first) =
            self.waiting.pop_front_if(|first| first.at_ns.saturating_add(KNOWN_AFTER_NS) <= newest_ns)
        {
            match self.worked_for(&first, histories, endpoint_of) {
                Some(of) => self.count(of, &first, place_of),
                None if self.late.len() < MAX_WAITING => self.late.push(first),
                None => self.count(SampleOf::default(), &first, place_of),
            }
        }
        if self.waiting.len() > MAX_WAITING {
            self.waiting.pop_front();
            self.evicted += 1;
        }
    }

    /// A request is complete: its threads worked for this endpoint in its stretches. Where requests are short
    /// that says more than histories do, in which short pieces are one.
    pub(super) fn served(&mut self, request: u64, endpoint: u32, stretches: &[Stretch]) {
        if !self.is_sampling {
            return;
        }
        for stretch in stretches {
            let served = self.served.entry(stretch.tid).or_default();
            let of_request = ((stretch.start_ns, stretch.end_ns), Served { request, endpoint });
            // Requests end nearly in order: most belong at the end, and the others need not be looked at.
            let after = match served.back() {
                Some((last, _)) if last.1 > stretch.end_ns => {
                    served.partition_point(|(span, _)| span.1 <= stretch.end_ns)
                }
                _ => served.len(),
            };
            served.insert(after, of_request);
            if served.len() > MAX_OF_THREAD {
                served.pop_front();
            }
        }
    }

    /// For whom a thread worked then. `None`: that is not known yet.
    fn worked_for(
        &self,
        sample: &SampleSeen,
        histories: &Histories,
        endpoint_of: &dyn Fn(u64) -> u32,
    ) -> Option<SampleOf> {
        if histories.get(sample.tid).is_some_and(|history| history.is_loop) {
            return Some((WorkedFor { endpoint: 0, is_loop: true }, None));
        }
        let mut found = self.served_at(sample);
        let (endpoint, request) = match (found.next(), found.next()) {
            (Some(Served { request, endpoint }), None) => (endpoint, Some(request)),
            _ => by_history(sample, histories, endpoint_of)?,
        };
        Some((WorkedFor { endpoint, is_loop: false }, request))
    }

    /// Complete requests in whose stretches a moment of a thread is.
    fn served_at(&self, sample: &SampleSeen) -> impl Iterator<Item = Served> + '_ {
        let at_ns = sample.at_ns;
        let served = self.served.get(&sample.tid);
        let ended_later =
            served.map(|served| served.range(served.partition_point(|(span, _)| span.1 <= at_ns)..));
        let around = ended_later.into_iter().flatten().take(MAX_OVERLAPS);
        around.filter(move |(span, _)| span.0 <= at_ns).map(|(_, served)| *served)
    }

    fn count(&mut self, (worked, request): SampleOf, sample: &SampleSeen, place_of: PlaceOf<'_>) {
        if let Some(request) = request {
            self.lines.sampled(request, sample, place_of);
        }
        let key =
            Key { worked, place: sample.place, system_call: sample.slept.map(|slept| slept.system_call) };
        if self.sums.len() >= MAX_CELLS && !self.sums.contains_key(&key) {
            self.evicted += 1;
            return;
        }
        let slept = sample.slept.unwrap_or_default();
        let sum = self.sums.entry(key).or_default();
        sum.slept.add(slept.ns, slept.is_drawn);
        sum.collecting_known += u64::from(sample.is_collecting.is_some());
        sum.collecting += u64::from(sample.is_collecting == Some(true));
    }

    /// The window has ended: where each endpoint computed, and where it slept, the one with the most first.
    pub(super) fn finish(
        &mut self,
        histories: &Histories,
        endpoint_of: &dyn Fn(u64) -> u32,
        place_of: PlaceOf<'_>,
    ) -> (Vec<Computed>, Vec<Waited>) {
        for sample in std::mem::take(&mut self.late).into_iter().chain(std::mem::take(&mut self.waiting)) {
            let of = self.worked_for(&sample, histories, endpoint_of).unwrap_or_default();
            self.count(of, &sample, place_of);
        }
        let mut computed: FxHashMap<WorkedFor, Computed> = FxHashMap::default();
        let mut waited: FxHashMap<WorkedFor, Waited> = FxHashMap::default();
        for (Key { worked, place, system_call }, sum) in std::mem::take(&mut self.sums) {
            let WorkedFor { endpoint, is_loop } = worked;
            let Some(system_call) = system_call else {
                let of = computed.entry(worked).or_insert_with(|| Computed {
                    endpoint,
                    is_loop,
                    ..Computed::default()
                });
                let Sum { slept: SleptSum { samples, .. }, collecting_known, collecting } = sum;
                of.samples += samples;
                of.collecting_known += collecting_known;
                of.collecting += collecting;
                match place {
                    Some(place) => of.places.push(ComputedAt { place, samples, collecting }),
                    None => of.unplaced += samples,
                }
                continue;
            };
            let of =
                waited.entry(worked).or_insert_with(|| Waited { endpoint, is_loop, ..Waited::default() });
            of.slept.join(&sum.slept);
            match place {
                Some(place) => of.places.push(WaitedAt { place, system_call, slept: sum.slept }),
                None => of.unplaced.join(&sum.slept),
            }
        }
        let mut computed: Vec<Computed> = computed.into_values().collect();
        for of in &mut computed {
            of.places.sort_unstable_by_key(|at| (Reverse(at.samples), at.place));
            of.places.truncate(MAX_LISTED);
        }
        computed.sort_unstable_by_key(|of| (Reverse(of.samples), of.endpoint, of.is_loop));
        let mut waited: Vec<Waited> = waited.into_values().collect();
        for of in &mut waited {
            of.places.sort_unstable_by_key(|at| (Reverse(at.slept.ns), at.place, at.system_call));
            of.places.truncate(MAX_LISTED);
        }
        waited.sort_unstable_by_key(|of| (Reverse(of.slept.ns), of.endpoint, of.is_loop));
        (computed, waited)
    }

    /// The next window begins. Requests in flight keep the samples whose turn has not come.
    pub(super) fn roll(
        &mut self,
        histories: &Histories,
        endpoint_of: &dyn Fn(u64) -> u32,
        place_of: PlaceOf<'_>,
    ) {
        let late = std::mem::take(&mut self.late);
        for sample in late.into_iter().chain(std::mem::take(&mut self.waiting)) {
            if let Some((_, Some(request))) = self.worked_for(&sample, histories, endpoint_of) {
                self.lines.sampled(request, &sample, place_of);
            }
        }
        let Self { served, lines, is_sampling, .. } = std::mem::take(self);
        *self = Self { served, lines, is_sampling, ..Self::default() };
    }

    /// Samples that found no place.
    pub(super) const fn evicted(&self) -> u64 {
        self.evicted + self.lines.evicted()
    }
}

/// The endpoint (0: none) and the request that a thread's account says it worked for then. `None`: not known
/// yet.
fn by_history(
    sample: &SampleSeen,
    histories: &Histories,
    endpoint_of: &dyn Fn(u64) -> u32,
) -> Option<(u32, Option<u64>)> {
    let history = histories.get(sample.tid)?;
    let part = history.within(sample.at_ns, sample.at_ns.saturating_add(1)).next()?;
    let request = part.segment.request;
    match request.checked_sub(1) {
        None => Some((0, None)),
        number => Some(endpoint_of(request)).filter(|endpoint| *endpoint > 0).map(|of| (of, number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::place::PlaceSeen;
    use crate::fact::sample::Slept;
    use crate::machine::chain::segment::Did;
    use crate::phase::Phase;

    const MS: u64 = 1_000_000;

    fn sample(at_ms: u64, place: Option<u32>) -> SampleSeen {
        SampleSeen { tgid: 1, tid: 2, at_ns: at_ms * MS, place, ..SampleSeen::default() }
    }

    fn histories() -> Histories {
        let mut histories = Histories::default();
        let mut entry = histories.entry(1, 2, 0).unwrap();
        entry.push_did(8, (0, 100 * MS), Did::Ran(Phase::Cpu));
        entry.push_did(0, (100 * MS, 200 * MS), Did::Ran(Phase::Cpu));
        entry.push_did(9, (200 * MS, 300 * MS), Did::Ran(Phase::Cpu));
        histories
    }

    fn nowhere<'a>(_: u32) -> Option<&'a PlaceSeen> {
        None
    }

    #[test]
    fn samples_are_of_the_endpoint_that_their_thread_worked_for_then() {
        let histories = histories();
        let endpoint_of = |request: u64| if request == 8 { 3 } else { 0 };
        let mut samples = PlaceSamples::default();
        for (at_ms, place) in
            [(10, Some(5)), (20, Some(7)), (30, Some(6)), (40, None), (150, Some(5)), (250, None)]
        {
            samples.note(sample(at_ms, place), &histories, &endpoint_of, &nowhere);
        }
        // Another thread, later: those before have had their turn.
        samples.note(SampleSeen { tid: 7, ..sample(5000, None) }, &histories, &endpoint_of, &nowhere);
        // The last request has ended by now.
        let (computed, waited) =
            samples.finish(&histories, &|request| if request == 8 { 3 } else { 4 }, &nowhere);
        assert!(waited.is_empty());
        let told: Vec<_> = computed.iter().map(|of| (of.endpoint, of.samples, of.unplaced)).collect();
        assert_eq!(told, [(3, 4, 1), (0, 2, 1), (4, 1, 1)]);
        let at = |place, samples| ComputedAt { place, samples, collecting: 0 };
        assert_eq!(computed[0].places, [at(5, 1), at(6, 1), at(7, 1)]);
        let of_requests = samples.lines.finish([6, 7, 8].into_iter(), &[], &histories, &nowhere);
        let told: Vec<_> = of_requests.iter().map(|of| (of.request, of.computed.samples)).collect();
        assert_eq!(told, [(7, 4), (8, 1)], "numbers of requests, one less than histories have");
    }

    #[test]
    fn samples_in_a_collection_are_counted_apart_where_that_is_known() {
        let histories = histories();
        let mut samples = PlaceSamples::default();
        let seen = [(10, Some(true)), (20, Some(true)), (30, Some(false)), (40, None), (150, None)];
        for (at_ms, is_collecting) in seen {
            let sample = SampleSeen { is_collecting, ..sample(at_ms, Some(5)) };
            samples.note(sample, &histories, &|_| 3, &nowhere);
        }
        let (computed, _) = samples.finish(&histories, &|_| 3, &nowhere);
        let told: Vec<_> = computed.iter().map(|of| (of.samples, of.in_collections())).collect();
        assert_eq!(told, [(4, Some(2)), (1, None)]);
        assert_eq!(computed[0].places, [ComputedAt { place: 5, samples: 4, collecting: 2 }]);
    }

    #[test]
    fn a_sleep_is_of_the_request_that_it_was_in() {
        let histories = histories();
        let mut samples = PlaceSamples::default();
        let slept = |ns, is_drawn| Some(Slept { system_call: 45, ns, is_drawn });
        for (at_ms, slept) in
            [(99, slept(40 * MS, false)), (60, slept(10 * MS, true)), (199, slept(90 * MS, false))]
        {
            samples.note(SampleSeen { slept, ..sample(at_ms, Some(5)) }, &histories, &|_| 3, &nowhere);
        }
        let (computed, waited) = samples.finish(&histories, &|_| 3, &nowhere);
        assert!(computed.is_empty());
        let told: Vec<_> =
            waited.iter().map(|of| (of.endpoint, of.slept.ns / MS, of.slept.samples)).collect();
        assert_eq!(told, [(0, 90, 1), (3, 50, 2)]);
    }

    #[test]
    fn what_complete_requests_say_counts_more_than_a_history_where_it_is_one() {
        let histories = histories();
        let mut samples = PlaceSamples::default();
        let stretch = |start_ms: u64, end_ms: u64| {
            [Stretch { tgid: 1, tid: 2, start_ns: start_ms * MS, end_ns: end_ms * MS }]
        };
        samples.served(1, 7, &stretch(0, 5));
        for at_ms in [10, 20, 50, 120] {
            samples.note(sample(at_ms, None), &histories, &|_| 3, &nowhere);
        }
        samples.served(1, 7, &stretch(0, 15));
        samples.served(2, 6, &stretch(40, 60));
        samples.served(3, 5, &stretch(45, 55));
        let (computed, _) = samples.finish(&histories, &|_| 3, &nowhere);
        let told: Vec<_> = computed.iter().map(|of| (of.endpoint, of.samples)).collect();
        assert_eq!(told, [(3, 2), (0, 1), (7, 1)], "two at once say nothing");
    }
}
