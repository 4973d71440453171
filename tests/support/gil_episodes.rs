//! Waits for the interpreter lock one by one, as the program told them, from a recording; and how they compare with
//! those of a witness.
//!
//! In: a recording, a witness's attempts. Out: pairs, and figures over all of them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use profiler_core::decode;
use profiler_core::event::{Body, Slice};
use profiler_core::fact::Fact;
use profiler_core::machine::lock::gil::{Locks, Part, Waiting};
use wsgi_trace::source::file::FileSource;

use crate::gil_account::{AGREES_NS, accounted_ns, agree, held_up_ns, is_held_up_beside};
use crate::gil_witness::Attempt;
use crate::stops::Way;

/// One wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Thread.
    pub tid: u32,
    /// Start.
    pub start_ns: u64,
    /// End.
    pub end_ns: u64,
    /// Its thread had been made to give the lock up before.
    pub is_after_forced: bool,
}

/// One stretch of waiting: a sleep, with what its thread did since the sleep before if that was of the same wait; or a part of
/// one, where the lock passed to another meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Thread.
    pub tid: u32,
    /// Start.
    pub start_ns: u64,
    /// End.
    pub end_ns: u64,
    /// How much of it the thread was asleep.
    pub asleep_ns: u64,
    /// How much of that may have been something else: the end of the sleep was not seen.
    pub undecided_ns: u64,
    /// The thread that had the lock; 0: not known.
    pub holder_tid: u32,
    /// It is no wait to take the lock, but for the next holder after a release by force.
    pub is_handover: bool,
}

/// What a recording holds of waits.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// By thread.
    pub waits: BTreeMap<u32, Vec<Wait>>,
    /// Waits that no later record of their thread ends, as long as they are told.
    pub open: Vec<Wait>,
    /// In the order of their ends.
    pub stretches: Vec<Stretch>,
    /// Records that could not be written, by cause.
    pub losses: Vec<(String, u64)>,
}

impl Told {
    /// For how long a thread slept between two moments of its own: for the lock, by the thread that had it, and for the next
    /// holder.
    #[must_use]
    pub fn asleep(&self, tid: u32, from_ns: u64, until_ns: u64) -> (BTreeMap<u32, u64>, u64) {
        let (mut by_holder, mut handover_ns) = (BTreeMap::new(), 0);
        for stretch in self.within(tid, from_ns, until_ns) {
            if stretch.is_handover {
                handover_ns += stretch.asleep_ns;
            } else {
                *by_holder.entry(stretch.holder_tid).or_default() += stretch.asleep_ns;
            }
        }
        (by_holder, handover_ns)
    }

    /// How much of that may have been something else.
    #[must_use]
    pub fn undecided_ns(&self, tid: u32, from_ns: u64, until_ns: u64) -> u64 {
        self.within(tid, from_ns, until_ns).map(|stretch| stretch.undecided_ns).sum()
    }

    fn within(&self, tid: u32, from_ns: u64, until_ns: u64) -> impl Iterator<Item = &Stretch> {
        self.stretches.iter().filter(move |stretch| {
            stretch.tid == tid && stretch.start_ns >= from_ns && stretch.end_ns <= until_ns
        })
    }
}

