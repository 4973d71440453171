//! What the findings about the interpreter lock share: when they can speak, whether a lock is used up, and
//! the words for those who hold it.
//!
//! In: a [`Basis`]. Out: gates, names of contenders, sums over locks.

use super::basis::{Basis, Outcome, Undecided, Verdict};
use super::words::{self, percent, ratio};
use super::{add_where_room, has_room};
use crate::model::gil::{Contender, Edge, Gil, Lock};
use crate::model::gil_place::Spot;
use crate::phase::Phase;

/// Characters of an endpoint's path in a sentence.
const PATH_CHARS: usize = 40;

/// Whether every interpreter of the target is a build without lock.
pub(super) fn is_free_threaded(basis: &Basis<'_>) -> bool {
    let mut interpreters =
        basis.snapshot.gil.interpreters.iter().filter(|seen| seen.version.is_some()).peekable();
    interpreters.peek().is_some() && interpreters.all(|seen| seen.free_threaded && seen.locks.is_empty())
}

/// Gate: waits for the lock were measured, over a window and requests that allow a verdict. `Ok(false)`:
/// there is no lock.
pub(super) fn require(basis: &Basis<'_>) -> Result<bool, Undecided> {
    basis.require_window()?;
    basis.require_requests()?;
    if is_free_threaded(basis) {
        return Ok(false);
    }
    match basis.not_measured(Phase::GilWait) {
        None => Ok(true),
        Some(reason) => Err(Undecided {
            // What that means for other phases is said where they are.
            reason: reason.split("; ").next().unwrap_or_default().to_owned(),
            next_step: "Compare with fewer threads per process: if throughput stays, it was the GIL.",
            evidence: Vec::new(),
        }),
    }
}

/// What was not measured cannot be ruled out. A process that serves requests may have an interpreter whose
/// lock was not found. Waits there are in no number, and only what is present is certain.
pub(super) fn of_all(basis: &Basis<'_>, verdict: Verdict) -> Outcome {
    let serves = |tgid: u32| basis.snapshot.processes.iter().any(|one| one.tgid == tgid && one.requests > 0);
    let unseen =
        basis.snapshot.gil.interpreters.iter().find(|seen| seen.locks.is_empty() && serves(seen.tgid));
    match unseen.and_then(|seen| Some((seen.tgid, seen.refused.as_ref()?))) {
        Some((tgid, refused)) if !verdict.present => Err(Undecided {
            reason: format!("of process {tgid} it was not measured: {refused}").chars().take(120).collect(),
            next_step: "Compare with fewer threads per process: if throughput stays, it was the GIL.",
            evidence: verdict.evidence,
        }),
        _ => Ok(verdict),
    }
}

/// Time that threads waited for a lock, as a share of the time with something to do: how many waited for it
/// at a time.
pub(super) fn waiting(basis: &Basis<'_>, lock: &Lock) -> f64 {
    ratio(lock.wait_ns, basis.load_ns())
}

/// Whether threads of a process wait for its only lock at any moment, and they ran or wanted to for all the
/// rest. It then runs no more Python code, however many threads it has.
pub(super) fn is_used_up(basis: &Basis<'_>, tgid: u32) -> bool {
    let limits = basis.thresholds;
    let is_used_up = |lock: &Lock| {
        waiting(basis, lock) >= limits.gil_waiting_min_count
            && lock
                .held_at_most_ns
                .is_some_and(|most_ns| ratio(most_ns, basis.load_ns()) >= limits.full_min_ratio)
    };
    require(basis).unwrap_or(false)
        && basis.snapshot.gil.locks.iter().any(|lock| lock.tgid == tgid && is_used_up(lock))
}

/// What is said where there is no lock.
pub(super) const NO_LOCK: &str = "The GIL is not your problem: this build of Python has none";

/// A sum over all locks.
pub(super) fn sum(gil: &Gil, of: impl Fn(&Lock) -> u64) -> u64 {
    gil.locks.iter().fold(0, |sum, lock| sum.saturating_add(of(lock)))
}

/// The holder with the largest sum over its edges, and that sum. Those that are not known are left out.
pub(super) fn costliest_holder(edges: &[Edge], of: impl Fn(&Edge) -> u64) -> Option<(&Contender, u64)> {
    let mut sums: Vec<(&Contender, u64)> = Vec::new();
    for edge in edges.iter().filter(|edge| edge.holder != Contender::Unknown) {
        match sums.iter_mut().find(|(contender, _)| *contender == &edge.holder) {
            Some((_, sum)) => *sum = sum.saturating_add(of(edge)),
            None => sums.push((&edge.holder, of(edge))),
        }
    }
    // Of equals the first, which is the costliest edge's.
    sums.into_iter().rev().max_by_key(|(_, sum)| *sum).filter(|(_, sum)| *sum > 0)
}

/// Ends a sentence with where in Python the lock was held for most of the time that others waited. Adds
/// nothing where that was not asked for, no place stands out, or the sentence has no room. The caller is left
/// out before the place.
pub(super) fn add_place(sentence: &mut String, gil: &Gil) {
    let Some(place) = gil.places.as_ref().and_then(|places| places.places.first()) else { return };
    let share = ratio(place.wait_ns, gil.waits.sum_ns());
    if share < STANDS_OUT {
        return;
    }
    let place_alone = format!("; {} of the waiting while it was held in {}", percent(share), spot(&place.at));
    let from = place.called_from.as_ref().map(|from| format!(", called from {}", spot(from)));
    let whole = format!("{place_alone}{}", from.unwrap_or_default());
    if let Some(words) = [&whole, &place_alone].into_iter().find(|words| has_room(sentence, words)) {
        sentence.push_str(words);
    }
}

/// Ends a sentence with where in Python the contender stood that waited longest of the long waits. Adds
/// nothing where that was not asked for, it does not stand out, or the sentence has no room.
pub(super) fn add_block(sentence: &mut String, gil: &Gil) {
    let blocks = gil.places.as_ref().map(|places| places.blocked.listed.as_slice()).unwrap_or_default();
    let Some(block) = blocks.iter().find(|block| matches!(block.waiter, Contender::Endpoint(_))) else {
        return;
    };
    if ratio(block.wait_ns, gil.waits.sum_ns()) < STANDS_OUT {
        return;
    }
    let words = format!(
        "; {} waited in {}, up to {}",
        subject(&block.waiter),
        spot(block.applications()),
        words::duration(block.longest_ns)
    );
    add_where_room(sentence, &words);
}

/// A line as a sentence names it. Hostile input, bounded.
fn spot(spot: &Spot) -> String {
    words::code_line(&spot.function, &spot.file, spot.line, NAME_CHARS)
}

/// Share of all waiting from which a place is worth a word.
const STANDS_OUT: f64 = 0.2;
/// Characters of a function's or file's name in a sentence.
const NAME_CHARS: usize = 28;

/// A contender as the subject of a sentence. Hostile input, bounded.
pub(super) fn subject(contender: &Contender) -> String {
    match contender {
        Contender::Endpoint(name) if name.is_empty() => "A request whose head was not read".to_owned(),
        Contender::Endpoint(name) => match name.split_once(' ') {
            Some((method, path)) => format!("{} {}", words::name(method, 8), words::name(path, PATH_CHARS)),
            None => words::name(name, PATH_CHARS),
        },
        Contender::Thread { tid, comm, .. } => {
            format!("A thread that serves no request ({}, thread {tid})", words::name(comm, 16))
        }
        Contender::Unknown => "A thread that is not known".to_owned(),
    }
}
