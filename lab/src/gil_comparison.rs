//! How waits for the interpreter lock, one by one, compare with the attempts of a witness.
//!
//! In: waits, a witness's attempts, what its probes cost, the machine's way into an interrupt. Out: pairs,
//! and figures over all of them.

use std::collections::BTreeMap;

use crate::gil_account::{AGREES_NS, accounted_ns, agree, held_up_ns, is_held_up_beside};
use crate::gil_witness::Attempt;
use crate::stops::Way;
use wsgi_trace_test_support::gil_episodes::Wait;

/// How waits compare with a witness's attempts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Attempts that slept.
    pub attempts: usize,
    /// One wait for one attempt.
    pub matched: usize,
    /// An attempt that slept, without a wait.
    pub missed: usize,
    /// An attempt told as several waits.
    pub split: usize,
    /// A wait told for several attempts.
    pub merged: usize,
    /// A wait without an attempt.
    pub extra: usize,
    /// All time of matched attempts, by the witness.
    pub theirs_ns: u64,
    /// All time of matched attempts, by us.
    pub ours_ns: u64,
    /// All time of all attempts, by the witness, and of all waits, by us.
    pub all_ns: (u64, u64),
    /// Matched attempts that agree within 1 % or 10 µs, whichever is more.
    pub within: usize,
    /// Matched attempts that agree so without what the witness shows to be no part of the calls: see
    /// [`accounted_ns`].
    pub within_accounted: usize,
    /// Those that agree once the machine's way into interrupts and out of them ([`Way`]) is left out with
    /// these.
    pub within_with_ways: usize,
    /// Those that do not even so: where the witness saw the thread held up in the stretch that differs (an
    /// interrupt takes longer than most), and where it saw nothing.
    pub unexplained: (usize, usize),
    /// For how long in all a stop of which nobody tells could have made a matched attempt differ. That is
    /// the time between the witness's moments and ours, of each attempt up to 10 µs.
    pub exposed_ns: u64,
    /// Matched attempts that the witness saw held up outside of the calls that make the wait.
    pub held_up: usize,
    /// All time of matched attempts without what the witness shows to be no part of the calls.
    pub accounted_ns: u64,
    /// All time of matched attempts without what the witness shows to be no part of the calls, and without
    /// the ways.
    pub accounted_with_ways_ns: u64,
    /// What was measured of them.
    pub way: Way,
    /// What the witness's two probes add to each attempt.
    pub own_ns: u64,
    /// Matched attempts after a forced release, by the witness, and after a voluntary one; of each, those
    /// that we tell so.
    pub forced: (usize, usize),
    /// See there.
    pub voluntary: (usize, usize),
    /// By how much matched attempts begin before we say so, in nanoseconds, sorted.
    pub late_ns: Vec<i64>,
    /// By how much they end after we say so, likewise.
    pub early_ns: Vec<i64>,
    /// By how much matched attempts begin before we say so, without the time for which the witness shows the
    /// thread held up.
    pub late_accounted_ns: Vec<i64>,
    /// See there.
    pub early_accounted_ns: Vec<i64>,
    /// Matched attempts, each with our wait.
    pub pairs: Vec<(Attempt, Wait)>,
    /// Attempts that were split, or merged with others, each with our waits.
    pub unequal: Vec<(Attempt, Vec<Wait>)>,
    /// Waits without an attempt.
    pub alone: Vec<Wait>,
}

impl Comparison {
    /// Share of attempts told one to one.
    pub fn matched_share(&self) -> f64 {
        self.matched as f64 / self.attempts.max(1) as f64
    }

    /// Error of the sum over all waits, with its sign.
    pub fn total_error(&self) -> f64 {
        (self.all_ns.1 as f64 - self.all_ns.0 as f64) / self.all_ns.0.max(1) as f64
    }

    /// Share of matched attempts within 1 % or 10 µs.
    pub fn within_share(&self) -> f64 {
        self.within as f64 / self.matched.max(1) as f64
    }

    /// Share of matched attempts that agree once that is left out which the witness shows to be its own or
    /// outside of calls.
    pub fn accounted_share(&self) -> f64 {
        self.within_accounted as f64 / self.matched.max(1) as f64
    }

    /// Share of matched attempts that agree once the ways are left out too.
    pub fn with_ways_share(&self) -> f64 {
        self.within_with_ways as f64 / self.matched.max(1) as f64
    }

    /// Share of matched attempts that the machine will have made differ, by how often it does so to threads
    /// that only read the clock. That is: late from a wakeup; stopped between the witness's moments and
    /// ours, without a word of the kernel; or stopped for longer than the ways where the kernel tells of
    /// it.
    pub fn untold_share(&self) -> f64 {
        let Way { late_wakeup_ratio, untold_per_s, longer_ratio, .. } = self.way;
        let stopped = untold_per_s as f64 * self.exposed_ns as f64 / 1e9 + longer_ratio * self.held_up as f64;
        late_wakeup_ratio + stopped / self.matched.max(1) as f64
    }

    /// Error of the sum over matched waits without that, with its sign.
    pub fn accounted_error(&self) -> f64 {
        (self.ours_ns as f64 - self.accounted_ns as f64) / self.accounted_ns.max(1) as f64
    }

    /// Error of the sum over matched waits once the ways are left out too, with its sign.
    pub fn with_ways_error(&self) -> f64 {
        (self.ours_ns as f64 - self.accounted_with_ways_ns as f64) / self.accounted_with_ways_ns.max(1) as f64
    }