/// All waits of a recording.
///
/// # Errors
///
/// Where it cannot be read.
pub fn waits_of(recording: &Path) -> anyhow::Result<Told> {
    let mut events = Vec::new();
    for item in FileSource::open(recording)? {
        events.push(decode::item(item)?);
    }
    events.sort_by_key(|event| event.time_ns);
    let mut locks = Locks::default();
    let mut waiting: HashMap<u32, Waiting> = HashMap::new();
    let mut told = Told::default();
    for event in events {
        match event.body {
            Body::Fact(fact) => match *fact {
                Fact::InterpreterSeen(seen) => locks.see(seen),
                Fact::Counters(counters) => {
                    let lost = counters.lost.iter().filter(|(cause, _)| cause.starts_with("ring"));
                    told.losses = lost.cloned().collect();
                }
                _ => {}
            },
            Body::Slice(slice) => {
                let last = Some(slice.last_holder_tid).filter(|tid| *tid != slice.tid);
                let then_ns = last.and_then(|tid| locks.took_in(tid, &slice));
                let open = waiting.entry(slice.tid).or_default();
                let before = open.episode.map(|episode| (episode.span(), episode.is_after_forced()));
                let followed = locks.follow(open, &slice, event.time_ns, 0);
                let stretch = stretch(followed.part, &slice, event.time_ns);
                told.stretches.extend(stretch.into_iter().flat_map(|whole| parts(whole, &slice, then_ns)));
                let now = open.episode.map(|episode| episode.span());
                let ended = before.filter(|((start_ns, _), _)| now.is_none_or(|now| now.0 != *start_ns));
                if let Some(((start_ns, end_ns), is_after_forced)) = ended {
                    let end_ns = end_ns + followed.tail_ns;
                    let wait = Wait { tid: slice.tid, start_ns, end_ns, is_after_forced };
                    told.waits.entry(slice.tid).or_default().push(wait);
                }
            }
            _ => {}
        }
    }
    told.open = waiting.iter().filter_map(|(tid, waiting)| open(*tid, waiting)).collect();
    Ok(told)
}

fn open(tid: u32, waiting: &Waiting) -> Option<Wait> {
    let episode = waiting.episode.as_ref()?;
    let (start_ns, end_ns) = episode.span();
    Some(Wait { tid, start_ns, end_ns, is_after_forced: episode.is_after_forced() })
}

fn stretch(part: Part, slice: &Slice, end_ns: u64) -> Option<Stretch> {
    let (inside_ns, undecided_ns) = (slice.inside.blocked_ns, slice.call_undecided_ns());
    let (start_ns, asleep_ns, undecided_ns) = match part {
        Part::None => return None,
        Part::Again => {
            (slice.gap_start_ns(), slice.gap.blocked_ns + inside_ns, slice.gap_undecided_ns() + undecided_ns)
        }
        Part::First | Part::Handover => (slice.enter_ns, inside_ns, undecided_ns),
    };
    let (tid, holder_tid, is_handover) = (slice.tid, slice.holder_tid, part == Part::Handover);
    Some(Stretch { tid, start_ns, end_ns, asleep_ns, undecided_ns, holder_tid, is_handover })
}

