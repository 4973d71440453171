//! What each thread did lately.
//!
//! In: segments in the order of each thread. Out: those within any interval that is still kept. Memory is
//! bounded: the oldest are forgotten first, and a later look finds them missing.

mod entry;
mod segments;

use rustc_hash::FxHashMap;

use crate::bounded::BoundedMap;
use crate::event::Tid;
pub(in crate::machine) use crate::machine::chain::history::entry::HistoryEntry;
use crate::machine::chain::history::segments::Segments;
use crate::machine::chain::ladder;
use crate::machine::chain::segment::{Did, Segment, SegmentSleep};
use crate::machine::time::short::LONG_NS;
use crate::machine::wire::state::is_inner;
use crate::phase::Phase;

/// Threads whose time is kept.
const MAX_THREADS: usize = 16_384;
/// Segments kept of one thread.
const MAX_OF_THREAD: usize = 4096;
/// Segments kept of all threads.
const MAX_SEGMENTS: usize = 262_144;

/// Whether a thread was seen at a request, by its frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum AtRequest {
    /// Not yet.
    #[default]
    Unseen,
    /// It was.
    Seen,
    /// It hangs in one since before the trace.
    Hangs,
}

/// What one thread did.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct History {
    /// Its process.
    pub tgid: Tid,
    /// Since when anything is known of it.
    pub since_ns: u64,
    /// Its birth, and the thread that made it, where that was seen.
    pub born: Option<(u64, Tid)>,
    /// When it ended.
    pub ended_ns: Option<u64>,
    /// It accepts connections.
    pub accepts: bool,
    /// It serves requests.
    pub is_slot: bool,
    /// It runs an event loop.
    pub is_loop: bool,
    /// Light mode: it waits until one of several descriptors is ready, as loops do.
    pub polls: bool,
    /// Whether its frames have shown it at a request.
    at_request: AtRequest,
    /// Its process has begun to run another program: who waits for that waits for a child.
    pub is_other_program: bool,
    /// Number of that program among what looks saw.
    pub program: Option<u32>,
    /// In light mode: its message before this time, by number, and how long it had run since.
    pub ran: (u32, u64),
    /// End of the last call in which it computed for long.
    pub in_kernel_until_ns: u64,
    /// Its last sleeps that were SQLite's busy handler's, most likely.
    ladder: u8,
    segments: Segments,
}

impl History {
    /// End of what is known.
    pub(in crate::machine) fn end_ns(&self) -> u64 {
        self.segments.back().map_or(self.since_ns, |last| last.end_ns)
    }

    /// What it did last was for this request: its number, plus 1.
    pub(super) fn is_at(&self, request: u64) -> bool {
        self.segments.back().is_some_and(|last| last.request == request)
    }

    /// It serves requests that others hand to it.
    pub(super) const fn is_of_pool(&self) -> bool {
        self.is_slot && !self.is_loop && !self.accepts && !self.dispatches()
    }

    /// Light mode: it waits as loops do, and was not seen at a request. What it answers others may have done.
    pub(in crate::machine) const fn dispatches(&self) -> bool {
        self.polls && !self.was_at_request()
    }

    /// The request that a segment of it was for, plus 1; 0: none. A loop that spins does so for none,
    /// whichever it turned to meanwhile.
    pub(super) fn request_of(&self, segment: &Segment) -> u64 {
        let spins = matches!(segment.did, Did::Short(short) if short.spins());
        if spins && (self.is_loop || self.accepts) { 0 } else { segment.request }
    }

    /// It was seen at a request.
    pub(in crate::machine) const fn serves_request(&mut self) {
        if !self.was_at_request() {
            (self.at_request, self.is_slot) = (AtRequest::Seen, true);
        }
    }

    /// It was seen to hang in a request since before the trace.
    pub(super) const fn hangs(&mut self) {
        (self.at_request, self.is_slot) = (AtRequest::Hangs, true);
    }

    /// It was seen at a request.
    pub(super) const fn was_at_request(&self) -> bool {
        !matches!(self.at_request, AtRequest::Unseen)
    }

    /// It hangs in a request since before the trace.
    pub(super) const fn hangs_in_request(&self) -> bool {
        matches!(self.at_request, AtRequest::Hangs)
    }

    /// It is known to serve, or hangs in the first request that it has.
    pub(super) fn serves(&self) -> bool {
        let is_in_request = || self.segments.back().is_some_and(|last| last.request > 0);
        self.is_slot || !self.is_loop && !self.accepts && is_in_request()
    }

