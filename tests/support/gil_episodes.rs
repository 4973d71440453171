//! Waits for the interpreter lock one by one, as the program told them, from a recording.
//!
//! In: a recording. Out: its waits, and the stretches that they are made of.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use profiler_core::decode;
use profiler_core::event::{Body, Slice};
use profiler_core::fact::Fact;
use profiler_core::machine::lock::gil::{AtLock, Locks, Part};
use wsgi_trace::source::file::FileSource;

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

/// One stretch of waiting: a sleep, with what its thread did since the sleep before if that was of the same
/// wait; or a part of one, where the lock passed to another meanwhile.
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
    /// The stretch is no wait to take the lock, but for the next holder after a release by force.
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
    /// For how long a thread slept between two moments of its own: for the lock, by the thread that had it,
    /// and for the next holder.
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
    let mut waiting: HashMap<u32, AtLock> = HashMap::new();
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
                let last = Some(slice.lock.last_holder_tid).filter(|tid| *tid != slice.tid);
                let then_ns = last.and_then(|tid| locks.took_in(tid, &slice));
                let open = waiting.entry(slice.tid).or_default();
                let before = open.episode.map(|episode| (episode.span(), episode.is_after_forced()));
                let followed = locks.follow(open, &slice, 0);
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

fn open(tid: u32, waiting: &AtLock) -> Option<Wait> {
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
    let (tid, holder_tid, is_handover) = (slice.tid, slice.lock.holder_tid, part == Part::Handover);
    Some(Stretch { tid, start_ns, end_ns, asleep_ns, undecided_ns, holder_tid, is_handover })
}

/// A stretch in which the lock passed to another, who took it at `then_ns`, is one for each.
fn parts(whole: Stretch, slice: &Slice, then_ns: Option<u64>) -> Vec<Stretch> {
    let passed = then_ns.filter(|then_ns| {
        !whole.is_handover && slice.lock.last_holder_tid != slice.lock.holder_tid && *then_ns < whole.end_ns
    });
    let Some(then_ns) = passed else { return vec![whole] };
    // The thread sleeps first: what it was awake is at the end.
    let awake_ns = (whole.end_ns - whole.start_ns).saturating_sub(whole.asleep_ns);
    let later_ns = (whole.end_ns - then_ns).saturating_sub(awake_ns).min(whole.asleep_ns);
    // So is what is undecided.
    let undecided_ns = whole.undecided_ns.min(later_ns);
    let (start_ns, holder_tid) = (then_ns, slice.lock.last_holder_tid);
    let later = Stretch { start_ns, asleep_ns: later_ns, undecided_ns, holder_tid, ..whole };
    let (asleep_ns, undecided_ns) = (whole.asleep_ns - later_ns, whole.undecided_ns - undecided_ns);
    vec![Stretch { end_ns: then_ns, asleep_ns, undecided_ns, ..whole }, later]
}