/// A stretch in which the lock passed to another, who took it at `then_ns`, is one for each.
fn parts(whole: Stretch, slice: &Slice, then_ns: Option<u64>) -> Vec<Stretch> {
    let passed = then_ns.filter(|then_ns| {
        !whole.is_handover && slice.last_holder_tid != slice.holder_tid && *then_ns < whole.end_ns
    });
    let Some(then_ns) = passed else { return vec![whole] };
    // It sleeps first: what it was awake is at the end.
    let awake_ns = (whole.end_ns - whole.start_ns).saturating_sub(whole.asleep_ns);
    let later_ns = (whole.end_ns - then_ns).saturating_sub(awake_ns).min(whole.asleep_ns);
    // So is what is undecided.
    let undecided_ns = whole.undecided_ns.min(later_ns);
    let (start_ns, holder_tid) = (then_ns, slice.last_holder_tid);
    let later = Stretch { start_ns, asleep_ns: later_ns, undecided_ns, holder_tid, ..whole };
    let (asleep_ns, undecided_ns) = (whole.asleep_ns - later_ns, whole.undecided_ns - undecided_ns);
    vec![Stretch { end_ns: then_ns, asleep_ns, undecided_ns, ..whole }, later]
}

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
    /// The same by us.
    pub ours_ns: u64,
    /// All time of all attempts, by the witness, and of all waits, by us.
    pub all_ns: (u64, u64),
    /// Matched attempts that agree within 1 % or 10 µs, whichever is more.
    pub within: usize,
    /// Matched attempts that agree so without what the witness shows to be no part of the calls: see [`accounted_ns`].
    pub within_accounted: usize,
    /// Those that agree once the machine's way into interrupts and out of them ([`Way`]) is left out with these.
    pub within_with_ways: usize,
    /// Those that do not even so: where the witness saw the thread held up in the stretch that differs (an interrupt takes longer than most), and where it saw nothing.
    pub unexplained: (usize, usize),
    /// For how long in all a stop of which nobody tells could have made a matched attempt differ: the time between the witness's moments and ours,
    /// of each attempt up to 10 µs.
    pub exposed_ns: u64,
    /// All time of matched attempts without that.
    pub accounted_ns: u64,
    /// The same without the ways.
    pub accounted_with_ways_ns: u64,
    /// What was measured of them.
    pub way: Way,
    /// What the witness's two probes add to each attempt.
    pub own_ns: u64,
    /// Matched attempts after a forced release, by the witness, and after a voluntary one; of each, those that we tell so.
    pub forced: (usize, usize),
    /// See there.
    pub voluntary: (usize, usize),
    /// By how much matched attempts begin before we say so, in nanoseconds, sorted.
    pub late_ns: Vec<i64>,
    /// By how much they end after we say so, likewise.
    pub early_ns: Vec<i64>,
    /// The same two without the time for which the witness shows the thread held up.
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
    #[must_use]
    pub fn matched_share(&self) -> f64 {
        self.matched as f64 / self.attempts.max(1) as f64
    }

    /// Error of the sum over all waits, with its sign.
    #[must_use]
    pub fn total_error(&self) -> f64 {
        (self.all_ns.1 as f64 - self.all_ns.0 as f64) / self.all_ns.0.max(1) as f64
    }

    /// Share of matched attempts within 1 % or 10 µs.
    #[must_use]
    pub fn within_share(&self) -> f64 {
        self.within as f64 / self.matched.max(1) as f64
    }

    /// The same share of those that agree once that is left out which the witness shows to be its own or outside of calls.
    #[must_use]
    pub fn accounted_share(&self) -> f64 {
        self.within_accounted as f64 / self.matched.max(1) as f64
    }

    /// The same share with the ways.
    #[must_use]
    pub fn with_ways_share(&self) -> f64 {
        self.within_with_ways as f64 / self.matched.max(1) as f64
    }

    /// Share of matched attempts that a stop of which the kernel tells nothing will have hit between the witness's moments and ours, by how often
    /// this machine stops a thread so.
    #[must_use]
    pub fn untold_share(&self) -> f64 {
        self.way.untold_per_s as f64 * self.exposed_ns as f64 / 1e9 / self.matched.max(1) as f64
    }

    /// Error of the sum over matched waits without that, with its sign.
    #[must_use]
    pub fn accounted_error(&self) -> f64 {
        (self.ours_ns as f64 - self.accounted_ns as f64) / self.accounted_ns.max(1) as f64
    }

    /// The same with the ways.
    #[must_use]
    pub fn with_ways_error(&self) -> f64 {
        (self.ours_ns as f64 - self.accounted_with_ways_ns as f64) / self.accounted_with_ways_ns.max(1) as f64
    }

    /// Share of matched attempts of which we say rightly whether the release before them was forced.
    #[must_use]
    pub fn releases_share(&self) -> f64 {
        (self.forced.1 + self.voluntary.1) as f64 / self.matched.max(1) as f64
    }
}

/// A quantile of sorted nanoseconds, in µs.
#[must_use]
pub fn quantile_us(sorted_ns: &[i64], quantile: f64) -> f64 {
    let place = ((sorted_ns.len() as f64 - 1.0).max(0.0) * quantile) as usize;
    sorted_ns.get(place).map_or(0.0, |ns| *ns as f64 / 1e3)
}

/// Compares over the time in which the witness saw everything; its probes add `own_ns` to every attempt, and a stop of a thread is
/// longer by `way` than the kernel tells.
#[must_use]
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
                    result.exposed_ns += with_ways_ns.saturating_sub(ours_ns).min(AGREES_NS);
                    if agree(with_ways_ns, ours_ns) {
                        result.within_with_ways += 1;
                    } else if is_held_up_beside(attempt, &wait) {
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