    /// Whether a sleep in this call since before the trace is all that is known of it.
    pub(super) fn has_only_slept(&self, in_call: i32) -> bool {
        let is_that = |did: Did| matches!(did, Did::Slept(SegmentSleep { system_call, since_before: true, .. }) if system_call == in_call);
        let mut known = self.segments.iter().filter(|segment| !segment.did.is_unseen()).peekable();
        known.peek().is_some() && known.all(|segment| is_that(segment.did))
    }

    /// Whether it may have been there at this moment.
    pub(super) fn lives_at(&self, at_ns: u64) -> bool {
        self.born.is_none_or(|(born_ns, _)| born_ns <= at_ns) && self.ended_ns.is_none_or(|end| end > at_ns)
    }

    /// Whether a sleep of it that is no wait in a call was about from `from_ns` to `until_ns`.
    pub(super) fn stops_about(&self, (from_ns, until_ns): (u64, u64)) -> bool {
        /// All threads of a process stop and start again within this time, as measured: they need a CPU each.
        const TOGETHER_NS: u64 = 1_500_000;
        let is_one = |part: SegmentPart<'_>| {
            matches!(
                part.segment.did,
                Did::Slept(SegmentSleep { phase: Phase::FaultWait | Phase::Unexplained, .. })
            ) && part.segment.start_ns.abs_diff(from_ns) <= TOGETHER_NS
                && part.segment.end_ns.abs_diff(until_ns) <= TOGETHER_NS
        };
        self.within(from_ns, until_ns).any(is_one)
    }

    /// The phase of the one sleep in which it has been since before the trace, and which is no wait for work.
    pub(super) fn hangs_since_before(&self) -> Option<Phase> {
        // A thread that has done anything else since is none that hangs.
        let only = self.segments.front().filter(|_| self.segments.len() == 1)?;
        match only.did {
            Did::Slept(SegmentSleep { phase, since_before: true, is_idle: false, .. }) => Some(phase),
            _ => None,
        }
    }

    /// Since when, after `from_ns`, it has worked for no request that is known. Who waits for work has none,
    /// and who was at it before works for an earlier one.
    pub(super) fn works_for_nobody_since(&self, from_ns: u64) -> Option<u64> {
        let may_have_waited =
            |segment: &Segment| matches!(segment.did, Did::Short(short) if short.idle_ns > 0);
        let mut since_ns = None;
        for segment in self.segments.iter().rev().take_while(|one| one.request == 0 && !one.is_idle()) {
            if !segment.did.is_unseen() && segment.is_busy() {
                since_ns = Some(segment.start_ns);
            }
            if may_have_waited(segment) {
                since_ns = since_ns.map(|_| segment.end_ns.min(segment.start_ns.max(from_ns)));
                break;
            }
        }
        since_ns
            .filter(|since_ns| since_ns.saturating_add(LONG_NS) >= from_ns)
            .map(|since_ns| since_ns.max(from_ns))
    }

    /// When, after a request was read, it worked for no request that is known, and was done about when the
    /// request was answered: the difference is less than a quarter of that work.
    pub(super) fn worked_for_nobody(&self, (read_ns, answered_ns): (u64, u64)) -> Option<(u64, u64)> {
        let first = self.segments.partition_point(|segment| segment.end_ns <= read_ns);
        let later = self.segments.range(first..);
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for segment in later.filter(|segment| segment.request == 0 && segment.is_busy()) {
            match runs.last_mut() {
                Some(run) if run.1 == segment.start_ns => run.1 = segment.end_ns,
                _ if segment.start_ns >= answered_ns => break,
                _ => runs.push((segment.start_ns, segment.end_ns)),
            }
        }
        let off_ns = |run: &(u64, u64)| answered_ns.abs_diff(run.1);
        let fits = |run: &(u64, u64)| run.0 >= read_ns && off_ns(run) < (run.1 - run.0) / 4;
        runs.into_iter().rev().filter(fits).min_by_key(off_ns)
    }

    /// Parts of segments that lie in an interval, in order.
    pub(super) fn within(&self, from_ns: u64, until_ns: u64) -> impl Iterator<Item = SegmentPart<'_>> {
        let first = self.segments.first_after(from_ns);
        let later = self.segments.range(first..);
        later.take_while(move |segment| segment.start_ns < until_ns).map(move |segment| SegmentPart {
            segment,
            from_ns: segment.start_ns.max(from_ns),
            until_ns: segment.end_ns.min(until_ns),
        })
    }

    /// Its last wait for work that began before a moment.
    pub(super) fn last_idle(&self, before_ns: u64) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.start_ns < before_ns);
        self.segments.range(..after).rev().find(|segment| segment.is_idle())
    }

    /// What it did in an interval was for a request, as is known now.
    fn claim(&mut self, (from_ns, until_ns): (u64, u64), request: u64) {
        let first = self.segments.partition_point(|segment| segment.end_ns <= from_ns);
        for segment in self.segments.range_mut(first..) {
            if segment.start_ns >= until_ns {
                return;
            }
            let inside_ns = segment.end_ns.min(until_ns).saturating_sub(segment.start_ns.max(from_ns));
            // The half behind a front end has a number that no report has.
            let is_unknown = segment.request == 0 || is_inner(segment.request);
            if is_unknown && inside_ns.saturating_mul(2) >= segment.length_ns() {
                segment.request = request;
                if let Did::Slept(sleep) = &mut segment.did {
                    // It was in the middle of its work.
                    sleep.is_idle &= sleep.phase != Phase::LockWait;
                }
            }
        }
    }

    /// A sleep on purpose may be one of SQLite's busy handler. With the third in order those before it are
    /// too.
    fn climb(&mut self, segment: &mut Segment) {
        let length_ns = segment.length_ns();
        let Did::Slept(sleep) = &mut segment.did else { return };
        if sleep.phase != Phase::Sleep {
            self.ladder = if sleep.is_idle { 0 } else { self.ladder };
            return;
        }
        self.ladder = ladder::next(self.ladder, length_ns);
        sleep.polls_file_lock = self.ladder >= ladder::CERTAIN;
        if self.ladder == ladder::CERTAIN {
            let sleeps = self.segments.iter_mut().rev().filter_map(|before| match &mut before.did {
                Did::Slept(sleep) if sleep.phase == Phase::Sleep => Some(sleep),
                _ => None,
            });
            sleeps.take(usize::from(ladder::CERTAIN) - 1).for_each(|sleep| sleep.polls_file_lock = true);
        }
    }

    /// Light mode: since `since_ns` it was ready without a CPU for so long in all. A longer stretch was
    /// none: the record of a sleep is missing.
    pub(in crate::machine) fn was_queued(&mut self, since_ns: u64, queued_ns: u64) {
        for segment in self.segments.iter_mut().rev() {
            if segment.end_ns <= since_ns {
                return;
            }
            if matches!(segment.did, Did::Queued(_)) && segment.length_ns() > queued_ns {
                segment.did = Did::Unseen;
            }
        }
    }

    fn push(&mut self, mut segment: Segment, kept: &mut usize) {
        self.climb(&mut segment);
        if let Some(last) = self.segments.back_mut()
            && last.end_ns == segment.start_ns
            && last.request == segment.request
            && let Some(did) = last.did.with(&segment.did)
        {
            (last.end_ns, last.did) = (segment.end_ns, did);
            return;
        }
        if self.segments.len() >= MAX_OF_THREAD || *kept >= MAX_SEGMENTS {
            let forgotten = self.segments.pop_front();
            *kept = kept.saturating_sub(usize::from(forgotten.is_some()));
        }
        self.segments.push_back(segment);
        *kept += 1;
    }
}

