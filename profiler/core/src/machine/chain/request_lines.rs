//! Where in Python requests in flight are: the last look at each while it slept, and the lines at which it
//! computed.
//!
//! In: looks and samples, each with the request that its thread worked for. Out: [`Whereabouts`] of the few
//! requests that somebody asks for. Of a request a few lines are kept. Where there are too many requests,
//! those that are over, and have the fewest samples, go first.

use std::cmp::Reverse;

use crate::bounded::BoundedMap;
use crate::event::Tid;
use crate::fact::asleep::LOOKED_AT_NS;
use crate::fact::place::PlaceSeen;
use crate::fact::sample::SampleSeen;
use crate::machine::chain::history::Histories;
use crate::machine::chain::segment::Did;
use crate::model::computed::{Computed, ComputedAt, lines_of};
use crate::model::request::Request;
use crate::model::whereabouts::{CutOff, LEAST_SAMPLES, WasIn, Whereabouts};

/// Requests that are remembered.
const MAX_REQUESTS: usize = 16_384;
/// Lines kept of one request.
const MAX_LINES: usize = 8;
/// A request of which there was news within this time is taken to be in flight.
const RECENT_NS: u64 = 2_000_000_000;
/// What has no sample for so long does not compute.
const COMPUTES_NS: u64 = 1_000_000_000;

/// A place by its number.
pub(super) type PlaceOf<'a> = &'a dyn Fn(u32) -> Option<&'a PlaceSeen>;

/// What is known of requests.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestLines {
    requests: BoundedMap<u64, RequestSeen, MAX_REQUESTS>,
    forgotten: u64,
}

/// The last look at a request's thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastLook {
    /// Thread.
    pub tid: Tid,
    /// When it was taken.
    pub at_ns: u64,
    /// When the thread went to sleep.
    pub since_ns: u64,
    /// Its system call.
    pub system_call: Option<u32>,
    /// Where in Python it was.
    pub place: Option<u32>,
}

/// What is known of one request.
#[derive(Clone, Debug, Default)]
struct RequestSeen {
    look: Option<LastLook>,
    samples: u64,
    unplaced: u64,
    collecting_known: u64,
    collecting: u64,
    /// Samples by line, each by the place that was first seen there.
    lines: Vec<ComputedAt>,
    /// The last sample.
    sampled_ns: u64,
    ended_ns: Option<u64>,
    /// It ended without an answer, or with an error: it may have been cut off.
    may_be_cut: bool,
}

impl RequestSeen {
    fn newest_ns(&self) -> u64 {
        self.sampled_ns.max(self.look.map_or(0, |look| look.at_ns))
    }

    /// It is in flight, as far as is known: only a look says that a request was when it was taken.
    fn is_in_flight(&self) -> bool {
        self.look.is_some() && self.ended_ns.is_none()
    }

    fn count(&mut self, sample: &SampleSeen, place_of: PlaceOf<'_>) {
        let collecting = u64::from(sample.is_collecting == Some(true));
        self.samples += 1;
        self.collecting_known += u64::from(sample.is_collecting.is_some());
        self.collecting += collecting;
        let Some(place) = sample.place else {
            self.unplaced += 1;
            return;
        };
        // While it is not known whose code it is, its line may be another.
        let line = |place| place_of(place).filter(|place| place.is_owned()).map(lines_of);
        let is_it = |at: &&mut ComputedAt| {
            at.place == place || line(place).is_some_and(|one| line(at.place) == Some(one))
        };
        if let Some(at) = self.lines.iter_mut().find(is_it) {
            at.samples += 1;
            at.collecting += collecting;
            return;
        }
        if self.lines.len() >= MAX_LINES {
            // What comes again and again is not the one that goes.
            let least = self.lines.iter().enumerate().min_by_key(|(_, at)| at.samples);
            if let Some(index) = least.map(|(index, _)| index) {
                self.lines.remove(index);
            }
        }
        self.lines.push(ComputedAt { place, samples: 1, collecting });
    }

    fn computed(&self) -> Computed {
        let mut places = self.lines.clone();
        places.sort_unstable_by_key(|at| (Reverse(at.samples), at.place));
        Computed {
            samples: self.samples,
            unplaced: self.unplaced,
            collecting_known: self.collecting_known,
            collecting: self.collecting,
            places,
            ..Computed::default()
        }
    }

    /// What it was in at a moment.
    fn was_in(&self, at_ns: u64, histories: &Histories, place_of: PlaceOf<'_>) -> Option<WasIn> {
        if let Some(look) = self.look.filter(|look| self.slept_on(look, at_ns, histories)) {
            let slept_ns = at_ns.saturating_sub(look.since_ns);
            return Some(WasIn::Asleep { place: look.place?, system_call: look.system_call, slept_ns });
        }
        let computes = self.sampled_ns.saturating_add(COMPUTES_NS) >= at_ns;
        let most = self.computed().lines(place_of).into_iter().next();
        most.filter(|most| computes && most.samples >= LEAST_SAMPLES).map(WasIn::Computing)
    }

