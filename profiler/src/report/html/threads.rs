//! What threads did, for the page's timeline: a thin lane below the requests of a slot.
//!
//! In: slices of threads as they come. Out: for each thread its time in one piece after the other, at most
//! [`MOST`] in all. Beyond that pieces are twice as coarse, again and again. What took most of a piece gives
//! it its colour. Nothing is left out of a thread's time, so the lane is as long as the thread was seen.

use std::collections::BTreeMap;

use profiler_core::timeline::ThreadState;
use serde::Serialize;

/// Pieces kept.
pub(super) const MOST: usize = 60_000;
/// Threads that have a lane.
const MAX_THREADS: usize = 1_000;
/// First length below which neighbours are put together.
const FIRST_NS: u64 = 1_000;

/// Number of what is not known in the page's data; states have theirs from [`ThreadState::ALL`].
pub(super) const UNKNOWN: usize = ThreadState::ALL.len();

/// Time by state.
type Sums = [u64; UNKNOWN + 1];

/// One thread's time.
#[derive(Debug, Default)]
struct Lane {
    start_ns: u64,
    end_ns: u64,
    /// State and end of each piece; it starts where the one before it ends.
    pieces: Vec<(u8, u64)>,
    /// What follows the last piece and is too short to be one.
    rest: Sums,
    rest_ns: u64,
}

impl Lane {
    fn push(&mut self, state: usize, duration_ns: u64, piece_ns: u64) {
        self.end_ns = self.end_ns.saturating_add(duration_ns);
        if self.rest_ns == 0 && duration_ns >= piece_ns {
            self.commit(state);
            return;
        }
        if let Some(sum_ns) = self.rest.get_mut(state) {
            *sum_ns = sum_ns.saturating_add(duration_ns);
        }
        self.rest_ns = self.rest_ns.saturating_add(duration_ns);
        if self.rest_ns >= piece_ns {
            self.close();
        }
    }

    /// What has gathered is a piece, however short.
    fn close(&mut self) {
        if self.rest_ns > 0 {
            let longest =
                self.rest.iter().zip(0..).max_by_key(|(sum_ns, number)| (**sum_ns, usize::MAX - number));
            let state = longest.map_or(UNKNOWN, |(_, number)| number);
            (self.rest, self.rest_ns) = (Sums::default(), 0);
            self.commit(state);
        }
    }

    fn commit(&mut self, state: usize) {
        let state = u8::try_from(state).unwrap_or(u8::MAX);
        match self.pieces.last_mut() {
            Some((last, end_ns)) if *last == state => *end_ns = self.end_ns,
            _ => self.pieces.push((state, self.end_ns)),
        }
    }

    fn coarser(&self, piece_ns: u64) -> Self {
        let mut lane = Self { start_ns: self.start_ns, end_ns: self.start_ns, ..Self::default() };
        let mut from_ns = self.start_ns;
        for (state, end_ns) in &self.pieces {
            lane.push(usize::from(*state), end_ns.saturating_sub(from_ns), piece_ns);
            from_ns = *end_ns;
        }
        for (sum_ns, state) in self.rest.iter().zip(0..).filter(|(sum_ns, _)| **sum_ns > 0) {
            lane.push(state, *sum_ns, piece_ns);
        }
        lane
    }
}

/// One thread's lane in the page's data: process, thread, start in µs from the start of the window, and state
/// and length in µs of each piece.
#[derive(Debug, Serialize)]
pub(super) struct Shown(pub(super) u32, pub(super) u32, pub(super) i64, pub(super) Vec<u64>);

impl Shown {
    /// How long the thread was seen, in µs.
    pub(super) fn length(&self) -> u64 {
        self.3.iter().skip(1).step_by(2).copied().fold(0, u64::saturating_add)
    }
}

/// Slices seen so far.
#[derive(Debug)]
pub(super) struct Threads {
    most: usize,
    piece_ns: u64,
    lanes: BTreeMap<(u32, u32), Lane>,
    kept: usize,
}

impl Default for Threads {
    fn default() -> Self {
        Self::with_bound(MOST)
    }
}

impl Threads {
    fn with_bound(most: usize) -> Self {
        Self { most, piece_ns: FIRST_NS, lanes: BTreeMap::new(), kept: 0 }
    }

    /// Takes one slice.
    pub(super) fn push(
        &mut self,
        (tgid, tid): (u32, u32),
        (start_ns, end_ns): (u64, u64),
        state: ThreadState,
    ) {
        if self.lanes.len() >= MAX_THREADS && !self.lanes.contains_key(&(tgid, tid)) {
            self.make_room();
        }
        let new = || Lane { start_ns, end_ns: start_ns, ..Lane::default() };
        let lane = self.lanes.entry((tgid, tid)).or_insert_with(new);
        let before = lane.pieces.len();
        if start_ns > lane.end_ns {
            lane.push(UNKNOWN, start_ns - lane.end_ns, self.piece_ns);
        }
        let number = ThreadState::ALL.iter().position(|known| *known == state).unwrap_or(UNKNOWN);
        lane.push(number, end_ns.saturating_sub(lane.end_ns), self.piece_ns);
        self.kept += lane.pieces.len() - before;
        while self.kept > self.most {
            self.piece_ns = self.piece_ns.saturating_mul(2);
            for lane in self.lanes.values_mut() {
                *lane = lane.coarser(self.piece_ns);
            }
            self.kept = self.lanes.values().map(|lane| lane.pieces.len()).sum();
        }
    }