/// The part of a segment that lies in an interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentPart<'a> {
    pub segment: &'a Segment,
    pub from_ns: u64,
    pub until_ns: u64,
}

impl SegmentPart<'_> {
    pub(in crate::machine) const fn length_ns(&self) -> u64 {
        self.until_ns.saturating_sub(self.from_ns)
    }
}

/// What all threads did.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Histories {
    threads: BoundedMap<Tid, History, MAX_THREADS>,
    /// Threads by process.
    processes: FxHashMap<Tid, Vec<Tid>>,
    kept: usize,
}

impl Histories {
    /// What a thread did.
    pub(in crate::machine) fn get(&self, tid: Tid) -> Option<&History> {
        self.threads.get(&tid)
    }

    /// The same, to note what it is.
    pub(in crate::machine) fn get_mut(&mut self, tid: Tid) -> Option<&mut History> {
        self.threads.get_mut(&tid)
    }

    /// Threads of a process.
    pub(in crate::machine) fn of_process(&self, tgid: Tid) -> &[Tid] {
        self.processes.get(&tgid).map_or(&[], Vec::as_slice)
    }

    /// The history of a thread, to add to it; it begins at `since_ns` if it is new. `None`: there is no room.
    #[inline]
    pub(in crate::machine) fn entry(
        &mut self,
        tgid: Tid,
        tid: Tid,
        since_ns: u64,
    ) -> Option<HistoryEntry<'_>> {
        let Self { threads, processes, kept } = self;
        let mut is_new = false;
        let history = threads.get_or_insert_with(tid, || {
            is_new = true;
            add(processes.entry(tgid).or_default(), tid);
            History { tgid, since_ns, ..History::default() }
        })?;
        if history.tgid != tgid {
            // The number was another thread's.
            is_new = true;
            add(processes.entry(tgid).or_default(), tid);
            if let Some(before) = processes.get_mut(&history.tgid) {
                before.retain(|other| *other != tid);
            }
            *kept = kept.saturating_sub(history.segments.len());
            *history = History { tgid, since_ns, ..History::default() };
        }
        Some(HistoryEntry { history, kept, is_new })
    }

    /// Adds what a thread did from where its history ends. What lies between is unseen.
    #[cfg(test)]
    pub(in crate::machine) fn push(&mut self, (tgid, tid): (Tid, Tid), segment: Segment) {
        if let Some(mut entry) = self.entry(tgid, tid, segment.start_ns) {
            entry.push(segment);
        }
    }

    /// What a thread did in an interval was for a request, as is known now: its number, plus 1.
    pub(in crate::machine) fn claim(&mut self, tid: Tid, interval: (u64, u64), request: u64) {
        if let Some(history) = self.threads.get_mut(&tid) {
            history.claim(interval, request);
        }
    }

    /// A thread is born.
    pub(in crate::machine) fn born(&mut self, (tgid, tid): (Tid, Tid), by: Tid, at_ns: u64) {
        if let Some(history) = self.threads.get_mut(&tid) {
            // The number was another thread's, which has ended.
            self.kept = self.kept.saturating_sub(history.segments.len());
            *history = History { tgid: history.tgid, since_ns: at_ns, ..History::default() };
        }
        if let Some(entry) = self.entry(tgid, tid, at_ns) {
            entry.history.born = Some((at_ns, by));
        }
    }

    /// A thread has ended.
    pub(in crate::machine) fn ended(&mut self, tid: Tid, at_ns: u64) {
        if let Some(history) = self.threads.get_mut(&tid) {
            history.ended_ns = Some(at_ns);
        }
    }

    /// Forgets threads that had ended by `before_ns`.
    pub(in crate::machine) fn forget_ended(&mut self, before_ns: u64) {
        let Self { threads, processes, kept } = self;
        threads.retain(|_, history| {
            let stays = history.ended_ns.is_none_or(|ended_ns| ended_ns >= before_ns);
            *kept = kept.saturating_sub(if stays { 0 } else { history.segments.len() });
            stays
        });
        processes.retain(|_, tids| {
            tids.retain(|tid| threads.contains_key(tid));
            !tids.is_empty()
        });
    }

    /// Programs have new numbers.
    pub(super) fn forget_programs(&mut self) {
        self.threads.values_mut().for_each(|history| history.program = None);
    }

    /// Threads that found no place.
    pub(in crate::machine) const fn evicted(&self) -> u64 {
        self.threads.evicted()
    }
}