    /// Whether a thread was in the sleep of a look up to this moment.
    fn slept_on(&self, look: &LastLook, until_ns: u64, histories: &Histories) -> bool {
        let known = histories.get(look.tid);
        let part = known.and_then(|known| known.within(look.at_ns, look.at_ns.saturating_add(1)).next());
        match part.map(|part| part.segment) {
            // It was woken to die, or a moment before.
            Some(segment) => {
                matches!(segment.did, Did::Slept(_))
                    && segment.end_ns.saturating_add(LOOKED_AT_NS) >= until_ns
            }
            // Nothing has been heard of it since.
            None => look.at_ns <= until_ns && self.sampled_ns < look.at_ns,
        }
    }
}

impl RequestLines {
    /// A thread that slept for a request was looked at.
    pub(super) fn looked_at(&mut self, request: u64, look: LastLook) {
        if let Some(seen) = self.entry(request, look.at_ns) {
            seen.look = Some(look);
        }
    }

    /// There is a sample of a request's thread. Those of sleeps do not count: looks say more.
    pub(super) fn sampled(&mut self, request: u64, sample: &SampleSeen, place_of: PlaceOf<'_>) {
        if sample.slept.is_none()
            && let Some(seen) = self.entry(request, sample.at_ns)
        {
            seen.sampled_ns = seen.sampled_ns.max(sample.at_ns);
            seen.count(sample, place_of);
        }
    }

    /// A request is over.
    pub(super) fn ended(&mut self, request: &Request) {
        if let Some(seen) = self.requests.get_mut(&request.id)
            && !request.seen.open
        {
            seen.ended_ns = Some(request.times.end_ns);
            seen.may_be_cut = request.http.status == 0 || request.http.status >= 500;
        }
    }

    /// What is known of a request, to add to it.
    fn entry(&mut self, request: u64, now_ns: u64) -> Option<&mut RequestSeen> {
        if self.requests.len() >= MAX_REQUESTS && !self.requests.contains_key(&request) {
            self.make_room(now_ns);
        }
        self.requests.get_or_default(request)
    }

    /// Forgets half of the requests.
    fn make_room(&mut self, now_ns: u64) {
        let worth = |seen: &RequestSeen| {
            let is_recent = seen.newest_ns().saturating_add(RECENT_NS) >= now_ns;
            let is_sure = seen.is_in_flight() || seen.may_be_cut;
            (is_sure, is_recent && seen.ended_ns.is_none(), seen.samples)
        };
        let mut order: Vec<_> = self.requests.iter().map(|(id, seen)| (worth(seen), *id)).collect();
        order.sort_unstable();
        for (_, id) in order.into_iter().take(MAX_REQUESTS / 2) {
            self.requests.remove(&id);
            self.forgotten += 1;
        }
    }