    /// Share of matched attempts of which we say rightly whether the release before them was forced.
    pub fn releases_share(&self) -> f64 {
        (self.forced.1 + self.voluntary.1) as f64 / self.matched.max(1) as f64
    }
}

/// A quantile of sorted nanoseconds, in µs.
pub fn quantile_us(sorted_ns: &[i64], quantile: f64) -> f64 {
    let place = ((sorted_ns.len() as f64 - 1.0).max(0.0) * quantile) as usize;
    sorted_ns.get(place).map_or(0.0, |ns| *ns as f64 / 1e3)
}

/// Compares over the time in which the witness saw everything. Its probes add `own_ns` to every attempt, and
/// a stop of a thread is longer by `way` than the kernel tells.
#[allow(clippy::indexing_slicing, reason = "the places are those of the same vector")]
pub fn compare(waits: &BTreeMap<u32, Vec<Wait>>, attempts: &[Attempt], own_ns: u64, way: Way) -> Comparison {
    let mut result = Comparison { own_ns, way, ..Comparison::default() };
    let mut by_thread: BTreeMap<u32, Vec<Attempt>> = BTreeMap::new();
    for attempt in attempts {
        by_thread.entry(attempt.tid).or_default().push(attempt.clone());
    }
    for (tid, attempts) in &mut by_thread {
        attempts.sort_by_key(|attempt| attempt.start_ns);
        let (Some(first), Some(last)) = (attempts.first(), attempts.last()) else { continue };
        let waits: Vec<Wait> = waits
            .get(tid)
            .into_iter()
            .flatten()
            .filter(|wait| wait.start_ns >= first.start_ns && wait.end_ns <= last.end_ns + 1_000_000)
            .copied()
            .collect();
        let overlaps =
            |attempt: &Attempt, wait: &Wait| attempt.start_ns < wait.end_ns && wait.start_ns < attempt.end_ns;
        let mut from = 0;
        let mut told = vec![0_usize; waits.len()];
        for attempt in attempts.iter() {
            while waits.get(from).is_some_and(|wait| wait.end_ns <= attempt.start_ns) {
                from += 1;
            }
            let own: Vec<usize> = (from..waits.len())
                .take_while(|place| waits[*place].start_ns < attempt.end_ns)
                .filter(|place| overlaps(attempt, &waits[*place]))
                .collect();
            for place in &own {
                told[*place] += 1;
            }
            result.attempts += 1;
            let of_own = || (attempt.clone(), own.iter().map(|place| waits[*place]).collect());
            result.all_ns.0 += attempt.end_ns - attempt.start_ns;
            match *own {
                [] => result.missed += 1,
                [place] if told[place] == 1 => {
                    let wait = waits[place];
                    let shared = attempts
                        .iter()
                        .filter(|other| other.start_ns > attempt.start_ns)
                        .take_while(|other| other.start_ns < wait.end_ns)
                        .any(|other| overlaps(other, &wait));
                    if shared {
                        result.merged += 1;
                        result.unequal.push(of_own());
                        continue;
                    }
                    result.matched += 1;
                    let theirs_ns = attempt.end_ns - attempt.start_ns;
                    let ours_ns = wait.end_ns - wait.start_ns;
                    result.theirs_ns += theirs_ns;
                    result.ours_ns += ours_ns;
                    let after =
                        |later_ns: u64, earlier_ns: u64| later_ns.cast_signed() - earlier_ns.cast_signed();
                    let (late_ns, early_ns) =
                        (after(wait.start_ns, attempt.start_ns), after(attempt.end_ns, wait.end_ns));
                    let (before_ns, after_ns) = held_up_ns(attempt, &wait, way);
                    result.late_ns.push(late_ns);
                    result.early_ns.push(early_ns);
                    result.late_accounted_ns.push(late_ns - before_ns.cast_signed());
                    result.early_accounted_ns.push(early_ns - after_ns.cast_signed());
                    result.within += usize::from(agree(theirs_ns, ours_ns));
                    let told_ns = accounted_ns(attempt, &wait, own_ns, Way::default());
                    result.accounted_ns += told_ns;
                    result.within_accounted += usize::from(agree(told_ns, ours_ns));
                    let with_ways_ns = accounted_ns(attempt, &wait, own_ns, way);
                    result.accounted_with_ways_ns += with_ways_ns;
                    let is_held_up = is_held_up_beside(attempt, &wait);
                    result.held_up += usize::from(is_held_up);
                    result.exposed_ns += with_ways_ns.saturating_sub(ours_ns).min(AGREES_NS);
                    if agree(with_ways_ns, ours_ns) {
                        result.within_with_ways += 1;
                    } else if is_held_up {
                        result.unexplained.0 += 1;
                    } else {
                        result.unexplained.1 += 1;
                    }
                    let side =
                        if attempt.is_after_forced { &mut result.forced } else { &mut result.voluntary };
                    side.0 += 1;
                    side.1 += usize::from(attempt.is_after_forced == wait.is_after_forced);
                    result.pairs.push((attempt.clone(), wait));
                }
                [_] => {
                    result.merged += 1;
                    result.unequal.push(of_own());
                }
                _ => {
                    result.split += 1;
                    result.unequal.push(of_own());
                }
            }
        }
        for (wait, told) in waits.iter().zip(&told) {
            result.all_ns.1 += wait.end_ns - wait.start_ns;
            if *told == 0 {
                result.extra += 1;
                result.alone.push(*wait);
            }
        }
    }
    for moments in [
        &mut result.late_ns,
        &mut result.early_ns,
        &mut result.late_accounted_ns,
        &mut result.early_accounted_ns,
    ] {
        moments.sort_unstable();
    }
    result
}