/// Adds a thread to those of its process, which are in order: nothing depends on who was heard of first.
fn add(tids: &mut Vec<Tid>, tid: Tid) {
    if let Err(place) = tids.binary_search(&tid) {
        tids.insert(place, tid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::chain::feed::SleepSeen;
    use crate::machine::time::short::Short;
    use crate::machine::wire::origin::Side;
    use crate::machine::wire::state::Wire;
    use crate::phase::Phase;

    const MS: u64 = 1_000_000;
    const THREAD: (Tid, Tid) = (1, 2);
    const QUEUED: Did = Did::Queued((0, 0));
    const RAN: Did = Did::Ran(Phase::Cpu);

    fn push(histories: &mut Histories, (from_ms, until_ms): (u64, u64), did: Did) {
        let segment = Segment { start_ns: from_ms * MS, end_ns: until_ms * MS, request: 0, did };
        histories.push(THREAD, segment);
    }

    fn parts(histories: &Histories, from_ms: u64, until_ms: u64) -> Vec<(u64, u64, Did)> {
        let parts = histories.get(THREAD.1).unwrap().within(from_ms * MS, until_ms * MS);
        parts.map(|part| (part.from_ns / MS, part.until_ns / MS, part.segment.did)).collect()
    }

    #[test]
    fn neighbours_alike_are_one_a_hole_is_unseen_and_what_comes_twice_counts_once() {
        let mut histories = Histories::default();
        push(&mut histories, (0, 10), RAN);
        push(&mut histories, (10, 15), RAN);
        push(&mut histories, (20, 30), QUEUED);
        push(&mut histories, (25, 40), RAN);
        push(&mut histories, (5, 35), QUEUED);
        let expected = [(3, 15, RAN), (15, 20, Did::Unseen), (20, 30, QUEUED), (30, 32, RAN)];
        assert_eq!(parts(&histories, 3, 32), expected);
        assert!(parts(&histories, 40, 50).is_empty());
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut histories = Histories::default();
        for at_ms in 0..=MAX_OF_THREAD as u64 {
            let did = if at_ms % 2 == 0 { RAN } else { QUEUED };
            push(&mut histories, (at_ms, at_ms + 1), did);
        }
        let known = parts(&histories, 0, u64::MAX / MS);
        assert_eq!((known.len(), known[0].0), (MAX_OF_THREAD, 1));
    }

    #[test]
    fn what_is_short_is_added_up_for_some_milliseconds_and_one_request() {
        let mut histories = Histories::default();
        let short = Short { ran_ns: 400_000, ..Short::default() };
        let mut told = |at: u64, request| {
            let mut entry = histories.entry(THREAD.0, THREAD.1, at * 500_000).unwrap();
            entry.push_short((at * 500_000, (at + 1) * 500_000), request, short);
        };
        (0..20).for_each(|at| told(at, 5));
        (20..24).for_each(|at| told(at, 6));
        let sums = |count: u32| Did::Short(Short { ran_ns: count * 400_000, ..Short::default() });
        assert_eq!(parts(&histories, 0, 99), [(0, 8, sums(16)), (8, 10, sums(4)), (10, 12, sums(4))]);
    }

    #[test]
    fn a_request_claims_what_is_mostly_its_own_and_nobody_elses() {
        let mut histories = Histories::default();
        push(&mut histories, (0, 10), RAN);
        push(&mut histories, (10, 20), QUEUED);
        push(&mut histories, (20, 30), RAN);
        histories.claim(THREAD.1, (6 * MS, 25 * MS), 7);
        histories.claim(THREAD.1, (0, 30 * MS), 8);
        let history = histories.get(THREAD.1).unwrap();
        let requests: Vec<u64> = history.within(0, 30 * MS).map(|part| part.segment.request).collect();
        assert_eq!(requests, [8, 7, 7]);
        // A half of a request behind a front end, whose number is known when both halves are.
        let mut histories = Histories::default();
        let inner = Wire::default().next_request(Side::Inner { private: false }) + 1;
        histories.push(THREAD, Segment { start_ns: 0, end_ns: MS, request: inner, did: RAN });
        histories.claim(THREAD.1, (0, MS), 9);
        assert!(histories.get(THREAD.1).unwrap().within(0, MS).all(|part| part.segment.request == 9));
    }

    #[test]
    fn who_waits_for_work_works_for_nobody() {
        let mut histories = Histories::default();
        let since =
            |histories: &Histories, from_ns| histories.get(THREAD.1).unwrap().works_for_nobody_since(from_ns);
        push(&mut histories, (0, 10), RAN);
        push(&mut histories, (10, 20), QUEUED);
        assert_eq!(since(&histories, 0), Some(0));
        assert_eq!(since(&histories, 5 * MS), None, "it was at it before");
        let waits = SleepSeen { is_idle: true, ..SleepSeen::outside(202) };
        push(&mut histories, (20, 30), waits.in_phase(Phase::LockWait));
        assert_eq!(since(&histories, 0), None);
        push(&mut histories, (30, 40), RAN);
        assert_eq!(since(&histories, 0), Some(30 * MS));
    }

    #[test]
    fn a_number_that_another_thread_gets_begins_anew() {
        let mut histories = Histories::default();
        push(&mut histories, (0, 10), RAN);
        histories.ended(THREAD.1, 10 * MS);
        histories.born((3, THREAD.1), 9, 20 * MS);
        let history = histories.get(THREAD.1).unwrap();
        assert_eq!((history.tgid, history.born, history.ended_ns), (3, Some((20 * MS, 9)), None));
        assert!(histories.of_process(THREAD.0).is_empty());
        assert_eq!(histories.of_process(3), [THREAD.1]);
        histories.ended(THREAD.1, 30 * MS);
        histories.forget_ended(30 * MS);
        assert!(histories.get(THREAD.1).is_some());
        histories.forget_ended(30 * MS + 1);
        assert!(histories.get(THREAD.1).is_none() && histories.of_process(3).is_empty());
        assert_eq!(histories.kept, 0);
    }
}
