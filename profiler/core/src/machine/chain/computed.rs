//! Where in Python requests computed: samples of the clock, each with the endpoint that its thread worked
//! for at that moment.
//!
//! In: samples, up to some tenths of a second late; histories of threads. Out: [`Computed`]s. A sample waits
//! until what its thread did is known, and for whom.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::fact::sample::SampleSeen;
use crate::machine::chain::history::Histories;
use crate::model::computed::{Computed, ComputedAt};

/// Samples that wait. Of more, the oldest count with what is known.
const MAX_WAITING: usize = 65_536;
/// Endpoints and places of a window that have a count of their own.
const MAX_CELLS: usize = 16_384;
/// Places that are listed of one endpoint.
const MAX_LISTED: usize = 64;
/// What a thread did is known after so long, most likely.
const KNOWN_AFTER_NS: u64 = 1_000_000_000;

/// Samples of a window.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct ClockSamples {
    waiting: VecDeque<SampleSeen>,
    /// Their threads were still at it when their turn came.
    late: Vec<SampleSeen>,
    counts: FxHashMap<(u32, Option<u32>), u64>,
    evicted: u64,
}

impl ClockSamples {
    /// A sample came.
    pub(super) fn note(
        &mut self,
        sample: SampleSeen,
        histories: &Histories,
        endpoint_of: &dyn Fn(u64) -> u32,
    ) {
        self.waiting.push_back(sample);
        let newest_ns = sample.at_ns;
        while let Some(first) =
            self.waiting.pop_front_if(|first| first.at_ns.saturating_add(KNOWN_AFTER_NS) <= newest_ns)
        {
            match endpoint(&first, histories, endpoint_of) {
                Some(endpoint) => self.count(endpoint, first.place),
                None if self.late.len() < MAX_WAITING => self.late.push(first),
                None => self.count(0, first.place),
            }
        }
        if self.waiting.len() > MAX_WAITING {
            self.waiting.pop_front();
            self.evicted += 1;
        }
    }

    fn count(&mut self, endpoint: u32, place: Option<u32>) {
        if self.counts.len() >= MAX_CELLS && !self.counts.contains_key(&(endpoint, place)) {
            self.evicted += 1;
            return;
        }
        *self.counts.entry((endpoint, place)).or_default() += 1;
    }

    /// The window has ended: all of them, the endpoint that computed most first.
    pub(super) fn finish(mut self, histories: &Histories, endpoint_of: &dyn Fn(u64) -> u32) -> Vec<Computed> {
        for sample in std::mem::take(&mut self.late).into_iter().chain(std::mem::take(&mut self.waiting)) {
            let endpoint = endpoint(&sample, histories, endpoint_of).unwrap_or(0);
            self.count(endpoint, sample.place);
        }
        let mut computed: FxHashMap<u32, Computed> = FxHashMap::default();
        for ((endpoint, place), samples) in self.counts {
            let of = computed.entry(endpoint).or_insert_with(|| Computed { endpoint, ..Computed::default() });
            of.samples += samples;
            match place {
                Some(place) => of.places.push(ComputedAt { place, samples }),
                None => of.unplaced += samples,
            }
        }
        let mut computed: Vec<Computed> = computed.into_values().collect();
        for of in &mut computed {
            of.places.sort_unstable_by_key(|at| (std::cmp::Reverse(at.samples), at.place));
            of.places.truncate(MAX_LISTED);
        }
        computed.sort_unstable_by_key(|of| (std::cmp::Reverse(of.samples), of.endpoint));
        computed
    }

    /// The next window begins.
    pub(super) fn roll(&mut self) {
        *self = Self::default();
    }

    /// Samples that found no place.
    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }
}

/// The endpoint that a thread worked for as the clock ticked; 0: none. `None`: that is not known yet.
fn endpoint(sample: &SampleSeen, histories: &Histories, endpoint_of: &dyn Fn(u64) -> u32) -> Option<u32> {
    let history = histories.get(sample.tid)?;
    let part = history.within(sample.at_ns, sample.at_ns.saturating_add(1)).next()?;
    match part.segment.request {
        0 => Some(0),
        request => Some(endpoint_of(request)).filter(|endpoint| *endpoint > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::chain::segment::Did;
    use crate::phase::Phase;

    const MS: u64 = 1_000_000;

    fn sample(at_ms: u64, place: Option<u32>) -> SampleSeen {
        SampleSeen { tgid: 1, tid: 2, at_ns: at_ms * MS, place }
    }

    fn histories() -> Histories {
        let mut histories = Histories::default();
        let mut entry = histories.entry(1, 2, 0).unwrap();
        entry.push_did(8, (0, 100 * MS), Did::Ran(Phase::Cpu));
        entry.push_did(0, (100 * MS, 200 * MS), Did::Ran(Phase::Cpu));
        entry.push_did(9, (200 * MS, 300 * MS), Did::Ran(Phase::Cpu));
        histories
    }

    #[test]
    fn samples_are_of_the_endpoint_that_their_thread_worked_for_then() {
        let histories = histories();
        let endpoint_of = |request: u64| if request == 8 { 3 } else { 0 };
        let mut samples = ClockSamples::default();
        for (at_ms, place) in
            [(10, Some(5)), (20, Some(5)), (30, Some(6)), (40, None), (150, Some(5)), (250, None)]
        {
            samples.note(sample(at_ms, place), &histories, &endpoint_of);
        }
        // Another thread, later: those before have had their turn.
        samples.note(SampleSeen { tid: 7, ..sample(5000, None) }, &histories, &endpoint_of);
        // The last request has ended by now.
        let computed = samples.finish(&histories, &|request| if request == 8 { 3 } else { 4 });
        let told: Vec<_> = computed.iter().map(|of| (of.endpoint, of.samples, of.unplaced)).collect();
        assert_eq!(told, [(3, 4, 1), (0, 2, 1), (4, 1, 1)]);
        let at = |place, samples| ComputedAt { place, samples };
        assert_eq!(computed[0].places, [at(5, 2), at(6, 1)]);
    }
}