    /// What is known of these requests, in the order of their numbers.
    pub(super) fn finish(
        &self,
        slowest: impl Iterator<Item = u64>,
        cut_off: &[CutOff],
        histories: &Histories,
        place_of: PlaceOf<'_>,
    ) -> Vec<Whereabouts> {
        let mut numbers: Vec<u64> = slowest.chain(cut_off.iter().map(|cut| cut.request)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let of = |request: u64| {
            let seen = self.requests.get(&request)?;
            let cut = cut_off.iter().find(|cut| cut.request == request);
            let was = cut.and_then(|cut| seen.was_in(cut.at_ns, histories, place_of));
            (seen.samples > 0 || was.is_some()).then(|| Whereabouts {
                request,
                computed: seen.computed(),
                was,
            })
        };
        numbers.into_iter().filter_map(of).collect()
    }

    /// The next window begins; the one before it began at `before_ns`.
    pub(super) fn roll(&mut self, before_ns: u64) {
        self.requests.retain(|_, seen| {
            seen.is_in_flight() || seen.newest_ns().max(seen.ended_ns.unwrap_or(0)) >= before_ns
        });
    }

    /// Requests that were forgotten.
    pub(super) const fn evicted(&self) -> u64 {
        self.forgotten + self.requests.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::place::{PythonFrame, Whose};
    use crate::machine::chain::feed::SleepSeen;
    use crate::machine::chain::segment::Segment;
    use crate::phase::Phase;

    const MS: u64 = 1_000_000;
    const THREAD: (Tid, Tid) = (1, 2);

    /// Places of which two are at one line.
    fn places() -> Vec<PlaceSeen> {
        let place = |(number, line)| PlaceSeen {
            number,
            frames: vec![PythonFrame {
                file: "/srv/a.py".to_owned(),
                function: "view".to_owned(),
                line,
                whose: Whose::Own,
            }],
            is_cut: false,
        };
        (0..20).map(|number| place((number, number / 2))).collect()
    }

    fn sample(lines: &mut RequestLines, request: u64, samples: &[(u64, u32)]) {
        let places = places();
        let place_of = |number: u32| places.get(number as usize);
        for (at_ms, place) in samples {
            let sample = SampleSeen { at_ns: at_ms * MS, place: Some(*place), ..SampleSeen::default() };
            lines.sampled(request, &sample, &place_of);
        }
    }

    fn look(at_ms: u64, since_ms: u64, place: Option<u32>) -> LastLook {
        let (at_ns, since_ns) = (at_ms * MS, since_ms * MS);
        LastLook { tid: THREAD.1, at_ns, since_ns, system_call: Some(45), place }
    }

    fn told(lines: &RequestLines, histories: &Histories, cut_ms: u64) -> Option<WasIn> {
        let places = places();
        let place_of = |number: u32| places.get(number as usize);
        let cut = [CutOff { request: 7, at_ns: cut_ms * MS }];
        lines.finish(std::iter::empty(), &cut, histories, &place_of).first()?.was
    }

    fn slept(until_ms: u64) -> Histories {
        let mut histories = Histories::default();
        let did = SleepSeen::outside(45).in_phase(Phase::BackendWait);
        let segment = Segment { start_ns: 10 * MS, end_ns: until_ms * MS, request: 8, did };
        histories.push(THREAD, segment);
        histories
    }

    #[test]
    fn who_is_killed_in_a_sleep_was_in_it_since_it_began() {
        let mut lines = RequestLines::default();
        sample(&mut lines, 7, &[(1, 2), (2, 2), (3, 2), (4, 3)]);
        lines.looked_at(7, look(90, 10, Some(4)));
        let asleep = WasIn::Asleep { place: 4, system_call: Some(45), slept_ns: 2990 * MS };
        for (what, histories, expected) in [
            ("nothing was heard since", Histories::default(), Some(asleep)),
            ("the signal woke it", slept(3001), Some(asleep)),
            ("it has gone on before", slept(900), None),
        ] {
            assert_eq!(told(&lines, &histories, 3000), expected, "{what}");
        }
        lines.looked_at(7, look(90, 10, None));
        assert_eq!(told(&lines, &slept(3001), 3000), None, "no name was read");
    }

    #[test]
    fn who_is_killed_while_it_computes_was_where_most_of_its_samples_are() {
        let mut lines = RequestLines::default();
        lines.looked_at(7, look(90, 10, Some(9)));
        sample(&mut lines, 7, &[(200, 0), (1000, 4), (1010, 5), (1020, 4), (1030, 0)]);
        let most = WasIn::Computing(ComputedAt { place: 4, samples: 3, collecting: 0 });
        assert_eq!(told(&lines, &Histories::default(), 1100), Some(most));
        assert_eq!(told(&lines, &slept(150), 1100), Some(most));
        assert_eq!(told(&lines, &Histories::default(), 3000), None, "it did something else at last");
        sample(&mut lines, 8, &[(1000, 4), (1010, 4)]);
        let few = lines.finish([8].into_iter(), &[], &Histories::default(), &|_| None);
        assert_eq!((few[0].computed.samples, few[0].was), (2, None));
    }

    #[test]
    fn a_line_that_comes_again_and_again_stays_beside_many_others() {
        let mut lines = RequestLines::default();
        let samples: Vec<(u64, u32)> =
            (0..180).map(|at| (at, if at % 3 == 0 { 7 } else { (at % 20) as u32 })).collect();
        sample(&mut lines, 7, &samples);
        let found = lines.finish([7].into_iter(), &[], &Histories::default(), &|_| None);
        let computed = &found[0].computed;
        assert_eq!((computed.samples, computed.places.len()), (180, MAX_LINES));
        assert!(computed.places[0].samples >= 60, "{computed:?}");
    }

    #[test]
    fn of_too_many_requests_those_in_flight_and_those_with_most_samples_stay() {
        let mut lines = RequestLines::default();
        lines.looked_at(1, look(1, 0, Some(1)));
        sample(&mut lines, 2, &[(1, 1), (2, 1)]);
        for request in 0..MAX_REQUESTS as u64 {
            sample(&mut lines, 100 + request, &[(9000, 1)]);
        }
        assert!(lines.requests.len() <= MAX_REQUESTS && lines.evicted() == MAX_REQUESTS as u64 / 2);
        assert!(lines.requests.contains_key(&1));
        lines.roll(8000 * MS);
        assert!(lines.requests.contains_key(&1) && !lines.requests.contains_key(&2));
    }
}