    /// Of the threads seen so far, the half that was there longest stays: those that come and go by the
    /// hundred give way.
    fn make_room(&mut self) {
        let mut lengths: Vec<u64> = self.lanes.values().map(|lane| lane.end_ns - lane.start_ns).collect();
        lengths.sort_unstable();
        let middle_ns = lengths.get(lengths.len() / 2).copied().unwrap_or(0);
        let mut room = self.lanes.len() / 2;
        self.lanes.retain(|_, lane| {
            let goes = room > 0 && lane.end_ns - lane.start_ns <= middle_ns;
            room -= usize::from(goes);
            !goes
        });
        self.kept = self.lanes.values().map(|lane| lane.pieces.len()).sum();
    }

    /// Length in nanoseconds below which neighbours were put together.
    pub(super) const fn piece_ns(&self) -> u64 {
        self.piece_ns
    }

    /// The lanes, by process and thread, in microseconds from `window_start_ns`.
    pub(super) fn shown(&self, window_start_ns: u64) -> Vec<Shown> {
        let at = |time_ns: u64| {
            let after = i128::from(time_ns) - i128::from(window_start_ns);
            i64::try_from(after.div_euclid(1_000)).unwrap_or(0)
        };
        let shown = |((tgid, tid), lane): (&(u32, u32), &Lane)| {
            let mut whole = lane.coarser(self.piece_ns);
            whole.close();
            let start = at(lane.start_ns);
            let mut from = start;
            let mut pieces = Vec::with_capacity(whole.pieces.len() * 2);
            for (state, end_ns) in &whole.pieces {
                // By the ends, so that rounding does not add up.
                let length = u64::try_from(at(*end_ns) - from).unwrap_or(0);
                if length > 0 {
                    pieces.extend([u64::from(*state), length]);
                    from = at(*end_ns);
                }
            }
            Shown(*tgid, *tid, start, pieces)
        };
        self.lanes.iter().map(shown).filter(|shown| !shown.3.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(threads: &mut Threads, slices: u64) -> u64 {
        let mut at_ns = 5_000_000;
        for number in 0..slices {
            // Of two kinds in turn, short and long.
            let (state, length_ns) = match number % 3 {
                0 => (ThreadState::Running, 700),
                1 => (ThreadState::BackendWait, 90_000),
                _ => (ThreadState::ClientIo, 4_000),
            };
            threads.push((1, 7), (at_ns, at_ns + length_ns), state);
            at_ns += length_ns;
        }
        at_ns
    }

    #[test]
    fn a_lane_is_as_long_as_its_thread_was_seen_however_coarse_it_became() {
        for most in [10_000, 100, 10] {
            let mut threads = Threads::with_bound(most);
            let end_ns = fill(&mut threads, 3_000);
            assert!(threads.kept <= most);
            let shown = threads.shown(1_000_000);
            let Shown(_, _, start, pieces) = &shown[0];
            assert_eq!(*start, 4_000);
            let length: u64 = pieces.iter().skip(1).step_by(2).sum();
            assert_eq!(length, end_ns / 1_000 - 5_000, "a bound of {most}");
            assert!(pieces.len() <= 2 * (most + 1));
        }
    }

    #[test]
    fn a_coarse_piece_has_the_colour_of_what_took_most_of_it() {
        let mut threads = Threads::with_bound(10);
        fill(&mut threads, 3_000);
        let back_end = ThreadState::ALL.iter().position(|state| *state == ThreadState::BackendWait);
        let shown = threads.shown(0);
        let mut states: Vec<u64> = shown[0].3.iter().copied().step_by(2).collect();
        // What came last was too short to become a piece of its own before the end.
        states.pop();
        assert!(!states.is_empty());
        assert!(states.iter().all(|state| Some(usize::try_from(*state).unwrap()) == back_end), "{states:?}");
    }

    #[test]
    fn threads_that_come_and_go_give_way_to_those_that_stay() {
        let mut threads = Threads::default();
        for number in 0..5_000_u64 {
            let at_ns = 1_000_000_000 + number * 1_000_000;
            threads.push((1, 7), (at_ns, at_ns + 1_000_000), ThreadState::Running);
            let brief = u32::try_from(number).unwrap() + 100;
            threads.push((1, brief), (at_ns, at_ns + 5_000), ThreadState::Sleep);
            assert!(threads.lanes.len() <= MAX_THREADS);
        }
        let shown = threads.shown(0);
        let stayed = shown.iter().find(|shown| shown.1 == 7).unwrap();
        assert_eq!(stayed.length(), 5_000_000);
    }

    #[test]
    fn a_hole_is_shown_as_one() {
        let mut threads = Threads::default();
        threads.push((1, 7), (1_000_000, 2_000_000), ThreadState::Running);
        threads.push((1, 7), (5_000_000, 6_000_000), ThreadState::Idle);
        assert_eq!(threads.shown(1_000_000)[0].3, [1, 1_000, UNKNOWN as u64, 3_000, 0, 1_000]);
    }
}
